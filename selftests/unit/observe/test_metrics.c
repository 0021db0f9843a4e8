/* SPDX-License-Identifier: GPL-2.0-only */
/* test_metrics.c - cells, series, limits, and the text that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "observe/metrics_shard.h"

static int teardown(void **state)
{
	(void)state;
	metrics_fini();
	return 0;
}

static struct strbuf out;

static const char *render(void)
{
	strbuf_reset(&out);
	metrics_render(&out);
	return out.ptr;
}

/* The text has this whole line. */
#define assert_line(line) assert_non_null(strstr(render(), "\n" line "\n"))

static void test_shards_are_added_up(void **state)
{
	struct metrics_shard *a = metrics_shard_new(), *b = metrics_shard_new();

	(void)state;
	metric_add(a, METRIC_DNS_FAILURES_TOTAL, 3);
	metric_add(b, METRIC_DNS_FAILURES_TOTAL, 4);
	assert_line("sentinel_dns_failures_total 7");
	assert_line("# TYPE sentinel_dns_failures_total counter");
	assert_line("# HELP sentinel_dns_failures_total Names that could not be resolved");
}

static void test_gauge_may_fall_below_zero_in_one_shard(void **state)
{
	struct metrics_shard *a = metrics_shard_new(), *b = metrics_shard_new();

	(void)state;
	metric_add(a, METRIC_SESSIONS, 5);
	metric_sub(b, METRIC_SESSIONS, 2);
	assert_line("sentinel_sessions 3");
	metric_set(a, METRIC_SESSIONS, 1);
	assert_line("sentinel_sessions -1");
}

static void test_equal_series_of_two_shards_are_one_line(void **state)
{
	struct metrics_shard *a = metrics_shard_new(), *b = metrics_shard_new();
	const struct span get[] = { SPAN("r"), SPAN("GET"), SPAN("200") };
	const struct span post[] = { SPAN("r"), SPAN("POST"), SPAN("200") };
	struct metric_cell *c = metric_cell(a, METRIC_REQUESTS_TOTAL, get);

	(void)state;
	assert_ptr_equal(metric_cell(a, METRIC_REQUESTS_TOTAL, get), c);
	metric_cell_add(c, 1);
	metric_cell_add(metric_cell(b, METRIC_REQUESTS_TOTAL, get), 2);
	metric_cell_add(metric_cell(b, METRIC_REQUESTS_TOTAL, post), 5);
	assert_line("sentinel_requests_total{route=\"r\",method=\"GET\",status=\"200\"} 3");
	assert_line("sentinel_requests_total{route=\"r\",method=\"POST\",status=\"200\"} 5");
	assert_null(strstr(strstr(render(), "\"GET\"") + 1, "\"GET\""));
}

static void test_label_values_cannot_run_together(void **state)
{
	struct metrics_shard *s = metrics_shard_new();
	const struct span one[] = { SPAN("ab"), SPAN("c") }, two[] = { SPAN("a"), SPAN("bc") };

	(void)state;
	assert_ptr_not_equal(metric_cell(s, METRIC_UPSTREAM_ATTEMPTS_TOTAL, one),
			     metric_cell(s, METRIC_UPSTREAM_ATTEMPTS_TOTAL, two));
}

static void test_label_values_are_escaped_and_cut(void **state)
{
	struct metrics_shard *s = metrics_shard_new();
	char longer[METRIC_LABEL_BYTES_MAX + 50];
	struct span value = SPAN("a\"b\\c\nd\xff\x01");

	(void)state;
	metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
	assert_line("sentinel_blocked_requests_total{reason=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xef\xbf\xbd\"} 1");
	memset(longer, 'x', sizeof(longer));
	value = span_of(longer, sizeof(longer));
	metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
	value.len--;
	metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
	longer[METRIC_LABEL_BYTES_MAX] = '\0';
	assert_non_null(strstr(render(), longer));
	longer[METRIC_LABEL_BYTES_MAX] = 'x';
	longer[METRIC_LABEL_BYTES_MAX + 1] = '\0';
	assert_null(strstr(render(), longer));
	assert_non_null(strstr(render(), "xxx\"} 2\n"));
}

