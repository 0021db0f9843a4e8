/* SPDX-License-Identifier: GPL-2.0-only */
/* test_pace.c - who is too slow, and who is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "session/pace.h"

/* Waits in steps of ms, with so many bytes each; the time until it is too slow, 0: never within an hour. */
static uint32_t slow_after(uint32_t step_ms, uint32_t bytes, uint32_t rate)
{
	struct pace p;

	pace_begin(&p);
	for (uint32_t t = step_ms; t <= 3600000; t += step_ms) {
		pace_bytes(&p, bytes);
		if (pace_wait(&p, step_ms, rate))
			return t;
	}
	return 0;
}

static void test_silence_is_cut_after_grace_and_window(void **state)
{
	(void)state;
	assert_int_equal(slow_after(100, 0, 240), PACE_GRACE_MS + PACE_WINDOW_MS);
	assert_int_equal(slow_after(1000, 239, 240), PACE_GRACE_MS + PACE_WINDOW_MS);
	assert_int_equal(slow_after(1, 0, 1), PACE_GRACE_MS + PACE_WINDOW_MS);
}

static void test_enough_is_enough(void **state)
{
	(void)state;
	assert_int_equal(slow_after(1000, 240, 240), 0);
	assert_int_equal(slow_after(15000, 3600, 240), 0); /* in bursts */
}

/* Whoever was fast for an hour may not stop now. */
static void test_each_window_counts_alone(void **state)
{
	struct pace p;

	(void)state;
	pace_begin(&p);
	for (unsigned i = 0; i < 3600; i++) {
		pace_bytes(&p, 1000000);
		assert_false(pace_wait(&p, 1000, 240));
	}
	for (unsigned i = 0; i < 29; i++)
		(void)pace_wait(&p, 1000, 240);
	assert_true(pace_wait(&p, 1000, 240) || pace_wait(&p, PACE_WINDOW_MS, 240));
	pace_bytes(&p, UINT64_MAX);
	pace_bytes(&p, UINT64_MAX);
	assert_int_equal(p.bytes, UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence_is_cut_after_grace_and_window),
		cmocka_unit_test(test_enough_is_enough),
		cmocka_unit_test(test_each_window_counts_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
