/* SPDX-License-Identifier: GPL-2.0-only */
/* store_worker.c - questions and their deadlines, which connection takes them, the breaker. */
#include "clients/store_worker.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "clients/store_private.h"

#define LOAD_MAX 32 /* questions under way before another connection is opened */

/* ---- the breaker ---- */

static void change(struct store_worker *sw, bool is_down)
{
	sw->is_down = is_down;
	if (is_down)
		atomic_fetch_add(&sw->store->workers_down, 1);
	else
		atomic_fetch_sub(&sw->store->workers_down, 1);
	if (sw->events)
		sw->events->on_change(sw->ctx, sw->store, is_down);
}

static void end_all(struct store_worker *sw, enum store_failure f)
{
	struct list *pos, *next;

	list_for_each_safe(pos, next, &sw->connections) {
		struct store_connection *c = list_entry(pos, struct store_connection, node);

		c->is_probe = false;
		connection_end(c, f, false);
	}
}

/* Many workers and proxies: not all at the same instant. */
static void probe_later(struct store_worker *sw)
{
	uint64_t pause = sw->probe_pause_ms;

	sw->probe_pause_ms = MIN(2 * pause, (uint64_t)STORE_PROBE_MAX_MS);
	timer_arm(sw->loop, &sw->probe_timer, pause - rand_below((uint32_t)(pause / 4)));
}

void worker_succeeded(struct store_worker *sw)
{
	sw->failures = 0;
	if (sw->is_down)
		change(sw, false);
}

void worker_failed(struct store_worker *sw, const char *why)
{
	if (sw->is_closing)
		return;
	store_set_why(sw->store, why);
	if (sw->is_down) {
		probe_later(sw);
		return;
	}
	if (++sw->failures < STORE_FAILURES_MAX)
		return;
	sw->probe_pause_ms = STORE_PROBE_MIN_MS;
	change(sw, true);
	end_all(sw, STORE_DOWN);
	probe_later(sw);
}

static void on_probe(struct timer *t)
{
	struct store_worker *sw = container_of(t, struct store_worker, probe_timer);
	enum store_failure f;

	(void)connection_open(sw, true, &f);
}

/* ---- questions ---- */

static void deadline_set(struct store_worker *sw)
{
	const struct store_check *k = list_first(&sw->waiting, struct store_check, node);
	uint64_t now = loop_now_ms(sw->loop);

	if (!k)
		timer_disarm(sw->loop, &sw->deadline_timer);
	else if (sw->deadline_timer.deadline_ms == 0 || sw->deadline_timer.deadline_ms > k->deadline_ms)
		timer_arm(sw->loop, &sw->deadline_timer, k->deadline_ms > now ? k->deadline_ms - now : 0);
}

void check_done(struct store_check *k, enum store_failure f)
{
	struct store_worker *sw = k->connection->worker;

	list_remove(&k->node);
	k->connection = NULL;
	k->failure = f;
	if (f == STORE_ANSWERED)
		worker_succeeded(sw);
	k->on_done(k);
}

void check_refused(struct store_check *k, const char *why)
{
	struct store_worker *sw = k->connection->worker;

	check_done(k, STORE_REFUSED);
	worker_failed(sw, why);
}

/* Its place stays, and the reply that comes for it is dropped. */
static void place_leave(struct store_check *k)
{
	struct store_connection *c = k->connection;
	struct place *p = &c->places[k->place % PLACES];

	CHECK(p->check == k);
	*p = (struct place){ PLACE_NOBODY, NULL };
}

static void on_deadline(struct timer *t)
{
	struct store_worker *sw = container_of(t, struct store_worker, deadline_timer);
	struct store_check *k;

	while ((k = list_first(&sw->waiting, struct store_check, node)) && k->deadline_ms <= loop_now_ms(sw->loop)) {
		place_leave(k);
		check_done(k, STORE_TIMEOUT);
		worker_failed(sw, "it does not answer in time");
	}
	deadline_set(sw);
}

