/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_context_client.c - TLS towards origins: trust, our own certificate, sessions to be resumed. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "net/tls_base.h"
#include "net/tls_kdf.h"
#include "net/tls_names.h"

#define TAG_TLS_CLIENT TAG('t', 'c', 'l', 'i')
#define DEPTH_DEFAULT 4
#define DEPTH_MAX 100

struct tls_client {
	struct tls_base base;
	uint64_t id; /* never used twice: sessions belong to it */
	SSL_CTX *ctx; /* owned */
	struct tls_certificate *certificate; /* owned; NULL: none */
	bool has_resumption;
};

static _Atomic uint64_t client_ids;

void tls_client_config_init(struct tls_client_config *c)
{
	*c = (struct tls_client_config){
		.label = "tls",
		.verify_depth = DEPTH_DEFAULT,
		.session_resumption = true,
	};
}

static void client_free(struct tls_base *b)
{
	struct tls_client *c = container_of(b, struct tls_client, base);

	SSL_CTX_free(c->ctx);
	tls_certificate_free(c->certificate);
	tls_base_fini(b);
	free(c);
}

/* --- sessions ---------------------------------------------------------------------------------------------------- */

static void session_remove(struct tls_session_cache *cache, unsigned index)
{
	SSL_SESSION_free(cache->items[index]);
	cache->count--;
	memmove(&cache->items[index], &cache->items[index + 1], (cache->count - index) * sizeof(cache->items[0]));
}

void tls_session_cache_fini(struct tls_session_cache *s)
{
	while (s && s->count > 0)
		session_remove(s, s->count - 1);
}

/* 1: the reference is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	uintptr_t owner;
	struct tls_session_cache *cache = tls_base_cache(ssl, &owner);

	/* Resumption does not verify again: what another client object trusted, or for another host, is no use here. */
	if (!cache || cache->owner != owner || !SSL_SESSION_is_resumable(session))
		return 0;
	if (cache->count == TLS_SESSION_CACHE_MAX)
		session_remove(cache, 0);
	cache->items[cache->count++] = session;
	cache->stored++;
	return 1;
}

/* OpenSSL forbids a TLS 1.3 session to be used again as soon as its connection has got a new ticket. */
static bool session_is_spent(const SSL_SESSION *session)
{
	return !SSL_SESSION_is_resumable(session) ||
	       (long)time(NULL) - SSL_SESSION_get_time(session) >= SSL_SESSION_get_timeout(session);
}

static void session_offer(SSL *ssl, struct tls_client *c, struct span host, struct tls_session_cache *cache)
{
	uint64_t host_hash = hash_span_nocase(host);
	SSL_SESSION *session;

	if (cache->client_id != c->id || cache->host_hash != host_hash) {
		tls_session_cache_fini(cache);
		cache->owner++;
	}
	cache->client_id = c->id;
	cache->host_hash = host_hash;
	tls_base_set_cache(ssl, cache, cache->owner);
	for (unsigned i = cache->count; i-- > 0;) {
		if (session_is_spent(cache->items[i]))
			session_remove(cache, i);
	}
	if (cache->count == 0)
		return;
	session = cache->items[cache->count - 1];
	if (SSL_set_session(ssl, session) == 1)
		cache->offered++;
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION && cache->count > 1)
		session_remove(cache, cache->count - 1);
}

void tls_ssl_forget_cache(struct ssl_st *ssl)
{
	tls_base_set_cache(ssl, NULL, 0);
}

/* --- building ---------------------------------------------------------------------------------------------------- */

static void trust_set(struct tls_client *c, const struct tls_client_config *config, struct tls_report *r)
{
	X509_STORE *store;

	if (config->insecure_skip_verify) {
		SSL_CTX_set_verify(c->ctx, SSL_VERIFY_NONE, NULL);
		return;
	}
	store = config->ca_file ? tls_trust_load(config->ca_file, NULL, &c->base.stamps, NULL, NULL, r) :
				  tls_trust_system(&c->base.stamps, config->label, r);
	if (store)
		SSL_CTX_set_cert_store(c->ctx, store);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(c->ctx, (int)config->verify_depth);
}

