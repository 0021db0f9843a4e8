/* SPDX-License-Identifier: GPL-2.0-only */
/* test_counters.c - the metrics of finished requests, and that cells are found once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/hash.h"
#include "proxy/counters.h"

static struct metrics_shard *shard;
static struct pin pin;
static struct strbuf text;
static const struct route routes[2] = { { .id = "one", .index = 0 }, { .id = "two", .index = 1 } };

static int setup(void **state)
{
	(void)state;
	hash_init();
	shard = metrics_shard_new();
	pin = (struct pin){ 0 };
	arena_init(&pin.arena, 4096);
	pin.route_counters = arena_array(&pin.arena, 2, sizeof(*pin.route_counters));
	strbuf_init(&text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	strbuf_fini(&text);
	arena_fini(&pin.arena);
	metrics_fini();
	return 0;
}

static void record(const struct route *route, enum http_method m, unsigned status)
{
	struct counters_sample s = {
		.method = m,
		.status = status,
		.duration_us = 2000,
		.request_bytes = 50,
		.response_bytes = 5000,
	};

	counters_record(shard, &pin, route, &s);
}

static void assert_shown(const char *row)
{
	strbuf_reset(&text);
	metrics_render(&text);
	if (!strstr(text.ptr, row))
		fail_msg("missing: %s", row);
}

static void test_requests_by_route_method_and_status(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		record(&routes[0], METHOD_GET, 200);
	record(&routes[0], METHOD_GET, 404);
	record(&routes[0], METHOD_POST, 200);
	record(&routes[1], METHOD_OTHER, 503);
	record(NULL, METHOD_GET, 404);
	assert_shown("sentinel_requests_total{route=\"one\",method=\"GET\",status=\"200\"} 5\n");
	assert_shown("sentinel_requests_total{route=\"one\",method=\"GET\",status=\"404\"} 1\n");
	assert_shown("sentinel_requests_total{route=\"one\",method=\"POST\",status=\"200\"} 1\n");
	assert_shown("sentinel_requests_total{route=\"two\",method=\"other\",status=\"503\"} 1\n");
	assert_shown("sentinel_requests_total{route=\"none\",method=\"GET\",status=\"404\"} 1\n");
	assert_shown("sentinel_request_duration_seconds_count{route=\"one\",method=\"GET\"} 6\n");
	assert_shown("sentinel_request_duration_seconds_bucket{route=\"two\",method=\"other\",le=\"0.001\"} 0\n");
	assert_shown("sentinel_request_duration_seconds_bucket{route=\"two\",method=\"other\",le=\"0.005\"} 1\n");
	assert_shown("sentinel_request_body_size_bytes_sum{route=\"one\"} 350\n");
	assert_shown("sentinel_response_body_size_bytes_sum{route=\"one\"} 35000\n");
}

/* More statuses than are kept: none is lost or mixed up. */
static void test_more_statuses_than_are_kept(void **state)
{
	char row[128];

	(void)state;
	for (unsigned round = 0; round < 3; round++)
		for (unsigned status = 200; status < 200 + 3 * COUNTERS_STATUSES_MAX; status++)
			record(&routes[0], METHOD_GET, status);
	for (unsigned status = 200; status < 200 + 3 * COUNTERS_STATUSES_MAX; status++) {
		snprintf(row, sizeof(row), "{route=\"one\",method=\"GET\",status=\"%u\"} 3\n", status);
		assert_shown(row);
	}
}

static void test_the_usual_request_allocates_nothing(void **state)
{
	size_t before;

	(void)state;
	record(&routes[0], METHOD_GET, 200);
	before = pin.arena.bytes;
	for (unsigned i = 0; i < 100; i++)
		record(&routes[0], METHOD_GET, 200 + i % 3);
	assert_int_equal(pin.arena.bytes, before);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_requests_by_route_method_and_status),
		TEST(test_more_statuses_than_are_kept),
		TEST(test_the_usual_request_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
