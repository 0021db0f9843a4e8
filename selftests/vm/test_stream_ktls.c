/* SPDX-License-Identifier: GPL-2.0-only */
/* test_stream_ktls.c - TLS streams whose records the kernel makes: runs only where the kernel can. */
#include "unit/net/tls_pki.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/ktls.h"
#include "net/listener.h"
#include "net/stream_tls_private.h"

#define DEADLINE_MS 30000
#define BULK	    (16U << 20)

struct end {
	struct stream *s;
	unsigned connected, eof, failed, closed;
	enum tls_failure failure;
	size_t received, wrong;
	bool reads;
	size_t to_write, written;
};

static struct loop *loop;
static struct pki ca, leaf;
static struct tls_shared *shared;
static struct tls_server *server, *plain_server;
static struct tls_client *clients[2]; /* newest, TLS 1.2 */
static SSL_CTX *any_ctx;

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static void fill(struct end *e)
{
	while (e->written < e->to_write && e->s->queued < 200000) {
		size_t n = MIN(e->to_write - e->written, e->written / 1000 % 3 ? (size_t)60000 : 1504);
		struct iobuf *b = iobuf_new((uint32_t)n);

		for (size_t i = 0; i < n; i++)
			b->data[i] = pattern(e->written + i);
		e->written += n;
		stream_write(e->s, (struct slice){ b, b->data, (uint32_t)n, 0 });
	}
}

static void on_connected(struct stream *s)
{
	struct end *e = s->owner;

	e->connected++;
	fill(e);
	if (e->reads)
		stream_read(s, LOOP_BUFFERS_LARGE);
}

static void on_data(struct stream *s, struct slice data)
{
	struct end *e = s->owner;

	for (uint32_t i = 0; i < data.len; i++)
		e->wrong += data.ptr[i] != pattern(e->received + i);
	e->received += data.len;
	slice_put(&data);
	if (e->reads)
		stream_read(s, LOOP_BUFFERS_LARGE);
}

static void on_eof(struct stream *s)
{
	((struct end *)s->owner)->eof++;
}

static void on_sent(struct stream *s, size_t bytes)
{
	(void)bytes;
	fill(s->owner);
}

static void on_fail(struct stream *s, int err)
{
	struct end *e = s->owner;

	(void)err;
	e->failed++;
	e->failure = tlsio_failure(stream_tls(s));
}

static void on_hangup(struct stream *s)
{
	(void)s;
}

static void on_closed(struct stream *s)
{
	((struct end *)s->owner)->closed++;
}

static const struct stream_events events = { on_connected, on_data, on_eof, on_sent, on_fail, on_hangup, on_closed };

