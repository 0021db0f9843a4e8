/* SPDX-License-Identifier: GPL-2.0-only */
/* test_wire.c - replies of hostile stores, and addresses of stores as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "clients/memcached_wire.h"
#include "clients/redis_wire.h"
#include "clients/store_url.h"

/* ---- Redis ---- */

/* What the reader says to these bytes, given one at a time: the last result. */
static int redis(const char *bytes, size_t len, struct redis_reply *out)
{
	struct redis_reader *r = redis_reader_new();
	int got = 0;

	for (size_t i = 0; i < len && got >= 0; i++) {
		assert_int_equal(redis_reader_feed(r, span_of(bytes + i, 1)), 0);
		got = redis_reader_next(r, out);
	}
	redis_reader_free(r);
	return got;
}

#define REDIS(bytes, out) redis(bytes, sizeof(bytes) - 1, out)

static void test_redis_replies_of_each_kind(void **state)
{
	struct redis_reply r;

	(void)state;
	assert_int_equal(REDIS("+PONG\r\n", &r), 1);
	assert_int_equal(r.kind, REDIS_STATUS);
	assert_string_equal(r.text, "PONG");
	assert_int_equal(REDIS("-NOSCRIPT No \x01\xff\r\n", &r), 1);
	assert_int_equal(r.kind, REDIS_ERROR);
	assert_string_equal(r.text, "NOSCRIPT No ??");
	assert_int_equal(REDIS("$3\r\na\0b\r\n", &r), 1);
	assert_int_equal(r.kind, REDIS_TEXT);
	assert_string_equal(r.text, "a?b");
	assert_int_equal(REDIS("$-1\r\n", &r), 1);
	assert_int_equal(r.kind, REDIS_NOTHING);
	assert_int_equal(REDIS("*4\r\n:1\r\n:-2\r\n:3\r\n:9223372036854775807\r\n", &r), 1);
	assert_int_equal(r.kind, REDIS_NUMBERS);
	assert_int_equal(r.count, 4);
	assert_true(r.numbers[1] == -2 && r.numbers[3] == INT64_MAX);
	assert_int_equal(REDIS("*4\r\n:1\r\n:2\r\n", &r), 0);
}

static void test_redis_replies_that_nobody_wants(void **state)
{
	static const struct span bad[] = {
		SPAN("HTTP/1.1 400 Bad Request\r\n\r\n"), SPAN("*1\r\n*1\r\n:1\r\n"), SPAN("*1\r\n$1\r\na\r\n"),
		SPAN("*9\r\n"),	SPAN("*2147483647\r\n"), SPAN(":99999999999999999999\r\n"), SPAN("\0\0\0\0"),
		SPAN("*1\r\n$-1\r\n"),
	};
	struct redis_reply r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(redis(bad[i].ptr, bad[i].len, &r), -EPROTO);
}

static void test_redis_reply_without_end_is_bounded(void **state)
{
	static const char *const begins[] = { "$536870912\r\n", "+", "-", "$9223372036854775807\r\n", ":" };
	char piece[1024];
	struct redis_reply out;

	(void)state;
	memset(piece, 'a', sizeof(piece));
	for (size_t b = 0; b < ARRAY_LEN(begins); b++) {
		struct redis_reader *r = redis_reader_new();
		size_t fed = 0;
		int got = 0;

		assert_int_equal(redis_reader_feed(r, span_str(begins[b])), 0);
		while (got == 0) {
			assert_true(fed <= REDIS_REPLY_MAX + sizeof(piece));
			got = redis_reader_feed(r, span_of(piece, sizeof(piece)));
			if (got == 0)
				got = redis_reader_next(r, &out);
			fed += sizeof(piece);
		}
		assert_int_equal(got, -EPROTO);
		redis_reader_free(r);
	}
}

