/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http2_request.c - what each kind of HTTP/2 request gives, however it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

#define GET  ":method GET\n:scheme https\n:authority a\n:path /\n"
#define POST ":method POST\n:scheme https\n:authority a\n:path /\n"
#define GOT  "head 1 GET a / none|end 1"
#define REFUSED(fault) "reset 1 1 " fault " lost"

struct row {
	const char *fields;
	const char *events;
	bool is_open; /* END_STREAM does not come with the head */
};

static void rows_check(const struct row *rows, size_t count, const struct http2_settings *s)
{
	static const size_t cuts[] = { 0, 1, 7 };

	for (size_t i = 0; i < count * ARRAY_LEN(cuts); i++) {
		const struct row *row = &rows[i / ARRAY_LEN(cuts)];
		struct drive2 d;

		drive2_begin(&d, true, s);
		d.cut = cuts[i % ARRAY_LEN(cuts)];
		drive2_headers(&d, 1, row->is_open ? 0 : END_STREAM, row->fields);
		/* The connection goes on, whatever it was. */
		drive2_headers(&d, 3, END_STREAM, GET);
		drive2_run(&d);
		if (!strstr(d.events.ptr, "|head 3 GET a / none|end 3"))
			print_error("%s", row->fields);
		assert_non_null(strstr(d.events.ptr, "|head 3 GET a / none|end 3"));
		d.events.len -= strlen("|head 3 GET a / none|end 3");
		d.events.ptr[d.events.len] = 0;
		if (strcmp(d.events.ptr, row->events) != 0)
			print_error("cut %zu: %s", d.cut, row->fields);
		assert_string_equal(d.events.ptr, row->events);
		drive2_flush(&d);
		if (strstr(row->events, "reset 1 1"))
			assert_non_null(strstr(d.frames.ptr, "RST 1 1"));
		else
			assert_null(strstr(d.frames.ptr, "RST"));
		drive2_fini(&d);
	}
}

static const struct row good[] = {
	{ GET, GOT },
	{ ":path /x?y=1&z\n:method GET\n:authority a.example:8080\n:scheme HTTP\n",
	  "head 1 GET a.example:8080 /x?y=1&z none|end 1" },
	{ ":method OPTIONS\n:scheme https\n:authority a\n:path *\n", "head 1 OPTIONS a * none|end 1" },
	{ ":method PROPFIND\n:scheme https\n:authority a\n:path /\n", "head 1 PROPFIND a / none|end 1" },
	{ ":method GET\n:scheme https\n:path /\nhost a.b\n", "head 1 GET a.b / none|end 1" },
	{ GET "host A\n", GOT },
	{ GET "host a:443\n", GOT },
	{ GET "te trailers\n", GOT },
	{ GET "te Trailers\n", GOT },
	{ GET "x-empty \n", GOT },
	{ POST, "head 1 POST a / chunked", true },
	{ POST, "head 1 POST a / none|end 1" },
	{ POST "content-length 5\n", "head 1 POST a / length=5", true },
	{ POST "content-length 0\n", "head 1 POST a / length=0|end 1" },
	{ POST "content-length 5\nexpect 100-continue\n", "head 1 POST a / length=5 100", true },
	{ POST "expect 100-Continue\n", "head 1 POST a / chunked 100", true },
	{ POST "expect 100-continue\n", "head 1 POST a / none|end 1" },
	{ ":method CONNECT\n:authority a:443\n", "head 1 CONNECT a:443  none|end 1", true },
};

static void test_good_requests(void **state)
{
	(void)state;
	rows_check(good, ARRAY_LEN(good), NULL);
}

