/* SPDX-License-Identifier: GPL-2.0-only */
/* test_decimal.c - numbers are written as printf writes them, and nothing beside them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"

static void check(uint64_t n)
{
	char wanted[32], room[DECIMAL_MAX + 2], *end = room + 1 + DECIMAL_MAX;
	size_t len = (size_t)snprintf(wanted, sizeof(wanted), "%" PRIu64, n);

	memset(room, '#', sizeof(room));
	assert_ptr_equal(decimal_before(end, n), end - len);
	assert_memory_equal(end - len, wanted, len);
	assert_int_equal(end[0], '#');
	assert_int_equal(end[-(ptrdiff_t)len - 1], '#');

	memset(room, '#', sizeof(room));
	assert_ptr_equal(decimal_put(room + 1, n), room + 1 + len);
	assert_memory_equal(room + 1, wanted, len);
	assert_int_equal(room[0], '#');
	assert_int_equal(room[1 + len], '#');
}

static void test_as_printf_does(void **state)
{
	uint64_t power = 1;

	(void)state;
	for (uint64_t n = 0; n < 12000; n++)
		check(n);
	for (unsigned digits = 1; digits < DECIMAL_MAX; digits++, power *= 10)
		for (uint64_t n = power < 100 ? 0 : power - 100; n < power + 100; n++)
			check(n);
	check(power);
	check(UINT64_MAX - 1);
	check(UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_printf_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
