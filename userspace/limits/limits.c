/* SPDX-License-Identifier: GPL-2.0-only */
/* limits.c - the table of token buckets, and the sketch for keys that find no room in it. */
#include "limits/limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "limits/limits_private.h"

#define WORD_FREE 0
#define WORD_BUSY UINT64_MAX /* a key is being written */

static struct limits_shard *shard_of(const struct limits *ls, struct limit_key k)
{
	return &ls->shards[k.word[0] & (SHARDS - 1)];
}

/* Two places for each key: the emptier one is used, so that hardly any is full before the table is. */
static struct entry *set_of(const struct limits_shard *s, struct limit_key k, unsigned which)
{
	uint64_t at = which ? k.word[1] : k.word[0] >> SHARD_BITS;

	return s->entries + (at & (SETS - 1)) * WAYS;
}

static bool entry_is(const struct entry *e, struct limit_key k)
{
	return atomic_load_explicit(&e->key[0], memory_order_relaxed) == k.word[0] &&
	       atomic_load_explicit(&e->key[1], memory_order_relaxed) == k.word[1];
}

static inline struct entry *entry_find(const struct limits_shard *s, struct limit_key k)
{
	for (unsigned which = 0; which < 2; which++) {
		struct entry *set = set_of(s, k, which);

		for (unsigned i = 0; i < WAYS; i++)
			if (entry_is(&set[i], k))
				return &set[i];
	}
	return NULL;
}

/* ---- one word ---- */

static inline void decide(const struct gcra *g, uint64_t tat, uint64_t now_ns, uint64_t delay_max_ns,
		   struct limit_decision *out)
{
	uint64_t wait = gcra_wait(g, tat, now_ns);

	out->wait_ns = wait;
	out->is_admitted = wait <= delay_max_ns;
	out->tat = out->is_admitted ? gcra_charge(g, tat, now_ns) : tat;
	out->remaining = gcra_remaining(g, out->tat, now_ns);
	out->full_ns = out->tat > now_ns ? out->tat - now_ns : 0;
}

/*
 * False: this is not the key's bucket (any more).  The word is read before the key: when both fit and the swap
 * succeeds, nobody has put another key here in between, because a new bucket's word is later than any that may be
 * removed.
 */
static inline bool entry_take(struct entry *e, const struct gcra *g, struct limit_key k, uint64_t now_ns,
		       uint64_t delay_max_ns, struct limit_decision *out)
{
	uint64_t word = atomic_load_explicit(&e->word, memory_order_acquire);

	do {
		if (word == WORD_FREE || word == WORD_BUSY || !entry_is(e, k))
			return false;
		decide(g, word, now_ns, delay_max_ns, out);
		if (!out->is_admitted)
			return true;
	} while (!atomic_compare_exchange_weak_explicit(&e->word, &word, out->tat, memory_order_acq_rel,
							memory_order_acquire));
	return true;
}

/* ---- making and removing; with the shard's lock ---- */

static bool is_over(uint64_t word, uint64_t now_ns)
{
	return word == WORD_FREE || word <= now_ns;
}

/* Its limit forgets it.  False: somebody took a token of it meanwhile. */
static bool entry_claim(struct limits_shard *s, struct entry *e, uint64_t now_ns)
{
	uint64_t word = atomic_load_explicit(&e->word, memory_order_acquire);
	struct limit *l = e->limit;

	if (!is_over(word, now_ns) ||
	    !atomic_compare_exchange_strong_explicit(&e->word, &word, WORD_BUSY, memory_order_acq_rel,
						     memory_order_relaxed))
		return false;
	if (word == WORD_FREE)
		return true;
	s->used--;
	atomic_fetch_sub_explicit(&l->keys, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->evictions, 1, memory_order_relaxed);
	return true;
}

/* Of a claimed one.  The key goes too: a key must never be found in two places. */
static void entry_free(struct entry *e)
{
	atomic_store_explicit(&e->key[0], 0, memory_order_relaxed);
	atomic_store_explicit(&e->key[1], 0, memory_order_relaxed);
	atomic_store_explicit(&e->word, WORD_FREE, memory_order_release);
}

static void set_sweep(struct limits_shard *s, unsigned which, uint64_t now_ns)
{
	struct entry *set = s->entries + which * WAYS;

	for (unsigned i = 0; i < WAYS; i++)
		if (atomic_load_explicit(&set[i].word, memory_order_relaxed) != WORD_FREE &&
		    entry_claim(s, &set[i], now_ns))
			entry_free(&set[i]);
}

/* A limit has all the buckets that it may have: some of them may be full by now. */
static bool limit_has_room(struct limit *l, struct limits_shard *s, uint64_t now_ns)
{
	uint64_t max = atomic_load_explicit(&l->keys_max, memory_order_relaxed);

	if (atomic_load_explicit(&l->keys, memory_order_relaxed) < max)
		return true;
	for (unsigned i = 0; i < SWEEP_SETS; i++, s->hand = (s->hand + 1) & (SETS - 1))
		set_sweep(s, s->hand, now_ns);
	return atomic_load_explicit(&l->keys, memory_order_relaxed) < max;
}

