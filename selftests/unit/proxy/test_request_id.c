/* SPDX-License-Identifier: GPL-2.0-only */
/* test_request_id.c - ids that are made, and ids that clients send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "proxy/request_id.h"

static struct arena arena;
static struct headers headers;

static int setup(void **state)
{
	(void)state;
	hash_init();
	arena_init(&arena, 4096);
	headers_init(&headers, &arena);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static void test_tinyflake_is_short_and_unique(void **state)
{
	struct hmap seen = { 0 };
	static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct span id = request_id_new(TRACE_ID_TINYFLAKE, &arena);

		uint64_t now = clock_wall_ns() / 1000000000, then = 0;

		assert_int_equal(id.len, 11);
		for (unsigned k = 0; k < 11; k++)
			assert_non_null(memchr(digits, id.ptr[k], 58));
		assert_null(hmap_set(&seen, id, &arena));
		for (unsigned k = 0; k < 3; k++)
			then = then * 58 + (uint64_t)((const char *)memchr(digits, id.ptr[k], 58) - digits);
		assert_in_range((now + 195112 - then) % 195112, 0, 5);
	}
	hmap_fini(&seen);
}

static void test_uuid_is_version_4(void **state)
{
	unsigned variants[256] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct span id = request_id_new(TRACE_ID_UUID, &arena);

		assert_int_equal(id.len, 36);
		for (unsigned k = 0; k < 36; k++) {
			bool is_dash = k == 8 || k == 13 || k == 18 || k == 23;

			assert_true(is_dash ? id.ptr[k] == '-' : strchr("0123456789abcdef", id.ptr[k]) != NULL);
		}
		assert_int_equal(id.ptr[14], '4');
		variants[(unsigned char)id.ptr[19]]++;
	}
	assert_true(variants['8'] && variants['9'] && variants['a'] && variants['b']);
	assert_int_equal(variants['8'] + variants['9'] + variants['a'] + variants['b'], 200);
}

static void test_what_a_client_may_send(void **state)
{
	char text[REQUEST_ID_MAX + 1];

	(void)state;
	assert_true(request_id_is_valid(SPAN("aZ09._:-")));
	assert_false(request_id_is_valid(SPAN("")));
	assert_false(request_id_is_valid(SPAN("a b")));
	assert_false(request_id_is_valid(SPAN("a\r\nX: y")));
	assert_false(request_id_is_valid(SPAN("a\"")));
	assert_false(request_id_is_valid(SPAN("<a>")));
	assert_false(request_id_is_valid(SPAN("\xc3\xa9")));
	assert_false(request_id_is_valid(SPAN("a\0b")));
	memset(text, 'a', sizeof(text));
	assert_true(request_id_is_valid(span_of(text, REQUEST_ID_MAX)));
	assert_false(request_id_is_valid(span_of(text, REQUEST_ID_MAX + 1)));
}

static void test_a_valid_one_is_taken_in_order(void **state)
{
	struct span id;

	(void)state;
	id = request_id_of(&headers, TRACE_ID_TINYFLAKE, &arena);
	assert_int_equal(id.len, 11);
	headers_add(&headers, TOKEN_X_REQUEST_ID, SPAN("from-request-id"));
	assert_true(span_eq(request_id_of(&headers, TRACE_ID_UUID, &arena), SPAN("from-request-id")));
	headers_add(&headers, TOKEN_X_CORRELATION_ID, SPAN("not valid"));
	assert_true(span_eq(request_id_of(&headers, TRACE_ID_UUID, &arena), SPAN("from-request-id")));
	headers_add(&headers, TOKEN_X_CORRELATION_ID, SPAN("from-correlation-id"));
	assert_true(span_eq(request_id_of(&headers, TRACE_ID_UUID, &arena), SPAN("from-correlation-id")));
	headers_add(&headers, TOKEN_X_TRACE_ID, SPAN("from-trace-id"));
	assert_true(span_eq(request_id_of(&headers, TRACE_ID_UUID, &arena), SPAN("from-trace-id")));
}

static void test_an_invalid_one_is_replaced(void **state)
{
	(void)state;
	headers_add(&headers, TOKEN_X_REQUEST_ID, SPAN("<script>"));
	assert_int_equal(request_id_of(&headers, TRACE_ID_UUID, &arena).len, 36);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_tinyflake_is_short_and_unique), TEST(test_uuid_is_version_4),
		TEST(test_what_a_client_may_send),	  TEST(test_a_valid_one_is_taken_in_order),
		TEST(test_an_invalid_one_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
