/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http2_write.c - messages into frames: heads, bodies within the peer's windows, turns, bounds, trailers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

#define GET ":method GET\n:scheme https\n:authority a\n:path /\n"
#define KIB 1024

static struct slice zeros(uint32_t len)
{
	struct iobuf *b = iobuf_new(len);

	memset(b->data, 0, len);
	return (struct slice){ b, b->data, len };
}

static void body_send(struct drive2 *d, uint32_t stream, uint32_t len)
{
	struct codec *c = http2_codec(d->h);

	c->ops->send(c, &(struct codec_send){ CODEC_SEND_BODY, .stream = stream, .data = zeros(len) });
}

static void requests(struct drive2 *d, unsigned count, const char *fields)
{
	for (unsigned i = 0; i < count; i++)
		drive2_headers(d, i * 2 + 1, END_STREAM, fields);
	drive2_run(d);
	drive2_clear(d);
}

/* Frames by their heads only: "1:16384 3:5e"; the bytes are not looked at. */
static size_t frames_take(struct drive2 *d, size_t max, struct strbuf *out)
{
	struct slice_queue q = { 0 };
	struct strbuf bytes = { 0 };
	struct span rest;
	size_t len;

	strbuf_init(&bytes);
	http2_output(d->h, &q, max);
	while (q.count) {
		struct slice s = slice_queue_pop(&q);

		strbuf_add(&bytes, s.ptr, s.len);
		slice_put(&s);
	}
	slice_queue_fini(&q);
	for (rest = strbuf_span(&bytes); rest.len; rest = span_skip(rest, 9 + len)) {
		len = drive2_read_u32(rest.ptr) >> 8;
		if (rest.ptr[3] == NGHTTP2_DATA)
			strbuf_printf(out, "%s%u:%zu%s", out->len ? " " : "", drive2_read_u32(rest.ptr + 5), len,
				      rest.ptr[4] & END_STREAM ? "e" : "");
	}
	len = bytes.len;
	strbuf_fini(&bytes);
	return len;
}

static void test_heads(void **state)
{
	static const struct {
		unsigned status;
		enum body_framing framing;
		uint64_t length;
		const char *method, *frames;
	} rows[] = {
		{ 200, BODY_NONE, 0, "GET", "HEADERS 1 :status=200 end" },
		{ 204, BODY_NONE, 0, "GET", "HEADERS 1 :status=204 end" },
		{ 204, BODY_LENGTH, 3, "GET", "HEADERS 1 :status=204 end" },
		{ 304, BODY_LENGTH, 3, "GET", "HEADERS 1 :status=304 content-length=3 end" },
		{ 200, BODY_LENGTH, 3, "HEAD", "HEADERS 1 :status=200 content-length=3 end" },
		{ 200, BODY_CHUNKED, 0, "HEAD", "HEADERS 1 :status=200 end" },
		{ 200, BODY_LENGTH, 3, "GET", "HEADERS 1 :status=200 content-length=3|DATA 1 abc end" },
		{ 200, BODY_LENGTH, 18446744073709551615u, "GET", "RST 1 2" },
		{ 200, BODY_CHUNKED, 0, "GET", "HEADERS 1 :status=200|DATA 1 abc end" },
		{ 200, BODY_UNTIL_CLOSE, 0, "GET", "HEADERS 1 :status=200|DATA 1 abc end" },
		{ 99, BODY_NONE, 0, "GET", "RST 1 2" },
		{ 1000, BODY_NONE, 0, "GET", "RST 1 2" },
		{ 101, BODY_NONE, 0, "GET", "RST 1 2" },
		{ 200, BODY_TUNNEL, 0, "GET", "RST 1 2" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char fields[100];
		struct drive2 d;

		(void)snprintf(fields, sizeof(fields), ":method %s\n:scheme https\n:authority a\n:path /\n",
			       rows[i].method);
		drive2_begin(&d, true, NULL);
		requests(&d, 1, fields);
		drive2_answer(&d, 1, rows[i].status, rows[i].framing, rows[i].length);
		drive2_send_body(&d, 1, "abc");
		drive2_send_end(&d, 1, NULL);
		drive2_flush(&d);
		/* What was written before the fault does not count. */
		if (strstr(rows[i].frames, "RST"))
			assert_non_null(strstr(d.frames.ptr, rows[i].frames));
		else
			assert_string_equal(d.frames.ptr, rows[i].frames);
		drive2_forget(&d, 1);
		assert_int_equal(http2_stream_count(d.h), 0);
		drive2_fini(&d);
	}
}

static void test_fields_of_http1_are_dropped(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	requests(&d, 1, GET);
	arena_init(&a, 4096);
	message_init(&m, &a);
	m.status = 200;
	headers_add_name(&m.headers, SPAN("Connection"), SPAN("close"));
	headers_add_name(&m.headers, SPAN("Keep-Alive"), SPAN("1"));
	headers_add_name(&m.headers, SPAN("Transfer-Encoding"), SPAN("chunked"));
	headers_add_name(&m.headers, SPAN("Upgrade"), SPAN("h2c"));
	headers_add_name(&m.headers, SPAN("Content-Length"), SPAN("7"));
	headers_add_name(&m.headers, SPAN("Set-Cookie"), SPAN("a=1"));
	headers_add_name(&m.headers, SPAN("X-Upper"), SPAN(" v "));
	drive2_send_head(&d, 1, &m);
	drive2_send_end(&d, 1, NULL);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "HEADERS 1 :status=200 set-cookie=a=1 x-upper=v end");
	arena_fini(&a);
	drive2_fini(&d);
}

