/* SPDX-License-Identifier: GPL-2.0-only */
/* test_stream_tls.c - TLS streams over loopback: with each other, with OpenSSL on a socket, with bad peers. */
#include "tls_pki.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>

#include "base/mem.h"
#include "lib/loop_turns.h"
#include "listen_any.h"
#include "net/stream_tls_private.h"

/* One end under test: what happened to it. */
struct end {
	struct stream *s;
	unsigned connected, eof, hangup, failed, closed;
	int err;
	enum tls_failure failure;
	size_t received, sent;
	size_t wrong;	  /* received bytes that are not the pattern */
	bool reads, echoes; /* asks again after each on_data */
	bool closes_on_fail, closes_on_connected;
	enum loop_buffers class;
	/* A source of bytes: keeps a little queued until all is written. */
	size_t to_write, written, below_max, queued_max;
	char text[64]; /* the first bytes */
};

static struct pki ca, leaf;
static struct tls_shared *shared;
static struct tls_server *server, *new_server, *early_server;
static struct tls_client *client, *old_client, *other_client;
static SSL_CTX *any_ctx;
static size_t openssl_bytes;

/* --- what OpenSSL allocates, counted --- */

static void *count_malloc(size_t size, const char *file, int line)
{
	size_t *p = malloc(size + 16);

	(void)file;
	(void)line;
	if (!p)
		return NULL;
	*p = size;
	openssl_bytes += size;
	return (char *)p + 16;
}

static void count_free(void *p, const char *file, int line)
{
	size_t *real = p ? (size_t *)(void *)((char *)p - 16) : NULL;

	(void)file;
	(void)line;
	if (real)
		openssl_bytes -= *real;
	free(real);
}

static void *count_realloc(void *p, size_t size, const char *file, int line)
{
	void *to;

	if (!p)
		return count_malloc(size, file, line);
	to = count_malloc(size, file, line);
	memcpy(to, p, MIN(size, *(size_t *)(void *)((char *)p - 16)));
	count_free(p, file, line);
	return to;
}

/* --- events --- */

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static void fill(struct end *e)
{
	while (e->written < e->to_write && e->s->queued < 200000) {
		size_t n = MIN(e->to_write - e->written, e->written / 1000 % 3 ? (size_t)60000 : 1504);
		struct iobuf *b;

		b = iobuf_new((uint32_t)n);
		for (size_t i = 0; i < n; i++)
			b->data[i] = pattern(e->written + i);
		e->written += n;
		stream_write(e->s, (struct slice){ b, b->data, (uint32_t)n });
		e->queued_max = MAX(e->queued_max, e->s->queued);
	}
}

static void on_connected(struct stream *s)
{
	struct end *e = s->owner;

	e->connected++;
	fill(e);
	if (e->reads)
		stream_read(s, e->class);
	if (e->closes_on_connected)
		stream_close(s);
}

static void on_data(struct stream *s, struct slice data)
{
	struct end *e = s->owner;

	assert_true(data.len > 0);
	if (e->received < sizeof(e->text))
		memcpy(e->text + e->received, data.ptr, MIN((size_t)data.len, sizeof(e->text) - 1 - e->received));
	for (uint32_t i = 0; i < data.len; i++)
		e->wrong += data.ptr[i] != pattern(e->received + i);
	e->received += data.len;
	if (e->echoes)
		stream_write(s, data);
	else
		slice_put(&data);
	if (e->reads)
		stream_read(s, e->class);
}

static void on_eof(struct stream *s)
{
	((struct end *)s->owner)->eof++;
}

static void on_sent(struct stream *s, size_t bytes)
{
	struct end *e = s->owner;
	size_t below_queued;

	assert_true(bytes > 0);
	e->sent += bytes;
	assert_int_equal(s->bytes_out, e->sent);
	below_queued = container_of(s, struct stream_tls, face)->below->queued;
	assert_true(s->sending <= s->queued);
	assert_true(below_queued == 0 || s->sending > 0);
	e->below_max = MAX(e->below_max, below_queued);
	fill(e);
}

static void on_fail(struct stream *s, int err)
{
	struct end *e = s->owner;

	e->failed++;
	e->err = err;
	e->failure = tlsio_failure(stream_tls(s));
	if (e->closes_on_fail)
		stream_close(s);
}

