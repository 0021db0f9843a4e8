/* SPDX-License-Identifier: GPL-2.0-only */
/* test_limits.c - buckets under a clock of the test: what they admit, over threads, over many keys, over reloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "limits/limits.h"

#define SECOND 1000000000ull
#define START  (100 * SECOND)

static struct limits limits;

static int setup(void **state)
{
	(void)state;
	limits_init(&limits);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	limits_fini(&limits);
	return 0;
}

static struct limit *make(const char *identity, uint64_t rate, uint64_t burst, uint64_t keys_max)
{
	struct limit_terms t = { .identity = identity, .scope = "route", .name = "limit", .keys_max = keys_max };

	assert_true(gcra_set(&t.gcra, rate, 1000, burst));
	return limit_get(&limits, &t);
}

static struct limit_key key_of(struct limit *l, uint64_t n)
{
	struct limit_key k = limit_key_begin(l);

	limit_key_add(&k, &n, sizeof(n));
	return k;
}

static bool take(struct limit *l, uint64_t key, uint64_t now)
{
	struct limit_decision d;

	limit_take(l, key_of(l, key), now, 0, &d);
	return d.is_admitted;
}

static unsigned take_many(struct limit *l, uint64_t key, uint64_t now, unsigned tries)
{
	unsigned n = 0;

	while (tries-- > 0)
		n += take(l, key, now);
	return n;
}

/* ---- one bucket ---- */

static void test_burst_then_rate(void **state)
{
	struct limit *l = make("a", 10, 5, 1000);

	(void)state;
	assert_int_equal(take_many(l, 1, START, 100), 5);
	assert_int_equal(take_many(l, 1, START + SECOND / 10 - 1, 100), 0);
	assert_int_equal(take_many(l, 1, START + SECOND / 10, 100), 1);
	assert_int_equal(take_many(l, 1, START + SECOND, 100), 5);
	assert_int_equal(take_many(l, 2, START + SECOND, 100), 5); /* another key's */
	limit_put(l);
}

static void test_numbers_that_are_reported(void **state)
{
	struct limit *l = make("a", 10, 3, 1000);
	struct limit_decision d;

	(void)state;
	for (unsigned left = 3; left-- > 0;) {
		limit_take(l, key_of(l, 1), START, 0, &d);
		assert_true(d.is_admitted && !d.is_shared);
		assert_int_equal(d.remaining, left);
		assert_int_equal(d.full_ns, (3 - left) * SECOND / 10);
	}
	limit_take(l, key_of(l, 1), START, 0, &d);
	assert_false(d.is_admitted);
	assert_int_equal(d.wait_ns, SECOND / 10);
	assert_int_equal(d.remaining, 0);
	limit_peek(l, key_of(l, 1), START + SECOND / 10, &d);
	assert_true(d.is_admitted && d.remaining == 1);
	assert_int_equal(take_many(l, 1, START + SECOND / 10, 2), 1); /* looking took nothing */
	limit_put(l);
}

/* Whoever comes once an interval is never refused, whatever the rate is; the clock may stand still or jump. */
static void test_well_paced_client_is_never_refused(void **state)
{
	static const uint64_t rates[] = { 1, 3, 7, 100, 333, 1000000 };

	(void)state;
	for (size_t r = 0; r < sizeof(rates) / sizeof(*rates); r++) {
		char name[32];
		uint64_t now = START;
		struct limit *l;

		(void)snprintf(name, sizeof(name), "rate %zu", r);
		l = make(name, rates[r], 1, 1000);
		for (unsigned i = 0; i < 20000; i++) {
			assert_true(take(l, 7, now));
			assert_false(take(l, 7, now + l->gcra.interval_ns - 1));
			now += l->gcra.interval_ns + (i % 5 == 0 ? rand_below(1000) : 0);
		}
		limit_put(l);
	}
}

static void test_delay_reserves_in_order(void **state)
{
	struct limit *l = make("a", 10, 2, 1000);
	struct limit_decision d;

	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		limit_take(l, key_of(l, 1), START, SECOND / 2, &d);
		assert_true(d.is_admitted);
		assert_int_equal(d.wait_ns, i < 2 ? 0 : (i - 1) * SECOND / 10);
	}
	limit_take(l, key_of(l, 1), START, SECOND / 2, &d);
	assert_false(d.is_admitted); /* it would wait 600 ms */
	limit_put(l);
}

