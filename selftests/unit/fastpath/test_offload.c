/* SPDX-License-Identifier: GPL-2.0-only */
/* test_offload.c - the arithmetic of draining; what needs the kernel is in selftests/bpf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fastpath/offload_private.h"

static void test_backlog(void **state)
{
	(void)state;
	assert_int_equal(offload_backlog(0, 0, 0), 0);
	assert_int_equal(offload_backlog(100, 1000, 1100), 0);
	assert_int_equal(offload_backlog(100, 1000, 1099), 1);
	assert_int_equal(offload_backlog(100, 1000, 1000), 100);
	/* A FIN counts as a byte. */
	assert_int_equal(offload_backlog(100, 1000, 1101), 0);
}

/* Drained too early, userspace's bytes overtook what the kernel had not written yet. */
static void test_backlog_when_an_acknowledgement_came_between(void **state)
{
	(void)state;
	assert_int_equal(offload_backlog(1704894, 777282, 457794), 1704894);
	assert_int_equal(offload_backlog(1, 1, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_backlog_when_an_acknowledgement_came_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
