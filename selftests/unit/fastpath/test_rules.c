/* SPDX-License-Identifier: GPL-2.0-only */
/* test_rules.c - the verdict about accepted connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "fastpath/rules.h"
#include "sentinel/abi.h"
#include "sentinel/verdict.h"

#define NOW 1000000000000ull

static void ip_of(const char *text, uint8_t out_ip[16])
{
	memset(out_ip, 0, 16);
	if (strchr(text, ':')) {
		assert_int_equal(inet_pton(AF_INET6, text, out_ip), 1);
		return;
	}
	out_ip[10] = out_ip[11] = 0xff;
	assert_int_equal(inet_pton(AF_INET, text, out_ip + 12), 1);
}

static void add(struct fastpath_plan *p, uint8_t action, const char *ip, unsigned len)
{
	struct fastpath_acl a = { .action = action, .rule = (uint32_t)p->acl_count + 1 };

	ip_of(ip, a.ip);
	a.len = (uint8_t)(strchr(ip, ':') ? len : 96 + len);
	assert_int_equal(plan_add_acl(p, &a), 0);
}

static struct rules_verdict judge(const struct rules *r, struct bans *b, const char *source)
{
	uint8_t ip[16];

	ip_of(source, ip);
	return rules_judge(r, b, ip, NOW);
}

static void test_no_rules_refuse_nobody(void **state)
{
	struct fastpath_plan p = { 0 };
	struct rules *r = rules_new(&p);

	(void)state;
	assert_int_equal(judge(r, NULL, "192.0.2.1").reason, SN_DROP_NONE);
	assert_false(judge(r, NULL, "2001:db8::1").is_refused);
	rules_free(r);
	rules_free(NULL);
}

static void test_most_specific_prefix_wins(void **state)
{
	struct fastpath_plan p = { 0 };
	struct rules *r;

	(void)state;
	add(&p, SN_ACL_DENY, "0.0.0.0", 0);
	add(&p, SN_ACL_ALLOW, "10.0.0.0", 8);
	add(&p, SN_ACL_DENY, "10.1.0.0", 16);
	add(&p, SN_ACL_ALLOW, "10.1.2.3", 32);
	add(&p, SN_ACL_DENY, "2001:db8::", 32);
	add(&p, SN_ACL_ALLOW, "2001:db8:0:1::", 64);
	r = rules_new(&p);
	plan_fini(&p);
	assert_int_equal(judge(r, NULL, "192.0.2.1").rule, 1);
	assert_true(judge(r, NULL, "192.0.2.1").is_refused);
	assert_int_equal(judge(r, NULL, "10.200.0.1").rule, 2);
	assert_false(judge(r, NULL, "10.200.0.1").is_refused);
	assert_true(judge(r, NULL, "10.1.2.4").is_refused);
	assert_false(judge(r, NULL, "10.1.2.3").is_refused);
	assert_true(judge(r, NULL, "2001:db8::1").is_refused);
	assert_false(judge(r, NULL, "2001:db8:0:1::1").is_refused);
	assert_false(judge(r, NULL, "2001:db9::1").is_refused);
	assert_string_equal(rules_reason_label(judge(r, NULL, "10.1.2.4").reason), "acl");
	rules_free(r);
}

static void test_families_do_not_mix(void **state)
{
	struct fastpath_plan p = { 0 };
	struct rules *r;

	(void)state;
	add(&p, SN_ACL_DENY, "::", 0);
	add(&p, SN_ACL_DENY, "192.0.2.0", 24);
	r = rules_new(&p);
	assert_false(judge(r, NULL, "198.51.100.1").is_refused);
	assert_true(judge(r, NULL, "::ffff:192.0.2.1").is_refused);
	assert_true(judge(r, NULL, "::1").is_refused);
	rules_free(r);
	plan_fini(&p);
}

static void test_bans_yield_to_allow_only(void **state)
{
	struct fastpath_plan p = { 0 };
	struct bans *b = bans_new();
	struct rules *r;
	uint8_t ip[16];

	(void)state;
	add(&p, SN_ACL_ALLOW, "10.0.0.0", 8);
	add(&p, SN_ACL_DENY, "192.0.2.0", 24);
	r = rules_new(&p);
	ip_of("10.0.0.1", ip);
	assert_int_equal(bans_add(b, ip, NOW, NOW + 1, SN_BAN_MANUAL), 0);
	ip_of("192.0.2.1", ip);
	assert_int_equal(bans_add(b, ip, NOW, NOW + 1, SN_BAN_MANUAL), 0);
	ip_of("198.51.100.1", ip);
	assert_int_equal(bans_add(b, ip, NOW - 2, NOW, SN_BAN_MANUAL), 0);
	assert_false(judge(r, b, "10.0.0.1").is_refused);
	assert_int_equal(judge(r, b, "192.0.2.1").reason, SN_DROP_BLOCK);
	assert_int_equal(judge(r, b, "192.0.2.1").rule, 0);
	assert_int_equal(judge(r, b, "192.0.2.2").reason, SN_DROP_ACL);
	/* Over at this very moment. */
	assert_false(judge(r, b, "198.51.100.1").is_refused);
	rules_free(r);
	bans_free(b);
	plan_fini(&p);
}

static void test_monitor_refuses_nobody(void **state)
{
	struct fastpath_plan p = { .is_monitor = true };
	struct rules *r;

	(void)state;
	add(&p, SN_ACL_DENY, "192.0.2.0", 24);
	r = rules_new(&p);
	assert_int_equal(judge(r, NULL, "192.0.2.1").reason, SN_DROP_ACL);
	assert_false(judge(r, NULL, "192.0.2.1").is_refused);
	rules_free(r);
	plan_fini(&p);
}

static void test_heartbeat_ages(void **state)
{
	(void)state;
	assert_false(sn_heartbeat_is_fresh(0, NOW));
	assert_true(sn_heartbeat_is_fresh(NOW, NOW));
	assert_true(sn_heartbeat_is_fresh(NOW + 5, NOW));
	assert_true(sn_heartbeat_is_fresh(NOW - SN_HEARTBEAT_MAX_NS, NOW));
	assert_false(sn_heartbeat_is_fresh(NOW - SN_HEARTBEAT_MAX_NS - 1, NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_rules_refuse_nobody),
		cmocka_unit_test(test_most_specific_prefix_wins),
		cmocka_unit_test(test_families_do_not_mix),
		cmocka_unit_test(test_bans_yield_to_allow_only),
		cmocka_unit_test(test_monitor_refuses_nobody),
		cmocka_unit_test(test_heartbeat_ages),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
