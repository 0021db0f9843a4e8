/* SPDX-License-Identifier: GPL-2.0-only */
/* test_uri.c - normalisation, decoding, queries and authorities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <arpa/inet.h>
#include <errno.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/strbuf.h"
#include "http/uri.h"

static const struct {
	const char *in, *out; /* out NULL: refused */
	bool had_dots;
} path_rows[] = {
	{ "/", "/", false },
	{ "/a/b", "/a/b", false },
	{ "/a%62c", "/abc", false },
	{ "/%7e%2D%5f%2E%41", "/~-_.A", false },
	{ "/%c3%a4", "/%C3%A4", false },
	{ "/%C3%A4", "/%C3%A4", false },
	{ "/a%2fb", "/a%2Fb", false },
	{ "/a%2Fb", "/a%2Fb", false },
	{ "/%2f..%2f", "/%2F..%2F", false },
	{ "//", "//", false },
	{ "//a//b//", "//a//b//", false },
	{ "/.", "/", true },
	{ "/./", "/", true },
	{ "/a/.", "/a/", true },
	{ "/a/./b", "/a/b", true },
	{ "/a/..", "/", true },
	{ "/a/../", "/", true },
	{ "/a/../b", "/b", true },
	{ "/a/b/../../c", "/c", true },
	{ "/a//../b", "/a/b", true },
	{ "/a/%2e%2E/b", "/b", true },
	{ "/a/%2e/b", "/a/b", true },
	{ "/a/.%2e", "/", true },
	{ "/.well-known/x", "/.well-known/x", false },
	{ "/...", "/...", false },
	{ "/..a/.b", "/..a/.b", false },
	{ "/a..", "/a..", false },
	{ "/a;b=c,d", "/a;b=c,d", false },
	{ "/%25", "/%25", false },
	{ "/%2541", "/%2541", false },
	{ "/..", NULL, false },
	{ "/../", NULL, false },
	{ "/../a", NULL, false },
	{ "/a/../../b", NULL, false },
	{ "/%2e%2e/a", NULL, false },
	{ "/./../a", NULL, false },
	{ "/%00", NULL, false },
	{ "/a%", NULL, false },
	{ "/a%4", NULL, false },
	{ "/a%4g", NULL, false },
	{ "/%%41", NULL, false },
	{ "/a\\b", NULL, false },
	{ "/a%5cb", NULL, false },
	{ "/a%5Cb", NULL, false },
	{ "/a b", NULL, false },
	{ "/a\x7f", NULL, false },
	{ "", NULL, false },
	{ "a", NULL, false },
	{ "*", NULL, false },
	{ "%2f", NULL, false },
};

static void test_paths_are_normalised(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	for (size_t i = 0; i < ARRAY_LEN(path_rows); i++) {
		struct span in = arena_span(&a, span_str(path_rows[i].in)), out = { NULL, 0 };
		bool had_dots = false;
		int err = uri_normalise(in, &a, &out, &had_dots);

		if (!path_rows[i].out) {
			if (err != -EINVAL)
				print_error("accepted: %s\n", path_rows[i].in);
			assert_int_equal(err, -EINVAL);
			continue;
		}
		if (err || !span_eq(out, span_str(path_rows[i].out)))
			print_error("%s: %d " SPAN_FMT "\n", path_rows[i].in, err, SPAN_ARG(out));
		assert_int_equal(err, 0);
		assert_true(span_eq(out, span_str(path_rows[i].out)));
		assert_int_equal(had_dots, path_rows[i].had_dots);
		/* What changes nothing copies nothing. */
		if (strcmp(path_rows[i].in, path_rows[i].out) == 0)
			assert_ptr_equal(out.ptr, in.ptr);
	}
	arena_fini(&a);
}

/* Whatever it gives is normal already: once is enough (a path that decodes further would be two paths). */
static void test_normalising_twice_changes_nothing(void **state)
{
	static const char alphabet[] = "/.%2eE5cCaf1";
	struct arena a;
	uint32_t x = 1;

	(void)state;
	arena_init(&a, 4096);
	for (int round = 0; round < 20000; round++) {
		char text[12] = "/";
		struct span once, twice;
		bool dots;

		for (size_t i = 1; i < sizeof(text); i++) {
			x = x * 1103515245 + 12345;
			text[i] = alphabet[(x >> 16) % (sizeof(alphabet) - 1)];
		}
		if (uri_normalise(span_of(text, sizeof(text)), &a, &once, &dots) == 0) {
			assert_int_equal(uri_normalise(once, &a, &twice, &dots), 0);
			assert_true(span_eq(once, twice));
			assert_false(dots);
		}
		arena_reset(&a);
	}
	arena_fini(&a);
}

static void test_targets_are_split_at_the_first_question_mark(void **state)
{
	struct span path, query;

	(void)state;
	uri_split(SPAN("/a?b?c"), &path, &query);
	assert_true(span_eq(path, SPAN("/a")) && span_eq(query, SPAN("b?c")));
	uri_split(SPAN("/a"), &path, &query);
	assert_true(span_eq(path, SPAN("/a")));
	assert_null(query.ptr);
	uri_split(SPAN("/a?"), &path, &query);
	assert_non_null(query.ptr);
	assert_int_equal(query.len, 0);
}

