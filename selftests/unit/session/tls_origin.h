/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_origin.h - an origin that speaks TLS, played by the test with OpenSSL, and clients that trust it. */
#ifndef SN_SELFTESTS_TLS_ORIGIN_H
#define SN_SELFTESTS_TLS_ORIGIN_H

#include <signal.h>

#include "unit/net/tls_pki.h"

#include "callers.h"
#include "h2_origin.h"

struct tls_origin {
	SSL *ssl;
	int fd; /* -1: none */
	bool is_open, has_failed, is_eof;
	char in[4096]; /* HTTP/1: what was read */
	size_t in_len;
	struct h2_origin h2; /* with ALPN h2 */
	bool is_h2;
};

struct tls_fixture {
	struct calls k;
	struct pki ca;
	struct pki leaf;
	SSL_CTX *ctx;
	const char *alpn; /* what the origin takes: "h2", "http/1.1"; NULL: it does not answer */
	struct tls_client *client;
	struct tls_origin origins[8];
	unsigned origin_count;
	bool is_deaf; /* accepts, and says nothing */
};

static inline int tls_origin_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
				  unsigned in_len, void *arg)
{
	const struct tls_fixture *f = arg;

	(void)ssl;
	for (unsigned i = 0; f->alpn && i < in_len; i += 1U + in[i]) {
		if (in[i] == strlen(f->alpn) && memcmp(in + i + 1, f->alpn, in[i]) == 0) {
			*out = in + i + 1;
			*out_len = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_NOACK;
}

static inline struct tls_client *tls_fixture_client(const char *ca_file)
{
	struct tls_report r = {0};
	struct tls_client_config c;
	struct tls_client *client = NULL;

	tls_client_config_init(&c);
	c.label = "upstream `t`";
	c.ca_file = ca_file;
	assert_int_equal(tls_client_new(&client, &c, &r), 0);
	tls_report_fini(&r);
	return client;
}

static inline int tls_fixture_set_up(struct tls_fixture *f, enum client_protocol protocol)
{
	signal(SIGPIPE, SIG_IGN); /* OpenSSL's sockets */
	pki_begin();
	calls_init(&f->k, protocol);
	f->ca = pki_make((struct pki_spec){.name = "Test CA", .is_ca = true});
	f->leaf = pki_make((struct pki_spec){.name = "origin", .issuer = &f->ca, .san = "DNS:origin.example"});
	f->client = tls_fixture_client(pki_write_cert("ca.pem", &f->ca, NULL));
	f->ctx = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(f->ctx, f->leaf.x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(f->ctx, f->leaf.key), 1);
	SSL_CTX_set_alpn_select_cb(f->ctx, tls_origin_alpn, f);
	SSL_CTX_set_mode(f->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	f->k.settings.tls = f->client;
	f->k.settings.tls_host = SPAN("origin.example");
	return 0;
}

static inline void tls_origin_close(struct tls_origin *o)
{
	if (o->is_h2)
		nghttp2_session_del(o->h2.session);
	o->is_h2 = false;
	SSL_free(o->ssl);
	o->ssl = NULL;
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

static inline void tls_fixture_tear_down(struct tls_fixture *f)
{
	calls_fini(&f->k);
	for (unsigned i = 0; i < f->origin_count; i++)
		tls_origin_close(&f->origins[i]);
	tls_client_put(f->client);
	SSL_CTX_free(f->ctx);
	pki_free(&f->ca);
	pki_free(&f->leaf);
	pki_end();
}

static inline ssize_t tls_origin_recv(struct h2_origin *h, void *buf, size_t len)
{
	struct tls_origin *o = h->arg;
	int n = SSL_read(o->ssl, buf, (int)len);

	if (n > 0)
		return n;
	if (SSL_get_error(o->ssl, n) == SSL_ERROR_WANT_READ)
		return -1;
	o->is_eof = true;
	return 0;
}

static inline ssize_t tls_origin_send(struct h2_origin *h, const void *buf, size_t len)
{
	struct tls_origin *o = h->arg;
	int n = SSL_write(o->ssl, buf, (int)len);

	if (n > 0)
		return n;
	errno = SSL_get_error(o->ssl, n) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
	return -1;
}

static inline void tls_origin_handshake(struct tls_origin *o)
{
	const unsigned char *alpn;
	unsigned alpn_len;
	int n = SSL_accept(o->ssl);

	if (n != 1) {
		int err = SSL_get_error(o->ssl, n);

		ERR_clear_error();
		o->has_failed = err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE;
		if (o->has_failed) {
			close(o->fd);
			o->fd = -1;
		}
		return;
	}
	o->is_open = true;
	SSL_get0_alpn_selected(o->ssl, &alpn, &alpn_len);
	o->is_h2 = alpn_len == 2;
	if (!o->is_h2)
		return;
	h2_origin_open(&o->h2, o->fd, 0, false);
	o->h2.recv = tls_origin_recv;
	o->h2.send = tls_origin_send;
	o->h2.arg = o;
}

static inline void tls_origin_turn(struct tls_origin *o)
{
	int n;

	if (o->fd < 0 || o->has_failed)
		return;
	if (!o->is_open)
		tls_origin_handshake(o);
	if (!o->is_open)
		return;
	if (o->is_h2) {
		h2_origin_turn(&o->h2);
		return;
	}
	while ((n = SSL_read(o->ssl, o->in + o->in_len, (int)(sizeof(o->in) - 1 - o->in_len))) > 0)
		o->in_len += (size_t)n;
	o->in[o->in_len] = 0;
	o->is_eof = o->is_eof || SSL_get_error(o->ssl, n) == SSL_ERROR_ZERO_RETURN;
	ERR_clear_error();
}

static inline void tls_origin_say(struct tls_origin *o, const char *text)
{
	assert_int_equal(SSL_write(o->ssl, text, (int)strlen(text)), (int)strlen(text));
}

static inline void tls_origin_take(struct tls_fixture *f, int fd)
{
	struct tls_origin *o = &f->origins[f->origin_count++];

	assert_true(f->origin_count <= ARRAY_LEN(f->origins));
	*o = (struct tls_origin){.fd = fd, .ssl = SSL_new(f->ctx)};
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	SSL_set_fd(o->ssl, fd);
}

static inline void tls_turn(struct tls_fixture *f)
{
	int fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		tls_origin_take(f, fd);
	for (unsigned i = 0; i < f->origin_count && !f->is_deaf; i++)
		tls_origin_turn(&f->origins[i]);
	loop_turn(f->k.loop, 2);
}

#define TLS_UNTIL(f, condition)											\
	do {													\
		bool is_so_ = (condition);									\
														\
		for (int turns_ = 0; turns_ < 1500 && !is_so_; turns_++) {					\
			tls_turn(f);										\
			is_so_ = (condition);									\
		}												\
		if (!is_so_)											\
			fail_msg("never came: %s", #condition);							\
	} while (0)

#endif
