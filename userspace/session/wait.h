/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wait.h - the deadlines of a session's waits, on one timer.
 *
 * A wait is {since, limit}: beginning and progress only store the time, the wheel is touched when a deadline
 * comes that is earlier than the armed one.  When the timer fires too early (there was progress) it is armed
 * again for the rest. So a kept connection costs no wheel operation a request.
 */
#ifndef SN_SESSION_WAIT_H
#define SN_SESSION_WAIT_H

#include "loop/loop.h"
#include "session/pace.h"

enum wait_kind {
	WAIT_HEAD,  /* the whole head; progress does not help */
	WAIT_READ,  /* the next body byte */
	WAIT_WRITE, /* the socket takes a byte; up to here a wait has a pace as well */
	WAIT_IDLE,  /* the next request, or the next use */
	WAIT_WATCH, /* nothing: after this time it is worth to look at what does not move */
	WAIT_COUNT,
};

struct waits {
	struct timer timer;
	uint32_t since_ms[WAIT_COUNT]; /* low bits of the loop's clock, never 0; 0: not waiting */
	uint32_t limit_ms[WAIT_COUNT];
	uint32_t min_rate; /* bytes a second; 0: a client may be as slow as the limits allow */
	uint32_t seen_ms[WAIT_WRITE + 1]; /* until when the time was counted */
	struct pace paces[WAIT_WRITE + 1];
};

/* A limit as it is kept: above 24 days it is 24 days. */
static inline uint32_t wait_limit(uint64_t ms)
{
	return (uint32_t)MIN(ms, (uint64_t)INT32_MAX);
}
void waits_init(struct waits *w, void (*on_expire)(struct timer *t));
/* Begin, or go on from now after progress.  limit_ms 0: no deadline; above 24 days: 24 days. */
void wait_begin(struct loop *l, struct waits *w, enum wait_kind kind, uint64_t limit_ms);
void wait_progress(struct loop *l, struct waits *w, enum wait_kind kind);
static inline bool wait_is_on(const struct waits *w, enum wait_kind kind)
{
	return w->since_ms[kind] != 0;
}
static inline void wait_end(struct waits *w, enum wait_kind kind)
{
	w->since_ms[kind] = 0;
}
void waits_stop(struct loop *l, struct waits *w);
/* Another message: its client's pace is measured from here. */
void waits_pace(struct waits *w, uint32_t min_rate);
static inline void wait_bytes(struct waits *w, enum wait_kind kind, uint64_t bytes)
{
	if (w->min_rate)
		pace_bytes(&w->paces[kind], bytes);
}
/*
 * From on_expire: a wait that is over, or whose client is too slow, and now ended; or WAIT_COUNT: none.  The timer is
 * armed again for what else waits.
 */
enum wait_kind waits_expired(struct loop *l, struct waits *w);

#endif
