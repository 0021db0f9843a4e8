/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_base.h - what servers and clients have in common: counting, trust, settings of an SSL_CTX.
 * For tls_context*.c only.
 */
#ifndef SN_NET_TLS_BASE_H
#define SN_NET_TLS_BASE_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "net/tls_context.h"
#include "net/tls_file.h"
#include "net/tls_suites.h"

#define TLS_ALPN_WIRE_MAX 256

/* Begins a tls_server and a tls_client.  Each SSL of its contexts holds a reference. */
struct tls_base {
	uint32_t tag;
	_Atomic uint32_t refs;
	void (*free_fn)(struct tls_base *b);

	struct tls_stamps stamps; /* of every file that was read */
	int keylog_fd; /* owned; -1: none */
	unsigned char alpn[TLS_ALPN_WIRE_MAX]; /* as in the extension: length, name, ... */
	unsigned alpn_bytes;
	int version_min, version_max; /* OpenSSL's numbers */
	struct tls_suites suites;
};

struct tls_base_config {
	const char *label;
	enum tls_version version_min, version_max;
	const char *const *cipher_suites;
	size_t cipher_suite_count;
	const char *const *alpn;
	size_t alpn_count;
	const char *keylog_file;
};

/* Check and take over; errors go to the report.  One reference is the caller's. */
void tls_base_init(struct tls_base *b, uint32_t tag, void (*free_fn)(struct tls_base *b),
		   const struct tls_base_config *c, struct tls_report *r);
void tls_base_fini(struct tls_base *b);
void tls_base_get(struct tls_base *b);
void tls_base_put(struct tls_base *b);

/* Settings that both roles have; the context refers to b from now on.  False with an error in the report. */
bool tls_base_apply(struct tls_base *b, SSL_CTX *ctx, struct tls_report *r);
/* What tls_base_apply() referred to; NULL: not ours. */
struct tls_base *tls_base_of(const SSL *ssl);
/* The session cache of a client's SSL, and whose it was when the SSL was made (cache->owner). */
void tls_base_set_cache(SSL *ssl, struct tls_session_cache *cache, uintptr_t owner);
struct tls_session_cache *tls_base_cache(const SSL *ssl, uintptr_t *out_owner);

/*
 * A store with all certificates of ca_file as trust anchors, and the lists of crl_file (NULL: none), which then must
 * cover every leaf.  out_names (may be NULL): subjects for the list of acceptable authorities.  digest (may be NULL, 32
 * bytes): SHA-256 over the content of both files.  NULL with an error in the report.
 */
X509_STORE *tls_trust_load(const char *ca_file, const char *crl_file, struct tls_stamps *stamps,
			   STACK_OF(X509_NAME) **out_names, unsigned char *digest, struct tls_report *r);
/* The system's trust anchors: loaded once and shared.  NULL with an error in the report.  A reference is returned. */
X509_STORE *tls_trust_system(struct tls_stamps *stamps, const char *label, struct tls_report *r);

#endif
