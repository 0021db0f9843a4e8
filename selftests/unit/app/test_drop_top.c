/* SPDX-License-Identifier: GPL-2.0-only */
/* test_drop_top.c - the sources that the guard drops most, and the table that is drawn of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "app/drop_top.h"
#include "app/top_screen.h"
#include "base/check.h"

static struct drop_top top;

static void sample(uint32_t source, uint8_t reason, int count)
{
	struct sn_drop_event e = { .reason = reason, .source = { 0, 0, htonl(SN_V4_MAPPED), htonl(source) } };

	while (count--)
		drop_top_add(&top, &e);
}

static void test_most_refused_first(void **state)
{
	const struct drop_top_row *rows[DROP_TOP_SHOWN];
	uint32_t i;

	(void)state;
	top = (struct drop_top){ 0 };
	assert_int_equal(drop_top_sources(&top, rows), 0);
	for (i = 1; i <= 20; i++)
		sample(0x0a000000 + i, SN_DROP_ACL, (int)i);
	assert_int_equal(drop_top_sources(&top, rows), DROP_TOP_SHOWN);
	for (i = 0; i < DROP_TOP_SHOWN; i++)
		assert_int_equal(rows[i]->ip[15], 20 - i);
	assert_int_equal(rows[0]->count, 20 * 1024);
	assert_int_equal(drop_top_networks(&top, rows), 1);
	assert_int_equal(rows[0]->len, 120);
	assert_int_equal(rows[0]->count, 210 * 1024);
}

static void test_invented_sources_push_nobody_out(void **state)
{
	const struct drop_top_row *rows[DROP_TOP_SHOWN];
	uint32_t i;

	(void)state;
	top = (struct drop_top){ 0 };
	for (i = 0; i < 100000; i++) {
		sample(0x20000000 + i * 257, SN_DROP_CONNECTION_BUDGET, 1);
		if (i % 20 == 0)
			sample(0x0a000001, SN_DROP_BLOCK, 1);
	}
	assert_true(drop_top_sources(&top, rows) > 0);
	assert_int_equal(rows[0]->ip[12], 10);
	assert_int_equal(rows[0]->reason, SN_DROP_BLOCK);
}

static void test_it_fades(void **state)
{
	const struct drop_top_row *rows[DROP_TOP_SHOWN];
	int i;

	(void)state;
	top = (struct drop_top){ 0 };
	sample(0x0a000001, SN_DROP_ACL, 100);
	for (i = 0; i < 10; i++)
		drop_top_tick(&top);
	assert_int_equal(drop_top_sources(&top, rows), 1);
	assert_int_equal(rows[0]->count, 50 * 1024);
	for (i = 0; i < 200; i++)
		drop_top_tick(&top);
	assert_int_equal(drop_top_sources(&top, rows), 0);
}

static void test_reason_of_another_version_is_left_out(void **state)
{
	const struct drop_top_row *rows[DROP_TOP_SHOWN];

	(void)state;
	top = (struct drop_top){ 0 };
	sample(0x0a000001, 200, 5);
	assert_int_equal(drop_top_sources(&top, rows), 0);
}

static void test_answer_is_drawn_with_rates(void **state)
{
	struct top_reading before, now;
	struct strbuf out = { 0 };

	(void)state;
	strbuf_init(&out);
	top_reading_parse(SPAN("time\t1000000000\ndrop\tacl\t100\t6400\t0\nwhat\tis\tthis\n"), &before);
	top_reading_parse(SPAN("time\t3000000000\ndrop\tacl\t300\t26400\t7\nsource\t192.0.2.1\t5\tacl\n"
			       "network\t192.0.2.0/24\t9\tacl\ncountry\tXX\t3\t4\n"),
			  &now);
	top_reading_draw(&now, &before, 0, 0, false, &out);
	assert_non_null(strstr(out.ptr, "acl                           100           10            300            7"));
	assert_non_null(strstr(out.ptr, "192.0.2.1                                               5  acl"));
	assert_non_null(strstr(out.ptr, "192.0.2.0/24"));
	assert_non_null(strstr(out.ptr, "XX"));
	assert_null(strchr(out.ptr, '\033'));
	/* A small terminal with colours: so many lines and columns, and no more. */
	strbuf_reset(&out);
	top_reading_draw(&now, &before, 2, 10, true, &out);
	assert_string_equal(out.ptr, "\033[1mDROPPED BY\033[0m\n\033[31macl       \033[0m\n");
	strbuf_fini(&out);
}

static void test_answer_moves_no_cursor_and_overflows_nothing(void **state)
{
	struct strbuf text = { 0 }, out = { 0 };
	struct top_reading r;
	int i;

	(void)state;
	strbuf_init(&text);
	strbuf_init(&out);
	for (i = 0; i < 1000; i++)
		strbuf_add_str(&text, "source\t\033[2Jxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\t"
				      "99999999999999999999999999\tyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n"
				      "drop\n\t\t\t\t\t\t\t\t\ncountry\tzz\n");
	top_reading_parse(strbuf_span(&text), &r);
	assert_int_equal(r.source_count, TOP_ROWS_MAX);
	top_reading_draw(&r, &r, 0, 0, false, &out);
	assert_null(strchr(out.ptr, '\033'));
	strbuf_fini(&text);
	strbuf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_most_refused_first),
		cmocka_unit_test(test_invented_sources_push_nobody_out),
		cmocka_unit_test(test_it_fades),
		cmocka_unit_test(test_reason_of_another_version_is_left_out),
		cmocka_unit_test(test_answer_is_drawn_with_rates),
		cmocka_unit_test(test_answer_moves_no_cursor_and_overflows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
