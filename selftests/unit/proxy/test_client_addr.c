/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client_addr.c - who the client is, by whom one believes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/hash.h"
#include "proxy/client_addr.h"

static struct arena arena;
static struct prefix trusted[3];

static int setup(void **state)
{
	static const char *const prefixes[] = { "10.0.0.0/8", "2001:db8::/32", "127.0.0.1" };

	(void)state;
	hash_init();
	arena_init(&arena, 4096);
	for (unsigned i = 0; i < ARRAY_LEN(trusted); i++)
		assert_int_equal(prefix_parse(span_str(prefixes[i]), &trusted[i]), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* X-Forwarded-For fields are separated by '|'. */
static const char *client(const char *peer, const char *fields, unsigned trusted_count, bool *out_trusted)
{
	struct client_addr_result r;
	struct headers headers;
	struct addr addr;
	struct span rest = span_str(fields), field;

	assert_int_equal(addr_parse(span_str(peer), &addr), 0);
	headers_init(&headers, &arena);
	headers_add(&headers, TOKEN_HOST, SPAN("h"));
	while (fields && span_next(&rest, '|', &field))
		headers_add(&headers, TOKEN_X_FORWARDED_FOR, field);
	client_addr_find(&addr, &headers, trusted, trusted_count, &r);
	*out_trusted = r.is_peer_trusted;
	return client_addr_text(&r, &arena).ptr;
}

static void test_table(void **state)
{
	static const struct {
		const char *peer, *fields, *expected;
		bool is_trusted;
	} rows[] = {
		{ "192.0.2.1:5", NULL, "192.0.2.1", false },
		{ "192.0.2.1:5", "203.0.113.9", "192.0.2.1", false }, /* a stranger's word */
		{ "10.0.0.1:5", NULL, "10.0.0.1", true },
		{ "10.0.0.1:5", "203.0.113.9", "203.0.113.9", true },
		{ "10.0.0.1:5", "1.1.1.1, 203.0.113.9", "203.0.113.9", true }, /* forged by the client */
		{ "10.0.0.1:5", "203.0.113.9, 10.1.1.1 ,10.2.2.2", "203.0.113.9", true },
		{ "10.0.0.1:5", "203.0.113.9|10.1.1.1|10.2.2.2", "203.0.113.9", true },
		{ "10.0.0.1:5", "1.1.1.1|203.0.113.9", "203.0.113.9", true },
		{ "10.0.0.1:5", "10.9.9.9,10.1.1.1", "10.9.9.9", true }, /* all trusted: the left-most */
		{ "10.0.0.1:5", "203.0.113.9,unknown", "10.0.0.1", true },
		{ "10.0.0.1:5", "203.0.113.9,unknown,10.7.7.7", "10.7.7.7", true },
		{ "10.0.0.1:5", "203.0.113.9,", "10.0.0.1", true },
		{ "10.0.0.1:5", "203.0.113.9:1234", "203.0.113.9", true },
		{ "10.0.0.1:5", "[2001:db9::1]:443", "2001:db9::1", true },
		{ "10.0.0.1:5", "[2001:db9::1]", "2001:db9::1", true },
		{ "10.0.0.1:5", "2001:db9::1", "2001:db9::1", true },
		{ "10.0.0.1:5", "[2001:db9::1]x", "10.0.0.1", true },
		{ "10.0.0.1:5", "[2001:db9::1", "10.0.0.1", true },
		{ "[2001:db8::5]:80", "203.0.113.9, 2001:db8::1", "203.0.113.9", true },
		{ "[::ffff:10.0.0.1]:80", "203.0.113.9", "203.0.113.9", true },
		{ "[::ffff:192.0.2.1]:80", "203.0.113.9", "192.0.2.1", false },
		{ "127.0.0.1:80", "203.0.113.9", "203.0.113.9", true },
		{ "127.0.0.2:80", "203.0.113.9", "127.0.0.2", false },
		{ "unix:/run/x", "203.0.113.9", "unix", false },
	};
	bool is_trusted;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = client(rows[i].peer, rows[i].fields, ARRAY_LEN(trusted), &is_trusted);

		if (strcmp(got, rows[i].expected) != 0 || is_trusted != rows[i].is_trusted)
			fail_msg("%s, %s: %s", rows[i].peer, rows[i].fields ? rows[i].fields : "-", got);
	}
}

static void test_nobody_is_trusted_without_prefixes(void **state)
{
	bool is_trusted;

	(void)state;
	assert_string_equal(client("10.0.0.1:5", "203.0.113.9", 0, &is_trusted), "10.0.0.1");
	assert_false(is_trusted);
}

static void test_the_walk_is_bounded(void **state)
{
	struct strbuf fields = { 0 };
	bool is_trusted;

	(void)state;
	strbuf_add_str(&fields, "203.0.113.9");
	for (unsigned i = 0; i < CLIENT_ADDR_HOPS_MAX - 1; i++)
		strbuf_printf(&fields, ",10.1.0.%u", i);
	assert_string_equal(client("10.0.0.1:5", fields.ptr, ARRAY_LEN(trusted), &is_trusted), "203.0.113.9");
	strbuf_add_str(&fields, ",10.3.3.3"); /* one hop more: it ends at the 32nd from the right */
	assert_string_equal(client("10.0.0.1:5", fields.ptr, ARRAY_LEN(trusted), &is_trusted), "10.1.0.0");
	strbuf_fini(&fields);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_table),
		TEST(test_nobody_is_trusted_without_prefixes),
		TEST(test_the_walk_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
