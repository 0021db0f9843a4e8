/* SPDX-License-Identifier: GPL-2.0-only */
/* test_bans.c - the table of bans without a kernel's map, alone and between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "fastpath/bans.h"
#include "sentinel/abi.h"

static void v4(uint8_t out_ip[16], uint32_t host)
{
	memset(out_ip, 0, 16);
	out_ip[10] = out_ip[11] = 0xff;
	memcpy(out_ip + 12, &host, sizeof(host));
}

static void test_ban_holds_until_removed(void **state)
{
	struct bans *b = bans_new();
	uint8_t ip[16], other[16];

	(void)state;
	v4(ip, 1);
	v4(other, 2);
	assert_int_equal(bans_until(b, ip), 0);
	assert_int_equal(bans_add(b, ip, 100, SN_FOREVER, SN_BAN_MANUAL), 0);
	assert_true(bans_until(b, ip) == SN_FOREVER);
	assert_int_equal(bans_until(b, other), 0);
	assert_int_equal(bans_remove(b, other, 0), -ENOENT);
	assert_int_equal(bans_remove(b, ip, 0), 0);
	assert_int_equal(bans_until(b, ip), 0);
	assert_int_equal(bans_count(b), 0);
	bans_free(b);
	bans_free(NULL);
}

static void test_refuses_a_ban_that_is_over(void **state)
{
	struct bans *b = bans_new();
	uint8_t ip[16];

	(void)state;
	v4(ip, 1);
	assert_int_equal(bans_add(b, ip, 100, 100, SN_BAN_MANUAL), -EINVAL);
	assert_int_equal(bans_add(b, ip, 100, 99, SN_BAN_MANUAL), -EINVAL);
	assert_int_equal(bans_count(b), 0);
	bans_free(b);
}

static void test_again_is_a_strike(void **state)
{
	struct bans *b = bans_new();
	struct ban *list;
	uint8_t ip[16];
	size_t count;

	(void)state;
	v4(ip, 1);
	assert_int_equal(bans_add(b, ip, 100, 200, SN_BAN_MANUAL), 0);
	assert_int_equal(bans_add(b, ip, 150, 400, SN_BAN_MANUAL), 0);
	list = bans_list(b, 0, &count);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].since_ns, 100);
	assert_int_equal(list[0].until_ns, 400);
	assert_int_equal(list[0].strikes, 2);
	assert_string_equal(bans_why_name(list[0].why), "manual");
	assert_string_equal(bans_why_name(999), "unknown");
	free(list);
	bans_free(b);
}

static void test_ipv6_is_banned_by_its_network(void **state)
{
	const uint8_t ip[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9 };
	const uint8_t neighbour[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1 };
	const uint8_t other[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9 };
	struct bans *b = bans_new();

	(void)state;
	assert_int_equal(bans_add(b, ip, 1, 2, SN_BAN_MANUAL), 0);
	assert_int_equal(bans_until(b, neighbour), 2);
	assert_int_equal(bans_until(b, other), 0);
	assert_int_equal(bans_remove(b, neighbour, 0), 0);
	assert_int_equal(bans_until(b, ip), 0);
	bans_free(b);
}

static void test_expires_what_is_over(void **state)
{
	struct bans *b = bans_new();
	uint8_t ip[16];
	uint32_t i;
	size_t count;

	(void)state;
	for (i = 0; i < 1000; i++) {
		v4(ip, i);
		assert_int_equal(bans_add(b, ip, 1, 2 + i, SN_BAN_MANUAL), 0);
	}
	assert_int_equal(bans_expire(b, 1), 0);
	assert_int_equal(bans_expire(b, 501), 500);
	assert_int_equal(bans_count(b), 500);
	v4(ip, 499);
	assert_int_equal(bans_until(b, ip), 0);
	v4(ip, 500);
	assert_int_equal(bans_until(b, ip), 502);
	assert_int_equal(bans_expire(b, SN_FOREVER - 1), 500);
	assert_null(bans_list(b, 0, &count));
	assert_int_equal(count, 0);
	bans_free(b);
}

static void test_is_full_at_its_limit(void **state)
{
	struct bans *b = bans_new();
	uint8_t ip[16];
	uint32_t i;

	(void)state;
	for (i = 0; i < SN_BLOCK_MAX; i++) {
		v4(ip, i);
		assert_int_equal(bans_add(b, ip, 1, 2, SN_BAN_MANUAL), 0);
	}
	v4(ip, i);
	assert_int_equal(bans_add(b, ip, 1, 2, SN_BAN_MANUAL), -ENOSPC);
	/* One that is in can still be prolonged. */
	v4(ip, 7);
	assert_int_equal(bans_add(b, ip, 1, 3, SN_BAN_MANUAL), 0);
	bans_free(b);
}

