/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_certificate.c - loads a certificate, its chain and its key, checks that they fit, and describes them. */
#include "net/tls_certificate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "net/tls_names.h"

#define TAG_TLS_CERTIFICATE TAG('c', 'e', 'r', 't')
#define RSA_BITS_MIN 2048
#define WARN_SECS (30 * 86400)

const char *tls_key_kind_name(enum tls_key_kind kind)
{
	static const char *const names[TLS_KEY_KIND_COUNT] = {
		[TLS_KEY_ECDSA] = "ECDSA",
		[TLS_KEY_RSA] = "RSA",
		[TLS_KEY_ED25519] = "Ed25519",
	};

	CHECK(kind < TLS_KEY_KIND_COUNT);
	return names[kind];
}

static char *name_text(const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long len;

	CHECK(bio);
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
	len = BIO_get_mem_data(bio, &data);
	text = mem_strndup(data ? data : "", len > 0 ? (size_t)len : 0);
	BIO_free(bio);
	return text;
}

static bool time_secs(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static int chain_read(struct tls_certificate *c, const struct tls_file *file, struct tls_report *r)
{
	BIO *bio = BIO_new_mem_buf(file->data, (int)file->bytes);
	X509 *more;
	int err = 0;

	c->chain = sk_X509_new_null();
	CHECK(bio && c->chain);
	c->leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!c->leaf) {
		tls_report_error(r, "cert-file %s has no certificate in PEM form: %s", c->cert_file,
				 tls_library_error());
		err = -EINVAL;
	}
	while (!err && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		CHECK(sk_X509_push(c->chain, more));
		if (sk_X509_num(c->chain) > TLS_CHAIN_MAX) {
			tls_report_error(r, "cert-file %s has more than %d certificates", c->cert_file,
					 TLS_CHAIN_MAX + 1);
			err = -EINVAL;
		}
	}
	if (!err && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		tls_report_error(r, "cert-file %s: certificate %d is damaged: %s", c->cert_file,
				 sk_X509_num(c->chain) + 2, tls_library_error());
		err = -EINVAL;
	}
	ERR_clear_error();
	BIO_free(bio);
	return err;
}

static int on_passphrase(char *buf, int size, int is_write, void *ctx)
{
	(void)buf, (void)size, (void)is_write;
	*(bool *)ctx = true;
	return -1;
}

static int key_read(struct tls_certificate *c, const struct tls_file *file, struct tls_report *r)
{
	BIO *bio = BIO_new_mem_buf(file->data, (int)file->bytes);
	bool is_encrypted = false;

	CHECK(bio);
	c->key = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, &is_encrypted);
	BIO_free(bio);
	if (c->key) {
		ERR_clear_error();
		return 0;
	}
	if (is_encrypted)
		tls_report_error(r, "key-file %s is encrypted: a passphrase can not be given, store it decrypted",
				 c->key_file);
	else
		tls_report_error(r, "key-file %s has no private key in PEM form: %s", c->key_file, tls_library_error());
	ERR_clear_error();
	return -EINVAL;
}

static int files_read(struct tls_certificate *c, struct tls_stamps *stamps, struct tls_report *r)
{
	struct tls_file file = { 0 };
	int err, key_err;

	err = tls_file_read(&file, "cert-file", c->cert_file, false, stamps, r);
	if (!err)
		err = chain_read(c, &file, r);
	tls_file_fini(&file);
	key_err = tls_file_read(&file, "key-file", c->key_file, true, stamps, r);
	if (!key_err)
		key_err = key_read(c, &file, r);
	tls_file_fini(&file);
	return err ? err : key_err;
}

/* --- checking ---------------------------------------------------------------------------------------------------- */