static void test_a_head_that_breaks_the_protocol(void **state)
{
	static const struct header bad[] = {
		{ TOKEN_OTHER, false, false, { "x", 1 }, { "a\r\nb", 4 } },
		{ TOKEN_OTHER, false, false, { "x", 1 }, { "a\0b", 3 } },
		{ TOKEN_OTHER, false, false, { "x y", 3 }, { "a", 1 } },
		{ TOKEN_OTHER, false, false, { ":status", 7 }, { "200", 3 } },
		{ TOKEN_OTHER, false, false, { "", 0 }, { "a", 1 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad) * 2; i++) {
		bool is_trailer = i % 2;
		struct arena a;
		struct message m;
		struct drive2 d;

		drive2_begin(&d, true, NULL);
		requests(&d, 1, GET);
		arena_init(&a, 4096);
		message_init(&m, &a);
		m.status = 200;
		m.framing = BODY_CHUNKED;
		if (is_trailer)
			drive2_send_head(&d, 1, &m);
		headers_add_name(&m.headers, bad[i / 2].name, bad[i / 2].value);
		if (is_trailer)
			drive2_send_end(&d, 1, &m.headers);
		else
			drive2_send_head(&d, 1, &m);
		drive2_flush(&d);
		assert_string_equal(d.events.ptr, "reset 1 2 output_malformed");
		assert_non_null(strstr(d.frames.ptr, "RST 1 2"));
		arena_fini(&a);
		drive2_fini(&d);
	}
}

static void test_length_is_kept(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	requests(&d, 2, GET);
	drive2_answer(&d, 1, 200, BODY_LENGTH, 2);
	drive2_send_body(&d, 1, "abc");
	drive2_answer(&d, 3, 200, BODY_LENGTH, 2);
	drive2_send_body(&d, 3, "a");
	drive2_send_end(&d, 3, NULL);
	drive2_flush(&d);
	assert_string_equal(d.events.ptr, "reset 1 2 output_length|reset 3 2 output_length");
	assert_non_null(strstr(d.frames.ptr, "RST 1 2"));
	assert_non_null(strstr(d.frames.ptr, "RST 3 2"));
	drive2_fini(&d);
}

static void test_interim_and_trailers(void **state)
{
	struct arena a;
	struct headers trailers;
	struct drive2 d;

	(void)state;
	arena_init(&a, 4096);
	headers_init(&trailers, &a);
	headers_add_name(&trailers, SPAN("Grpc-Status"), SPAN("0"));
	headers_add_name(&trailers, SPAN("Content-Length"), SPAN("9"));
	drive2_begin(&d, true, NULL);
	requests(&d, 2, GET);
	drive2_answer(&d, 1, 103, BODY_NONE, 0);
	drive2_answer(&d, 1, 100, BODY_NONE, 0);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	drive2_send_body(&d, 1, "x");
	drive2_send_end(&d, 1, &trailers);
	/* Without a byte of body, and an END that comes late. */
	drive2_answer(&d, 3, 200, BODY_CHUNKED, 0);
	drive2_flush(&d);
	drive2_send_end(&d, 3, &trailers);
	arena_fini(&a);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "HEADERS 1 :status=103|HEADERS 1 :status=100|HEADERS 1 :status=200|"
					  "HEADERS 3 :status=200|DATA 1 x|HEADERS 1 grpc-status=0 end|"
					  "HEADERS 3 grpc-status=0 end");
	drive2_forget(&d, 1);
	drive2_forget(&d, 3);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_output_is_bounded_and_streams_take_turns(void **state)
{
	struct strbuf log = { 0 };
	struct drive2 d;

	(void)state;
	strbuf_init(&log);
	drive2_begin(&d, true, NULL);
	/* The client wishes one of them first, and another to wait for it: nobody asks. */
	drive2_frame(&d, NGHTTP2_PRIORITY, 0, 3, "\x80\0\0\5\xff", 5);
	drive2_headers(&d, 1, END_STREAM, GET "priority u=7\n");
	drive2_headers(&d, 3, END_STREAM, GET "priority u=0\n");
	drive2_headers(&d, 5, END_STREAM, GET);
	drive2_frame(&d, 16, 0, 0, "\0\0\0\5u=0", 7);
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 0, 1 << 20);
	drive2_run(&d);
	for (unsigned i = 1; i < 6; i += 2) {
		drive2_answer(&d, i, 200, BODY_CHUNKED, 0);
		body_send(&d, i, 48 * KIB);
		drive2_send_end(&d, i, NULL);
	}
	assert_int_equal(http2_queued(d.h, 3), 48 * KIB);
	assert_in_range(frames_take(&d, 20 * KIB, &log), 20 * KIB, 37 * KIB);
	assert_int_equal(http2_queued(d.h, 1) + http2_queued(d.h, 3) + http2_queued(d.h, 5), 112 * KIB);
	assert_true(http2_wants_output(d.h));
	assert_false(http2_has_blocked_output(d.h));
	while (frames_take(&d, 1, &log))
		;
	assert_string_equal(log.ptr, "1:16384 3:16384 5:16384 1:16384 3:16384 5:16384 1:16384e 3:16384e 5:16384e");
	assert_false(http2_wants_output(d.h));
	drive2_clear(&d);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "sent 1 49152|sent 3 49152|sent 5 49152");
	strbuf_fini(&log);
	drive2_fini(&d);
}

