/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * counts.h - how many connections each client has, over all workers.  An entry lives as long as its count is not 0, so
 * the connections bound the memory.  A lock a shard.  Any thread.
 */
#ifndef SN_LIMITS_COUNTS_H
#define SN_LIMITS_COUNTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define COUNTS_SHARDS 16

struct count {
	uint8_t key[16];
	uint32_t count; /* 0: free */
};

struct counts_shard {
	pthread_mutex_t lock;
	struct count *slots; /* owned */
	uint32_t mask;	     /* slots - 1; 0: none */
	uint32_t used;
};

struct counts {
	struct counts_shard shards[COUNTS_SHARDS];
};

void counts_init(struct counts *c);
void counts_fini(struct counts *c);
/* One more; the count with it. */
uint32_t counts_add(struct counts *c, const uint8_t key[16]);
/* One less, of those that were added. */
void counts_sub(struct counts *c, const uint8_t key[16]);
uint32_t counts_of(struct counts *c, const uint8_t key[16]);

#endif
