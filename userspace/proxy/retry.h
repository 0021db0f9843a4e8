/* SPDX-License-Identifier: GPL-2.0-only */
/* retry.h - whether a failed attempt may be made once more: a pure decision, and a process-wide budget. */
#ifndef SN_PROXY_RETRY_H
#define SN_PROXY_RETRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum failure_retry { /* of a failure: failures.def */
	FAILURE_RETRY_NO,
	FAILURE_RETRY_IDEMPOTENT, /* the origin may have acted on it */
	FAILURE_RETRY_ALWAYS,	  /* it cannot have */
};

struct retry_question {
	enum failure_retry retry;
	bool is_idempotent;	     /* the method is (RFC 9110 9.2.2) */
	bool retries_non_idempotent; /* the route says so */
	bool has_written;	     /* a byte of the request left for the origin */
	bool is_replayable;	     /* all of the body that was sent is still here */
	bool has_response;	     /* a response head came */
	unsigned attempts, attempts_max;
};

bool retry_is_allowed(const struct retry_question *q);

/*
 * Retries may not exceed a share of the requests of the last ten to twenty seconds, so that they cannot multiply the
 * load on origins that fail.  RETRY_MIN is always allowed: a hundred in ten seconds are no storm, and with fewer a
 * quiet site would show every second request an error while one of its two targets is down.
 * Two windows of ten seconds, relaxed atomics, any thread.  Zero is valid.
 */
struct retry_budget {
	_Atomic uint64_t window; /* number of the current window */
	_Atomic uint64_t requests[2], retries[2]; /* by window & 1 */
};

#define RETRY_WINDOW_MS 10000
#define RETRY_MIN	100 /* in a window */

void retry_budget_request(struct retry_budget *b, uint64_t now_ms);
/* Take one retry; false: the budget is used up.  0 percent: never. */
bool retry_budget_take(struct retry_budget *b, unsigned percent, uint64_t now_ms);

/* Wait before attempt `attempts` + 1: base x 2^(attempts - 1), at most max, of which a random half to the whole. */
uint64_t retry_backoff_ms(uint64_t base_ms, uint64_t max_ms, unsigned attempts);

#endif
