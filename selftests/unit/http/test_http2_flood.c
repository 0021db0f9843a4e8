/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http2_flood.c - peers that break HTTP/2, or cost too much: each gets its GOAWAY, honest ones do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

#define GET  ":method GET\n:scheme https\n:authority a\n:path /\n"
#define POST ":method POST\n:scheme https\n:authority a\n:path /\n"

static bool has_fault(const struct drive2 *d)
{
	return strchr(d->events.ptr, '!') != NULL;
}

static void fault_check(struct drive2 *d, const char *fault, unsigned code)
{
	char event[64], frame[32];

	(void)snprintf(event, sizeof(event), "!%s", fault);
	(void)snprintf(frame, sizeof(frame), " %u", code);
	assert_true(has_fault(d));
	assert_string_equal(strchr(d->events.ptr, '!'), event);
	drive2_clear(d);
	(void)drive2_output(d, SIZE_MAX);
	assert_non_null(strstr(d->frames.ptr, "GOAWAY"));
	assert_string_equal(strrchr(strstr(d->frames.ptr, "GOAWAY"), ' '), frame);
	assert_int_equal(drive2_output(d, SIZE_MAX), 0);
}

/* --- connections that are wrong ---------------------------------------------------------------------------------- */

static void test_preface(void **state)
{
	static const char *const wrong[] = { "GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "\x16\x03\x01" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong) * 2; i++) {
		struct drive2 d;

		drive2_init(&d, true, NULL);
		strbuf_reset(&d.in);
		strbuf_add_str(&d.in, wrong[i / 2]);
		d.cut = i % 2;
		drive2_run(&d);
		fault_check(&d, "h2_preface", 1);
		drive2_fini(&d);
	}
}

static const char entries[33 * 6]; /* of a setting that nobody knows */

