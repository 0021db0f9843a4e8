/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * limit_metrics.c - limits come and go with reloads, their series stay: what changed since the last look is added, so
 * that limits of one name add up.
 */
#include "app/limit_metrics.h"

#include "app/control.h"
#include "base/check.h"
#include "base/clock.h"

static void add(struct control *c, struct limit *l, enum metric_id id, uint64_t now, uint64_t *counted)
{
	const struct span labels[] = { span_str(l->scope), span_str(l->name) };

	metric_cell_add(metric_cell(c->metrics, id, labels), now - *counted);
	*counted = now;
}

static uint64_t number(_Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

static void collect(void *ctx, struct limit *l)
{
	add(ctx, l, METRIC_RATE_LIMIT_KEYS, number(&l->keys), &l->counted[0]);
	add(ctx, l, METRIC_RATE_LIMIT_KEY_EVICTIONS_TOTAL, number(&l->evictions), &l->counted[1]);
	add(ctx, l, METRIC_RATE_LIMIT_SHARED_TOTAL, number(&l->shared), &l->counted[2]);
}

void limit_metrics_start(struct control *c)
{
	c->registry.limits.on_forget = collect;
	c->registry.limits.ctx = c;
}

void limit_metrics_collect(struct control *c)
{
	limits_each(&c->registry.limits, collect, c);
}

void limit_metrics_sweep(struct control *c)
{
	limits_sweep(&c->registry.limits, clock_mono_ns());
}