static void test_decoding_keeps_bad_escapes(void **state)
{
	static const struct {
		const char *in, *plain, *form;
	} rows[] = {
		{ "abc", "abc", "abc" },	 { "a%20b+c", "a b+c", "a b c" }, { "%", "%", "%" },
		{ "%4", "%4", "%4" },		 { "%zz%41", "%zzA", "%zzA" },	  { "", "", "" },
		{ "%2B+", "++", "+ " },
	};
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span in = arena_span(&a, span_str(rows[i].in));

		assert_true(span_eq(uri_decode(in, &a, false), span_str(rows[i].plain)));
		assert_true(span_eq(uri_decode(in, &a, true), span_str(rows[i].form)));
	}
	arena_fini(&a);
}

static void test_query_parameters(void **state)
{
	struct span rest = SPAN("a=1&&b&c=&=d&e=f=g"), name, value;

	(void)state;
	assert_true(uri_query_next(&rest, &name, &value));
	assert_true(span_eq(name, SPAN("a")) && span_eq(value, SPAN("1")));
	assert_true(uri_query_next(&rest, &name, &value));
	assert_true(span_eq(name, SPAN("b")) && value.ptr == NULL);
	assert_true(uri_query_next(&rest, &name, &value));
	assert_true(span_eq(name, SPAN("c")) && value.ptr != NULL && value.len == 0);
	assert_true(uri_query_next(&rest, &name, &value));
	assert_true(name.len == 0 && span_eq(value, SPAN("d")));
	assert_true(uri_query_next(&rest, &name, &value));
	assert_true(span_eq(name, SPAN("e")) && span_eq(value, SPAN("f=g")));
	assert_false(uri_query_next(&rest, &name, &value));
}

static void test_authorities(void **state)
{
	static const struct {
		const char *in, *host; /* host NULL: refused */
		unsigned port;
	} rows[] = {
		{ "a", "a", 0 },
		{ "a.example:80", "a.example", 80 },
		{ "a:65535", "a", 65535 },
		{ "a:", "a", 0 },
		{ "1.2.3.4:5", "1.2.3.4", 5 },
		{ "[::1]", "[::1]", 0 },
		{ "[::1]:443", "[::1]", 443 },
		{ "[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", 0 },
		{ "a%41!$&'()*+,;=~_-", "a%41!$&'()*+,;=~_-", 0 },
		{ "", NULL, 0 },
		{ ":80", NULL, 0 },
		{ "a:0", NULL, 0 },
		{ "a:65536", NULL, 0 },
		{ "a:000080", NULL, 0 },
		{ "a:8x", NULL, 0 },
		{ "a:+8", NULL, 0 },
		{ "a:80:80", NULL, 0 },
		{ "a/b", NULL, 0 },
		{ "a@b", NULL, 0 },
		{ "a b", NULL, 0 },
		{ "a\\b", NULL, 0 },
		{ "a%", NULL, 0 },
		{ "a%4", NULL, 0 },
		{ "a%00", NULL, 0 },
		{ "a%0a", NULL, 0 },
		{ "\xc3\xa4", NULL, 0 },
		{ "::1", NULL, 0 },
		{ "[::1", NULL, 0 },
		{ "[]", NULL, 0 },
		{ "[", NULL, 0 },
		{ "[::1]x", NULL, 0 },
		{ "[::1]80", NULL, 0 },
		{ "[1.2.3.4]", NULL, 0 },
		{ "[fe80::1%25eth0]", NULL, 0 },
		{ "[v1.x]", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span host = { NULL, 0 };
		unsigned port = 0;
		bool ok = uri_split_authority(span_str(rows[i].in), &host, &port);

		if (ok != (rows[i].host != NULL))
			print_error("%s\n", rows[i].in);
		assert_int_equal(ok, rows[i].host != NULL);
		if (!ok)
			continue;
		assert_true(span_eq(host, span_str(rows[i].host)));
		assert_int_equal(port, rows[i].port);
	}
}

/* Our reader of IPv6 addresses and the C library's agree. */
static void test_ipv6_literals_agree_with_inet_pton(void **state)
{
	static const char alphabet[] = ":::::1af.0";
	unsigned good = 0;
	uint32_t x = 7;

	(void)state;
	for (int round = 0; round < 300000; round++) {
		char text[24] = "[";
		struct in6_addr addr;
		struct span host;
		unsigned port;
		size_t len = 1;
		bool expected;

		x = x * 1103515245 + 12345;
		for (size_t n = (x >> 16) % 18; n; n--) {
			x = x * 1103515245 + 12345;
			text[len++] = alphabet[(x >> 16) % (sizeof(alphabet) - 1)];
		}
		expected = inet_pton(AF_INET6, text + 1, &addr) == 1;
		text[len++] = ']';
		if (uri_split_authority(span_of(text, len), &host, &port) != expected)
			print_error("%s: expected %d\n", text, expected);
		assert_int_equal(uri_split_authority(span_of(text, len), &host, &port), expected);
		good += expected;
	}
	assert_in_range(good, 100, 299000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths_are_normalised),
		cmocka_unit_test(test_normalising_twice_changes_nothing),
		cmocka_unit_test(test_targets_are_split_at_the_first_question_mark),
		cmocka_unit_test(test_decoding_keeps_bad_escapes),
		cmocka_unit_test(test_query_parameters),
		cmocka_unit_test(test_authorities),
		cmocka_unit_test(test_ipv6_literals_agree_with_inet_pton),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