static void test_broken_frames(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t stream;
		const char *payload;
		size_t len;
		const char *fault;
		unsigned code;
	} rows[] = {
		{ NGHTTP2_DATA, 0, 0, "x", 1, "h2_protocol", 1 },
		{ NGHTTP2_DATA, 0, 1, "x", 1, "h2_protocol", 1 },
		{ NGHTTP2_HEADERS, END_HEADERS, 0, "\x82", 1, "h2_protocol", 1 },
		{ NGHTTP2_HEADERS, END_HEADERS, 2, "\x82", 1, "h2_protocol", 1 },
		{ NGHTTP2_HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff", 6, "h2_compression", 9 },
		{ NGHTTP2_HEADERS, END_HEADERS, 1, "\xbe", 1, "h2_compression", 9 },
		{ NGHTTP2_HEADERS, END_HEADERS | NGHTTP2_FLAG_PADDED, 1, "\xff\x82", 2, "h2_protocol", 1 },
		{ NGHTTP2_CONTINUATION, END_HEADERS, 1, "\x82", 1, "h2_protocol", 1 },
		{ NGHTTP2_SETTINGS, 0, 0, "abc", 3, "h2_frame_size", 6 },
		{ NGHTTP2_SETTINGS, 0, 1, "", 0, "h2_protocol", 1 },
		{ NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "\0\3\0\0\0\1", 6, "h2_frame_size", 6 },
		{ NGHTTP2_SETTINGS, 0, 0, "\0\4\x80\0\0\0", 6, "h2_flow_control", 3 },
		{ NGHTTP2_SETTINGS, 0, 0, "\0\5\0\0\0\1", 6, "h2_protocol", 1 },
		{ NGHTTP2_PING, 0, 0, "1234567", 7, "h2_frame_size", 6 },
		{ NGHTTP2_PING, 0, 1, "12345678", 8, "h2_protocol", 1 },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4, "h2_protocol", 1 },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff", 4, "h2_flow_control", 3 },
		{ NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\0", 4, "h2_protocol", 1 },
		{ NGHTTP2_RST_STREAM, 0, 1, "\0\0\0", 3, "h2_frame_size", 6 },
		{ NGHTTP2_PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\2\x82", 5, "h2_protocol", 1 },
		{ NGHTTP2_GOAWAY, 0, 0, "\0\0\0\0", 4, "h2_frame_size", 6 },
		{ NGHTTP2_SETTINGS, 0, 0, entries, 33 * 6, "h2_settings_flood", 11 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		struct drive2 d;

		drive2_begin(&d, true, NULL);
		drive2_frame(&d, rows[i / 2].type, rows[i / 2].flags, rows[i / 2].stream, rows[i / 2].payload,
			     rows[i / 2].len);
		d.cut = i % 2;
		drive2_run(&d);
		if (!has_fault(&d))
			print_error("row %zu", i / 2);
		fault_check(&d, rows[i / 2].fault, rows[i / 2].code);
		drive2_fini(&d);
	}
}

static void test_a_frame_that_is_too_large(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	strbuf_add(&d.in, "\0\x40\1\xaa\0\0\0\0\0", 9);
	drive2_run(&d);
	fault_check(&d, "h2_frame_size", 6);
	drive2_fini(&d);
}

static void test_interleaved_header_blocks(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_frame(&d, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
	drive2_headers(&d, 3, END_STREAM, GET);
	drive2_run(&d);
	fault_check(&d, "h2_protocol", 1);
	drive2_fini(&d);
}

static void test_more_streams_than_allowed(void **state)
{
	struct http2_settings s = http2_defaults;
	struct drive2 d;

	(void)state;
	s.max_concurrent_streams = 2;
	/* Before the peer has seen our SETTINGS they are refused, after it they are an error. */
	drive2_init(&d, true, &s);
	for (unsigned i = 1; i < 7; i += 2)
		drive2_headers(&d, i, END_STREAM, GET);
	drive2_run(&d);
	(void)drive2_output(&d, SIZE_MAX);
	assert_string_equal(d.events.ptr, "settings|head 1 GET a / none|end 1|head 3 GET a / none|end 3");
	assert_non_null(strstr(d.frames.ptr, "RST 5 7"));
	drive2_frame(&d, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
	drive2_headers(&d, 7, END_STREAM, GET);
	drive2_run(&d);
	fault_check(&d, "h2_protocol", 1);
	drive2_fini(&d);
}

static void test_push_is_refused(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, false, NULL);
	(void)drive2_open(&d);
	drive2_frame(&d, NGHTTP2_PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\2\x82", 5);
	drive2_run(&d);
	fault_check(&d, "h2_protocol", 1);
	drive2_fini(&d);
}

/* --- floods ------------------------------------------------------------------------------------------------------ */

/* Frames of one kind until it is too much; how many were good. */
static unsigned flood(struct drive2 *d, uint8_t type, uint8_t flags, uint32_t stream, struct span payload)
{
	unsigned count;

	for (count = 0; count < 10000; count++) {
		drive2_frame(d, type, flags, stream, payload.ptr, payload.len);
		drive2_run(d);
		if (has_fault(d))
			break;
		drive2_clear(d);
		(void)drive2_output(d, SIZE_MAX);
		drive2_clear(d);
	}
	return count;
}

static void test_floods(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t stream;
		struct span payload;
		unsigned max;
		const char *fault;
	} rows[] = {
		{ NGHTTP2_SETTINGS, 0, 0, { "\0\4\0\1\0\0", 6 }, 30, "h2_settings_flood" },
		{ NGHTTP2_PING, 0, 0, { "12345678", 8 }, 100, "h2_ping_flood" },
		{ NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, { "12345678", 8 }, 100, "h2_ping_flood" },
		{ NGHTTP2_DATA, 0, 1, { "", 0 }, 100, "h2_empty_flood" },
		{ NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, { "\3\0\0\0", 4 }, 100, "h2_empty_flood" },
		{ NGHTTP2_WINDOW_UPDATE, 0, 0, { "\0\0\0\1", 4 }, 1000, "h2_window_flood" },
		{ NGHTTP2_WINDOW_UPDATE, 0, 1, { "\0\0\0\1", 4 }, 1000, "h2_window_flood" },
		{ NGHTTP2_PRIORITY, 0, 1, { "\0\0\0\0\1", 5 }, 500, "h2_frame_flood" },
		{ NGHTTP2_PRIORITY_UPDATE, 0, 0, { "\0\0\0\1u=1", 7 }, 500, "h2_frame_flood" },
		{ 0xaa, 0, 0, { "x", 1 }, 500, "h2_frame_flood" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;
		unsigned count;

		drive2_begin(&d, true, NULL);
		drive2_headers(&d, 1, 0, POST);
		drive2_run(&d);
		count = flood(&d, rows[i].type, rows[i].flags, rows[i].stream, rows[i].payload);
		/* drive2_begin() has sent a SETTINGS */
		assert_in_range(count, rows[i].max - 1, rows[i].max);
		fault_check(&d, rows[i].fault, 11);
		drive2_fini(&d);
	}
}

static void test_time_and_use_refill(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, POST);
	drive2_run(&d);
	drive2_clear(&d);
	http2_tick(d.h, 1000);
	/* Two PING a second for an hour */
	for (unsigned i = 0; i < 7200; i++) {
		drive2_frame(&d, NGHTTP2_PING, 0, 0, "12345678", 8);
		drive2_run(&d);
		(void)drive2_output(&d, SIZE_MAX);
		http2_tick(d.h, 1000 + i * 500);
	}
	assert_string_equal(d.events.ptr, "");
	/* A PING and an empty frame after each 16 KiB of DATA */
	for (unsigned i = 0; i < 1000; i++) {
		static char block[16384];
		struct codec *c = http2_codec(d.h);
		struct codec_event ev;

		drive2_frame(&d, NGHTTP2_DATA, 0, 1, block, sizeof(block));
		drive2_frame(&d, NGHTTP2_DATA, 0, 1, NULL, 0);
		drive2_frame(&d, NGHTTP2_PING, 0, 0, "12345678", 8);
		c->ops->feed(c, slice_copy(d.in.ptr, (uint32_t)d.in.len));
		strbuf_reset(&d.in);
		while (c->ops->next(c, d.next, &ev) != CODEC_MORE) {
			assert_int_equal(ev.type, CODEC_BODY);
			slice_put(&ev.data);
		}
		(void)drive2_output(&d, SIZE_MAX);
	}
	drive2_fini(&d);
}

/* A client that gives back each byte at once, to a stream of small messages. */
static void test_small_messages_without_end(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.hides_sent = true;
	drive2_headers(&d, 1, END_STREAM, GET);
	drive2_run(&d);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	for (unsigned i = 0; i < 10000; i++) {
		drive2_send_body(&d, 1, "tick");
		(void)drive2_output(&d, SIZE_MAX);
		drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 0, 4);
		drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 4);
		drive2_frame(&d, NGHTTP2_PING, 0, 0, "12345678", 8);
		drive2_run(&d);
		assert_false(has_fault(&d));
	}
	drive2_fini(&d);
}

/* A large answer, byte by byte: each WINDOW_UPDATE makes us write a frame. */
static void test_tiny_windows_without_end(void **state)
{
	struct strbuf body = { 0 };
	struct drive2 d;
	unsigned i;

	(void)state;
	strbuf_init(&body);
	for (i = 0; i < 10000; i++)
		strbuf_add_char(&body, 'x');
	drive2_begin(&d, true, NULL);
	d.hides_sent = true;
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	drive2_headers(&d, 1, END_STREAM, GET);
	drive2_run(&d);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	drive2_send_body(&d, 1, body.ptr);
	for (i = 0; i < 10000 && !has_fault(&d); i++) {
		drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 1);
		drive2_run(&d);
		if (!has_fault(&d))
			(void)drive2_output(&d, SIZE_MAX);
	}
	assert_in_range(i, 1000, 1010);
	fault_check(&d, "h2_window_flood", 11);
	strbuf_fini(&body);
	drive2_fini(&d);
}

