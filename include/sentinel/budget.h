/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * budget.h - budgets of sources: a token bucket in one word, compiled into the kernel programs and into the daemon.
 *
 * A level is one row of `budget`: so many connections or packets for each address or network.  Of a level a source has
 * one bucket, written as the time at which it is full again (GCRA): the next one is admitted if that is at most
 * (burst - 1) x interval ahead, and moves it by one interval.  Buckets of sources that never completed a handshake lie
 * in a sketch of two rows: sources share cells by chance, so both cells are charged and either may admit.
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

/* One level. */
struct sn_budget {
	__u64 interval_ns;  /* between two that are admitted for ever; 0: there is no such level */
	__u64 tolerance_ns; /* (burst - 1) x interval */
	__u32 first_cell;   /* its part of each row of the sketch */
	__u32 cell_mask;    /* cells of that part, a power of two, less one */
	__u32 rule;	    /* number of the rule in the plan; comes back in events */
	__u32 is_saturated; /* the sketch cannot tell this level's sources apart: it passes them, and counts */
};
_Static_assert(sizeof(struct sn_budget) == 32, "map value layout");

/* The one value of budgets (written by control).  A level's place is its number in the hash. */
struct sn_budgets {
	struct sn_budget connections_ip;
	struct sn_budget connections_24;
	struct sn_budget connections_64;
	struct sn_budget connections_48;
	struct sn_budget packets_ip;
	struct sn_budget packets_24;
	struct sn_budget packets_64;
	struct sn_budget packets_48;
	__u64 seed[2];
	__u32 flags; /* SN_BUDGETS_* */
	__u32 pad;
};
_Static_assert(sizeof(struct sn_budgets) == 280, "map value layout");

#define SN_BUDGET_LEVELS 8
#define SN_BUDGETS_CONNECTIONS 1u /* there is a level that counts connections */
#define SN_BUDGETS_PACKETS 2u
#define SN_BUDGETS_BY_IP 4u  /* rl_src is asked */
#define SN_BUDGETS_COARSE 8u /* every tolerance is two ticks or more: the cheap clock will do */

/* rl_sketch: two rows of buckets of sources that nobody knows (written by the guard). */
#define SN_SKETCH_ROW (256u * 1024)
struct sn_cell {
	__u64 full_at_ns; /* CLOCK_MONOTONIC */
};
_Static_assert(sizeof(struct sn_cell) == 8, "map value layout");

/*
 * Value of rl_src, for a source that completed a handshake (made by control, then written by the guard).  The key is as
 * that of block.  Only these have entries, because addresses of packets are free to invent.
 */
#define SN_SOURCES_MAX (256u * 1024)
struct sn_source {
	__u64 connections_full_at_ns; /* CLOCK_MONOTONIC; for the levels by IP */
	__u64 packets_full_at_ns;
};
_Static_assert(sizeof(struct sn_source) == 16, "map value layout");

#define SN_GCRA_TRIES 4
#define SN_GCRA_SLACK_NS 1000000000ull

static inline __u32 sn_budget_is_v4(const __u32 addr[4])
{
	const __u8 mapped[4] = { 0, 0, 0xff, 0xff };
	__u32 third;

	__builtin_memcpy(&third, mapped, sizeof(third));
	return !addr[0] && !addr[1] && addr[2] == third;
}

/* What is left of a source at a level's length.  Bytes in network order whatever the machine: only equality matters. */
static inline __u64 sn_budget_key(const __u32 addr[4], __u32 per, __u32 is_v4)
{
	const __u8 mask24[4] = { 0xff, 0xff, 0xff, 0 }, mask48[4] = { 0xff, 0xff, 0, 0 };
	__u32 mask = ~0u;

	if (per == SN_PER_24)
		__builtin_memcpy(&mask, mask24, sizeof(mask));
	if (per == SN_PER_48)
		__builtin_memcpy(&mask, mask48, sizeof(mask));
	if (is_v4)
		return (__u64)addr[2] << 32 | (addr[3] & mask);
	return (__u64)addr[0] << 32 | (addr[1] & mask);
}

/*
 * Two cells in one word, by a secret: nobody can choose to share a cell with somebody.  Any 64 bits are the network of
 * an IPv6 source, also those that an IPv4 address is written with, so the family is hashed too.
 */
static inline __u64 sn_budget_hash(const __u32 addr[4], __u32 per, const __u64 seed[2], __u32 level)
{
	__u32 is_v4 = sn_budget_is_v4(addr);
	__u64 h = sn_budget_key(addr, per, is_v4) ^ seed[0];

	h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
	h ^= seed[1] + level + (is_v4 ? 0 : SN_BUDGET_LEVELS);
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
 * A time before another CPU's cannot refill it, because the word only grows.  A word that no admission can have written
 * is left over from other settings: it is cut to what an empty bucket of these would say.
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
