/* SPDX-License-Identifier: GPL-2.0-only */
/* test_snapshot.c - references and pins: who frees a snapshot, and when; also under TSan with several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "proxy/snapshot.h"

static _Atomic unsigned unused_count;
static struct snapshot *_Atomic last_unused;

static void on_unused(struct snapshot *s)
{
	atomic_store(&last_unused, s);
	atomic_fetch_add(&unused_count, 1);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&unused_count, 0);
	atomic_store(&last_unused, NULL);
	return 0;
}

static struct snapshot *make(void)
{
	static const uint32_t sizes[2] = { 64, 0 };
	struct snapshot *s = snapshot_new();

	s->on_unused = on_unused;
	s->filter_slot_count = 2;
	s->filter_worker_sizes = sizes;
	s->route_count = 3;
	return s;
}

static void test_the_last_reference_reports_the_snapshot(void **state)
{
	struct snapshot *s = make();

	(void)state;
	snapshot_get(s);
	snapshot_put(s);
	assert_int_equal(atomic_load(&unused_count), 0);
	snapshot_put(s);
	assert_int_equal(atomic_load(&unused_count), 1);
	assert_ptr_equal(atomic_load(&last_unused), s);
	snapshot_free(s);
}

static void test_a_pin_has_its_states_and_holds_the_snapshot(void **state)
{
	struct snapshot *s = make();
	struct pin *p = pin_new(s);

	(void)state;
	assert_non_null(p->filter_states[0]);
	assert_null(p->filter_states[1]);
	assert_non_null(p->route_counters);
	snapshot_put(s);
	assert_int_equal(atomic_load(&unused_count), 0);
	pin_retire(p);
	assert_int_equal(atomic_load(&unused_count), 1);
	snapshot_free(s);
}

static void test_the_last_exchange_frees_a_retired_pin(void **state)
{
	struct snapshot *s = make();
	struct pin *p = pin_new(s);

	(void)state;
	snapshot_put(s);
	pin_enter(p);
	pin_enter(p);
	pin_retire(p);
	pin_leave(p);
	assert_int_equal(atomic_load(&unused_count), 0);
	pin_leave(p);
	assert_int_equal(atomic_load(&unused_count), 1);
	snapshot_free(s);
}

static void test_a_current_pin_outlives_its_exchanges(void **state)
{
	struct snapshot *s = make();
	struct pin *p = pin_new(s);

	(void)state;
	snapshot_put(s);
	pin_enter(p);
	pin_leave(p);
	assert_int_equal(atomic_load(&unused_count), 0);
	pin_retire(p);
	assert_int_equal(atomic_load(&unused_count), 1);
	snapshot_free(s);
}

/* ---- listeners by number ---- */

static void test_a_listener_is_found_by_its_number(void **state)
{
	/* gaps, one that left, and numbers that share their low bits */
	static const struct listener listeners[] = {
		{ .number = 3 },	  { .number = 7, .is_removed = true },
		{ .number = 1000000 },	  { .number = 3 + 16 },
		{ .number = 3 + 16 * 2 }, { .number = 15 },
		{ .number = 15 + 16 },	  { .number = UINT32_MAX },
	};
	static const uint32_t missing[] = { 0, 1, 2, 4, 5, 6, 8, 14, 16, 18, 20, 999999, 3 + 16 * 3, UINT32_MAX - 1 };
	struct snapshot *s = make();

	(void)state;
	snapshot_set_listeners(s, listeners, ARRAY_LEN(listeners));
	assert_int_equal(s->listener_count, ARRAY_LEN(listeners));
	for (unsigned i = 0; i < ARRAY_LEN(listeners); i++)
		assert_ptr_equal(snapshot_listener(s, listeners[i].number), &listeners[i]);
	for (unsigned i = 0; i < ARRAY_LEN(missing); i++)
		assert_null(snapshot_listener(s, missing[i]));
	snapshot_put(s);
	snapshot_free(s);
}

static void test_a_snapshot_without_listeners_finds_none(void **state)
{
	struct snapshot *s = make();

	(void)state;
	assert_null(snapshot_listener(s, 1));
	snapshot_set_listeners(s, NULL, 0);
	assert_null(snapshot_listener(s, 0));
	assert_null(snapshot_listener(s, 1));
	snapshot_put(s);
	snapshot_free(s);
}

#define LISTENERS 1000

/* Whatever the numbers of the others are, a look-up passes a few places of the table, not all of them. */
static void test_listeners_of_a_large_file_are_found_in_few_steps(void **state)
{
	static struct listener listeners[LISTENERS];
	struct snapshot *s = make();

	(void)state;
	for (unsigned i = 0; i < LISTENERS; i++)
		listeners[i].number = 5000 + i + i / 3; /* every third that followed left the file */
	snapshot_set_listeners(s, listeners, LISTENERS);
	assert_in_range(s->listener_mask + 1, 2 * LISTENERS, 4 * LISTENERS);
	for (unsigned i = 0; i < LISTENERS; i++) {
		unsigned at = listeners[i].number & s->listener_mask, steps = 1;

		for (; s->listener_table[at] != &listeners[i]; at = (at + 1) & s->listener_mask)
			steps++;
		assert_in_range(steps, 1, 4);
		assert_ptr_equal(snapshot_listener(s, listeners[i].number), &listeners[i]);
	}
	snapshot_put(s);
	snapshot_free(s);
}

#define THREADS 4
#define ROUNDS 2000

static void *worker(void *arg)
{
	struct snapshot *s = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pin *p = pin_new(s);

		pin_enter(p);
		((char *)p->filter_states[0])[i % 64] = 1;
		if (i % 2)
			pin_leave(p);
		pin_retire(p);
		if (i % 2 == 0)
			pin_leave(p);
	}
	snapshot_put(s);
	return NULL;
}

static void test_threads_pin_at_once_and_one_of_them_is_last(void **state)
{
	struct snapshot *s = make();
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned i = 0; i < THREADS; i++) {
		snapshot_get(s);
		assert_int_equal(pthread_create(&threads[i], NULL, worker, s), 0);
	}
	snapshot_put(s);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&unused_count), 1);
	snapshot_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_last_reference_reports_the_snapshot, setup),
		cmocka_unit_test_setup(test_a_pin_has_its_states_and_holds_the_snapshot, setup),
		cmocka_unit_test_setup(test_the_last_exchange_frees_a_retired_pin, setup),
		cmocka_unit_test_setup(test_a_current_pin_outlives_its_exchanges, setup),
		cmocka_unit_test_setup(test_a_listener_is_found_by_its_number, setup),
		cmocka_unit_test_setup(test_a_snapshot_without_listeners_finds_none, setup),
		cmocka_unit_test_setup(test_listeners_of_a_large_file_are_found_in_few_steps, setup),
		cmocka_unit_test_setup(test_threads_pin_at_once_and_one_of_them_is_last, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
