/* SPDX-License-Identifier: GPL-2.0-only */
/* test_delays.c - those who wait go in the order of their instants, whoever leaves in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rand.h"
#include "limits/delays.h"

static struct heap_node *heap[DELAYS_MAX];
static struct delay waiting[DELAYS_MAX + 1];

static void test_order_and_bound(void **state)
{
	struct delays q = { .heap.nodes = heap };
	uint64_t last = 0;
	unsigned n = 0;

	(void)state;
	assert_int_equal(delays_due_ns(&q), 0);
	for (unsigned i = 0; i < DELAYS_MAX; i++) {
		waiting[i] = (struct delay){ 0 };
		assert_true(delays_add(&q, &waiting[i], 1 + rand_below(100000)));
	}
	waiting[DELAYS_MAX] = (struct delay){ 0 };
	assert_false(delays_add(&q, &waiting[DELAYS_MAX], 1));
	for (uint64_t now = 1; q.heap.count; now += 50)
		for (struct delay *d; (d = delays_next(&q, now)); n++) {
			assert_true(d->node.key >= last && d->node.key <= now && !delay_waits(d));
			last = d->node.key;
		}
	assert_int_equal(n, DELAYS_MAX);
}

static void test_leaving_from_anywhere(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct delays q = { .heap.nodes = heap };
		unsigned count = 1 + rand_below(100), left = count;
		uint64_t last = 0;

		for (unsigned i = 0; i < count; i++) {
			waiting[i] = (struct delay){ 0 };
			assert_true(delays_add(&q, &waiting[i], 1 + rand_below(50)));
		}
		for (unsigned i = 0; i < count; i++)
			if (rand_below(2)) {
				delays_remove(&q, &waiting[i]);
				delays_remove(&q, &waiting[i]);
				left--;
			}
		assert_int_equal(q.heap.count, left);
		for (struct delay *d; (d = delays_next(&q, 100)); left--) {
			assert_true(d->node.key >= last);
			last = d->node.key;
		}
		assert_int_equal(left, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order_and_bound),
		cmocka_unit_test(test_leaving_from_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
