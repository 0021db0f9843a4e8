/* SPDX-License-Identifier: GPL-2.0-only */
/* test_stream_ktls.c - TLS streams whose records the kernel makes: runs only where the kernel can. */
#include "net/stream.h"
#include "vm/ktls_ends.h"

/* --- tests --- */

static void test_bulk_both_ways(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct end c = { .to_write = BULK, .reads = true }, s = c;

		begin_pair(&c, &s, server, clients[i], NULL);
		wait_until(s.connected && c.connected);
		assert_true(kernel_sends(&s) && !kernel_sends(&c));
		wait_until(c.received == BULK && s.received == BULK);
		assert_int_equal(c.wrong + s.wrong, 0);
		assert_int_equal(s.s->bytes_out, BULK);
		end_close(&s);
		wait_until(c.eof == 1);
		assert_int_equal(c.failed + s.failed, 0);
		end_close(&c);
	}
}

/* Its ticket came by the kernel, and a resumed connection is the kernel's too. */
static void test_a_session_is_resumed(void **state)
{
	(void)state;
	for (unsigned v = 0; v < 2; v++) {
		struct tls_session_cache cache = { 0 };

		for (unsigned i = 0; i < 2; i++) {
			struct end c = { .reads = true }, s = { .to_write = 5000 };

			begin_pair(&c, &s, server, clients[v], &cache);
			wait_until(c.received == 5000);
			assert_true(kernel_sends(&s));
			assert_int_equal(tlsio_is_resumed(stream_tls(c.s)), i == 1);
			assert_int_equal(c.wrong, 0);
			end_close(&c);
			end_close(&s);
		}
		tls_session_cache_fini(&cache);
	}
}

static void test_shutdown_and_close_say_goodbye(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct end s;
		size_t got;
		int fd;
		SSL *peer = peer_begin(&s, &fd);

		s.to_write = 100000;
		fill(&s);
		if (i == 0) {
			stream_ends_soon(s.s);
			wait_until(s.s->queued == 0);
			stream_shutdown(s.s);
		} else if (i == 1) {
			stream_shutdown(s.s);
		} else {
			wait_until(s.s->queued == 0);
			stream_close(s.s);
		}
		assert_int_equal(peer_read_all(peer, 0, &got), SSL_ERROR_ZERO_RETURN);
		assert_int_equal(got, 100000);
		for (unsigned tries = 0; recv(fd, &got, 1, MSG_DONTWAIT) != 0; tries++) {
			assert_true(errno == EAGAIN && tries < 200);
			turns(1);
		}
		if (i < 2)
			end_close(&s);
		wait_until(s.closed);
		peer_end(peer, fd);
	}
}

/* Writes until no more is taken, or so many bytes; how much was taken. */
static size_t fill_up(struct end *s, int fd, unsigned size, size_t bytes)
{
	int sndbuf = (int)(9000 + size * 3001), rcvbuf = 4096;
	size_t stuck;

	assert_int_equal(setsockopt(stream_fd(s->s), SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)), 0);
	s->to_write = bytes;
	fill(s);
	for (stuck = 1; stuck != s->s->bytes_out;) {
		stuck = s->s->bytes_out;
		turns(8);
	}
	return stuck;
}

/* With as much as its socket takes on the way to a peer that does not read; how much that is, if not known. */
static SSL *full_begin(struct end *s, int *out_fd, unsigned size, size_t *full)
{
	SSL *peer = peer_begin(s, out_fd);

	if (*full == 0) {
		*full = fill_up(s, *out_fd, size, 8U << 20);
		stream_abort(s->s);
		wait_until(s->closed);
		peer_end(peer, *out_fd);
		peer = peer_begin(s, out_fd);
	}
	(void)fill_up(s, *out_fd, size, *full);
	return peer;
}