static void test_token_goes_back(void **state)
{
	struct limit *l = make("a", 10, 1, 1000);
	struct limit_decision d, stale;

	(void)state;
	limit_take(l, key_of(l, 1), START, 0, &stale);
	limit_give_back(l, key_of(l, 1), START, &stale);
	assert_true(take(l, 1, START));
	limit_take(l, key_of(l, 1), START + 10 * SECOND, 0, &d);
	/* The bucket was full again since: nothing is owed. */
	limit_give_back(l, key_of(l, 1), START + 10 * SECOND, &stale);
	assert_false(take(l, 1, START + 10 * SECOND));
	limit_put(l);
}

static void test_bounds_of_a_rate(void **state)
{
	struct gcra g;

	(void)state;
	assert_false(gcra_set(&g, 0, 1000, 1));
	assert_false(gcra_set(&g, 1, 1000, 0));
	assert_false(gcra_set(&g, 1, UINT64_MAX, 1));
	assert_false(gcra_set(&g, 1, 86400000, 367));
	assert_true(gcra_set(&g, 1, 86400000, 366));
	assert_true(gcra_set(&g, 1000000000, 1000, 1) && g.interval_ns == 1);
	assert_true(gcra_set(&g, 3, 1000, 2) && g.interval_ns == 333333334);
	assert_true(gcra_set(&g, UINT64_MAX, 1000, 1) && g.interval_ns == 1);
	assert_false(gcra_set(&g, 1, 0, 1));
}

/* ---- identity ---- */

static void test_level_outlives_a_configuration(void **state)
{
	struct limit *l = make("a", 1, 5, 1000), *again, *other;

	(void)state;
	assert_int_equal(take_many(l, 1, START, 9), 5);
	limit_put(l); /* the old configuration goes, as with a reload that names the limit no more */
	limits_sweep(&limits, START);
	again = make("a", 1, 5, 1000);
	assert_ptr_equal(again, l);
	assert_int_equal(take_many(again, 1, START, 9), 0);
	other = make("b", 1, 5, 1000);
	assert_int_equal(take_many(other, 1, START, 9), 5);
	assert_true(other->number != again->number);
	limit_put(again);
	limit_put(other);
}

static void count_limit(void *ctx, struct limit *l)
{
	(void)l;
	++*(unsigned *)ctx;
}

static void test_forgotten_limits_are_freed(void **state)
{
	unsigned n = 0, forgotten = 0;

	(void)state;
	limits.on_forget = count_limit;
	limits.ctx = &forgotten;
	for (unsigned i = 0; i < 500; i++) {
		char name[32];
		struct limit *l;

		(void)snprintf(name, sizeof(name), "generation %u", i);
		l = make(name, 1, 1, 1000);
		assert_true(take(l, 1, START));
		limit_put(l);
	}
	limits_sweep(&limits, START);
	limits_each(&limits, count_limit, &n);
	assert_int_equal(n, 500); /* their buckets are not full yet */
	limits_sweep(&limits, START + SECOND);
	n = 0;
	limits_each(&limits, count_limit, &n);
	assert_int_equal(n, 0);
	assert_int_equal(forgotten, 500);
}

static void test_parts_of_a_key_do_not_run_together(void **state)
{
	struct limit *l = make("a", 1, 1, 1000);
	struct limit_key ab_c = limit_key_begin(l), a_bc = limit_key_begin(l), one = limit_key_begin(l);

	(void)state;
	limit_key_add(&ab_c, "ab", 2);
	limit_key_add(&ab_c, "c", 1);
	limit_key_add(&a_bc, "a", 1);
	limit_key_add(&a_bc, "bc", 2);
	limit_key_add(&one, "abc", 3);
	assert_memory_not_equal(&ab_c, &a_bc, sizeof(ab_c));
	assert_memory_not_equal(&ab_c, &one, sizeof(ab_c));
	limit_put(l);
}

/* ---- many keys ---- */

static void test_million_keys_keep_their_levels(void **state)
{
	struct limit *l = make("a", 1, 2, LIMITS_KEYS_MAX);
	unsigned again = 0;

	(void)state;
	for (uint64_t k = 0; k < 1000000; k++)
		assert_int_equal(take_many(l, k, START, 2), 2);
	for (uint64_t k = 0; k < 1000000; k++)
		again += take(l, k, START);
	assert_int_equal(again, 0);
	assert_int_equal(l->keys, 1000000);
	assert_int_equal(l->shared, 0);
	assert_int_equal(l->evictions, 0);
	/* A second later half of each bucket is back. */
	for (uint64_t k = 0; k < 1000; k++)
		assert_int_equal(take_many(l, k * 997, START + SECOND, 3), 1);
	/* Full ones make room. */
	limits_sweep(&limits, START + 10 * SECOND);
	assert_int_equal(l->keys, 0);
	assert_int_equal(l->evictions, 1000000);
	limit_put(l);
}

