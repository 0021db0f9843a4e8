/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel.c - after a 101, or a 2xx to CONNECT: bytes both ways until both ends are done, or nothing moved for
 * too long. */
#include "proxy/exchange_internal.h"
#include "proxy/worker.h"

#define TUNNEL_TAG TAG('t', 'u', 'n', 'l')

enum side {
	CLIENT,
	ORIGIN,
	SIDES,
};

struct tunnel {
	uint32_t tag;
	struct exchange *record; /* what is logged at the end; its arena holds this struct */
	struct proxy_worker *worker;
	struct list node; /* worker->tunnels */

	struct http_stream *streams[SIDES];
	struct body_flow flows[SIDES]; /* from that side */
	struct timer idle_timer;
	struct task end_task;
	uint64_t idle_ms, last_ms;
	bool is_broken;
};

static void end_later(struct tunnel *t)
{
	loop_defer(t->worker->loop, &t->end_task);
}

/* Both directions ended and everything is out. */
static bool is_over(const struct tunnel *t)
{
	for (unsigned i = 0; i < SIDES; i++)
		if (!t->flows[i].is_ended || http_stream_queued(t->streams[i]) > 0)
			return false;
	return true;
}

static void top_up(struct tunnel *t, enum side from)
{
	enum side to = from == CLIENT ? ORIGIN : CLIENT;
	size_t credit = body_flow_top_up(&t->flows[from], http_stream_queued(t->streams[to]));

	if (credit > 0)
		http_stream_credit(t->streams[from], credit);
}

static void tunnel_body(struct tunnel *t, enum side from, struct slice data)
{
	enum side to = from == CLIENT ? ORIGIN : CLIENT;

	t->last_ms = loop_now_ms(t->worker->loop);
	t->flows[from].received += data.len;
	metric_cell_add(t->worker->tunnel_bytes[from], data.len);
	http_stream_send_body(t->streams[to], data);
	top_up(t, from);
}

static void tunnel_end(struct tunnel *t, enum side from)
{
	enum side to = from == CLIENT ? ORIGIN : CLIENT;

	t->flows[from].is_ended = true;
	http_stream_send_end(t->streams[to], NULL);
	if (is_over(t))
		end_later(t);
}

static void tunnel_sent(struct tunnel *t, enum side to)
{
	enum side from = to == CLIENT ? ORIGIN : CLIENT;

	t->last_ms = loop_now_ms(t->worker->loop);
	top_up(t, from);
	if (is_over(t))
		end_later(t);
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct tunnel *t = st->owner;

	if (t->is_broken)
		slice_put(&data);
	else
		tunnel_body(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN, data);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	struct tunnel *t = st->owner;

	(void)trailers;
	if (!t->is_broken)
		tunnel_end(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN);
}

static void on_sent(struct http_stream *st)
{
	struct tunnel *t = st->owner;

	if (!t->is_broken)
		tunnel_sent(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN);
}

static void break_off(struct tunnel *t)
{
	t->is_broken = true;
	end_later(t);
}

static void on_fail(struct http_stream *st, const struct session_failure *f)
{
	(void)f;
	break_off(st->owner);
}

static const struct http_stream_events tunnel_events = {
	.on_body = on_body,
	.on_end = on_end,
	.on_sent = on_sent,
	.on_fail = on_fail,
};

static void on_idle(struct timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, idle_timer);
	uint64_t quiet = loop_now_ms(t->worker->loop) - t->last_ms;

	if (quiet >= t->idle_ms)
		break_off(t);
	else
		timer_arm(t->worker->loop, timer, t->idle_ms - quiet);
}

static void run_end(struct task *task)
{
	struct tunnel *t = container_of(task, struct tunnel, end_task);
	struct exchange *record = t->record;

	OBJ_CHECK(t, TUNNEL_TAG);
	timer_disarm(t->worker->loop, &t->idle_timer);
	for (unsigned i = 0; i < SIDES; i++) {
		if (t->is_broken)
			http_stream_reset(t->streams[i]);
		else
			http_stream_done(t->streams[i]);
	}
	record->sent_bytes = t->flows[ORIGIN].received;
	record->up.received = t->flows[CLIENT].received;
	list_remove(&t->node);
	t->worker->tunnel_count--;
	metric_sub(t->worker->metrics, METRIC_TUNNELS_ACTIVE, 1);
	t->tag = 0;
	exchange_end_tunnel(record);
}

void tunnel_start(struct exchange *x, struct http_stream *client, struct http_stream *origin, bool is_origin_ended,
		  uint64_t idle_ms)
{
	struct tunnel *t = arena_zalloc(x->arena, sizeof(*t));
	struct proxy_worker *w = x->worker;

	t->tag = TUNNEL_TAG;
	t->record = x;
	t->worker = w;
	t->streams[CLIENT] = client;
	t->streams[ORIGIN] = origin;
	t->end_task.run = run_end;
	t->idle_ms = idle_ms;
	t->last_ms = loop_now_ms(w->loop);
	list_append(&w->tunnels, &t->node);
	w->tunnel_count++;
	metric_add(w->metrics, METRIC_TUNNELS_ACTIVE, 1);
	for (unsigned i = 0; i < SIDES; i++) {
		t->streams[i]->owner = t;
		t->streams[i]->events = &tunnel_events;
	}
	timer_init(&t->idle_timer, on_idle);
	if (idle_ms)
		timer_arm(w->loop, &t->idle_timer, idle_ms);
	top_up(t, CLIENT);
	if (is_origin_ended)
		tunnel_end(t, ORIGIN);
	else
		top_up(t, ORIGIN);
}

void tunnels_abort(struct proxy_worker *w)
{
	struct list *pos;

	list_for_each(pos, &w->tunnels) break_off(list_entry(pos, struct tunnel, node));
}