static const struct row broken[] = {
	/* pseudo-header fields */
	{ ":scheme https\n:authority a\n:path /\n", REFUSED("pseudo_header") },
	{ ":method GET\n:authority a\n:path /\n", REFUSED("pseudo_header") },
	{ ":method GET\n:scheme https\n:authority a\n", REFUSED("pseudo_header") },
	{ ":method GET\n:scheme https\n:authority a\n:path \n", REFUSED("pseudo_header") },
	{ ":method \n:scheme https\n:authority a\n:path /\n", REFUSED("pseudo_header") },
	{ ":method G(T\n:scheme https\n:authority a\n:path /\n", REFUSED("pseudo_header") },
	{ GET ":path /b\n", REFUSED("pseudo_header") },
	{ GET ":method GET\n", REFUSED("pseudo_header") },
	{ GET ":status 200\n", REFUSED("pseudo_header") },
	{ GET ":foo bar\n", REFUSED("pseudo_header") },
	{ GET ":protocol websocket\n", REFUSED("pseudo_header") },
	{ ":method GET\n:scheme https\n:path /\na b\n:authority a\n", REFUSED("pseudo_header") },
	{ ":method CONNECT\n:authority a:443\n:path /\n", REFUSED("pseudo_header") },
	{ ":method CONNECT\n:authority a:443\n:scheme https\n", REFUSED("pseudo_header") },
	{ ":method CONNECT\nhost a:443\n", REFUSED("pseudo_header") },
	{ "", REFUSED("pseudo_header") },
	/* names and values */
	{ GET "Accept x\n", REFUSED("field_name_case") },
	{ GET "x-Y z\n", REFUSED("field_name_case") },
	{ GET "a(b c\n", REFUSED("field") },
	{ GET "x-a\r c\n", REFUSED("field") },
	{ GET "x\tb c\n", REFUSED("field") },
	{ GET "x \tv\n", REFUSED("field") },
	{ GET "x v \n", REFUSED("field") },
	{ GET "x  v\n", REFUSED("field") },
	{ GET "x a\rb\n", REFUSED("control_byte") },
	{ GET "x a\x7f\n", REFUSED("control_byte") },
	{ ":method GET\n:scheme https\n:authority a\n:path /\r\n", REFUSED("control_byte") },
	/* what belongs to a connection of HTTP/1 */
	{ GET "connection close\n", REFUSED("connection_field") },
	{ GET "keep-alive 1\n", REFUSED("connection_field") },
	{ GET "proxy-connection close\n", REFUSED("connection_field") },
	{ GET "transfer-encoding chunked\n", REFUSED("connection_field") },
	{ GET "upgrade h2c\n", REFUSED("connection_field") },
	{ GET "http2-settings x\n", REFUSED("connection_field") },
	{ GET "te gzip\n", REFUSED("connection_field") },
	{ GET "te trailers, gzip\n", REFUSED("connection_field") },
	/* lengths that the frames do not keep */
	{ POST "content-length 5\n", REFUSED("body_length") },
};

static void test_malformed_requests_are_reset(void **state)
{
	(void)state;
	rows_check(broken, ARRAY_LEN(broken), NULL);
}

static const struct row answered[] = {
	{ ":method BREW\n:scheme https\n:authority a\n:path /\n", "bad 1 method_unknown" },
	{ ":method get\n:scheme https\n:authority a\n:path /\n", "bad 1 method_unknown" },
	{ ":method PRI\n:scheme https\n:authority a\n:path /\n", "bad 1 method_unknown" },
	{ ":method GET\n:scheme ftp\n:authority a\n:path /\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path x\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path *\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path http://b/\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path /a b\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path /#x\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority a\n:path /\xc3\xa9\n", "bad 1 target" },
	{ ":method GET\n:scheme https\n:authority u@a\n:path /\n", "bad 1 userinfo" },
	{ ":method GET\n:scheme https\n:authority a/b\n:path /\n", "bad 1 host_malformed" },
	{ ":method GET\n:scheme https\n:authority a:99999\n:path /\n", "bad 1 host_malformed" },
	{ ":method GET\n:scheme https\n:path /\n", "bad 1 host_missing" },
	{ GET "host b\n", "bad 1 host_mismatch" },
	{ GET "host a:444\n", "bad 1 host_mismatch" },
	{ GET "host a\nhost a\n", "bad 1 host_repeated" },
	{ GET "host u@a\n", "bad 1 userinfo" },
	{ GET "host a b\n", "bad 1 host_malformed" },
	{ ":method CONNECT\n:authority a\n", "bad 1 target" },
	{ ":method CONNECT\n:authority a:443\ncontent-length 3\n", "bad 1 content_length", true },
	{ POST "content-length 5\ncontent-length 5\n", "bad 1 content_length", true },
	{ POST "content-length +5\n", "bad 1 content_length", true },
	{ POST "content-length 5, 5\n", "bad 1 content_length", true },
	{ POST "content-length 99999999999999999999\n", "bad 1 content_length", true },
	{ POST "content-length \n", "bad 1 content_length", true },
	{ POST "expect 200-ok\n", "bad 1 expectation", true },
};

