/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * limits.h - token buckets of the whole process: one table {128-bit key, word}, shared by all workers, that outlives
 * configurations.  docs/design/0009-limits.md
 *
 * A limit is a rate with a name; its buckets are found by a keyed hash of what it counts by.  A bucket is one word
 * (gcra.h), changed by compare-and-swap; a shard's lock is taken to make or remove one, for what a store said of it,
 * and by who only looks.  Only a bucket that is full again is ever removed, because it equals a new one.  A key that
 * finds no room shares the words of the limit's sketch: it may be refused too early, never too late.
 */
#ifndef SN_LIMITS_LIMITS_H
#define SN_LIMITS_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hmap.h"
#include "base/span.h"
#include "limits/gcra.h"

#define LIMITS_ENTRIES	(1u << 21) /* buckets of the process; memory is used as keys come: 64 MiB at most */
#define LIMITS_KEYS_MAX 1000000	   /* of one limit */

struct limits_shard;
struct limit_sketch;
struct limits;

/* A limit of the configuration.  Made and freed by control; workers take tokens. */
struct limit {
	uint32_t tag;
	uint32_t refs; /* control's */
	struct limits *limits;
	struct gcra gcra;
	uint64_t key[2]; /* where its keys begin: secret */
	uint64_t number; /* the same for the same identity as long as the process lives; never 0 */
	char *identity;	 /* owned; key in limits->by_identity */
	char *scope, *name; /* owned: for metrics */
	uint64_t counted[3]; /* of the numbers below, what the metrics have; control's */

	_Atomic uint64_t keys_max;
	_Atomic uint64_t keys;	    /* buckets in the table */
	_Atomic uint64_t evictions; /* buckets that were removed because they were full again */
	_Atomic uint64_t shared;    /* requests that were judged by the sketch */
	_Atomic(struct limit_sketch *) sketch; /* owned; NULL until a key finds no room */
};

struct limits {
	struct limits_shard *shards; /* owned; NULL before the first limit */
	void *entries;		     /* owned: mapped memory of all shards */
	struct hmap by_identity;     /* control's */
	uint64_t number_last;
	void (*on_forget)(void *ctx, struct limit *l); /* the limit is about to be freed; may be NULL */
	void *ctx;
};

struct limit_terms {
	const char *identity;
	const char *scope, *name; /* route, or "global"; and what the file calls it */
	struct gcra gcra;
	uint64_t keys_max;
};

void limits_init(struct limits *ls);
void limits_fini(struct limits *ls); /* after the last worker */

/*
 * The limit of that identity: found or made, with one reference more.  Whatever makes it another limit is part of the
 * identity: its place, its key, its rate.  The other values may change.  Control.
 */
struct limit *limit_get(struct limits *ls, const struct limit_terms *t);
struct limit *limit_find(struct limits *ls, struct span identity); /* NULL: there is none */
void limit_put(struct limit *l); /* NULL ok; it stays in memory until limits_sweep() finds no bucket of it */
/* Remove buckets that are full again, and limits that nobody names and that have none.  Control. */
void limits_sweep(struct limits *ls, uint64_t now_ns);
void limits_each(struct limits *ls, void (*fn)(void *ctx, struct limit *l), void *ctx);

/* ---- keys: any thread ---- */

struct limit_key {
	uint64_t word[2];
};

static inline struct limit_key limit_key_begin(const struct limit *l)
{
	return (struct limit_key){ { l->key[0], l->key[1] } };
}

/* One more part of the key.  ("a", "bc") and ("ab", "c") are different keys. */
void limit_key_add(struct limit_key *k, const void *part, size_t len);

/* ---- taking: any thread ---- */

struct limit_decision {
	bool is_admitted;
	bool is_shared;	   /* judged by the sketch */
	uint64_t wait_ns;  /* admitted: it must wait so long; refused: until one would be admitted */
	uint64_t remaining; /* of the burst, after this one */
	uint64_t full_ns;  /* until the bucket is full */
	uint64_t tat;	   /* the word now; of give_back() */
};

/* One token.  delay_max_ns: a request that has to wait no longer than this is admitted too; 0: none waits. */
void limit_take(struct limit *l, struct limit_key k, uint64_t now_ns, uint64_t delay_max_ns,
		struct limit_decision *out);
/*
 * Another limit refused the same request, which was admitted just now: the token goes back.  Not of the sketch; nor
 * when the bucket has been full since.
 */
void limit_give_back(struct limit *l, struct limit_key k, uint64_t now_ns, const struct limit_decision *d);
/*
 * Somebody else judges this limit and says how long until its bucket is full: so it is here, should he be gone.  No
 * room: the bucket is as full as a new one.
 */
void limit_set_level(struct limit *l, struct limit_key k, uint64_t now_ns, uint64_t full_ns);
/* What limit_take() would say, without taking. */
void limit_peek(struct limit *l, struct limit_key k, uint64_t now_ns, struct limit_decision *out);

#endif
