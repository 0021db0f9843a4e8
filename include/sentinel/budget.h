/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * budget.h - budgets of sources: a token bucket in one word, compiled into the kernel programs and into the daemon.
 *
 * A level is one row of `budget`: so many connections or packets for each address or network.  Of a level a source has
 * one bucket, written as the time at which it is full again (GCRA): the next one is admitted if that is at most
 * (burst - 1) x interval ahead, and moves it by one interval.  Buckets of sources that never completed a handshake lie in
 * a sketch of two rows: sources share cells by chance, so both cells are charged and either may admit.
 */
#ifndef SN_BUDGET_H
#define SN_BUDGET_H

#include "sentinel/abi.h"

/* What a level counts by: the first 32 bits of an IPv4 address or 64 of an IPv6 one, or a network of one family. */
#define SN_PER_IP 0
#define SN_PER_24 1 /* IPv4 */
#define SN_PER_64 2 /* IPv6 */
#define SN_PER_48 3 /* IPv6 */
#define SN_PER_COUNT 4

#define SN_GCRA_TRIES 4
#define SN_GCRA_SLACK_NS 1000000000ull

/* What is left of a source at a level's length, in one word; two families never meet. */
static inline __u64 sn_budget_key(const __u32 addr[4], __u32 per)
{
	/* Bytes in network order whatever the machine: only equality matters. */
	__u64 high = (__u64)addr[0] << 32 | addr[1];
	const __u8 mask24[4] = { 0xff, 0xff, 0xff, 0 }, mask48[4] = { 0xff, 0xff, 0, 0 };
	__u32 mask;

	if (per == SN_PER_24) {
		__builtin_memcpy(&mask, mask24, sizeof(mask));
		return (__u64)addr[2] << 32 | (addr[3] & mask);
	}
	if (per == SN_PER_48) {
		__builtin_memcpy(&mask, mask48, sizeof(mask));
		return (__u64)addr[0] << 32 | (addr[1] & mask);
	}
	return high ? high : (__u64)addr[2] << 32 | addr[3];
}

/* Two cells in one word, by a secret: nobody can choose to share a cell with somebody. */
static inline __u64 sn_budget_hash(__u64 key, const __u64 seed[2], __u32 level)
{
	__u64 h = key ^ seed[0];

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	h ^= seed[1] + level;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	return h ^ h >> 32;
}

/* Places of the two cells in the sketch. */
static inline __u32 sn_budget_cell(const struct sn_budget *b, __u64 hash, __u32 row)
{
	return row * SN_SKETCH_ROW + b->first_cell + ((__u32)(row ? hash >> 32 : hash) & b->cell_mask);
}

/*
 * Charge one bucket.  1: admitted; 0: over the limit, or other CPUs won four times (then somebody else was admitted).
 * A time before another CPU's cannot refill it, because the word only grows.  A word that no admission can have written is
 * left over from other settings: it is cut to what an empty bucket of these would say.
 */
static inline __u32 sn_gcra_charge(__u64 *word, const struct sn_budget *b, __u64 now_ns)
{
	__u64 full = b->tolerance_ns + b->interval_ns;
	__u32 i;

	for (i = 0; i < SN_GCRA_TRIES; i++) {
		__u64 tat = *(volatile __u64 *)word;
		__u64 base = tat > now_ns ? tat : now_ns;
		__u64 next = base + b->interval_ns;

		if (base - now_ns > full + SN_GCRA_SLACK_NS)
			next = now_ns + full;
		else if (base - now_ns > b->tolerance_ns)
			return 0;
		if (__sync_val_compare_and_swap(word, tat, next) == tat)
			return base - now_ns <= b->tolerance_ns;
	}
	return 0;
}

/* Is the bucket empty?  Of a sample, to see whether the sketch still tells sources apart. */
static inline __u32 sn_gcra_is_over(__u64 tat, const struct sn_budget *b, __u64 now_ns)
{
	return tat > now_ns && tat - now_ns > b->tolerance_ns;
}

#endif
