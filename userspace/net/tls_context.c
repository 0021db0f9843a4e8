/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_context.c - builds a TLS server from its configuration: certificates, names, sets, trust. */
#include "net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/ktls.h"
#include "net/tls_server.h"

#define DEPTH_DEFAULT 4
#define DEPTH_MAX 100

void tls_server_config_init(struct tls_server_config *c)
{
	*c = (struct tls_server_config){
		.label = "tls",
		.verify_depth = DEPTH_DEFAULT,
		.session_resumption = true,
		.ocsp_stapling = true,
	};
}

static void server_free(struct tls_base *b)
{
	struct tls_server *s = container_of(b, struct tls_server, base);

	for (size_t i = 0; i < s->set_count; i++) {
		SSL_CTX_free(s->sets[i]->ctx);
		free(s->sets[i]);
	}
	free(s->sets);
	tls_names_fini(&s->names);
	for (size_t i = 0; i < s->certificate_count; i++)
		tls_certificate_free(s->certificates[i]);
	free(s->certificates);
	X509_STORE_free(s->trust);
	sk_X509_NAME_pop_free(s->authorities, X509_NAME_free);
	free(s->ocsp_url);
	tls_base_fini(b);
	free(s);
}

/* --- rules between settings -------------------------------------------------------------------------------------- */

static void config_check(const struct tls_server_config *c, struct tls_report *r)
{
	if (c->default_count == 0 && !c->strict_sni)
		tls_report_error(r, "%s: cert-file and key-file are missing", c->label);
	if (c->default_count + c->certificate_count == 0 && c->strict_sni)
		tls_report_error(r, "%s: there is no certificate", c->label);
	if (c->default_count + c->certificate_count > TLS_CERTIFICATES_MAX)
		tls_report_error(r, "%s: there are more than %d certificates", c->label, TLS_CERTIFICATES_MAX);
	if (c->client_auth != TLS_CLIENT_AUTH_NONE && !c->ca_file)
		tls_report_error(r, "%s: client-auth needs a ca-file", c->label);
	if (c->client_auth == TLS_CLIENT_AUTH_NONE && (c->ca_file || c->crl_file))
		tls_report_error(r, "%s: ca-file and crl-file have no effect without client-auth", c->label);
	if (c->verify_depth > DEPTH_MAX)
		tls_report_error(r, "%s: verify-depth is above %d", c->label, DEPTH_MAX);
	if (c->early_data && !c->session_resumption)
		tls_report_error(r, "%s: early-data needs session-resumption", c->label);
	if (c->early_data && c->client_auth != TLS_CLIENT_AUTH_NONE)
		tls_report_error(r, "%s: early-data can not be combined with client-auth: it comes before the client "
				 "has proved who it is", c->label);
	if (c->early_data && c->version_max == TLS_VERSION_12)
		tls_report_error(r, "%s: early-data needs TLS 1.3", c->label);
}

/* --- certificates and names -------------------------------------------------------------------------------------- */

static void name_claim(struct tls_server *s, const struct tls_server_config *c, struct span name,
		       const struct tls_certificate *cert, enum tls_name_rank rank, struct tls_report *r)
{
	const struct tls_certificate *other;

	if (tls_names_add(&s->names, name, cert, rank, &other) == 0)
		return;
	if (rank == TLS_NAME_PRIORITY)
		tls_report_error(r, "%s: " SPAN_FMT " is in two sni blocks with priority, of %s and %s", c->label,
				 SPAN_ARG(name), other->cert_file, cert->cert_file);
	else
		tls_report_error(r, "%s: " SPAN_FMT " is in two sni blocks, of %s and %s: give one of them priority",
				 c->label, SPAN_ARG(name), other->cert_file, cert->cert_file);
}

static void hostnames_claim(struct tls_server *s, const struct tls_server_config *c, const struct tls_sni_config *sni,
			    const struct tls_certificate *cert, struct tls_report *r)
{
	enum tls_name_rank rank = sni->has_priority ? TLS_NAME_PRIORITY : TLS_NAME_PLAIN;
	char buf[TLS_NAME_MAX + 1];

	for (size_t i = 0; i < sni->hostname_count; i++) {
		size_t len = tls_name_parse(span_str(sni->hostnames[i]), true, buf);

		if (len == 0)
			tls_report_error(r, "%s: %s is no host name", c->label, sni->hostnames[i]);
		else
			name_claim(s, c, span_of(buf, len), cert, rank, r);
	}
	if (sni->hostname_count > 0)
		return;
	for (size_t i = 0; i < cert->name_count; i++)
		name_claim(s, c, span_str(cert->names[i]), cert, rank, r);
	if (cert->name_count == 0)
		tls_report_error(r, "%s: cert-file %s has no host name in it: hostnames must be listed", c->label,
				 cert->cert_file);
}

