/* SPDX-License-Identifier: GPL-2.0-only */
/* test_http1_request.c - what each kind of request gives, however it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive.h"

#define H11  " HTTP/1.1\r\nHost: a\r\n"
#define POST "POST /" H11
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define GOT_CHUNKED "POST a / chunked k"

struct row {
	const char *in;
	const char *out;
	size_t len; /* of `in`, if it has a NUL; else 0 */
};

static void row_check(const struct drive *d, const struct row *row, size_t cut)
{
	struct strbuf out;

	strbuf_init(&out);
	drive_run(d, row->len ? span_of(row->in, row->len) : span_str(row->in), cut, &out);
	if (strcmp(out.ptr, row->out) != 0)
		print_error("cut at %zd of: %s\n", (ssize_t)cut, row->in);
	assert_string_equal(out.ptr, row->out);
	strbuf_fini(&out);
}

/* Whole, cut in two at every place, and byte by byte: always the same. */
static void rows_check(const struct drive *d, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].in);

		for (size_t cut = 0; cut < len; cut++)
			row_check(d, &rows[i], cut);
		row_check(d, &rows[i], CUT_EVERYWHERE);
	}
}

static const struct drive server = { .is_server = true };

static const struct row good_heads[] = {
	{ "GET /" H11 "\r\n", "GET a / none k|end|closed" },
	{ "GET /x?y=1&z" H11 "\r\n", "GET a /x?y=1&z none k|end|closed" },
	{ "GET /%41//../b" H11 "\r\n", "GET a /%41//../b none k|end|closed" },
	{ "\r\nGET /" H11 "\r\n", "GET a / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost:a\r\n\r\n", "GET a / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n", "GET a / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nhOsT: A.Example:8080\r\n\r\n", "GET A.Example:8080 / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "GET [2001:db8::1]:80 / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost: under_score-1.example\r\n\r\n", "GET under_score-1.example / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET a: / none k|end|closed" },
	{ "GET / HTTP/1.0\r\n\r\n", "GET  / none|end|closed" },
	{ "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "GET a / none k|end|closed" },
	{ "GET /" H11 "Connection: close\r\n\r\n", "GET a / none|end|closed" },
	{ "GET /" H11 "Connection: x, Close ,y\r\n\r\n", "GET a / none|end|closed" },
	{ "GET /" H11 "Connection: keep-alive\r\nConnection: close\r\n\r\n", "GET a / none|end|closed" },
	{ "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", "GET  / none|end|closed" },
	{ "HEAD /" H11 "\r\n", "HEAD a / none k|end|closed" },
	{ "DELETE /x" H11 "\r\n", "DELETE a /x none k|end|closed" },
	{ "PATCH /x" H11 "\r\n", "PATCH a /x none k|end|closed" },
	{ "TRACE /x" H11 "\r\n", "TRACE a /x none k|end|closed" },
	{ "PROPFIND /x" H11 "\r\n", "PROPFIND a /x none k|end|closed" },
	{ "M-SEARCH /x" H11 "\r\n", "M-SEARCH a /x none k|end|closed" },
	{ "OPTIONS *" H11 "\r\n", "OPTIONS a * none k|end|closed" },
	{ "OPTIONS /x" H11 "\r\n", "OPTIONS a /x none k|end|closed" },
	{ "GET http://a/x" H11 "\r\n", "GET a /x none k|end|closed" },
	{ "GET HTTP://A/x" H11 "\r\n", "GET A /x none k|end|closed" },
	{ "GET http://a:80/x" H11 "\r\n", "GET a:80 /x none k|end|closed" },
	{ "GET https://a:443/x" H11 "\r\n", "GET a:443 /x none k|end|closed" },
	{ "GET http://a" H11 "\r\n", "GET a / none k|end|closed" },
	{ "GET http://a?q" H11 "\r\n", "GET a /?q none k|end|closed" },
	{ "GET http://b/ HTTP/1.0\r\n\r\n", "GET b / none|end|closed" },
	{ "CONNECT a:443" H11 "\r\n", "CONNECT a:443  none k|end|closed" },
	{ "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "CONNECT a:443  none k|end|closed" },
	{ "GET /" H11 "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "GET a / none k up=websocket|end|closed" },
	{ "GET /" H11 "Upgrade: websocket\r\n\r\n", "GET a / none k|end|closed" },
	{ "GET / HTTP/1.0\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "GET  / none|end|closed" },
	{ "GET /" H11 "X-\xc3\xa4: y\r\n\r\n", "|!field" },
	{ "GET /" H11 "X: \xc3\xa4\xff\t.\r\n\r\n", "GET a / none k|end|closed" },
	{ "GET /" H11 "X:\r\nY: \r\n\r\n", "GET a / none k|end|closed" },
	{ "", "|closed" },
	{ "\r\n", "|closed" },
};

static const struct row good_bodies[] = {
	{ POST "Content-Length: 0\r\n\r\n", "POST a / length=0 k|end|closed" },
	{ POST "Content-Length: 5\r\n\r\nhello", "POST a / length=5 k|body=hello|end|closed" },
	{ POST "Content-Length: 005\r\n\r\nhello", "POST a / length=5 k|body=hello|end|closed" },
	{ POST "Content-Length: 5 \r\n\r\nhello", "POST a / length=5 k|body=hello|end|closed" },
	{ "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", "POST  / length=3|body=abc|end|closed" },
	{ "GET /" H11 "Content-Length: 1\r\n\r\nx", "GET a / length=1 k|body=x|end|closed" },
	{ POST "Content-Length: 4\r\n\r\n\r\nxy", "POST a / length=4 k|body=\r\nxy|end|closed" },
	{ CHUNKED "0\r\n\r\n", GOT_CHUNKED "|end|closed" },
	{ CHUNKED "5\r\nhello\r\n0\r\n\r\n", GOT_CHUNKED "|body=hello|end|closed" },
	{ CHUNKED "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", GOT_CHUNKED "|body=abc|end|closed" },
	{ CHUNKED "A\r\n0123456789\r\n0\r\n\r\n", GOT_CHUNKED "|body=0123456789|end|closed" },
	{ CHUNKED "0000000a\r\n0123456789\r\n000\r\n\r\n", GOT_CHUNKED "|body=0123456789|end|closed" },
	{ CHUNKED "2;a=b;c=\"d e\"\r\nxy\r\n0;last\r\n\r\n", GOT_CHUNKED "|body=xy|end|closed" },
	{ CHUNKED "2\r\n\r\n\r\n0\r\n\r\n", GOT_CHUNKED "|body=\r\n|end|closed" },
	{ CHUNKED "0\r\nX-A: b\r\nX-C:  d \r\n\r\n", GOT_CHUNKED "|end X-A=b X-C=d|closed" },
	{ CHUNKED "1\r\nz\r\n0\r\nX:\r\n\r\n", GOT_CHUNKED "|body=z|end X=|closed" },
	{ POST "TRANSFER-ENCODING: ChUnKeD\r\n\r\n0\r\n\r\n", GOT_CHUNKED "|end|closed" },
	{ POST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", "POST a / length=1 k 100|body=x|end|closed" },
	{ POST "Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	  GOT_CHUNKED " 100|end|closed" },
	{ POST "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", "POST a / length=0 k|end|closed" },
	{ "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\nx", "POST  / length=1|body=x|end|closed" },
};

static const struct row pipelines[] = {
	{ "GET /1" H11 "\r\nGET /2" H11 "\r\n", "GET a /1 none k|end|GET a /2 none k|end|closed" },
	{ POST "Content-Length: 1\r\n\r\nxGET /2" H11 "\r\n",
	  "POST a / length=1 k|body=x|end|GET a /2 none k|end|closed" },
	{ POST "Content-Length: 1\r\n\r\nx\r\nGET /2" H11 "\r\n",
	  "POST a / length=1 k|body=x|end|GET a /2 none k|end|closed" },
	{ CHUNKED "1\r\nx\r\n0\r\n\r\nGET /2" H11 "\r\n", GOT_CHUNKED "|body=x|end|GET a /2 none k|end|closed" },
	{ CHUNKED "0\r\nA: b\r\n\r\nGET /2" H11 "\r\nGET /3" H11 "\r\n",
	  GOT_CHUNKED "|end A=b|GET a /2 none k|end|GET a /3 none k|end|closed" },
	{ "GET /1" H11 "\r\nGARBAGE\r\n\r\n", "GET a /1 none k|end|!request_line" },
	{ "GET /1" H11 "\r\nGET /2", "GET a /1 none k|end|!head_truncated" },
};

static const struct row bad_bytes[] = {
	{ "GET /\n", "|!bare_lf" },
	{ "GET / HTTP/1.1\nHost: a\n\n", "|!bare_lf" },
	{ "GET / HTTP/1.1\r\nHost: a\n\r\n", "|!bare_lf" },
	{ "GET /" H11 "X: a\rb\r\n\r\n", "|!bare_cr" },
	{ "GET /" H11 "X: a\r\r\n\r\n", "|!bare_cr" },
	{ "GET /" H11 "\rX: y\r\n\r\n", "|!bare_cr" },
	{ "GET /" H11 "\r\r\n", "|!bare_cr" },
	{ "GET /" H11 "X: a\r\n b\r\n\r\n", "|!obs_fold" },
	{ "GET /" H11 "X: a\r\n\tb\r\n\r\n", "|!obs_fold" },
	{ "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "|!obs_fold" },
	{ "GET /" H11 " \r\n\r\n", "|!obs_fold" },
	{ "GET /\0" H11 "\r\n", "|!nul", 29 },
	{ "GET /" H11 "X: \x01\r\n\r\n", "|!control_byte" },
	{ "GET /" H11 "X: \x7f\r\n\r\n", "|!control_byte" },
	{ "GET /" H11 "X\x0b: y\r\n\r\n", "|!control_byte" },
	{ "GET /\x0c" H11 "\r\n", "|!control_byte" },
	{ "\x16\x03\x01\x02", "|!control_byte" },
	{ "\nGET /" H11 "\r\n", "|!bare_lf" },
	{ "\r\n\r\nGET /" H11 "\r\n", "|!request_line" },
	{ "\rGET /" H11 "\r\n", "|!bare_cr" },
};

static const struct row bad_request_lines[] = {
	{ "GET\r\n\r\n", "|!request_line" },
	{ "GET /\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "|!request_line" },
	{ " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET / http/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET / HTTP/1.1x\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET / HTTP/11\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ ": / HTTP/1.1\r\nHost: a\r\n\r\n", "|!request_line" },
	{ "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "|!version" },
	{ "GET / HTTP/0.9\r\nHost: a\r\n\r\n", "|!version" },
	{ "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "|!version" },
	{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "|!http2_preface" },
	{ "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "get / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "GETT / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "GE / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", "|!method_unknown" },
	{ "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!userinfo" },
	{ "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
	{ "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", "|!target" },
};

static const struct row bad_fields[] = {
	{ "GET /" H11 "X : y\r\n\r\n", "|!field" },
	{ "GET /" H11 "Connection : close\r\n\r\n", "|!field" },
	{ "GET /" H11 "X\t: y\r\n\r\n", "|!field" },
	{ "GET /" H11 ": y\r\n\r\n", "|!field" },
	{ "GET /" H11 "X\r\n\r\n", "|!field" },
	{ "GET /" H11 "X y: z\r\n\r\n", "|!field" },
	{ "GET /" H11 "X(y): z\r\n\r\n", "|!field" },
	{ "GET / HTTP/1.1\r\n\r\n", "|!host_missing" },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "|!host_repeated" },
	{ "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "|!host_repeated" },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: a,b\r\nX: y\r\n\r\n", "GET a,b / none k|end|closed" },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "|!host_malformed" },
	{ "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "|!userinfo" },
	{ "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!host_mismatch" },
	{ "GET http://a:8080/ HTTP/1.1\r\nHost: a\r\n\r\n", "|!host_mismatch" },
	{ "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "|!host_mismatch" },
	{ "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "|!host_mismatch" },
	{ "CONNECT a:443 HTTP/1.1\r\nHost: a:80\r\n\r\n", "|!host_mismatch" },
	{ "GET http://a/ HTTP/1.1\r\n\r\n", "|!host_missing" },
	{ "GET /" H11 "Expect: x\r\n\r\n", "|!expectation" },
	{ "GET /" H11 "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n", "|!expectation" },
};

static const struct row bad_framing[] = {
	{ POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 1, 1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: +1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: -1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 0x1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 1 1\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length:\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 9223372036854775808\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 18446744073709551616\r\n\r\nx", "|!content_length" },
	{ POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "|!length_with_coding" },
	{ POST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", "|!length_with_coding" },
	{ POST "Transfer-Encoding: chunked, gzip\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: chunked, chunked\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: gzip\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: identity\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: xchunked\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: chunkedx\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: \"chunked\"\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: chunked;q=1\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: ,chunked\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: chunked,\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding:\r\n\r\n", "|!coding_malformed" },
	{ POST "Transfer-Encoding: gzip, chunked\r\n\r\n", "|!coding_unknown" },
	{ POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", "|!coding_unknown" },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "|!coding_on_http10" },
	{ "GET / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", "|!coding_on_http10" },
};

static const struct row bad_chunks[] = {
	{ CHUNKED "\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "x\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "0x1\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED " 1\r\nx", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "1 \r\nx", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "1 ;a\r\nx", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED ";a\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "-1\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "8000000000000000\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "10000000000000000\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "00000000000000001\r\n", GOT_CHUNKED "|!chunk_size" },
	{ CHUNKED "1\nx\r\n", GOT_CHUNKED "|!bare_lf" },
	{ CHUNKED "1\rx", GOT_CHUNKED "|!bare_cr" },
	{ CHUNKED "1;a\x01\r\nx", GOT_CHUNKED "|!control_byte" },
	{ CHUNKED "1;\nx", GOT_CHUNKED "|!bare_lf" },
	{ CHUNKED "1\r\nxy\r\n", GOT_CHUNKED "|body=x|!chunk_end" },
	{ CHUNKED "1\r\nx\n", GOT_CHUNKED "|body=x|!chunk_end" },
	{ CHUNKED "1\r\nx\r\r", GOT_CHUNKED "|body=x|!chunk_end" },
	{ CHUNKED "1\r\nx0\r\n\r\n", GOT_CHUNKED "|body=x|!chunk_end" },
	{ CHUNKED "0\r\n\n", GOT_CHUNKED "|!bare_lf" },
	{ CHUNKED "0\r\n\rX", GOT_CHUNKED "|!bare_cr" },
	{ CHUNKED "0\r\n fold: x\r\n\r\n", GOT_CHUNKED "|!obs_fold" },
	{ CHUNKED "0\r\nX: a\r\n b\r\n\r\n", GOT_CHUNKED "|!obs_fold" },
	{ CHUNKED "0\r\nX: a\nY: b\r\n\r\n", GOT_CHUNKED "|!bare_lf" },
	{ CHUNKED "0\r\nX : a\r\n\r\n", GOT_CHUNKED "|!field" },
	{ CHUNKED "0\r\nX\r\n\r\n", GOT_CHUNKED "|!field" },
	{ CHUNKED "0\r\nContent-Length: 1\r\n\r\n", GOT_CHUNKED "|!trailer_forbidden" },
	{ CHUNKED "0\r\nTransfer-Encoding: chunked\r\n\r\n", GOT_CHUNKED "|!trailer_forbidden" },
	{ CHUNKED "0\r\nHOST: b\r\n\r\n", GOT_CHUNKED "|!trailer_forbidden" },
};

static const struct row truncated[] = {
	{ "G", "|!head_truncated" },
	{ "\r", "|!head_truncated" },
	{ "GET /" H11 "\r", "|!head_truncated" },
	{ POST "Content-Length: 2\r\n\r\n", "POST a / length=2 k|!body_truncated" },
	{ POST "Content-Length: 2\r\n\r\nx", "POST a / length=2 k|body=x|!body_truncated" },
	{ CHUNKED, GOT_CHUNKED "|!body_truncated" },
	{ CHUNKED "1", GOT_CHUNKED "|!body_truncated" },
	{ CHUNKED "1\r\n", GOT_CHUNKED "|!body_truncated" },
	{ CHUNKED "1\r\nx", GOT_CHUNKED "|body=x|!body_truncated" },
	{ CHUNKED "1\r\nx\r\n", GOT_CHUNKED "|body=x|!body_truncated" },
	{ CHUNKED "1\r\nx\r\n0\r\n", GOT_CHUNKED "|body=x|!body_truncated" },
	{ CHUNKED "1\r\nx\r\n0\r\nX: y\r\n", GOT_CHUNKED "|body=x|!body_truncated" },
};

static void test_well_formed_heads(void **state)
{
	(void)state;
	rows_check(&server, good_heads, ARRAY_LEN(good_heads));
}

static void test_bodies_by_length_and_chunks(void **state)
{
	(void)state;
	rows_check(&server, good_bodies, ARRAY_LEN(good_bodies));
}

static void test_pipelined_requests_keep_their_borders(void **state)
{
	(void)state;
	rows_check(&server, pipelines, ARRAY_LEN(pipelines));
}

static void test_bytes_that_have_no_place_in_a_head(void **state)
{
	(void)state;
	rows_check(&server, bad_bytes, ARRAY_LEN(bad_bytes));
}

static void test_malformed_request_lines(void **state)
{
	(void)state;
	rows_check(&server, bad_request_lines, ARRAY_LEN(bad_request_lines));
}

static void test_malformed_fields_and_hosts(void **state)
{
	(void)state;
	rows_check(&server, bad_fields, ARRAY_LEN(bad_fields));
}

static void test_ambiguous_framing_is_refused(void **state)
{
	(void)state;
	rows_check(&server, bad_framing, ARRAY_LEN(bad_framing));
}

static void test_malformed_chunks_and_trailers(void **state)
{
	(void)state;
	rows_check(&server, bad_chunks, ARRAY_LEN(bad_chunks));
}

static void test_an_end_inside_a_message(void **state)
{
	(void)state;
	rows_check(&server, truncated, ARRAY_LEN(truncated));
}

static void test_fields_come_in_order_with_their_bytes(void **state)
{
	static const struct row row = {
		"GET /" H11 "b: 1\r\nA:  two words \r\nb: 3\r\nEmpty:\r\n\r\n",
		"GET a / none k Host=a b=1 A=two words b=3 Empty=|end|closed", 0
	};
	struct drive d = server;

	(void)state;
	d.shows_fields = true;
	rows_check(&d, &row, 1);
}

/* One byte less passes, one more is refused, whole and in pieces. */
static void test_limits_are_exact(void **state)
{
	static const struct row rows[] = {
		{ "GET /12 HTTP/1.1\r\nHost: a\r\n\r\n", "GET a /12 none k|end|closed", 0 },
		{ "GET /123 HTTP/1.1\r\nHost: a\r\n\r\n", "|!uri_too_long", 0 },
		{ "GET /" H11 "12345: 789012345\r\n\r\n", "GET a / none k|end|closed", 0 },
		{ "GET /" H11 "12345: 7890123456\r\n\r\n", "|!head_too_large", 0 },
		{ "GET /" H11 "a:b\r\nc:d\r\n\r\n", "GET a / none k|end|closed", 0 },
		{ "GET /" H11 "a:b\r\nc:d\r\ne:f\r\n\r\n", "|!too_many_fields", 0 },
	};
	static const struct row chunk_rows[] = {
		{ CHUNKED "0;123456\r\n\r\n", GOT_CHUNKED "|end|closed", 0 },
		{ CHUNKED "0;1234567\r\n\r\n", GOT_CHUNKED "|!chunk_line_too_long", 0 },
		{ CHUNKED "0\r\nabc: def\r\n\r\n", GOT_CHUNKED "|end abc=def|closed", 0 },
		{ CHUNKED "0\r\nabc: defg\r\n\r\n", GOT_CHUNKED "|!trailers_too_large", 0 },
		{ CHUNKED "0\r\na:b\r\nc:\r\n\r\n", GOT_CHUNKED "|end a=b c=|closed", 0 },
	};
	struct drive d = server;

	(void)state;
	d.limits = (struct http1_limits){
		.request_line_max = 16, .head_max = 45, .fields_max = 3, .trailer_max = 12, .chunk_line_max = 8,
	};
	rows_check(&d, rows, ARRAY_LEN(rows));
	d.limits.request_line_max = d.limits.head_max = 100;
	rows_check(&d, chunk_rows, ARRAY_LEN(chunk_rows));
}

static void test_statuses_of_faults(void **state)
{
	(void)state;
	assert_int_equal(codec_fault_status(CODEC_FAULT_URI_TOO_LONG), 414);
	assert_int_equal(codec_fault_status(CODEC_FAULT_HEAD_TOO_LARGE), 431);
	assert_int_equal(codec_fault_status(CODEC_FAULT_TOO_MANY_FIELDS), 431);
	assert_int_equal(codec_fault_status(CODEC_FAULT_METHOD_UNKNOWN), 501);
	assert_int_equal(codec_fault_status(CODEC_FAULT_EXPECTATION), 417);
	assert_int_equal(codec_fault_status(CODEC_FAULT_OBS_FOLD), 400);
	assert_string_equal(codec_fault_name(CODEC_FAULT_CODING_ON_HTTP10), "coding_on_http10");
	assert_string_equal(codec_fault_text(CODEC_FAULT_BARE_LF), "a LF without CR");
	for (unsigned f = 1; f < CODEC_FAULT_COUNT; f++)
		assert_in_range(codec_fault_status(f), 400, 505);
}

/* The log wants to know which method it was. */
static void test_an_unknown_method_is_in_the_detail(void **state)
{
	struct http1 *h = http1_new(true, &drive_limits);
	struct codec *c = http1_codec(h);
	struct span in = SPAN("FROB /x" H11 "\r\n");
	struct codec_event ev;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	c->ops->feed(c, slice_copy(in.ptr, (uint32_t)in.len));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_ERROR);
	assert_int_equal(ev.fault, CODEC_FAULT_METHOD_UNKNOWN);
	assert_true(span_eq(ev.detail, SPAN("FROB")));
	arena_fini(&a);
	http1_free(h);
}

/* Bytes of the next request are not looked at before http1_next_message(), and are counted. */
static void test_the_next_request_waits_for_its_turn(void **state)
{
	struct http1 *h = http1_new(true, &drive_limits);
	struct codec *c = http1_codec(h);
	struct span in = SPAN("GET /1" H11 "\r\nBAD\n");
	struct codec_event ev;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	c->ops->feed(c, slice_copy(in.ptr, (uint32_t)in.len));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_HEAD);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_END);
	assert_int_equal(ev.trailers->count, 0);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_MORE);
	assert_int_equal(http1_buffered(h), 4);
	http1_next_message(h);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_ERROR);
	arena_fini(&a);
	http1_free(h);
}

/* After an upgrade all bytes, those that came with the head too, are the tunnel's; its end is no error. */
static void test_a_tunnel_takes_what_was_buffered(void **state)
{
	struct http1 *h = http1_new(true, &drive_limits);
	struct codec *c = http1_codec(h);
	struct span in = SPAN("GET /1" H11 "Connection: upgrade\r\nUpgrade: x\r\n\r\nraw\n\r\0");
	struct codec_event ev;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	c->ops->feed(c, slice_copy(in.ptr, (uint32_t)in.len));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_HEAD);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_END);
	http1_enter_tunnel(h);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_BODY);
	assert_int_equal(ev.data.len, 6);
	slice_put(&ev.data);
	c->ops->feed(c, slice_copy("more", 4));
	c->ops->feed_eof(c);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_BODY);
	slice_put(&ev.data);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_END);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_MORE);
	arena_fini(&a);
	http1_free(h);
}

/* A body slice is the buffer that was fed, and a head pins none. */
static void test_bodies_are_not_copied_and_heads_pin_nothing(void **state)
{
	struct http1 *h = http1_new(true, &drive_limits);
	struct codec *c = http1_codec(h);
	struct span in = SPAN(POST "Content-Length: 4\r\n\r\nbody");
	struct slice fed = slice_copy(in.ptr, (uint32_t)in.len), half = slice_copy("GET / HTTP", 10);
	struct codec_event ev;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	c->ops->feed(c, slice_ref(fed));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_HEAD);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_BODY);
	assert_ptr_equal(ev.data.buf, fed.buf);
	slice_put(&ev.data);
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_END);
	assert_int_equal(fed.buf->refs, 1);
	http1_next_message(h);
	c->ops->feed(c, slice_ref(half));
	assert_int_equal(c->ops->next(c, &a, &ev), CODEC_MORE);
	assert_int_equal(half.buf->refs, 1);
	assert_int_equal(http1_buffered(h), 10);
	slice_put(&fed);
	slice_put(&half);
	arena_fini(&a);
	http1_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_well_formed_heads),
		cmocka_unit_test(test_bodies_by_length_and_chunks),
		cmocka_unit_test(test_pipelined_requests_keep_their_borders),
		cmocka_unit_test(test_bytes_that_have_no_place_in_a_head),
		cmocka_unit_test(test_malformed_request_lines),
		cmocka_unit_test(test_malformed_fields_and_hosts),
		cmocka_unit_test(test_ambiguous_framing_is_refused),
		cmocka_unit_test(test_malformed_chunks_and_trailers),
		cmocka_unit_test(test_an_end_inside_a_message),
		cmocka_unit_test(test_fields_come_in_order_with_their_bytes),
		cmocka_unit_test(test_limits_are_exact),
		cmocka_unit_test(test_statuses_of_faults),
		cmocka_unit_test(test_an_unknown_method_is_in_the_detail),
		cmocka_unit_test(test_the_next_request_waits_for_its_turn),
		cmocka_unit_test(test_a_tunnel_takes_what_was_buffered),
		cmocka_unit_test(test_bodies_are_not_copied_and_heads_pin_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