static void on_hangup(struct stream *s)
{
	((struct end *)s->owner)->hangup++;
}

static void on_closed(struct stream *s)
{
	((struct end *)s->owner)->closed++;
}

static const struct stream_events events = { on_connected, on_data, on_eof, on_sent, on_fail, on_hangup, on_closed };

/* --- making ends --- */

/* A TLS client that connects; the other end's descriptor. */
static int client_begin(struct end *e, struct tls_client *with, struct tls_session_cache *cache)
{
	struct addr addr;
	struct stream *below;
	int listener = listen_any(&addr), fd, err;

	below = stream_connect(loop, &addr, &events, NULL, &err);
	assert_non_null(below);
	e->s = stream_tls_client(below, tls_client_ssl(with, SPAN("a.example"), cache), &events, e);
	assert_int_equal(e->s->state, STREAM_CONNECTING);
	assert_int_equal(loop_turn(loop, 0), 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void server_begin(struct end *e, struct tls_server *with, int fd)
{
	e->s = stream_tls_server(stream_open(loop, fd, NULL, &events, NULL), (struct slice){ 0 }, with, &events, e);
}

static void begin_pair(struct end *c, struct end *s)
{
	*c = *s = (struct end){ 0 };
	server_begin(s, server, client_begin(c, client, NULL));
}

static void connect_pair(struct end *c, struct end *s)
{
	begin_pair(c, s);
	wait_until(c->connected && s->connected);
	assert_int_equal(c->connected + s->connected, 2);
}

/* A server stream and the descriptor of who talks to it. */
static int server_raw(struct end *e, struct tls_server *with)
{
	int fds[2];
	struct addr addr;
	socklen_t len = sizeof(addr.in);
	int listener = listen_any(&addr);

	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], &addr.sa, len), 0);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(listener);
	*e = (struct end){ 0 };
	server_begin(e, with, fds[1]);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	return fds[0];
}

static void end_close(struct end *e)
{
	if (!e->closed) {
		stream_close(e->s);
		wait_until(e->closed);
	}
	turns(1);
	assert_int_equal(e->closed, 1);
}

/* --- OpenSSL on a socket, as a peer --- */

static SSL *peer_new(int fd)
{
	SSL *ssl = any_client(any_ctx, "a.example");

	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	return ssl;
}

/* Run both until the call succeeds. */
#define peer_do(call)                                                     \
	do {                                                              \
		unsigned tries_ = 0;                                      \
		while ((call) <= 0) {                                     \
			ERR_clear_error();                                \
			turns(1);                                         \
			if (++tries_ > 500)                               \
				fail_msg("no success: %s", #call);        \
		}                                                         \
	} while (0)

static void peer_free(SSL *ssl, int fd)
{
	SSL_free(ssl);
	if (fd >= 0)
		close(fd);
}

/* What comes from the socket until its end: bytes, or -1 for a reset. */
static ssize_t read_to_end(int fd, uint8_t *to, size_t room)
{
	size_t got = 0;

	for (unsigned tries = 0; tries < 500; tries++) {
		ssize_t n = recv(fd, to + got, room - got, MSG_DONTWAIT);

		if (n == 0)
			return (ssize_t)got;
		if (n > 0)
			got += (size_t)n;
		else if (errno != EAGAIN)
			return -1;
		turns(1);
	}
	fail_msg("no end of the connection");
	return -1;
}

/* --- fixtures --- */

static int group_setup(void **state)
{
	static struct tls_pair_config files;
	static const char *const alpn[] = { "http/1.1" };
	struct tls_server_config c;
	struct tls_client_config cc;
	struct pki other;

	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "root", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "a.example", .san = "DNS:a.example", .issuer = &ca });
	files = pki_write("leaf", &leaf, NULL);
	shared = tls_shared_new(0);
	tls_server_config_init(&c);
	c.label = "test";
	c.defaults = &files;
	c.default_count = 1;
	c.alpn = alpn;
	c.alpn_count = 1;
	server = server_make(&c, shared);
	c.version_min = TLS_VERSION_13;
	new_server = server_make(&c, shared);
	c.early_data = true;
	early_server = server_make(&c, shared);
	tls_client_config_init(&cc);
	cc.label = "test";
	cc.ca_file = pki_write_cert("ca.pem", &ca, NULL);
	client = client_make(&cc);
	cc.version_max = TLS_VERSION_12;
	old_client = client_make(&cc);
	other = pki_make((struct pki_spec){ .name = "another root", .is_ca = true });
	cc.version_max = TLS_VERSION_DEFAULT;
	cc.ca_file = pki_write_cert("other.pem", &other, NULL);
	other_client = client_make(&cc);
	pki_free(&other);
	any_ctx = SSL_CTX_new(TLS_client_method());
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	SSL_CTX_free(any_ctx);
	tls_client_put(client);
	tls_client_put(old_client);
	tls_client_put(other_client);
	tls_server_put(server);
	tls_server_put(new_server);
	tls_server_put(early_server);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_free(&ca);
	pki_end();
	return 0;
}

