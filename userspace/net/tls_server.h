/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_server.h - inside of a struct tls_server; its functions are in tls_context.h.  For tls_context*.c only. */
#ifndef SN_NET_TLS_SERVER_H
#define SN_NET_TLS_SERVER_H

#include "net/tls_base.h"
#include "net/tls_names.h"
#include "net/tls_shared.h"

#define TAG_TLS_SERVER TAG('t', 's', 'r', 'v')

/* The certificates of some names, at most one of each kind, with the context that offers them. */
struct tls_set {
	SSL_CTX *ctx; /* owned */
	const struct tls_certificate *certificates[TLS_KEY_KIND_COUNT]; /* borrowed from the server */
};

struct tls_server {
	struct tls_base base;
	struct tls_shared *shared; /* borrowed */
	enum tls_client_auth client_auth;
	unsigned verify_depth;
	bool is_strict, requires_alpn, has_early_data, has_resumption, prefers_client, has_kernel_tls;

	struct tls_certificate **certificates; /* owned, and each of them */
	size_t certificate_count;
	struct tls_names names;
	struct tls_set **sets; /* owned, and each of them */
	size_t set_count;
	struct tls_set *default_set; /* for names in no certificate; strict: where connections start */
	bool has_staples;
	char *ocsp_url; /* owned; NULL: the certificates' own */

	X509_STORE *trust;		    /* owned; NULL without client_auth */
	STACK_OF(X509_NAME) *authorities;  /* owned */
	unsigned char trust_digest[32];
};

/* tls_context_set.c: make the context of a set.  Names of the set are bound into its tickets. */
bool tls_set_build(struct tls_set *set, struct tls_server *s, struct tls_report *r);
/* Every row of the table has its set: bind them to session identities. */
void tls_sets_identify(struct tls_server *s);

#endif
