/* SPDX-License-Identifier: GPL-2.0-only */
/* limits_private.h - layout of the table: between limits.c (buckets) and limit.c (the limits they belong to). */
#ifndef SN_LIMITS_LIMITS_PRIVATE_H
#define SN_LIMITS_LIMITS_PRIVATE_H

#include <pthread.h>

#include "limits/limits.h"

#define SHARD_BITS  6
#define SHARDS	    (1u << SHARD_BITS)
#define WAYS	    8 /* buckets of a set: 256 bytes */
#define SETS	    (LIMITS_ENTRIES / SHARDS / WAYS) /* of a shard; a power of two */
#define SKETCH_BITS 9 /* words of a row and shard */
#define SWEEP_SETS  16 /* looked at for a limit that has all its keys */

/*
 * word: gcra.h, or FREE, or BUSY while a key is written.  Words change by compare-and-swap; key and limit change under
 * the shard's lock while the word is BUSY.
 */
struct entry {
	_Atomic uint64_t key[2];
	_Atomic uint64_t word;
	struct limit *limit; /* under the lock */
};

_Static_assert(sizeof(struct entry) == 32, "two buckets a cache line");

struct limits_shard {
	pthread_mutex_t lock;
	struct entry *entries; /* borrowed: SETS x WAYS */
	unsigned hand;	       /* set that is swept next */
	unsigned used;	       /* entries that are not free */
};

/*
 * Of a limit that has once had no room for a key.  Not of all limits together: the words of a slow one are far ahead of
 * any that a fast one could have, and would refuse all its new keys.  Words of a shard change with its lock.
 */
struct limit_sketch {
	uint64_t words[SHARDS][2][1u << SKETCH_BITS]; /* 512 KiB */
};

void limits_table_open(struct limits *ls);
void limits_table_close(struct limits *ls);
void limits_table_sweep(struct limits *ls, uint64_t now_ns);

#endif