static unsigned fds_open(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = fds_open();
	return loop_start(NULL);
}

/* Nor may a descriptor be open. */
static int teardown(void **state)
{
	(void)loop_teardown(state);
	assert_int_equal(fds_open(), fds_before);
	return 0;
}

/* --- the ordinary --- */

static void test_echo(void **state)
{
	struct end c, s;
	struct addr local;
	char text[ADDR_TEXT_MAX], mine[ADDR_TEXT_MAX];

	(void)state;
	begin_pair(&c, &s);
	s.reads = s.echoes = c.reads = true;
	/* Written before there is a connection. */
	stream_write(c.s, slice_static("hello ", 6));
	stream_write(c.s, slice_static("world", 5));
	assert_int_equal(c.s->queued, 11);
	wait_until(c.received == 11);
	assert_string_equal(c.text, "hello world");
	assert_int_equal(c.sent, 11);
	assert_int_equal(c.s->queued + c.s->sending, 0);
	assert_int_equal(s.s->bytes_in, 11);
	assert_int_equal(s.s->bytes_out, 11);
	assert_true(span_eq(tlsio_server_name(stream_tls(s.s)), SPAN("a.example")));
	assert_int_equal(tlsio_failure(stream_tls(s.s)), TLS_FAILURE_NONE);
	addr_format(stream_peer(s.s), text);
	assert_int_equal(stream_local(c.s, &local), 0);
	addr_format(&local, mine);
	assert_string_equal(text, mine);
	end_close(&c);
	wait_until(s.eof);
	end_close(&s);
	assert_int_equal(c.failed + s.failed, 0);
}

static void test_one_read_is_one_event(void **state)
{
	struct end c, s;

	(void)state;
	connect_pair(&c, &s);
	stream_write(c.s, slice_static("abc", 3));
	turns(5);
	assert_int_equal(s.received, 0);
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	wait_until(s.received == 3);
	stream_write(c.s, slice_static("def", 3));
	turns(5);
	assert_int_equal(s.received, 3);
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	wait_until(s.received == 6);
	end_close(&c);
	end_close(&s);
}

static void test_half_close_keeps_the_other_direction(void **state)
{
	struct end c, s;

	(void)state;
	connect_pair(&c, &s);
	c.reads = s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	stream_write(c.s, slice_static("ask", 3));
	stream_shutdown(c.s);
	wait_until(s.eof);
	assert_int_equal(s.received, 3);
	stream_write(s.s, slice_static("answer", 6));
	stream_read(c.s, LOOP_BUFFERS_SMALL);
	wait_until(c.received == 6);
	assert_int_equal(c.eof, 0);
	stream_shutdown(s.s);
	wait_until(c.eof);
	assert_int_equal(c.failed + s.failed, 0);
	assert_int_equal(c.eof + s.eof, 2);
	end_close(&c);
	end_close(&s);
}