static int kind_find(struct tls_certificate *c, struct tls_report *r)
{
	char group[64] = "";

	c->key_bits = (unsigned)EVP_PKEY_get_bits(c->key);
	if (EVP_PKEY_is_a(c->key, "RSA")) {
		c->kind = TLS_KEY_RSA;
		if (c->key_bits >= RSA_BITS_MIN)
			return 0;
		tls_report_error(r, "key-file %s: an RSA key of %u bits is too short (at least %d)", c->key_file,
				 c->key_bits, RSA_BITS_MIN);
		return -EINVAL;
	}
	if (EVP_PKEY_is_a(c->key, "ED25519")) {
		c->kind = TLS_KEY_ED25519;
		return 0;
	}
	if (EVP_PKEY_is_a(c->key, "EC")) {
		c->kind = TLS_KEY_ECDSA;
		(void)EVP_PKEY_get_group_name(c->key, group, sizeof(group), NULL);
		if (!strcmp(group, "prime256v1") || !strcmp(group, "secp384r1") || !strcmp(group, "secp521r1"))
			return 0;
	}
	tls_report_error(r, "key-file %s: keys of kind %s %s are not supported (but RSA, ECDSA P-256, P-384, P-521, "
			    "Ed25519)", c->key_file, EVP_PKEY_get0_type_name(c->key), group);
	return -EINVAL;
}

static int match_check(struct tls_certificate *c, struct tls_report *r)
{
	int place = -1;

	if (X509_check_private_key(c->leaf, c->key) == 1)
		return 0;
	for (int i = 0; i < sk_X509_num(c->chain) && place < 0; i++) {
		if (X509_check_private_key(sk_X509_value(c->chain, i), c->key) == 1)
			place = i + 2;
	}
	ERR_clear_error();
	if (place > 0)
		tls_report_error(r, "cert-file %s: the certificate of key-file %s is number %d in it, not the first",
				 c->cert_file, c->key_file, place);
	else
		tls_report_error(r, "key-file %s is not the key of the certificate in cert-file %s", c->key_file,
				 c->cert_file);
	return -EINVAL;
}

static void time_text(int64_t secs, char *buf)
{
	clock_rfc3339((uint64_t)MAX(secs, (int64_t)0) * 1000000000, buf);
	memcpy(buf + 19, "Z", 2);
}

static int validity_check(struct tls_certificate *c, int64_t now, struct tls_report *r)
{
	int64_t warn;
	char when[32];

	if (!time_secs(X509_get0_notBefore(c->leaf), &c->not_before) ||
	    !time_secs(X509_get0_notAfter(c->leaf), &c->not_after)) {
		tls_report_error(r, "cert-file %s: its times of validity are malformed", c->cert_file);
		return -EINVAL;
	}
	warn = MIN((int64_t)WARN_SECS, (c->not_after - c->not_before) / 3);
	time_text(c->not_after, when);
	if (c->not_after <= now)
		tls_report_warning(r, "cert-file %s has expired on %s: clients refuse it", c->cert_file, when);
	else if (c->not_after - now < warn)
		tls_report_warning(r, "cert-file %s expires in %lld days, on %s", c->cert_file,
				   (long long)((c->not_after - now) / 86400), when);
	if (c->not_before > now) {
		time_text(c->not_before, when);
		tls_report_warning(r, "cert-file %s is not valid before %s", c->cert_file, when);
	}
	return 0;
}

/* A chain in disorder is no error: most clients put it right. */
static void chain_check(struct tls_certificate *c, struct tls_report *r)
{
	X509 *below = c->leaf;

	for (int i = 0; i < sk_X509_num(c->chain); i++) {
		X509 *above = sk_X509_value(c->chain, i);

		if (X509_check_issued(above, below) != X509_V_OK) {
			tls_report_warning(r, "cert-file %s: certificate %d did not issue the one before it",
					   c->cert_file, i + 2);
			break;
		}
		below = above;
	}
	ERR_clear_error();
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static void names_add(struct tls_certificate *c, const ASN1_STRING *text)
{
	char buf[TLS_NAME_MAX + 1];
	struct span in = { (const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text) };

	if (tls_name_parse(in, true, buf) == 0)
		return;
	c->names = mem_resize(c->names, c->name_count + 1, sizeof(*c->names));
	c->names[c->name_count++] = mem_strdup(buf);
}

static int names_read(struct tls_certificate *c, struct tls_report *r)
{
	GENERAL_NAMES *all = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(c->leaf);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (sk_GENERAL_NAME_num(all) > TLS_CERTIFICATE_NAMES_MAX) {
		tls_report_error(r, "cert-file %s has more than %d names", c->cert_file, TLS_CERTIFICATE_NAMES_MAX);
		GENERAL_NAMES_free(all);
		return -EINVAL;
	}
	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		int type;
		const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all, i), &type);

		if (type == GEN_DNS)
			names_add(c, value);
	}
	if (!all && at >= 0)
		names_add(c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	GENERAL_NAMES_free(all);
	ERR_clear_error();
	return 0;
}

