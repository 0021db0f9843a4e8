/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http1_write.c - the exact bytes of outgoing messages, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive.h"

struct writer {
	struct http1 *h;
	struct codec *c;
	struct arena a;
	struct message m;
	struct slice_queue out;
	struct strbuf text;
};

/* A server that has read `request`, or a client if that is NULL. */
static void writer_init(struct writer *w, const char *request)
{
	struct codec_event ev;

	*w = (struct writer){ .h = http1_new(request != NULL, &drive_limits) };
	w->c = http1_codec(w->h);
	arena_init(&w->a, 4096);
	strbuf_init(&w->text);
	message_init(&w->m, &w->a);
	w->m.status = 200;
	if (!request)
		return;
	w->c->ops->feed(w->c, slice_copy(request, (uint32_t)strlen(request)));
	assert_int_equal(w->c->ops->next(w->c, &w->a, &ev), CODEC_HEAD);
}

static void writer_fini(struct writer *w)
{
	slice_queue_fini(&w->out);
	strbuf_fini(&w->text);
	arena_fini(&w->a);
	http1_free(w->h);
}

static void head(struct writer *w)
{
	struct codec_send s = { .type = CODEC_SEND_HEAD, .stream = 1, .message = &w->m };

	w->c->ops->send(w->c, &s);
}

static void body(struct writer *w, const char *bytes)
{
	struct codec_send s = { .type = CODEC_SEND_BODY, .data = slice_copy(bytes, (uint32_t)strlen(bytes)) };

	w->c->ops->send(w->c, &s);
}

static void end(struct writer *w, const struct headers *trailers)
{
	struct codec_send s = { .type = CODEC_SEND_END, .trailers = trailers };

	w->c->ops->send(w->c, &s);
}

/* All that was written until now; the number of slices. */
static unsigned written(struct writer *w)
{
	unsigned count = 0;

	w->c->ops->output(w->c, &w->out);
	strbuf_reset(&w->text);
	while (w->out.count) {
		struct slice s = slice_queue_pop(&w->out);

		strbuf_add(&w->text, s.ptr, s.len);
		slice_put(&s);
		count++;
	}
	return count;
}

