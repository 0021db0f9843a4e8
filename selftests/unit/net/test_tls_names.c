/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_names.c - host names to certificates: exact, wildcards, conflicts, kinds of key. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "base/check.h"
#include "net/tls_names.h"

static struct tls_certificate ec1 = { .kind = TLS_KEY_ECDSA }, ec2 = { .kind = TLS_KEY_ECDSA };
static struct tls_certificate rsa1 = { .kind = TLS_KEY_RSA };

static int add(struct tls_names *t, const char *name, const struct tls_certificate *c, enum tls_name_rank rank)
{
	const struct tls_certificate *other = NULL;
	int err = tls_names_add(t, span_str(name), c, rank, &other);

	assert_int_equal(err == -EEXIST, other != NULL);
	return err;
}

static const struct tls_certificate *find(struct tls_names *t, const char *host, enum tls_key_kind kind)
{
	struct tls_name *row = tls_names_find(t, span_str(host));

	return row ? row->certificates[kind] : NULL;
}

static void test_exact_wins_then_wildcards(void **state)
{
	static const struct {
		const char *host;
		const struct tls_certificate *expected;
	} rows[] = {
		{ "a.example.com", &ec2 },
		{ "A.Example.COM", &ec2 },
		{ "a.example.com.", &ec2 },
		{ "b.example.com", &ec1 },
		{ "x.b.example.com", &ec1 },
		{ "x.y.z.example.com", &ec1 },
		{ "x.a.example.com", &ec1 },
		{ "example.com", NULL },
		{ "example.com.", NULL },
		{ "badexample.com", NULL },
		{ ".example.com", NULL },
		{ "b..example.com", NULL },
		{ "*.example.com", NULL },
		{ "com", NULL },
		{ "", NULL },
		{ ".", NULL },
		{ "b.example.com..", NULL },
		{ "b.example.com\n", NULL },
		{ "192.0.2.1", NULL },
	};
	struct tls_names t;

	(void)state;
	tls_names_init(&t);
	assert_int_equal(add(&t, "*.example.com", &ec1, TLS_NAME_PLAIN), 0);
	assert_int_equal(add(&t, "a.example.com", &ec2, TLS_NAME_PLAIN), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (find(&t, rows[i].host, TLS_KEY_ECDSA) != rows[i].expected)
			fail_msg("%s", rows[i].host);
	}
	assert_null(tls_names_find(&t, span_of("a.example.com\0", 14)));
	tls_names_fini(&t);
}

static void test_longer_wildcard_wins(void **state)
{
	struct tls_names t;

	(void)state;
	tls_names_init(&t);
	add(&t, "*.com", &ec1, TLS_NAME_PLAIN);
	add(&t, "*.example.com", &ec2, TLS_NAME_PLAIN);
	assert_ptr_equal(find(&t, "x.y.example.com", TLS_KEY_ECDSA), &ec2);
	assert_ptr_equal(find(&t, "example.com", TLS_KEY_ECDSA), &ec1);
	tls_names_fini(&t);
}

static void test_conflicts(void **state)
{
	struct tls_names t;

	(void)state;
	tls_names_init(&t);
	assert_int_equal(add(&t, "a", &ec1, TLS_NAME_PLAIN), 0);
	assert_int_equal(add(&t, "a", &ec1, TLS_NAME_PLAIN), 0);
	assert_int_equal(add(&t, "a", &ec2, TLS_NAME_PLAIN), -EEXIST);
	assert_int_equal(add(&t, "a", &rsa1, TLS_NAME_PLAIN), 0);
	assert_ptr_equal(find(&t, "a", TLS_KEY_ECDSA), &ec1);
	assert_ptr_equal(find(&t, "a", TLS_KEY_RSA), &rsa1);

	assert_int_equal(add(&t, "b", &ec1, TLS_NAME_PRIORITY), 0);
	assert_int_equal(add(&t, "b", &ec2, TLS_NAME_PLAIN), 0);
	assert_ptr_equal(find(&t, "b", TLS_KEY_ECDSA), &ec1);
	assert_int_equal(add(&t, "b", &ec2, TLS_NAME_PRIORITY), -EEXIST);

	assert_int_equal(add(&t, "c", &ec1, TLS_NAME_PLAIN), 0);
	assert_int_equal(add(&t, "c", &ec2, TLS_NAME_PRIORITY), 0);
	assert_ptr_equal(find(&t, "c", TLS_KEY_ECDSA), &ec2);
	tls_names_fini(&t);
}

static void test_weak_names_give_way(void **state)
{
	struct tls_names t;

	(void)state;
	tls_names_init(&t);
	assert_int_equal(add(&t, "a", &rsa1, TLS_NAME_WEAK), 0);
	assert_int_equal(add(&t, "a", &ec1, TLS_NAME_WEAK), 0);
	assert_true(tls_name_is_weak(tls_names_find(&t, SPAN("a"))));
	assert_int_equal(add(&t, "a", &ec2, TLS_NAME_PLAIN), 0);
	assert_ptr_equal(find(&t, "a", TLS_KEY_ECDSA), &ec2);
	assert_null(find(&t, "a", TLS_KEY_RSA));
	assert_int_equal(add(&t, "a", &rsa1, TLS_NAME_WEAK), 0);
	assert_null(find(&t, "a", TLS_KEY_RSA));
	tls_names_fini(&t);
}

static void test_parse(void **state)
{
	char buf[TLS_NAME_MAX + 1], text[300];

	(void)state;
	assert_int_equal(tls_name_parse(SPAN("*.Example.com"), true, buf), 13);
	assert_string_equal(buf, "*.example.com");
	assert_int_equal(tls_name_parse(SPAN("*.example.com"), false, buf), 0);
	assert_int_equal(tls_name_parse(SPAN("*"), true, buf), 0);
	assert_int_equal(tls_name_parse(SPAN("*."), true, buf), 0);
	assert_int_equal(tls_name_parse(SPAN("a.*.com"), true, buf), 0);
	assert_int_equal(tls_name_parse(SPAN("*a.com"), true, buf), 0);
	assert_int_equal(tls_name_parse(SPAN("xn--bcher-kva.example_1"), false, buf), 23);
	memset(text, 'a', sizeof(text));
	assert_int_equal(tls_name_parse(span_of(text, 63), false, buf), 63);
	assert_int_equal(tls_name_parse(span_of(text, 64), false, buf), 0);
	for (size_t i = 1; i < sizeof(text); i += 2)
		text[i] = '.';
	assert_int_equal(tls_name_parse(span_of(text, 253), false, buf), 253);
	assert_int_equal(tls_name_parse(span_of(text, 255), false, buf), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_wins_then_wildcards),
		cmocka_unit_test(test_longer_wildcard_wins),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_weak_names_give_way),
		cmocka_unit_test(test_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
