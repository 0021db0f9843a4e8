/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_context_set.c - the SSL_CTX of a set of certificates: settings, and what handshakes ask of us. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/tls_kdf.h"
#include "net/tls_server.h"

static struct tls_server *server_of(const SSL *ssl)
{
	struct tls_base *b = tls_base_of(ssl);

	CHECK(b && b->tag == TAG_TLS_SERVER);
	return container_of(b, struct tls_server, base);
}

static void count(_Atomic uint64_t *cell)
{
	atomic_fetch_add_explicit(cell, 1, memory_order_relaxed);
}

/* --- the name ---------------------------------------------------------------------------------------------------- */

/* server_name: list length, then entries of type 0, length, name.  What is malformed OpenSSL refuses soon after. */
static struct span hello_sni(SSL *ssl)
{
	const unsigned char *p;
	size_t len, name_len;

	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1 || len < 5)
		return (struct span){ 0 };
	name_len = (size_t)p[3] << 8 | p[4];
	if (p[2] != TLSEXT_NAMETYPE_host_name || name_len > len - 5)
		return (struct span){ 0 };
	return span_of((const char *)p + 5, name_len);
}

/* OpenSSL calls on_alpn() only when there is something to choose from. */
static bool hello_has_alpn(SSL *ssl)
{
	const unsigned char *p;
	size_t len;

	return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &len) == 1;
}

/*
 * Here and not in the servername callback, which comes after tickets were accepted: those must be judged by the context
 * that the name leads to.
 */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_server *s = arg;
	const struct tls_name *row = tls_names_find(&s->names, hello_sni(ssl));
	const struct tls_set *set = row ? row->set : s->default_set;

	if (!row && s->is_strict) {
		*alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	if (s->requires_alpn && !hello_has_alpn(ssl)) {
		ERR_raise(ERR_LIB_SSL, SSL_R_NO_APPLICATION_PROTOCOL); /* the reason that we tell */
		*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
		return SSL_CLIENT_HELLO_ERROR;
	}
	CHECK(SSL_set_SSL_CTX(ssl, set->ctx));
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* Only so that OpenSSL keeps the name, and tells the client that it was used (RFC 6066 3). */
static int on_servername(SSL *ssl, int *alert, void *arg)
{
	(void)ssl, (void)alert, (void)arg;
	return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
		   unsigned in_len, void *arg)
{
	struct tls_server *s = arg;
	unsigned char *found;

	(void)ssl;
	if (SSL_select_next_proto(&found, out_len, s->base.alpn, s->base.alpn_bytes, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

/* --- tickets and early data -------------------------------------------------------------------------------------- */

static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int is_encrypt)
{
	struct tls_shared *shared = server_of(ssl)->shared;

	if (is_encrypt)
		count(&shared->tickets_issued);
	return tls_tickets_apply(shared->tickets, name, iv, cipher, mac, is_encrypt);
}

/* A session outlives its client's certificate by up to two hours, unless somebody looks. */
static bool client_has_expired(SSL_SESSION *session)
{
	X509 *x = SSL_SESSION_get0_peer(session);

	return x && X509_cmp_time(X509_get0_notAfter(x), NULL) < 0;
}

/* Clients of TLS 1.3 use a ticket once (RFC 8446 C.4), so they get another one with every handshake. */
static SSL_TICKET_RETURN on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *key_name, size_t name_len,
				   SSL_TICKET_STATUS status, void *arg)
{
	struct tls_server *s = arg;

	(void)ssl, (void)key_name, (void)name_len;
	if (status == SSL_TICKET_EMPTY)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if ((status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) || client_has_expired(session)) {
		count(&s->shared->tickets_refused);
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
	count(&s->shared->tickets_read);
	if (status == SSL_TICKET_SUCCESS_RENEW || SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
		return SSL_TICKET_RETURN_USE_RENEW;
	return SSL_TICKET_RETURN_USE;
}

/* Called when the binder was verified: it covers the client's random, which so stands for this one hello. */
static int on_early_data(SSL *ssl, void *arg)
{
	struct tls_server *s = arg;
	unsigned char random[SSL3_RANDOM_SIZE];
	enum tls_replay_verdict verdict = TLS_REPLAY_UPGRADE;
	uint64_t now = (uint64_t)time(NULL);

	CHECK(SSL_get_client_random(ssl, random, sizeof(random)) == sizeof(random));
	if (tls_shared_takes_early_data(s->shared, now))
		verdict = tls_replay_check(s->shared->replay, random, sizeof(random), now);
	count(&s->shared->early_data[verdict]);
	return verdict == TLS_REPLAY_FRESH;
}

static void early_data_set(SSL_CTX *ctx, struct tls_server *s)
{
	SSL_CTX_set_options(ctx, SSL_OP_NO_ANTI_REPLAY); /* OpenSSL's own would need a state for each ticket */
	SSL_CTX_set_max_early_data(ctx, TLS_EARLY_DATA_BYTES_MAX);
	SSL_CTX_set_recv_max_early_data(ctx, TLS_EARLY_DATA_BYTES_MAX);
	SSL_CTX_set_allow_early_data_cb(ctx, on_early_data, s);
}

static void tickets_set(SSL_CTX *ctx, struct tls_server *s)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (!s->has_resumption) {
		SSL_CTX_set_num_tickets(ctx, 0);
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		return;
	}
	SSL_CTX_set_num_tickets(ctx, 1);
	CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket_key) == 1);
	CHECK(SSL_CTX_set_session_ticket_cb(ctx, NULL, on_ticket, s) == 1);
}

/* --- stapling ---------------------------------------------------------------------------------------------------- */

static int on_status_request(SSL *ssl, void *arg)
{
	unsigned char der[OCSP_RESPONSE_BYTES_MAX], *copy;
	const struct tls_set *set = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	X509 *leaf = SSL_get_certificate(ssl);
	const struct ocsp_staple *staple = NULL;
	size_t len;

	(void)arg;
	for (unsigned k = 0; k < TLS_KEY_KIND_COUNT; k++) {
		if (set->certificates[k] && set->certificates[k]->leaf == leaf)
			staple = set->certificates[k]->staple;
	}
	len = staple ? ocsp_staple_copy(staple, (int64_t)time(NULL), der) : 0;
	if (len == 0)
		return SSL_TLSEXT_ERR_NOACK;
	copy = OPENSSL_memdup(der, len);
	CHECK(copy);
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)len); /* owned by ssl now */
	return SSL_TLSEXT_ERR_OK;
}