static void test_fields_of_every_length(void **state)
{
	static const char text[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	struct strbuf expected = { 0 };
	struct writer w;
	char *pieces[40];

	(void)state;
	writer_init(&w, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	strbuf_printf(&expected, "HTTP/1.1 204 OK\r\n");
	for (size_t len = 1; len <= ARRAY_LEN(pieces); len++) {
		char *piece = pieces[len - 1] = malloc(len); /* nothing beyond its end is read */

		memcpy(piece, text, len);
		headers_add_name(&w.m.headers, span_of(piece, len), span_of(piece, len));
		strbuf_printf(&expected, "%.*s: %.*s\r\n", (int)len, text, (int)len, text);
	}
	strbuf_printf(&expected, "\r\n");
	w.m.framing = BODY_CHUNKED;
	w.m.status = 204; /* no delimiter */
	w.m.reason = SPAN("OK");
	head(&w);
	(void)written(&w);
	assert_string_equal(w.text.ptr, expected.ptr);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
		free(pieces[i]);
	strbuf_fini(&expected);
	writer_fini(&w);
}

/* The next event says what was wrong with the message, and nothing was written. */
static void assert_refused(struct writer *w, enum codec_fault fault)
{
	struct codec_event ev;

	written(w);
	assert_string_equal(w->text.ptr, "");
	assert_int_equal(w->c->ops->next(w->c, &w->a, &ev), CODEC_ERROR);
	assert_int_equal(ev.fault, fault);
	assert_true(http1_closes(w->h));
}

#define GET11 "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET10 "GET / HTTP/1.0\r\n\r\n"

struct response_row {
	const char *request;
	unsigned status;
	enum body_framing framing;
	uint64_t content_length;
	const char *fields; /* "name: value\n..." */
	const char *body;
	bool is_closing; /* wants_keep_alive is false */
	const char *out;
	bool closes;
};

static void fields_add(struct writer *w, const char *text)
{
	struct span rest = span_str(text), line;

	while (rest.len && span_next(&rest, '\n', &line)) {
		size_t colon = span_find(line, ':');

		headers_add_name(&w->m.headers, span_of(line.ptr, colon), span_trim(span_skip(line, colon + 1)));
	}
}

static void response_check(const struct response_row *row)
{
	struct writer w;

	writer_init(&w, row->request);
	w.m.status = row->status;
	w.m.framing = row->framing;
	w.m.content_length = row->content_length;
	w.m.wants_keep_alive = !row->is_closing;
	fields_add(&w, row->fields);
	head(&w);
	if (row->body)
		body(&w, row->body);
	if (row->status / 100 != 1)
		end(&w, NULL);
	written(&w);
	assert_string_equal(w.text.ptr, row->out);
	assert_int_equal(http1_closes(w.h), row->closes);
	writer_fini(&w);
}

static void test_responses_get_the_delimiter_of_their_framing(void **state)
{
	static const struct response_row rows[] = {
		{ GET11, 200, BODY_LENGTH, 2, "A: b", "hi", false,
		  "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi", false },
		{ GET11, 200, BODY_CHUNKED, 0, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false },
		{ GET11, 200, BODY_CHUNKED, 0, "", NULL, false,
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
		{ GET11, 200, BODY_UNTIL_CLOSE, 0, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false },
		{ GET11, 200, BODY_NONE, 0, "", NULL, false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false },
		{ GET11, 204, BODY_NONE, 0, "", NULL, false, "HTTP/1.1 204 No Content\r\n\r\n", false },
		{ GET11, 204, BODY_LENGTH, 2, "", "hi", false, "HTTP/1.1 204 No Content\r\n\r\n", false },
		{ GET11, 304, BODY_NONE, 0, "content-length: 7\nETag: x", NULL, false,
		  "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\nETag: x\r\n\r\n", false },
		{ GET11, 299, BODY_NONE, 0, "", NULL, false,
		  "HTTP/1.1 299 Unknown\r\nContent-Length: 0\r\n\r\n", false },
		{ GET10, 200, BODY_CHUNKED, 0, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", true },
		{ GET10, 200, BODY_LENGTH, 2, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", true },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, BODY_LENGTH, 2, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, BODY_CHUNKED, 0, "", "hi", false,
		  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", true },
		{ GET11, 200, BODY_LENGTH, 2, "", "hi", true,
		  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", true },
		{ "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, BODY_LENGTH, 0, "", NULL, false,
		  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true },
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, BODY_LENGTH, 5, "", "never", false,
		  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false },
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, BODY_NONE, 0, "Content-Length: 9", NULL, false,
		  "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false },
		{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, BODY_CHUNKED, 0, "", "never", false,
		  "HTTP/1.1 200 OK\r\n\r\n", false },
		{ "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, BODY_UNTIL_CLOSE, 0, "", NULL, false,
		  "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", false },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 200, BODY_TUNNEL, 0, "Content-Length: 3", "raw", false,
		  "HTTP/1.1 200 OK\r\n\r\nraw", true },
		{ "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 403, BODY_LENGTH, 1, "", "x", false,
		  "HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx", false },
		{ GET11, 103, BODY_NONE, 0, "Link: x\nContent-Length: 5", NULL, true,
		  "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false },
		{ GET10, 103, BODY_NONE, 0, "Link: x", NULL, false, "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		response_check(&rows[i]);
}

/* Whatever a filter left in the fields: the codec's own lines are the only ones. */
static void test_fields_cannot_contradict_the_framing(void **state)
{
	static const struct response_row row = {
		GET11, 200, BODY_LENGTH, 2,
		"Content-Length: 99\nTransfer-Encoding: chunked\nConnection: close\nKeep-Alive: x\nUpgrade: h2c\n"
		"Proxy-Connection: x\nA: b",
		"hi", false, "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi", false
	};

	(void)state;
	response_check(&row);
}

static void test_a_switch_of_protocols(void **state)
{
	struct writer w;

	(void)state;
	writer_init(&w, "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
	w.m.status = 101;
	w.m.framing = BODY_TUNNEL;
	w.m.upgrade = SPAN("websocket");
	head(&w);
	written(&w);
	assert_string_equal(w.text.ptr, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
					"Upgrade: websocket\r\n\r\n");
	http1_enter_tunnel(w.h);
	body(&w, "raw\r\n");
	written(&w);
	assert_string_equal(w.text.ptr, "raw\r\n");
	writer_fini(&w);
}

static void request_head(struct writer *w, const char *method, const char *path, enum body_framing framing)
{
	w->m.method_name = span_str(method);
	w->m.method = method_of(w->m.method_name);
	w->m.path = span_str(path);
	w->m.authority = SPAN("origin:81");
	w->m.framing = framing;
}

static void test_requests(void **state)
{
	static const struct {
		const char *method, *path, *fields, *body, *out;
		enum body_framing framing;
		uint64_t content_length;
		bool is_closing;
		const char *upgrade;
	} rows[] = {
		{ "GET", "/x?y", "A: b", NULL, "GET /x?y HTTP/1.1\r\nHost: origin:81\r\nA: b\r\n\r\n", BODY_NONE, 0,
		  false, NULL },
		{ "GET", "/", "Host: h", NULL, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", BODY_NONE, 0, false, NULL },
		{ "GET", "/", "Host: h", NULL, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", BODY_NONE, 0,
		  true, NULL },
		{ "POST", "/", "Host: h", NULL, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", BODY_NONE,
		  0, false, NULL },
		{ "POST", "/", "Host: h", "hi", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
		  BODY_LENGTH, 2, false, NULL },
		{ "PUT", "/", "Host: h", "hi",
		  "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", BODY_CHUNKED,
		  0, false, NULL },
		{ "OPTIONS", "*", "Host: h", NULL, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", BODY_NONE, 0, false, NULL },
		{ "CONNECT", "", "Host: h", NULL, "CONNECT origin:81 HTTP/1.1\r\nHost: h\r\n\r\n", BODY_NONE, 0, false,
		  NULL },
		{ "GET", "/", "Host: h\nTE: trailers", NULL,
		  "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n", BODY_NONE, 0, false, NULL },
		{ "GET", "/", "Host: h\nTE: trailers", NULL,
		  "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close, Upgrade, TE\r\nUpgrade: ws\r\n\r\n",
		  BODY_NONE, 0, true, "ws" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct writer w;

		writer_init(&w, NULL);
		request_head(&w, rows[i].method, rows[i].path, rows[i].framing);
		w.m.content_length = rows[i].content_length;
		w.m.wants_keep_alive = !rows[i].is_closing;
		w.m.upgrade = span_str(rows[i].upgrade);
		fields_add(&w, rows[i].fields);
		head(&w);
		if (rows[i].body)
			body(&w, rows[i].body);
		end(&w, NULL);
		written(&w);
		assert_string_equal(w.text.ptr, rows[i].out);
		writer_fini(&w);
	}
}

/* No byte from a field, a path or a reason may start a line of its own. */
static void test_bytes_that_would_split_a_head_are_refused(void **state)
{
	static const struct {
		const char *name, *value;
	} rows[] = {
		{ "A", "b\r\nC: d" }, { "A", "b\n" }, { "A", "\r" }, { "A", "\x7f" }, { "A\r\nB", "c" }, { "A b", "c" },
		{ "A:", "c" }, { "", "c" },
	};
	struct writer w;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		writer_init(&w, GET11);
		headers_add_name(&w.m.headers, span_str(rows[i].name), span_str(rows[i].value));
		head(&w);
		assert_refused(&w, CODEC_FAULT_OUTPUT_MALFORMED);
		body(&w, "not sent");
		end(&w, NULL);
		written(&w);
		assert_string_equal(w.text.ptr, "");
		writer_fini(&w);
	}
	writer_init(&w, GET11);
	w.m.reason = SPAN("OK\r\nX: y");
	head(&w);
	assert_refused(&w, CODEC_FAULT_OUTPUT_MALFORMED);
	writer_fini(&w);
	for (size_t i = 0; i < 4; i++) {
		static const char *const paths[] = { "/a b", "/\r\nX: y", "", "/\xff" };

		writer_init(&w, NULL);
		request_head(&w, "GET", paths[i], BODY_NONE);
		head(&w);
		assert_refused(&w, CODEC_FAULT_OUTPUT_MALFORMED);
		writer_fini(&w);
	}
	writer_init(&w, NULL);
	request_head(&w, "GET", "/", BODY_UNTIL_CLOSE);
	head(&w);
	assert_refused(&w, CODEC_FAULT_OUTPUT_MALFORMED);
	writer_fini(&w);
}

static void test_a_body_of_another_length_than_announced_is_refused(void **state)
{
	struct codec_event ev;
	struct writer w;

	(void)state;
	writer_init(&w, GET11);
	w.m.framing = BODY_LENGTH;
	w.m.content_length = 3;
	head(&w);
	body(&w, "ab");
	written(&w);
	body(&w, "cd");
	assert_refused(&w, CODEC_FAULT_OUTPUT_LENGTH);
	writer_fini(&w);

	writer_init(&w, GET11);
	w.m.framing = BODY_LENGTH;
	w.m.content_length = 3;
	head(&w);
	body(&w, "ab");
	end(&w, NULL);
	assert_int_equal(w.c->ops->next(w.c, &w.a, &ev), CODEC_ERROR);
	assert_int_equal(ev.fault, CODEC_FAULT_OUTPUT_LENGTH);
	writer_fini(&w);
}

static void test_trailers_follow_the_last_chunk(void **state)
{
	struct headers trailers;
	struct writer w;

	(void)state;
	writer_init(&w, GET11);
	w.m.framing = BODY_CHUNKED;
	headers_init(&trailers, &w.a);
	headers_add_name(&trailers, SPAN("X-Sum"), SPAN("1"));
	headers_add_name(&trailers, SPAN("Content-Length"), SPAN("5"));
	head(&w);
	written(&w);
	end(&w, &trailers);
	written(&w);
	assert_string_equal(w.text.ptr, "0\r\nX-Sum: 1\r\n\r\n");
	writer_fini(&w);

	writer_init(&w, GET11);
	w.m.framing = BODY_CHUNKED;
	headers_init(&trailers, &w.a);
	headers_add_name(&trailers, SPAN("X"), SPAN("1\r\n\r\nHTTP/1.1 200"));
	head(&w);
	written(&w);
	end(&w, &trailers);
	assert_refused(&w, CODEC_FAULT_OUTPUT_MALFORMED);
	writer_fini(&w);
}

/* One write for a small answer; a large body keeps its own buffer. */
static void test_a_small_message_is_one_slice(void **state)
{
	static char large[5001];
	struct codec_send s = { .type = CODEC_SEND_BODY };
	struct iobuf *buf;
	struct writer w;

	(void)state;
	writer_init(&w, GET11);
	w.m.framing = BODY_LENGTH;
	w.m.content_length = 4096;
	memset(large, 'x', sizeof(large) - 1);
	head(&w);
	body(&w, large + 5000 - 1000);
	body(&w, large + 5000 - 3096);
	end(&w, NULL);
	assert_int_equal(written(&w), 1);
	writer_fini(&w);

	writer_init(&w, GET11);
	w.m.framing = BODY_LENGTH;
	w.m.content_length = 5000;
	head(&w);
	s.data = slice_copy(large, 5000);
	buf = s.data.buf;
	w.c->ops->send(w.c, &s);
	end(&w, NULL);
	w.c->ops->output(w.c, &w.out);
	assert_int_equal(w.out.count, 2);
	assert_ptr_equal(slice_queue_at(&w.out, 1)->buf, buf);
	writer_fini(&w);
}

/* Chunk lines share buffers; the data is not copied. */
/* The next head is written over bytes that have left, never over those that wait. */
static void test_the_buffer_of_a_head_is_used_again(void **state)
{
	struct slice first, second;
	struct writer w;

	(void)state;
	writer_init(&w, NULL);
	request_head(&w, "GET", "/one", BODY_NONE);
	head(&w);
	end(&w, NULL);
	first = slice_queue_pop(http1_output(w.h));
	http1_next_message(w.h);
	request_head(&w, "GET", "/two", BODY_NONE);
	head(&w);
	end(&w, NULL);
	second = slice_queue_pop(http1_output(w.h));
	assert_ptr_equal(second.buf, first.buf);
	assert_true(span_starts(slice_span(first), SPAN("GET /one HTTP/1.1")));
	assert_true(span_starts(slice_span(second), SPAN("GET /two HTTP/1.1")));
	slice_put(&second);
	slice_put(&first);
	http1_next_message(w.h);
	request_head(&w, "GET", "/three", BODY_NONE);
	head(&w);
	end(&w, NULL);
	second = slice_queue_pop(http1_output(w.h));
	assert_ptr_equal(second.ptr, second.buf->data);
	/* Another connection may take the codec over while they wait. */
	http1_reset(w.h);
	request_head(&w, "GET", "/four", BODY_NONE);
	head(&w);
	end(&w, NULL);
	first = slice_queue_pop(http1_output(w.h));
	assert_ptr_equal(first.buf, second.buf);
	assert_true(span_starts(slice_span(second), SPAN("GET /three HTTP/1.1")));
	assert_true(span_starts(slice_span(first), SPAN("GET /four HTTP/1.1")));
	slice_put(&first);
	slice_put(&second);
	writer_fini(&w);
}

static void test_many_chunks(void **state)
{
	static char piece[3001];
	struct strbuf expected;
	struct writer w;

	(void)state;
	strbuf_init(&expected);
	memset(piece, 'y', sizeof(piece) - 1);
	writer_init(&w, GET11);
	w.m.framing = BODY_CHUNKED;
	strbuf_add_str(&expected, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	head(&w);
	for (size_t i = 0; i < 300; i++) {
		const char *bytes = piece + i * 10;

		strbuf_printf(&expected, "%zx\r\n%s\r\n", strlen(bytes), bytes);
		body(&w, bytes);
	}
	end(&w, NULL);
	strbuf_add_str(&expected, "0\r\n\r\n");
	written(&w);
	assert_string_equal(w.text.ptr, expected.ptr);
	strbuf_fini(&expected);
	writer_fini(&w);
}

/* What one side writes the other one reads, over several messages of one connection. */
static void test_a_conversation_round_trip(void **state)
{
	struct drive d = { .is_server = true, .shows_fields = true };
	struct strbuf out;
	struct writer w;

	(void)state;
	strbuf_init(&out);
	writer_init(&w, NULL);
	for (int i = 0; i < 2; i++) {
		struct codec_event ev;

		message_init(&w.m, &w.a);
		request_head(&w, "POST", "/p", i ? BODY_CHUNKED : BODY_LENGTH);
		w.m.content_length = 5;
		http1_expect_response(w.h, METHOD_POST);
		head(&w);
		body(&w, "hello");
		end(&w, NULL);
		w.c->ops->feed(w.c, slice_copy("HTTP/1.1 204 X\r\n\r\n", 18));
		assert_int_equal(w.c->ops->next(w.c, &w.a, &ev), CODEC_HEAD);
		assert_int_equal(w.c->ops->next(w.c, &w.a, &ev), CODEC_END);
		http1_next_message(w.h);
	}
	written(&w);
	drive_run(&d, strbuf_span(&w.text), CUT_EVERYWHERE, &out);
	assert_string_equal(out.ptr, "POST origin:81 /p length=5 k Host=origin:81 Content-Length=5|body=hello|end|"
				     "POST origin:81 /p chunked k Host=origin:81 Transfer-Encoding=chunked|body=hello|"
				     "end|closed");
	strbuf_fini(&out);
	writer_fini(&w);
}

/* A reset throws away what was not taken yet, and the codec stays silent. */
static void test_reset_drops_the_output(void **state)
{
	struct codec_send s = { .type = CODEC_SEND_RESET };
	struct writer w;

	(void)state;
	writer_init(&w, GET11);
	w.m.framing = BODY_CHUNKED;
	head(&w);
	w.c->ops->send(w.c, &s);
	body(&w, "x");
	end(&w, NULL);
	assert_int_equal(written(&w), 0);
	assert_true(http1_closes(w.h));
	writer_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_of_every_length),
		cmocka_unit_test(test_responses_get_the_delimiter_of_their_framing),
		cmocka_unit_test(test_fields_cannot_contradict_the_framing),
		cmocka_unit_test(test_a_switch_of_protocols),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_bytes_that_would_split_a_head_are_refused),
		cmocka_unit_test(test_a_body_of_another_length_than_announced_is_refused),
		cmocka_unit_test(test_trailers_follow_the_last_chunk),
		cmocka_unit_test(test_a_small_message_is_one_slice),
		cmocka_unit_test(test_the_buffer_of_a_head_is_used_again),
		cmocka_unit_test(test_many_chunks),
		cmocka_unit_test(test_a_conversation_round_trip),
		cmocka_unit_test(test_reset_drops_the_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
