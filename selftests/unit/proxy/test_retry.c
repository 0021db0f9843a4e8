/* SPDX-License-Identifier: GPL-2.0-only */
/* test_retry.c - when a failed attempt may be made once more, and that retries cannot storm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/check.h"
#include "proxy/retry.h"

#define NO	   FAILURE_RETRY_NO
#define IDEMPOTENT FAILURE_RETRY_IDEMPOTENT
#define ALWAYS	   FAILURE_RETRY_ALWAYS

static void test_decision(void **state)
{
	static const struct {
		const char *what;
		struct retry_question
			q; /* failure, idempotent, opt-in, written, replayable, response, attempts, most */
		bool expected;
	} rows[] = {
		{ "connect failure, any method", { ALWAYS, false, false, false, true, false, 1, 2 }, true },
		{ "refused stream, body written", { ALWAYS, false, false, true, true, false, 1, 2 }, true },
		{ "no attempt left", { ALWAYS, true, false, false, true, false, 2, 2 }, false },
		{ "retries are off", { ALWAYS, true, false, false, true, false, 1, 1 }, false },
		{ "the failure is final", { NO, true, true, false, true, false, 1, 9 }, false },
		{ "reset of a GET", { IDEMPOTENT, true, false, true, true, false, 1, 2 }, true },
		{ "reset of a POST", { IDEMPOTENT, false, false, true, true, false, 1, 2 }, false },
		{ "reset of a POST, route opts in", { IDEMPOTENT, false, true, true, true, false, 1, 2 }, true },
		{ "reset of a POST before a byte", { IDEMPOTENT, false, false, false, true, false, 1, 2 }, true },
		{ "body is gone", { IDEMPOTENT, true, true, true, false, false, 1, 2 }, false },
		{ "body is gone, connect failure", { ALWAYS, true, true, false, false, false, 1, 2 }, false },
		{ "a response began", { IDEMPOTENT, true, true, true, true, true, 1, 2 }, false },
		{ "third of three", { IDEMPOTENT, true, false, true, true, false, 2, 3 }, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		if (retry_is_allowed(&rows[i].q) != rows[i].expected)
			fail_msg("%s", rows[i].what);
}

static unsigned take_all(struct retry_budget *b, unsigned percent, uint64_t now_ms)
{
	unsigned taken = 0;

	while (retry_budget_take(b, percent, now_ms)) {
		taken++;
		assert_in_range(taken, 0, 1000000);
	}
	return taken;
}

static void test_budget_is_a_share_of_requests(void **state)
{
	struct retry_budget b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 5000; i++)
		retry_budget_request(&b, 1000);
	assert_int_equal(take_all(&b, 20, 1000), 1000);
	assert_int_equal(take_all(&b, 20, 9000), 0);
	assert_int_equal(take_all(&b, 30, 9000), 500); /* another route's share counts what was taken */
	for (unsigned i = 0; i < 5000; i++)
		retry_budget_request(&b, 9500);
	assert_int_equal(take_all(&b, 20, 9500), 500);
}

static void test_budget_of_a_quiet_site(void **state)
{
	struct retry_budget b = { 0 };

	(void)state;
	assert_int_equal(take_all(&b, 20, 5), RETRY_MIN);
	assert_int_equal(take_all(&b, 0, 5), 0);
}

static void test_budget_forgets_after_two_windows(void **state)
{
	struct retry_budget b = { 0 };

	(void)state;
	for (unsigned i = 0; i < 10000; i++)
		retry_budget_request(&b, 0);
	assert_int_equal(take_all(&b, 20, 0), 2000);
	assert_int_equal(take_all(&b, 20, RETRY_WINDOW_MS), 0);		    /* the window before still counts */
	assert_int_equal(take_all(&b, 20, 2 * RETRY_WINDOW_MS), RETRY_MIN); /* its requests and retries are gone */
	for (unsigned i = 0; i < 1000; i++)
		retry_budget_request(&b, 100 * RETRY_WINDOW_MS);
	assert_int_equal(take_all(&b, 20, 100 * RETRY_WINDOW_MS), 200);
	assert_int_equal(take_all(&b, 0, 200 * RETRY_WINDOW_MS), 0);
}

static void *take_some(void *arg)
{
	uintptr_t taken = 0;

	for (unsigned i = 0; i < 20000; i++)
		taken += retry_budget_take(arg, 20, 1000);
	return (void *)taken;
}

static void test_budget_is_never_exceeded_by_threads(void **state)
{
	struct retry_budget b = { 0 };
	pthread_t threads[4];
	uintptr_t taken = 0;

	(void)state;
	for (unsigned i = 0; i < 50000; i++)
		retry_budget_request(&b, 1000);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_some, &b), 0);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++) {
		void *count;

		pthread_join(threads[i], &count);
		taken += (uintptr_t)count;
	}
	taken += take_all(&b, 20, 1000);
	assert_int_equal(taken, 10000);
}

static void test_backoff_doubles_to_its_limit_and_is_jittered(void **state)
{
	static const uint64_t whole[] = { 100, 100, 200, 400, 800, 1000, 1000 };

	(void)state;
	for (unsigned attempts = 0; attempts < ARRAY_LEN(whole); attempts++) {
		uint64_t least = UINT64_MAX, most = 0;

		for (unsigned i = 0; i < 2000; i++) {
			uint64_t wait = retry_backoff_ms(100, 1000, attempts);

			least = MIN(least, wait);
			most = MAX(most, wait);
		}
		assert_in_range(least, whole[attempts] / 2, whole[attempts] * 6 / 10);
		assert_in_range(most, whole[attempts] * 9 / 10, whole[attempts]);
	}
	assert_in_range(retry_backoff_ms(100, 1000, 4000000000u), 500, 1000);
	assert_in_range(retry_backoff_ms(0, 0, 3), 0, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decision),
		cmocka_unit_test(test_budget_is_a_share_of_requests),
		cmocka_unit_test(test_budget_of_a_quiet_site),
		cmocka_unit_test(test_budget_forgets_after_two_windows),
		cmocka_unit_test(test_budget_is_never_exceeded_by_threads),
		cmocka_unit_test(test_backoff_doubles_to_its_limit_and_is_jittered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
