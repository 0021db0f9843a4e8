/* SPDX-License-Identifier: GPL-2.0-only */
/* test_arena.c - pieces, blocks, clean-ups, and use after reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "aborts.h"
#include "base/arena.h"
#include "base/check.h"
#include "base/poison.h"

static void test_pieces_are_aligned_and_disjoint(void **state)
{
	unsigned char *pieces[200];
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	for (unsigned i = 0; i < 200; i++) {
		pieces[i] = arena_alloc(&a, i);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], (int)i, i);
	}
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned k = 0; k < i; k++)
			assert_int_equal(pieces[i][k], i);
	}
	arena_fini(&a);
}

static void test_large_piece_keeps_the_free_part_in_use(void **state)
{
	struct arena a;
	char *before, *after;

	(void)state;
	arena_init(&a, 1024);
	before = arena_alloc(&a, 16);
	memset(arena_alloc(&a, 100000), 1, 100000);
	after = arena_alloc(&a, 16);
	assert_ptr_equal(after, before + 16);
	arena_fini(&a);
}

static void test_reset_keeps_one_block_and_frees_the_rest(void **state)
{
	struct arena a;
	void *first;

	(void)state;
	arena_init(&a, 1024);
	first = arena_alloc(&a, 8);
	for (unsigned i = 0; i < 10; i++)
		arena_alloc(&a, 700);
	assert_true(a.bytes >= 7000);
	arena_reset(&a);
	assert_int_equal(a.bytes, 0);
	assert_non_null(first);
	first = arena_alloc(&a, 8);
	arena_reset(&a);
	assert_ptr_equal(arena_alloc(&a, 8), first);
	arena_fini(&a);
	arena_fini(&a);
	arena_fini(NULL);
}

static void test_only_a_large_piece_then_reset(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 256);
	memset(arena_alloc(&a, 5000), 1, 5000);
	arena_reset(&a);
	memset(arena_alloc(&a, 100), 1, 100);
	arena_fini(&a);
}

static void test_zeroed_even_when_reused(void **state)
{
	struct arena a;
	char *p;

	(void)state;
	arena_init(&a, 256);
	memset(arena_alloc(&a, 64), 0xff, 64);
	arena_reset(&a);
	p = arena_array(&a, 8, 8);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(p[i], 0);
	arena_fini(&a);
}

static void test_copies_are_terminated(void **state)
{
	struct arena a;
	struct span s;

	(void)state;
	arena_init(&a, 256);
	assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_strdup(&a, ""), "");
	s = arena_span(&a, span_str(NULL));
	assert_int_equal(s.len, 0);
	assert_string_equal(s.ptr, "");
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
	arena_fini(&a);
}

static char order[8];
static struct arena *nested;

static void note(void *ptr)
{
	size_t n = strlen(order);

	order[n] = *(char *)ptr;
}

static void note_and_register(void *ptr)
{
	note(ptr);
	arena_on_reset(nested, note, arena_strdup(nested, "n"));
}

static void test_cleanups_run_once_in_reverse_order(void **state)
{
	struct arena a;

	(void)state;
	memset(order, 0, sizeof(order));
	arena_init(&a, 256);
	nested = &a;
	arena_on_reset(&a, note, "1");
	arena_on_reset(&a, note_and_register, "2");
	arena_on_reset(&a, note, "3");
	arena_reset(&a);
	assert_string_equal(order, "32n1");
	arena_fini(&a);
	assert_string_equal(order, "32n1");
}

static void overflow(void)
{
	struct arena a;

	arena_init(&a, 256);
	arena_array(&a, SIZE_MAX / 2, 3);
}

static void no_init(void)
{
	struct arena a = { 0 };

	arena_alloc(&a, 1);
}

static void test_overflow_and_missing_init_abort(void **state)
{
	(void)state;
	assert_true(aborts(overflow));
	assert_true(aborts(no_init));
}

#ifdef SN_HAS_ASAN /* without it nobody sees */
static void use_after_reset(void)
{
	struct arena a;
	char *p;

	arena_init(&a, 256);
	p = arena_alloc(&a, 16);
	arena_reset(&a);
	*(volatile char *)p = 1;
}

static void use_past_the_end(void)
{
	struct arena a;

	arena_init(&a, 256);
	((volatile char *)arena_alloc(&a, 20))[20] = 1;
}

static void test_sanitizer_sees_misuse(void **state)
{
	(void)state;
	assert_int_not_equal(child_status(use_after_reset), 0);
	assert_int_not_equal(child_status(use_past_the_end), 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_are_aligned_and_disjoint),
		cmocka_unit_test(test_large_piece_keeps_the_free_part_in_use),
		cmocka_unit_test(test_reset_keeps_one_block_and_frees_the_rest),
		cmocka_unit_test(test_only_a_large_piece_then_reset),
		cmocka_unit_test(test_zeroed_even_when_reused),
		cmocka_unit_test(test_copies_are_terminated),
		cmocka_unit_test(test_cleanups_run_once_in_reverse_order),
		cmocka_unit_test(test_overflow_and_missing_init_abort),
#ifdef SN_HAS_ASAN
		cmocka_unit_test(test_sanitizer_sees_misuse),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