static void test_bulk_both_ways(void **state)
{
	const size_t bulk = getenv("SENTINEL_VM") ? 8U << 20 : 64U << 20;
	struct end ends[2] = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		ends[i].to_write = bulk;
		ends[i].reads = true;
		ends[i].class = i ? LOOP_BUFFERS_LARGE : LOOP_BUFFERS_SMALL;
	}
	server_begin(&ends[1], server, client_begin(&ends[0], client, NULL));
	wait_until(ends[0].received >= bulk / 2 || ends[1].received >= bulk / 2);
	wait_until(ends[0].received == bulk && ends[1].received == bulk);
	wait_until(ends[0].sent == bulk && ends[1].sent == bulk);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ends[i].wrong, 0);
		assert_int_equal(ends[i].s->queued + ends[i].s->sending, 0);
		assert_true(ends[i].below_max <= STREAM_TLS_CIPHER_MAX + 2 * TLSIO_RECORD_MAX);
		assert_true(ends[i].queued_max <= 200000 + 60000);
	}
	end_close(&ends[0]);
	wait_until(ends[1].eof);
	end_close(&ends[1]);
}

static void test_a_slow_reader_stops_the_writer(void **state)
{
	struct end c, s;
	struct loop_gauges gauges;
	size_t stuck;

	(void)state;
	connect_pair(&c, &s);
	s.to_write = 8U << 20;
	fill(&s);
	for (stuck = 1; stuck != s.sent;) {
		stuck = s.sent;
		turns(20);
	}
	assert_true(s.sent < s.to_write);
	assert_true(s.s->queued > 0 && s.s->queued <= s.queued_max);
	assert_true(container_of(s.s, struct stream_tls, face)->below->queued <=
		    STREAM_TLS_CIPHER_MAX + 2 * TLSIO_RECORD_MAX);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_LARGE], 0);
	/* The other direction is free. */
	s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	stream_write(c.s, slice_static("hello", 5));
	wait_until(s.received == 5);
	c.reads = true;
	c.class = LOOP_BUFFERS_LARGE;
	stream_read(c.s, LOOP_BUFFERS_LARGE);
	wait_until(c.received == s.to_write && s.sent == s.to_write);
	assert_int_equal(c.wrong, 0);
	assert_int_equal(s.s->queued, 0);
	end_close(&c);
	end_close(&s);
}

static void test_a_session_is_resumed(void **state)
{
	struct tls_session_cache cache = { 0 };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct end c = { 0 }, s = { 0 };

		c.reads = s.reads = s.echoes = true;
		server_begin(&s, server, client_begin(&c, client, &cache));
		stream_write(c.s, slice_static("hello", 5));
		wait_until(c.received == 5);
		assert_int_equal(tlsio_is_resumed(stream_tls(c.s)), i == 1);
		assert_int_equal(tlsio_is_resumed(stream_tls(s.s)), i == 1);
		end_close(&c);
		end_close(&s);
	}
	tls_session_cache_fini(&cache);
}

static void test_bytes_read_before_are_used(void **state)
{
	struct end s = { 0 };
	int fds[2];
	SSL *peer;
	uint8_t bytes[4096];
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	peer = peer_new(fds[0]);
	assert_int_equal(SSL_connect(peer), -1);
	n = recv(fds[1], bytes, sizeof(bytes), 0);
	assert_true(n > 100);
	s.s = stream_tls_server(stream_open(loop, fds[1], NULL, &events, NULL), slice_copy(bytes, (uint32_t)n), server,
				&events, &s);
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	peer_free(peer, fds[0]);
	end_close(&s);
}

/* --- memory --- */

static void test_an_idle_stream_holds_no_buffers(void **state)
{
	struct end c, s;
	size_t busy, idle;

	(void)state;
	connect_pair(&c, &s);
	c.reads = s.reads = s.echoes = true;
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	stream_read(c.s, LOOP_BUFFERS_SMALL);
	idle = openssl_bytes;
	/* One use: nothing stays.  Many: two buffers each, until there is silence. */
	stream_write(c.s, slice_static("hello", 5));
	wait_until(c.received == 5);
	assert_true(openssl_bytes < idle + TLSIO_RECORD_MAX);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < TLSIO_WARM_USES; i++) {
			size_t before = c.received;

			stream_write(c.s, slice_static("hello", 5));
			wait_until(c.received == before + 5);
		}
		busy = openssl_bytes;
		assert_non_null(container_of(c.s, struct stream_tls, face)->busy);
		wait_until(!container_of(c.s, struct stream_tls, face)->busy &&
			   !container_of(s.s, struct stream_tls, face)->busy);
		assert_true(busy - openssl_bytes >= 4 * TLSIO_RECORD_MAX);
	}
	end_close(&c);
	end_close(&s);
}

/* --- ends --- */

