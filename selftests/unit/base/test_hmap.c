/* SPDX-License-Identifier: GPL-2.0-only */
/* test_hmap.c - insert, replace, remove and iterate, against a plain model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "aborts.h"
#include "base/hmap.h"
#include "base/rand.h"

static void test_empty_map_has_nothing(void **state)
{
	struct hmap m = { 0 };
	size_t pos = 0;

	(void)state;
	assert_null(hmap_get(&m, SPAN("x")));
	assert_null(hmap_remove(&m, SPAN("x")));
	assert_false(hmap_next(&m, &pos, NULL, NULL));
	hmap_fini(&m);
	hmap_fini(NULL);
}

static void test_replace_returns_what_was_there(void **state)
{
	struct hmap m = { 0 };
	char key_a[] = "key", key_b[] = "key";
	int one, two;
	struct span key;
	size_t pos = 0;

	(void)state;
	assert_null(hmap_set(&m, span_str(key_a), &one));
	assert_ptr_equal(hmap_set(&m, span_str(key_b), &two), &one);
	assert_int_equal(m.count, 1);
	/* The new key is the one that is borrowed now. */
	key_a[0] = '?';
	assert_ptr_equal(hmap_get(&m, SPAN("key")), &two);
	assert_true(hmap_next(&m, &pos, &key, NULL));
	assert_ptr_equal(key.ptr, key_b);
	assert_ptr_equal(hmap_remove(&m, SPAN("key")), &two);
	assert_null(hmap_get(&m, SPAN("key")));
	hmap_fini(&m);
}

static void test_empty_key_and_prefixes_differ(void **state)
{
	struct hmap m = { 0 };
	int values[3];

	(void)state;
	hmap_set(&m, span_str(NULL), &values[0]);
	hmap_set(&m, SPAN("a"), &values[1]);
	hmap_set(&m, SPAN("a\0"), &values[2]);
	assert_int_equal(m.count, 3);
	assert_ptr_equal(hmap_get(&m, SPAN("")), &values[0]);
	assert_ptr_equal(hmap_get(&m, SPAN("a")), &values[1]);
	assert_ptr_equal(hmap_get(&m, SPAN("a\0")), &values[2]);
	hmap_fini(&m);
}

#define KEYS 500

static void test_random_operations_match_a_model(void **state)
{
	static char names[KEYS][8];
	static int values[KEYS];
	bool is_in[KEYS] = { false };
	struct hmap m = { 0 };
	size_t count = 0, pos = 0, seen = 0;
	void *value;

	(void)state;
	for (unsigned i = 0; i < KEYS; i++)
		(void)snprintf(names[i], sizeof(names[i]), "k%u", i);
	for (unsigned step = 0; step < 60000; step++) {
		unsigned i = rand_below(KEYS);
		struct span key = span_str(names[i]);

		if (rand_below(2)) {
			assert_ptr_equal(hmap_set(&m, key, &values[i]), is_in[i] ? &values[i] : NULL);
			count += !is_in[i];
			is_in[i] = true;
		} else {
			assert_ptr_equal(hmap_remove(&m, key), is_in[i] ? &values[i] : NULL);
			count -= is_in[i];
			is_in[i] = false;
		}
		assert_int_equal(m.count, count);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_ptr_equal(hmap_get(&m, span_str(names[i])), is_in[i] ? &values[i] : NULL);
	while (hmap_next(&m, &pos, NULL, &value)) {
		assert_true(is_in[(int *)value - values]);
		seen++;
	}
	assert_int_equal(seen, count);
	hmap_fini(&m);
}

static void test_insert_and_remove_does_not_grow(void **state)
{
	struct hmap m = { 0 };
	char keys[4000][8];
	int value;

	(void)state;
	for (unsigned i = 0; i < 4000; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "%u", i);
		hmap_set(&m, span_str(keys[i]), &value);
		assert_ptr_equal(hmap_remove(&m, span_str(keys[i])), &value);
	}
	assert_true(m.mask < 16);
	hmap_fini(&m);
}

static void null_value(void)
{
	struct hmap m = { 0 };

	hmap_set(&m, SPAN("x"), NULL);
}

static void test_null_value_aborts(void **state)
{
	(void)state;
	assert_true(aborts(null_value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_map_has_nothing),
		cmocka_unit_test(test_replace_returns_what_was_there),
		cmocka_unit_test(test_empty_key_and_prefixes_differ),
		cmocka_unit_test(test_random_operations_match_a_model),
		cmocka_unit_test(test_insert_and_remove_does_not_grow),
		cmocka_unit_test(test_null_value_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
