/* SPDX-License-Identifier: GPL-2.0-only */
/* test_plan.c - what a plan refuses, and how rules for one prefix become one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "fastpath/budgets.h"
#include "fastpath/plan.h"
#include "sentinel/abi.h"

static const uint8_t v4_any[16] = { [10] = 0xff, [11] = 0xff };

static struct fastpath_acl v4_rule(uint8_t a, uint8_t len, uint8_t action, uint32_t rule)
{
	struct fastpath_acl r = { .len = (uint8_t)(96 + len), .action = action, .rule = rule };

	memcpy(r.ip, v4_any, sizeof(r.ip));
	r.ip[12] = a;
	return r;
}

static void test_refuses_bad_interfaces(void **state)
{
	struct fastpath_plan p = { 0 };
	char name[IF_NAMESIZE + 1];
	int i;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[IF_NAMESIZE] = '\0';
	assert_int_equal(plan_add_interface(&p, "", FASTPATH_MODE_TC), -EINVAL);
	assert_int_equal(plan_add_interface(&p, "a/b", FASTPATH_MODE_TC), -EINVAL);
	assert_int_equal(plan_add_interface(&p, name, FASTPATH_MODE_TC), -EINVAL);
	name[IF_NAMESIZE - 1] = '\0';
	assert_int_equal(plan_add_interface(&p, name, FASTPATH_MODE_TC), 0);
	assert_int_equal(plan_add_interface(&p, name, FASTPATH_MODE_XDP), -EEXIST);
	for (i = 1; i < PLAN_INTERFACES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "eth%d", i);
		assert_int_equal(plan_add_interface(&p, name, FASTPATH_MODE_AUTO), 0);
	}
	assert_int_equal(plan_add_interface(&p, "more", FASTPATH_MODE_AUTO), -E2BIG);
	assert_string_equal(p.interfaces[1].name, "eth1");
	plan_fini(&p);
	plan_fini(NULL);
	assert_int_equal(p.interface_count, 0);
}

static void test_refuses_bad_sockets(void **state)
{
	struct fastpath_vip v = { .port = 80, .proto = IPPROTO_TCP };
	struct fastpath_plan p = { 0 };

	(void)state;
	assert_int_equal(plan_add_vip(&p, &v), 0);
	v.port = 0;
	assert_int_equal(plan_add_vip(&p, &v), -EINVAL);
	v.port = 80;
	v.proto = IPPROTO_SCTP;
	assert_int_equal(plan_add_vip(&p, &v), -EINVAL);
	assert_int_equal(p.vip_count, 1);
	plan_fini(&p);
}

static void test_refuses_bad_rules(void **state)
{
	struct fastpath_acl good = v4_rule(10, 8, SN_ACL_DENY, 1), a = good;
	struct fastpath_plan p = { 0 };

	(void)state;
	assert_int_equal(plan_add_acl(&p, &a), 0);
	a.len = 129;
	assert_int_equal(plan_add_acl(&p, &a), -EINVAL);
	a = good;
	a.ip[13] = 1;
	assert_int_equal(plan_add_acl(&p, &a), -EINVAL);
	a = good;
	a.action = SN_ACL_NONE;
	assert_int_equal(plan_add_acl(&p, &a), -EINVAL);
	a = good;
	a.rule = 0;
	assert_int_equal(plan_add_acl(&p, &a), -EINVAL);
	/* A length in the middle of a byte. */
	a = v4_rule(0xa0, 3, SN_ACL_DENY, 1);
	assert_int_equal(plan_add_acl(&p, &a), 0);
	a.len--;
	assert_int_equal(plan_add_acl(&p, &a), -EINVAL);
	assert_int_equal(p.acl_count, 2);
	plan_fini(&p);
}

static void test_one_rule_stays_for_each_prefix(void **state)
{
	struct fastpath_acl acls[] = {
		v4_rule(10, 8, SN_ACL_DENY, 1), v4_rule(11, 8, SN_ACL_DENY, 2), v4_rule(10, 8, SN_ACL_ALLOW, 3),
		v4_rule(10, 16, SN_ACL_DENY, 4), v4_rule(11, 8, SN_ACL_DENY, 5), v4_rule(0, 0, SN_ACL_DENY, 6),
		v4_rule(10, 8, SN_ACL_ALLOW, 7),
	};
	const uint32_t kept[] = { 4, 3, 2, 6 };
	size_t i;

	(void)state;
	assert_int_equal(plan_acl_normalise(acls, sizeof(acls) / sizeof(acls[0])), 4);
	for (i = 0; i < 4; i++)
		assert_int_equal(acls[i].rule, kept[i]);
	assert_int_equal(plan_acl_normalise(NULL, 0), 0);
}

static void test_tells_the_families_apart(void **state)
{
	struct fastpath_acl a = v4_rule(0, 0, SN_ACL_DENY, 1);

	(void)state;
	assert_true(plan_acl_is_v4(&a));
	a.len = 95; /* ::fffe:0:0/95 as written holds more than IPv4 */
	assert_false(plan_acl_is_v4(&a));
	a = (struct fastpath_acl){ .len = 0 };
	assert_false(plan_acl_is_v4(&a));
	a.len = 128;
	assert_false(plan_acl_is_v4(&a));
}