static void test_answers_that_nobody_reads(void **state)
{
	struct drive2 d;
	unsigned count;

	(void)state;
	drive2_begin(&d, true, NULL);
	http2_tick(d.h, 1);
	for (count = 0; count < 10000 && !has_fault(&d); count++) {
		drive2_frame(&d, NGHTTP2_PING, 0, 0, "12345678", 8);
		drive2_run(&d);
		http2_tick(d.h, 1 + count * 1000);
	}
	assert_in_range(count, 3000, 5000);
	fault_check(&d, "h2_output_flood", 11);
	drive2_fini(&d);
}

/* --- streams that are thrown away -------------------------------------------------------------------------------- */

static void request_and_reset(struct drive2 *d, uint32_t stream)
{
	drive2_headers(d, stream, END_STREAM, GET);
	drive2_run(d);
	drive2_frame_u32(d, NGHTTP2_RST_STREAM, stream, HTTP2_CANCEL);
	drive2_run(d);
}

static void test_rapid_reset(void **state)
{
	struct drive2 d;
	unsigned i;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (i = 0; i < 1000 && !has_fault(&d); i++) {
		drive2_clear(&d);
		request_and_reset(&d, i * 2 + 1);
		if (!has_fault(&d))
			drive2_forget(&d, i * 2 + 1);
	}
	assert_int_equal(i, 101);
	fault_check(&d, "h2_rapid_reset", 11);
	drive2_fini(&d);
}