static void test_empty_label_value_is_shown(void **state)
{
	struct metrics_shard *s = metrics_shard_new();
	struct span value = { NULL, 0 };

	(void)state;
	metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
	assert_line("sentinel_blocked_requests_total{reason=\"\"} 1");
}

static void test_series_are_bounded(void **state)
{
	struct metrics_shard *s;
	char name[16];

	(void)state;
	metrics_series_max_set(10);
	s = metrics_shard_new();
	for (unsigned i = 0; i < 100; i++) {
		struct span value = { name, 0 };

		value.len = (size_t)snprintf(name, sizeof(name), "reason%u", i);
		metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
	}
	assert_line("sentinel_blocked_requests_total{reason=\"reason9\"} 1");
	assert_line("sentinel_blocked_requests_total{reason=\"other\"} 90");
	assert_null(strstr(render(), "reason10"));
	assert_line("sentinel_metrics_series_dropped_total 90");
	/* Another metric has room of its own, and known series stay reachable. */
	metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &SPAN("reason3")), 1);
	metric_cell_add(metric_cell(s, METRIC_REFUSED_CONNECTIONS_TOTAL, &SPAN("limit")), 1);
	assert_line("sentinel_blocked_requests_total{reason=\"reason3\"} 2");
	assert_line("sentinel_refused_connections_total{reason=\"limit\"} 1");
}

static void test_seconds_histogram(void **state)
{
	struct metrics_shard *a = metrics_shard_new(), *b = metrics_shard_new();
	const struct span labels[] = { SPAN("r"), SPAN("GET") };
	struct metric_cell *c = metric_cell(a, METRIC_REQUEST_DURATION_SECONDS, labels);

	(void)state;
	metric_cell_observe_us(c, 1000);
	metric_cell_observe_us(c, 1001);
	metric_cell_observe_us(c, 20000000);
	metric_cell_observe_us(metric_cell(b, METRIC_REQUEST_DURATION_SECONDS, labels), 0);
#define BUCKET(le) "sentinel_request_duration_seconds_bucket{route=\"r\",method=\"GET\",le=\"" le "\"} "
	assert_line(BUCKET("0.001") "2");
	assert_line(BUCKET("0.005") "3");
	assert_line(BUCKET("2.5") "3");
	assert_line(BUCKET("10") "3");
	assert_line(BUCKET("+Inf") "4");
	assert_line("sentinel_request_duration_seconds_sum{route=\"r\",method=\"GET\"} 20.002001");
	assert_line("sentinel_request_duration_seconds_count{route=\"r\",method=\"GET\"} 4");
}

static void test_bytes_histogram(void **state)
{
	struct metrics_shard *s = metrics_shard_new();
	struct metric_cell *c = metric_cell(s, METRIC_RESPONSE_BODY_SIZE_BYTES, &SPAN("r"));

	(void)state;
	metric_cell_observe(c, 100);
	metric_cell_observe(c, 1000000000000);
	assert_line("sentinel_response_body_size_bytes_bucket{route=\"r\",le=\"100\"} 1");
	assert_line("sentinel_response_body_size_bytes_bucket{route=\"r\",le=\"100000000\"} 1");
	assert_line("sentinel_response_body_size_bytes_bucket{route=\"r\",le=\"+Inf\"} 2");
	assert_line("sentinel_response_body_size_bytes_sum{route=\"r\"} 1000000000100");
}

static void test_histogram_without_labels(void **state)
{
	struct metrics_shard *s = metrics_shard_new();

	(void)state;
	metric_cell_observe_us(metric_cell(s, METRIC_LOOP_TURN_SECONDS, NULL), 500000);
	assert_line("sentinel_loop_turn_seconds_bucket{le=\"0.25\"} 0");
	assert_line("sentinel_loop_turn_seconds_bucket{le=\"0.5\"} 1");
	assert_line("sentinel_loop_turn_seconds_sum 0.5");
	assert_line("sentinel_loop_turn_seconds_count 1");
}

static void test_seconds_counter_has_six_digits(void **state)
{
	struct metrics_shard *s = metrics_shard_new();

	(void)state;
	metric_set(s, METRIC_CPU_SECONDS_TOTAL, 12000001);
	assert_line("sentinel_cpu_seconds_total 12.000001");
}