static void test_a_large_body_is_not_copied(void **state)
{
	struct slice_queue q = { 0 };
	struct slice data = zeros(40 * KIB);
	struct codec *c;
	struct drive2 d;
	size_t same = 0;

	(void)state;
	drive2_begin(&d, true, NULL);
	c = http2_codec(d.h);
	requests(&d, 1, GET);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	c->ops->send(c, &(struct codec_send){ CODEC_SEND_BODY, .stream = 1, .data = slice_ref(data) });
	http2_output(d.h, &q, 1 << 20);
	for (uint32_t i = 0; i < q.count; i++)
		same += slice_queue_at(&q, i)->buf == data.buf ? slice_queue_at(&q, i)->len : 0;
	assert_int_equal(same, 40 * KIB);
	slice_queue_fini(&q);
	slice_put(&data);
	drive2_fini(&d);
}

static void test_a_small_answer_is_one_slice(void **state)
{
	struct slice_queue q = { 0 };
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	requests(&d, 8, GET);
	for (unsigned i = 1; i < 16; i += 2) {
		drive2_answer(&d, i, 200, BODY_LENGTH, 3);
		drive2_send_body(&d, i, "abc");
		drive2_send_end(&d, i, NULL);
	}
	http2_output(d.h, &q, 1 << 20);
	assert_int_equal(q.count, 1);
	slice_queue_fini(&q);
	drive2_fini(&d);
}

