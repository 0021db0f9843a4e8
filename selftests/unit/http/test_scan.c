/* SPDX-License-Identifier: GPL-2.0-only */
/* test_scan.c - the first judge of bytes, the Date field, and how llhttp was built. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <llhttp.h>

#include "base/check.h"
#include "http/date.h"
#include "http/scan.h"

/* Each byte value at each place of blocks of each small size; the block ends where the page of ASan begins. */
static void test_the_vector_search_agrees_with_the_plain_one(void **state)
{
	(void)state;
	assert_true(scan_is_clean(NULL, 0));
	for (size_t len = 0; len <= 40; len++) {
		uint8_t *bytes = malloc(len + 1);

		memset(bytes, 0xe4, len + 1);
		assert_ptr_equal(scan_find_control(bytes, bytes + len), bytes + len);
		assert_true(scan_is_clean(bytes, len));
		for (size_t at = 0; at < len; at++) {
			for (unsigned c = 0; c < 256; c++) {
				bytes[at] = (uint8_t)c;
				assert_ptr_equal(scan_find_control(bytes, bytes + len),
						 scan_find_control_plain(bytes, bytes + len));
				assert_int_equal(scan_is_clean(bytes, len),
						 scan_find_control_plain(bytes, bytes + len) == bytes + len);
				bytes[at] = 'x';
			}
		}
		free(bytes);
	}
}

static enum scan_result scan(struct scan *s, const char *text, size_t *used)
{
	return scan_run(s, (const uint8_t *)text, strlen(text), used);
}

static void test_a_block_ends_at_its_empty_line(void **state)
{
	struct scan s;
	size_t used;

	(void)state;
	scan_begin(&s, SCAN_HEAD, 100, 100, 10);
	assert_int_equal(scan(&s, "start\r\na: b\r\n\r\nrest", &used), SCAN_DONE);
	assert_int_equal(used, 15);
	assert_int_equal(s.lines, 2);
	assert_int_equal(s.first_line, 5);
	scan_begin(&s, SCAN_TRAILERS, 100, 100, 10);
	assert_int_equal(scan(&s, "\r\nrest", &used), SCAN_DONE);
	assert_int_equal(used, 2);
	assert_int_equal(s.lines, 0);
	scan_begin(&s, SCAN_LINE, 100, 100, 10);
	assert_int_equal(scan(&s, "1f;x\r\nrest", &used), SCAN_DONE);
	assert_int_equal(used, 6);
}

static void test_a_limit_is_reached_at_its_byte(void **state)
{
	struct scan s;
	size_t used;

	(void)state;
	scan_begin(&s, SCAN_HEAD, UINT32_MAX, 9, 10);
	assert_int_equal(scan(&s, "12345\r\n\r\n", &used), SCAN_DONE);
	scan_begin(&s, SCAN_HEAD, UINT32_MAX, 8, 10);
	assert_int_equal(scan(&s, "12345\r\n\r", &used), SCAN_MORE);
	assert_int_equal(scan(&s, "\n", &used), SCAN_TOO_LONG);
	scan_begin(&s, SCAN_HEAD, 4, 100, 10);
	assert_int_equal(scan(&s, "1234", &used), SCAN_MORE);
	assert_int_equal(scan(&s, "5", &used), SCAN_LINE_TOO_LONG);
	scan_begin(&s, SCAN_HEAD, 4, 100, 1);
	assert_int_equal(scan(&s, "1\r\n2\r\n", &used), SCAN_TOO_MANY_LINES);
}

static void test_dates(void **state)
{
	static const struct {
		uint64_t second;
		const char *text;
	} rows[] = {
		{ 0, "Thu, 01 Jan 1970 00:00:00 GMT" },
		{ 784111777, "Sun, 06 Nov 1994 08:49:37 GMT" },
		{ 951782399, "Mon, 28 Feb 2000 23:59:59 GMT" },
		{ 951782400, "Tue, 29 Feb 2000 00:00:00 GMT" },
		{ 4107542400, "Mon, 01 Mar 2100 00:00:00 GMT" },
		{ 253402300799, "Fri, 31 Dec 9999 23:59:59 GMT" },
	};
	struct date_cache cache = { 0 };
	char text[DATE_LEN + 1];
	struct span first;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		date_write(rows[i].second, text);
		assert_string_equal(text, rows[i].text);
	}
	first = date_cached(&cache, 999999999);
	assert_true(span_eq(first, SPAN("Thu, 01 Jan 1970 00:00:00 GMT")));
	assert_true(span_eq(date_cached(&cache, 1000000000), SPAN("Thu, 01 Jan 1970 00:00:01 GMT")));
}

static llhttp_errno_t llhttp_judge(const char *head)
{
	llhttp_settings_t settings;
	llhttp_t parser;

	llhttp_settings_init(&settings);
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	return llhttp_execute(&parser, head, strlen(head));
}

/* llhttp takes these in its loose mode only: it must have been compiled with LLHTTP_STRICT_MODE=1. */
static void test_llhttp_is_strict(void **state)
{
	(void)state;
	assert_int_equal(llhttp_judge("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), HPE_OK);
	assert_int_equal(llhttp_judge("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), HPE_INVALID_URL);
	assert_int_not_equal(llhttp_judge("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n"),
			     HPE_OK);
	assert_int_not_equal(llhttp_judge("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
					  "1\r\naX\r\n0\r\n\r\n"),
			     HPE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_vector_search_agrees_with_the_plain_one),
		cmocka_unit_test(test_a_block_ends_at_its_empty_line),
		cmocka_unit_test(test_a_limit_is_reached_at_its_byte),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_llhttp_is_strict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