/* Both may go in one piece: the streams die before anybody has seen the reset. */
static void test_rapid_reset_in_one_read(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (unsigned i = 0; i < 200; i++) {
		drive2_headers(&d, i * 2 + 1, END_STREAM, GET);
		drive2_frame_u32(&d, NGHTTP2_RST_STREAM, i * 2 + 1, HTTP2_CANCEL);
	}
	drive2_run(&d);
	fault_check(&d, "h2_rapid_reset", 11);
	drive2_fini(&d);
}

static void test_who_uses_the_answers_may_cancel_as_many(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (uint32_t id = 1; id < 4000; id += 4) {
		drive2_headers(&d, id, END_STREAM, GET);
		drive2_run(&d);
		drive2_answer(&d, id, 200, BODY_NONE, 0);
		drive2_send_end(&d, id, NULL);
		drive2_forget(&d, id);
		request_and_reset(&d, id + 2);
		drive2_forget(&d, id + 2);
		(void)drive2_output(&d, SIZE_MAX);
		assert_false(has_fault(&d));
		drive2_clear(&d);
	}
	drive2_fini(&d);
}

/* The peer makes us reset: the same waste by another way. */
static void test_streams_that_we_have_to_reset(void **state)
{
	struct drive2 d;
	unsigned i;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (i = 0; i < 1000 && !has_fault(&d); i++) {
		drive2_clear(&d);
		drive2_headers(&d, i * 2 + 1, END_STREAM, GET);
		drive2_run(&d);
		drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, i * 2 + 1, 0x7fffffff);
		drive2_run(&d);
		if (!has_fault(&d)) {
			assert_non_null(strstr(d.events.ptr, "h2_flow_control"));
			drive2_forget(&d, i * 2 + 1);
		}
		drive2_clear(&d);
		(void)drive2_output(&d, SIZE_MAX);
	}
	assert_int_equal(i, 101);
	drive2_fini(&d);
}

/* Requests that were passed on before their bodies turned out to be lies. */
static void test_bodies_that_lie_without_end(void **state)
{
	struct drive2 d;
	unsigned i;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (i = 0; i < 1000 && !has_fault(&d); i++) {
		drive2_clear(&d);
		drive2_headers(&d, i * 2 + 1, 0, POST "content-length 1\n");
		drive2_run(&d);
		drive2_data(&d, i * 2 + 1, END_STREAM, i % 2 ? "" : "xx");
		drive2_run(&d);
		if (!has_fault(&d)) {
			assert_non_null(strstr(d.events.ptr, "body_length"));
			drive2_forget(&d, i * 2 + 1);
		}
		drive2_clear(&d);
		(void)drive2_output(&d, SIZE_MAX);
	}
	assert_int_equal(i, 101);
	drive2_fini(&d);
}

