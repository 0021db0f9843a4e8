/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_kdf_off.c - where our key schedule may not be used, it says so and handshakes go on without it. */
#include "tls_pki.h"

#include "net/tls_kdf.h"

static void test_fips_mode_keeps_openssls_own(void **state)
{
	struct tls_server_config c;
	struct tls_shared *shared;
	struct tls_server *s;
	const char *reason = NULL;
	SSL_CTX *ctx;
	struct tls_link l;
	struct pki leaf;
	struct tls_pair_config pair;

	(void)state;
	assert_int_equal(EVP_default_properties_enable_fips(NULL, 1), 1);
	assert_false(tls_kdf_start(&reason));
	assert_string_equal(reason, "FIPS mode is on");
	assert_null(tls_kdf_query());
	assert_int_equal(EVP_default_properties_enable_fips(NULL, 0), 1);
	reason = NULL;
	assert_false(tls_kdf_start(&reason)); /* the first answer stays */
	assert_non_null(reason);

	pki_begin();
	leaf = pki_make((struct pki_spec){ .name = "one.example" });
	pair = pki_write("one", &leaf, NULL);
	tls_server_config_init(&c);
	c.defaults = &pair;
	c.default_count = 1;
	shared = tls_shared_new(0);
	s = server_make(&c, shared);
	ctx = SSL_CTX_new(TLS_client_method());
	l = link_new(any_client(ctx, "one.example"), tls_server_ssl(s));
	link_run(&l);
	assert_true(l.is_up);
	assert_int_equal(tls_kdf_count(), 0);
	link_free(&l);
	SSL_CTX_free(ctx);
	tls_server_put(s);
	tls_shared_free(shared);
	pki_free(&leaf);
	pki_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fips_mode_keeps_openssls_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
