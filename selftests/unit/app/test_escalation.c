/* SPDX-License-Identifier: GPL-2.0-only */
/* test_escalation.c - who is to be banned: counts, windows, crowds, bounds, and many workers at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "app/escalation.h"
#include "base/check.h"
#include "base/span.h"

#define SECOND 1000000000ull
#define START (1000 * SECOND)

static struct escalation *make(uint32_t after, uint64_t within_s, uint32_t per_second)
{
	const struct escalation_policy p = { .after = after, .within_ns = within_s * SECOND, .per_second = per_second };
	struct escalation *e = escalation_new();

	escalation_set(e, &p);
	return e;
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_ip(span_str(text), &a), 0);
	return a;
}

static enum escalation_verdict refuse(struct escalation *e, const char *client, uint64_t limit, uint64_t others,
				      uint64_t now)
{
	const struct addr a = address(client);

	return escalation_refused(e, &(struct refusal){ .client = &a, .reason = "rate-limit", .limit = limit,
							.others = others }, now);
}

static void admit(struct escalation *e, const char *client, uint64_t limit, uint64_t others, uint64_t now)
{
	const struct addr a = address(client);

	escalation_admitted(e, &(struct refusal){ .client = &a, .limit = limit, .others = others }, now);
}

static void test_enough_refusals_in_time(void **state)
{
	struct escalation *e = make(5, 10, 1000);
	int i;

	(void)state;
	for (i = 0; i < 4; i++)
		assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + (uint64_t)i * SECOND), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.2", 1, 0, START + 4 * SECOND), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + 4 * SECOND), ESCALATION_BAN);
	/* From the beginning again. */
	for (i = 0; i < 4; i++)
		assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + 5 * SECOND), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + 5 * SECOND), ESCALATION_BAN);
	escalation_free(e);
}

/* Loops of workers read their clocks at different times: one may know what another has admitted a moment later. */
static void test_worker_whose_clock_is_behind(void **state)
{
	struct escalation *e = make(2, 10, 1);

	(void)state;
	admit(e, "192.0.2.1", 7, 100, START + 1000);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 200, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 200, START), ESCALATION_SHARED);
	/* One ban a second, whoever's second it is. */
	(void)refuse(e, "192.0.2.2", 1, 0, START + 2 * SECOND);
	assert_int_equal(refuse(e, "192.0.2.2", 1, 0, START + 2 * SECOND), ESCALATION_BAN);
	(void)refuse(e, "192.0.2.3", 1, 0, START + 2 * SECOND - 1);
	assert_int_equal(refuse(e, "192.0.2.3", 1, 0, START + 2 * SECOND - 1), ESCALATION_NOTHING);
	escalation_free(e);
}

static void test_refusals_that_are_too_old_do_not_count(void **state)
{
	struct escalation *e = make(3, 10, 1000);
	int i;

	(void)state;
	/* Two in each ten seconds, for ever. */
	for (i = 0; i < 100; i++)
		assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + (uint64_t)i * 5 * SECOND), ESCALATION_NOTHING);
	escalation_free(e);
}

static void test_ipv6_counts_by_its_network(void **state)
{
	struct escalation *e = make(2, 10, 1000);

	(void)state;
	assert_int_equal(refuse(e, "2001:db8:0:1::1", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "2001:db8:0:2::1", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "2001:db8:0:1:ffff::9", 1, 0, START), ESCALATION_BAN);
	escalation_free(e);
}

static void test_loopback_is_never_counted(void **state)
{
	struct escalation *e = make(1, 10, 1000);

	(void)state;
	assert_int_equal(refuse(e, "127.0.0.9", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "::1", 1, 0, START), ESCALATION_NOTHING);
	escalation_free(e);
}

static void test_share_of_all_requests(void **state)
{
	struct escalation *e = make(2, 10, 1000);
	char client[32];
	int i;

	(void)state;
	/* 11 of 110 are a tenth, and not more. */
	for (i = 0; i < 99; i++) {
		(void)snprintf(client, sizeof(client), "10.0.0.%d", i + 1);
		admit(e, client, 0, 0, START);
	}
	for (i = 0; i < 11; i++)
		admit(e, "192.0.2.1", 0, 0, START);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_BAN);
	/* 12 of 111 are; it is told once. */
	admit(e, "192.0.2.1", 0, 0, START);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_SHARED);
	for (i = 0; i < 10; i++)
		assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	/* A minute later nobody was admitted any more. */
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + 70 * SECOND), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START + 70 * SECOND), ESCALATION_BAN);
	escalation_free(e);
}

static void test_a_few_requests_are_no_crowd(void **state)
{
	struct escalation *e = make(2, 10, 1000);
	int i;

	(void)state;
	for (i = 0; i < ESCALATION_SHARE_MIN - 1; i++)
		admit(e, "192.0.2.1", 0, 0, START);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_BAN);
	escalation_free(e);
}

