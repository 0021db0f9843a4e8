/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gcra.h - a token bucket in one word: the instant at which the bucket will be full again (TAT, "theoretical arrival
 * time" of the generic cell rate algorithm).  No word yet, or one in the past: the bucket is full.
 *
 *	interval  = time in which one token comes back
 *	tolerance = (burst - 1) x interval
 *	admitted  if max(tat, now) - now <= tolerance; then tat = max(tat, now) + interval
 *
 * In any time t no more than burst + t / interval requests are admitted, and who comes once an interval is never
 * refused.  Times are nanoseconds of one clock, never 0.  Pure.
 */
#ifndef SN_LIMITS_GCRA_H
#define SN_LIMITS_GCRA_H

#include <stdbool.h>
#include <stdint.h>

struct gcra {
	uint64_t interval_ns;  /* at least 1 */
	uint64_t tolerance_ns; /* below GCRA_SPAN_MAX_NS */
};

#define GCRA_SPAN_MAX_NS (366ull * 86400 * 1000000000) /* burst x interval: a bucket is full within a year */

/* count tokens in period_ms, at most `burst` at once.  False: the bucket would take longer than a year to fill. */
static inline bool gcra_set(struct gcra *g, uint64_t count, uint64_t period_ms, uint64_t burst)
{
	uint64_t interval;

	if (!count || !burst || !period_ms || period_ms > GCRA_SPAN_MAX_NS / 1000000)
		return false;
	/* rounded up: never more than the rate */
	interval = (period_ms * 1000000 - 1) / count + 1;
	if (interval > GCRA_SPAN_MAX_NS / burst)
		return false;
	*g = (struct gcra){ .interval_ns = interval, .tolerance_ns = (burst - 1) * interval };
	return true;
}

/* How long until a request is admitted; 0: now. */
static inline uint64_t gcra_wait(const struct gcra *g, uint64_t tat, uint64_t now_ns)
{
	uint64_t level = tat > now_ns ? tat - now_ns : 0;

	return level > g->tolerance_ns ? level - g->tolerance_ns : 0;
}

/* The word after one more request. */
static inline uint64_t gcra_charge(const struct gcra *g, uint64_t tat, uint64_t now_ns)
{
	return (tat > now_ns ? tat : now_ns) + g->interval_ns;
}

/* Requests that would be admitted now. */
static inline uint64_t gcra_remaining(const struct gcra *g, uint64_t tat, uint64_t now_ns)
{
	uint64_t level = tat > now_ns ? tat - now_ns : 0;

	return level > g->tolerance_ns ? 0 : (g->tolerance_ns - level) / g->interval_ns + 1;
}

#endif
