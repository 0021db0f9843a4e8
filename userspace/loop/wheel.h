/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wheel.h - the hierarchical timer wheel under timer.h; no clock and no loop, so tests turn it by hand.
 *
 * Four levels: 256 slots of 1 ms, then three of 64 slots, each as wide as the whole level below (0.26 s, 16 s,
 * 17 min, 18.6 h).  A timer moves down a level when its slot's time begins, at most three times in its life.
 * A deadline beyond the top waits in the farthest slot and is placed anew from there.
 */
#ifndef SN_LOOP_WHEEL_H
#define SN_LOOP_WHEEL_H

#include "base/list.h"
#include "loop/timer.h"

#define WHEEL_NEAR_BITS	 8
#define WHEEL_FAR_BITS	 6
#define WHEEL_NEAR_SLOTS (1U << WHEEL_NEAR_BITS)
#define WHEEL_FAR_SLOTS	 (1U << WHEEL_FAR_BITS)
#define WHEEL_FAR_LEVELS 3
#define WHEEL_NONE	 UINT64_MAX

struct wheel {
	uint64_t tick; /* ms; every deadline up to here has been handed out */

	struct list due; /* armed with a deadline that had passed already */
	struct list near[WHEEL_NEAR_SLOTS];
	struct list far[WHEEL_FAR_LEVELS][WHEEL_FAR_SLOTS];
	/* A set bit may be stale (its slot emptied since); a clear bit never is. */
	uint64_t near_used[WHEEL_NEAR_SLOTS / 64];
	uint64_t far_used[WHEEL_FAR_LEVELS];
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* Link t by t->deadline_ms.  A deadline that has passed is due at the next wheel_advance(). */
void wheel_add(struct wheel *w, struct timer *t);
/*
 * Time of the next thing to do, or WHEEL_NONE: never later than the earliest deadline, but it may be earlier
 * (a slot of a higher level that has to move down).
 */
uint64_t wheel_next(struct wheel *w);
/* Append every timer with a deadline <= now_ms to out_expired, in order of deadlines (to the millisecond). */
void wheel_advance(struct wheel *w, uint64_t now_ms, struct list *out_expired);

#endif
