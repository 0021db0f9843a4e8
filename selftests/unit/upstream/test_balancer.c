/* SPDX-License-Identifier: GPL-2.0-only */
/* test_balancer.c - the load-balancing algorithms against a deliberately naive referee. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/rand.h"
#include "upstream/bitmap.h"
#include "upstream/upstream.h"

#define ENDPOINTS 130 /* more than two words of a bitmap */

static struct endpoint_registry registry;
static struct endpoint *endpoints[ENDPOINTS];
static unsigned weights[ENDPOINTS];
static struct upstream upstream;
static struct upstream_worker worker;
static struct arena arena;

static int setup(void **state)
{
	char name[32];

	(void)state;
	hash_init();
	arena_init(&arena, 4096);
	endpoint_registry_init(&registry);
	for (unsigned i = 0; i < ENDPOINTS; i++) {
		snprintf(name, sizeof(name), "127.0.0.1:%u", i + 1);
		endpoints[i] = endpoint_get(&registry, name);
		weights[i] = 1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ENDPOINTS; i++)
		endpoint_put(&registry, endpoints[i]);
	endpoint_registry_fini(&registry);
	arena_fini(&arena);
	return 0;
}

static void worker_make(const char *balancer, unsigned count)
{
	upstream = (struct upstream){
		.id = "u",
		.endpoints = endpoints,
		.weights = weights,
		.endpoint_count = count,
		.balancer = balancer_find(balancer),
	};
	assert_non_null(upstream.balancer);
	upstream_worker_init(&worker, &upstream, &arena);
}

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(balancer_find("round_robin"), &lb_round_robin);
	assert_ptr_equal(balancer_find("round-robin"), &lb_round_robin);
	assert_ptr_equal(balancer_find("RoundRobin"), &lb_round_robin);
	assert_ptr_equal(balancer_find("weighted"), &lb_round_robin);
	assert_ptr_equal(balancer_find("weighted-round_robin"), &lb_round_robin);
	assert_ptr_equal(balancer_find("least-connections"), &lb_least_connections);
	assert_ptr_equal(balancer_find("leastconnections"), &lb_least_connections);
	assert_ptr_equal(balancer_find("p2c"), &lb_random_two);
	assert_ptr_equal(balancer_find("power-of-two-choices"), &lb_random_two);
	assert_ptr_equal(balancer_find("random-of-two"), &lb_random_two);
	assert_ptr_equal(balancer_find("random"), &lb_random);
	assert_null(balancer_find("maglev"));
	assert_null(balancer_find("round"));
	assert_null(balancer_find(""));
	assert_true(balancer_is_later("maglev"));
	assert_true(balancer_is_later("ip-hash"));
	assert_true(balancer_is_later("sticky"));
	assert_true(balancer_is_later("wlc"));
	assert_false(balancer_is_later("round_robin"));
	assert_false(balancer_is_later("robin"));
	for (size_t i = 0; balancer_at(i); i++)
		assert_ptr_equal(balancer_find(balancer_at(i)->name), balancer_at(i));
}

static void test_equal_weights_take_turns(void **state)
{
	int first, next;

	(void)state;
	worker_make("round_robin", 5);
	first = upstream_pick(&worker, NULL, NULL);
	for (int i = 1; i < 12; i++) {
		next = upstream_pick(&worker, NULL, NULL);
		assert_int_equal(next, (first + i) % 5);
	}
}

/* Over one sum of weights each gets exactly its weight, and nobody gets two more in a row than it must. */
static void test_weights_are_exact_and_smooth(void **state)
{
	static const unsigned w[] = { 5, 1, 1, 0, 3 };
	unsigned total = 10, counts[5] = { 0 }, run = 0, run_max = 0;
	int last = -1;

	(void)state;
	memcpy(weights, w, sizeof(w));
	worker_make("weighted", 5);
	for (unsigned i = 0; i < 3 * total; i++) {
		int index = upstream_pick(&worker, NULL, NULL);

		counts[index]++;
		run = index == last ? run + 1 : 1;
		run_max = MAX(run_max, run);
		last = index;
	}
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(counts[i], 3 * w[i]);
	assert_in_range(run_max, 1, 2);
}

/* The referee: a list of credits, everything looked at, nothing clever. */
struct referee {
	long credit[ENDPOINTS];
};

