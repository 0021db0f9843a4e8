/* SPDX-License-Identifier: GPL-2.0-only */
/* wait.c - the deadlines of a session's waits, on one timer. */
#include "session/wait.h"

void waits_init(struct waits *w, void (*on_expire)(struct timer *t))
{
	*w = (struct waits){0};
	timer_init(&w->timer, on_expire);
}

/* 32 bits of milliseconds are enough: only differences below 2^31 are looked at. */
static uint32_t now_of(struct loop *l)
{
	uint32_t now = (uint32_t)loop_now_ms(l);

	return now ? now : 1;
}

static void arm_for(struct loop *l, struct waits *w, uint32_t left_ms)
{
	left_ms = MAX(left_ms, 1U);
	if (!timer_is_armed(&w->timer) || w->timer.deadline_ms > loop_now_ms(l) + left_ms)
		timer_arm(l, &w->timer, left_ms);
}

void wait_begin(struct loop *l, struct waits *w, enum wait_kind kind, uint64_t limit_ms)
{
	if (limit_ms == 0) {
		w->since_ms[kind] = 0;
		return;
	}
	w->since_ms[kind] = now_of(l);
	w->limit_ms[kind] = (uint32_t)MIN(limit_ms, (uint64_t)INT32_MAX);
	arm_for(l, w, w->limit_ms[kind]);
}

void wait_progress(struct loop *l, struct waits *w, enum wait_kind kind)
{
	if (w->since_ms[kind])
		w->since_ms[kind] = now_of(l);
}

void waits_stop(struct loop *l, struct waits *w)
{
	for (unsigned i = 0; i < WAIT_COUNT; i++)
		w->since_ms[i] = 0;
	timer_disarm(l, &w->timer);
}

enum wait_kind waits_expired(struct loop *l, struct waits *w)
{
	uint32_t now = now_of(l), next = UINT32_MAX;
	enum wait_kind expired = WAIT_COUNT;

	for (unsigned i = 0; i < WAIT_COUNT; i++) {
		uint32_t waited = now - w->since_ms[i];
		uint32_t left = waited < w->limit_ms[i] ? w->limit_ms[i] - waited : 0;

		if (!w->since_ms[i])
			continue;
		if (left == 0 && expired == WAIT_COUNT)
			expired = (enum wait_kind)i;
		else
			next = MIN(next, left);
	}
	if (next != UINT32_MAX)
		arm_for(l, w, next);
	if (expired != WAIT_COUNT)
		w->since_ms[expired] = 0;
	return expired;
}