static void test_metric_without_series_is_not_shown(void **state)
{
	(void)state;
	metrics_shard_new();
	assert_null(strstr(render(), "sentinel_requests_total"));
	assert_line("sentinel_open_connections 0");
}

static void collect(void *ctx)
{
	metric_add(ctx, METRIC_SNAPSHOTS, 1);
}

static void test_collectors_run_before_each_render(void **state)
{
	struct metrics_shard *s = metrics_shard_new();

	(void)state;
	metrics_on_collect(collect, s);
	assert_line("sentinel_snapshots 1");
	assert_line("sentinel_snapshots 2");
}

/* Every declared metric, fed with the worst label values, is read by promtool without a word. */
static void test_promtool_is_silent(void **state)
{
	struct span worst[METRIC_LABELS_MAX] = { SPAN("a\"\\\n"), SPAN("\xff"), SPAN(""), SPAN("}") };
	struct metrics_shard *s = metrics_shard_new();
	char path[] = "/tmp/sn-metrics-XXXXXX", command[128];
	FILE *file;
	int fd;

	(void)state;
	if (system("command -v promtool >/dev/null") != 0)
		skip();
	for (unsigned id = 0; id < METRIC_COUNT; id++)
		metric_cell(s, id, metric_label_count(id) ? worst : NULL);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	(void)render();
	assert_int_equal(write(fd, out.ptr, out.len), out.len);
	(void)close(fd);
	(void)snprintf(command, sizeof(command), "promtool check metrics <%s 2>&1", path);
	file = popen(command, "r");
	assert_int_equal(fgetc(file), EOF);
	assert_int_equal(pclose(file), 0);
	(void)unlink(path);
}

#define WRITES 20000

static void *write_many(void *arg)
{
	struct metrics_shard *s = arg;
	char name[16];

	for (unsigned i = 0; i < WRITES; i++) {
		struct span value = { name, 0 };

		value.len = (size_t)snprintf(name, sizeof(name), "%u", i % 100);
		metric_cell_add(metric_cell(s, METRIC_BLOCKED_REQUESTS_TOTAL, &value), 1);
		metric_cell_observe(metric_cell(s, METRIC_REQUEST_BODY_SIZE_BYTES, &value), i);
		metric_add(s, METRIC_DNS_FAILURES_TOTAL, 1);
	}
	return NULL;
}

static void *render_many(void *arg)
{
	struct strbuf text = { 0 };

	for (unsigned i = 0; i < 50; i++) {
		strbuf_reset(&text);
		metrics_render(&text);
		metrics_shard_new();
	}
	strbuf_fini(&text);
	return arg;
}

static void test_rendering_while_others_write(void **state)
{
	struct metrics_shard *own = metrics_shard_new();
	pthread_t threads[4];

	(void)state;
	metrics_on_collect(collect, own);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, metrics_shard_new()), 0);
		assert_int_equal(pthread_create(&threads[2 + i], NULL, render_many, NULL), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_line("sentinel_dns_failures_total 40000");
	assert_line("sentinel_blocked_requests_total{reason=\"99\"} 400");
	assert_line("sentinel_request_body_size_bytes_count{route=\"0\"} 400");
	assert_non_null(strstr(render(), "\nsentinel_snapshots 104\n"));
}

#define test(fn) cmocka_unit_test_teardown(fn, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_shards_are_added_up),
		test(test_gauge_may_fall_below_zero_in_one_shard),
		test(test_equal_series_of_two_shards_are_one_line),
		test(test_label_values_cannot_run_together),
		test(test_label_values_are_escaped_and_cut),
		test(test_empty_label_value_is_shown),
		test(test_series_are_bounded),
		test(test_seconds_histogram),
		test(test_bytes_histogram),
		test(test_histogram_without_labels),
		test(test_seconds_counter_has_six_digits),
		test(test_metric_without_series_is_not_shown),
		test(test_collectors_run_before_each_render),
		test(test_promtool_is_silent),
		test(test_rendering_while_others_write),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	strbuf_fini(&out);
	return failed;
}