static void test_check_counts_what_the_maps_hold(void **state)
{
	struct fastpath_plan p = { 0 };
	struct fastpath_vip v = { .port = 1, .proto = IPPROTO_TCP };
	struct strbuf why = { 0 };
	uint32_t i;

	(void)state;
	strbuf_init(&why);
	for (i = 0; i <= SN_ACL_MAX; i++) {
		struct fastpath_acl a = v4_rule(10, 32, SN_ACL_DENY, i + 1);

		a.ip[14] = (uint8_t)(i >> 8);
		a.ip[15] = (uint8_t)i;
		/* The last repeats the first: one prefix, so it fits. */
		a.ip[14] = i == SN_ACL_MAX ? 0 : a.ip[14];
		assert_int_equal(plan_add_acl(&p, &a), 0);
	}
	assert_int_equal(plan_check(&p, &why), 0);
	p.acls[SN_ACL_MAX].ip[13] = 1;
	assert_int_equal(plan_check(&p, &why), -E2BIG);
	assert_string_equal(why.ptr, "16385 IPv4 and 0 IPv6 networks in acl, at most 16384 of each fit");
	p.acl_count = 0;
	strbuf_reset(&why);
	for (i = 0; i < SN_VIPS_MAX / 2; i++)
		assert_int_equal(plan_add_vip(&p, &v), 0);
	assert_int_equal(plan_check(&p, &why), 0);
	assert_int_equal(plan_add_vip(&p, &v), 0);
	assert_int_equal(plan_check(&p, &why), -E2BIG);
	strbuf_fini(&why);
	plan_fini(&p);
}

static void test_copy_is_independent(void **state)
{
	struct fastpath_plan p = { .is_monitor = true }, copy;
	struct fastpath_acl a = v4_rule(10, 8, SN_ACL_DENY, 9);

	(void)state;
	assert_int_equal(plan_add_acl(&p, &a), 0);
	assert_int_equal(plan_add_interface(&p, "eth0", FASTPATH_MODE_OFF), 0);
	plan_copy(&copy, &p);
	plan_fini(&p);
	assert_int_equal(copy.acls[0].rule, 9);
	assert_string_equal(copy.interfaces[0].name, "eth0");
	assert_string_equal(plan_mode_name(copy.interfaces[0].mode), "off");
	assert_true(copy.is_monitor);
	assert_null(copy.vips);
	plan_fini(&copy);
}

static void test_budgets_that_no_bucket_can_be_are_refused(void **state)
{
	const struct fastpath_budget right = {
		.per = SN_PER_24, .count = 100, .period_ms = 1000, .burst = 200, .rule = 7
	};
	struct fastpath_plan p = { 0 };
	struct fastpath_budget b;

	(void)state;
	b = right, b.count = 0;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.burst = 0;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.period_ms = 0;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.period_ms = UINT64_MAX;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.rule = 0;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.per = SN_PER_COUNT;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.count = 1000000001;
	assert_int_equal(plan_add_budget(&p, &b), -EINVAL);
	b = right, b.burst = UINT64_MAX;
	assert_int_equal(plan_add_budget(&p, &b), -ERANGE);
	b = right, b.count = 1, b.burst = 86400;
	assert_int_equal(plan_add_budget(&p, &b), 0);
	assert_int_equal(plan_add_budget(&p, &right), -EEXIST);
	b.is_packets = true;
	assert_int_equal(plan_add_budget(&p, &b), 0);
	plan_fini(&p);
}

static void test_budgets_as_the_guard_reads_them(void **state)
{
	struct fastpath_budget b = { .per = SN_PER_24, .count = 100, .period_ms = 1000, .burst = 200, .rule = 7 };
	struct fastpath_plan p = { 0 };
	struct sn_budgets first, again;

	(void)state;
	budgets_compile(&p, NULL, &first);
	assert_int_equal(first.flags, 0);
	assert_int_equal(plan_add_budget(&p, &b), 0);
	budgets_compile(&p, NULL, &first);
	assert_int_equal(first.connections_24.interval_ns, 10000000);
	assert_int_equal(first.connections_24.tolerance_ns, 1990000000);
	assert_int_equal(first.connections_24.rule, 7);
	assert_int_equal(first.connections_24.cell_mask, SN_SKETCH_ROW - 1);
	assert_int_equal(first.flags, SN_BUDGETS_CONNECTIONS | SN_BUDGETS_COARSE);
	assert_true(first.seed[0] || first.seed[1]);
	/* Three levels have a quarter each; a burst that is over before two ticks are needs the exact clock. */
	b = (struct fastpath_budget){ .per = SN_PER_IP, .count = 1000, .period_ms = 1000, .burst = 20, .rule = 1 };
	assert_int_equal(plan_add_budget(&p, &b), 0);
	b.is_packets = true;
	assert_int_equal(plan_add_budget(&p, &b), 0);
	budgets_compile(&p, &first, &again);
	assert_int_equal(again.flags, SN_BUDGETS_CONNECTIONS | SN_BUDGETS_PACKETS | SN_BUDGETS_BY_IP);
	assert_memory_equal(again.seed, first.seed, sizeof(first.seed));
	assert_int_equal(again.connections_ip.first_cell, 0);
	assert_int_equal(again.connections_24.first_cell, SN_SKETCH_ROW / 4);
	assert_int_equal(again.packets_ip.first_cell, SN_SKETCH_ROW / 2);
	assert_int_equal(again.packets_ip.cell_mask, SN_SKETCH_ROW / 4 - 1);
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budgets_that_no_bucket_can_be_are_refused),
		cmocka_unit_test(test_budgets_as_the_guard_reads_them),
		cmocka_unit_test(test_refuses_bad_interfaces),
		cmocka_unit_test(test_refuses_bad_sockets),
		cmocka_unit_test(test_refuses_bad_rules),
		cmocka_unit_test(test_one_rule_stays_for_each_prefix),
		cmocka_unit_test(test_tells_the_families_apart),
		cmocka_unit_test(test_check_counts_what_the_maps_hold),
		cmocka_unit_test(test_copy_is_independent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