static void test_keys_max_is_kept_and_nobody_gets_more(void **state)
{
	struct limit *l = make("a", 1, 2, 1000);
	unsigned admitted = 0;

	(void)state;
	for (uint64_t k = 0; k < 100000; k++)
		assert_in_range(take_many(l, k, START, 3), 0, 2);
	assert_int_equal(l->keys, 1000);
	assert_true(l->shared > 90000);
	/* The first ones have buckets of their own, whatever came after them. */
	for (uint64_t k = 0; k < 1000; k++)
		admitted += take(l, k, START);
	assert_int_equal(admitted, 0);
	/* The sketch empties too, and what is full makes room for others. */
	assert_int_equal(take_many(l, 5000000, START + 3600 * SECOND, 3), 2);
	assert_true(l->keys <= 1000);
	limit_put(l);
}

/* Keys of one shard until no set has room: the table is full there, and the sketch takes over. */
static void test_full_table_is_shared(void **state)
{
	struct limit *l = make("a", 1, 1, UINT64_MAX);
	uint64_t first_shared = 0, admitted_again = 0;

	(void)state;
	for (uint64_t k = 0; k < 3000000 && l->shared < 1000; k++) {
		(void)take(l, k, START);
		if (!first_shared && l->shared)
			first_shared = k;
	}
	print_message("first key without a bucket of its own: %llu\n", (unsigned long long)first_shared);
	/* Two places a key fill the table well: 69 %, by chance a few more or less; one place, 15 %. */
	assert_true(first_shared > LIMITS_ENTRIES / 10 * 6);
	assert_true(l->keys <= LIMITS_ENTRIES);
	for (uint64_t k = 0; k < first_shared; k++)
		admitted_again += take(l, k, START);
	assert_int_equal(admitted_again, 0);
	limit_put(l);
}

/* Its words are far ahead of what a fast limit would ever have. */
static void test_a_slow_limit_without_room_refuses_no_other_limit(void **state)
{
	struct limit *slow = make("slow", 1, 10, 1), *fast = make("fast", 1000, 1, 100000);
	unsigned refused = 0;

	(void)state;
	for (uint64_t i = 0; i < 300000; i++)
		(void)take(slow, i, START);
	for (uint64_t i = 0; i < 10000; i++)
		refused += !take(fast, i, START);
	assert_int_equal(refused, 0);
	limit_put(slow);
	limit_put(fast);
}

/* From the sketch to a bucket of its own nothing is won. */
static void test_sketch_is_remembered_by_the_bucket(void **state)
{
	struct limit *l = make("a", 1, 10, 1);

	(void)state;
	assert_true(take(l, 1, START)); /* has the only bucket */
	assert_int_equal(take_many(l, 2, START, 20), 10);
	assert_int_equal(l->shared, 20);
	atomic_store(&l->keys_max, 100);
	assert_int_equal(take_many(l, 2, START + SECOND, 20), 1);
	assert_int_equal(l->shared, 20);
	limit_put(l);
}

/* ---- threads ---- */

#define THREADS 4
#define KEYS	40

struct crowd {
	struct limit *limit;
	_Atomic uint64_t *now;
	_Atomic uint64_t *admitted; /* by key */
	uint64_t seed;
	bool gives_back;
};

static void *crowd_run(void *arg)
{
	struct crowd *c = arg;
	uint64_t r = c->seed;

	for (unsigned i = 0; i < 60000; i++) {
		uint64_t now = atomic_load(c->now), key;
		struct limit_decision d;

		r = r * 6364136223846793005ull + 1442695040888963407ull;
		key = (r >> 33) % KEYS;
		limit_take(c->limit, key_of(c->limit, key), now, 0, &d);
		if (d.is_admitted && c->gives_back && (r >> 60) == 0)
			limit_give_back(c->limit, key_of(c->limit, key), now, &d);
		else if (d.is_admitted)
			atomic_fetch_add(&c->admitted[key], 1);
		if ((r >> 40) % 64 == 0) /* somebody's turn to move the clock */
			atomic_fetch_add(c->now, 1 + (r >> 20) % 3000000);
	}
	return NULL;
}