/* --- the context ------------------------------------------------------------------------------------------------- */

static void client_auth_set(SSL_CTX *ctx, struct tls_server *s)
{
	int mode = SSL_VERIFY_PEER;

	if (s->client_auth == TLS_CLIENT_AUTH_NONE)
		return;
	if (s->client_auth == TLS_CLIENT_AUTH_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(ctx, mode, NULL);
	SSL_CTX_set_verify_depth(ctx, (int)s->verify_depth);
	CHECK(SSL_CTX_set1_verify_cert_store(ctx, s->trust) == 1);
	if (s->authorities) {
		STACK_OF(X509_NAME) *copy = sk_X509_NAME_deep_copy(s->authorities, X509_NAME_dup, X509_NAME_free);

		CHECK(copy);
		SSL_CTX_set_client_CA_list(ctx, copy);
	}
}

bool tls_set_build(struct tls_set *set, struct tls_server *s, struct tls_report *r)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(NULL, tls_kdf_query(), TLS_server_method());

	CHECK(ctx);
	set->ctx = ctx;
	CHECK(SSL_CTX_set_app_data(ctx, set) == 1);
	if (!tls_base_apply(&s->base, ctx, r))
		return false;
	if (!s->prefers_client)
		SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_client_hello_cb(ctx, on_client_hello, s);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
	if (s->base.alpn_bytes)
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, s);
	if (s->has_staples)
		SSL_CTX_set_tlsext_status_cb(ctx, on_status_request);
	tickets_set(ctx, s);
	if (s->has_kernel_tls)
		SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
	if (s->has_early_data)
		early_data_set(ctx, s);
	client_auth_set(ctx, s);
	for (unsigned k = 0; k < TLS_KEY_KIND_COUNT; k++) {
		if (set->certificates[k] && tls_certificate_use(set->certificates[k], ctx, r) != 0)
			return false;
	}
	return true;
}

/* --- identity ---------------------------------------------------------------------------------------------------- */

static void digest_add(EVP_MD_CTX *md, const void *data, size_t len)
{
	uint64_t prefix = len;

	CHECK(EVP_DigestUpdate(md, &prefix, sizeof(prefix)) == 1 && EVP_DigestUpdate(md, data, len) == 1);
}

/* Subject and names, not the key: a renewed certificate is the same party. */
static void certificate_digest(EVP_MD_CTX *md, const struct tls_certificate *c)
{
	int at = X509_get_ext_by_NID(c->leaf, NID_subject_alt_name, -1);
	ASN1_OCTET_STRING *san = at < 0 ? NULL : X509_EXTENSION_get_data(X509_get_ext(c->leaf, at));

	digest_add(md, c->subject, strlen(c->subject));
	digest_add(md, san ? ASN1_STRING_get0_data(san) : NULL, san ? (size_t)ASN1_STRING_length(san) : 0);
}

static int row_compare(const void *a, const void *b)
{
	const struct tls_name *const *x = a, *const *y = b;
	uintptr_t set_x = (uintptr_t)(*x)->set, set_y = (uintptr_t)(*y)->set;

	if (set_x != set_y)
		return set_x < set_y ? -1 : 1;
	return strcmp((*x)->name.ptr, (*y)->name.ptr);
}

static void set_identify(struct tls_set *set, const struct tls_server *s, struct tls_name *const *rows,
			 size_t row_count)
{
	const unsigned head[2] = { s->client_auth, s->verify_depth };
	unsigned char id[SHA256_DIGEST_LENGTH];
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	CHECK(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	digest_add(md, head, sizeof(head));
	digest_add(md, s->trust_digest, sizeof(s->trust_digest));
	for (size_t i = 0; i < row_count; i++)
		digest_add(md, rows[i]->name.ptr, rows[i]->name.len);
	for (unsigned k = 0; k < TLS_KEY_KIND_COUNT; k++) {
		digest_add(md, &k, sizeof(k));
		if (set->certificates[k])
			certificate_digest(md, set->certificates[k]);
	}
	CHECK(EVP_DigestFinal_ex(md, id, NULL) == 1);
	EVP_MD_CTX_free(md);
	CHECK(SSL_CTX_set_session_id_context(set->ctx, id, sizeof(id)) == 1);
}

void tls_sets_identify(struct tls_server *s)
{
	struct tls_name **rows = mem_array(s->names.map.count + 1, sizeof(*rows)), *row;
	size_t row_count = 0, pos = 0;

	while ((row = tls_names_next(&s->names, &pos)))
		rows[row_count++] = row;
	qsort(rows, row_count, sizeof(*rows), row_compare);
	set_identify(s->default_set, s, NULL, 0);
	for (size_t begin = 0, end = 0; begin < row_count; begin = end) {
		while (end < row_count && rows[end]->set == rows[begin]->set)
			end++;
		set_identify(rows[begin]->set, s, rows + begin, end - begin);
	}
	free(rows);
}
