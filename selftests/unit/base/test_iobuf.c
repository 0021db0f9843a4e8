/* SPDX-License-Identifier: GPL-2.0-only */
/* test_iobuf.c - references, slices and queues of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "aborts.h"
#include "base/iobuf.h"
#include "base/rand.h"

static unsigned released;

static void release_count(struct iobuf *b)
{
	(void)b;
	released++;
}

static void test_last_reference_releases(void **state)
{
	struct iobuf b = { .refs = 1, .release = release_count };

	(void)state;
	released = 0;
	assert_ptr_equal(iobuf_ref(&b), &b);
	iobuf_put(&b);
	assert_int_equal(released, 0);
	iobuf_put(&b);
	assert_int_equal(released, 1);
	iobuf_put(NULL);
}

static void put_too_often(void)
{
	struct iobuf b = { .refs = 1, .release = release_count };

	iobuf_put(&b);
	iobuf_put(&b);
}

static void test_surplus_put_aborts(void **state)
{
	(void)state;
	assert_true(aborts(put_too_often));
}

static void test_parts_keep_the_buffer_alive(void **state)
{
	struct slice whole = slice_copy("abcdef", 6), part = slice_part(whole, 2, 3);

	(void)state;
	assert_int_equal(whole.buf->refs, 2);
	slice_put(&whole);
	assert_null(whole.buf);
	assert_true(span_eq(slice_span(part), SPAN("cde")));
	slice_put(&part);
	whole = slice_copy("", 0);
	assert_null(whole.buf);
}

static void part_past_the_end(void)
{
	struct slice s = slice_static("abc", 3);

	(void)slice_part(s, 2, UINT32_MAX);
}

static void test_part_past_the_end_aborts(void **state)
{
	(void)state;
	assert_true(aborts(part_past_the_end));
}

static void push_text(struct slice_queue *q, const char *text)
{
	slice_queue_push(q, slice_copy(text, (uint32_t)strlen(text)));
}

static void assert_queue(struct slice_queue *q, const char *text)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < q->count; i++) {
		struct slice *s = slice_queue_at(q, i);

		assert_memory_equal(s->ptr, text + bytes, s->len);
		bytes += s->len;
	}
	assert_int_equal(bytes, strlen(text));
	assert_int_equal(q->bytes, bytes);
}

static void test_fifo_with_push_front_and_consume(void **state)
{
	struct slice_queue q = { 0 };
	struct slice s;

	(void)state;
	push_text(&q, "bb");
	push_text(&q, "ccc");
	slice_queue_push_front(&q, slice_static("a", 1));
	assert_queue(&q, "abbccc");
	slice_queue_consume(&q, 2);
	assert_queue(&q, "bccc");
	s = slice_queue_pop(&q);
	assert_true(span_eq(slice_span(s), SPAN("b")));
	slice_put(&s);
	slice_queue_consume(&q, 3);
	assert_int_equal(q.count, 0);
	slice_queue_fini(&q);
	slice_queue_fini(NULL);
}

static void test_empty_slices_are_put_at_once(void **state)
{
	struct iobuf b = { .refs = 2, .release = release_count };
	struct slice_queue q = { 0 };

	(void)state;
	slice_queue_push(&q, (struct slice){ &b, NULL, 0 });
	slice_queue_push_front(&q, (struct slice){ &b, NULL, 0 });
	assert_int_equal(b.refs, 0);
	assert_int_equal(q.count, 0);
	slice_queue_fini(&q);
}

static void test_random_operations_match_a_model(void **state)
{
	static char model[1 << 20];
	size_t from = sizeof(model) / 2, to = from;
	struct slice_queue q = { 0 };

	(void)state;
	for (unsigned step = 0; step < 20000; step++) {
		char text[9];
		uint32_t len = rand_below(sizeof(text));
		size_t n;

		memset(text, 'a' + (int)(step % 26), sizeof(text));
		switch (rand_below(4)) {
		case 0:
			slice_queue_push(&q, slice_copy(text, len));
			memcpy(model + to, text, len);
			to += len;
			break;
		case 1:
			slice_queue_push_front(&q, slice_copy(text, len));
			from -= len;
			memcpy(model + from, text, len);
			break;
		default:
			n = rand_below((uint32_t)(to - from + 1));
			n = n < 6 ? n : 6;
			slice_queue_consume(&q, n);
			from += n;
		}
		assert_int_equal(q.bytes, to - from);
	}
	model[to] = '\0';
	assert_queue(&q, model + from);
	slice_queue_clear(&q);
	assert_int_equal(q.bytes, 0);
	slice_queue_fini(&q);
}

static void test_move_appends_and_empties(void **state)
{
	struct slice_queue a = { 0 }, b = { 0 };

	(void)state;
	push_text(&b, "one");
	slice_queue_move(&a, &b);
	assert_queue(&a, "one");
	assert_queue(&b, "");
	push_text(&b, "two");
	push_text(&b, "three");
	slice_queue_move(&a, &b);
	assert_queue(&a, "onetwothree");
	assert_queue(&b, "");
	slice_queue_fini(&a);
	slice_queue_fini(&b);
}

static void pop_from_empty(void)
{
	struct slice_queue q = { 0 };

	(void)slice_queue_pop(&q);
}

static void consume_too_much(void)
{
	struct slice_queue q = { 0 };

	slice_queue_push(&q, slice_static("a", 1));
	slice_queue_consume(&q, 2);
}

static void test_taking_more_than_there_is_aborts(void **state)
{
	(void)state;
	assert_true(aborts(pop_from_empty));
	assert_true(aborts(consume_too_much));
}

static void test_queue_of_one_slice_needs_no_memory(void **state)
{
	struct slice_queue q = { 0 }, other = { 0 }, copy;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		push_text(&q, "one");
		assert_int_equal(q.cap, 0);
		copy = q;
		assert_queue(&copy, "one");
		slice_queue_move(&other, &q);
		assert_int_equal(q.count, 0);
		assert_queue(&other, "one");
		slice_queue_consume(&other, 1);
		assert_queue(&other, "ne");
		slice_queue_push_front(&q, slice_queue_pop(&other));
		assert_queue(&q, "ne");
		slice_queue_clear(&q);
		assert_int_equal(q.cap, 0);
	}
	push_text(&q, "b");
	slice_queue_push_front(&q, slice_copy("a", 1));
	assert_int_not_equal(q.cap, 0);
	push_text(&other, "-");
	slice_queue_move(&other, &q);
	assert_queue(&other, "-ab");
	slice_queue_fini(&q);
	slice_queue_fini(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_reference_releases),
		cmocka_unit_test(test_surplus_put_aborts),
		cmocka_unit_test(test_parts_keep_the_buffer_alive),
		cmocka_unit_test(test_part_past_the_end_aborts),
		cmocka_unit_test(test_fifo_with_push_front_and_consume),
		cmocka_unit_test(test_empty_slices_are_put_at_once),
		cmocka_unit_test(test_random_operations_match_a_model),
		cmocka_unit_test(test_move_appends_and_empties),
		cmocka_unit_test(test_taking_more_than_there_is_aborts),
		cmocka_unit_test(test_queue_of_one_slice_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