static unsigned referee_pick(struct referee *r, unsigned count, const bool *usable)
{
	long total = 0;
	int best = -1;

	for (unsigned i = 0; i < count; i++) {
		if (!usable[i] || !weights[i])
			continue;
		total += weights[i];
		r->credit[i] += weights[i];
		if (best < 0 || r->credit[i] > r->credit[best])
			best = (int)i;
	}
	r->credit[best] -= total;
	return (unsigned)best;
}

/* The worker starts somewhere in the referee's cycle; then both agree, also when targets go and come. */
static void test_weighted_round_robin_agrees_with_the_referee(void **state)
{
	static const unsigned w[] = { 7, 2, 2, 9, 0, 4 };
	struct referee referee = { 0 };
	bool usable[6] = { true, true, true, true, true, true };
	const int64_t *credit;

	(void)state;
	memcpy(weights, w, sizeof(w));
	worker_make("weighted", 6);
	credit = (const int64_t *)worker.balancer_state + 1;
	for (unsigned i = 0; i < 6; i++)
		referee.credit[i] = (long)credit[i];
	for (unsigned round = 0; round < 2000; round++) {
		if (round % 50 == 49) {
			unsigned i = rand_below(6);

			usable[i] = !usable[i];
			endpoint_set_health(endpoints[i], usable[i] ? ENDPOINT_UP : ENDPOINT_DOWN);
		}
		if (!usable[0] && !usable[1] && !usable[2] && !usable[3] && !usable[5]) {
			assert_int_equal(upstream_pick(&worker, NULL, NULL), -1);
			continue;
		}
		assert_int_equal(upstream_pick(&worker, NULL, NULL), referee_pick(&referee, 6, usable));
	}
}

static void test_least_connections_finds_the_least_loaded(void **state)
{
	(void)state;
	weights[1] = 4;
	worker_make("least_connections", 100);
	for (unsigned round = 0; round < 500; round++) {
		int got;

		for (unsigned i = 0; i < 100; i++)
			worker.active[i] = rand_below(20);
		got = upstream_pick(&worker, NULL, NULL);
		for (unsigned i = 0; i < 100; i++)
			assert_true((double)(worker.active[got] + 1) / weights[got] <=
				    (double)(worker.active[i] + 1) / weights[i]);
	}
}

static void test_least_connections_of_equals_take_turns(void **state)
{
	bool seen[7] = { false };

	(void)state;
	worker_make("least_connections", 7);
	for (unsigned i = 0; i < 7; i++)
		seen[upstream_pick(&worker, NULL, NULL)] = true;
	for (unsigned i = 0; i < 7; i++)
		assert_true(seen[i]);
}

/* Requests that stay: all targets must end at the same load for their weight. */
static void test_load_that_stays_is_spread_by_weight(void **state)
{
	static const char *const names[] = { "least_connections", "round_robin" };

	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(names); n++) {
		weights[0] = 3;
		worker_make(names[n], 4);
		for (unsigned i = 0; i < 600; i++)
			upstream_begin(&worker, (unsigned)upstream_pick(&worker, NULL, NULL));
		assert_int_equal(worker.active[0], 300);
		for (unsigned i = 1; i < 4; i++)
			assert_int_equal(worker.active[i], 100);
	}
}

static void test_random_follows_the_weights(void **state)
{
	unsigned counts[8] = { 0 }, rounds = 80000;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		weights[i] = i; /* sum 28; endpoint 0 gets nothing */
	worker_make("random", 8);
	for (unsigned i = 0; i < rounds; i++)
		counts[upstream_pick(&worker, NULL, NULL)]++;
	assert_int_equal(counts[0], 0);
	for (unsigned i = 1; i < 8; i++) {
		double expected = (double)rounds * i / 28;

		assert_true(counts[i] > expected * 0.9 && counts[i] < expected * 1.1);
	}
}

/* The point of two choices: with requests that stay, the fullest target is hardly above the mean. */
static void test_two_choices_are_nearly_even(void **state)
{
	unsigned rounds = ENDPOINTS * 100, most_of_two = 0, most_of_one = 0;

	(void)state;
	worker_make("p2c", ENDPOINTS);
	for (unsigned i = 0; i < rounds; i++)
		upstream_begin(&worker, (unsigned)upstream_pick(&worker, NULL, NULL));
	for (unsigned i = 0; i < ENDPOINTS; i++)
		most_of_two = MAX(most_of_two, worker.active[i]);
	worker_make("random", ENDPOINTS);
	for (unsigned i = 0; i < rounds; i++)
		upstream_begin(&worker, (unsigned)upstream_pick(&worker, NULL, NULL));
	for (unsigned i = 0; i < ENDPOINTS; i++)
		most_of_one = MAX(most_of_one, worker.active[i]);
	assert_in_range(most_of_two, 100, 106);
	assert_in_range(most_of_one, 107, 200);
}

