/* SPDX-License-Identifier: GPL-2.0-only */
/* retry.c - whether a failed attempt may be made once more. */
#include "proxy/retry.h"

#include "base/check.h"
#include "base/rand.h"

bool retry_is_allowed(const struct retry_question *q)
{
	if (q->retry == FAILURE_RETRY_NO || q->has_response || q->attempts >= q->attempts_max || !q->is_replayable)
		return false;
	if (q->retry == FAILURE_RETRY_ALWAYS || !q->has_written)
		return true;
	return q->is_idempotent || q->retries_non_idempotent;
}

/* Whoever first comes into a new window clears its counters.  A count lost to the race does no harm. */
static unsigned enter_window(struct retry_budget *b, uint64_t now_ms)
{
	uint64_t window = now_ms / RETRY_WINDOW_MS + 1;
	uint64_t seen = atomic_load_explicit(&b->window, memory_order_relaxed);

	if (seen < window && atomic_compare_exchange_strong_explicit(&b->window, &seen, window, memory_order_relaxed,
								     memory_order_relaxed)) {
		unsigned other = (window + 1) & 1;

		atomic_store_explicit(&b->requests[window & 1], 0, memory_order_relaxed);
		atomic_store_explicit(&b->retries[window & 1], 0, memory_order_relaxed);
		if (seen + 1 != window) { /* the last window saw nothing */
			atomic_store_explicit(&b->requests[other], 0, memory_order_relaxed);
			atomic_store_explicit(&b->retries[other], 0, memory_order_relaxed);
		}
	}
	return window & 1;
}

void retry_budget_request(struct retry_budget *b, uint64_t now_ms)
{
	atomic_fetch_add_explicit(&b->requests[enter_window(b, now_ms)], 1, memory_order_relaxed);
}

bool retry_budget_take(struct retry_budget *b, unsigned percent, uint64_t now_ms)
{
	unsigned current = enter_window(b, now_ms);
	uint64_t requests = atomic_load_explicit(&b->requests[0], memory_order_relaxed) +
			    atomic_load_explicit(&b->requests[1], memory_order_relaxed);
	uint64_t allowed = MAX((uint64_t)RETRY_MIN, requests * percent / 100);
	uint64_t used = atomic_fetch_add_explicit(&b->retries[current], 1, memory_order_relaxed) +
			atomic_load_explicit(&b->retries[current ^ 1], memory_order_relaxed);

	if (percent > 0 && used < allowed)
		return true;
	atomic_fetch_sub_explicit(&b->retries[current], 1, memory_order_relaxed);
	return false;
}

uint64_t retry_backoff_ms(uint64_t base_ms, uint64_t max_ms, unsigned attempts)
{
	unsigned shift = attempts > 0 ? MIN(attempts - 1, 20U) : 0;
	uint64_t wait = MIN(base_ms << shift, MAX(max_ms, base_ms));

	if (wait < 2)
		return MAX(wait, (uint64_t)1);
	return wait / 2 + rand_below((uint32_t)MIN(wait / 2, (uint64_t)UINT32_MAX - 1) + 1);
}
