/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * timer.h - deadlines on one hierarchical wheel a loop, 1 ms ticks.  Arm, re-arm and disarm are O(1).
 * A timer fires once, never early, at most one tick plus one turn late.  Thread of the loop only.
 */
#ifndef SN_LOOP_TIMER_H
#define SN_LOOP_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct loop;

struct timer {
	struct list node; /* in a wheel slot */
	uint64_t deadline_ms; /* loop clock; 0: not armed */
	void (*on_expire)(struct timer *t);
};

void timer_init(struct timer *t, void (*on_expire)(struct timer *t));
/* Fire delay_ms from the loop's cached now; an armed timer is moved.  delay_ms 0 fires in the next turn. */
void timer_arm(struct loop *l, struct timer *t, uint64_t delay_ms);
void timer_disarm(struct loop *l, struct timer *t); /* not armed: nothing */
static inline bool timer_is_armed(const struct timer *t)
{
	return t->deadline_ms != 0;
}

#endif
