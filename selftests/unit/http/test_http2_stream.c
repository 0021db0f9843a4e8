/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http2_stream.c - bodies, windows, resets and tunnels of an HTTP/2 server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

#define GET  ":method GET\n:scheme https\n:authority a\n:path /\n"
#define POST ":method POST\n:scheme https\n:authority a\n:path /\n"
#define WEBSOCKET ":method CONNECT\n:scheme https\n:authority a\n:path /chat\n:protocol websocket\n"
#define WINDOW	  65536

static char block[16384];

static void data_fill(struct drive2 *d, uint32_t stream, size_t bytes)
{
	for (; bytes; bytes -= MIN(bytes, sizeof(block)))
		drive2_frame(d, NGHTTP2_DATA, 0, stream, block, MIN(bytes, sizeof(block)));
}

/* Take all events and count body bytes of the stream. */
static size_t bodies_take(struct drive2 *d, uint32_t stream, bool *out_is_ended)
{
	struct codec *c = http2_codec(d->h);
	struct codec_event ev;
	size_t bytes = 0;

	c->ops->feed(c, slice_copy(d->in.ptr, (uint32_t)d->in.len));
	strbuf_reset(&d->in);
	while (c->ops->next(c, d->next, &ev) != CODEC_MORE) {
		if (ev.type == CODEC_HEAD)
			drive2_take(d, &ev);
		if (ev.type == CODEC_BODY && ev.stream == stream)
			bytes += ev.data.len;
		if (ev.type == CODEC_END && out_is_ended)
			*out_is_ended = true;
		assert_int_not_equal(ev.type, CODEC_ERROR);
		slice_put(&ev.data);
	}
	return bytes;
}

static void test_body_waits_for_credit(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	drive2_data(&d, 1, 0, "hello");
	drive2_data(&d, 1, END_STREAM, " world");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 1 POST a / chunked");
	drive2_clear(&d);
	http2_credit(d.h, 1, 2);
	drive2_run(&d);
	http2_credit(d.h, 1, 4);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "body 1 he|body 1 llo|body 1  ");
	drive2_clear(&d);
	http2_credit(d.h, 1, 100);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "body 1 world|end 1");
	drive2_fini(&d);
}

static void test_an_empty_body_needs_no_credit(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	drive2_data(&d, 1, END_STREAM, "");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 1 POST a / chunked|end 1");
	drive2_fini(&d);
}

static void test_a_stuck_stream_does_not_hold_up_others(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	drive2_headers(&d, 3, 0, POST);
	data_fill(&d, 1, WINDOW);
	assert_int_equal(bodies_take(&d, 1, NULL), 0);
	/* The other goes on for far more than a window. */
	for (unsigned i = 0; i < 200; i++) {
		data_fill(&d, 3, WINDOW);
		http2_credit(d.h, 3, WINDOW);
		assert_int_equal(bodies_take(&d, 3, NULL), WINDOW);
		drive2_flush(&d);
	}
	assert_null(strstr(d.frames.ptr, "WINDOW 1"));
	assert_non_null(strstr(d.frames.ptr, "WINDOW 3"));
	assert_non_null(strstr(d.frames.ptr, "WINDOW 0"));
	http2_credit(d.h, 1, WINDOW);
	assert_int_equal(bodies_take(&d, 1, NULL), WINDOW);
	drive2_fini(&d);
}

static void test_more_than_the_window_is_an_error(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	data_fill(&d, 1, WINDOW);
	drive2_data(&d, 1, 0, "x");
	drive2_run(&d);
	assert_non_null(strstr(d.events.ptr, "h2_flow_control"));
	drive2_fini(&d);
}

/* As a sender sees it: the window of a stream that is open after everything was read. */
static size_t window_after(struct drive2 *d, uint32_t stream, size_t bytes)
{
	size_t sent = 0, granted = WINDOW;
	char name[32];

	(void)snprintf(name, sizeof(name), "WINDOW %u ", stream);
	drive2_headers(d, stream, 0, POST);
	while (sent < bytes) {
		size_t part = MIN(granted - sent, sizeof(block));
		char *at;

		data_fill(d, stream, part);
		sent += part;
		assert_int_equal(bodies_take(d, stream, NULL), part);
		drive2_flush(d);
		for (at = d->frames.ptr; (at = strstr(at, name)); at++)
			granted += strtoul(at + strlen(name), NULL, 10);
		drive2_clear(d);
	}
	return granted - sent;
}