static void test_two_choices_avoid_the_loaded_one(void **state)
{
	(void)state;
	worker_make("random-of-two", 2);
	worker.active[0] = 5;
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(upstream_pick(&worker, NULL, NULL), 1);
	weights[0] = 100; /* (5 + 1) / 100 is less than 1 / 1 */
	worker_make("random-of-two", 2);
	worker.active[0] = 5;
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(upstream_pick(&worker, NULL, NULL), 0);
}

static void test_every_algorithm_picks_only_what_is_usable(void **state)
{
	uint64_t tried[3];

	(void)state;
	for (size_t b = 0; balancer_at(b); b++) {
		for (unsigned i = 0; i < ENDPOINTS; i++)
			weights[i] = i % 5;
		worker_make(balancer_at(b)->name, ENDPOINTS);
		for (unsigned round = 0; round < 300; round++) {
			bool has_untried = false;
			int got;

			memset(tried, 0, sizeof(tried));
			for (unsigned i = 0; i < ENDPOINTS; i++) {
				bool is_up = rand_below(20) == 0;

				endpoint_set_health(endpoints[i], is_up ? ENDPOINT_UP : ENDPOINT_DOWN);
				if (rand_below(2))
					bitmap_set(tried, i);
				else
					has_untried |= is_up && weights[i];
			}
			got = upstream_pick(&worker, NULL, tried);
			if (got < 0) {
				for (unsigned i = 0; i < ENDPOINTS; i++)
					assert_false(endpoint_is_usable(endpoints[i]) && weights[i]);
				continue;
			}
			assert_true(endpoint_is_usable(endpoints[got]) && weights[got]);
			assert_true(!has_untried || !bitmap_test(tried, (unsigned)got));
		}
	}
}

static void test_the_only_target_is_picked_again_though_tried(void **state)
{
	uint64_t tried[1] = { 1 };

	(void)state;
	for (size_t b = 0; balancer_at(b); b++) {
		worker_make(balancer_at(b)->name, 1);
		assert_int_equal(upstream_pick(&worker, NULL, tried), 0);
	}
}

static void test_no_usable_target(void **state)
{
	(void)state;
	for (size_t b = 0; balancer_at(b); b++) {
		weights[0] = weights[1] = 0;
		worker_make(balancer_at(b)->name, 2);
		assert_int_equal(upstream_pick(&worker, NULL, NULL), -1);
		weights[0] = 1;
		worker_make(balancer_at(b)->name, 2);
		assert_int_equal(upstream_pick(&worker, NULL, NULL), 0);
		endpoint_set_health(endpoints[0], ENDPOINT_DOWN);
		assert_int_equal(upstream_pick(&worker, NULL, NULL), -1);
		endpoint_set_health(endpoints[0], ENDPOINT_UP);
		assert_int_equal(upstream_pick(&worker, NULL, NULL), 0);
		worker_make(balancer_at(b)->name, 0);
		assert_int_equal(upstream_pick(&worker, NULL, NULL), -1);
	}
}

static void test_callers_own_counts_are_used(void **state)
{
	uint32_t active[3] = { 4, 0, 4 };
	struct balance_context context = { .active = active };

	(void)state;
	worker_make("least_connections", 3);
	upstream_begin(&worker, 1);
	assert_int_equal(upstream_pick(&worker, &context, NULL), 1);
	upstream_end(&worker, 1);
	assert_int_equal(worker.active[1], 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		TEST(test_equal_weights_take_turns),
		TEST(test_weights_are_exact_and_smooth),
		TEST(test_weighted_round_robin_agrees_with_the_referee),
		TEST(test_least_connections_finds_the_least_loaded),
		TEST(test_least_connections_of_equals_take_turns),
		TEST(test_load_that_stays_is_spread_by_weight),
		TEST(test_random_follows_the_weights),
		TEST(test_two_choices_are_nearly_even),
		TEST(test_two_choices_avoid_the_loaded_one),
		TEST(test_every_algorithm_picks_only_what_is_usable),
		TEST(test_the_only_target_is_picked_again_though_tried),
		TEST(test_no_usable_target),
		TEST(test_callers_own_counts_are_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