static void test_other_values_of_the_key(void **state)
{
	struct escalation *e = make(2, 10, 1000);
	int i;

	(void)state;
	/* The same user is admitted and refused: that is one person. */
	admit(e, "192.0.2.1", 7, 100, START);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 100, START), ESCALATION_NOTHING);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 100, START), ESCALATION_BAN);
	/* Another user of another limit is nothing that this limit knows of. */
	admit(e, "192.0.2.1", 8, 200, START);
	(void)refuse(e, "192.0.2.1", 7, 100, START);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 100, START), ESCALATION_BAN);
	/* Another user of this one is; many limits do not push it out. */
	admit(e, "192.0.2.1", 7, 200, START);
	for (i = 0; i < 50; i++)
		admit(e, "192.0.2.1", 8, 1000 + (uint64_t)i, START);
	(void)refuse(e, "192.0.2.1", 7, 100, START);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 100, START), ESCALATION_SHARED);
	/* For a minute. */
	(void)refuse(e, "192.0.2.1", 7, 100, START + 61 * SECOND);
	assert_int_equal(refuse(e, "192.0.2.1", 7, 100, START + 61 * SECOND), ESCALATION_BAN);
	escalation_free(e);
}

static void test_bans_a_second_are_bounded(void **state)
{
	struct escalation *e = make(1, 10, 3);
	char client[32];
	int i, bans = 0;

	(void)state;
	for (i = 0; i < 100; i++) {
		(void)snprintf(client, sizeof(client), "10.0.1.%d", i + 1);
		bans += refuse(e, client, 1, 0, START) == ESCALATION_BAN;
	}
	assert_int_equal(bans, 3);
	assert_int_equal(refuse(e, "10.0.1.100", 1, 0, START + SECOND), ESCALATION_BAN);
	escalation_free(e);
}

static void test_off_and_on(void **state)
{
	struct escalation *e = make(2, 10, 1000);
	const struct escalation_policy same = { 2, 10 * SECOND, 5 }, other = { 2, 20 * SECOND, 5 };

	(void)state;
	(void)refuse(e, "192.0.2.1", 1, 0, START);
	escalation_set(e, &same); /* a reload forgets nothing */
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_BAN);
	(void)refuse(e, "192.0.2.1", 1, 0, START);
	escalation_set(e, &other);
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	escalation_set(e, NULL);
	assert_false(escalation_is_on(e));
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_NOTHING);
	admit(e, "192.0.2.1", 0, 0, START);
	escalation_free(e);
}

static void test_a_million_clients_need_no_more_memory(void **state)
{
	struct escalation *e = make(3, 10, 1000);
	char client[INET6_ADDRSTRLEN];
	int i;

	(void)state;
	(void)refuse(e, "192.0.2.1", 1, 0, START);
	(void)refuse(e, "192.0.2.1", 1, 0, START);
	for (i = 0; i < 1000000; i++) {
		(void)snprintf(client, sizeof(client), "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
		admit(e, client, 0, 0, START);
	}
	/* Whoever was refused stays: others had to make room. */
	assert_int_equal(refuse(e, "192.0.2.1", 1, 0, START), ESCALATION_BAN);
	escalation_free(e);
}

struct racer {
	struct escalation *escalation;
	unsigned bans;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	for (int i = 0; i < 10000; i++) {
		r->bans += refuse(r->escalation, "192.0.2.1", 1, 0, START) == ESCALATION_BAN;
		admit(r->escalation, "192.0.2.2", 0, 0, START);
	}
	return NULL;
}

static void test_workers_count_together(void **state)
{
	struct racer r[4];
	struct escalation *e = make(100, 10, 100000);
	pthread_t threads[4];
	unsigned i, bans = 0;

	(void)state;
	for (i = 0; i < 4; i++) {
		r[i] = (struct racer){ e, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, race, &r[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		bans += r[i].bans;
	}
	/* 40,000 refusals are 400 times 100; two workers may see the hundredth at once. */
	assert_in_range(bans, 1, 800);
	escalation_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enough_refusals_in_time),
		cmocka_unit_test(test_worker_whose_clock_is_behind),
		cmocka_unit_test(test_refusals_that_are_too_old_do_not_count),
		cmocka_unit_test(test_ipv6_counts_by_its_network),
		cmocka_unit_test(test_loopback_is_never_counted),
		cmocka_unit_test(test_share_of_all_requests),
		cmocka_unit_test(test_a_few_requests_are_no_crowd),
		cmocka_unit_test(test_other_values_of_the_key),
		cmocka_unit_test(test_bans_a_second_are_bounded),
		cmocka_unit_test(test_off_and_on),
		cmocka_unit_test(test_a_million_clients_need_no_more_memory),
		cmocka_unit_test(test_workers_count_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
