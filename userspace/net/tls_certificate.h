/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_certificate.h - a certificate with its chain and private key: loading, checking, describing.
 * Errors: a file that is missing, unreadable or no PEM; a key that is encrypted, does not belong to the certificate or
 * that others may read (tls_file.h); a leaf that is not the first in its file; an RSA key below 2,048 bits; a kind of
 * key that TLS 1.2 and 1.3 clients do not share (only RSA, ECDSA P-256/P-384/P-521 and Ed25519).
 * Warnings: expired (one site that was forgotten must not keep all others down after a reboot), not valid yet, ends
 * within 30 days (or a third of its life, if that is shorter), chain not in order.
 * Immutable after loading but for its staple, so any thread may read it.
 */
#ifndef SN_NET_TLS_CERTIFICATE_H
#define SN_NET_TLS_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "net/ocsp.h"
#include "net/tls_file.h"
#include "net/tls_report.h"

struct x509_st;
struct stack_st_X509;
struct evp_pkey_st;
struct ssl_ctx_st;

#define TLS_CHAIN_MAX 10 /* certificates after the leaf */
#define TLS_CERTIFICATE_NAMES_MAX 1000
#define TLS_FINGERPRINT_HEX 64 /* SHA-256 */

/* Certificates of different kinds can serve one name: the client's offer decides, ECDSA first. */
enum tls_key_kind {
	TLS_KEY_ECDSA,
	TLS_KEY_RSA,
	TLS_KEY_ED25519,
	TLS_KEY_KIND_COUNT,
};

struct tls_certificate {
	uint32_t tag;
	enum tls_key_kind kind;
	unsigned key_bits;
	char *cert_file, *key_file; /* owned */

	struct x509_st *leaf;	    /* owned */
	struct stack_st_X509 *chain; /* owned; without the leaf, may be empty */
	struct evp_pkey_st *key;    /* owned */
	char *subject, *issuer;	    /* owned; RFC 2253 */
	char fingerprint[TLS_FINGERPRINT_HEX + 1]; /* of the leaf, lower-case hex */
	int64_t not_before, not_after; /* seconds since the epoch */
	char **names; /* owned; DNS names of the SAN, or the CN without SAN, as tls_name_parse() writes them */
	size_t name_count;
	struct ocsp_staple *staple; /* owned; NULL: not asked for, no issuer in the chain, or no responder in it */
	bool is_must_staple;	    /* TLS feature status_request (RFC 7633) */
};

/*
 * key_file may be cert_file (combined PEM).  stamps: both files are added.  0, or -EINVAL with errors in the report.
 * now: seconds since the epoch, for the checks of validity.
 */
int tls_certificate_load(struct tls_certificate **out, const char *cert_file, const char *key_file, int64_t now,
			 struct tls_stamps *stamps, struct tls_report *r);
void tls_certificate_free(struct tls_certificate *c); /* NULL ok; the key is overwritten */
/* Make c->staple: when the leaf names an OCSP responder, or is_forced (one is configured), and the issuer is known. */
void tls_certificate_add_staple(struct tls_certificate *c, bool is_forced);
/* Install leaf, key and chain into a context (its reference counts are taken).  0, or -EINVAL with an error. */
int tls_certificate_use(const struct tls_certificate *c, struct ssl_ctx_st *ctx, struct tls_report *r);
/* "CN=a.example ECDSA 256, until 2027-01-01T00:00:00Z, sha256 …, names a.example *.a.example", one line, no '\n' */
void tls_certificate_describe(const struct tls_certificate *c, struct strbuf *out);
const char *tls_key_kind_name(enum tls_key_kind kind); /* "ECDSA" */

#endif
