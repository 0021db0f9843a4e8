/* SPDX-License-Identifier: GPL-2.0-only */
/* test_sha1.c - SHA-1 against the vectors of FIPS 180, base64 against those of RFC 4648. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/sha1.h"

static void sha1_check(struct span text, const char *hex)
{
	uint8_t digest[SHA1_LEN];
	char got[2 * SHA1_LEN + 1];

	sha1(text, digest);
	for (unsigned i = 0; i < SHA1_LEN; i++)
		(void)snprintf(got + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(got, hex);
}

static void test_sha1_vectors(void **state)
{
	char *million = malloc(1000000);

	(void)state;
	sha1_check(SPAN(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	sha1_check(span_of(NULL, 0), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	sha1_check(SPAN("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
	sha1_check(SPAN("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
		   "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	memset(million, 'a', 1000000);
	sha1_check(span_of(million, 1000000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
	/* Around the place where the length needs a block of its own. */
	sha1_check(span_of(million, 55), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
	sha1_check(span_of(million, 56), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
	sha1_check(span_of(million, 64), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
	free(million);
}

static void test_sha1_in_pieces(void **state)
{
	uint8_t text[200], whole[SHA1_LEN], pieces[SHA1_LEN];

	(void)state;
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(text); len++)
		for (size_t cut = 0; cut <= len; cut += 3) {
			struct sha1 s, copy;

			sha1(span_of((const char *)text, len), whole);
			sha1_begin(&s);
			sha1_add(&s, text, cut);
			copy = s;
			sha1_add(&s, "something else", 14);
			sha1_add(&copy, text + cut, len - cut);
			sha1_end(&copy, pieces);
			assert_memory_equal(whole, pieces, SHA1_LEN);
		}
}

static void test_base64_vectors(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },	      { "f", "Zg==" },	       { "fo", "Zm8=" },     { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xfe", "+//+" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char out[16] = { 0 };

		base64_encode(rows[i][0], strlen(rows[i][0]), out);
		assert_string_equal(out, rows[i][1]);
		assert_int_equal(BASE64_LEN(strlen(rows[i][0])), strlen(rows[i][1]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha1_vectors),
		cmocka_unit_test(test_sha1_in_pieces),
		cmocka_unit_test(test_base64_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
