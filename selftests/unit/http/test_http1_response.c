/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http1_response.c - what each kind of response gives, however it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive.h"

#define OK "HTTP/1.1 200 OK\r\n"

struct row {
	const char *in;
	const char *out;
	enum http_method method; /* of the request; 0: GET */
};

static void row_check(const struct row *row, size_t cut)
{
	struct drive d = { .method = row->method ? row->method : METHOD_GET };
	struct strbuf out;

	strbuf_init(&out);
	drive_run(&d, span_str(row->in), cut, &out);
	if (strcmp(out.ptr, row->out) != 0)
		print_error("cut at %zd of: %s\n", (ssize_t)cut, row->in);
	assert_string_equal(out.ptr, row->out);
	strbuf_fini(&out);
}

static void rows_check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t cut = 0; cut < strlen(rows[i].in); cut++)
			row_check(&rows[i], cut);
		row_check(&rows[i], CUT_EVERYWHERE);
	}
}

static void test_status_lines(void **state)
{
	static const struct row rows[] = {
		{ "HTTP/1.1 204 No Content\r\n\r\n", "1.1 204 none k|end|closed", 0 },
		{ "HTTP/1.1 204 \r\n\r\n", "1.1 204 none k|end|closed", 0 },
		{ "HTTP/1.1 204\r\n\r\n", "1.1 204 none k|end|closed", 0 },
		{ "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "1.1 999 length=0 k|end|closed", 0 },
		{ "HTTP/1.1 200 \xc3\xa4\r\nContent-Length: 0\r\n\r\n", "1.1 200 length=0 k|end|closed", 0 },
		{ "HTTP/1.0 204 OK\r\n\r\n", "1.0 204 none|end|closed", 0 },
		{ "HTTP/1.0 204 OK\r\nConnection: keep-alive\r\n\r\n", "1.0 204 none k|end|closed", 0 },
		{ "HTTP/1.1 204 OK\r\nConnection: close\r\n\r\n", "1.1 204 none|end|closed", 0 },
		{ "HTTP/1.1 099 X\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1 20 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1 2000 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1 2x0 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1  200 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1\t200 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1 200\tOK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.1 -20 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/1.2 200 OK\r\n\r\n", "|!status_line", 0 },
		{ "HTTP/2.0 200 OK\r\n\r\n", "|!status_line", 0 },
		{ "http/1.1 200 OK\r\n\r\n", "|!status_line", 0 },
		{ "ICY 200 OK\r\n\r\n", "|!status_line", 0 },
		{ "<html>\r\n\r\n", "|!status_line", 0 },
		{ "\r\nHTTP/1.1 200 OK\r\n\r\n", "|!status_line", 0 },
		{ " HTTP/1.1 200 OK\r\n\r\n", "|!status_line", 0 },
		{ "", "|closed", 0 },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

static void test_how_the_body_ends(void **state)
{
	static const struct row rows[] = {
		{ OK "Content-Length: 2\r\n\r\nhi", "1.1 200 length=2 k|body=hi|end|closed", 0 },
		{ OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
		  "1.1 200 chunked k|body=hi|end X=y|closed", 0 },
		{ OK "\r\nall of it\r\n", "1.1 200 until-close|body=all of it\r\n|end|closed", 0 },
		{ OK "\r\n", "1.1 200 until-close|end|closed", 0 },
		{ OK "Connection: keep-alive\r\n\r\nx", "1.1 200 until-close|body=x|end|closed", 0 },
		{ "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
		  "1.0 200 length=1 k|body=x|end|closed", 0 },
		{ OK "Content-Length: 2\r\n\r\n", "1.1 200 none k|end|closed", METHOD_HEAD },
		{ OK "Transfer-Encoding: chunked\r\n\r\n", "1.1 200 none k|end|closed", METHOD_HEAD },
		{ OK "\r\n", "1.1 200 none k|end|closed", METHOD_HEAD },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "1.1 304 none k|end|closed", 0 },
		{ "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", "1.1 204 none k|end|closed", 0 },
		{ OK "\r\nraw\n", "1.1 200 tunnel k|body=raw\n|end", METHOD_CONNECT },
		{ OK "Content-Length: 9\r\n\r\nraw", "1.1 200 tunnel k|body=raw|end", METHOD_CONNECT },
		{ "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", "1.1 403 length=1 k|body=x|end|closed",
		  METHOD_CONNECT },
		{ "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\1\2",
		  "1.1 101 tunnel k up=x|body=\1\2|end", 0 },
		{ OK "Content-Length: 1\r\n\r\nx" OK "Content-Length: 1\r\n\r\ny",
		  "1.1 200 length=1 k|body=x|end|1.1 200 length=1 k|body=y|end|closed", 0 },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

static void test_interim_responses_come_before_the_final_one(void **state)
{
	static const struct row rows[] = {
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
		  "1.1 100 none k|1.1 204 none k|end|closed", 0 },
		{ "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK "Content-Length: 0\r\n\r\n",
		  "1.1 103 none k|1.1 102 none k|1.1 200 length=0 k|end|closed", 0 },
		{ "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 X\r\n\r\n",
		  "1.1 100 none k|1.1 204 none k|end|closed", 0 },
		{ "HTTP/1.1 100 Continue\r\n\r\n", "1.1 100 none k|closed", 0 },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

/* An origin that never comes to the point must not fill the memory of an exchange. */
static void test_endless_interim_responses_are_refused(void **state)
{
	struct drive d = { .method = METHOD_GET };
	struct strbuf in, out;

	(void)state;
	strbuf_init(&in);
	strbuf_init(&out);
	for (int i = 0; i < 17; i++)
		strbuf_add_str(&in, "HTTP/1.1 100 Continue\r\n\r\n");
	drive_run(&d, strbuf_span(&in), CUT_NOWHERE, &out);
	assert_true(span_ends(strbuf_span(&out), SPAN("|!interim_too_many")));
	strbuf_fini(&in);
	strbuf_fini(&out);
}

static void test_ambiguous_responses_are_refused(void **state)
{
	static const struct row rows[] = {
		{ OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "|!content_length", 0 },
		{ OK "Content-Length: 1, 1\r\n\r\nx", "|!content_length", 0 },
		{ OK "Content-Length: x\r\n\r\nx", "|!content_length", 0 },
		{ OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", "|!length_with_coding", 0 },
		{ OK "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", "|!length_with_coding", 0 },
		{ OK "Transfer-Encoding: gzip\r\n\r\nx", "|!coding_malformed", 0 },
		{ OK "Transfer-Encoding: gzip, chunked\r\n\r\nx", "|!coding_unknown", 0 },
		{ OK "Transfer-Encoding: chunked, gzip\r\n\r\nx", "|!coding_malformed", 0 },
		{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "|!coding_on_http10", 0 },
		{ OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "|!content_length", METHOD_HEAD },
		{ OK "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "|!obs_fold", 0 },
		{ OK "X: a\nContent-Length: 0\r\n\r\n", "|!bare_lf", 0 },
		{ OK "X: a\rb\r\n\r\n", "|!bare_cr", 0 },
		{ OK "X : a\r\n\r\n", "|!field", 0 },
		{ OK "X: \1\r\n\r\n", "|!control_byte", 0 },
		{ OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\n", "1.1 200 chunked k|!bare_lf", 0 },
		{ OK "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n", "1.1 200 chunked k|!obs_fold", 0 },
		{ OK "Content-Len", "|!head_truncated", 0 },
		{ OK "Content-Length: 3\r\n\r\nab", "1.1 200 length=3 k|body=ab|!body_truncated", 0 },
		{ OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "1.1 200 chunked k|body=ab|!body_truncated", 0 },
	};

	(void)state;
	rows_check(rows, ARRAY_LEN(rows));
}

/* Bytes that an origin sends after its response wait, and are seen by whoever wants to reuse the connection. */
static void test_bytes_behind_a_response_are_counted(void **state)
{
	struct http1 *h = http1_new(false, &drive_limits);
	struct codec *c = http1_codec(h);
	struct span in = SPAN("HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 X\r\n");
	struct codec_event ev;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	http1_expect_response(h, METHOD_GET);
	c->ops->feed(c, slice_copy(in.ptr, (uint32_t)in.len));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_HEAD);
	assert_true(span_eq(ev.message->reason, SPAN("X")));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_END);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_MORE);
	assert_int_equal(http1_buffered(h), 16);
	arena_fini(&a);
	http1_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_lines),
		cmocka_unit_test(test_how_the_body_ends),
		cmocka_unit_test(test_interim_responses_come_before_the_final_one),
		cmocka_unit_test(test_endless_interim_responses_are_refused),
		cmocka_unit_test(test_ambiguous_responses_are_refused),
		cmocka_unit_test(test_bytes_behind_a_response_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