/* The same pair of files in several blocks is one certificate: its names then share connections. */
static struct tls_certificate *pair_load(struct tls_server *s, const struct tls_server_config *c,
					 const struct tls_pair_config *pair, struct tls_report *r)
{
	int64_t now = (int64_t)(clock_wall_ns() / 1000000000);
	struct tls_certificate *cert;

	if (!pair->cert_file || !pair->key_file) {
		tls_report_error(r, "%s: a cert-file and a key-file must come together", c->label);
		return NULL;
	}
	for (size_t i = 0; i < s->certificate_count; i++) {
		cert = s->certificates[i];
		if (strcmp(cert->cert_file, pair->cert_file) == 0 && strcmp(cert->key_file, pair->key_file) == 0)
			return cert;
	}
	if (tls_certificate_load(&cert, pair->cert_file, pair->key_file, now, &s->base.stamps, r) != 0)
		return NULL;
	if (c->ocsp_stapling)
		tls_certificate_add_staple(cert, c->ocsp_url != NULL);
	if (cert->is_must_staple && !cert->staple)
		tls_report_warning(r, "%s: the certificate in %s demands OCSP stapling, but %s", c->label,
				   pair->cert_file,
				   c->ocsp_stapling ? "its issuer or responder is not in the file" : "that is off");
	s->has_staples |= cert->staple != NULL;
	s->certificates[s->certificate_count++] = cert;
	return cert;
}

static void certificates_load(struct tls_server *s, const struct tls_server_config *c,
			      const struct tls_certificate **out_defaults, struct tls_report *r)
{
	s->certificates = mem_array(c->default_count + c->certificate_count + 1, sizeof(*s->certificates));
	for (size_t i = 0; i < c->default_count; i++) {
		const struct tls_certificate *cert = pair_load(s, c, &c->defaults[i], r), *other;

		if (!cert)
			continue;
		other = out_defaults[cert->kind];
		if (other)
			tls_report_error(r, "%s: the keys of %s and %s are both of kind %s: only one can be used",
					 c->label, other->cert_file, cert->cert_file, tls_key_kind_name(cert->kind));
		out_defaults[cert->kind] = cert;
		for (size_t n = 0; n < cert->name_count; n++)
			name_claim(s, c, span_str(cert->names[n]), cert, TLS_NAME_WEAK, r);
	}
	for (size_t i = 0; i < c->certificate_count; i++) {
		const struct tls_certificate *cert = pair_load(s, c, &c->certificates[i].pair, r);

		if (cert)
			hostnames_claim(s, c, &c->certificates[i], cert, r);
	}
}

/* --- sets -------------------------------------------------------------------------------------------------------- */

static struct tls_set *set_of(struct tls_server *s, const struct tls_certificate *const *certificates,
			      struct tls_report *r)
{
	struct tls_set *set;

	for (size_t i = 0; i < s->set_count; i++) {
		if (memcmp(s->sets[i]->certificates, certificates, sizeof(set->certificates)) == 0)
			return s->sets[i];
	}
	set = mem_zalloc(sizeof(*set));
	memcpy(set->certificates, certificates, sizeof(set->certificates));
	s->sets = mem_resize(s->sets, s->set_count + 1, sizeof(*s->sets));
	s->sets[s->set_count++] = set;
	(void)tls_set_build(set, s, r);
	return set;
}

/* A name that only default certificates know gets all of these: RSA and ECDSA belong together, whichever lists it. */
static void sets_make(struct tls_server *s, const struct tls_certificate *const *defaults, struct tls_report *r)
{
	bool has_default = false;
	struct tls_name *row;

	for (unsigned k = 0; k < TLS_KEY_KIND_COUNT; k++)
		has_default |= defaults[k] != NULL;
	if (has_default)
		s->default_set = set_of(s, defaults, r);
	for (size_t pos = 0; (row = tls_names_next(&s->names, &pos));)
		row->set = tls_name_is_weak(row) ? s->default_set : set_of(s, row->certificates, r);
	if (!s->default_set && s->set_count > 0)
		s->default_set = s->sets[0];
}

static void trust_load(struct tls_server *s, const struct tls_server_config *c, struct tls_report *r)
{
	if (c->client_auth == TLS_CLIENT_AUTH_NONE || !c->ca_file)
		return;
	s->trust = tls_trust_load(c->ca_file, c->crl_file, &s->base.stamps, &s->authorities, s->trust_digest, r);
}

static struct tls_server *server_alloc(const struct tls_server_config *c, struct tls_shared *shared,
				       struct tls_report *r)
{
	const struct tls_base_config base = {
		.label = c->label,
		.version_min = c->version_min,
		.version_max = c->version_max,
		.cipher_suites = c->cipher_suites,
		.cipher_suite_count = c->cipher_suite_count,
		.alpn = c->alpn,
		.alpn_count = c->alpn_count,
		.keylog_file = c->keylog_file,
	};
	struct tls_server *s = mem_zalloc(sizeof(*s));