static unsigned set_room(const struct entry *set, uint64_t now_ns)
{
	unsigned n = 0;

	for (unsigned i = 0; i < WAYS; i++)
		n += is_over(atomic_load_explicit(&set[i].word, memory_order_relaxed), now_ns);
	return n;
}

/* A place whose word is BUSY now, or NULL. */
static struct entry *place_find(struct limits_shard *s, struct limit_key k, uint64_t now_ns)
{
	struct entry *sets[2] = { set_of(s, k, 0), set_of(s, k, 1) };
	unsigned first = set_room(sets[1], now_ns) > set_room(sets[0], now_ns);

	for (unsigned n = 0; n < 2; n++) {
		struct entry *set = sets[first ^ n];

		for (unsigned i = 0; i < WAYS; i++)
			if (entry_claim(s, &set[i], now_ns))
				return &set[i];
	}
	return NULL;
}

/* ---- the sketch; with the shard's lock ---- */

static uint64_t *sketch_cell(struct limit_sketch *sketch, struct limits_shard *s, struct limit *l, struct limit_key k,
			     unsigned row)
{
	return &sketch->words[s - l->limits->shards][row][(row ? k.word[0] : k.word[1]) >> (64 - SKETCH_BITS)];
}

/* At least the key's own word: what others did to one row they hardly did to the other. */
static uint64_t sketch_word(struct limits_shard *s, struct limit *l, struct limit_key k)
{
	struct limit_sketch *sketch = atomic_load_explicit(&l->sketch, memory_order_acquire);

	return sketch ? MIN(*sketch_cell(sketch, s, l, k, 0), *sketch_cell(sketch, s, l, k, 1)) : 0;
}

/* Other shards may want it in the same moment: one of them makes it. */
static struct limit_sketch *sketch_make(struct limit *l)
{
	struct limit_sketch *present = atomic_load_explicit(&l->sketch, memory_order_acquire), *made;

	if (present)
		return present;
	made = mem_zalloc(sizeof(*made));
	if (atomic_compare_exchange_strong_explicit(&l->sketch, &present, made, memory_order_acq_rel,
						    memory_order_acquire))
		return made;
	free(made);
	return present;
}

static void sketch_take(struct limits_shard *s, struct limit *l, struct limit_key k, uint64_t now_ns,
			uint64_t delay_max_ns, struct limit_decision *out)
{
	struct limit_sketch *sketch = sketch_make(l);

	decide(&l->gcra, sketch_word(s, l, k), now_ns, delay_max_ns, out);
	out->is_shared = true;
	atomic_fetch_add_explicit(&l->shared, 1, memory_order_relaxed);
	for (unsigned row = 0; out->is_admitted && row < 2; row++) {
		uint64_t *cell = sketch_cell(sketch, s, l, k, row);

		*cell = MAX(*cell, out->tat);
	}
}

/* ---- taking ---- */

/* In a claimed place. */
static void entry_make(struct limits_shard *s, struct entry *e, struct limit *l, struct limit_key k, uint64_t word)
{
	atomic_store_explicit(&e->key[0], k.word[0], memory_order_relaxed);
	atomic_store_explicit(&e->key[1], k.word[1], memory_order_relaxed);
	e->limit = l;
	s->used++;
	atomic_fetch_add_explicit(&l->keys, 1, memory_order_relaxed);
	atomic_store_explicit(&e->word, word, memory_order_release);
}

/* The key had no bucket a moment ago. */
static void take_locked(struct limits_shard *s, struct limit *l, struct limit_key k, uint64_t now_ns,
			uint64_t delay_max_ns, struct limit_decision *out)
{
	struct entry *e = entry_find(s, k);

	if (e && entry_take(e, &l->gcra, k, now_ns, delay_max_ns, out))
		return;
	e = limit_has_room(l, s, now_ns) ? place_find(s, k, now_ns) : NULL;
	if (!e) {
		sketch_take(s, l, k, now_ns, delay_max_ns, out);
		return;
	}
	/* what it did while it had no bucket of its own counts */
	decide(&l->gcra, sketch_word(s, l, k), now_ns, delay_max_ns, out);
	if (!out->is_admitted) {
		entry_free(e);
		return;
	}
	entry_make(s, e, l, k, out->tat);
}

void limit_take(struct limit *l, struct limit_key k, uint64_t now_ns, uint64_t delay_max_ns,
		struct limit_decision *out)
{
	struct limits_shard *s = shard_of(l->limits, k);
	struct entry *e = entry_find(s, k);

