/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_certificate.c - what is said about certificate and key files that are not right. */
#include "tls_pki.h"

#include <fcntl.h>

#include "base/check.h"

static struct pki ca, leaf, other;
static const char *cert_file, *key_file;
static int64_t now;

static int setup(void **state)
{
	(void)state;
	pki_begin();
	now = time(NULL);
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example" });
	other = pki_make((struct pki_spec){ .name = "two", .issuer = &ca });
	cert_file = pki_write("one", &leaf, &ca).cert_file;
	key_file = pki_path("one.key");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pki_free(&ca);
	pki_free(&leaf);
	pki_free(&other);
	pki_end();
	return 0;
}

static void refused(const char *cert, const char *key, const char *words)
{
	struct tls_certificate *c = NULL;
	struct tls_report r = { 0 };

	assert_int_equal(tls_certificate_load(&c, cert, key, now, NULL, &r), -22);
	assert_null(c);
	if (!strstr(r.errors.ptr, words))
		fail_msg("`%s` is not in: %s", words, r.errors.ptr);
	if (strstr(r.errors.ptr, "PRIVATE KEY"))
		fail_msg("a key in: %s", r.errors.ptr);
	assert_int_equal(ERR_peek_error(), 0);
	tls_report_fini(&r);
}

/* The warnings of a pair that is right. */
static struct strbuf loaded(const char *cert, const char *key, int64_t when)
{
	struct tls_certificate *c = NULL;
	struct tls_report r = { 0 };
	struct strbuf warnings;

	if (tls_certificate_load(&c, cert, key, when, NULL, &r) != 0)
		fail_msg("%s", r.errors.ptr);
	assert_int_equal(ERR_peek_error(), 0);
	tls_certificate_free(c);
	warnings = r.warnings;
	r.warnings = (struct strbuf){ 0 };
	tls_report_fini(&r);
	if (!warnings.ptr)
		strbuf_init(&warnings);
	return warnings;
}

static void warned(const char *cert, const char *key, int64_t when, const char *words)
{
	struct strbuf warnings = loaded(cert, key, when);

	if (words ? !strstr(warnings.ptr, words) : warnings.len > 0)
		fail_msg("`%s`: %s", words ? words : "no warning", warnings.ptr);
	strbuf_fini(&warnings);
}

static void test_right_pair(void **state)
{
	struct tls_certificate *c;
	struct tls_report r = { 0 };
	struct tls_stamps stamps = { 0 };

	(void)state;
	assert_int_equal(tls_certificate_load(&c, cert_file, key_file, now, &stamps, &r), 0);
	assert_int_equal(c->kind, TLS_KEY_ECDSA);
	assert_string_equal(c->subject, "CN=one");
	assert_string_equal(c->issuer, "CN=Test CA");
	assert_int_equal(c->name_count, 1);
	assert_string_equal(c->names[0], "one.example");
	assert_int_equal(strlen(c->fingerprint), 64);
	assert_false(c->is_must_staple);
	assert_int_equal(stamps.count, 2);
	tls_certificate_add_staple(c, false);
	assert_null(c->staple); /* no responder in it */
	tls_certificate_add_staple(c, true);
	assert_non_null(c->staple);
	tls_certificate_free(c);
	tls_stamps_fini(&stamps);
	assert_int_equal(r.warning_count, 0);
	tls_report_fini(&r);
}

#define DAMAGED "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

static void test_files_that_are_not_right(void **state)
{
	const char *text = pki_write_text("text.pem", "hello\n");
	const char *empty = pki_write_text("empty.pem", "");
	const char *damaged = pki_write_text("damaged.pem", DAMAGED);
	const char *pipe = pki_path("pipe");
	FILE *f;

	(void)state;
	assert_int_equal(mkfifo(pipe, 0600), 0);
	refused(pki_path("missing.pem"), key_file, "missing.pem cannot be read: no such file");
	refused(cert_file, pki_path("missing.key"), "missing.key cannot be read: no such file");
	refused(pki_dir, key_file, "is not a regular file");
	refused(pipe, key_file, "is not a regular file");
	refused(text, key_file, "text.pem has no certificate in PEM form: no start line");
	refused(empty, key_file, "empty.pem has no certificate in PEM form");
	refused(damaged, key_file, "damaged.pem has no certificate in PEM form");
	refused(cert_file, text, "text.pem has no private key in PEM form");
	refused(key_file, key_file, "has no certificate in PEM form");
	refused(pki_write_cert("two.pem", &other, NULL), key_file, "is not the key of the certificate");
	/* A chain that is cut in the middle. */
	f = fopen(pki_write_cert("cut.pem", &leaf, NULL), "a");
	fputs(DAMAGED, f);
	fclose(f);
	refused(pki_path("cut.pem"), key_file, "certificate 2 is damaged");
}

static void test_leaf_must_be_first(void **state)
{
	const struct pki *chain[] = { &leaf, NULL };

	(void)state;
	refused(pki_write_cert("order.pem", &ca, chain), key_file, "is number 2 in it, not the first");
}

static void test_chain_in_disorder_is_a_warning(void **state)
{
	const struct pki *chain[] = { &other, &ca, NULL };

	(void)state;
	warned(pki_write_cert("disorder.pem", &leaf, chain), key_file, now,
	       "certificate 2 did not issue the one before");
	warned(cert_file, key_file, now, NULL);
}

