/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_base.c - counting and common settings of TLS servers and clients. */
#include "net/tls_base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"
#include "net/tls_tickets.h"

#define KEYLOG_LINE_MAX 512

/* For servers and clients alike: our order within what an SSL must do at all. */
static const char groups[] = "X25519:P-256:P-384";

static pthread_once_t indexes_once = PTHREAD_ONCE_INIT;
static int base_index = -1, cache_index = -1, owner_index = -1;

/* SSL_new() and SSL_free() call these for every SSL of the process, so also for contexts that are not ours. */
static void on_ssl_new(void *ssl, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	struct tls_base *b = tls_base_of(ssl);

	(void)ptr, (void)ad, (void)index, (void)argl, (void)argp;
	if (b)
		tls_base_get(b);
}

static void on_ssl_free(void *ssl, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	struct tls_base *b = tls_base_of(ssl);

	(void)ptr, (void)ad, (void)index, (void)argl, (void)argp;
	if (b)
		tls_base_put(b);
}

static void indexes_make(void)
{
	base_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	cache_index = SSL_get_ex_new_index(0, NULL, on_ssl_new, NULL, on_ssl_free);
	owner_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	CHECK(base_index >= 0 && cache_index >= 0 && owner_index >= 0);
}

static void alpn_set(struct tls_base *b, const struct tls_base_config *c, struct tls_report *r)
{
	for (size_t i = 0; i < c->alpn_count; i++) {
		size_t len = strlen(c->alpn[i]);

		if (len == 0 || len > 255 || b->alpn_bytes + 1 + len > sizeof(b->alpn)) {
			tls_report_error(r, "%s: alpn has an empty name, or too many bytes", c->label);
			return;
		}
		b->alpn[b->alpn_bytes++] = (unsigned char)len;
		memcpy(b->alpn + b->alpn_bytes, c->alpn[i], len);
		b->alpn_bytes += (unsigned)len;
	}
}

static void keylog_open(struct tls_base *b, const struct tls_base_config *c, struct tls_report *r)
{
	if (!c->keylog_file)
		return;
	b->keylog_fd = open(c->keylog_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (b->keylog_fd < 0)
		tls_report_error(r, "%s: keylog-file %s cannot be opened: %s", c->label, c->keylog_file,
				 err_text(errno));
}

void tls_base_init(struct tls_base *b, uint32_t tag, void (*free_fn)(struct tls_base *b),
		   const struct tls_base_config *c, struct tls_report *r)
{
	enum tls_version min = TLS_VERSION_12, max = TLS_VERSION_13;

	pthread_once(&indexes_once, indexes_make);
	b->tag = tag;
	b->free_fn = free_fn;
	b->keylog_fd = -1;
	atomic_init(&b->refs, 1);
	if (tls_suites_parse(&b->suites, c->label, c->cipher_suites, c->cipher_suite_count, r) == 0)
		(void)tls_suites_versions(&b->suites, c->label, c->version_min, c->version_max, &min, &max, r);
	b->version_min = min == TLS_VERSION_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
	b->version_max = max == TLS_VERSION_12 ? TLS1_2_VERSION : TLS1_3_VERSION;
	alpn_set(b, c, r);
	keylog_open(b, c, r);
}

void tls_base_fini(struct tls_base *b)
{
	b->tag = 0;
	tls_stamps_fini(&b->stamps);
	if (b->keylog_fd >= 0)
		close(b->keylog_fd);
}

void tls_base_get(struct tls_base *b)
{
	CHECK(atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed) > 0);
}

void tls_base_put(struct tls_base *b)
{
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		b->free_fn(b);
}

struct tls_base *tls_base_of(const SSL *ssl)
{
	SSL_CTX *ctx = SSL_get_SSL_CTX(ssl);

	return ctx ? SSL_CTX_get_ex_data(ctx, base_index) : NULL;
}

/* A number in the place of a pointer. */
void tls_base_set_cache(SSL *ssl, struct tls_session_cache *cache, uintptr_t owner)
{
	CHECK(SSL_set_ex_data(ssl, cache_index, cache) == 1);
	CHECK(SSL_set_ex_data(ssl, owner_index, (void *)owner) == 1);
}

struct tls_session_cache *tls_base_cache(const SSL *ssl, uintptr_t *out_owner)
{
	*out_owner = (uintptr_t)SSL_get_ex_data(ssl, owner_index);
	return SSL_get_ex_data(ssl, cache_index);
}

/* One write a line, so that threads and processes may share the file. */
static void on_keylog(const SSL *ssl, const char *line)
{
	struct tls_base *b = tls_base_of(ssl);
	char text[KEYLOG_LINE_MAX];
	size_t len = strlen(line);
	ssize_t n;

	if (!b || len + 1 > sizeof(text))
		return;
	memcpy(text, line, len);
	text[len] = '\n';
	n = write(b->keylog_fd, text, len + 1);
	(void)n; /* a full disk must not end connections */
	OPENSSL_cleanse(text, len);
}

bool tls_base_apply(struct tls_base *b, SSL_CTX *ctx, struct tls_report *r)
{
	const uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
	const long mode = SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
			  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN;

	SSL_CTX_set_security_level(ctx, 2);
	SSL_CTX_set_options(ctx, options);
	SSL_CTX_set_mode(ctx, mode);
	SSL_CTX_set_timeout(ctx, TLS_TICKET_LIFE_SECS);
	CHECK(SSL_CTX_set_ex_data(ctx, base_index, b) == 1);
	if (b->keylog_fd >= 0)
		SSL_CTX_set_keylog_callback(ctx, on_keylog);
	if (SSL_CTX_set_min_proto_version(ctx, b->version_min) == 1 &&
	    SSL_CTX_set_max_proto_version(ctx, b->version_max) == 1 &&
	    SSL_CTX_set_ciphersuites(ctx, b->suites.v13) == 1 &&
	    (!b->suites.v12[0] || SSL_CTX_set_cipher_list(ctx, b->suites.v12) == 1) &&
	    SSL_CTX_set1_groups_list(ctx, groups) == 1)
		return true;
	tls_report_error(r, "OpenSSL refuses the TLS settings: %s", tls_library_error());
	return false;
}
