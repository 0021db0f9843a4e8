/* SPDX-License-Identifier: GPL-2.0-only */
/* test_basics.c - list, rand, err, utf8, mem and check. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "aborts.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/utf8.h"

struct item {
	int value;
	struct list link;
};

static void test_list_keeps_order(void **state)
{
	struct list head = LIST_INIT(head), other = LIST_INIT(other), *pos, *tmp;
	struct item items[5];
	int sum = 0;

	(void)state;
	assert_null(list_pop(&head));
	assert_null(list_first(&head, struct item, link));
	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		list_append(i < 3 ? &head : &other, &items[i].link);
	}
	list_splice(&head, &other);
	assert_true(list_is_empty(&other));
	list_splice(&head, &other);
	list_for_each_safe(pos, tmp, &head) {
		struct item *item = list_entry(pos, struct item, link);

		sum = sum * 10 + item->value;
		if (item->value % 2)
			list_remove(pos);
	}
	assert_int_equal(sum, 1234);
	list_remove(&items[1].link); /* in no list any more: harmless */
	list_push(&head, &items[3].link);
	assert_int_equal(list_first(&head, struct item, link)->value, 3);
	assert_ptr_equal(list_pop(&head), &items[3].link);
	assert_ptr_equal(list_pop(&head), &items[0].link);
	assert_ptr_equal(list_pop(&head), &items[2].link);
	assert_ptr_equal(list_pop(&head), &items[4].link);
	assert_true(list_is_empty(&head));
}

static void *draw(void *arg)
{
	*(uint64_t *)arg = rand_u64();
	return NULL;
}

static void test_rand_is_bounded_and_covers(void **state)
{
	unsigned seen[7] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 7000; i++)
		seen[rand_below(7)]++;
	for (unsigned i = 0; i < 7; i++)
		assert_in_range(seen[i], 700, 1300);
	assert_int_equal(rand_below(1), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(rand_below(UINT32_MAX) < UINT32_MAX);
}

static void test_rand_differs_between_threads(void **state)
{
	uint64_t drawn[2];
	pthread_t threads[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, draw, &drawn[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(drawn[0] != drawn[1]);
}

static void test_rand_secure_fills_everything(void **state)
{
	unsigned char bytes[1000] = { 0 };
	unsigned zeros = 0;

	(void)state;
	rand_secure(bytes, sizeof(bytes));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		zeros += !bytes[i];
	assert_true(zeros < 50);
}

static void rand_below_zero(void)
{
	(void)rand_below(0);
}

static void test_err_names(void **state)
{
	(void)state;
	assert_string_equal(err_name(ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(err_name(-ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(err_name(0), "OK");
	assert_string_equal(err_name(-99999), "E99999");
	assert_string_equal(err_text(-ECONNREFUSED), "connection refused");
	assert_string_equal(err_text(EADDRINUSE), "address already in use");
	assert_string_equal(err_text(99999), "unknown error 99999");
	assert_non_null(err_text(INT_MIN));
	assert_non_null(err_name(INT_MIN));
}

static void test_utf8_accepts_what_rfc_3629_does(void **state)
{
	static const struct {
		const char *bytes;
		size_t expected;
	} rows[] = {
		{ "a", 1 },		   { "\x7f", 1 },	      { "\x80", 0 },
		{ "\xc1\xbf", 0 },	   { "\xc2\x80", 2 },	      { "\xc2", 0 },
		{ "\xc2\x20", 0 },	   { "\xe0\x9f\x80", 0 },     { "\xe0\xa0\x80", 3 },
		{ "\xed\x9f\xbf", 3 },	   { "\xed\xa0\x80", 0 },     { "\xef\xbf\xbf", 3 },
		{ "\xe2\x82", 0 },	   { "\xe2\x82\x20", 0 },     { "\xf0\x8f\xbf\xbf", 0 },
		{ "\xf0\x90\x80\x80", 4 }, { "\xf4\x8f\xbf\xbf", 4 }, { "\xf4\x90\x80\x80", 0 },
		{ "\xf5\x80\x80\x80", 0 }, { "\xff", 0 },	      { "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(utf8_sequence(rows[i].bytes, strlen(rows[i].bytes)), rows[i].expected);
}

static void test_mem_copies_and_zeroes(void **state)
{
	char *s = mem_strndup("abcdef", 3);
	unsigned char *p = mem_array(10, 10);

	(void)state;
	assert_string_equal(s, "abc");
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	p = mem_resize(p, 1000, 1);
	assert_int_equal(p[99], 0);
	free(p);
	free(s);
	s = mem_alloc(0);
	assert_non_null(s);
	free(s);
	s = mem_resize(NULL, 0, 8);
	assert_non_null(s);
	free(s);
}

static void array_overflow(void)
{
	free(mem_array(SIZE_MAX / 2, 3));
}

static void resize_overflow(void)
{
	free(mem_resize(NULL, SIZE_MAX / 2, 3));
}

static void wrong_tag(void)
{
	struct {
		uint32_t tag;
	} object = { TAG('D', 'E', 'A', 'D') };

	OBJ_CHECK(&object, TAG('L', 'I', 'V', 'E'));
}

static void right_tag(void)
{
	struct {
		uint32_t tag;
	} object = { TAG('L', 'I', 'V', 'E') };

	OBJ_CHECK(&object, TAG('L', 'I', 'V', 'E'));
}

static void test_broken_contracts_abort(void **state)
{
	(void)state;
	assert_true(aborts(rand_below_zero));
	assert_true(aborts(array_overflow));
	assert_true(aborts(resize_overflow));
	assert_true(aborts(wrong_tag));
	assert_false(aborts(right_tag));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_keeps_order),
		cmocka_unit_test(test_rand_is_bounded_and_covers),
		cmocka_unit_test(test_rand_differs_between_threads),
		cmocka_unit_test(test_rand_secure_fills_everything),
		cmocka_unit_test(test_err_names),
		cmocka_unit_test(test_utf8_accepts_what_rfc_3629_does),
		cmocka_unit_test(test_mem_copies_and_zeroes),
		cmocka_unit_test(test_broken_contracts_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
