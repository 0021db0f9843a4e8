/* SPDX-License-Identifier: GPL-2.0-only */
/* test_clock.c - the text form against gmtime, and clocks that run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/rand.h"

#define NS 1000000000ull

static void assert_text(uint64_t wall_ns, const char *expected)
{
	char text[25];

	assert_int_equal(clock_rfc3339(wall_ns, text), 24);
	assert_string_equal(text, expected);
}

static void test_known_instants(void **state)
{
	(void)state;
	assert_text(0, "1970-01-01T00:00:00.000Z");
	assert_text(999999, "1970-01-01T00:00:00.000Z");
	assert_text(951782399 * NS + 999999999, "2000-02-28T23:59:59.999Z");
	assert_text(951782400 * NS + 1000000, "2000-02-29T00:00:00.001Z");
	assert_text(4107542400ull * NS, "2100-03-01T00:00:00.000Z");
	assert_text(0, "1970-01-01T00:00:00.000Z");
}

static void test_agrees_with_gmtime(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		time_t sec = (time_t)(rand_u64() % (UINT64_MAX / NS));
		char expected[40];
		struct tm tm;

		gmtime_r(&sec, &tm);
		assert_true(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm));
		assert_text((uint64_t)sec * NS, expected);
	}
}

static void test_clocks_run_forward(void **state)
{
	uint64_t mono = clock_mono_ns(), boot = clock_boot_ns(), cpu = clock_thread_cpu_ns(), wall;
	uint64_t before = (uint64_t)time(NULL);

	(void)state;
	assert_true(clock_mono_ns() >= mono);
	assert_true(clock_boot_ns() >= boot && boot >= mono);
	assert_true(clock_thread_cpu_ns() >= cpu);
	wall = clock_wall_ns() / NS;
	assert_in_range(wall, before, (uint64_t)time(NULL) + 1); /* time(2) may be a tick behind */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_instants),
		cmocka_unit_test(test_agrees_with_gmtime),
		cmocka_unit_test(test_clocks_run_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
