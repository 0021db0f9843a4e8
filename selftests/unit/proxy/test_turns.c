/* SPDX-License-Identifier: GPL-2.0-only */
/* test_turns.c - when a worker is busy, and when it is calm again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/turns.h"

#define US 1000ull

/* A second with so many turns of these lengths. */
static void second(struct turns *t, unsigned count, uint64_t ns, unsigned long_count, uint64_t long_ns)
{
	while (count--)
		turns_add(t, ns);
	while (long_count--)
		turns_add(t, long_ns);
	turns_second(t);
}

static void test_busy_at_the_99th_of_a_hundred(void **state)
{
	struct turns t = { 0 };

	(void)state;
	second(&t, 1000, 50 * US, 10, 1500 * US);
	assert_false(t.is_busy); /* 1 % of 1,010 is more than 10 */
	second(&t, 1000, 50 * US, 11, 1500 * US);
	assert_true(t.is_busy);
}

static void test_exactly_a_millisecond_is_not_above_it(void **state)
{
	struct turns t = { 0 };

	(void)state;
	second(&t, 0, 0, 100, 1000 * US);
	assert_false(t.is_busy);
	second(&t, 0, 0, 100, 1000 * US + 1);
	assert_true(t.is_busy);
}

static void test_one_long_turn_is_no_sign(void **state)
{
	struct turns t = { 0 };

	(void)state;
	second(&t, 2, 50 * US, 1, 20000 * US);
	assert_false(t.is_busy);
	second(&t, 0, 0, 1, 20000 * US);
	assert_false(t.is_busy);
	second(&t, 50, 50 * US, 50, 10000 * US); /* 10 of every 20 ms */
	assert_true(t.is_busy);
}

static void test_calm_after_ten_seconds_on_end(void **state)
{
	struct turns t = { 0 };

	(void)state;
	second(&t, 0, 0, 100, 5000 * US);
	for (int i = 0; i < 9; i++)
		second(&t, 100, 300 * US, 1, 900 * US);
	assert_true(t.is_busy);
	second(&t, 100, 300 * US, 2, 900 * US); /* neither busy nor calm: counting begins again */
	for (int i = 0; i < 9; i++)
		second(&t, 100, 300 * US, 0, 0);
	assert_true(t.is_busy);
	second(&t, 0, 0, 0, 0); /* without a turn */
	assert_false(t.is_busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_busy_at_the_99th_of_a_hundred),
		cmocka_unit_test(test_exactly_a_millisecond_is_not_above_it),
		cmocka_unit_test(test_one_long_turn_is_no_sign),
		cmocka_unit_test(test_calm_after_ten_seconds_on_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
