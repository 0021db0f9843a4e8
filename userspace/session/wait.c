/* SPDX-License-Identifier: GPL-2.0-only */
/* wait.c - the deadlines of a session's waits, on one timer. */
#include "session/wait.h"

void waits_init(struct waits *w, void (*on_expire)(struct timer *t))
{
	*w = (struct waits){0};
	timer_init(&w->timer, on_expire);
}

static void arm_for(struct loop *l, struct waits *w, uint64_t deadline_ms)
{
	uint64_t now = loop_now_ms(l);

	if (timer_is_armed(&w->timer) && w->timer.deadline_ms <= deadline_ms)
		return;
	timer_arm(l, &w->timer, deadline_ms > now ? deadline_ms - now : 1);
}

void wait_begin(struct loop *l, struct waits *w, enum wait_kind kind, uint64_t limit_ms)
{
	if (limit_ms == 0) {
		w->since_ms[kind] = 0;
		return;
	}
	w->since_ms[kind] = loop_now_ms(l);
	w->limit_ms[kind] = limit_ms < UINT32_MAX ? (uint32_t)limit_ms : UINT32_MAX;
	arm_for(l, w, w->since_ms[kind] + w->limit_ms[kind]);
}

void waits_stop(struct loop *l, struct waits *w)
{
	for (unsigned i = 0; i < WAIT_COUNT; i++)
		w->since_ms[i] = 0;
	timer_disarm(l, &w->timer);
}

enum wait_kind waits_expired(struct loop *l, struct waits *w)
{
	uint64_t now = loop_now_ms(l), next = UINT64_MAX;

	for (unsigned i = 0; i < WAIT_COUNT; i++) {
		uint64_t deadline;

		if (!w->since_ms[i])
			continue;
		deadline = w->since_ms[i] + w->limit_ms[i];
		if (deadline <= now)
			return (enum wait_kind)i;
		next = MIN(next, deadline);
	}
	if (next != UINT64_MAX)
		arm_for(l, w, next);
	return WAIT_COUNT;
}
