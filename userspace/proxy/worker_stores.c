/* SPDX-License-Identifier: GPL-2.0-only */
/* worker_stores.c - a worker's sides of stores; who decides that one is not asked also says so. */
#include "proxy/worker_stores.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "observe/log.h"
#include "proxy/worker.h"

/* Workers decide for themselves; the first that goes and the last that comes back speak for all. */
static void on_change(void *ctx, struct store *s, bool is_down)
{
	struct worker_store *ws = ctx;
	uint32_t count = atomic_load(&s->workers_down);
	const struct span label = span_str(s->label);
	char why[STORE_WHY_MAX];

	metric_cell_set(metric_cell(ws->worker->metrics, METRIC_RATE_LIMIT_STORE_DOWN, &label), is_down);
	store_why(s, why);
	if (is_down && count == 1)
		log_warn("store %s is not asked any more: %s; its limits use their fallback", s->label, why);
	else if (!is_down && count == 0)
		log_info("store %s is asked again", s->label);
}

static const struct store_events events = { .on_change = on_change };

struct worker_store *worker_store_get(struct proxy_worker *w, struct store *s)
{
	struct worker_store *ws;
	const struct span label = span_str(s->label);
	struct list *pos;

	list_for_each(pos, &w->stores) {
		ws = list_entry(pos, struct worker_store, node);
		if (store_worker_store(ws->side) == s && !store_worker_is_closing(ws->side))
			return ws;
	}
	ws = mem_zalloc(sizeof(*ws));
	ws->worker = w;
	ws->side = store_worker_new(w->loop, s, &events, ws);
	ws->seconds = metric_cell(w->metrics, METRIC_RATE_LIMIT_STORE_SECONDS, &label);
	list_append(&w->stores, &ws->node);
	return ws;
}

void worker_store_count(struct worker_store *ws, enum store_failure f, uint64_t microseconds)
{
	if (unlikely(!ws->results[f])) {
		const struct span labels[] = {
			span_str(store_worker_store(ws->side)->label),
			f == STORE_ANSWERED ? SPAN("answered") : span_str(store_failure_name(f)),
		};

		ws->results[f] = metric_cell(ws->worker->metrics, METRIC_RATE_LIMIT_STORE_CHECKS_TOTAL, labels);
	}
	metric_cell_add(ws->results[f], 1);
	if (f == STORE_ANSWERED)
		metric_cell_observe_us(ws->seconds, microseconds);
}

/* ---- the end ---- */

static void gone(struct worker_store *ws)
{
	const struct span label = span_str(store_worker_store(ws->side)->label);

	metric_cell_set(metric_cell(ws->worker->metrics, METRIC_RATE_LIMIT_STORE_DOWN, &label), 0);
	list_remove(&ws->node);
	store_worker_free(ws->side);
	free(ws);
}

void worker_stores_sweep(struct proxy_worker *w)
{
	struct list *pos, *next;

	list_for_each_safe(pos, next, &w->stores) {
		struct worker_store *ws = list_entry(pos, struct worker_store, node);

		if (store_worker_is_closed(ws->side))
			gone(ws);
		else if (!store_worker_is_closing(ws->side) && store_worker_is_idle(ws->side) &&
			 atomic_load(&store_worker_store(ws->side)->names) == 0)
			store_worker_close(ws->side);
	}
}

void worker_stores_close(struct proxy_worker *w)
{
	struct list *pos;

	list_for_each(pos, &w->stores) {
		struct worker_store *ws = list_entry(pos, struct worker_store, node);

		if (!store_worker_is_closing(ws->side))
			store_worker_close(ws->side);
	}
}

bool worker_stores_are_closed(const struct proxy_worker *w)
{
	const struct list *pos;

	list_for_each(pos, &w->stores)
		if (!store_worker_is_closed(list_entry(pos, const struct worker_store, node)->side))
			return false;
	return true;
}

void worker_stores_fini(struct proxy_worker *w)
{
	struct list *pos, *next;

	list_for_each_safe(pos, next, &w->stores)
		gone(list_entry(pos, struct worker_store, node));
}