static void test_malformed_requests_without_end(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	for (unsigned i = 0; i < 150; i++)
		drive2_headers(&d, i * 2 + 1, END_STREAM, GET "connection close\n");
	drive2_run(&d);
	fault_check(&d, "h2_error_flood", 11);
	drive2_fini(&d);
}

/* --- header blocks ----------------------------------------------------------------------------------------------- */

static void test_continuation_flood(void **state)
{
	static const struct {
		const char *payload;
		size_t len;
	} rows[] = { { "", 0 }, { "\0\1a\1b", 5 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;

		drive2_begin(&d, true, NULL);
		drive2_frame(&d, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
		for (unsigned n = 0; n < 17; n++) {
			assert_false(has_fault(&d));
			drive2_frame(&d, NGHTTP2_CONTINUATION, 0, 1, rows[i].payload, rows[i].len);
			drive2_run(&d);
		}
		fault_check(&d, "h2_continuation_flood", 11);
		drive2_fini(&d);
	}
}

static void test_a_block_of_too_many_bytes(void **state)
{
	static char value[16384];
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_frame(&d, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
	/* One field of a megabyte: nothing of it is decoded before its end. */
	drive2_frame(&d, NGHTTP2_CONTINUATION, 0, 1, "\0\1a\x7f\x81\xff\x3f", 7);
	for (unsigned n = 0; n < 12 && !has_fault(&d); n++) {
		drive2_frame(&d, NGHTTP2_CONTINUATION, 0, 1, value, sizeof(value));
		drive2_run(&d);
	}
	assert_true(has_fault(&d));
	drive2_fini(&d);
}

static void test_hpack_bomb(void **state)
{
	struct strbuf b = { 0 };
	char value[4000];
	struct drive2 d;

	(void)state;
	strbuf_init(&b);
	memset(value, 'v', sizeof(value));
	drive2_begin(&d, true, NULL);
	/* A field that nearly fills the table, then its index: a byte each. */
	strbuf_add_char(&b, 0x40);
	drive2_hpack_string(&b, "x", 1);
	drive2_hpack_string(&b, value, sizeof(value));
	for (unsigned i = 0; i < 5; i++)
		strbuf_add_char(&b, (char)0xbe);
	drive2_frame(&d, NGHTTP2_HEADERS, END_HEADERS | END_STREAM, 1, b.ptr, b.len);
	drive2_run(&d);
	/* Too large, but no more than a mistake. */
	assert_string_equal(d.events.ptr, "bad 1 head_too_large");
	strbuf_reset(&b);
	for (unsigned i = 0; i < 40; i++)
		strbuf_add_char(&b, (char)0xbe);
	drive2_frame(&d, NGHTTP2_HEADERS, END_HEADERS | END_STREAM, 3, b.ptr, b.len);
	drive2_run(&d);
	fault_check(&d, "h2_hpack_bomb", 11);
	strbuf_fini(&b);
	drive2_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preface),
		cmocka_unit_test(test_broken_frames),
		cmocka_unit_test(test_a_frame_that_is_too_large),
		cmocka_unit_test(test_interleaved_header_blocks),
		cmocka_unit_test(test_more_streams_than_allowed),
		cmocka_unit_test(test_push_is_refused),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_time_and_use_refill),
		cmocka_unit_test(test_small_messages_without_end),
		cmocka_unit_test(test_tiny_windows_without_end),
		cmocka_unit_test(test_answers_that_nobody_reads),
		cmocka_unit_test(test_rapid_reset),
		cmocka_unit_test(test_rapid_reset_in_one_read),
		cmocka_unit_test(test_who_uses_the_answers_may_cancel_as_many),
		cmocka_unit_test(test_streams_that_we_have_to_reset),
		cmocka_unit_test(test_bodies_that_lie_without_end),
		cmocka_unit_test(test_malformed_requests_without_end),
		cmocka_unit_test(test_continuation_flood),
		cmocka_unit_test(test_a_block_of_too_many_bytes),
		cmocka_unit_test(test_hpack_bomb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
