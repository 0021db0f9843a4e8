/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_replay.c - a set of recent hellos: buckets of words that age, filled by compare-and-swap. */
#include "net/tls_replay.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"

#define BUCKET_SLOTS 16
#define SLOTS_MAX (1u << 24)
#define TIME_BITS 24
#define TIME_MASK ((1u << TIME_BITS) - 1)

/* A slot: 40 bits of the hash, never all zero, above 24 bits of the second in which it was taken.  0: free. */
struct tls_replay {
	uint64_t key[2]; /* an attacker who could choose buckets could fill one */
	size_t bucket_mask;
	_Atomic uint64_t newest_secs; /* the latest wall clock of any answer */
	_Atomic uint64_t slots[];
};

struct tls_replay *tls_replay_new(size_t slots)
{
	size_t count = BUCKET_SLOTS;
	struct tls_replay *r;

	while (count < slots && count < SLOTS_MAX)
		count *= 2;
	r = mem_zalloc(sizeof(*r) + count * sizeof(r->slots[0]));
	r->bucket_mask = count / BUCKET_SLOTS - 1;
	rand_secure(r->key, sizeof(r->key));
	return r;
}

void tls_replay_free(struct tls_replay *r)
{
	if (r)
		OPENSSL_cleanse(r->key, sizeof(r->key));
	free(r);
}

/* False: the clock is behind an answer that was given already, so ages of tickets can not be trusted. */
static bool clock_advance(struct tls_replay *r, uint64_t secs)
{
	uint64_t newest = atomic_load(&r->newest_secs);

	while (secs > newest) {
		if (atomic_compare_exchange_weak(&r->newest_secs, &newest, secs))
			return true;
	}
	return newest - secs <= 1; /* threads read the clock before they come here */
}

static bool slot_is_live(uint64_t slot, uint64_t secs)
{
	uint32_t age = (uint32_t)(secs + 1 - slot) & TIME_MASK; /* + 1: the other thread's clock may be ahead of ours */

	return slot != 0 && age <= TLS_REPLAY_SECS + 1;
}

/* Is it in a live slot of the bucket other than `own`?  *out_free: the first that may be taken, or BUCKET_SLOTS. */
static bool bucket_find(_Atomic uint64_t *bucket, uint64_t mark, uint64_t secs, unsigned own, unsigned *out_free)
{
	*out_free = BUCKET_SLOTS;
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		uint64_t slot = atomic_load(&bucket[i]);

		if (i == own)
			continue;
		if (!slot_is_live(slot, secs)) {
			if (*out_free == BUCKET_SLOTS)
				*out_free = i;
		} else if (slot >> TIME_BITS == mark) {
			return true;
		}
	}
	return false;
}

enum tls_replay_verdict tls_replay_check(struct tls_replay *r, const void *id, size_t id_len, uint64_t wall_secs)
{
	uint64_t hash = hash_siphash13(r->key, id, id_len), mark = hash >> TIME_BITS | 1;
	_Atomic uint64_t *bucket = r->slots + (hash & TIME_MASK & r->bucket_mask) * BUCKET_SLOTS;
	uint64_t word = mark << TIME_BITS | (wall_secs & TIME_MASK);
	unsigned at, next;

	if (!clock_advance(r, wall_secs))
		return TLS_REPLAY_CLOCK;
	for (;;) {
		uint64_t old;

		if (bucket_find(bucket, mark, wall_secs, BUCKET_SLOTS, &at))
			return TLS_REPLAY_SEEN;
		if (at == BUCKET_SLOTS)
			return TLS_REPLAY_FULL;
		old = atomic_load(&bucket[at]);
		if (!slot_is_live(old, wall_secs) && atomic_compare_exchange_strong(&bucket[at], &old, word))
			break;
	}
	/*
	 * Two threads with the same hello may have found different free slots, as one was growing old.  Both have
	 * written before they look again, so at least one of them sees the other; at worst both refuse.
	 */
	return bucket_find(bucket, mark, wall_secs, at, &next) ? TLS_REPLAY_SEEN : TLS_REPLAY_FRESH;
}

const char *tls_replay_verdict_name(enum tls_replay_verdict v)
{
	static const char *const names[TLS_REPLAY_VERDICT_COUNT] = {
		[TLS_REPLAY_FRESH] = "fresh",
		[TLS_REPLAY_SEEN] = "replayed",
		[TLS_REPLAY_FULL] = "filter_full",
		[TLS_REPLAY_CLOCK] = "clock",
		[TLS_REPLAY_UPGRADE] = "upgrade",
	};

	CHECK(v < TLS_REPLAY_VERDICT_COUNT);
	return names[v];
}