static void test_an_end_without_close_notify(void **state)
{
	struct end c, s;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		connect_pair(&c, &s);
		c.reads = s.reads = true;
		stream_read(s.s, LOOP_BUFFERS_SMALL);
		stream_read(c.s, LOOP_BUFFERS_SMALL);
		stream_write(i ? c.s : s.s, slice_static("cut", 3));
		wait_until((i ? s : c).received == 3);
		shutdown(stream_fd(i ? c.s : s.s), SHUT_WR);
		wait_until((i ? s : c).eof + (i ? s : c).failed);
		if (i) {
			assert_int_equal(s.eof, 1);
			assert_int_equal(s.failed, 0);
		} else {
			assert_int_equal(c.eof, 0);
			assert_int_equal(c.err, -EPROTO);
			assert_int_equal(c.failure, TLS_FAILURE_CLOSED);
		}
		end_close(&c);
		end_close(&s);
	}
}

static void test_what_follows_close_notify_is_ignored(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);

	(void)state;
	s.reads = true;
	peer_do(SSL_connect(peer));
	peer_do(SSL_write(peer, "last", 4));
	assert_true(SSL_shutdown(peer) >= 0);
	assert_int_equal(send(fd, "rubbish", 7, 0), 7);
	wait_until(s.eof);
	turns(5);
	assert_int_equal(s.received, 4);
	assert_int_equal(s.eof, 1);
	assert_int_equal(s.failed, 0);
	stream_write(s.s, slice_static("answer", 6));
	wait_until(s.sent == 6);
	peer_free(peer, fd);
	end_close(&s);
}

/* Body, close_notify and FIN are one packet, and the client is told of the end. */
static void test_the_end_is_one_packet(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);
	struct tcp_info before, after;
	socklen_t len = sizeof(before);
	char byte;

	(void)state;
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	turns(30); /* acknowledgements that were delayed */
	assert_int_equal(getsockopt(stream_fd(s.s), IPPROTO_TCP, TCP_INFO, &before, &len), 0);
	stream_write(s.s, slice_static("answer", 6));
	stream_ends_soon(s.s);
	wait_until(s.sent == 6);
	assert_int_equal(s.s->queued, 0);
	stream_shutdown(s.s);
	turns(3);
	assert_int_equal(getsockopt(stream_fd(s.s), IPPROTO_TCP, TCP_INFO, &after, &len), 0);
	assert_int_equal(after.tcpi_segs_out - before.tcpi_segs_out, 1);
	peer_do(SSL_read(peer, &byte, 1));
	assert_int_equal(SSL_read(peer, &byte, 1), 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(SSL_read(peer, &byte, 1), 1);
	assert_int_equal(SSL_get_error(peer, SSL_read(peer, &byte, 1)), SSL_ERROR_ZERO_RETURN);
	peer_free(peer, fd);
	end_close(&s);
}

static void test_close_says_goodbye(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);
	char byte;

	(void)state;
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	turns(1); /* its ticket is out */
	end_close(&s);
	assert_int_equal(SSL_get_error(peer, SSL_read(peer, &byte, 1)), SSL_ERROR_ZERO_RETURN);
	peer_free(peer, fd);
}

/* What is dropped must not look like a whole message, which may end with the connection. */
static void test_close_does_not_hide_what_it_drops(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);
	char byte;

	(void)state;
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	turns(1); /* its ticket is out */
	stream_write(s.s, slice_static("never sent", 10));
	end_close(&s);
	assert_int_not_equal(SSL_get_error(peer, SSL_read(peer, &byte, 1)), SSL_ERROR_ZERO_RETURN);
	ERR_clear_error();
	peer_free(peer, fd);
}

static void test_abort_resets_the_peer(void **state)
{
	struct end c, s;

	(void)state;
	connect_pair(&c, &s);
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	turns(1);
	stream_abort(c.s);
	wait_until(c.closed && s.failed);
	assert_int_equal(s.err, -ECONNRESET);
	assert_int_equal(s.failure, TLS_FAILURE_NONE);
	end_close(&s);
}

