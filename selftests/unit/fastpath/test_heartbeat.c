/* SPDX-License-Identifier: GPL-2.0-only */
/* test_heartbeat.c - a worker's beat needs a living control thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fastpath/heartbeat.h"
#include "sentinel/abi.h"

#define SECOND_NS 1000000000ull

static void test_no_beat_before_control_was_seen(void **state)
{
	struct sn_heartbeat cell = { 0 };
	struct heartbeat h = { .cell = &cell };

	(void)state;
	assert_false(heartbeat_beat(&h, 100 * SECOND_NS));
	assert_int_equal(cell.at_ns, 0);
}

static void test_beats_while_control_answers(void **state)
{
	struct sn_heartbeat cell = { 0 };
	struct heartbeat h = { .cell = &cell };

	(void)state;
	heartbeat_control(&h, 100 * SECOND_NS);
	assert_true(heartbeat_beat(&h, 104 * SECOND_NS));
	assert_true(cell.at_ns == 104 * SECOND_NS);
	assert_false(heartbeat_beat(&h, 105 * SECOND_NS));
	assert_true(cell.at_ns == 104 * SECOND_NS);
	heartbeat_control(&h, 106 * SECOND_NS);
	assert_true(heartbeat_beat(&h, 107 * SECOND_NS));
}

static void test_a_declared_long_job_is_life(void **state)
{
	struct sn_heartbeat cell = { 0 };
	struct heartbeat h = { .cell = &cell };

	(void)state;
	heartbeat_control_busy(&h, 100 * SECOND_NS, 60 * SECOND_NS);
	assert_true(heartbeat_beat(&h, 159 * SECOND_NS));
	assert_false(heartbeat_beat(&h, 160 * SECOND_NS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_beat_before_control_was_seen),
		cmocka_unit_test(test_beats_while_control_answers),
		cmocka_unit_test(test_a_declared_long_job_is_life),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