static bool staple_is_required(X509 *leaf)
{
	struct ocsp_staple *s = ocsp_staple_new(leaf, leaf);
	bool is_required = ocsp_staple_is_required(s);

	ocsp_staple_free(s);
	return is_required;
}

static int certificate_check(struct tls_certificate *c, int64_t now, struct tls_report *r)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	int err;

	err = match_check(c, r);
	if (!err)
		err = kind_find(c, r);
	if (!err)
		err = validity_check(c, now, r);
	if (!err)
		err = names_read(c, r);
	if (err)
		return err;
	chain_check(c, r);
	c->subject = name_text(X509_get_subject_name(c->leaf));
	c->issuer = name_text(X509_get_issuer_name(c->leaf));
	CHECK(X509_digest(c->leaf, EVP_sha256(), digest, NULL));
	hex_write(digest, TLS_FINGERPRINT_HEX / 2, c->fingerprint);
	c->is_must_staple = staple_is_required(c->leaf);
	return 0;
}

int tls_certificate_load(struct tls_certificate **out, const char *cert_file, const char *key_file, int64_t now,
			 struct tls_stamps *stamps, struct tls_report *r)
{
	struct tls_certificate *c = mem_zalloc(sizeof(*c));

	c->tag = TAG_TLS_CERTIFICATE;
	c->cert_file = mem_strdup(cert_file);
	c->key_file = mem_strdup(key_file);
	ERR_clear_error();
	if (files_read(c, stamps, r) != 0 || certificate_check(c, now, r) != 0) {
		tls_certificate_free(c);
		return -EINVAL;
	}
	*out = c;
	return 0;
}

void tls_certificate_free(struct tls_certificate *c)
{
	if (!c)
		return;
	OBJ_CHECK(c, TAG_TLS_CERTIFICATE);
	c->tag = 0;
	ocsp_staple_free(c->staple);
	EVP_PKEY_free(c->key);
	sk_X509_pop_free(c->chain, X509_free);
	X509_free(c->leaf);
	for (size_t i = 0; i < c->name_count; i++)
		free(c->names[i]);
	free(c->names);
	free(c->subject);
	free(c->issuer);
	free(c->cert_file);
	free(c->key_file);
	free(c);
}

void tls_certificate_add_staple(struct tls_certificate *c, bool is_forced)
{
	X509 *issuer = sk_X509_num(c->chain) > 0 ? sk_X509_value(c->chain, 0) : NULL;

	if (c->staple || !issuer || X509_check_issued(issuer, c->leaf) != X509_V_OK)
		return;
	c->staple = ocsp_staple_new(c->leaf, issuer);
	if (is_forced || ocsp_staple_url(c->staple))
		return;
	ocsp_staple_free(c->staple);
	c->staple = NULL;
}

int tls_certificate_use(const struct tls_certificate *c, struct ssl_ctx_st *ctx, struct tls_report *r)
{
	OBJ_CHECK(c, TAG_TLS_CERTIFICATE);
	if (SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1)
		return 0;
	tls_report_error(r, "cert-file %s can not be used: %s", c->cert_file, tls_library_error());
	return -EINVAL;
}

void tls_certificate_describe(const struct tls_certificate *c, struct strbuf *out)
{
	char when[32];

	OBJ_CHECK(c, TAG_TLS_CERTIFICATE);
	time_text(c->not_after, when);
	strbuf_printf(out, "%s %s %u, until %s, sha256 %s, names", c->subject, tls_key_kind_name(c->kind), c->key_bits,
		      when, c->fingerprint);
	for (size_t i = 0; i < c->name_count; i++)
		strbuf_printf(out, " %s", c->names[i]);
	if (c->name_count == 0)
		strbuf_add_str(out, " (none)");
}
