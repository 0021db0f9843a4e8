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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ban_holds_until_removed),
		cmocka_unit_test(test_refuses_a_ban_that_is_over),
		cmocka_unit_test(test_again_is_a_strike),
		cmocka_unit_test(test_ipv6_is_banned_by_its_network),
		cmocka_unit_test(test_expires_what_is_over),
		cmocka_unit_test(test_is_full_at_its_limit),
		cmocka_unit_test(test_workers_read_while_control_writes),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