#define wait_until(condition)                                                     \
	do {                                                                      \
		uint64_t wait_end_ = loop_now_ms(loop) + DEADLINE_MS;             \
		while (!(condition)) {                                            \
			assert_int_equal(loop_turn(loop, 20), 0);                 \
			if (loop_now_ms(loop) > wait_end_)                        \
				fail_msg("after %d ms: %s", DEADLINE_MS, #condition); \
		}                                                                 \
	} while (0)

static void turns(unsigned count)
{
	while (count--)
		assert_int_equal(loop_turn(loop, 5), 0);
}

/* Two connected sockets; the first one connected. */
static void socket_pair(int fds[2])
{
	struct addr addr;
	socklen_t len = sizeof(addr.in);
	int listener;

	assert_int_equal(addr_parse(SPAN("127.0.0.1:0"), &addr), 0);
	listener = listener_socket(&addr, 16, true);
	assert_true(listener >= 0);
	assert_int_equal(getsockname(listener, &addr.sa, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], &addr.sa, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(listener);
}

static void begin_pair(struct end *c, struct end *s, struct tls_server *srv, struct tls_client *with,
		       struct tls_session_cache *cache)
{
	int fds[2];

	socket_pair(fds);
	s->s = stream_tls_server(stream_open(loop, fds[1], NULL, &events, NULL), (struct slice){ 0 }, srv, &events, s);
	c->s = stream_tls_client(stream_open(loop, fds[0], NULL, &events, NULL),
				 tls_client_ssl(with, SPAN("a.example"), cache), &events, c);
}

static void end_close(struct end *e)
{
	stream_close(e->s);
	wait_until(e->closed);
	turns(1);
}

static bool kernel_sends(struct end *e)
{
	return tlsio_kernel_sends(stream_tls(e->s));
}

/* --- a peer on a socket --- */

#define peer_do(call)                                              \
	do {                                                       \
		unsigned tries_ = 0;                               \
		while ((call) <= 0) {                              \
			ERR_clear_error();                         \
			turns(1);                                  \
			if (++tries_ > 500)                        \
				fail_msg("no success: %s", #call); \
		}                                                  \
	} while (0)

static SSL *peer_begin(struct end *e, int *out_fd)
{
	int fds[2];
	SSL *ssl = any_client(any_ctx, "a.example");

	socket_pair(fds);
	*e = (struct end){ 0 };
	e->s = stream_tls_server(stream_open(loop, fds[1], NULL, &events, NULL), (struct slice){ 0 }, server, &events,
				 e);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SSL_set_fd(ssl, fds[0]), 1);
	*out_fd = fds[0];
	peer_do(SSL_connect(ssl));
	wait_until(e->connected);
	assert_true(kernel_sends(e));
	return ssl;
}

static void peer_end(SSL *ssl, int fd)
{
	SSL_free(ssl);
	close(fd);
}

/* Of the pattern from `from` on; returns what SSL_get_error() said at the end. */
static int peer_read_all(SSL *ssl, size_t from, size_t *out_got)
{
	static uint8_t buf[65536];
	int n;

	*out_got = from;
	for (unsigned tries = 0; tries < 4000;) {
		n = SSL_read(ssl, buf, sizeof(buf));
		if (n > 0) {
			for (int i = 0; i < n; i++)
				assert_int_equal(buf[i], pattern(*out_got + (size_t)i));
			*out_got += (size_t)n;
			continue;
		}
		if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
			return SSL_get_error(ssl, n);
		tries++;
		turns(1);
	}
	fail_msg("no end after %zu bytes", *out_got);
	return -1;
}

/* --- fixtures --- */

static int group_setup(void **state)
{
	static struct tls_pair_config files;
	struct tls_server_config c;
	struct tls_client_config cc;

	(void)state;
	assert_true(ktls_is_there());
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "root", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "a.example", .san = "DNS:a.example", .issuer = &ca });
	files = pki_write("leaf", &leaf, NULL);
	shared = tls_shared_new(0);
	tls_server_config_init(&c);
	c.label = "test";
	c.defaults = &files;
	c.default_count = 1;
	plain_server = server_make(&c, shared);
	c.kernel_tls = true;
	server = server_make(&c, shared);
	tls_client_config_init(&cc);
	cc.label = "test";
	cc.ca_file = pki_write_cert("ca.pem", &ca, NULL);
	clients[0] = client_make(&cc);
	cc.version_max = TLS_VERSION_12;
	clients[1] = client_make(&cc);
	any_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(any_ctx);
	tls_client_put(clients[0]);
	tls_client_put(clients[1]);
	tls_server_put(server);
	tls_server_put(plain_server);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_free(&ca);
	pki_end();
	return 0;
}

static int setup(void **state)
{
	const char *reason = "";

	(void)state;
	if (loop_new(&loop, NULL, &reason) != 0)
		fail_msg("%s", reason);
	return 0;
}

static int teardown(void **state)
{
	struct loop_gauges gauges;

	(void)state;
	turns(2);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.ops_inflight, 0);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_LARGE], 0);
	loop_free(loop);
	return 0;
}

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
	for (unsigned i = 0; i < 32; i++) {
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
		start = clock_mono_ns() / 1000000;
		s.to_write = BULK;
		fill(&s);
		wait_until(c.received == BULK);
		print_message("%s: %llu ms of both ends for %u MB\n", i % 2 ? "kernel" : "OpenSSL",
			      (unsigned long long)(clock_mono_ns() / 1000000 - start), BULK >> 20);
		end_close(&c);
		end_close(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
