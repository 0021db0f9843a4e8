/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_trust.c - trust anchors and revocation lists from PEM files. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "net/tls_base.h"

#define AUTHORITIES_SENT_MAX 100 /* more names would only make every handshake large */

static bool pem_is_at_end(void)
{
	bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

	if (is_end)
		ERR_clear_error();
	return is_end;
}

static void authority_add(STACK_OF(X509_NAME) *names, X509 *x)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));

	CHECK(name && sk_X509_NAME_push(names, name));
}

static bool anchors_read(X509_STORE *store, const char *path, const struct tls_file *file,
			 STACK_OF(X509_NAME) *names, struct tls_report *r)
{
	BIO *bio = BIO_new_mem_buf(file->data, (int)file->bytes);
	unsigned count = 0;
	X509 *x;

	CHECK(bio);
	while ((x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
		CHECK(X509_STORE_add_cert(store, x));
		authority_add(names, x);
		X509_free(x);
		count++;
	}
	BIO_free(bio);
	if (!pem_is_at_end()) {
		tls_report_error(r, "ca-file %s: certificate %u is damaged: %s", path, count + 1, tls_library_error());
		return false;
	}
	if (count == 0)
		tls_report_error(r, "ca-file %s has no certificate in PEM form", path);
	return count > 0;
}

static bool lists_read(X509_STORE *store, const char *path, const struct tls_file *file, struct tls_report *r)
{
	BIO *bio = BIO_new_mem_buf(file->data, (int)file->bytes);
	unsigned count = 0;
	X509_CRL *crl;

	CHECK(bio);
	while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

		CHECK(X509_STORE_add_crl(store, crl));
		count++;
		if (next && X509_cmp_time(next, NULL) < 0)
			tls_report_warning(r, "crl-file %s: list %u is out of date: all its issuer's certificates "
					      "are refused", path, count);
		X509_CRL_free(crl);
	}
	BIO_free(bio);
	if (!pem_is_at_end()) {
		tls_report_error(r, "crl-file %s: list %u is damaged: %s", path, count + 1, tls_library_error());
		return false;
	}
	if (count == 0)
		tls_report_error(r, "crl-file %s has no revocation list in PEM form", path);
	return count > 0;
}

static void digest_make(unsigned char *digest, const struct tls_file *ca, const struct tls_file *crl)
{
	unsigned char parts[2 * SHA256_DIGEST_LENGTH] = { 0 };

	SHA256((const unsigned char *)ca->data, ca->bytes, parts);
	if (crl->data)
		SHA256((const unsigned char *)crl->data, crl->bytes, parts + SHA256_DIGEST_LENGTH);
	SHA256(parts, sizeof(parts), digest);
}

X509_STORE *tls_trust_load(const char *ca_file, const char *crl_file, struct tls_stamps *stamps,
			   STACK_OF(X509_NAME) **out_names, unsigned char *digest, struct tls_report *r)
{
	struct tls_file ca = { 0 }, crl = { 0 };
	X509_STORE *store = X509_STORE_new();
	STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
	bool is_right;

	CHECK(store && names);
	ERR_clear_error();
	is_right = tls_file_read(&ca, "ca-file", ca_file, false, stamps, r) == 0 &&
		   anchors_read(store, ca_file, &ca, names, r);
	if (crl_file) {
		flags |= X509_V_FLAG_CRL_CHECK;
		is_right &= tls_file_read(&crl, "crl-file", crl_file, false, stamps, r) == 0 &&
			    lists_read(store, crl_file, &crl, r);
	}
	X509_STORE_set_flags(store, flags);
	if (is_right && digest)
		digest_make(digest, &ca, &crl);
	tls_file_fini(&ca);
	tls_file_fini(&crl);
	if (!is_right) {
		X509_STORE_free(store);
		store = NULL;
	}
	if (is_right && out_names && sk_X509_NAME_num(names) <= AUTHORITIES_SENT_MAX)
		*out_names = names;
	else
		sk_X509_NAME_pop_free(names, X509_NAME_free);
	return store;
}

/* One store for all clients: the system's anchors are 1 MB and 10 ms.  Control thread, but a lock is cheap. */
static struct {
	pthread_mutex_t lock;
	X509_STORE *store;
	struct tls_stamps stamps;
} system_trust = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *system_file(void)
{
	static const char *const places[] = {
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/cert.pem",
	};
	const char *named = getenv(X509_get_default_cert_file_env());

	if (named)
		return named;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		if (access(places[i], R_OK) == 0)
			return places[i];
	}
	return X509_get_default_cert_file();
}

X509_STORE *tls_trust_system(struct tls_stamps *stamps, const char *label, struct tls_report *r)
{
	const char *path = system_file();
	X509_STORE *store;

	pthread_mutex_lock(&system_trust.lock);
	if (system_trust.store && (tls_stamps_differ(&system_trust.stamps) ||
				   strcmp(system_trust.stamps.items[0].path, path) != 0)) {
		X509_STORE_free(system_trust.store);
		system_trust.store = NULL;
	}
	if (!system_trust.store) {
		tls_stamps_fini(&system_trust.stamps);
		system_trust.store = tls_trust_load(path, NULL, &system_trust.stamps, NULL, NULL, r);
		if (!system_trust.store)
			tls_report_error(r, "%s: the system has no certificates to trust (Debian: ca-certificates); "
					 "name a ca-file", label);
	}
	store = system_trust.store;
	if (store)
		X509_STORE_up_ref(store);
	tls_stamps_add(stamps, &system_trust.stamps);
	pthread_mutex_unlock(&system_trust.lock);
	return store;
}
