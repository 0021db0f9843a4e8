/* SPDX-License-Identifier: GPL-2.0-only */
/* ktls_ends.h - two ends of a TLS connection of which the kernel makes the records, and a peer by OpenSSL alone. */
#ifndef SN_SELFTESTS_VM_KTLS_ENDS_H
#define SN_SELFTESTS_VM_KTLS_ENDS_H

#include "unit/net/tls_pki.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lib/loop_turns.h"
#include "net/ktls.h"
#include "net/stream_tls_private.h"
#include "unit/net/listen_any.h"

#define BULK (16U << 20)

struct end {
	struct stream *s;
	unsigned connected, eof, failed, closed;
	enum tls_failure failure;
	size_t received, wrong;
	bool reads;
	size_t to_write, written;
};

static struct pki ca, leaf;
static struct tls_shared *shared;
static struct tls_server *server, *plain_server;
static struct tls_client *clients[2]; /* newest, TLS 1.2 */
static SSL_CTX *any_ctx;

static inline uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static inline void fill(struct end *e)
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

static inline void on_connected(struct stream *s)
{
	struct end *e = s->owner;

	e->connected++;
	fill(e);
	if (e->reads)
		stream_read(s, LOOP_BUFFERS_LARGE);
}

static inline void on_data(struct stream *s, struct slice data)
{
	struct end *e = s->owner;

	for (uint32_t i = 0; i < data.len; i++)
		e->wrong += data.ptr[i] != pattern(e->received + i);
	e->received += data.len;
	slice_put(&data);
	if (e->reads)
		stream_read(s, LOOP_BUFFERS_LARGE);
}

static inline void on_eof(struct stream *s)
{
	((struct end *)s->owner)->eof++;
}

static inline void on_sent(struct stream *s, size_t bytes)
{
	(void)bytes;
	fill(s->owner);
}

static inline void on_fail(struct stream *s, int err)
{
	struct end *e = s->owner;

	(void)err;
	e->failed++;
	e->failure = tlsio_failure(stream_tls(s));
}

static inline void on_hangup(struct stream *s)
{
	(void)s;
}

static inline void on_closed(struct stream *s)
{
	((struct end *)s->owner)->closed++;
}

static const struct stream_events events = { on_connected, on_data, on_eof, on_sent, on_fail, on_hangup, on_closed };

/* Two connected sockets; the first one connected. */
static inline void socket_pair(int fds[2])
{
	struct addr addr;
	int listener = listen_any(&addr);

	fds[0] = connect_to(&addr);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(listener);
}

static inline void begin_pair(struct end *c, struct end *s, struct tls_server *srv, struct tls_client *with,
		       struct tls_session_cache *cache)
{
	int fds[2];

	socket_pair(fds);
	s->s = stream_tls_server(stream_open(loop, fds[1], NULL, &events, NULL), (struct slice){ 0 }, srv, &events, s);
	c->s = stream_tls_client(stream_open(loop, fds[0], NULL, &events, NULL),
				 tls_client_ssl(with, SPAN("a.example"), cache), &events, c);
}

static inline void end_close(struct end *e)
{
	stream_close(e->s);
	wait_until(e->closed);
	turns(1);
}

static inline bool kernel_sends(struct end *e)
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

static inline SSL *peer_begin(struct end *e, int *out_fd)
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

static inline void peer_end(SSL *ssl, int fd)
{
	SSL_free(ssl);
	close(fd);
}

/* Of the pattern from `from` on; returns what SSL_get_error() said at the end. */
static inline int peer_read_all(SSL *ssl, size_t from, size_t *out_got)
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

static inline int group_setup(void **state)
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

static inline int group_teardown(void **state)
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

#endif