static void test_watch_sees_the_end_without_reading(void **state)
{
	struct end c, s;

	(void)state;
	connect_pair(&c, &s);
	stream_watch(s.s, true);
	stream_write(c.s, slice_static("data", 4));
	turns(3);
	assert_int_equal(s.hangup, 0);
	stream_shutdown(c.s);
	wait_until(s.hangup);
	assert_int_equal(s.hangup + s.received, 1);
	s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	wait_until(s.eof);
	assert_int_equal(s.received, 4);
	stream_watch(s.s, true);
	turns(2);
	assert_int_equal(s.hangup, 1);
	stream_abort(c.s);
	wait_until(c.closed && s.failed);
	end_close(&s);
}

/* An origin answers and resets while we still write: what is queued is dropped, the answer is read, then the end. */
static void test_answer_before_reset_waits_for_the_reader(void **state)
{
	static char request[1000];
	struct end c = { 0 };
	int fd = client_begin(&c, client, NULL);
	SSL *peer = tls_server_ssl(server);

	(void)state;
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SSL_set_fd(peer, fd), 1);
	peer_do(SSL_accept(peer));
	wait_until(c.connected);
	stream_write(c.s, slice_static(request, sizeof(request)));
	wait_until(c.sent == sizeof(request));
	assert_int_equal(SSL_write(peer, "413 early", 9), 9);
	peer_free(peer, fd); /* with unread bytes: the kernel resets */
	turns(2);
	for (unsigned i = 0; i < 3; i++) { /* at least one of them fails */
		stream_write(c.s, slice_static(request, sizeof(request)));
		turns(2);
	}
	assert_int_equal(c.failed, 0);
	stream_read(c.s, LOOP_BUFFERS_SMALL);
	wait_until(c.received);
	assert_string_equal(c.text, "413 early");
	assert_int_equal(c.s->queued + c.s->sending, 0);
	stream_read(c.s, LOOP_BUFFERS_SMALL);
	wait_until(c.failed);
	assert_int_equal(c.failed, 1);
	assert_int_equal(c.failure, TLS_FAILURE_NONE);
	end_close(&c);
}

/* We have said goodbye and ended our half; then the peer breaks the rules. */
static void test_a_bad_record_after_our_end(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);
	char byte;

	(void)state;
	s.reads = true;
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	stream_shutdown(s.s);
	peer_do(SSL_get_error(peer, SSL_read(peer, &byte, 1)) == SSL_ERROR_ZERO_RETURN);
	assert_int_equal(send(fd, "\x17\x03\x03\x00\x20 0123456789012345678901234567890", 37, 0), 37);
	wait_until(s.failed);
	assert_int_equal(s.err, -EPROTO);
	peer_free(peer, fd);
	end_close(&s);
}

/* --- handshakes that fail --- */

static void test_what_is_no_tls_fails(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
	struct end s;
	int fd;

	(void)state;
	fd = server_raw(&s, server);
	assert_int_equal(send(fd, http, sizeof(http) - 1, 0), (ssize_t)sizeof(http) - 1);
	wait_until(s.failed);
	assert_int_equal(s.err, -EPROTO);
	assert_int_equal(s.failure, TLS_FAILURE_NOT_TLS);
	assert_int_equal(s.connected, 0);
	close(fd);
	end_close(&s);

	fd = server_raw(&s, server);
	close(fd);
	wait_until(s.failed);
	assert_int_equal(s.err, -EPROTO);
	assert_int_equal(s.failure, TLS_FAILURE_CLOSED);
	end_close(&s);
}

/* The client still sends when the server refuses it: a reset would overtake the alert. */
static void test_the_alert_reaches_the_peer(void **state)
{
	static char more[30000];
	struct end s;
	uint8_t got[64];
	uint64_t began;
	int fd = server_raw(&s, new_server);
	SSL *peer = peer_new(fd);

	(void)state;
	s.closes_on_fail = true;
	SSL_set_max_proto_version(peer, TLS1_2_VERSION);
	assert_int_equal(SSL_connect(peer), -1);
	assert_int_equal(send(fd, more, sizeof(more), 0), (ssize_t)sizeof(more));
	began = loop_now_ms(loop);
	wait_until(s.failed);
	assert_int_equal(s.failure, TLS_FAILURE_NO_SHARED_VERSION);
	assert_int_equal(send(fd, more, sizeof(more), 0), (ssize_t)sizeof(more));
	assert_int_equal(read_to_end(fd, got, sizeof(got)), 7);
	assert_int_equal(got[0], SSL3_RT_ALERT);
	assert_int_equal(got[6], SSL_AD_PROTOCOL_VERSION);
	peer_free(peer, fd);
	wait_until(s.closed);
	assert_true(loop_now_ms(loop) - began < STREAM_TLS_LINGER_MS);
}