/* Any interleaving: never more than burst + rate x time, over the whole of it. */
static void crowd_check(const char *name, uint64_t rate, uint64_t burst, uint64_t keys_max, bool gives_back)
{
	struct limit *l = make(name, rate, burst, keys_max);
	static _Atomic uint64_t now, admitted[KEYS];
	pthread_t threads[THREADS];
	struct crowd crowds[THREADS];
	uint64_t total = 0;

	atomic_store(&now, START);
	for (unsigned k = 0; k < KEYS; k++)
		atomic_store(&admitted[k], 0);
	for (unsigned i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){ l, &now, admitted, rand_u64(), gives_back };
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned k = 0; k < KEYS; k++) {
		uint64_t most = burst + (atomic_load(&now) - START) / l->gcra.interval_ns;

		assert_in_range(admitted[k], 0, most);
		total += admitted[k];
	}
	print_message("%s: %llu admitted in %llu ms\n", name, (unsigned long long)total,
		      (unsigned long long)((atomic_load(&now) - START) / 1000000));
	assert_true(total >= burst); /* not all were refused */
	limit_put(l);
}

static void test_threads_never_admit_more(void **state)
{
	(void)state;
	crowd_check("scarce", 10, 3, 1000, false);
	crowd_check("ample", 100000, 50, 1000, false);
	crowd_check("few buckets", 50, 5, 8, false);
	crowd_check("one bucket", 50, 5, 1, false);
	crowd_check("giving back", 20, 5, 1000, true);
}

/* With the clock standing exactly the burst, from however many threads. */
static void test_threads_admit_exactly_the_burst(void **state)
{
	static _Atomic uint64_t now, admitted[KEYS];
	pthread_t threads[THREADS];
	struct crowd crowds[THREADS];

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		char name[32];
		struct limit *l;

		(void)snprintf(name, sizeof(name), "round %u", round);
		l = make(name, 1, 1000000, 1000);
		atomic_store(&now, START);
		for (unsigned k = 0; k < KEYS; k++)
			atomic_store(&admitted[k], 0);
		l->gcra.tolerance_ns = 99 * l->gcra.interval_ns; /* a burst of 100 */
		for (unsigned i = 0; i < THREADS; i++) {
			crowds[i] = (struct crowd){ l, &now, admitted, i, false };
			/* 60,000 tries: each key is asked for more than its burst before the clock has gone a second */
			assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
		}
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		for (unsigned k = 0; k < KEYS; k++)
			assert_int_equal(admitted[k], 100 + (atomic_load(&now) - START) / SECOND);
		l->gcra.tolerance_ns = 999999 * l->gcra.interval_ns;
		limit_put(l);
	}
}

/* Keys that come, fill up and go while others use the same sets. */
static void *churn_run(void *arg)
{
	struct crowd *c = arg;

	for (uint64_t i = 0; i < 50000; i++) {
		struct limit_decision d;

		limit_take(c->limit, key_of(c->limit, c->seed << 32 | i), atomic_fetch_add(c->now, 100), 0, &d);
	}
	return NULL;
}

static void test_eviction_spares_who_is_limited(void **state)
{
	struct limit *l = make("churn", 10000, 1, 500); /* 100 us: a bucket is full after 1,000 others */
	struct limit *victim = make("victim", 1, 1, 1000);
	static _Atomic uint64_t now;
	pthread_t threads[THREADS];
	struct crowd crowds[THREADS];

	(void)state;
	atomic_store(&now, START);
	for (uint64_t k = 0; k < 1000; k++)
		assert_true(take(victim, k, START));
	for (unsigned i = 0; i < THREADS; i++) {
		crowds[i] = (struct crowd){ .limit = l, .now = &now, .seed = i + 1 };
		assert_int_equal(pthread_create(&threads[i], NULL, churn_run, &crowds[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(l->keys <= 500 + THREADS);
	assert_true(l->evictions > 1000 && l->shared < 200000);
	for (uint64_t k = 0; k < 1000; k++)
		assert_false(take(victim, k, START + SECOND / 2));
	limit_put(l);
	limit_put(victim);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_burst_then_rate),
		TEST(test_numbers_that_are_reported),
		TEST(test_well_paced_client_is_never_refused),
		TEST(test_delay_reserves_in_order),
		TEST(test_token_goes_back),
		TEST(test_bounds_of_a_rate),
		TEST(test_level_outlives_a_configuration),
		TEST(test_forgotten_limits_are_freed),
		TEST(test_parts_of_a_key_do_not_run_together),
		TEST(test_million_keys_keep_their_levels),
		TEST(test_keys_max_is_kept_and_nobody_gets_more),
		TEST(test_full_table_is_shared),
		TEST(test_sketch_is_remembered_by_the_bucket),
		TEST(test_a_slow_limit_without_room_refuses_no_other_limit),
		TEST(test_threads_never_admit_more),
		TEST(test_threads_admit_exactly_the_burst),
		TEST(test_eviction_spares_who_is_limited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
