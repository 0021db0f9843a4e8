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

/* The time since the last look was waited, if the wait is on.  True: the client is too slow. */
static bool pace_look(struct waits *w, enum wait_kind kind, uint32_t now)
{
	uint32_t waited = now - w->seen_ms[kind];

	w->seen_ms[kind] = now;
	if (kind == WAIT_HEAD && !w->paces[kind].is_begun)
		return false; /* a connection that says nothing has its own limits */
	return w->since_ms[kind] && pace_wait(&w->paces[kind], waited, w->min_rate);
}

static bool has_pace(const struct waits *w, enum wait_kind kind)
{
	return kind <= WAIT_WRITE && w->min_rate;
}

void waits_pace(struct waits *w, uint32_t min_rate)
{
	w->min_rate = min_rate;
	for (unsigned i = 0; i <= WAIT_WRITE; i++)
		pace_begin(&w->paces[i]);
}

/* Who moves something is looked at when his window is over: the timer does that. */
static void pace_count(struct loop *l, struct waits *w, enum wait_kind kind)
{
	uint32_t now = now_of(l), waited = now - w->seen_ms[kind];
	struct pace *p = &w->paces[kind];

	if (!w->since_ms[kind]) {
		w->seen_ms[kind] = now;
		arm_for(l, w, p->left_ms);
	} else if (waited < p->left_ms) {
		w->seen_ms[kind] = now;
		p->left_ms = (uint16_t)(p->left_ms - waited);
	}
}

void wait_begin(struct loop *l, struct waits *w, enum wait_kind kind, uint64_t limit_ms)
{
	if (limit_ms == 0) {
		w->since_ms[kind] = 0;
		return;
	}
	if (has_pace(w, kind))
		pace_count(l, w, kind);
	w->since_ms[kind] = now_of(l);
	w->limit_ms[kind] = wait_limit(limit_ms);
	arm_for(l, w, w->limit_ms[kind]);
}

void wait_progress(struct loop *l, struct waits *w, enum wait_kind kind)
{
	if (!w->since_ms[kind])
		return;
	if (has_pace(w, kind))
		pace_count(l, w, kind);
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

	for (enum wait_kind i = 0; i < WAIT_COUNT; i++) {
		uint32_t waited = now - w->since_ms[i];
		uint32_t left = waited < w->limit_ms[i] ? w->limit_ms[i] - waited : 0;

		if (!w->since_ms[i])
			continue;
		if (has_pace(w, i)) {
			if (pace_look(w, i, now))
				left = 0;
			next = MIN(next, w->paces[i].left_ms);
		}
		if (left == 0 && expired == WAIT_COUNT)
			expired = i;
		else
			next = MIN(next, left);
	}
	if (next != UINT32_MAX)
		arm_for(l, w, next);
	if (expired != WAIT_COUNT)
		w->since_ms[expired] = 0;
	return expired;
}
