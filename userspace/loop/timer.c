/* SPDX-License-Identifier: GPL-2.0-only */
/* timer.c - deadlines of a loop: the wheel with the loop's clock. */
#include "loop/timer.h"

#include "loop/internal.h"

/* Longer than any deadline in a configuration; keeps the sum far from overflow. */
#define DELAY_MS_MAX (1ULL << 42)

void timer_init(struct timer *t, void (*on_expire)(struct timer *t))
{
	*t = (struct timer){ .on_expire = on_expire };
	list_init(&t->node);
}

void timer_arm(struct loop *l, struct timer *t, uint64_t delay_ms)
{
	OBJ_CHECK(l, TAG_LOOP);
	CHECK(t->on_expire);
	list_remove(&t->node);
	/* now_ms is rounded down, so one tick more is what keeps a timer from firing early. */
	t->deadline_ms = delay_ms ? l->now_ms + MIN(delay_ms, DELAY_MS_MAX) + 1 : l->now_ms;
	wheel_add(&l->wheel, t);
}

void timer_disarm(struct loop *l, struct timer *t)
{
	OBJ_CHECK(l, TAG_LOOP);
	if (!timer_is_armed(t))
		return;
	list_remove(&t->node);
	t->deadline_ms = 0;
}

void timers_run(struct loop *l)
{
	struct list expired, *n;

	list_init(&expired);
	wheel_advance(&l->wheel, l->now_ms, &expired);
	/* A callback may disarm a timer that is in this list still: it unlinks itself. */
	while ((n = list_pop(&expired))) {
		struct timer *t = list_entry(n, struct timer, node);

		t->deadline_ms = 0;
		t->on_expire(t);
	}
}
