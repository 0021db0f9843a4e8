/* SPDX-License-Identifier: GPL-2.0-only */
/* test_small_file.c - short texts of the kernel's: whole, cut, missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "loop/small_file.h"

static void test_text_is_read_and_ended(void **state)
{
	char text[64];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(small_file_read("/proc/sys/kernel/ostype", text, sizeof(text)), 6);
	assert_string_equal(text, "Linux\n");
	assert_int_equal(small_file_read("/proc/sys/kernel/ostype", text, 4), 3);
	assert_string_equal(text, "Lin");
	assert_int_equal(small_file_read("/proc/sys/kernel/ostype", text, 1), 0);
	assert_string_equal(text, "");
}

static void test_what_cannot_be_read_is_empty(void **state)
{
	static const char *const paths[] = { "/proc/nothing", "/proc", "/dev/null" };
	char text[8];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(small_file_read(paths[i], text, sizeof(text)), 0);
		assert_string_equal(text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_read_and_ended),
		cmocka_unit_test(test_what_cannot_be_read_is_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