static void test_requests_that_are_answered(void **state)
{
	(void)state;
	rows_check(answered, ARRAY_LEN(answered), NULL);
}

static void test_limits_of_a_head(void **state)
{
	static const struct row rows[] = {
		{ GET "x 0123456789012345678901234567890123456789\n", "bad 1 head_too_large" },
		{ GET "a 1\nb 2\nc 3\nd 4\n", "bad 1 too_many_fields" },
		{ ":method GET\n:scheme https\n:authority a\n:path /0123456789\n", "bad 1 uri_too_long" },
		{ GET "a 1\nb 2\nc 3\n", GOT },
	};
	struct http2_settings s = http2_defaults;

	(void)state;
	s.head_max = 4 * 32 + 60 + 5 * 34;
	s.fields_max = 3;
	s.path_max = 10;
	rows_check(rows + 1, ARRAY_LEN(rows) - 1, &s);
	s.head_max = 4 * 32 + 60;
	rows_check(rows, 1, &s);
}

static void test_a_nul_byte_is_refused(void **state)
{
	struct strbuf b = { 0 };
	struct drive2 d;

	(void)state;
	strbuf_init(&b);
	drive2_begin(&d, true, NULL);
	drive2_field(&b, SPAN(":method"), SPAN("GET"));
	drive2_field(&b, SPAN(":scheme"), SPAN("http"));
	drive2_field(&b, SPAN(":path"), SPAN("/"));
	drive2_field(&b, SPAN(":authority"), SPAN("a"));
	drive2_field(&b, SPAN("x"), SPAN("a\0b"));
	drive2_frame(&d, NGHTTP2_HEADERS, END_HEADERS | END_STREAM, 1, b.ptr, b.len);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, REFUSED("nul"));
	drive2_fini(&d);
	strbuf_fini(&b);
}

static void test_fields_look_like_those_of_http1(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.shows_fields = true;
	drive2_headers(&d, 1, END_STREAM, GET "cookie a=1\nx-y z\ncookie b=2\ncookie c=3\naccept */*\n");
	drive2_run(&d);
	assert_string_equal(d.events.ptr,
			    "head 1 GET a / none cookie=a=1; b=2; c=3 x-y=z accept=*/* host=a|end 1");
	drive2_fini(&d);
}

static void test_a_bad_head_is_answered_and_its_body_dropped(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, ":method BREW\n:scheme https\n:authority a\n:path /\n");
	drive2_data(&d, 1, 0, "coffee");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "bad 1 method_unknown");
	drive2_answer(&d, 1, 501, BODY_LENGTH, 2);
	drive2_send_body(&d, 1, "no");
	drive2_send_end(&d, 1, NULL);
	drive2_forget(&d, 1);
	drive2_data(&d, 1, 0, "more coffee");
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "HEADERS 1 :status=501 content-length=2|DATA 1 no end|RST 1 0");
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests),
		cmocka_unit_test(test_malformed_requests_are_reset),
		cmocka_unit_test(test_requests_that_are_answered),
		cmocka_unit_test(test_limits_of_a_head),
		cmocka_unit_test(test_a_nul_byte_is_refused),
		cmocka_unit_test(test_fields_look_like_those_of_http1),
		cmocka_unit_test(test_a_bad_head_is_answered_and_its_body_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