struct reader {
	struct bans *bans;
	_Atomic bool is_done;
	unsigned seen;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	uint8_t ip[16];
	uint32_t i;

	for (i = 0; !atomic_load(&r->is_done); i++) {
		uint64_t until;

		v4(ip, i % 64);
		until = bans_until(r->bans, ip);
		/* Whole or absent, never a mixture. */
		assert_true(until == 0 || until == 1000 + i % 64);
		r->seen += until != 0;
	}
	return NULL;
}

static void test_workers_read_while_control_writes(void **state)
{
	struct reader r = { .bans = bans_new() };
	pthread_t thread;
	uint8_t ip[16];
	uint32_t i;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
	for (i = 0; i < 20000; i++) {
		v4(ip, i % 64);
		if (i / 64 % 2)
			assert_int_equal(bans_remove(r.bans, ip, 0), 0);
		else
			assert_int_equal(bans_add(r.bans, ip, 1, 1000 + i % 64, SN_BAN_MANUAL), 0);
	}
	atomic_store(&r.is_done, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	bans_free(r.bans);
}

static struct ban only(struct bans *b, uint64_t now)
{
	size_t count;
	struct ban *list = bans_list(b, now, &count), one;

	assert_int_equal(count, 1);
	one = list[0];
	free(list);
	return one;
}

static void test_each_automatic_ban_is_twice_as_long(void **state)
{
	const struct bans_policy p = { .first_ns = 60, .max_ns = 200 };
	struct bans *b = bans_new();
	uint8_t ip[16];

	(void)state;
	v4(ip, 1);
	bans_remember(b, p.max_ns);
	assert_int_equal(bans_punish(b, ip, 1000, &p, SN_BAN_GEO), 0);
	assert_int_equal(bans_until(b, ip), 1060);
	assert_int_equal(bans_punish(b, ip, 1059, &p, SN_BAN_GEO), -EALREADY);
	assert_int_equal(only(b, 1059).strikes, 1);
	assert_null(bans_list(b, 1060, &(size_t){ 0 }));
	assert_int_equal(bans_punish(b, ip, 1060, &p, SN_BAN_RATE_LIMIT), 0);
	assert_int_equal(bans_until(b, ip), 1180);
	assert_int_equal(only(b, 1100).since_ns, 1060);
	assert_int_equal(bans_punish(b, ip, 1200, &p, SN_BAN_RATE_LIMIT), 0);
	assert_int_equal(bans_until(b, ip), 1400);
	/* It is remembered for the longest time after its end, ... */
	assert_int_equal(bans_expire(b, 1599), 0);
	assert_int_equal(bans_punish(b, ip, 1599, &p, SN_BAN_AGENT | SN_BAN_NAMED), 0);
	assert_int_equal(only(b, 1600).strikes, 4);
	assert_string_equal(bans_why_name(only(b, 1600).why), "agent");
	/* ... and then forgotten. */
	assert_int_equal(bans_expire(b, 1599 + 200 + 200), 1);
	assert_int_equal(bans_punish(b, ip, 3000, &p, SN_BAN_GEO), 0);
	assert_int_equal(bans_until(b, ip), 3060);
	/* Whoever lifts a ban forgives. */
	assert_int_equal(bans_remove(b, ip, 3001), 0);
	assert_int_equal(bans_punish(b, ip, 3002, &p, SN_BAN_GEO), 0);
	assert_int_equal(bans_until(b, ip), 3062);
	/* One that is over is not there, and is forgiven too. */
	assert_int_equal(bans_remove(b, ip, 3062), -ENOENT);
	assert_int_equal(bans_count(b), 0);
	bans_free(b);
}

static void test_bans_by_hand_are_not_touched(void **state)
{
	const struct bans_policy p = { .first_ns = 60, .max_ns = 200 };
	struct bans *b = bans_new();
	uint8_t ip[16];

	(void)state;
	v4(ip, 1);
	bans_remember(b, 200);
	assert_int_equal(bans_add(b, ip, 1, 5000, SN_BAN_MANUAL), 0);
	assert_int_equal(bans_punish(b, ip, 100, &p, SN_BAN_GEO), -EALREADY);
	assert_int_equal(bans_until(b, ip), 5000);
	assert_int_equal(bans_punish(b, ip, 5000, &p, SN_BAN_GEO), 0);
	assert_int_equal(only(b, 5001).strikes, 1);
	bans_free(b);
}

static void numbered(uint8_t ip[16], unsigned n)
{
	v4(ip, 0);
	ip[12] = 10;
	ip[13] = (uint8_t)(n >> 16);
	ip[14] = (uint8_t)(n >> 8);
	ip[15] = (uint8_t)n;
}

static void test_full_table_gives_up_the_soonest_automatic_ban(void **state)
{
	const struct bans_policy p = { .first_ns = 1000, .max_ns = 1000 };
	struct bans *b = bans_new();
	uint8_t ip[16], manual[16];
	unsigned i;

	(void)state;
	v4(manual, 1);
	assert_int_equal(bans_add(b, manual, 1, 2, SN_BAN_MANUAL), 0);
	for (i = 0; i < SN_BLOCK_MAX - 1; i++) {
		numbered(ip, i);
		/* Not in the order of their ends. */
		assert_int_equal(bans_punish(b, ip, 100 + i * 7919u % SN_BLOCK_MAX, &p, SN_BAN_GEO), 0);
	}
	assert_int_equal(bans_count(b), SN_BLOCK_MAX);
	for (i = 0; i < 1000; i++) {
		numbered(ip, 100000 + i);
		assert_int_equal(bans_punish(b, ip, 100 + SN_BLOCK_MAX, &p, SN_BAN_GEO), 0);
	}
	assert_int_equal(bans_count(b), SN_BLOCK_MAX);
	assert_int_equal(bans_until(b, manual), 2);
	/* Gone are those whose ends were the thousand soonest, and nobody else. */
	for (i = 0; i < SN_BLOCK_MAX - 1; i++) {
		unsigned end = i * 7919u % SN_BLOCK_MAX;

		numbered(ip, i);
		if (end < 999)
			assert_int_equal(bans_until(b, ip), 0);
		else if (end > 1001)
			assert_int_equal(bans_until(b, ip), 1100 + end);
	}
	/* By hand there is room as well. */
	numbered(ip, 200000);
	assert_int_equal(bans_add(b, ip, 1, 1000000, SN_BAN_MANUAL), 0);
	bans_free(b);
}

static void test_full_of_bans_by_hand(void **state)
{
	const struct bans_policy p = { .first_ns = 1000, .max_ns = 1000 };
	struct bans *b = bans_new();
	uint8_t ip[16];
	unsigned i;

	(void)state;
	for (i = 0; i < SN_BLOCK_MAX; i++) {
		numbered(ip, i);
		assert_int_equal(bans_add(b, ip, 1, 1000, SN_BAN_MANUAL), 0);
	}
	numbered(ip, 100000);
	assert_int_equal(bans_punish(b, ip, 1, &p, SN_BAN_GEO), -ENOSPC);
	assert_int_equal(bans_add(b, ip, 1, 1000, SN_BAN_MANUAL), -ENOSPC);
	assert_int_equal(bans_expire(b, 1000), SN_BLOCK_MAX);
	assert_int_equal(bans_punish(b, ip, 1000, &p, SN_BAN_GEO), 0);
	bans_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ban_holds_until_removed),
		cmocka_unit_test(test_refuses_a_ban_that_is_over),
		cmocka_unit_test(test_again_is_a_strike),
		cmocka_unit_test(test_each_automatic_ban_is_twice_as_long),
		cmocka_unit_test(test_bans_by_hand_are_not_touched),
		cmocka_unit_test(test_full_table_gives_up_the_soonest_automatic_ban),
		cmocka_unit_test(test_full_of_bans_by_hand),
		cmocka_unit_test(test_ipv6_is_banned_by_its_network),
		cmocka_unit_test(test_expires_what_is_over),
		cmocka_unit_test(test_is_full_at_its_limit),
		cmocka_unit_test(test_workers_read_while_control_writes),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
