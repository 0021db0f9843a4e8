/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http2_client.c - requests on an HTTP/2 connection to an origin, and what each kind of response gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

static void message_request(struct message *m, struct arena *a, const char *method)
{
	message_init(m, a);
	m->method_name = span_str(method);
	m->method = method_of(m->method_name);
	m->authority = SPAN("a");
	m->path = SPAN("/x");
}

/* Open a stream and send a request without fields and body; its handle. */
static uint32_t request(struct drive2 *d, const char *method, enum body_framing framing)
{
	uint32_t id = drive2_open(d);
	struct arena a;
	struct message m;

	assert_int_not_equal(id, 0);
	arena_init(&a, 4096);
	message_request(&m, &a, method);
	m.framing = framing;
	if (m.method == METHOD_CONNECT)
		m.authority = SPAN("a:443");
	drive2_send_head(d, id, &m);
	if (framing == BODY_NONE)
		drive2_send_end(d, id, NULL);
	arena_fini(&a);
	return id;
}

static void test_responses(void **state)
{
	static const struct {
		const char *method, *fields, *body, *events;
	} rows[] = {
		{ "GET", ":status 200\n", NULL, "head 1 200 none|end 1" },
		{ "GET", ":status 200\n", "abc", "head 1 200 chunked|body 1 abc|end 1" },
		{ "GET", ":status 200\ncontent-length 3\n", "abc", "head 1 200 length=3|body 1 abc|end 1" },
		{ "GET", ":status 200\ncontent-length 0\n", NULL, "head 1 200 length=0|end 1" },
		{ "GET", ":status 200\ncontent-length 2\n", "abc", "reset 1 1 body_length" },
		{ "GET", ":status 200\ncontent-length 4\n", "abc", "reset 1 1 body_length" },
		{ "GET", ":status 200\ncontent-length 4\n", NULL, "reset 1 1 body_length" },
		{ "HEAD", ":status 200\ncontent-length 4\n", NULL, "head 1 200 none|end 1" },
		{ "HEAD", ":status 200\ncontent-length 4\n", "abcd", "reset 1 1 body_length" },
		{ "GET", ":status 304\ncontent-length 4\n", NULL, "head 1 304 none|end 1" },
		{ "GET", ":status 204\n", "x", "reset 1 1 body_length" },
		{ "GET", ":status 101\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status 100\n", NULL, "reset 1 1 message_order" },
		{ "GET", ":status 20\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status 2000\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status abc\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", "a b\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status 200\n:status 200\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status 200\n:path /\n", NULL, "reset 1 1 pseudo_header" },
		{ "GET", ":status 200\nconnection close\n", NULL, "reset 1 1 connection_field" },
		{ "GET", ":status 200\nA b\n", NULL, "reset 1 1 field_name_case" },
		{ "GET", ":status 200\na b\rc\n", NULL, "reset 1 1 control_byte" },
		{ "GET", ":status 200\ncontent-length 1\ncontent-length 1\n", "a", "reset 1 1 content_length" },
		{ "CONNECT", ":status 200\n", "tls", "head 1 200 tunnel|body 1 tls|end 1" },
		{ "CONNECT", ":status 403\n", "no", "head 1 403 chunked|body 1 no|end 1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;

		drive2_begin(&d, false, NULL);
		assert_int_equal(request(&d, rows[i].method, BODY_NONE), 1);
		drive2_flush(&d);
		drive2_headers(&d, 1, rows[i].body ? 0 : END_STREAM, rows[i].fields);
		if (rows[i].body)
			drive2_data(&d, 1, END_STREAM, rows[i].body);
		drive2_run(&d);
		/* A lie about the length may be found after the head. */
		if (strstr(rows[i].events, "body_length"))
			assert_non_null(strstr(d.events.ptr, rows[i].events));
		else
			assert_string_equal(d.events.ptr, rows[i].events);
		drive2_forget(&d, 1);
		drive2_flush(&d);
		assert_int_equal(http2_stream_count(d.h), 0);
		drive2_fini(&d);
	}
}

static void test_interim_trailers_and_order(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	for (unsigned i = 0; i < 3; i++)
		(void)request(&d, "GET", BODY_NONE);
	drive2_headers(&d, 1, 0, ":status 103\nlink x\n");
	drive2_headers(&d, 1, 0, ":status 200\n");
	drive2_data(&d, 1, 0, "b");
	drive2_headers(&d, 1, END_STREAM, "grpc-status 0\n");
	drive2_headers(&d, 3, 0, ":status 100\n");
	drive2_data(&d, 3, 0, "early");
	drive2_headers(&d, 5, 0, ":status 200\n");
	drive2_headers(&d, 5, 0, ":status 200\n");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 1 103 none|head 1 200 chunked|body 1 b|end 1 grpc-status=0|"
					  "head 3 100 none|reset 3 1 message_order|"
					  "head 5 200 chunked|reset 5 1 pseudo_header");
	drive2_fini(&d);
}

