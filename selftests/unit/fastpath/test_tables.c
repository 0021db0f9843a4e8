/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tables.c - sorted rows, and the rows that a plan becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "fastpath/tables.h"

static void test_rows_are_sorted_and_the_first_of_equals_stays(void **state)
{
	const uint32_t keys[] = { 5, 1, 5, 3, 1 };
	struct rows r;
	uint32_t i, key;

	(void)state;
	rows_init(&r, sizeof(uint32_t), sizeof(uint32_t));
	assert_null(rows_find(&r, &keys[0]));
	for (i = 0; i < 5; i++) {
		key = htonl(keys[i]);
		rows_add(&r, &key, &i);
	}
	rows_sort(&r);
	assert_int_equal(r.count, 3);
	for (i = 0; i < 3; i++) {
		key = htonl(2 * i + 1);
		assert_memory_equal(rows_key(&r, i), &key, sizeof(key));
	}
	key = htonl(5);
	assert_int_equal(*(const uint32_t *)rows_find(&r, &key), 0);
	key = htonl(1);
	assert_int_equal(*(const uint32_t *)rows_find(&r, &key), 1);
	key = htonl(4);
	assert_null(rows_find(&r, &key));
	rows_fini(&r);
	rows_fini(NULL);
}

static bool has_vip(const struct tables *t, const char *ip, uint16_t port)
{
	struct sn_vip_key key = { .port = htons(port), .proto = IPPROTO_TCP };

	assert_int_equal(inet_pton(AF_INET6, ip, key.addr), 1);
	return rows_find(&t->vips, &key) != NULL;
}

static void test_wildcard_of_ipv6_is_two_rows(void **state)
{
	struct fastpath_plan p = { 0 };
	struct fastpath_vip v = { .port = 8080, .proto = IPPROTO_TCP, .listener = 3 };
	struct sn_budgets levels = { 0 };
	struct hostaddrs none = { 0 };
	struct tables t;

	(void)state;
	assert_int_equal(plan_add_vip(&p, &v), 0);
	v.port = 443;
	v.ip[10] = v.ip[11] = 0xff;
	assert_int_equal(plan_add_vip(&p, &v), 0);
	v.port = 9000;
	v.ip[10] = v.ip[11] = 0;
	v.ip[15] = 1;
	assert_int_equal(plan_add_vip(&p, &v), 0);
	tables_init(&t, &p, &none, &levels);
	assert_int_equal(t.vips.count, 4);
	assert_true(has_vip(&t, "::", 8080));
	assert_true(has_vip(&t, "::ffff:0.0.0.0", 8080));
	assert_true(has_vip(&t, "::ffff:0.0.0.0", 443));
	assert_true(has_vip(&t, "::1", 9000));
	assert_true(t.ports[8080 / 64] == 1ull << 8080 % 64);
	assert_true(t.ports[443 / 64] == 1ull << 443 % 64);
	assert_true(t.ports[80 / 64] == 0);
	tables_fini(&t);
	tables_fini(NULL);
	plan_fini(&p);
}

static void test_rules_go_to_the_trie_of_their_family(void **state)
{
	struct fastpath_acl v4 = { .ip = { [10] = 0xff, [11] = 0xff, [12] = 10 }, .len = 104 };
	struct fastpath_acl v6 = { .ip = { 0x20, 1 }, .len = 16, .action = SN_ACL_ALLOW, .rule = 2 };
	struct fastpath_plan p = { .is_monitor = true };
	const struct sn_acl4_key key4 = { .plen = 8, .addr = htonl(10u << 24) };
	const struct sn_acl6_key key6 = { .plen = 16, .addr = { htonl(0x20010000) } };
	struct sn_budgets levels = { 0 };
	struct hostaddrs none = { 0 };
	const struct sn_acl *found;
	struct tables t;

	(void)state;
	v4.action = SN_ACL_DENY;
	v4.rule = 1;
	assert_int_equal(plan_add_acl(&p, &v4), 0);
	assert_int_equal(plan_add_acl(&p, &v6), 0);
	tables_init(&t, &p, &none, &levels);
	assert_int_equal(t.acl4.count, 1);
	assert_int_equal(t.acl6.count, 1);
	found = rows_find(&t.acl4, &key4);
	assert_non_null(found);
	assert_int_equal(found->action, SN_ACL_DENY);
	found = rows_find(&t.acl6, &key6);
	assert_non_null(found);
	assert_int_equal(found->rule, 2);
	assert_int_equal(t.config.flags, SN_CONFIG_MONITOR | SN_CONFIG_ACL4 | SN_CONFIG_ACL6);
	tables_fini(&t);
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_sorted_and_the_first_of_equals_stays),
		cmocka_unit_test(test_wildcard_of_ipv6_is_two_rows),
		cmocka_unit_test(test_rules_go_to_the_trie_of_their_family),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
