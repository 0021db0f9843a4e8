/* SPDX-License-Identifier: GPL-2.0-only */
/* test_splice_ktls.c - splice(2) into TLS whose records the kernel makes: runs only where the kernel can. */
#include <signal.h>

#include "net/splice.h"
#include "vm/ktls_ends.h"

struct lent {
	struct end from;
	struct end *to;
	struct pipe_pool pipes;
	struct splice *splice; /* NULL: over */
	enum splice_end why;
	int err;
};

static void on_moved(struct splice *sp, size_t bytes, enum splice_wait wait)
{
	(void)sp;
	(void)bytes;
	(void)wait;
}

static void on_splice_end(struct splice *sp, enum splice_end why, int err)
{
	struct lent *l = splice_owner(sp);

	l->splice = NULL;
	l->why = why;
	l->err = err;
	stream_take_back(l->from.s, STREAM_IN, why == SPLICE_FROM_FAILED ? err : 0);
	stream_take_back(l->to->s, STREAM_OUT, why == SPLICE_TO_FAILED ? err : 0);
}

/* So many bytes go from the connection whose other end is returned to the TLS of `to`. */
static int lend_begin(struct lent *l, struct end *to, uint64_t bytes)
{
	static const struct splice_events splice_events = { on_moved, on_splice_end };
	int fds[2];

	*l = (struct lent){ .to = to };
	pipe_pool_init_with(&l->pipes, 0, 0, 0);
	socket_pair(fds);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	l->from.s = stream_open(loop, fds[1], NULL, &events, &l->from);
	assert_int_equal(stream_lend(l->from.s, STREAM_IN), 0);
	assert_true(stream_may_lend(to->s, STREAM_OUT) && !stream_may_lend(to->s, STREAM_IN));
	wait_until(!stream_is_busy(to->s, STREAM_OUT));
	assert_int_equal(stream_lend(to->s, STREAM_OUT), 0);
	l->splice = splice_new(&l->pipes, l->from.s, to->s, bytes, &splice_events, l);
	return fds[0];
}

static void lend_end(struct lent *l, int fd)
{
	close(fd);
	end_close(&l->from);
	pipe_pool_fini(&l->pipes);
}

/* The pattern from `at` on, as much as the socket takes. */
static size_t source_fill(int fd, size_t at, size_t until)
{
	uint8_t bytes[8192];
	ssize_t n;

	while (at < until) {
		size_t len = MIN(until - at, sizeof(bytes));

		for (size_t i = 0; i < len; i++)
			bytes[i] = pattern(at + i);
		n = write(fd, bytes, len);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	return at;
}

static void test_a_lent_output_carries_what_is_spliced(void **state)
{
	size_t fed = 1000, middle = 1000 + BULK / 2 + 77;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct end c = { .reads = true }, s = { .to_write = 1000 };
		struct lent l;
		int source;

		begin_pair(&c, &s, server, clients[i], NULL);
		wait_until(s.connected && c.received == 1000);
		source = lend_begin(&l, &s, middle - 1000);
		assert_int_not_equal(stream_lend(s.s, STREAM_OUT), 0); /* it is away */
		for (fed = 1000; l.splice;) {
			fed = source_fill(source, fed, middle);
			turns(1);
		}
		assert_int_equal(l.why, SPLICE_DONE);
		/* A last record that was not full is not kept back. */
		wait_until(c.received == middle);
		/* And again from here, up to an end that is not cut off. */
		s.written = middle;
		s.to_write = middle + 300000;
		fill(&s);
		wait_until(s.s->queued == 0);
		stream_shutdown(s.s);
		wait_until(c.eof == 1);
		assert_int_equal(c.received, middle + 300000);
		assert_int_equal(s.s->bytes_out, middle + 300000);
		assert_int_equal(c.wrong, 0);
		end_close(&c);
		end_close(&s);
		lend_end(&l, source);
	}
}

static void test_what_is_there_is_not_kept_back(void **state)
{
	struct end c = { .reads = true }, s = { 0 };
	struct lent l;
	int source;

	(void)state;
	begin_pair(&c, &s, server, clients[0], NULL);
	wait_until(s.connected && c.connected);
	source = lend_begin(&l, &s, BULK);
	/* The source pauses in the middle of records. */
	for (size_t at = 0; at < 20000;) {
		at = source_fill(source, at, at + 777);
		wait_until(c.received == at);
	}
	assert_non_null(l.splice);
	assert_int_equal(splice_stop(l.splice), 0);
	on_splice_end(l.splice, SPLICE_DONE, 0);
	end_close(&s);
	wait_until(c.eof == 1);
	assert_int_equal(c.wrong + c.failed, 0);
	end_close(&c);
	lend_end(&l, source);
}

/* It asks for new keys, which we do not have: that ends the connection, but only when the output is back. */
static void test_tls_says_nothing_while_its_output_is_away(void **state)
{
	struct end s;
	struct lent l;
	int fd, source;
	SSL *ssl = peer_begin(&s, &fd);
	size_t got;

	(void)state;
	s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_LARGE);
	source = lend_begin(&l, &s, 100000);
	assert_int_equal(source_fill(source, 0, 50000), 50000);
	assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_do_handshake(ssl), 1);
	turns(20);
	assert_int_equal(source_fill(source, 50000, 100000), 100000);
	wait_until(!l.splice || s.failed);
	if (l.splice) {
		(void)splice_stop(l.splice);
		on_splice_end(l.splice, SPLICE_DONE, 0);
	}
	turns(20);
	end_close(&s);
	(void)peer_read_all(ssl, 0, &got); /* what came is what was sent */
	peer_end(ssl, fd);
	lend_end(&l, source);
}

static void test_a_peer_that_goes_while_bytes_are_spliced(void **state)
{
	struct end s;
	struct lent l;
	int fd, source;
	SSL *ssl = peer_begin(&s, &fd);
	const struct linger linger = { 1, 0 };
	size_t at = 0;

	(void)state;
	source = lend_begin(&l, &s, BULK);
	at = source_fill(source, at, BULK);
	turns(10);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	peer_end(ssl, fd);
	for (unsigned i = 0; i < 2000 && l.splice; i++) {
		at = source_fill(source, at, BULK);
		turns(1);
	}
	assert_null(l.splice);
	assert_int_equal(l.why, SPLICE_TO_FAILED);
	wait_until(s.failed == 1);
	end_close(&s);
	lend_end(&l, source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)
		TEST(test_a_lent_output_carries_what_is_spliced),
		TEST(test_what_is_there_is_not_kept_back),
		TEST(test_tls_says_nothing_while_its_output_is_away),
		TEST(test_a_peer_that_goes_while_bytes_are_spliced),
#undef TEST
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does: splice(2) has no flag for it */
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
