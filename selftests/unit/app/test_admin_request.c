/* SPDX-License-Identifier: GPL-2.0-only */
/* test_admin_request.c - lines of the admin socket: what they ask for, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/admin_request.h"
#include "base/check.h"
#include "net/addr.h"

#define DAY_MS ((uint64_t)24 * 60 * 60 * 1000)
#define TEN_MIN_MS ((uint64_t)10 * 60 * 1000)

static void test_what_is_understood(void **state)
{
	static const struct {
		const char *line;
		enum admin_verb verb;
		bool wants_json, is_now;
		const char *address;
		uint64_t ban_ms;
		unsigned limit;
	} rows[] = {
		{ "text reload", ADMIN_RELOAD },
		{ "json reload", ADMIN_RELOAD, true },
		{ "\t text status \t", ADMIN_STATUS },
		{ "json kernel", ADMIN_KERNEL, true },
		{ "text metrics", ADMIN_METRICS },
		{ "text stop", ADMIN_STOP },
		{ "text stop now", ADMIN_STOP, false, true },
		{ "text ban list  ", ADMIN_BAN_LIST },
		{ "json ban list", ADMIN_BAN_LIST, true },
		{ "text ban add 192.0.2.1 ", ADMIN_BAN_ADD, false, false, "192.0.2.1", TEN_MIN_MS },
		{ "text ban add 2001:db8::1 90", ADMIN_BAN_ADD, false, false, "2001:db8::1", 90000 },
		{ "text ban add 192.0.2.1 1ms", ADMIN_BAN_ADD, false, false, "192.0.2.1", 1 },
		{ "text ban add 192.0.2.1 365d", ADMIN_BAN_ADD, false, false, "192.0.2.1", 365 * DAY_MS },
		{ "json ban remove ::1", ADMIN_BAN_REMOVE, true, false, "::1" },
		{ "text flows", ADMIN_FLOWS, .limit = ADMIN_FLOWS_DEFAULT },
		{ "json flows 1 ", ADMIN_FLOWS, true, .limit = 1 },
		{ "json flows 10000", ADMIN_FLOWS, true, .limit = ADMIN_FLOWS_MAX },
		{ "text limit 61 0100000062", ADMIN_LIMIT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct admin_request r = { .verb = ADMIN_VERB_COUNT };
		struct strbuf out = { 0 };
		uint8_t ip[16] = { 0 };
		struct addr addr;

		if (!admin_request_parse(span_str(rows[i].line), &r, &out))
			fail_msg("%s: %s", rows[i].line, out.ptr);
		assert_int_equal(out.len, 0);
		assert_int_equal(r.verb, rows[i].verb);
		assert_int_equal(r.wants_json, rows[i].wants_json);
		assert_int_equal(r.is_now, rows[i].is_now);
		assert_int_equal(r.ban_ms, rows[i].ban_ms);
		assert_int_equal(r.limit, rows[i].limit);
		assert_true(span_eq(r.address, span_str(rows[i].address)));
		if (rows[i].address && addr_parse_ip(r.address, &addr) == 0)
			addr_to_ip16(&addr, ip);
		assert_memory_equal(r.ip, ip, sizeof(ip));
		strbuf_fini(&out);
	}
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *line, *why;
	} rows[] = {
		{ "", "text or json" },
		{ "text", "text or json" },
		{ "reload", "text or json" },
		{ "xml reload", "text or json" },
		{ "TEXT reload", "text or json" },
		{ "text  reload", "unknown command" },
		{ "text Reload", "unknown command" },
		{ "text reloads", "unknown command" },
		{ "text reload now", "too many arguments" },
		{ "text status x", "too many arguments" },
		{ "text stop later", "stop or stop now" },
		{ "text stop  now", "stop or stop now" },
		{ "text stop now now", "too many arguments" },
		{ "text ban", "ban list, ban add" },
		{ "text ban all", "ban list, ban add" },
		{ "text ban list 1.2.3.4", "too many arguments" },
		{ "text ban add", "which address?" },
		{ "text ban remove", "which address?" },
		{ "text ban add  10m", "is not an IP address" },
		{ "text ban add 192.0.2.256", "192.0.2.256 is not an IP address" },
		{ "text ban add 192.0.2.0/24", "is not an IP address" },
		{ "text ban add example.org", "is not an IP address" },
		{ "text ban add fe80::1%lo", "is not an IP address" },
		{ "text ban add unix:/x", "is not an IP address" },
		{ "text ban add 192.0.2.1 soon", "soon is not a time" },
		{ "text ban add 192.0.2.1 -1", "is not a time" },
		{ "text ban add 192.0.2.1 99999999999999999999", "is not a time" },
		{ "text ban add 192.0.2.1  10m", "is not a time" },
		{ "text ban add 192.0.2.1 0", "from a millisecond to a year" },
		{ "text ban add 192.0.2.1 366d", "from a millisecond to a year" },
		{ "text ban add 192.0.2.1 10m 10m", "too many arguments" },
		{ "text ban remove 192.0.2.1 10m", "too many arguments" },
		{ "text flows 0", "0 is not a number from 1 to 10000" },
		{ "text flows 10001", "is not a number from 1 to 10000" },
		{ "text flows 18446744073709551617", "is not a number from 1 to 10000" },
		{ "text flows -1", "is not a number" },
		{ "text flows all", "all is not a number" },
		{ "text flows  10", "is not a number" },
		{ "text flows 10 10", "too many arguments" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct admin_request r = { .verb = ADMIN_VERB_COUNT };
		struct strbuf out = { 0 };

		if (admin_request_parse(span_str(rows[i].line), &r, &out))
			fail_msg("taken: %s", rows[i].line);
		if (!strstr(out.ptr, rows[i].why))
			fail_msg("%s: %s", rows[i].line, out.ptr);
		assert_int_equal(out.ptr[out.len - 1], '\n');
		assert_int_equal(r.verb, ADMIN_VERB_COUNT);
		strbuf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_understood),
		cmocka_unit_test(test_what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
