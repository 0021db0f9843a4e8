/* SPDX-License-Identifier: GPL-2.0-only */
/* test_hash.c - SipHash against another implementation, folding, and spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/hash.h"

/* What CPython 3.11 gives for the same bytes under the all-zero key. */
static void test_siphash_agrees_with_cpython(void **state)
{
	static const struct {
		struct span text;
		uint64_t hash;
	} rows[] = {
		{ { "a", 1 }, 0x407448d2b89b1813 },
		{ { "sentinel", 8 }, 0x9fa172e0ff918bf6 },
		{ { "0123456789abcde", 15 }, 0x26f4d862282d8fcb },
		{ { "The quick brown fox jumps over the lazy dog", 43 }, 0x8df676d3d00c451e },
	};
	const uint64_t key[2] = { 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(hash_siphash13(key, rows[i].text.ptr, rows[i].text.len) == rows[i].hash);
}

static void test_siphash_of_every_rest(void **state)
{
	static const uint64_t hashes[] = {
		0x49bc192c478bfc2e, 0x748af13ac9ed7bec, 0x27007a47f534b10c, 0xe2614298a482dc84,
		0xe2c4ef0f59d25695, 0xb95fd06b7c3d68ab, 0x810aaf7acf670379, 0xda3dcedf84ea6cc6,
		0xb79d8581f8552753, 0x52b62a4184e1c734, 0x7188f6617526617b, 0x58ad1e5ac2bf1033,
		0x6c5a77666b0b9ac0, 0x5aa577192a3435c6, 0x26f4d862282d8fcb, 0x1d42b30f7e060c24,
		0x3323a4f8b8d9776b,
	};
	const uint64_t key[2] = { 0, 0 };

	(void)state;
	for (size_t len = 1; len <= sizeof(hashes) / sizeof(*hashes); len++) {
		char *text = malloc(len); /* nothing beyond its end is read */

		memcpy(text, "0123456789abcdefg", len);
		assert_true(hash_siphash13(key, text, len) == hashes[len - 1]);
		free(text);
	}
}

/* The first vector of the reference code for 1-3 rounds: key 00..0f, no bytes. */
static void test_siphash_uses_the_key(void **state)
{
	const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

	(void)state;
	assert_true(hash_siphash13(key, "", 0) == 0xabac0158050fc4dc);
}

/* From a program that gives the reference's vector for 2-4 rounds. */
static void test_siphash_gives_128_bits(void **state)
{
	static const struct {
		struct span text;
		uint64_t hash[2];
	} rows[] = {
		{ { "", 0 }, { 0xbea58827b2bc7ee7, 0x013030dd6adb62fd } },
		{ { "a", 1 }, { 0xa84f7c63de373c08, 0x678aae375dd72f49 } },
		{ { "0123456789abcde", 15 }, { 0xd66488330cbe30a1, 0x9060d608df7db095 } },
		{ { "The quick brown fox jumps over the lazy dog", 43 }, { 0xa96e940398c6406a, 0x65be4cb4ae406b8d } },
	};
	const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t out[2] = { key[0], key[1] };

		hash_siphash13_128(out, rows[i].text.ptr, rows[i].text.len, out);
		assert_true(out[0] == rows[i].hash[0] && out[1] == rows[i].hash[1]);
	}
}

static void test_process_key_is_not_zero_and_stays(void **state)
{
	const uint64_t zero[2] = { 0, 0 };
	uint64_t before = hash_bytes("sentinel", 8);

	(void)state;
	assert_true(before != hash_siphash13(zero, "sentinel", 8));
	hash_init();
	assert_true(hash_bytes("sentinel", 8) == before);
	assert_true(hash_span(SPAN("sentinel")) == before);
}

static void test_nocase_folds_letters_and_nothing_else(void **state)
{
	/* Every byte, at each position of a word and in the tail. */
	char a[13], b[13];

	(void)state;
	for (unsigned at = 0; at < sizeof(a); at++) {
		for (unsigned c = 0; c < 256; c++) {
			bool is_upper = c >= 'A' && c <= 'Z';

			memset(a, 'x', sizeof(a));
			memset(b, 'x', sizeof(b));
			a[at] = (char)c;
			b[at] = (char)(c ^ 0x20);
			if (is_upper || (c >= 'a' && c <= 'z'))
				assert_true(hash_span_nocase(span_of(a, 13)) ==
					    hash_span_nocase(span_of(b, 13)));
			else
				assert_true(hash_span_nocase(span_of(a, 13)) !=
					    hash_span_nocase(span_of(b, 13)));
			if (!is_upper)
				assert_true(hash_span_nocase(span_of(a, 13)) == hash_bytes(a, 13));
		}
	}
}

static void test_mixer_spreads_small_numbers(void **state)
{
	unsigned buckets[64] = { 0 };

	(void)state;
	for (uint64_t v = 0; v < 6400; v++)
		buckets[hash_u64(v << 16) & 63]++;
	for (unsigned i = 0; i < 64; i++)
		assert_in_range(buckets[i], 50, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash_agrees_with_cpython),
		cmocka_unit_test(test_siphash_of_every_rest),
		cmocka_unit_test(test_siphash_uses_the_key),
		cmocka_unit_test(test_siphash_gives_128_bits),
		cmocka_unit_test(test_process_key_is_not_zero_and_stays),
		cmocka_unit_test(test_nocase_folds_letters_and_nothing_else),
		cmocka_unit_test(test_mixer_spreads_small_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