/* The least busy one; another one is opened when all are busy. */
static struct store_connection *choose(struct store_worker *sw, enum store_failure *out_failure)
{
	struct store_connection *best = NULL, *fresh;
	bool is_opening = false;
	struct list *pos;

	list_for_each(pos, &sw->connections) {
		struct store_connection *c = list_entry(pos, struct store_connection, node);

		is_opening |= c->state == CONNECTION_OPENING;
		if (c->state != CONNECTION_ENDING && (!best || c->next - c->first < best->next - best->first))
			best = c;
	}
	if (best && (best->next - best->first < LOAD_MAX || is_opening ||
		     sw->open_count >= sw->store->settings.pool_max))
		return best;
	fresh = connection_open(sw, false, out_failure);
	return fresh || sw->is_down ? fresh : best;
}

enum store_failure store_check_begin(struct store_worker *sw, struct store_check *k)
{
	enum store_failure f = STORE_BUSY;
	struct store_connection *c;

	CHECK(!k->connection && !sw->is_closing && k->key.len <= STORE_KEY_MAX);
	if (sw->is_down)
		return STORE_DOWN;
	c = choose(sw, &f);
	if (!c || !connection_has_room(c))
		return f;
	k->begin_ns = loop_now_ns(sw->loop);
	k->deadline_ms = loop_now_ms(sw->loop) + sw->store->settings.timeout_ms;
	k->attempts = 0;
	list_append(&sw->waiting, &k->node);
	sw->protocol->ask(c, k);
	deadline_set(sw);
	return STORE_ANSWERED;
}

void store_check_cancel(struct store_check *k)
{
	if (!k->connection)
		return;
	place_leave(k);
	list_remove(&k->node);
	k->connection = NULL;
}

void store_give_back(struct store_worker *sw, struct span key, uint64_t interval_us)
{
	struct list *pos;

	list_for_each(pos, &sw->connections) {
		struct store_connection *c = list_entry(pos, struct store_connection, node);

		if (c->state == CONNECTION_READY && connection_has_room(c)) {
			sw->protocol->give_back(c, key, interval_us);
			return;
		}
	}
}

/* ---- the whole ---- */

struct store_worker *store_worker_new(struct loop *l, struct store *s, const struct store_events *events, void *ctx)
{
	struct store_worker *sw = mem_zalloc(sizeof(*sw));

	atomic_fetch_add(&s->holds, 1);
	sw->loop = l;
	sw->store = s;
	sw->protocol = s->settings.url.kind == STORE_REDIS ? &store_redis : &store_memcached;
	sw->events = events;
	sw->ctx = ctx;
	list_init(&sw->connections);
	list_init(&sw->waiting);
	timer_init(&sw->deadline_timer, on_deadline);
	timer_init(&sw->probe_timer, on_probe);
	return sw;
}

struct store *store_worker_store(const struct store_worker *sw)
{
	return sw->store;
}

bool store_worker_is_idle(const struct store_worker *sw)
{
	return list_is_empty(&sw->waiting);
}

bool store_worker_is_closing(const struct store_worker *sw)
{
	return sw->is_closing;
}

void store_worker_close(struct store_worker *sw)
{
	sw->is_closing = true;
	timer_disarm(sw->loop, &sw->probe_timer);
	timer_disarm(sw->loop, &sw->deadline_timer);
	end_all(sw, STORE_DOWN);
}

bool store_worker_is_closed(const struct store_worker *sw)
{
	return sw->is_closing && list_is_empty(&sw->connections);
}

void store_worker_free(struct store_worker *sw)
{
	if (!sw)
		return;
	CHECK(store_worker_is_closed(sw) && list_is_empty(&sw->waiting));
	if (sw->is_down)
		atomic_fetch_sub(&sw->store->workers_down, 1);
	tls_session_cache_fini(&sw->sessions);
	atomic_fetch_sub(&sw->store->holds, 1);
	free(sw);
}
