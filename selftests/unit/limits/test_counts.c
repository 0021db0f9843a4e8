/* SPDX-License-Identifier: GPL-2.0-only */
/* test_counts.c - counts of connections against a plain array, alone and from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/rand.h"
#include "limits/counts.h"

#define CLIENTS 5000

static void key_of(uint32_t n, uint8_t key[16])
{
	memset(key, 0, 16);
	memcpy(key + 12, &n, sizeof(n));
}

static void test_counts_agree_with_an_array(void **state)
{
	static uint32_t model[CLIENTS];
	struct counts c;
	uint8_t key[16];
	uint32_t total = 0;

	(void)state;
	counts_init(&c);
	for (unsigned i = 0; i < 400000; i++) {
		/* it grows, stays and shrinks */
		uint32_t n = rand_below(CLIENTS), up = i < 100000 ? 9 : i < 200000 ? 5 : 1;

		key_of(n, key);
		if (rand_below(10) < up) {
			assert_int_equal(counts_add(&c, key), ++model[n]);
			total++;
		} else if (model[n]) {
			model[n]--;
			counts_sub(&c, key);
			total--;
		}
	}
	for (uint32_t n = 0; n < CLIENTS; n++) {
		key_of(n, key);
		assert_int_equal(counts_of(&c, key), model[n]);
		for (; model[n]; model[n]--, total--)
			counts_sub(&c, key);
		assert_int_equal(counts_of(&c, key), 0);
	}
	assert_int_equal(total, 0);
	for (unsigned i = 0; i < COUNTS_SHARDS; i++)
		assert_true(c.shards[i].used == 0 && c.shards[i].mask <= 15);
	counts_fini(&c);
}

static void *run(void *arg)
{
	struct counts *c = arg;
	uint8_t key[16];

	for (unsigned i = 0; i < 50000; i++) {
		key_of(i % 100, key);
		(void)counts_add(c, key);
		if (i >= 1000) {
			key_of((i - 1000) % 100, key);
			counts_sub(c, key);
		}
	}
	return NULL;
}

static void test_counts_from_threads(void **state)
{
	pthread_t threads[4];
	struct counts c;
	uint8_t key[16];

	(void)state;
	counts_init(&c);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run, &c), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t n = 0; n < 100; n++) {
		key_of(n, key);
		assert_int_equal(counts_of(&c, key), 40);
	}
	counts_fini(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_agree_with_an_array),
		cmocka_unit_test(test_counts_from_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
