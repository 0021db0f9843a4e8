/* SPDX-License-Identifier: GPL-2.0-only */
/* test_access_log.c - the lines of the access log: what is in them, what cannot break them, how long they get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/json.h"
#include "base/rand.h"
#include "proxy/access_log.h"

#define WALL_NS (UINT64_C(1764000315) * 1000000000 + 7654321) /* 2025-11-24T16:05:15.007Z */

static struct access_clock clock_of_worker;
static struct strbuf line;

static int setup(void **state)
{
	(void)state;
	clock_of_worker = (struct access_clock){ 0 };
	strbuf_init(&line);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	strbuf_fini(&line);
	return 0;
}

static const char *format(enum access_log_format f, const struct access_record *r)
{
	strbuf_reset(&line);
	access_log_format(&clock_of_worker, f, r, &line);
	assert_int_equal(strlen(line.ptr), line.len);
	return line.ptr;
}

static struct access_record full_record(void)
{
	return (struct access_record){
		.wall_ns = WALL_NS,
		.duration_us = 12345,
		.request_id = SPAN("abc"),
		.method = SPAN("GET"),
		.path = SPAN("/a/b"),
		.query = SPAN("x=1"),
		.host = SPAN("h.test"),
		.protocol = SPAN("HTTP/1.1"),
		.client_ip = SPAN("192.0.2.1"),
		.user_agent = SPAN("curl/8"),
		.referer = SPAN("http://r/"),
		.status = 200,
		.body_bytes_received = 5,
		.body_bytes_sent = 18446744073709551615u,
		.route_id = SPAN("api"),
		.upstream_id = SPAN("back"),
		.upstream_addr = SPAN("10.0.0.1:80"),
		.upstream_attempts = 2,
		.is_connection_reused = true,
		.instance = SPAN("default"),
		.failure = SPAN("reset"),
		.failure_detail = SPAN("a\nb"),
	};
}

static void test_json_line(void **state)
{
	struct access_record r = full_record();

	(void)state;
	assert_string_equal(format(ACCESS_LOG_JSON, &r),
			    "{\"timestamp\":\"2025-11-24T16:05:15.007Z\",\"trace_id\":\"abc\",\"method\":\"GET\","
			    "\"path\":\"/a/b\",\"query\":\"x=1\",\"protocol\":\"HTTP/1.1\",\"host\":\"h.test\","
			    "\"status\":200,\"duration_ms\":12.345,\"client_ip\":\"192.0.2.1\","
			    "\"user_agent\":\"curl/8\",\"referer\":\"http://r/\",\"body_bytes_received\":5,"
			    "\"body_bytes_sent\":18446744073709551615,\"route_id\":\"api\",\"upstream\":\"back\","
			    "\"upstream_addr\":\"10.0.0.1:80\",\"upstream_attempts\":2,\"connection_reused\":true,"
			    "\"rate_limit_hit\":false,\"failure\":\"reset\",\"failure_detail\":\"a\\u000ab\","
			    "\"instance_id\":\"default\"}");
}

static void test_empty_fields_are_left_out(void **state)
{
	struct access_record r = { .wall_ns = WALL_NS, .status = 429 };

	(void)state;
	assert_string_equal(format(ACCESS_LOG_JSON, &r),
			    "{\"timestamp\":\"2025-11-24T16:05:15.007Z\",\"status\":429,\"duration_ms\":0.000,"
			    "\"body_bytes_received\":0,\"body_bytes_sent\":0,\"upstream_attempts\":0,"
			    "\"connection_reused\":false,\"rate_limit_hit\":true}");
	assert_string_equal(format(ACCESS_LOG_COMBINED, &r),
			    "- - - [24/Nov/2025:16:05:15 +0000] \"- - \" 429 0 \"-\" \"-\" - 0ms");
	r.status = 0; /* of a connection without HTTP */
	r.protocol = SPAN("TCP");
	assert_non_null(strstr(format(ACCESS_LOG_COMBINED, &r), "\"- - TCP\" 000 0 "));
	assert_null(strstr(format(ACCESS_LOG_JSON, &r), "status"));
}

static void test_combined_line(void **state)
{
	struct access_record r = full_record();

	(void)state;
	assert_string_equal(format(ACCESS_LOG_COMBINED, &r),
			    "192.0.2.1 - - [24/Nov/2025:16:05:15 +0000] \"GET /a/b?x=1 HTTP/1.1\" 200 "
			    "18446744073709551615 \"http://r/\" \"curl/8\" abc 12ms");
}

