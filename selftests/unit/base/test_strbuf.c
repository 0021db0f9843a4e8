/* SPDX-License-Identifier: GPL-2.0-only */
/* test_strbuf.c - growing, formatting and giving away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/strbuf.h"

static void test_never_null_after_init(void **state)
{
	struct strbuf b;

	(void)state;
	strbuf_init(&b);
	assert_string_equal(b.ptr, "");
	strbuf_reset(&b);
	assert_string_equal(b.ptr, "");
	strbuf_fini(&b);
	assert_string_equal(b.ptr, "");
	strbuf_fini(&b);
	strbuf_fini(NULL);
}

static void test_zero_is_an_empty_buffer(void **state)
{
	struct strbuf b = { 0 };

	(void)state;
	assert_int_equal(strbuf_span(&b).len, 0);
	strbuf_add_str(&b, "ab");
	strbuf_add_char(&b, 'c');
	strbuf_add_span(&b, span_str(NULL));
	assert_string_equal(b.ptr, "abc");
	strbuf_reset(&b);
	assert_string_equal(b.ptr, "");
	assert_int_equal(b.len, 0);
	strbuf_fini(&b);
}

static void test_grows_and_stays_terminated(void **state)
{
	struct strbuf b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		strbuf_add_char(&b, (char)('a' + i % 26));
		assert_int_equal(b.ptr[b.len], 0);
	}
	assert_int_equal(b.len, 5000);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(b.ptr[i], 'a' + i % 26);
	strbuf_fini(&b);
}

static void test_numbers(void **state)
{
	struct strbuf b = { 0 };

	(void)state;
	strbuf_add_u64(&b, 0);
	strbuf_add_char(&b, ' ');
	strbuf_add_u64(&b, UINT64_MAX);
	assert_string_equal(b.ptr, "0 18446744073709551615");
	strbuf_fini(&b);
}

static void test_printf_longer_than_the_free_room(void **state)
{
	struct strbuf b = { 0 };
	char wide[301];

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		wide[i] = 'w';
	wide[300] = 0;
	/* Every length around the first size, so that the exact fit is among them. */
	for (int n = 0; n <= 300; n++) {
		strbuf_fini(&b);
		strbuf_printf(&b, "%.*s", n, wide);
		assert_int_equal(b.len, n);
		assert_int_equal(b.ptr[n], 0);
	}
	strbuf_printf(&b, "-%d", 5);
	assert_string_equal(b.ptr + 300, "-5");
	strbuf_fini(&b);
}

static void test_detach_leaves_an_empty_buffer(void **state)
{
	struct strbuf b = { 0 };
	char *s;

	(void)state;
	s = strbuf_detach(&b);
	assert_string_equal(s, "");
	free(s);
	strbuf_add_str(&b, "mine");
	s = strbuf_detach(&b);
	assert_string_equal(s, "mine");
	assert_string_equal(b.ptr, "");
	assert_int_equal(b.size, 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_null_after_init),
		cmocka_unit_test(test_zero_is_an_empty_buffer),
		cmocka_unit_test(test_grows_and_stays_terminated),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_printf_longer_than_the_free_room),
		cmocka_unit_test(test_detach_leaves_an_empty_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
