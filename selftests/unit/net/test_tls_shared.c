/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_shared.c - what threads share for TLS: bytes without a lock, the replay filter, rotating ticket keys. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/shared_bytes.h"
#include "net/tls_replay.h"
#include "net/tls_tickets.h"

#define THREADS 4
#define NOW 1800000000ull

static _Atomic bool stop;
static _Atomic unsigned torn;

static void test_shared_bytes_are_what_was_set(void **state)
{
	struct shared_bytes b = { 0 };
	char buf[16];

	(void)state;
	assert_int_equal(shared_bytes_get(&b, buf, sizeof(buf)), 0);
	shared_bytes_init(&b, 13);
	assert_int_equal(shared_bytes_get(&b, buf, sizeof(buf)), 0);
	shared_bytes_set(&b, "hello, world!", 13);
	assert_int_equal(shared_bytes_get(&b, buf, 5), 13);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(shared_bytes_get(&b, buf, sizeof(buf)), 13);
	assert_memory_equal(buf, "hello, world!", 13);
	shared_bytes_set(&b, "bye", 3);
	assert_int_equal(shared_bytes_get(&b, buf, sizeof(buf)), 3);
	shared_bytes_set(&b, "", 0);
	assert_int_equal(shared_bytes_get(&b, buf, sizeof(buf)), 0);
	shared_bytes_fini(&b);
}

static void *bytes_reader(void *arg)
{
	unsigned char buf[128];

	while (!atomic_load(&stop)) {
		size_t len = shared_bytes_get(arg, buf, sizeof(buf));

		for (size_t i = 0; i < len; i++)
			torn += buf[i] != (unsigned char)len;
	}
	return NULL;
}

/* Each value is `len` bytes of value `len`: a mixture of two would show. */
static void test_shared_bytes_are_never_mixed(void **state)
{
	struct shared_bytes b;
	pthread_t threads[THREADS];
	unsigned char buf[128];

	(void)state;
	shared_bytes_init(&b, sizeof(buf));
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, bytes_reader, &b), 0);
	for (unsigned i = 0; i < 100000; i++) {
		size_t len = i % sizeof(buf) + 1;

		memset(buf, (int)len, len);
		shared_bytes_set(&b, buf, len);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(torn, 0);
	shared_bytes_fini(&b);
}

static enum tls_replay_verdict check(struct tls_replay *r, uint64_t id, uint64_t secs)
{
	return tls_replay_check(r, &id, sizeof(id), secs);
}

static void test_replay_is_seen_within_the_window(void **state)
{
	struct tls_replay *r = tls_replay_new(1024);

	(void)state;
	assert_int_equal(check(r, 1, NOW), TLS_REPLAY_FRESH);
	assert_int_equal(check(r, 1, NOW), TLS_REPLAY_SEEN);
	assert_int_equal(check(r, 2, NOW), TLS_REPLAY_FRESH);
	assert_int_equal(check(r, 1, NOW + TLS_REPLAY_SECS), TLS_REPLAY_SEEN);
	assert_int_equal(check(r, 1, NOW + TLS_REPLAY_SECS + 1), TLS_REPLAY_FRESH);
	tls_replay_free(r);
}

static void test_replay_refuses_when_it_cannot_remember(void **state)
{
	struct tls_replay *r = tls_replay_new(16);
	unsigned fresh = 0, full = 0;

	(void)state;
	for (uint64_t id = 0; id < 20; id++) {
		enum tls_replay_verdict v = check(r, id, NOW);

		fresh += v == TLS_REPLAY_FRESH;
		full += v == TLS_REPLAY_FULL;
	}
	assert_int_equal(fresh, 16);
	assert_int_equal(full, 4);
	assert_int_equal(check(r, 3, NOW), TLS_REPLAY_SEEN);
	assert_int_equal(check(r, 100, NOW + TLS_REPLAY_SECS), TLS_REPLAY_FULL);
	assert_int_equal(check(r, 100, NOW + TLS_REPLAY_SECS + 1), TLS_REPLAY_FRESH);
	tls_replay_free(r);
}

/* A clock that steps back would make old tickets young again, after the filter has forgotten their hellos. */
static void test_replay_refuses_after_a_step_back(void **state)
{
	struct tls_replay *r = tls_replay_new(1024);

	(void)state;
	assert_int_equal(check(r, 1, NOW), TLS_REPLAY_FRESH);
	assert_int_equal(check(r, 2, NOW + 1000), TLS_REPLAY_FRESH);
	assert_int_equal(check(r, 1, NOW), TLS_REPLAY_CLOCK);
	assert_int_equal(check(r, 3, NOW + 998), TLS_REPLAY_CLOCK);
	assert_int_equal(check(r, 3, NOW + 999), TLS_REPLAY_FRESH);
	assert_int_equal(check(r, 4, NOW + 1000), TLS_REPLAY_FRESH);
	tls_replay_free(r);
}

/* Threads meet at each hello; at most one may be told that it is fresh. */
struct race {
	struct tls_replay *filter;
	pthread_barrier_t gate;
	unsigned hellos, hellos_per_sec;
	_Atomic unsigned *accepted, threads;
};

