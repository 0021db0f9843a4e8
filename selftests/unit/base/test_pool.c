/* SPDX-License-Identifier: GPL-2.0-only */
/* test_pool.c - the maximum, reuse, and use after give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "aborts.h"
#include "base/check.h"
#include "base/pool.h"
#include "base/poison.h"

static void test_refuses_and_counts_at_the_maximum(void **state)
{
	struct pool p;
	void *objects[3];

	(void)state;
	pool_init(&p, "three", 24, 3);
	for (unsigned i = 0; i < 3; i++)
		objects[i] = pool_take(&p);
	assert_null(pool_take(&p));
	assert_null(pool_take(&p));
	assert_int_equal(p.refused, 2);
	assert_int_equal(p.used, 3);
	assert_int_equal(p.allocated, 3);
	pool_give(&p, objects[1]);
	assert_ptr_equal(pool_take(&p), objects[1]);
	for (unsigned i = 0; i < 3; i++)
		pool_give(&p, objects[i]);
	assert_int_equal(p.used, 0);
	pool_give(&p, NULL);
	pool_fini(&p);
	pool_fini(NULL);
}

static void test_maximum_zero_refuses_everything(void **state)
{
	struct pool p;

	(void)state;
	pool_init(&p, "none", 8, 0);
	assert_null(pool_take(&p));
	pool_fini(&p);
}

static void test_objects_are_aligned_zeroed_and_disjoint(void **state)
{
	enum { COUNT = 3000, SIZE = 72 };
	static unsigned char *objects[COUNT];
	struct pool p;

	(void)state;
	pool_init(&p, "many", SIZE, COUNT);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < COUNT; i++) {
			objects[i] = pool_take(&p);
			assert_int_equal((uintptr_t)objects[i] % 16, 0);
			for (unsigned k = 0; k < SIZE; k++)
				assert_int_equal(objects[i][k], 0);
			memset(objects[i], 1 + (int)(i % 255), SIZE);
		}
		assert_null(pool_take(&p));
		for (unsigned i = 0; i < COUNT; i++) {
			assert_int_equal(objects[i][0], 1 + i % 255);
			assert_int_equal(objects[i][SIZE - 1], 1 + i % 255);
			pool_give(&p, objects[i]);
		}
	}
	pool_fini(&p);
}

static void test_large_objects_do_not_reserve_the_maximum(void **state)
{
	struct pool p;
	void *object;

	(void)state;
	pool_init(&p, "large", 100000, 1000000);
	object = pool_take(&p);
	assert_true(p.allocated <= 16);
	pool_give(&p, object);
	pool_fini(&p);
}

static void leak(void)
{
	struct pool p;

	pool_init(&p, "leak", 8, 1);
	(void)pool_take(&p);
	pool_fini(&p);
}

static void give_too_often(void)
{
	struct pool p;
	void *object;

	pool_init(&p, "twice", 8, 1);
	object = pool_take(&p);
	pool_give(&p, object);
	pool_give(&p, object);
}

static void test_leaked_and_surplus_objects_abort(void **state)
{
	(void)state;
	assert_true(aborts(leak));
	assert_true(aborts(give_too_often));
}

#ifdef SN_HAS_ASAN /* without it nobody sees */
static void use_after_give(void)
{
	struct pool p;
	char *object;

	pool_init(&p, "freed", 64, 4);
	object = pool_take(&p);
	pool_give(&p, object);
	*(volatile char *)object = 1;
}

static void test_sanitizer_sees_use_after_give(void **state)
{
	(void)state;
	assert_int_not_equal(child_status(use_after_give), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses_and_counts_at_the_maximum),
		cmocka_unit_test(test_maximum_zero_refuses_everything),
		cmocka_unit_test(test_objects_are_aligned_zeroed_and_disjoint),
		cmocka_unit_test(test_large_objects_do_not_reserve_the_maximum),
		cmocka_unit_test(test_leaked_and_surplus_objects_abort),
#ifdef SN_HAS_ASAN
		cmocka_unit_test(test_sanitizer_sees_use_after_give),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