/* The kernel holds a part of the last record outside of the socket when that is full. */
static void test_the_end_reaches_a_slow_reader(void **state)
{
	unsigned held = 0;

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		static size_t full;
		struct end s;
		size_t got;
		int fd, how;
		SSL *peer;

		full = i % 2 ? full : 0;
		peer = full_begin(&s, &fd, i / 2, &full);
		held += s.s->queued == 0 && !stream_tls_kernel_is_drained(container_of(s.s, struct stream_tls, face));
		if (i % 2 || s.s->queued > 0)
			stream_shutdown(s.s);
		else
			stream_close(s.s);
		turns(20);
		how = peer_read_all(peer, 0, &got);
		assert_int_equal(got, full);
		/* Into a full socket stream_close() cannot put the close_notify. */
		if (i % 2)
			assert_int_equal(how, SSL_ERROR_ZERO_RETURN);
		if (!s.closed && s.s->state == STREAM_OPEN)
			stream_close(s.s);
		wait_until(s.closed);
		peer_end(peer, fd);
	}
	print_message("the kernel held a part of a record %u times\n", held);
	assert_true(held > 0);
}

static void test_key_updates(void **state)
{
	char buf[64];
	size_t got;

	(void)state;
	for (unsigned asks = 0; asks < 2; asks++) {
		struct end s;
		int fd;
		SSL *peer = peer_begin(&s, &fd);

		s.reads = true;
		stream_read(s.s, LOOP_BUFFERS_LARGE);
		assert_int_equal(SSL_key_update(peer, asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
				 1);
		buf[0] = (char)pattern(0);
		peer_do(SSL_write(peer, buf, 1));
		if (asks) {
			wait_until(s.failed);
			assert_int_equal(s.failure, TLS_FAILURE_PROTOCOL);
			assert_non_null(strstr(tlsio_failure_detail(stream_tls(s.s)), "new keys"));
			stream_close(s.s);
			assert_int_equal(peer_read_all(peer, 0, &got), SSL_ERROR_SSL);
			peer_end(peer, fd);
			wait_until(s.closed);
			continue;
		}
		wait_until(s.received == 1);
		s.to_write = 100000;
		fill(&s);
		stream_shutdown(s.s);
		assert_int_equal(peer_read_all(peer, 0, &got), SSL_ERROR_ZERO_RETURN);
		assert_int_equal(got, 100000);
		assert_int_equal(s.wrong + s.failed, 0);
		end_close(&s);
		peer_end(peer, fd);
	}
}

/* A bad record of the peer: the alert is a record of the kernel's. */
static void test_an_alert(void **state)
{
	struct end s;
	int fd;
	size_t got;
	SSL *peer = peer_begin(&s, &fd);

	(void)state;
	s.to_write = 3000;
	fill(&s);
	wait_until(s.s->queued == 0);
	s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_LARGE);
	assert_int_equal(send(fd, "\x17\x03\x03\x00\x14" "aaaaaaaaaaaaaaaaaaaa", 25, 0), 25);
	wait_until(s.failed);
	stream_close(s.s);
	assert_int_equal(peer_read_all(peer, 0, &got), SSL_ERROR_SSL);
	assert_int_equal(got, 3000);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	wait_until(s.closed);
	peer_end(peer, fd);
}

static void test_an_idle_stream_sends_again(void **state)
{
	struct end c = { .reads = true }, s = { .to_write = 1000 };

	(void)state;
	begin_pair(&c, &s, server, clients[0], NULL);
	wait_until(c.received == 1000);
	wait_until(!container_of(s.s, struct stream_tls, face)->busy);
	s.to_write = 50000;
	fill(&s);
	wait_until(c.received == 50000);
	assert_int_equal(c.wrong, 0);
	end_close(&c);
	end_close(&s);
}

static void test_cost(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct end c = { .reads = true }, s = { 0 };
		uint64_t start;

		begin_pair(&c, &s, i % 2 ? server : plain_server, clients[0], NULL);
		wait_until(s.connected && c.connected);
		start = clock_wall_ns() / 1000000;
		s.to_write = BULK;
		fill(&s);
		wait_until(c.received == BULK);
		print_message("%s: %llu ms of both ends for %u MB\n", i % 2 ? "kernel" : "OpenSSL",
			      (unsigned long long)(clock_wall_ns() / 1000000 - start), BULK >> 20);
		end_close(&c);
		end_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)
		TEST(test_bulk_both_ways),
		TEST(test_a_session_is_resumed),
		TEST(test_shutdown_and_close_say_goodbye),
		TEST(test_the_end_reaches_a_slow_reader),
		TEST(test_key_updates),
		TEST(test_an_alert),
		TEST(test_an_idle_stream_sends_again),
		TEST(test_cost),
#undef TEST
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
