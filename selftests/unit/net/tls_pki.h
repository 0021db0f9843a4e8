/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_pki.h - certificates, keys and lists made at test time in a temporary folder, and handshakes in memory. */
#ifndef SN_SELFTESTS_UNIT_NET_TLS_PKI_H
#define SN_SELFTESTS_UNIT_NET_TLS_PKI_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/tls_context.h"
#include "net/tls_verify.h"

#define DAY 86400l

struct pki {
	X509 *x;
	EVP_PKEY *key;
};

struct pki_spec {
	const char *name; /* CN */
	const struct pki *issuer; /* NULL: itself */
	const char *san; /* "DNS:a.example,DNS:*.b.example" */
	bool is_ca, is_rsa, is_must_staple;
	unsigned rsa_bits;	/* 0: 2048 */
	long from, until; /* seconds from now; both 0: -1 day .. +90 days */
	const char *aia; /* "OCSP;URI:http://…" */
	const char *usage; /* extendedKeyUsage */
	const struct pki *same_key; /* use this one's key */
};

static char pki_dir[64];
static long pki_serial = 1000;

static inline void pki_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	if (!value)
		return;
	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	assert_int_equal(X509_add_ext(x, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static inline EVP_PKEY *pki_key(const struct pki_spec *s)
{
	EVP_PKEY *key;

	if (s->same_key) {
		EVP_PKEY_up_ref(s->same_key->key);
		return s->same_key->key;
	}
	key = s->is_rsa ? EVP_RSA_gen(s->rsa_bits ? s->rsa_bits : 2048) : EVP_EC_gen("P-256");
	assert_non_null(key);
	return key;
}

static inline struct pki pki_make(struct pki_spec s)
{
	struct pki p = { X509_new(), pki_key(&s) };
	const struct pki *issuer = s.issuer ? s.issuer : &p;
	bool is_usual = s.from == 0 && s.until == 0;

	X509_set_version(p.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(p.x), pki_serial++);
	X509_gmtime_adj(X509_getm_notBefore(p.x), is_usual ? -DAY : s.from);
	X509_gmtime_adj(X509_getm_notAfter(p.x), is_usual ? 90 * DAY : s.until);
	if (s.name)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(p.x), "CN", MBSTRING_UTF8,
					   (const unsigned char *)s.name, -1, -1, 0);
	X509_set_issuer_name(p.x, X509_get_subject_name(issuer->x));
	X509_set_pubkey(p.x, p.key);
	pki_ext(p.x, issuer->x, NID_basic_constraints, s.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	pki_ext(p.x, issuer->x, NID_subject_alt_name, s.san);
	pki_ext(p.x, issuer->x, NID_info_access, s.aia);
	pki_ext(p.x, issuer->x, NID_ext_key_usage, s.usage);
	pki_ext(p.x, issuer->x, NID_tlsfeature, s.is_must_staple ? "status_request" : NULL);
	assert_true(X509_sign(p.x, issuer->key, EVP_sha256()) > 0);
	return p;
}

static inline void pki_free(struct pki *p)
{
	X509_free(p->x);
	EVP_PKEY_free(p->key);
	*p = (struct pki){ 0 };
}

/* A path is valid for the next 63 calls. */
static inline const char *pki_path(const char *name)
{
	static char paths[64][128];
	static unsigned next;
	char *path = paths[next++ % 64];

	snprintf(path, sizeof(paths[0]), "%s/%s", pki_dir, name);
	return path;
}

static inline FILE *pki_open(const char *path, mode_t mode)
{
	FILE *f;

	(void)unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(chmod(path, mode), 0);
	return f;
}

static inline const char *pki_write_text(const char *name, const char *text)
{
	const char *path = pki_path(name);
	FILE *f = pki_open(path, 0600);

	fputs(text, f);
	fclose(f);
	return path;
}

/* chain: NULL-terminated, after p itself; may be NULL. */
static inline const char *pki_write_cert(const char *name, const struct pki *p, const struct pki *const *chain)
{
	const char *path = pki_path(name);
	FILE *f = pki_open(path, 0644);

	assert_int_equal(PEM_write_X509(f, p->x), 1);
	for (; chain && *chain; chain++)
		assert_int_equal(PEM_write_X509(f, (*chain)->x), 1);
	fclose(f);
	return path;
}

static inline const char *pki_write_key(const char *name, const struct pki *p, mode_t mode)
{
	const char *path = pki_path(name);
	FILE *f = pki_open(path, mode);

	assert_int_equal(PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	return path;
}

/* Certificate (with its issuer, if it has another one) and key as NAME.pem and NAME.key. */
static inline struct tls_pair_config pki_write(const char *name, const struct pki *p, const struct pki *issuer)
{
	const struct pki *chain[] = { issuer, NULL };
	char file[64];
	struct tls_pair_config pair;

	snprintf(file, sizeof(file), "%s.pem", name);
	pair.cert_file = pki_write_cert(file, p, chain);
	snprintf(file, sizeof(file), "%s.key", name);
	pair.key_file = pki_write_key(file, p, 0600);
	return pair;
}

/* revoked may be NULL. */
static inline const char *pki_write_crl(const char *name, const struct pki *issuer, const struct pki *revoked,
					long until)
{
	const char *path = pki_path(name);
	FILE *f = pki_open(path, 0644);
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->x));
	X509_gmtime_adj(t, -2 * DAY);
	X509_CRL_set1_lastUpdate(crl, t);
	X509_gmtime_adj(t, until);
	X509_CRL_set1_nextUpdate(crl, t);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->x));
		X509_gmtime_adj(t, -DAY);
		X509_REVOKED_set_revocationDate(entry, t);
		assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
	}
	ASN1_TIME_free(t);
	assert_true(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509_CRL(f, crl), 1);
	X509_CRL_free(crl);
	fclose(f);
	return path;
}