	tls_base_init(&s->base, TAG_TLS_SERVER, server_free, &base, r);
	tls_names_init(&s->names);
	s->shared = shared;
	s->client_auth = c->client_auth;
	s->verify_depth = c->verify_depth;
	s->is_strict = c->strict_sni;
	s->requires_alpn = c->requires_alpn;
	s->has_resumption = c->session_resumption;
	s->has_early_data = c->early_data;
	s->has_kernel_tls = c->kernel_tls && !c->early_data && ktls_is_there();
	s->prefers_client = c->prefer_client;
	s->ocsp_url = c->ocsp_url ? mem_strdup(c->ocsp_url) : NULL;
	return s;
}

int tls_server_new(struct tls_server **out, const struct tls_server_config *c, struct tls_shared *shared,
		   struct tls_report *r)
{
	const struct tls_certificate *defaults[TLS_KEY_KIND_COUNT] = { 0 };
	unsigned errors = r->error_count;
	struct tls_server *s;

	CHECK(shared);
	ERR_clear_error();
	config_check(c, r);
	s = server_alloc(c, shared, r);
	if (s->has_early_data && s->base.version_max < TLS1_3_VERSION && r->error_count == errors)
		tls_report_error(r, "%s: early-data needs a cipher-suite of TLS 1.3", c->label);
	if (c->default_count + c->certificate_count <= TLS_CERTIFICATES_MAX)
		certificates_load(s, c, defaults, r);
	trust_load(s, c, r);
	if (r->error_count == errors)
		sets_make(s, defaults, r);
	if (r->error_count != errors) {
		tls_server_put(s);
		return -EINVAL;
	}
	if (s->has_early_data)
		tls_shared_need_replay(shared);
	tls_sets_identify(s);
	ERR_clear_error();
	*out = s;
	return 0;
}

struct tls_server *tls_server_get(struct tls_server *s)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	tls_base_get(&s->base);
	return s;
}

void tls_server_put(struct tls_server *s)
{
	if (!s)
		return;
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	tls_base_put(&s->base);
}

struct ssl_st *tls_server_ssl(struct tls_server *s)
{
	SSL *ssl;

	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	ssl = SSL_new(s->default_set->ctx);
	CHECK(ssl);
	SSL_set_accept_state(ssl);
	return ssl;
}

const char *tls_server_ocsp_url(const struct tls_server *s)
{
	return s->ocsp_url;
}

/* --- questions --------------------------------------------------------------------------------------------------- */

bool tls_server_has_early_data(const struct tls_server *s)
{
	return s->has_early_data;
}

static const struct tls_set *set_for(const struct tls_server *s, struct span host)
{
	const struct tls_name *row = tls_names_find(&s->names, host);

	return row ? row->set : s->is_strict ? NULL : s->default_set;
}

bool tls_server_names_share_certificate(const struct tls_server *s, struct span sni, struct span host)
{
	const struct tls_set *set = set_for(s, host);

	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	return set && (span_eq_nocase(sni, host) || set == set_for(s, sni));
}

const struct tls_server *tls_ssl_server(const struct ssl_st *ssl)
{
	const struct tls_base *b = tls_base_of(ssl);

	return b && b->tag == TAG_TLS_SERVER ? container_of(b, struct tls_server, base) : NULL;
}

struct span tls_ssl_sni(const struct ssl_st *ssl)
{
	return span_str(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
}

bool tls_server_files_changed(const struct tls_server *s)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	return tls_stamps_differ(&s->base.stamps);
}

uint64_t tls_server_files_look(const struct tls_server *s)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	return tls_stamps_look(&s->base.stamps);
}

void tls_server_for_each_staple(struct tls_server *s, void (*fn)(void *ctx, struct ocsp_staple *staple), void *ctx)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	for (size_t i = 0; i < s->certificate_count; i++) {
		if (s->certificates[i]->staple)
			fn(ctx, s->certificates[i]->staple);
	}
}

void tls_server_adopt_staples(struct tls_server *s, const struct tls_server *old)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	for (size_t i = 0; i < s->certificate_count; i++) {
		struct ocsp_staple *to = s->certificates[i]->staple;
		bool is_found = false;

		for (size_t k = 0; old && to && k < old->certificate_count && !is_found; k++) {
			if (old->certificates[k]->staple)
				is_found = ocsp_staple_adopt(to, old->certificates[k]->staple);
		}
	}
}

void tls_server_for_each_certificate(const struct tls_server *s,
				     void (*fn)(void *ctx, const struct tls_certificate *c), void *ctx)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	for (size_t i = 0; i < s->certificate_count; i++)
		fn(ctx, s->certificates[i]);
}

void tls_server_describe(const struct tls_server *s, struct strbuf *out)
{
	OBJ_CHECK(&s->base, TAG_TLS_SERVER);
	for (size_t i = 0; i < s->certificate_count; i++) {
		tls_certificate_describe(s->certificates[i], out);
		strbuf_add_char(out, '\n');
	}
}
