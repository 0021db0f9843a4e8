/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_kdf.c - our TLS 1.3 key schedule: known answers, agreement with OpenSSL's own in handshakes, its limits. */
#include "tls_pki.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#include "net/tls_kdf.h"

static struct pki ca, leaf;
static struct tls_pair_config pair;
static struct tls_shared *shared;
static EVP_KDF *kdf;

static int setup(void **state)
{
	const char *reason = "";

	(void)state;
	assert_null(tls_kdf_query());
	if (!tls_kdf_start(&reason))
		fail_msg("%s", reason);
	assert_true(tls_kdf_start(&reason));
	kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", tls_kdf_query());
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example" });
	pair = pki_write("one", &leaf, &ca);
	shared = tls_shared_new(0);
	return kdf ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	EVP_KDF_free(kdf);
	tls_shared_free(shared);
	pki_free(&ca);
	pki_free(&leaf);
	pki_end();
	return 0;
}

static int derive(int mode, const void *salt, size_t salt_len, const void *key, size_t key_len, size_t label_len,
		  unsigned char *out, size_t out_len)
{
	static char digest[] = "SHA256", prefix[] = "tls13 ", label[300] = "derived";
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM params[7], *p = params;
	int result;

	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix, 6);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, label, label_len);
	if (salt)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, salt_len);
	if (key)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key, key_len);
	*p = OSSL_PARAM_construct_end();
	result = EVP_KDF_derive(ctx, out, out_len, params);
	EVP_KDF_CTX_free(ctx);
	ERR_clear_error();
	return result;
}

/* RFC 8448 section 3: early secret, then the handshake secret of the simple handshake. */
static void test_known_answers(void **state)
{
	static const unsigned char early[] = { 0x33, 0xad, 0x0a, 0x1c, 0x60, 0x7e, 0xc0, 0x3b, 0x09, 0xe6, 0xcd,
					       0x98, 0x93, 0x68, 0x0c, 0xe2, 0x10, 0xad, 0xf3, 0x00, 0xaa, 0x1f,
					       0x26, 0x60, 0xe1, 0xb2, 0x2e, 0x10, 0xf1, 0x70, 0xf9, 0x2a };
	static const unsigned char shared_key[] = { 0x8b, 0xd4, 0x05, 0x4f, 0xb5, 0x5b, 0x9d, 0x63, 0xfd, 0xfb, 0xac,
						    0xf9, 0xf0, 0x4b, 0x9f, 0x0d, 0x35, 0xe6, 0xd6, 0x3f, 0x53, 0x75,
						    0x63, 0xef, 0xd4, 0x62, 0x72, 0x90, 0x0f, 0x89, 0x49, 0x2d };
	static const unsigned char handshake[] = { 0x1d, 0xc8, 0x26, 0xe9, 0x36, 0x06, 0xaa, 0x6f, 0xdc, 0x0a, 0xad,
						   0xc1, 0x2f, 0x74, 0x1b, 0x01, 0x04, 0x6a, 0xa6, 0xb9, 0x9f, 0x69,
						   0x1e, 0xd2, 0x21, 0xa9, 0xf0, 0xca, 0x04, 0x3f, 0xbe, 0xac };
	unsigned char out[32];

	(void)state;
	assert_int_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, NULL, 0, NULL, 0, 7, out, 32), 1);
	assert_memory_equal(out, early, 32);
	assert_int_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, early, 32, shared_key, 32, 7, out, 32), 1);
	assert_memory_equal(out, handshake, 32);
}

static void test_limits(void **state)
{
	unsigned char in[512] = { 0 }, out[255 * 32 + 1];

	(void)state;
	assert_int_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 32, 7, out, 255 * 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 32, 7, out, 255 * 32 + 1), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 31, 7, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 512, 7, out, 32), 1);
	assert_int_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 32, 243, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 32, 244, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, NULL, 0, in, 32, 300, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, in, 31, in, 32, 7, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, in, 65, in, 32, 7, out, 32), 1);
	assert_int_not_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, in, 32, in, 32, 7, out, 33), 1);
	/* P-521's shared secret is longer than a hash: HMAC takes any length of message. */
	assert_int_equal(derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, in, 32, in, 66, 7, out, 32), 1);
	assert_int_not_equal(derive(42, in, 32, in, 32, 7, out, 32), 1);
}

static SSL_SESSION *kept;

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

/* The client's key schedule is OpenSSL's own: one byte of difference and no record can be read. */
static void test_handshakes_with_openssl(void **state)
{
	static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
					      "TLS_CHACHA20_POLY1305_SHA256" };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls_server_config c;
	struct tls_server *s;

	(void)state;
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	tls_server_config_init(&c);
	c.defaults = &pair;
	c.default_count = 1;
	s = server_make(&c, shared);
	for (unsigned i = 0; i < 6; i++) {
		unsigned long before = tls_kdf_count();
		unsigned char a[300], b[300];
		struct tls_link l;

		assert_int_equal(SSL_CTX_set_ciphersuites(ctx, suites[i / 2]), 1);
		l = link_new(any_client(ctx, "one.example"), tls_server_ssl(s));
		if (i % 2)
			assert_int_equal(SSL_set_session(l.client, kept), 1);
		link_run(&l);
		assert_true(l.is_up);
		assert_int_equal(SSL_session_reused(l.server), i % 2);
		assert_string_equal(SSL_CIPHER_get_name(SSL_get_current_cipher(l.server)), suites[i / 2]);
		assert_true(tls_kdf_count() > before + 10);
		assert_int_equal(SSL_export_keying_material(l.server, a, sizeof(a), "EXPORTER-test", 13,
							    (const void *)"context", 7, 1), 1);
		assert_int_equal(SSL_export_keying_material(l.client, b, sizeof(b), "EXPORTER-test", 13,
							    (const void *)"context", 7, 1), 1);
		assert_memory_equal(a, b, sizeof(a));
		assert_int_equal(SSL_key_update(l.server, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_write(l.server, "hello", 5), 5);
		assert_int_equal(SSL_read(l.client, a, 5), 5);
		assert_int_equal(SSL_write(l.client, "world", 5), 5);
		assert_int_equal(SSL_read(l.server, b, 5), 5);
		assert_memory_equal(b, "world", 5);
		link_free(&l);
	}
	SSL_SESSION_free(kept);
	SSL_CTX_free(ctx);
	tls_server_put(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_handshakes_with_openssl),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
