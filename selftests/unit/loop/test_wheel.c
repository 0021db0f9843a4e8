/* SPDX-License-Identifier: GPL-2.0-only */
/* test_wheel.c - timers on a wheel that is turned by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "loop/wheel.h"

#define COUNT 100000

static struct wheel wheel;
static struct timer timers[COUNT];

static uint64_t seed = 88172645463325252ULL;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void never(struct timer *t)
{
	(void)t;
	fail();
}

static void add(struct timer *t, uint64_t deadline)
{
	timer_init(t, never);
	t->deadline_ms = deadline;
	wheel_add(&wheel, t);
}

/* Turn until nothing is left, from one wheel_next() to the next; check that each comes out exactly on time. */
static size_t turn_all(void)
{
	size_t count = 0;
	uint64_t next, last = 0;

	while ((next = wheel_next(&wheel)) != WHEEL_NONE) {
		struct list out, *n;

		list_init(&out);
		assert_true(next >= last);
		wheel_advance(&wheel, next, &out);
		last = next;
		while ((n = list_pop(&out))) {
			struct timer *t = list_entry(n, struct timer, node);

			assert_true(t->deadline_ms == next);
			t->deadline_ms = 0;
			count++;
		}
	}
	return count;
}

static void test_each_level_fires_on_time(void **state)
{
	static const uint64_t delays[] = {
		1, 2, 255, 256, 257, 511, 512, 16383, 16384, 16385, 1048575, 1048576, 1048577, 67108863, 67108864,
		67108865, 200000000, 1ULL << 40,
	};

	(void)state;
	for (uint64_t start = 1; start < 1ULL << 40; start = start * 3 + 255) {
		wheel_init(&wheel, start);
		for (size_t i = 0; i < ARRAY_LEN(delays); i++)
			add(&timers[i], start + delays[i]);
		assert_int_equal(turn_all(), ARRAY_LEN(delays));
	}
}

static void test_100k_timers_in_order(void **state)
{
	(void)state;
	wheel_init(&wheel, 123456);
	for (size_t i = 0; i < COUNT; i++)
		add(&timers[i], 123457 + (next_random() & ((1ULL << (next_random() % 30)) - 1)));
	assert_int_equal(turn_all(), COUNT);
}

static void test_a_long_sleep_brings_all_in_order(void **state)
{
	struct list out, *n;
	uint64_t last = 0;
	size_t count = 0;

	(void)state;
	wheel_init(&wheel, 1000);
	for (size_t i = 0; i < 1000; i++)
		add(&timers[i], 1001 + next_random() % 50000000);
	list_init(&out);
	wheel_advance(&wheel, 100000000, &out);
	while ((n = list_pop(&out))) {
		struct timer *t = list_entry(n, struct timer, node);

		assert_true(t->deadline_ms >= last);
		last = t->deadline_ms;
		count++;
	}
	assert_int_equal(count, 1000);
	assert_true(wheel_next(&wheel) == WHEEL_NONE);
	/* The wheel still works from where it is. */
	add(&timers[0], 100000001);
	assert_true(wheel_next(&wheel) == 100000001);
	assert_int_equal(turn_all(), 1);
}

static void test_removed_timers_leave_nothing_to_do(void **state)
{
	(void)state;
	wheel_init(&wheel, 5);
	for (size_t i = 0; i < COUNT; i++)
		add(&timers[i], 6 + next_random() % 100000000);
	for (size_t i = 0; i < COUNT; i++)
		list_remove(&timers[i].node);
	assert_true(wheel_next(&wheel) == WHEEL_NONE);
}

static void test_a_passed_deadline_is_due_at_once(void **state)
{
	struct list out;

	(void)state;
	wheel_init(&wheel, 5000);
	add(&timers[0], 5000);
	add(&timers[1], 17);
	assert_true(wheel_next(&wheel) == 5000);
	list_init(&out);
	wheel_advance(&wheel, 5000, &out);
	assert_ptr_equal(out.next, &timers[0].node);
	assert_ptr_equal(out.next->next, &timers[1].node);
}

/* Waking for a level that moves down happens at most three times a timer: a wheel is not a tick. */
static void test_a_far_timer_wakes_rarely(void **state)
{
	unsigned wakes = 0;
	uint64_t next;

	(void)state;
	wheel_init(&wheel, 777);
	add(&timers[0], 777 + 60000000);
	while ((next = wheel_next(&wheel)) != WHEEL_NONE) {
		struct list out;

		list_init(&out);
		wheel_advance(&wheel, next, &out);
		wakes++;
		if (!list_is_empty(&out))
			break;
	}
	assert_true(wakes <= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_level_fires_on_time),
		cmocka_unit_test(test_100k_timers_in_order),
		cmocka_unit_test(test_a_long_sleep_brings_all_in_order),
		cmocka_unit_test(test_removed_timers_leave_nothing_to_do),
		cmocka_unit_test(test_a_passed_deadline_is_due_at_once),
		cmocka_unit_test(test_a_far_timer_wakes_rarely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