static void test_rights_of_keys(void **state)
{
	static const struct {
		mode_t mode;
		bool is_right;
	} rows[] = { { 0600, true },  { 0400, true },  { 0640, true },	{ 0644, false },
		     { 0604, false }, { 0660, false }, { 0602, false }, { 0666, false } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *key = pki_write_key("mode.key", &leaf, rows[i].mode);
		char words[64];

		snprintf(words, sizeof(words), "mode.key has mode %04o: others may use it", (unsigned)rows[i].mode);
		if (rows[i].is_right)
			warned(cert_file, key, now, NULL);
		else
			refused(cert_file, key, words);
	}
	if (geteuid() != 0)
		return; /* only root can give files away */
	assert_int_equal(chown(pki_write_key("mode.key", &leaf, 0600), 12345, 0), 0);
	refused(cert_file, pki_path("mode.key"), "belongs to user 12345");
	assert_int_equal(chown(pki_write_key("mode.key", &leaf, 0640), 0, 12345), 0);
	warned(cert_file, pki_path("mode.key"), now, "can be read by group 12345");
}

static void test_rights_are_those_behind_a_link(void **state)
{
	const char *link_file = pki_path("link.key");

	(void)state;
	pki_write_key("behind.key", &leaf, 0644);
	assert_int_equal(symlink("behind.key", link_file), 0);
	refused(cert_file, link_file, "has mode 0644");
}

static void test_encrypted_key(void **state)
{
	const char *path = pki_path("encrypted.key");
	FILE *f = pki_open(path, 0600);

	(void)state;
	assert_int_equal(PEM_write_PKCS8PrivateKey(f, leaf.key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), 1);
	fclose(f);
	refused(cert_file, path, "encrypted.key is encrypted");
}

static void test_kinds_of_keys(void **state)
{
	struct pki small = pki_make((struct pki_spec){ .name = "s", .is_rsa = true, .rsa_bits = 1024 });
	struct pki odd = { X509_new(), EVP_EC_gen("secp256k1") };
	struct tls_pair_config p = pki_write("small", &small, NULL);

	(void)state;
	refused(p.cert_file, p.key_file, "an RSA key of 1024 bits is too short");
	X509_gmtime_adj(X509_getm_notBefore(odd.x), -DAY);
	X509_gmtime_adj(X509_getm_notAfter(odd.x), DAY);
	X509_set_pubkey(odd.x, odd.key);
	assert_true(X509_sign(odd.x, odd.key, EVP_sha256()) > 0);
	p = pki_write("odd", &odd, NULL);
	refused(p.cert_file, p.key_file, "keys of kind EC secp256k1 are not supported");
	pki_free(&small);
	pki_free(&odd);
}

static void test_validity(void **state)
{
	int64_t end = now + 90 * DAY;

	(void)state;
	warned(cert_file, key_file, end - 31 * DAY, NULL);
	warned(cert_file, key_file, end - 10 * DAY, "expires in 10 days, on 20");
	warned(cert_file, key_file, end - 60, "expires in 0 days");
	warned(cert_file, key_file, now - 9 * DAY, "is not valid before 20");
	warned(cert_file, key_file, end + DAY, "has expired on 20");
}

/* Certificates that live for six days are not a reason to warn all the time. */
static void test_validity_of_short_lives(void **state)
{
	struct pki brief = pki_make((struct pki_spec){ .name = "b", .from = 0, .until = 6 * DAY });
	struct tls_pair_config p = pki_write("brief", &brief, NULL);

	(void)state;
	warned(p.cert_file, p.key_file, now + DAY, NULL);
	warned(p.cert_file, p.key_file, now + 5 * DAY + 600, "expires in 0 days");
	pki_free(&brief);
}

static void test_names_of_a_certificate(void **state)
{
	struct pki san = pki_make((struct pki_spec){ .name = "cn.example",
						     .san = "DNS:A.example,DNS:*.b.example,IP:192.0.2.1,DNS:c..d,"
							    "DNS:x*.e.example" });
	struct pki only_ip = pki_make((struct pki_spec){ .name = "cn.example", .san = "IP:192.0.2.1" });
	struct pki cn = pki_make((struct pki_spec){ .name = "CN.example" });
	const struct {
		const struct pki *p;
		const char *names;
	} rows[] = {
		{ &san, "names a.example *.b.example" },
		{ &only_ip, "names (none)" },
		{ &cn, "names cn.example" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_pair_config pair = pki_write("names", rows[i].p, NULL);
		struct tls_certificate *c;
		struct tls_report r = { 0 };
		struct strbuf text = { 0 };

		assert_int_equal(tls_certificate_load(&c, pair.cert_file, pair.key_file, now, NULL, &r), 0);
		tls_certificate_describe(c, &text);
		assert_true(span_ends(strbuf_span(&text), span_str(rows[i].names)));
		strbuf_fini(&text);
		tls_certificate_free(c);
		tls_report_fini(&r);
	}
	pki_free(&san);
	pki_free(&only_ip);
	pki_free(&cn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_right_pair),
		cmocka_unit_test(test_files_that_are_not_right),
		cmocka_unit_test(test_leaf_must_be_first),
		cmocka_unit_test(test_chain_in_disorder_is_a_warning),
		cmocka_unit_test(test_rights_of_keys),
		cmocka_unit_test(test_rights_are_those_behind_a_link),
		cmocka_unit_test(test_encrypted_key),
		cmocka_unit_test(test_kinds_of_keys),
		cmocka_unit_test(test_validity),
		cmocka_unit_test(test_validity_of_short_lives),
		cmocka_unit_test(test_names_of_a_certificate),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