static void test_too_many_interim_responses(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	(void)request(&d, "GET", BODY_NONE);
	for (unsigned i = 0; i < 17; i++)
		drive2_headers(&d, 1, 0, ":status 103\n");
	drive2_run(&d);
	assert_non_null(strstr(d.events.ptr, "|reset 1 1 interim_too_many"));
	drive2_fini(&d);
}

static void test_requests_on_the_wire(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;
	uint32_t id;

	(void)state;
	drive2_begin(&d, false, NULL);
	arena_init(&a, 4096);
	id = drive2_open(&d);
	message_request(&m, &a, "POST");
	m.framing = BODY_LENGTH;
	m.content_length = 3;
	headers_add_name(&m.headers, SPAN("Host"), SPAN("b.example"));
	headers_add_name(&m.headers, SPAN("Connection"), SPAN("TE"));
	headers_add_name(&m.headers, SPAN("TE"), SPAN("gzip, trailers"));
	headers_add_name(&m.headers, SPAN("X-Mixed"), SPAN("Case"));
	headers_add_name(&m.headers, SPAN("Cookie"), SPAN("a=1; b=2"));
	drive2_send_head(&d, id, &m);
	arena_fini(&a);
	drive2_send_body(&d, id, "abc");
	drive2_send_end(&d, id, NULL);
	(void)request(&d, "CONNECT", BODY_NONE);
	(void)request(&d, "OPTIONS", BODY_NONE);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "HEADERS 1 :method=POST :scheme=http :path=/x :authority=b.example "
					  "x-mixed=Case cookie=a=1; b=2 te=trailers content-length=3|"
					  "HEADERS 3 :method=CONNECT :authority=a:443|"
					  "HEADERS 5 :method=OPTIONS :scheme=http :path=/x :authority=a end|"
					  "DATA 1 abc end");
	drive2_fini(&d);
}

static void test_a_request_that_breaks_the_protocol(void **state)
{
	static const struct {
		struct span method, authority, path;
		enum body_framing framing;
	} rows[] = {
		{ { "GET", 3 }, { "a", 1 }, { "/ b", 3 }, BODY_NONE },
		{ { "GET", 3 }, { "a", 1 }, { "", 0 }, BODY_NONE },
		{ { "GET", 3 }, { "a\r\n", 3 }, { "/", 1 }, BODY_NONE },
		{ { "GET", 3 }, { "", 0 }, { "/", 1 }, BODY_NONE },
		{ { "G T", 3 }, { "a", 1 }, { "/", 1 }, BODY_NONE },
		{ { "GET", 3 }, { "a", 1 }, { "/", 1 }, BODY_UNTIL_CLOSE },
		{ { "GET", 3 }, { "a", 1 }, { "/", 1 }, BODY_TUNNEL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct arena a;
		struct message m;
		struct drive2 d;
		uint32_t id;

		drive2_begin(&d, false, NULL);
		arena_init(&a, 4096);
		id = drive2_open(&d);
		message_init(&m, &a);
		m.method_name = rows[i].method;
		m.authority = rows[i].authority;
		m.path = rows[i].path;
		m.framing = rows[i].framing;
		drive2_send_head(&d, id, &m);
		drive2_run(&d);
		drive2_flush(&d);
		assert_string_equal(d.events.ptr, "reset 1 2 output_malformed");
		assert_string_equal(d.frames.ptr, "");
		drive2_forget(&d, id);
		assert_int_equal(http2_stream_count(d.h), 0);
		arena_fini(&a);
		drive2_fini(&d);
	}
}

static void test_streams_run_out(void **state)
{
	struct drive2 d;
	unsigned count = 0;

	(void)state;
	drive2_begin(&d, false, NULL);
	/* MAX_CONCURRENT_STREAMS 2 */
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\2", 6);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "settings");
	assert_int_equal(http2_peer_streams_max(d.h), 2);
	(void)request(&d, "GET", BODY_NONE);
	assert_int_equal(drive2_open(&d), 3);
	assert_false(http2_can_open(d.h));
	assert_int_equal(drive2_open(&d), 0);
	assert_false(http2_is_exhausted(d.h));
	drive2_headers(&d, 1, END_STREAM, ":status 200\n");
	drive2_run(&d);
	/* It is over on the wire before its owner says so. */
	assert_int_equal(drive2_open(&d), 5);
	drive2_forget(&d, 5);
	drive2_forget(&d, 3);
	drive2_forget(&d, 1);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
	/* Before the peer has spoken: what nghttp2 sends at most. */
	drive2_init(&d, false, NULL);
	while (drive2_open(&d))
		count++;
	assert_int_equal(count, 100);
	drive2_fini(&d);
}

static void test_a_limit_that_falls_after_open(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;
	uint32_t first, second;

	(void)state;
	drive2_begin(&d, false, NULL);
	first = drive2_open(&d);
	second = drive2_open(&d);
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\1", 6);
	drive2_run(&d);
	drive2_clear(&d);
	arena_init(&a, 4096);
	message_request(&m, &a, "GET");
	drive2_send_head(&d, second, &m);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "reset 3 7 retry");
	drive2_forget(&d, second);
	drive2_send_head(&d, first, &m);
	drive2_flush(&d);
	assert_non_null(strstr(d.frames.ptr, "HEADERS 1 "));
	arena_fini(&a);
	drive2_fini(&d);
}