/* A peer that neither reads nor ends is not waited for longer. */
static void test_lingering_ends(void **state)
{
	static char more[8192];
	struct end s;
	uint64_t began;
	int fd = server_raw(&s, new_server);
	SSL *peer = peer_new(fd);

	(void)state;
	s.closes_on_fail = true;
	SSL_set_max_proto_version(peer, TLS1_2_VERSION);
	assert_int_equal(SSL_connect(peer), -1);
	wait_until(s.failed);
	began = loop_now_ms(loop);
	wait_until(s.closed);
	assert_in_range(loop_now_ms(loop) - began, STREAM_TLS_LINGER_MS - 50, STREAM_TLS_LINGER_MS + 500);
	peer_free(peer, fd);

	fd = server_raw(&s, new_server);
	peer = peer_new(fd);
	s.closes_on_fail = true;
	SSL_set_max_proto_version(peer, TLS1_2_VERSION);
	assert_int_equal(SSL_connect(peer), -1);
	wait_until(s.failed);
	began = loop_now_ms(loop);
	while (!s.closed) {
		(void)!send(fd, more, sizeof(more), MSG_NOSIGNAL);
		turns(1);
	}
	assert_true(loop_now_ms(loop) - began < STREAM_TLS_LINGER_MS);
	peer_free(peer, fd);
}

/* Both sides are ours; the client refuses the server's certificate, and the server hears why. */
static void test_a_refused_certificate_is_told(void **state)
{
	struct end c = { 0 }, s = { 0 };

	(void)state;
	c.closes_on_fail = s.closes_on_fail = true;
	stream_write((server_begin(&s, server, client_begin(&c, other_client, NULL)), c.s), slice_static("x", 1));
	wait_until(c.closed && s.closed);
	assert_int_equal(c.failure, TLS_FAILURE_UNKNOWN_CA);
	assert_int_equal(s.failure, TLS_FAILURE_ALERT_UNKNOWN_CA);
	assert_int_equal(c.connected + s.connected, 0);
	assert_int_equal(c.failed + s.failed, 2);

	c = s = (struct end){ .closes_on_fail = true };
	server_begin(&s, new_server, client_begin(&c, old_client, NULL));
	wait_until(c.closed && s.closed);
	assert_int_equal(c.failure, TLS_FAILURE_NO_SHARED_VERSION);
	assert_int_equal(s.failure, TLS_FAILURE_NO_SHARED_VERSION);
}

static void test_close_at_any_time(void **state)
{
	(void)state;
	for (unsigned count = 0; count < 12; count++) {
		for (unsigned kind = 0; kind < 4; kind++) {
			struct end c, s;

			begin_pair(&c, &s);
			s.closes_on_connected = kind == 3;
			c.reads = true;
			stream_write(c.s, slice_static("never mind", 10));
			for (unsigned i = 0; i < count; i++)
				assert_int_equal(loop_turn(loop, 1), 0);
			if (kind == 2)
				stream_abort(c.s);
			else if (kind < 2)
				stream_close(kind ? c.s : s.s);
			end_close(&c);
			end_close(&s);
		}
	}
}

static void test_connect_refused(void **state)
{
	struct addr addr;
	struct end c = { 0 };
	int err, held;

	(void)state;
	held = hold_any(&addr);
	c.s = stream_tls_client(stream_connect(loop, &addr, &events, NULL, &err),
				tls_client_ssl(client, SPAN("a.example"), NULL), &events, &c);
	stream_write(c.s, slice_static("never", 5));
	wait_until(c.failed);
	assert_int_equal(c.err, -ECONNREFUSED);
	assert_int_equal(c.failure, TLS_FAILURE_NONE);
	assert_int_equal(c.connected, 0);
	end_close(&c);
	close(held);
}