static void test_redis_command(void **state)
{
	struct slice s = redis_command((struct span[]){ SPAN("GET"), SPAN("a\r\n\0b"), SPAN("") }, 3);

	(void)state;
	assert_true(span_eq(slice_span(s), SPAN("*3\r\n$3\r\nGET\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n")));
	slice_put(&s);
}

/* What is written in place is what hiredis writes. */
static void test_redis_command_in_place(void **state)
{
	static const struct {
		uint64_t number;
		const char *text;
	} numbers[] = {
		{ 0, "0" }, { 9, "9" }, { 10, "10" }, { 1000000, "1000000" }, { UINT64_MAX, "18446744073709551615" },
	};
	char word[240];

	(void)state;
	memset(word, 'k', sizeof(word));
	for (size_t len = 0; len <= sizeof(word); len += len < 20 ? 1 : 55)
		for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
			const struct span words[] = { span_of(word, len), SPAN("a\r\n\0b"), span_str(numbers[i].text) };
			struct slice s = redis_command(words, 3);
			char *bytes = malloc(4 * REDIS_WORD_ROOM + REDIS_NUMBER_ROOM + len), *at = bytes;

			at = redis_put_count(at, 3);
			at = redis_put(at, words[0]);
			at = redis_put(at, words[1]);
			at = redis_put_number(at, numbers[i].number);
			assert_true(span_eq(slice_span(s), span_of(bytes, (size_t)(at - bytes))));
			free(bytes);
			slice_put(&s);
		}
}

/* ---- memcached ---- */

static int memcached(struct span bytes, struct memcached_reply *out)
{
	struct memcached_reader r = { 0 };
	int got = 0;

	for (; bytes.len && got == 0; bytes = span_skip(bytes, 1)) {
		struct span one = span_of(bytes.ptr, 1);

		got = memcached_reader_next(&r, &one, out);
	}
	return got;
}

static void test_memcached_replies(void **state)
{
	struct memcached_reply r;
	struct memcached_reader reader = { 0 };
	struct span two = SPAN("VA 2 c7 t-1\r\n42\r\nHD\r\nS");

	(void)state;
	assert_int_equal(memcached(SPAN("VA 16 c123\r\n1700000000000000\r\n"), &r), 1);
	assert_true(r.kind == MEMCACHED_VALUE && r.number == 1700000000000000 && r.cas == 123);
	assert_int_equal(memcached(SPAN("VA 4\r\n12  \r\n"), &r), 1); /* what was decremented may have blanks */
	assert_true(r.number == 12 && r.cas == 0);
	assert_int_equal(memcached(SPAN("SERVER_ERROR out of memory\r\n"), &r), 1);
	assert_int_equal(r.kind, MEMCACHED_ERROR);
	assert_string_equal(r.text, "SERVER_ERROR out of memory");
	assert_int_equal(memcached_reader_next(&reader, &two, &r), 1);
	assert_int_equal(r.number, 42);
	assert_int_equal(memcached_reader_next(&reader, &two, &r), 1);
	assert_int_equal(r.kind, MEMCACHED_DONE);
	assert_int_equal(memcached_reader_next(&reader, &two, &r), 0);
	assert_int_equal(two.len, 0);
}

