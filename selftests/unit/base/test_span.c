/* SPDX-License-Identifier: GPL-2.0-only */
/* test_span.c - comparing, splitting and reading numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/span.h"

#define assert_span(s, text) assert_true(span_eq((s), span_str(text)))

static void test_equality_looks_at_length_and_bytes(void **state)
{
	(void)state;
	assert_true(span_eq(SPAN("abc"), SPAN("abc")));
	assert_false(span_eq(SPAN("abc"), SPAN("abd")));
	assert_false(span_eq(SPAN("abc"), SPAN("ab")));
	assert_true(span_eq(SPAN(""), span_str(NULL)));
	assert_true(span_eq_nocase(SPAN("Content-LENGTH"), SPAN("content-length")));
	/* @ and `, [ and { differ by the case bit and are no letters. */
	assert_false(span_eq_nocase(SPAN("@"), SPAN("`")));
	assert_false(span_eq_nocase(SPAN("["), SPAN("{")));
	assert_false(span_eq_nocase(SPAN("\xc4"), SPAN("\xe4")));
	assert_false(span_eq_nocase(SPAN("ab"), SPAN("abc")));
}

static void test_starts_and_ends(void **state)
{
	(void)state;
	assert_true(span_starts(SPAN("/api/x"), SPAN("/api")));
	assert_false(span_starts(SPAN("/a"), SPAN("/api")));
	assert_true(span_ends(SPAN("x.example"), SPAN(".example")));
	assert_false(span_ends(SPAN("e"), SPAN(".example")));
	assert_true(span_ends(SPAN("e"), span_str(NULL)));
}

static void test_trim_takes_blanks_only(void **state)
{
	(void)state;
	assert_span(span_trim(SPAN(" \t a b\t ")), "a b");
	assert_span(span_trim(SPAN(" \t ")), "");
	assert_span(span_trim(SPAN("\r\na")), "\r\na");
	assert_span(span_trim(span_str(NULL)), "");
}

static void test_find_and_skip(void **state)
{
	(void)state;
	assert_int_equal(span_find(SPAN("a:b:c"), ':'), 1);
	assert_int_equal(span_find(SPAN("abc"), ':'), 3);
	assert_int_equal(span_find(span_str(NULL), ':'), 0);
	assert_span(span_skip(SPAN("abc"), 1), "bc");
	assert_span(span_skip(SPAN("abc"), 9), "");
}

static void test_list_elements_are_trimmed_and_empty_ones_kept(void **state)
{
	struct span rest = SPAN(" a ,, b\t,"), item;

	(void)state;
	assert_true(span_next(&rest, ',', &item));
	assert_span(item, "a");
	assert_true(span_next(&rest, ',', &item));
	assert_span(item, "");
	assert_true(span_next(&rest, ',', &item));
	assert_span(item, "b");
	assert_true(span_next(&rest, ',', &item));
	assert_span(item, "");
	assert_false(span_next(&rest, ',', &item));
	assert_false(span_next(&rest, ',', &item));
}

static void test_empty_list_has_one_empty_element(void **state)
{
	struct span rest = SPAN(""), item = SPAN("x");

	(void)state;
	assert_true(span_next(&rest, ',', &item));
	assert_int_equal(item.len, 0);
	assert_false(span_next(&rest, ',', &item));
}

static void test_decimal_is_digits_only_and_bounded(void **state)
{
	static const char *const refused[] = {
		"", "-1", "+1", " 1", "1 ", "0x1", "1a", "18446744073709551616", "99999999999999999999",
	};
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		assert_false(span_to_u64(span_str(refused[i]), &v));
	assert_int_equal(v, 7); /* untouched */
	assert_true(span_to_u64(SPAN("18446744073709551615"), &v));
	assert_true(v == UINT64_MAX);
	assert_true(span_to_u64(SPAN("007"), &v));
	assert_int_equal(v, 7);
	assert_false(span_to_u64(SPAN("1\0"), &v));
}

static void test_hex_is_digits_only_and_bounded(void **state)
{
	static const char *const refused[] = { "", "0x1", "g", "-1", "10000000000000000", "1 " };
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		assert_false(span_hex_to_u64(span_str(refused[i]), &v));
	assert_int_equal(v, 7);
	assert_true(span_hex_to_u64(SPAN("fFfFffffFFFFFFFF"), &v));
	assert_true(v == UINT64_MAX);
	assert_true(span_hex_to_u64(SPAN("00000000000000001f"), &v));
	assert_int_equal(v, 0x1f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equality_looks_at_length_and_bytes),
		cmocka_unit_test(test_starts_and_ends),
		cmocka_unit_test(test_trim_takes_blanks_only),
		cmocka_unit_test(test_find_and_skip),
		cmocka_unit_test(test_list_elements_are_trimmed_and_empty_ones_kept),
		cmocka_unit_test(test_empty_list_has_one_empty_element),
		cmocka_unit_test(test_decimal_is_digits_only_and_bounded),
		cmocka_unit_test(test_hex_is_digits_only_and_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