static void certificate_set(struct tls_client *c, const struct tls_client_config *config, struct tls_report *r)
{
	const char *key_file = config->client_key ? config->client_key : config->client_cert;
	int64_t now = (int64_t)(clock_wall_ns() / 1000000000);

	if (!config->client_cert) {
		if (config->client_key)
			tls_report_error(r, "%s: client-key needs a client-cert", config->label);
		return;
	}
	if (tls_certificate_load(&c->certificate, config->client_cert, key_file, now, &c->base.stamps, r) == 0)
		(void)tls_certificate_use(c->certificate, c->ctx, r);
	else if (!config->client_key)
		tls_report_error(r, "%s: without client-key, client-cert must hold the key too", config->label);
}

static void context_make(struct tls_client *c, const struct tls_client_config *config, struct tls_report *r)
{
	c->ctx = SSL_CTX_new_ex(NULL, tls_kdf_query(), TLS_client_method());
	CHECK(c->ctx);
	if (!tls_base_apply(&c->base, c->ctx, r))
		return;
	if (c->base.alpn_bytes)
		CHECK(SSL_CTX_set_alpn_protos(c->ctx, c->base.alpn, c->base.alpn_bytes) == 0);
	if (c->has_resumption) {
		SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(c->ctx, on_session);
	} else {
		SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	}
	if (config->verify_depth > DEPTH_MAX)
		tls_report_error(r, "%s: verify-depth is above %d", config->label, DEPTH_MAX);
	trust_set(c, config, r);
	certificate_set(c, config, r);
}

int tls_client_new(struct tls_client **out, const struct tls_client_config *config, struct tls_report *r)
{
	const struct tls_base_config base = {
		.label = config->label,
		.version_min = config->version_min,
		.version_max = config->version_max,
		.alpn = config->alpn,
		.alpn_count = config->alpn_count,
		.keylog_file = config->keylog_file,
	};
	struct tls_client *c = mem_zalloc(sizeof(*c));
	unsigned errors = r->error_count;

	ERR_clear_error();
	tls_base_init(&c->base, TAG_TLS_CLIENT, client_free, &base, r);
	c->id = atomic_fetch_add(&client_ids, 1) + 1;
	c->has_resumption = config->session_resumption;
	context_make(c, config, r);
	ERR_clear_error();
	if (r->error_count != errors) {
		tls_client_put(c);
		return -EINVAL;
	}
	*out = c;
	return 0;
}

struct tls_client *tls_client_get(struct tls_client *c)
{
	OBJ_CHECK(&c->base, TAG_TLS_CLIENT);
	tls_base_get(&c->base);
	return c;
}

void tls_client_put(struct tls_client *c)
{
	if (!c)
		return;
	OBJ_CHECK(&c->base, TAG_TLS_CLIENT);
	tls_base_put(&c->base);
}

bool tls_client_files_changed(const struct tls_client *c)
{
	OBJ_CHECK(&c->base, TAG_TLS_CLIENT);
	return tls_stamps_differ(&c->base.stamps);
}

uint64_t tls_client_files_look(const struct tls_client *c)
{
	OBJ_CHECK(&c->base, TAG_TLS_CLIENT);
	return tls_stamps_look(&c->base.stamps);
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

/* Who the certificate must be for.  False: neither an address nor a host name. */
static bool host_set(SSL *ssl, struct span host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	char name[TLS_NAME_MAX + 1];
	unsigned char ip[16];
	size_t len;

	if (host.len < sizeof(name)) {
		memcpy(name, host.ptr, host.len);
		name[host.len] = '\0';
		if (strlen(name) == host.len && inet_pton(AF_INET, name, ip) == 1)
			return X509_VERIFY_PARAM_set1_ip(param, ip, 4) == 1;
		if (strlen(name) == host.len && inet_pton(AF_INET6, name, ip) == 1)
			return X509_VERIFY_PARAM_set1_ip(param, ip, 16) == 1;
	}
	len = tls_name_parse(host, false, name);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return len > 0 && X509_VERIFY_PARAM_set1_host(param, name, len) == 1 &&
	       SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct ssl_st *tls_client_ssl(struct tls_client *c, struct span host, struct tls_session_cache *cache)
{
	SSL *ssl;

	OBJ_CHECK(&c->base, TAG_TLS_CLIENT);
	ssl = SSL_new(c->ctx);
	CHECK(ssl);
	SSL_set_connect_state(ssl);
	if (!host_set(ssl, host)) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	if (cache && c->has_resumption)
		session_offer(ssl, c, host, cache);
	return ssl;
}

void tls_ssl_set_alpn(struct ssl_st *ssl, struct span names)
{
	CHECK(SSL_set_alpn_protos(ssl, (const unsigned char *)names.ptr, (unsigned)names.len) == 0);
}