static void test_the_window_of_a_reader_grows(void **state)
{
	struct http2_settings s = http2_defaults;
	size_t max = s.window_max;
	struct drive2 d;

	(void)state;
	s.window_growth_max = (uint32_t)max - WINDOW + 1000;
	drive2_begin(&d, true, &s);
	assert_in_range(window_after(&d, 1, WINDOW / 2), WINDOW / 2, WINDOW);
	assert_in_range(window_after(&d, 3, 2 << 20), max / 2, max);
	/* All together have a bound, and who ends gives back. */
	assert_in_range(window_after(&d, 5, 2 << 20), WINDOW / 2, WINDOW + 1000);
	drive2_forget(&d, 3);
	drive2_forget(&d, 5);
	drive2_flush(&d);
	assert_in_range(window_after(&d, 7, 2 << 20), max / 2, max);
	drive2_fini(&d);
}

/* A window of frames of one byte must not hold a buffer for each. */
static void test_tiny_frames_are_gathered(void **state)
{
	struct strbuf all = { 0 };
	struct drive2 d;
	struct codec *c;
	struct codec_event ev;
	unsigned count = 0;

	(void)state;
	strbuf_init(&all);
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	for (unsigned i = 0; i < 10000; i++) {
		char byte[2] = { (char)('a' + i % 26), 0 };

		drive2_data(&d, 1, 0, byte);
	}
	drive2_run(&d);
	c = http2_codec(d.h);
	http2_credit(d.h, 1, WINDOW);
	while (c->ops->next(c, d.next, &ev) == CODEC_BODY) {
		strbuf_add(&all, ev.data.ptr, ev.data.len);
		slice_put(&ev.data);
		count++;
	}
	assert_in_range(count, 1, 8);
	assert_int_equal(all.len, 10000);
	for (unsigned i = 0; i < 10000; i++)
		assert_int_equal(all.ptr[i], 'a' + i % 26);
	strbuf_fini(&all);
	drive2_fini(&d);
}

static void slice_replace(struct slice *s, void *arg)
{
	struct slice copy = slice_copy(s->ptr, s->len);

	slice_put(s);
	*s = copy;
	++*(unsigned *)arg;
}

static void test_held_slices_may_be_replaced(void **state)
{
	unsigned count = 0;
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	d.gives_no_credit = true;
	drive2_headers(&d, 1, 0, POST);
	for (unsigned i = 0; i < 2; i++) {
		drive2_data(&d, 1, 0, "abc");
		drive2_data(&d, 1, 0, "def");
		drive2_frame(&d, NGHTTP2_DATA, 0, 1, block, 2000);
		drive2_run(&d);
		http2_keep(d.h, slice_replace, &count);
		http2_keep(d.h, slice_replace, &count);
	}
	/* Each slice once. */
	assert_in_range(count, 4, 6);
	http2_credit(d.h, 1, 3);
	drive2_clear(&d);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "body 1 abc");
	http2_credit(d.h, 1, WINDOW);
	assert_int_equal(bodies_take(&d, 1, NULL), 2 * 2006 - 3);
	drive2_fini(&d);
}

static void test_data_is_not_copied(void **state)
{
	struct codec *c;
	struct codec_event ev;
	struct slice fed;
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	c = http2_codec(d.h);
	drive2_headers(&d, 1, 0, POST);
	drive2_run(&d);
	drive2_frame(&d, NGHTTP2_DATA, 0, 1, block, 3000);
	fed = slice_copy(d.in.ptr, (uint32_t)d.in.len);
	c->ops->feed(c, slice_ref(fed));
	assert_int_equal(c->ops->next(c, d.next, &ev), CODEC_BODY);
	assert_ptr_equal(ev.data.ptr, fed.ptr + 9);
	assert_int_equal(ev.data.len, 3000);
	slice_put(&ev.data);
	slice_put(&fed);
	drive2_fini(&d);
}

static void test_padding_is_given_back(void **state)
{
	uint8_t padded[256] = { 254 }; /* and one byte of data */
	size_t granted = 0;
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, POST);
	/* Ten windows of little else. */
	for (unsigned i = 0; i < 10 * WINDOW / 256; i++) {
		drive2_frame(&d, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, padded, sizeof(padded));
		if (i % 100 == 0) {
			drive2_run(&d);
			drive2_flush(&d);
		}
	}
	for (char *at = d.frames.ptr; (at = strstr(at, "WINDOW 1 ")); at++)
		granted += strtoul(at + strlen("WINDOW 1 "), NULL, 10);
	assert_in_range(granted, 9 * WINDOW, 11 * WINDOW);
	drive2_fini(&d);
}

