/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tunnel_table.c - the rows of `sentinel flows`: which are kept, in which order, and how they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/tunnel_table.h"
#include "base/check.h"

static struct tunnel_facts facts(uint64_t bytes)
{
	struct tunnel_facts f = {
		.listener = "main",
		.route = "r",
		.kind = "websocket",
		.engine = { SPLICE_ENGINE_COPY, SPLICE_ENGINE_COPY },
		.bytes = { bytes / 2, bytes - bytes / 2 },
	};

	assert_int_equal(addr_parse(SPAN("127.0.0.1:1234"), &f.client), 0);
	assert_int_equal(addr_parse(SPAN("[2001:db8::1]:80"), &f.origin), 0);
	return f;
}

static void add(struct tunnel_table *t, uint64_t bytes)
{
	struct tunnel_facts f = facts(bytes);

	tunnel_table_add(t, &f);
}

/* The numbers behind every "to_client" of bytes, in the order of the text. */
static size_t shown(struct tunnel_table *t, uint64_t *out, size_t max)
{
	struct strbuf text = { 0 };
	const char *at;
	size_t count = 0;

	strbuf_init(&text);
	tunnel_table_json(t, &text);
	for (at = text.ptr; (at = strstr(at, "\"bytes\":{")) != NULL && count < max; at++) {
		unsigned long long up = 0, down = 0;

		assert_int_equal(sscanf(at, "\"bytes\":{\"to_origin\":%llu,\"to_client\":%llu", &up, &down), 2);
		out[count++] = up + down;
	}
	strbuf_fini(&text);
	return count;
}

static void test_the_largest_are_kept_in_order(void **state)
{
	enum { ALL = 5000, KEPT = 37 };
	uint64_t got[KEPT + 1];
	struct tunnel_table t;

	(void)state;
	tunnel_table_init(&t, KEPT);
	for (uint64_t i = 0; i < ALL; i++)
		add(&t, i * 7919 % ALL); /* each number once */
	assert_int_equal(t.seen, ALL);
	assert_int_equal(t.count, KEPT);
	assert_int_equal(shown(&t, got, ARRAY_LEN(got)), KEPT);
	for (uint64_t i = 0; i < KEPT; i++)
		assert_int_equal(got[i], ALL - 1 - i);
	tunnel_table_fini(&t);
}

static void test_parts_of_workers_come_together(void **state)
{
	struct tunnel_table all, parts[3];
	uint64_t got[8];

	(void)state;
	tunnel_table_init(&all, 5);
	for (unsigned p = 0; p < 3; p++) {
		tunnel_table_init(&parts[p], 5);
		for (unsigned i = 0; i < p * 10; i++)
			add(&parts[p], p + 3 * i);
		tunnel_table_merge(&all, &parts[p]);
		tunnel_table_fini(&parts[p]); /* nothing of it is needed any more */
	}
	assert_int_equal(all.seen, 30);
	assert_int_equal(shown(&all, got, ARRAY_LEN(got)), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(got[i], 2 + 3 * (19 - i));
	tunnel_table_fini(&all);
}

static void test_text_tells_all_of_a_row(void **state)
{
	struct tunnel_facts f = facts(0);
	struct strbuf text = { 0 };
	struct tunnel_table t;
	char route[200];

	(void)state;
	strbuf_init(&text);
	memset(route, 'x', sizeof(route) - 1);
	route[sizeof(route) - 1] = '\0';
	tunnel_table_init(&t, 2);
	tunnel_table_text(&t, &text);
	assert_string_equal(text.ptr, "no tunnel is open\n");

	f.bytes[0] = 1000;
	f.bytes[1] = 3000;
	f.kernel_bytes[1] = 2999;
	f.engine[1] = SPLICE_ENGINE_SPLICE;
	f.open_ms = 90000;
	f.idle_ms = 2500;
	tunnel_table_add(&t, &f);
	f.route = NULL;
	f.kind = "tcp";
	tunnel_table_add(&t, &f);
	f.route = route; /* too long to be kept whole */
	f.bytes[0] = 5000;
	tunnel_table_add(&t, &f);
	strbuf_fini(&text);
	strbuf_init(&text);
	tunnel_table_text(&t, &text);
	assert_non_null(strstr(text.ptr, "127.0.0.1:1234 "));
	assert_non_null(strstr(text.ptr, "[2001:db8::1]:80 "));
	assert_non_null(strstr(text.ptr, " copy/splice "));
	assert_non_null(strstr(text.ptr, " 37%  "));
	assert_non_null(strstr(text.ptr, " xxxxxx"));
	assert_null(strstr(text.ptr, route));
	assert_non_null(strstr(text.ptr, "2 of 3 tunnels"));
	strbuf_fini(&text);
	tunnel_table_fini(&t);
}

static void test_no_bytes_and_all_bytes(void **state)
{
	struct tunnel_facts f = facts(10);
	struct strbuf text = { 0 };
	struct tunnel_table t;

	(void)state;
	strbuf_init(&text);
	tunnel_table_init(&t, 10);
	f.kernel_bytes[0] = f.kernel_bytes[1] = 5;
	tunnel_table_add(&t, &f);
	f.kernel_bytes[0] = f.kernel_bytes[1] = UINT64_MAX / 4; /* a counter that ran ahead of the other */
	tunnel_table_add(&t, &f);
	add(&t, 0);
	tunnel_table_text(&t, &text);
	assert_non_null(strstr(text.ptr, " 100%  "));
	assert_non_null(strstr(text.ptr, "   0%  "));
	assert_null(strstr(text.ptr, "--limit"));
	strbuf_fini(&text);
	tunnel_table_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_largest_are_kept_in_order),
		cmocka_unit_test(test_parts_of_workers_come_together),
		cmocka_unit_test(test_text_tells_all_of_a_row),
		cmocka_unit_test(test_no_bytes_and_all_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