static void *replay_racer(void *arg)
{
	struct race *race = arg;
	unsigned skew = atomic_fetch_add(&race->threads, 1) & 1;

	for (unsigned id = 0; id < race->hellos; id++) {
		pthread_barrier_wait(&race->gate);
		if (check(race->filter, id, NOW + id / race->hellos_per_sec + skew) == TLS_REPLAY_FRESH)
			atomic_fetch_add(&race->accepted[id], 1);
	}
	return NULL;
}

/* Number of hellos that were accepted. */
static unsigned race_run(size_t slots, unsigned hellos, unsigned hellos_per_sec)
{
	struct race race = { .filter = tls_replay_new(slots), .hellos = hellos, .hellos_per_sec = hellos_per_sec };
	pthread_t threads[THREADS];
	unsigned once = 0;

	race.accepted = calloc(hellos, sizeof(*race.accepted));
	pthread_barrier_init(&race.gate, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, replay_racer, &race), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < hellos; i++) {
		assert_true(race.accepted[i] <= 1);
		once += race.accepted[i];
	}
	pthread_barrier_destroy(&race.gate);
	free((void *)race.accepted);
	tls_replay_free(race.filter);
	return once;
}

static void test_replay_race_has_one_winner(void **state)
{
	(void)state;
	assert_true(race_run(64 << 10, 2000, 50) >= 1990);
}

/* Slots grow old all the time, and not for all threads at once: free ones are found in different places. */
static void test_replay_race_while_slots_grow_old(void **state)
{
	(void)state;
	assert_true(race_run(16, 2000, 1) >= 1000);
}

/* --- ticket keys --- */

struct ticket {
	unsigned char name[16], iv[16], sealed[64], mac[32];
	int sealed_len;
};

static EVP_MAC *hmac;

static int ticket_seal(struct tls_tickets *t, struct ticket *k, const char *text)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	EVP_MAC_CTX *m = EVP_MAC_CTX_new(hmac);
	size_t mac_len = 0;
	int err = tls_tickets_apply(t, k->name, k->iv, c, m, 1), tail = 0;

	assert_int_equal(EVP_EncryptUpdate(c, k->sealed, &k->sealed_len, (const void *)text, (int)strlen(text)), 1);
	assert_int_equal(EVP_EncryptFinal_ex(c, k->sealed + k->sealed_len, &tail), 1);
	k->sealed_len += tail;
	assert_int_equal(EVP_MAC_init(m, NULL, 0, NULL), 1);
	assert_int_equal(EVP_MAC_update(m, k->sealed, (size_t)k->sealed_len), 1);
	assert_int_equal(EVP_MAC_final(m, k->mac, &mac_len, sizeof(k->mac)), 1);
	EVP_CIPHER_CTX_free(c);
	EVP_MAC_CTX_free(m);
	return err;
}

/* The callback's answer; negative if the content came out wrong. */
static int ticket_open(struct tls_tickets *t, struct ticket *k, const char *text)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	EVP_MAC_CTX *m = EVP_MAC_CTX_new(hmac);
	unsigned char out[80], mac[32];
	size_t mac_len = 0;
	int answer = tls_tickets_apply(t, k->name, k->iv, c, m, 0), len = 0, tail = 0;

	if (answer > 0) {
		bool is_right = EVP_MAC_init(m, NULL, 0, NULL) && EVP_MAC_update(m, k->sealed, (size_t)k->sealed_len) &&
				EVP_MAC_final(m, mac, &mac_len, sizeof(mac)) && memcmp(mac, k->mac, 32) == 0 &&
				EVP_DecryptUpdate(c, out, &len, k->sealed, k->sealed_len) &&
				EVP_DecryptFinal_ex(c, out + len, &tail);

		if (!is_right || (size_t)(len + tail) != strlen(text) || memcmp(out, text, strlen(text)) != 0)
			answer = -2;
	}
	EVP_CIPHER_CTX_free(c);
	EVP_MAC_CTX_free(m);
	return answer;
}

static void test_tickets_overlap_by_one_key(void **state)
{
	struct tls_tickets *t = tls_tickets_new(100);
	struct ticket first, second;

	(void)state;
	assert_int_equal(ticket_seal(t, &first, "first"), 1);
	assert_int_equal(ticket_open(t, &first, "first"), 1);
	tls_tickets_rotate(t, 200);
	assert_int_equal(ticket_seal(t, &second, "second"), 1);
	assert_memory_not_equal(first.name, second.name, 16);
	assert_int_equal(ticket_open(t, &first, "first"), 2);
	assert_int_equal(ticket_open(t, &second, "second"), 1);
	tls_tickets_rotate(t, 300);
	assert_int_equal(ticket_open(t, &first, "first"), 0);
	assert_int_equal(ticket_open(t, &second, "second"), 2);
	tls_tickets_free(t);
}