	out->is_shared = false;
	if (likely(e && entry_take(e, &l->gcra, k, now_ns, delay_max_ns, out)))
		return;
	pthread_mutex_lock(&s->lock);
	take_locked(s, l, k, now_ns, delay_max_ns, out);
	pthread_mutex_unlock(&s->lock);
}

void limit_give_back(struct limit *l, struct limit_key k, uint64_t now_ns, const struct limit_decision *d)
{
	struct entry *e = entry_find(shard_of(l->limits, k), k);
	uint64_t word;

	if (!e || d->is_shared || !d->is_admitted || d->tat <= now_ns)
		return;
	word = atomic_load_explicit(&e->word, memory_order_acquire);
	do {
		if (word < d->tat || word == WORD_BUSY || !entry_is(e, k))
			return;
	} while (!atomic_compare_exchange_weak_explicit(&e->word, &word, word - l->gcra.interval_ns,
							memory_order_acq_rel, memory_order_acquire));
}

/* False: this is not the key's bucket (any more). */
static bool entry_set(struct entry *e, struct limit_key k, uint64_t to)
{
	uint64_t word = atomic_load_explicit(&e->word, memory_order_acquire);

	do {
		if (word == WORD_FREE || word == WORD_BUSY || !entry_is(e, k))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&e->word, &word, to, memory_order_acq_rel,
							memory_order_acquire));
	return true;
}

/* The key had no bucket a moment ago. */
static void set_locked(struct limits_shard *s, struct limit *l, struct limit_key k, uint64_t now_ns, uint64_t full_ns)
{
	struct entry *e = entry_find(s, k);

	if ((e && entry_set(e, k, now_ns + full_ns)) || !full_ns || !limit_has_room(l, s, now_ns))
		return;
	e = place_find(s, k, now_ns);
	if (e)
		entry_make(s, e, l, k, now_ns + full_ns);
}

void limit_set_level(struct limit *l, struct limit_key k, uint64_t now_ns, uint64_t full_ns)
{
	struct limits_shard *s = shard_of(l->limits, k);
	struct entry *e = entry_find(s, k);

	if (likely(e && entry_set(e, k, now_ns + full_ns)))
		return;
	pthread_mutex_lock(&s->lock);
	set_locked(s, l, k, now_ns, full_ns);
	pthread_mutex_unlock(&s->lock);
}

void limit_peek(struct limit *l, struct limit_key k, uint64_t now_ns, struct limit_decision *out)
{
	struct limits_shard *s = shard_of(l->limits, k);
	struct entry *e;
	uint64_t word = 0;

	pthread_mutex_lock(&s->lock);
	e = entry_find(s, k);
	if (e)
		word = atomic_load_explicit(&e->word, memory_order_acquire);
	*out = (struct limit_decision){ .is_shared = !e || word == WORD_FREE };
	if (out->is_shared)
		word = sketch_word(s, l, k);
	pthread_mutex_unlock(&s->lock);
	out->wait_ns = gcra_wait(&l->gcra, word, now_ns);
	out->is_admitted = out->wait_ns == 0;
	out->tat = word;
	out->remaining = gcra_remaining(&l->gcra, word, now_ns);
	out->full_ns = word > now_ns ? word - now_ns : 0;
}

void limit_key_add(struct limit_key *k, const void *part, size_t len)
{
	hash_siphash13_128(k->word, part, len, k->word);
}

/* ---- the table ---- */

static struct limits_shard *shards_new(struct entry *entries)
{
	struct limits_shard *shards = mem_array(SHARDS, sizeof(*shards));

	for (unsigned i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&shards[i].lock, NULL);
		shards[i].entries = entries + (size_t)i * SETS * WAYS;
	}
	return shards;
}

/* The table comes with the first limit: most commands have none. */
void limits_table_open(struct limits *ls)
{
	size_t bytes = (size_t)LIMITS_ENTRIES * sizeof(struct entry);
	struct entry *entries = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(entries != MAP_FAILED);
	/* a few keys must not cost two megabytes each */
	(void)madvise(entries, bytes, MADV_NOHUGEPAGE);
	ls->entries = entries;
	ls->shards = shards_new(entries);
}

void limits_table_close(struct limits *ls)
{
	if (!ls->shards)
		return;
	for (unsigned i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&ls->shards[i].lock);
	free(ls->shards);
	(void)munmap(ls->entries, (size_t)LIMITS_ENTRIES * sizeof(struct entry));
	ls->shards = NULL;
	ls->entries = NULL;
}

void limits_table_sweep(struct limits *ls, uint64_t now_ns)
{
	for (unsigned i = 0; ls->shards && i < SHARDS; i++) {
		struct limits_shard *s = &ls->shards[i];

		pthread_mutex_lock(&s->lock);
		for (unsigned set = 0; s->used && set < SETS; set++)
			set_sweep(s, set, now_ns);
		pthread_mutex_unlock(&s->lock);
	}
}
