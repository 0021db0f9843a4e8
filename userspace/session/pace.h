/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pace.h - is a client too slow?  Counted is only the time in which it is waited for: after 10 s of grace it must move
 * min-rate bytes a second, on average of 30 s.  Of one message each; pure.
 */
#ifndef SN_SESSION_PACE_H
#define SN_SESSION_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_GRACE_MS  10000
#define PACE_WINDOW_MS 30000

struct pace {
	uint32_t bytes;	  /* in the window, or the grace */
	uint16_t left_ms; /* of it */
	bool is_past_grace, is_begun; /* begun: a byte moved */
};

_Static_assert(PACE_WINDOW_MS <= UINT16_MAX && PACE_GRACE_MS <= UINT16_MAX, "left_ms holds them");

static inline void pace_begin(struct pace *p)
{
	*p = (struct pace){ .left_ms = PACE_GRACE_MS };
}

static inline void pace_bytes(struct pace *p, uint64_t bytes)
{
	p->is_begun = true;
	p->bytes = bytes > UINT32_MAX - p->bytes ? UINT32_MAX : p->bytes + (uint32_t)bytes;
}

/* So much time was waited.  True: it is too slow. */
static inline bool pace_wait(struct pace *p, uint32_t ms, uint32_t min_rate)
{
	bool is_slow;

	if (ms < p->left_ms) {
		p->left_ms = (uint16_t)(p->left_ms - ms);
		return false;
	}
	is_slow = p->is_past_grace && p->bytes < (uint64_t)min_rate * (PACE_WINDOW_MS / 1000);
	*p = (struct pace){ .left_ms = PACE_WINDOW_MS, .is_past_grace = true, .is_begun = p->is_begun };
	return is_slow;
}

#endif