/* A head of several frames stays in one piece, whatever else is ready. */
static void test_large_heads(void **state)
{
	static const struct {
		size_t bytes;
		const char *types;
	} rows[] = {
		{ 40 * KIB, "1 9 9 0 0" },
		{ 300 * KIB, "3 0 0" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slice_queue q = { 0 };
		struct strbuf bytes = { 0 }, types = { 0 };
		struct span rest;
		struct arena a;
		struct message m;
		struct drive2 d;
		char *value;

		strbuf_init(&bytes);
		strbuf_init(&types);
		arena_init(&a, 4096);
		drive2_begin(&d, true, NULL);
		requests(&d, 2, GET);
		drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
		body_send(&d, 1, 20 * KIB);
		http2_output(d.h, &q, 1);
		slice_queue_clear(&q);
		body_send(&d, 1, 10 * KIB);
		value = arena_alloc(&a, rows[i].bytes);
		memset(value, 0x5c, rows[i].bytes); /* its Huffman code is long */
		message_init(&m, &a);
		m.status = 200;
		headers_add_name(&m.headers, SPAN("x"), span_of(value, rows[i].bytes));
		drive2_send_head(&d, 3, &m);
		http2_output(d.h, &q, 1 << 20);
		while (q.count) {
			struct slice s = slice_queue_pop(&q);

			strbuf_add(&bytes, s.ptr, s.len);
			slice_put(&s);
		}
		for (rest = strbuf_span(&bytes); rest.len;
		     rest = span_skip(rest, 9 + (drive2_read_u32(rest.ptr) >> 8)))
			strbuf_printf(&types, "%s%u", types.len ? " " : "", rest.ptr[3]);
		assert_string_equal(types.ptr, rows[i].types);
		slice_queue_fini(&q);
		strbuf_fini(&bytes);
		strbuf_fini(&types);
		arena_fini(&a);
		drive2_fini(&d);
	}
}

static void test_windows_block(void **state)
{
	struct strbuf log = { 0 };
	struct drive2 d;

	(void)state;
	strbuf_init(&log);
	drive2_begin(&d, true, NULL);
	/* INITIAL_WINDOW_SIZE 10 */
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\12", 6);
	requests(&d, 2, GET);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	body_send(&d, 1, 100);
	drive2_answer(&d, 3, 200, BODY_CHUNKED, 0);
	body_send(&d, 3, 5);
	(void)frames_take(&d, 1 << 20, &log);
	assert_string_equal(log.ptr, "1:10 3:5");
	assert_int_equal(http2_queued(d.h, 1), 90);
	assert_true(http2_has_blocked_output(d.h));
	assert_true(http2_is_blocked(d.h, 1));
	assert_false(http2_is_blocked(d.h, 3));
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 50);
	drive2_run(&d);
	assert_false(http2_has_blocked_output(d.h));
	(void)frames_take(&d, 1 << 20, &log);
	assert_string_equal(log.ptr, "1:10 3:5 1:50");
	assert_true(http2_is_blocked(d.h, 1));
	/* Its owner has had enough. */
	drive2_forget(&d, 1);
	assert_false(http2_has_blocked_output(d.h));
	drive2_send_end(&d, 3, NULL);
	drive2_forget(&d, 3);
	(void)frames_take(&d, 1 << 20, &log);
	assert_string_equal(log.ptr, "1:10 3:5 1:50 3:0e");
	assert_int_equal(http2_stream_count(d.h), 0);
	strbuf_fini(&log);
	drive2_fini(&d);
}

/* An END without bytes needs a window too, says nghttp2. */
static void test_a_blocked_end(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	requests(&d, 2, GET);
	for (unsigned i = 1; i < 4; i += 2) {
		drive2_answer(&d, i, 200, BODY_CHUNKED, 0);
		drive2_send_end(&d, i, NULL);
		drive2_flush(&d);
		assert_true(http2_is_blocked(d.h, i));
	}
	assert_true(http2_has_blocked_output(d.h));
	drive2_forget(&d, 1);
	assert_true(http2_has_blocked_output(d.h));
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 1);
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 3, HTTP2_CANCEL);
	drive2_run(&d);
	drive2_flush(&d);
	assert_non_null(strstr(d.frames.ptr, "DATA 1  end"));
	assert_false(http2_has_blocked_output(d.h));
	assert_false(http2_is_blocked(d.h, 3));
	drive2_fini(&d);
}