static inline void pki_begin(void)
{
	snprintf(pki_dir, sizeof(pki_dir), "/tmp/sn-pki-XXXXXX");
	assert_non_null(mkdtemp(pki_dir));
}

static inline void pki_end(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r '%s'", pki_dir);
	assert_int_equal(system(command), 0);
}

/* --- handshakes in memory --- */

struct tls_link {
	SSL *client, *server; /* owned */
	bool is_up; /* both sides finished, and no alert came after that */
	enum tls_failure client_failure, server_failure;
	struct strbuf client_detail, server_detail;
	char early[64]; /* what the server read before its handshake was complete */
	size_t early_len;
	char reply[64]; /* what the client read */
};

static inline struct tls_link link_new(SSL *client, SSL *server)
{
	struct tls_link l = { .client = client, .server = server };
	BIO *a, *b;

	assert_non_null(client);
	assert_non_null(server);
	assert_int_equal(BIO_new_bio_pair(&a, 64 << 10, &b, 64 << 10), 1);
	SSL_set_bio(client, a, a);
	SSL_set_bio(server, b, b);
	return l;
}

static inline void link_free(struct tls_link *l)
{
	/* As after a close_notify: OpenSSL makes sessions unusable when a connection ends without. */
	SSL_set_shutdown(l->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_set_shutdown(l->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(l->client);
	SSL_free(l->server);
	strbuf_fini(&l->client_detail);
	strbuf_fini(&l->server_detail);
}

/* 1 done, 0 wants more, -1 failed */
static inline int link_judge(SSL *ssl, int n, enum tls_failure *out, struct strbuf *detail)
{
	int err = SSL_get_error(ssl, n);

	if (n > 0)
		return 1;
	if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
		return 0;
	if (*out == TLS_FAILURE_NONE)
		*out = tls_failure_take(ssl, err, detail);
	return -1;
}

/* Early data, as the owner of a stream reads it. */
static inline int link_accept_early(struct tls_link *l)
{
	size_t n;

	switch (SSL_read_early_data(l->server, l->early + l->early_len, sizeof(l->early) - l->early_len, &n)) {
	case SSL_READ_EARLY_DATA_SUCCESS:
		l->early_len += n;
		return 0;
	case SSL_READ_EARLY_DATA_FINISH:
		return 1;
	default:
		return link_judge(l->server, -1, &l->server_failure, &l->server_detail);
	}
}

static inline void link_run(struct tls_link *l)
{
	int client = 0, server = 0;
	bool reads_early = tls_ssl_server(l->server) && tls_server_has_early_data(tls_ssl_server(l->server));
	char byte;

	for (unsigned i = 0; i < 40; i++) {
		if (client == 0)
			client = link_judge(l->client, SSL_do_handshake(l->client), &l->client_failure,
					    &l->client_detail);
		if (reads_early) {
			int early = link_accept_early(l);

			reads_early = early == 0;
			server = early < 0 ? -1 : 0;
		} else if (server == 0) {
			server = link_judge(l->server, SSL_do_handshake(l->server), &l->server_failure,
					    &l->server_detail);
		}
	}
	l->is_up = client == 1 && server == 1;
	if (client == 1 && link_judge(l->client, SSL_peek(l->client, &byte, 1), &l->client_failure,
				      &l->client_detail) < 0)
		l->is_up = false;
	if (server == 1 && link_judge(l->server, SSL_peek(l->server, &byte, 1), &l->server_failure,
				      &l->server_detail) < 0)
		l->is_up = false;
}

/* A client that trusts everything and sends this name (NULL: none): for tests of servers. */
static inline SSL *any_client(SSL_CTX *ctx, const char *sni)
{
	SSL *ssl = SSL_new(ctx);

	SSL_set_connect_state(ssl);
	if (sni)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, sni), 1);
	return ssl;
}

/* Fails the test with the report if it is not clean of errors. */
static inline struct tls_server *server_make(const struct tls_server_config *c, struct tls_shared *shared)
{
	struct tls_report r = { 0 };
	struct tls_server *s = NULL;

	if (tls_server_new(&s, c, shared, &r) != 0)
		fail_msg("%s", r.errors.ptr);
	tls_report_fini(&r);
	return s;
}

static inline struct tls_client *client_make(const struct tls_client_config *c)
{
	struct tls_report r = { 0 };
	struct tls_client *client = NULL;

	if (tls_client_new(&client, c, &r) != 0)
		fail_msg("%s", r.errors.ptr);
	tls_report_fini(&r);
	return client;
}

static inline void server_refused(const struct tls_server_config *c, struct tls_shared *shared, const char *words)
{
	struct tls_report r = { 0 };
	struct tls_server *s = NULL;

	assert_int_equal(tls_server_new(&s, c, shared, &r), -22);
	assert_null(s);
	if (!strstr(r.errors.ptr, words))
		fail_msg("`%s` is not in: %s", words, r.errors.ptr);
	tls_report_fini(&r);
}

#endif