static void test_the_clock_moves_on(void **state)
{
	struct access_record r = { .wall_ns = WALL_NS };

	(void)state;
	(void)format(ACCESS_LOG_JSON, &r);
	r.wall_ns += 1000000000;
	assert_non_null(strstr(format(ACCESS_LOG_JSON, &r), "\"2025-11-24T16:05:16.007Z\""));
	r.wall_ns = WALL_NS;
	assert_non_null(strstr(format(ACCESS_LOG_JSON, &r), "\"2025-11-24T16:05:15.007Z\""));
	r.wall_ns = 0;
	assert_non_null(strstr(format(ACCESS_LOG_JSON, &r), "\"1970-01-01T00:00:00.000Z\""));
}

static void test_bytes_of_a_stranger_are_escaped(void **state)
{
	struct access_record r = { .wall_ns = WALL_NS,
				   .method = SPAN("G\"T"),
				   .user_agent = SPAN("a\"b\\c\nd\x01\x7f \xc3\xa9 \xff\xc3 12345678"),
				   .client_ip = SPAN("1 \"2") };
	const char *text = format(ACCESS_LOG_JSON, &r);

	(void)state;
	assert_non_null(strstr(text, "\"method\":\"G\\\"T\""));
	assert_non_null(strstr(text, "\"user_agent\":\"a\\\"b\\\\c\\u000ad\\u0001\\u007f \xc3\xa9 "
				     "\xef\xbf\xbd\xef\xbf\xbd 12345678\""));
	text = format(ACCESS_LOG_COMBINED, &r);
	assert_non_null(strstr(text, "\"a\\x22b\\x5cc\\x0ad\\x01\\x7f \\xc3\\xa9 \\xff\\xc3 12345678\""));
	assert_non_null(strstr(text, "\"G\\x22T "));
	assert_int_equal(strncmp(text, "1_\\x222 - - ", 12), 0);
}

/* Whatever the bytes are, at whatever place of a word of eight: the same string as the careful writer makes. */
static void test_json_agrees_with_the_other_writer(void **state)
{
	struct strbuf expected;
	char bytes[64];

	(void)state;
	strbuf_init(&expected);
	for (unsigned round = 0; round < 20000; round++) {
		struct access_record r = { .wall_ns = WALL_NS };
		size_t len = rand_below(sizeof(bytes));

		for (size_t i = 0; i < len; i++)
			bytes[i] = rand_below(4) ? (char)('a' + rand_below(26)) : (char)(0x20 + rand_below(224));
		r.referer = span_of(bytes, len);
		if (!len)
			continue;
		strbuf_reset(&expected);
		strbuf_add_str(&expected, "\"referer\":");
		json_escape(&expected, r.referer);
		strbuf_add_str(&expected, ",");
		if (!strstr(format(ACCESS_LOG_JSON, &r), expected.ptr))
			fail_msg("%s: %s", expected.ptr, line.ptr);
	}
	strbuf_fini(&expected);
}

static void test_every_field_is_cut_at_its_limit(void **state)
{
	static char huge[100000];
	struct span s = { huge, sizeof(huge) };
	struct access_record r = full_record();

	(void)state;
	r.request_id = r.method = r.path = r.query = r.host = r.protocol = r.client_ip = r.user_agent = r.referer = s;
	r.route_id = r.upstream_id = r.upstream_addr = r.instance = r.failure = r.failure_detail = s;
	for (unsigned c = 0; c < 256; c++) {
		memset(huge, (int)c, sizeof(huge));
		(void)strlen(format(ACCESS_LOG_JSON, &r));
		assert_in_range(line.len, 1000, ACCESS_LINE_MAX);
		(void)strlen(format(ACCESS_LOG_COMBINED, &r));
		assert_in_range(line.len, 1000, ACCESS_LINE_MAX);
	}
	memset(huge, 'x', sizeof(huge));
	r = (struct access_record){ .wall_ns = WALL_NS, .path = s };
	(void)format(ACCESS_LOG_COMBINED, &r);
	assert_null(memchr(strchr(line.ptr, 'x') + ACCESS_PATH_MAX, 'x', 10));
	assert_int_equal(strspn(strchr(line.ptr, 'x'), "x"), ACCESS_PATH_MAX);
}

static void test_lines_are_appended(void **state)
{
	struct access_record r = { .wall_ns = WALL_NS };

	(void)state;
	strbuf_add_str(&line, "before ");
	access_log_format(&clock_of_worker, ACCESS_LOG_COMBINED, &r, &line);
	assert_int_equal(strncmp(line.ptr, "before - - - [", 14), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_json_line),
		TEST(test_empty_fields_are_left_out),
		TEST(test_combined_line),
		TEST(test_the_clock_moves_on),
		TEST(test_bytes_of_a_stranger_are_escaped),
		TEST(test_json_agrees_with_the_other_writer),
		TEST(test_every_field_is_cut_at_its_limit),
		TEST(test_lines_are_appended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