static void test_a_bad_record_ends_the_connection(void **state)
{
	struct end s;
	int fd = server_raw(&s, server);
	SSL *peer = peer_new(fd);
	char byte;

	(void)state;
	s.reads = true;
	s.closes_on_fail = true;
	peer_do(SSL_connect(peer));
	peer_do(SSL_write(peer, "good", 4));
	assert_int_equal(send(fd, "\x17\x03\x03\x00\x20 0123456789012345678901234567890", 37, 0), 37);
	wait_until(s.failed);
	assert_int_equal(s.received, 4);
	assert_int_equal(s.err, -EPROTO);
	assert_int_equal(s.failure, TLS_FAILURE_PROTOCOL);
	turns(3);
	assert_int_equal(SSL_get_error(peer, SSL_read(peer, &byte, 1)), SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	ERR_clear_error();
	peer_free(peer, fd);
	wait_until(s.closed);
}

/* --- early data --- */

static SSL_SESSION *early_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(early_session);
	early_session = session;
	return 1;
}

static void test_early_data(void **state)
{
	struct end s;
	SSL *peer;
	size_t n;
	char text[16] = "";
	int fd = server_raw(&s, early_server);

	(void)state;
	SSL_CTX_set_session_cache_mode(any_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(any_ctx, keep_session);
	peer = peer_new(fd);
	peer_do(SSL_connect(peer));
	wait_until(s.connected);
	assert_false(tlsio_is_early(stream_tls(s.s)));
	stream_write(s.s, slice_static("x", 1));
	peer_do(SSL_read(peer, text, 1));
	assert_true(early_session && SSL_SESSION_get_max_early_data(early_session) > 0);
	SSL_set_shutdown(peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	peer_free(peer, fd);
	end_close(&s);

	fd = server_raw(&s, early_server);
	peer = peer_new(fd);
	assert_int_equal(SSL_set_session(peer, early_session), 1);
	assert_int_equal(SSL_write_early_data(peer, "GET /", 5, &n), 1);
	wait_until(s.connected);
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	wait_until(s.received == 5);
	assert_string_equal(s.text, "GET /");
	assert_true(tlsio_is_early(stream_tls(s.s)));
	/* The answer and its end: close_notify waits for the handshake, which the owner's reading completes. */
	stream_write(s.s, slice_static("answer", 6));
	stream_shutdown(s.s);
	wait_until(s.sent == 6);
	s.reads = true;
	stream_read(s.s, LOOP_BUFFERS_SMALL);
	peer_do(SSL_connect(peer));
	peer_do(SSL_read(peer, text, sizeof(text)));
	assert_string_equal(text, "answer");
	peer_do(SSL_get_error(peer, SSL_read(peer, text, 1)) == SSL_ERROR_ZERO_RETURN);
	assert_false(tlsio_is_early(stream_tls(s.s)));
	peer_do(SSL_write(peer, " late", 5));
	wait_until(s.received == 10);
	assert_true(tlsio_is_resumed(stream_tls(s.s)));
	peer_free(peer, fd);
	end_close(&s);
	SSL_SESSION_free(early_session);
	early_session = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_echo),
		TEST(test_one_read_is_one_event),
		TEST(test_half_close_keeps_the_other_direction),
		TEST(test_bulk_both_ways),
		TEST(test_a_slow_reader_stops_the_writer),
		TEST(test_a_session_is_resumed),
		TEST(test_bytes_read_before_are_used),
		TEST(test_an_idle_stream_holds_no_buffers),
		TEST(test_an_end_without_close_notify),
		TEST(test_what_follows_close_notify_is_ignored),
		TEST(test_the_end_is_one_packet),
		TEST(test_close_says_goodbye),
		TEST(test_close_does_not_hide_what_it_drops),
		TEST(test_abort_resets_the_peer),
		TEST(test_watch_sees_the_end_without_reading),
		TEST(test_answer_before_reset_waits_for_the_reader),
		TEST(test_a_bad_record_after_our_end),
		TEST(test_what_is_no_tls_fails),
		TEST(test_the_alert_reaches_the_peer),
		TEST(test_lingering_ends),
		TEST(test_a_refused_certificate_is_told),
		TEST(test_close_at_any_time),
		TEST(test_connect_refused),
		TEST(test_a_bad_record_ends_the_connection),
		TEST(test_early_data),
#undef TEST
	};

	if (!CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free))
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