static void test_an_answer_outlives_its_owner(void **state)
{
	struct strbuf log = { 0 };
	struct drive2 d;

	(void)state;
	strbuf_init(&log);
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, ":method POST\n:scheme https\n:authority a\n:path /\n");
	drive2_run(&d);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	body_send(&d, 1, 100 * KIB);
	drive2_send_end(&d, 1, NULL);
	drive2_forget(&d, 1);
	(void)frames_take(&d, 1 << 20, &log);
	assert_true(http2_has_blocked_output(d.h));
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 0, 1 << 20);
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 1 << 20);
	drive2_clear(&d);
	drive2_run(&d);
	(void)frames_take(&d, 1 << 20, &log);
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(log.ptr, "1:16384 1:16384 1:16384 1:16383 1:16384 1:16384 1:4097e");
	assert_string_equal(d.events.ptr, "");
	assert_string_equal(d.frames.ptr, ""); /* RST went with the rest */
	assert_int_equal(http2_stream_count(d.h), 0);
	strbuf_fini(&log);
	drive2_fini(&d);
}

static void test_shutdown_in_two_steps(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	requests(&d, 1, GET);
	http2_shutdown(d.h, HTTP2_SHUTDOWN_NOTICE);
	http2_ping(d.h);
	http2_ping(d.h);
	drive2_headers(&d, 3, END_STREAM, GET);
	drive2_frame(&d, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "wrong!!!", 8);
	drive2_frame(&d, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "\0\0\0\0\0\0\0\0", 8);
	drive2_run(&d);
	http2_shutdown(d.h, HTTP2_SHUTDOWN_FINAL);
	drive2_headers(&d, 5, END_STREAM, GET);
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "GOAWAY 2147483647 0|PING|GOAWAY 3 0");
	assert_string_equal(d.events.ptr, "head 3 GET a / none|end 3|pong");
	for (unsigned i = 1; i < 4; i += 2) {
		drive2_answer(&d, i, 200, BODY_NONE, 0);
		drive2_send_end(&d, i, NULL);
		drive2_forget(&d, i);
	}
	drive2_clear(&d);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "HEADERS 1 :status=200 end|HEADERS 3 :status=200 end");
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_eof(&d);
	assert_string_equal(d.events.ptr, "closed");
	drive2_fini(&d);
}

static void test_the_peer_ends_early(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, END_STREAM, GET);
	drive2_headers(&d, 3, 0, GET);
	drive2_run(&d);
	drive2_clear(&d);
	drive2_eof(&d);
	assert_string_equal(d.events.ptr, "reset 3 8 body_truncated");
	drive2_forget(&d, 3);
	drive2_answer(&d, 1, 200, BODY_NONE, 0);
	drive2_send_end(&d, 1, NULL);
	drive2_clear(&d);
	(void)drive2_output(&d, 1 << 20);
	assert_string_equal(d.events.ptr, "closed");
	assert_non_null(strstr(d.frames.ptr, "HEADERS 1 :status=200 end"));
	drive2_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads),
		cmocka_unit_test(test_fields_of_http1_are_dropped),
		cmocka_unit_test(test_a_head_that_breaks_the_protocol),
		cmocka_unit_test(test_length_is_kept),
		cmocka_unit_test(test_interim_and_trailers),
		cmocka_unit_test(test_output_is_bounded_and_streams_take_turns),
		cmocka_unit_test(test_a_large_body_is_not_copied),
		cmocka_unit_test(test_a_small_answer_is_one_slice),
		cmocka_unit_test(test_large_heads),
		cmocka_unit_test(test_windows_block),
		cmocka_unit_test(test_a_blocked_end),
		cmocka_unit_test(test_an_answer_outlives_its_owner),
		cmocka_unit_test(test_shutdown_in_two_steps),
		cmocka_unit_test(test_the_peer_ends_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
