/* SPDX-License-Identifier: GPL-2.0-only */
/* test_glob.c - stars, question marks, and patterns made to be slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/glob.h"
#include "base/clock.h"

static void test_rows(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool is_match;
	} rows[] = {
		{ "", "", true },	     { "", "a", false },      { "*", "", true },
		{ "*", "abc", true },	     { "**", "x", true },     { "a*", "abc", true },
		{ "a*", "b", false },	     { "*c", "abc", true },   { "*c", "abcd", false },
		{ "a*c", "ac", true },	     { "a*c", "abcbc", true }, { "a*c", "acb", false },
		{ "?", "", false },	     { "?", "a", true },      { "?", "ab", false },
		{ "a?c", "abc", true },	     { "*?", "", false },     { "*?", "a", true },
		{ "*ab*ab", "abab", true },  { "*ab*ab", "aba", false }, { "*a?b*", "xxaybz", true },
		{ "*.example", "a.b.example", true }, { "*.example", "example", false },
		{ "A", "a", false },	     { "[a]", "a", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(glob_match(span_str(rows[i].pattern), span_str(rows[i].text)),
				 rows[i].is_match);
}

static void test_many_stars_are_not_exponential(void **state)
{
	static char text[20000], pattern[201];
	uint64_t start = clock_thread_cpu_ns();

	(void)state;
	memset(text, 'a', sizeof(text));
	for (unsigned i = 0; i < 200; i++)
		pattern[i] = i % 2 ? 'a' : '*';
	pattern[200] = 'b';
	assert_false(glob_match(span_of(pattern, 201), span_of(text, sizeof(text))));
	assert_true(clock_thread_cpu_ns() - start < 1000000000);
}

static void test_is_pattern(void **state)
{
	(void)state;
	assert_true(glob_is_pattern(SPAN("a*")));
	assert_true(glob_is_pattern(SPAN("a?")));
	assert_false(glob_is_pattern(SPAN("a.b")));
	assert_false(glob_is_pattern(span_str(NULL)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_many_stars_are_not_exponential),
		cmocka_unit_test(test_is_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