static void test_memcached_replies_that_nobody_wants(void **state)
{
	static const struct span bad[] = {
		SPAN("VA 25 c1\r\n"), SPAN("VA\r\n"), SPAN("VA x\r\n"), SPAN("VA 2\r\nab\r\n"),
		SPAN("VA 2\r\n123\r\n"),
		SPAN("VA 0\r\n\r\n"), SPAN("HD\n"), SPAN("\r\n"), SPAN("hd\r\n"),
		SPAN("VA 2 c99999999999999999999\r\n"),
		SPAN("HTTP/1.1 400 Bad Request\r\n"), SPAN("VA 18446744073709551615\r\n"),
	};
	struct memcached_reply r;
	char line[MEMCACHED_LINE_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(memcached(bad[i], &r), -EPROTO);
	memset(line, 'H', sizeof(line));
	assert_int_equal(memcached(span_of(line, sizeof(line)), &r), -EPROTO);
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
	struct store_url u;
	const char *why;

	(void)state;
	assert_true(store_url_parse(&u, STORE_REDIS, SPAN("redis://10.0.0.1"), &why));
	assert_string_equal(u.endpoint, "10.0.0.1:6379");
	assert_true(!u.is_tls && !u.user[0] && !u.password[0] && u.database == 0);
	assert_true(store_url_parse(&u, STORE_REDIS, SPAN("rediss://bob:p%40ss%2F@[2001:db8::1]:7000/12"), &why));
	assert_string_equal(u.endpoint, "[2001:db8::1]:7000");
	assert_string_equal(u.host, "2001:db8::1");
	assert_string_equal(u.user, "bob");
	assert_string_equal(u.password, "p@ss/");
	assert_true(u.is_tls && u.database == 12);
	assert_true(store_url_parse(&u, STORE_REDIS, SPAN("redis://:secret@cache.example:6380"), &why));
	assert_string_equal(u.password, "secret");
	assert_true(store_url_parse(&u, STORE_REDIS, SPAN("unix:///run/redis.sock?db=3"), &why));
	assert_string_equal(u.endpoint, "unix:/run/redis.sock");
	assert_int_equal(u.database, 3);
	assert_true(store_url_parse(&u, STORE_REDIS, SPAN("redis+unix://:pw@/run/redis.sock"), &why));
	assert_string_equal(u.password, "pw");
	assert_true(store_url_parse(&u, STORE_MEMCACHED, SPAN("memcached://m.example"), &why));
	assert_string_equal(u.endpoint, "m.example:11211");
	assert_true(store_url_parse(&u, STORE_MEMCACHED, SPAN("unix:///run/m.sock"), &why));
}

static void test_addresses_that_are_none(void **state)
{
	static const struct {
		enum store_kind kind;
		const char *text;
	} bad[] = {
		{ STORE_REDIS, "" }, { STORE_REDIS, "127.0.0.1:6379" }, { STORE_REDIS, "http://a" },
		{ STORE_REDIS, "redis://" }, { STORE_REDIS, "redis://a:0" }, { STORE_REDIS, "redis://a:65536" },
		{ STORE_REDIS, "redis://a:x" }, { STORE_REDIS, "redis://a/x" }, { STORE_REDIS, "redis://a/1/2" },
		{ STORE_REDIS, "redis://secret@a" }, { STORE_REDIS, "redis://u:@a" }, { STORE_REDIS, "redis://u:%0@a" },
		{ STORE_REDIS, "redis://u:%00@a" }, { STORE_REDIS, "redis://[::1" }, { STORE_REDIS, "redis://[]" },
		{ STORE_REDIS, "redis://a b" }, { STORE_REDIS, "unix://run/a" }, { STORE_REDIS, "unix:///a?x=1" },
		{ STORE_REDIS, "memcache://a" }, { STORE_MEMCACHED, "redis://a" },
		{ STORE_MEMCACHED, "memcache://a/1" }, { STORE_MEMCACHED, "memcache://u:p@a" },
		{ STORE_MEMCACHED, "unix:///a?db=1" },
	};
	struct store_url u;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (store_url_parse(&u, bad[i].kind, span_str(bad[i].text), &why))
			fail_msg("%s is taken for %s", bad[i].text, u.endpoint);
		assert_non_null(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_redis_replies_of_each_kind),
		cmocka_unit_test(test_redis_replies_that_nobody_wants),
		cmocka_unit_test(test_redis_reply_without_end_is_bounded),
		cmocka_unit_test(test_redis_command),
		cmocka_unit_test(test_redis_command_in_place),
		cmocka_unit_test(test_memcached_replies),
		cmocka_unit_test(test_memcached_replies_that_nobody_wants),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_addresses_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