static void test_length_is_kept(void **state)
{
	static const struct {
		const char *first, *last, *events;
	} rows[] = {
		{ "abc", "de", "body 1 abc|body 1 de|end 1" },
		{ "abc", "d", "body 1 abc|body 1 d|reset 1 1 body_length" },
		{ "abc", "def", "body 1 abc|reset 1 1 body_length" },
		{ "abcdef", "", "reset 1 1 body_length" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;

		drive2_begin(&d, true, NULL);
		drive2_headers(&d, 1, 0, POST "content-length 5\n");
		drive2_data(&d, 1, 0, rows[i].first);
		drive2_run(&d);
		drive2_data(&d, 1, END_STREAM, rows[i].last);
		drive2_run(&d);
		assert_memory_equal(d.events.ptr, "head 1 POST a / length=5|", 25);
		/* What came before the lie may be gone with it. */
		if (strstr(rows[i].events, "reset"))
			assert_non_null(strstr(rows[i].events, strstr(d.events.ptr, "reset")));
		else
			assert_string_equal(d.events.ptr + 25, rows[i].events);
		drive2_forget(&d, 1);
		drive2_flush(&d);
		assert_int_equal(http2_stream_count(d.h), strstr(rows[i].events, "reset") ? 0 : 0);
		drive2_fini(&d);
	}
}

static void test_trailers(void **state)
{
	static const struct {
		const char *fields, *events;
		uint8_t flags;
	} rows[] = {
		{ "grpc-status 0\nx y\n", "end 1 grpc-status=0 x=y", END_STREAM },
		{ "", "end 1", END_STREAM },
		{ "x y\n", "reset 1 1 message_order", 0 },
		{ ":path /\n", "reset 1 1 pseudo_header", END_STREAM },
		{ "content-length 1\n", "reset 1 1 trailer_forbidden", END_STREAM },
		{ "host b\n", "reset 1 1 trailer_forbidden", END_STREAM },
		{ "trailer x\n", "reset 1 1 trailer_forbidden", END_STREAM },
		{ "transfer-encoding x\n", "reset 1 1 connection_field", END_STREAM },
		{ "Upper x\n", "reset 1 1 field_name_case", END_STREAM },
		{ "x 01234567890123456789012345678901234567890123456\n", "reset 1 1 trailers_too_large", END_STREAM },
	};
	struct http2_settings s = http2_defaults;

	(void)state;
	s.trailer_max = 79;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;

		drive2_begin(&d, true, &s);
		drive2_headers(&d, 1, 0, POST);
		drive2_data(&d, 1, 0, "b");
		drive2_run(&d);
		drive2_clear(&d);
		drive2_headers(&d, 1, rows[i].flags, rows[i].fields);
		drive2_run(&d);
		assert_string_equal(d.events.ptr, rows[i].events);
		drive2_fini(&d);
	}
}

static void test_forgotten_streams_touch_no_arena(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, POST);
	drive2_run(&d);
	/* Half of the trailers is in the arena. */
	drive2_frame(&d, NGHTTP2_HEADERS, END_STREAM, 1, "\0\1a\1b", 5);
	drive2_run(&d);
	drive2_forget(&d, 1);
	drive2_frame(&d, NGHTTP2_CONTINUATION, END_HEADERS, 1, "\0\1c\1d", 5);
	drive2_headers(&d, 3, END_STREAM, GET);
	drive2_clear(&d);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 3 GET a / none|end 3");
	drive2_flush(&d);
	assert_non_null(strstr(d.frames.ptr, "RST 1 8"));
	assert_int_equal(http2_stream_count(d.h), 1);
	drive2_fini(&d);
}