static void test_what_may_be_tried_again(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	for (unsigned i = 0; i < 4; i++)
		(void)request(&d, "GET", BODY_NONE);
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 1, HTTP2_REFUSED_STREAM);
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 3, HTTP2_INTERNAL_ERROR);
	drive2_frame(&d, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\5\0\0\0\0", 8);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "reset 1 7 retry|reset 3 2|goaway 5 0|reset 7 7 retry");
	assert_true(http2_is_exhausted(d.h));
	assert_int_equal(drive2_open(&d), 0);
	drive2_clear(&d);
	drive2_headers(&d, 5, END_STREAM, ":status 200\n");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 5 200 none|end 5");
	drive2_fini(&d);
}

static void test_a_stream_opened_before_goaway(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;
	uint32_t id;

	(void)state;
	drive2_begin(&d, false, NULL);
	id = drive2_open(&d);
	drive2_frame(&d, NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0\0\0\0\0", 8);
	drive2_run(&d);
	drive2_clear(&d);
	arena_init(&a, 4096);
	message_request(&m, &a, "GET");
	drive2_send_head(&d, id, &m);
	drive2_send_end(&d, id, NULL);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "reset 1 7 retry");
	drive2_forget(&d, id);
	assert_int_equal(http2_stream_count(d.h), 0);
	arena_fini(&a);
	drive2_fini(&d);
}

/* RFC 9113 8.1: a server that has answered may ask the client not to send the rest. */
static void test_an_early_answer_with_no_error(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	(void)request(&d, "POST", BODY_CHUNKED);
	drive2_send_body(&d, 1, "some");
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, ":status 413\n");
	drive2_data(&d, 1, END_STREAM, "too large");
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 1, HTTP2_NO_ERROR);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 1 413 chunked|body 1 too large|end 1|sent 1 4");
	drive2_send_body(&d, 1, "more");
	drive2_send_end(&d, 1, NULL);
	drive2_flush(&d);
	assert_null(strstr(d.frames.ptr, "more"));
	drive2_forget(&d, 1);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_giving_up_cancels(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	(void)request(&d, "GET", BODY_NONE);
	(void)request(&d, "POST", BODY_CHUNKED);
	drive2_flush(&d);
	drive2_clear(&d);
	drive2_forget(&d, 1);
	drive2_forget(&d, 3);
	drive2_headers(&d, 1, 0, ":status 200\n");
	drive2_data(&d, 1, END_STREAM, "late");
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "RST 1 8|RST 3 8");
	assert_string_equal(d.events.ptr, "");
	drive2_fini(&d);
}