static void test_tickets_rotate_by_the_clock(void **state)
{
	struct tls_tickets *t = tls_tickets_new(100);
	struct ticket k;

	(void)state;
	ticket_seal(t, &k, "k");
	assert_int_equal(tls_tickets_tick(t, 100), 0);
	assert_int_equal(tls_tickets_tick(t, 99 + TLS_TICKET_ROTATE_SECS), 0);
	assert_int_equal(tls_tickets_tick(t, 100 + TLS_TICKET_ROTATE_SECS), 1);
	assert_int_equal(tls_tickets_tick(t, 100 + TLS_TICKET_ROTATE_SECS), 0);
	assert_int_equal(ticket_open(t, &k, "k"), 2);
	assert_int_equal(tls_tickets_tick(t, 100 + 3 * TLS_TICKET_ROTATE_SECS), 2);
	assert_int_equal(ticket_open(t, &k, "k"), 0);
	tls_tickets_free(t);
}

static _Atomic unsigned wrong;

static void *tickets_user(void *arg)
{
	struct ticket k;

	while (!atomic_load(&stop)) {
		if (ticket_seal(arg, &k, "while keys change") != 1 || ticket_open(arg, &k, "while keys change") < 0)
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

static void test_tickets_while_keys_change(void **state)
{
	struct tls_tickets *t = tls_tickets_new(0);
	pthread_t threads[THREADS];

	(void)state;
	atomic_store(&stop, false);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, tickets_user, t), 0);
	for (unsigned i = 0; i < 20000; i++)
		tls_tickets_rotate(t, i);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(wrong, 0);
	tls_tickets_free(t);
}

static int setup(void **state)
{
	(void)state;
	hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	return hmac ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	EVP_MAC_free(hmac);
	return 0;
}

static void test_keys_of_another_process_open_its_tickets(void **state)
{
	struct tls_tickets *a = tls_tickets_new(1000), *b = tls_tickets_new(5000);
	struct ticket older, newer, own;
	struct tls_ticket_keys keys;

	(void)state;
	assert_int_equal(ticket_seal(a, &older, "k"), 1);
	tls_tickets_rotate(a, 2000);
	assert_int_equal(ticket_seal(a, &newer, "k"), 1);
	assert_int_equal(ticket_seal(b, &own, "k"), 1);
	assert_int_equal(ticket_open(b, &newer, "k"), 0);

	tls_tickets_copy(a, &keys);
	assert_int_equal(keys.born_secs, 2000);
	assert_int_equal(tls_tickets_replace(b, &keys, 5000), 0);
	assert_int_equal(ticket_open(b, &newer, "k"), 1);
	assert_int_equal(ticket_open(b, &older, "k"), 2);
	assert_int_equal(ticket_open(b, &own, "k"), 0);
	/* They grow old as they would have there. */
	assert_int_equal(tls_tickets_tick(b, 2000 + TLS_TICKET_ROTATE_SECS - 1), 0);
	assert_int_equal(tls_tickets_tick(b, 2000 + TLS_TICKET_ROTATE_SECS), 1);
	assert_int_equal(ticket_open(b, &newer, "k"), 2);
	assert_int_equal(ticket_open(b, &older, "k"), 0);
	tls_ticket_keys_wipe(&keys);
	for (size_t i = 0; i < sizeof(keys); i++)
		assert_int_equal(((unsigned char *)&keys)[i], 0);
	tls_tickets_free(a);
	tls_tickets_free(b);
}

static void test_what_cannot_be_keys_is_refused(void **state)
{
	struct tls_tickets *t = tls_tickets_new(1000);
	struct tls_ticket_keys good, bad;
	struct ticket k;

	(void)state;
	assert_int_equal(ticket_seal(t, &k, "k"), 1);
	tls_tickets_copy(t, &good);
	good.born_secs = 1001;
	assert_int_equal(tls_tickets_replace(t, &good, 1000), -EINVAL);
	good.born_secs = 1000;
	for (unsigned i = 0; i < 6; i++) {
		struct tls_ticket_key *key = i < 3 ? &bad.current : &bad.previous;

		bad = good;
		if (i % 3 == 0)
			memset(key->name, 0, sizeof(key->name));
		else if (i % 3 == 1)
			memset(key->cipher, 0, sizeof(key->cipher));
		else
			memset(key->mac, 0, sizeof(key->mac));
		assert_int_equal(tls_tickets_replace(t, &bad, 1000), -EINVAL);
	}
	assert_int_equal(ticket_open(t, &k, "k"), 1);
	assert_int_equal(tls_tickets_replace(t, &good, 1000), 0);
	tls_tickets_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_bytes_are_what_was_set),
		cmocka_unit_test(test_shared_bytes_are_never_mixed),
		cmocka_unit_test(test_replay_is_seen_within_the_window),
		cmocka_unit_test(test_replay_refuses_when_it_cannot_remember),
		cmocka_unit_test(test_replay_refuses_after_a_step_back),
		cmocka_unit_test(test_replay_race_has_one_winner),
		cmocka_unit_test(test_replay_race_while_slots_grow_old),
		cmocka_unit_test(test_tickets_overlap_by_one_key),
		cmocka_unit_test(test_tickets_rotate_by_the_clock),
		cmocka_unit_test(test_tickets_while_keys_change),
		cmocka_unit_test(test_keys_of_another_process_open_its_tickets),
		cmocka_unit_test(test_what_cannot_be_keys_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