/* The answer waits for a window while the trailers come. */
static void test_a_lingering_stream_touches_no_arena(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_frame(&d, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	drive2_headers(&d, 1, 0, POST);
	drive2_run(&d);
	drive2_answer(&d, 1, 200, BODY_CHUNKED, 0);
	drive2_send_body(&d, 1, "late");
	drive2_send_end(&d, 1, NULL);
	drive2_frame(&d, NGHTTP2_HEADERS, END_STREAM, 1, "\0\1a\1b", 5);
	drive2_run(&d);
	drive2_forget(&d, 1);
	drive2_clear(&d);
	drive2_frame(&d, NGHTTP2_CONTINUATION, END_HEADERS, 1, "\0\1c\1d", 5);
	drive2_frame_u32(&d, NGHTTP2_WINDOW_UPDATE, 1, 4);
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(d.events.ptr, "");
	assert_non_null(strstr(d.frames.ptr, "DATA 1 late end"));
	assert_null(strstr(d.frames.ptr, "RST"));
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_the_peer_resets(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, POST);
	drive2_headers(&d, 3, END_STREAM, GET);
	drive2_run(&d);
	drive2_clear(&d);
	drive2_data(&d, 1, 0, "x");
	drive2_run(&d);
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 1, HTTP2_CANCEL);
	drive2_frame_u32(&d, NGHTTP2_RST_STREAM, 3, HTTP2_NO_ERROR);
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "body 1 x|reset 1 8|reset 3 0");
	/* What is sent on it is dropped. */
	drive2_answer(&d, 1, 200, BODY_LENGTH, 1);
	drive2_send_body(&d, 1, "y");
	drive2_send_end(&d, 1, NULL);
	drive2_flush(&d);
	assert_string_equal(d.frames.ptr, "");
	drive2_forget(&d, 1);
	drive2_forget(&d, 3);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_owner_resets(void **state)
{
	struct drive2 d;
	struct codec *c;

	(void)state;
	drive2_begin(&d, true, NULL);
	c = http2_codec(d.h);
	drive2_headers(&d, 1, 0, POST);
	drive2_headers(&d, 3, 0, POST);
	drive2_run(&d);
	drive2_clear(&d);
	c->ops->send(c, &(struct codec_send){ CODEC_SEND_RESET, .stream = 1, .error = HTTP2_INTERNAL_ERROR });
	drive2_forget(&d, 1);
	drive2_forget(&d, 3);
	drive2_data(&d, 1, 0, "late");
	drive2_headers(&d, 1, END_STREAM, "late trailers\n");
	drive2_run(&d);
	drive2_flush(&d);
	assert_string_equal(d.events.ptr, "");
	assert_string_equal(d.frames.ptr, "RST 1 2|RST 3 8");
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void websocket_begin(struct drive2 *d)
{
	struct http2_settings s = http2_defaults;

	s.allows_connect = true;
	drive2_begin(d, true, &s);
	drive2_headers(d, 1, 0, WEBSOCKET);
	drive2_data(d, 1, 0, "early");
	drive2_run(d);
}

static void test_extended_connect_is_a_websocket_upgrade(void **state)
{
	struct arena a;
	struct message m;
	struct drive2 d;

	(void)state;
	websocket_begin(&d);
	assert_string_equal(d.events.ptr, "head 1 GET a /chat none up=websocket|end 1");
	drive2_clear(&d);
	arena_init(&a, 4096);
	message_init(&m, &a);
	m.status = 101;
	m.framing = BODY_TUNNEL;
	m.upgrade = SPAN("websocket");
	headers_add(&m.headers, TOKEN_SEC_WEBSOCKET_ACCEPT, SPAN("x"));
	headers_add(&m.headers, TOKEN_UPGRADE, SPAN("websocket"));
	headers_add(&m.headers, TOKEN_CONNECTION, SPAN("Upgrade"));
	headers_add_name(&m.headers, SPAN("Sec-WebSocket-Protocol"), SPAN("chat"));
	drive2_send_head(&d, 1, &m);
	arena_fini(&a);
	drive2_data(&d, 1, 0, "!");
	drive2_run(&d);
	drive2_data(&d, 1, END_STREAM, "");
	drive2_send_body(&d, 1, "pong");
	drive2_run(&d);
	drive2_flush(&d);
	drive2_send_end(&d, 1, NULL);
	drive2_flush(&d);
	assert_string_equal(d.events.ptr, "body 1 early|body 1 !|end 1|sent 1 4");
	assert_string_equal(d.frames.ptr,
			    "HEADERS 1 :status=200 sec-websocket-protocol=chat|DATA 1 pong|DATA 1  end");
	drive2_forget(&d, 1);
	assert_int_equal(http2_stream_count(d.h), 0);
	drive2_fini(&d);
}

static void test_websocket_requests_have_a_key(void **state)
{
	struct http2_settings s = http2_defaults;
	struct drive2 d;
	char *key;

	(void)state;
	s.allows_connect = true;
	drive2_begin(&d, true, &s);
	d.shows_fields = true;
	drive2_headers(&d, 1, 0, WEBSOCKET);
	drive2_run(&d);
	key = strstr(d.events.ptr, "sec-websocket-key=");
	assert_non_null(key);
	assert_int_equal(strcspn(key, "|") - strlen("sec-websocket-key="), 24);
	assert_non_null(strstr(d.events.ptr, " sec-websocket-version=13"));
	drive2_fini(&d);
}

static void test_a_refused_websocket_is_answered(void **state)
{
	static const struct {
		unsigned status;
		const char *frames;
	} rows[] = {
		{ 403, "HEADERS 1 :status=403 content-length=2|DATA 1 no end" },
		/* 2xx would open the tunnel */
		{ 200, "HEADERS 1 :status=502 content-length=2|DATA 1 no end" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct drive2 d;

		websocket_begin(&d);
		drive2_clear(&d);
		drive2_answer(&d, 1, rows[i].status, BODY_LENGTH, 2);
		drive2_send_body(&d, 1, "no");
		drive2_send_end(&d, 1, NULL);
		drive2_data(&d, 1, END_STREAM, "what");
		drive2_run(&d);
		drive2_flush(&d);
		assert_string_equal(d.events.ptr, "sent 1 2");
		assert_string_equal(d.frames.ptr, rows[i].frames);
		drive2_forget(&d, 1);
		drive2_fini(&d);
	}
}

static void test_extended_connect_for_something_else(void **state)
{
	struct http2_settings s = http2_defaults;
	struct drive2 d;

	(void)state;
	s.allows_connect = true;
	drive2_begin(&d, true, &s);
	drive2_headers(&d, 1, 0, ":method CONNECT\n:scheme https\n:authority a\n:path /\n:protocol connect-udp\n");
	drive2_headers(&d, 3, 0, ":method GET\n:scheme https\n:authority a\n:path /\n:protocol websocket\n");
	drive2_headers(&d, 5, 0, ":method CONNECT\n:scheme https\n:path /\n:protocol websocket\nhost a\n");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "bad 1 protocol_unknown|reset 3 1 pseudo_header lost|"
					  "reset 5 1 pseudo_header lost");
	drive2_fini(&d);
}

static void test_connect(void **state)
{
	struct drive2 d;

	(void)state;
	drive2_begin(&d, true, NULL);
	drive2_headers(&d, 1, 0, ":method CONNECT\n:authority a:443\n");
	drive2_data(&d, 1, 0, "hello");
	drive2_run(&d);
	assert_string_equal(d.events.ptr, "head 1 CONNECT a:443  none|end 1");
	drive2_clear(&d);
	drive2_answer(&d, 1, 200, BODY_TUNNEL, 0);
	drive2_run(&d);
	drive2_send_body(&d, 1, "welcome");
	drive2_flush(&d);
	assert_string_equal(d.events.ptr, "body 1 hello|sent 1 7");
	assert_string_equal(d.frames.ptr, "HEADERS 1 :status=200|DATA 1 welcome");
	drive2_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_body_waits_for_credit),
		cmocka_unit_test(test_an_empty_body_needs_no_credit),
		cmocka_unit_test(test_a_stuck_stream_does_not_hold_up_others),
		cmocka_unit_test(test_more_than_the_window_is_an_error),
		cmocka_unit_test(test_the_window_of_a_reader_grows),
		cmocka_unit_test(test_tiny_frames_are_gathered),
		cmocka_unit_test(test_held_slices_may_be_replaced),
		cmocka_unit_test(test_data_is_not_copied),
		cmocka_unit_test(test_padding_is_given_back),
		cmocka_unit_test(test_length_is_kept),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_forgotten_streams_touch_no_arena),
		cmocka_unit_test(test_a_lingering_stream_touches_no_arena),
		cmocka_unit_test(test_the_peer_resets),
		cmocka_unit_test(test_owner_resets),
		cmocka_unit_test(test_extended_connect_is_a_websocket_upgrade),
		cmocka_unit_test(test_websocket_requests_have_a_key),
		cmocka_unit_test(test_a_refused_websocket_is_answered),
		cmocka_unit_test(test_extended_connect_for_something_else),
		cmocka_unit_test(test_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
