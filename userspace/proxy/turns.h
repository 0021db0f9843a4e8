/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * turns.h - whether a worker is so busy that tunnels should not depend on it: from the lengths of its loop's turns.
 * A turn is as long as the others wait.  Busy: in the last second 99 % of the turns were not within 1 ms.  Calm again:
 * for ten seconds on end they were within 0.3 ms.
 */
#ifndef SN_PROXY_TURNS_H
#define SN_PROXY_TURNS_H

#include <stdbool.h>
#include <stdint.h>

#define TURN_BUSY_NS	   1000000
#define TURN_CALM_NS	   300000
#define TURNS_CALM_SECONDS 10

struct turns {
	uint32_t count, above_calm, above_busy; /* of this second */
	unsigned calm_seconds;
	bool is_busy;
};

static inline void turns_add(struct turns *t, uint64_t busy_ns)
{
	t->count++;
	t->above_calm += busy_ns > TURN_CALM_NS;
	t->above_busy += busy_ns > TURN_BUSY_NS;
}

/* What came from a worker that was busy, before there is a second to judge by. */
static inline void turns_assume_busy(struct turns *t)
{
	t->is_busy = true;
	t->calm_seconds = 0;
}

/* Once a second.  A single long turn is no sign: it happens to everybody. */
void turns_second(struct turns *t);

#endif