static void websocket_send(struct drive2 *d, uint32_t id)
{
	struct arena a;
	struct message m;

	arena_init(&a, 4096);
	message_request(&m, &a, "GET");
	m.upgrade = SPAN("websocket");
	headers_add_name(&m.headers, SPAN("Sec-WebSocket-Key"), SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
	headers_add_name(&m.headers, SPAN("Sec-WebSocket-Version"), SPAN("13"));
	headers_add_name(&m.headers, SPAN("Upgrade"), SPAN("websocket"));
	drive2_send_head(d, id, &m);
	drive2_send_end(d, id, NULL);
	arena_fini(&a);
}

static void test_websocket_is_extended_connect(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	assert_false(http2_peer_allows_connect(d.h));
	/* ENABLE_CONNECT_PROTOCOL 1 */
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\10\0\0\0\1", 6);
	drive2_run(&d);
	assert_true(http2_peer_allows_connect(d.h));
	drive2_flush(&d);
	drive2_clear(&d);
	d.shows_fields = true;
	websocket_send(&d, drive2_open(&d));
	websocket_send(&d, drive2_open(&d));
	drive2_headers(&d, 1, 0, ":status 200\nsec-websocket-protocol chat\n");
	drive2_data(&d, 1, 0, "hi");
	drive2_run(&d);
	drive2_send_body(&d, 1, "ho");
	drive2_send_end(&d, 1, NULL);
	drive2_data(&d, 1, END_STREAM, "");
	/* Refused: an ordinary answer, and our side ends. */
	drive2_headers(&d, 3, END_STREAM, ":status 403\n");
	drive2_run(&d);
	drive2_flush(&d);
	/* The pair of key and accept of RFC 6455 1.3 */
	assert_string_equal(d.events.ptr,
			    "head 1 101 tunnel up=websocket sec-websocket-protocol=chat "
			    "sec-websocket-accept=s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|body 1 hi|end 1|"
			    "head 3 403 none|end 3|sent 1 2");
	assert_string_equal(d.frames.ptr,
			    "HEADERS 1 :method=CONNECT :scheme=http :path=/x :authority=a :protocol=websocket "
			    "sec-websocket-version=13|"
			    "HEADERS 3 :method=CONNECT :scheme=http :path=/x :authority=a :protocol=websocket "
			    "sec-websocket-version=13|DATA 1 ho end|DATA 3  end");
	drive2_forget(&d, 1);
	drive2_forget(&d, 3);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_websocket_needs_the_peers_word(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	websocket_send(&d, drive2_open(&d));
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "reset 1 2 output_malformed");
	drive2_fini(&d);
}

static void test_heads_in_another_order_than_open(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;
	uint32_t first, second;

	(void)state;
	drive2_begin(&d, false, NULL);
	arena_init(&a, 4096);
	message_request(&m, &a, "GET");
	first = drive2_open(&d);
	second = drive2_open(&d);
	drive2_send_head(&d, second, &m);
	drive2_send_head(&d, first, &m);
	drive2_headers(&d, 1, END_STREAM, ":status 201\n"); /* of the second */
	drive2_headers(&d, 3, END_STREAM, ":status 202\n");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 3 201 none|end 3|head 1 202 none|end 1");
	arena_fini(&a);
	drive2_fini(&d);
}

static void test_the_origin_ends(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	(void)request(&d, "GET", BODY_NONE);
	drive2_headers(&d, 1, 0, ":status 200\n");
	drive2_run(&d);
	drive2_eof(&d);
	assert_string_equal(d.events.ptr, "head 1 200 chunked|reset 1 8 body_truncated|closed");
	assert_true(http2_is_exhausted(d.h));
	drive2_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_interim_trailers_and_order),
		cmocka_unit_test(test_too_many_interim_responses),
		cmocka_unit_test(test_requests_on_the_wire),
		cmocka_unit_test(test_a_request_that_breaks_the_protocol),
		cmocka_unit_test(test_streams_run_out),
		cmocka_unit_test(test_a_limit_that_falls_after_open),
		cmocka_unit_test(test_what_may_be_tried_again),
		cmocka_unit_test(test_a_stream_opened_before_goaway),
		cmocka_unit_test(test_an_early_answer_with_no_error),
		cmocka_unit_test(test_giving_up_cancels),
		cmocka_unit_test(test_websocket_is_extended_connect),
		cmocka_unit_test(test_websocket_needs_the_peers_word),
		cmocka_unit_test(test_heads_in_another_order_than_open),
		cmocka_unit_test(test_the_origin_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
