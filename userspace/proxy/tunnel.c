/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel.c - after a 101, or a 2xx to CONNECT: bytes both ways until both ends are done, or nothing moved for
 * too long. */
#include "proxy/tunnel_private.h"

void tunnel_end_later(struct tunnel *t)
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

static void tunnel_body(struct tunnel *t, enum side from, struct slice data)
{
	t->last_ms = loop_now_ms(t->worker->loop);
	tunnel_count(t, from, SPLICE_ENGINE_COPY, data.len);
	http_stream_send_body(t->streams[other(from)], data);
	tunnel_top_up(t, from);
}

static void tunnel_end(struct tunnel *t, enum side from)
{
	t->flows[from].is_ended = true;
	tunnel_side_ended(t, from);
	http_stream_send_end(t->streams[other(from)], NULL);
	if (is_over(t))
		tunnel_end_later(t);
}

static void tunnel_sent(struct tunnel *t, enum side to)
{
	t->last_ms = loop_now_ms(t->worker->loop);
	tunnel_top_up(t, other(to));
	if (is_over(t))
		tunnel_end_later(t);
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct tunnel *t = st->owner;

	if (t->broken_by)
		slice_put(&data);
	else
		tunnel_body(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN, data);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	struct tunnel *t = st->owner;

	(void)trailers;
	if (!t->broken_by)
		tunnel_end(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN);
}

static void on_sent(struct http_stream *st)
{
	struct tunnel *t = st->owner;

	if (!t->broken_by)
		tunnel_sent(t, st == t->streams[CLIENT] ? CLIENT : ORIGIN);
}

static void on_paused(struct http_stream *st)
{
	struct tunnel *t = st->owner;

	if (!t->broken_by)
		tunnel_paused(t);
}

void tunnel_break(struct tunnel *t, const char *why)
{
	if (!t->broken_by)
		t->broken_by = why;
	tunnel_end_later(t);
}

static void on_fail(struct http_stream *st, const struct session_failure *f)
{
	tunnel_break(st->owner, session_fault_name(f->fault));
}

static const struct http_stream_events tunnel_events = {
	.on_body = on_body,
	.on_end = on_end,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_paused = on_paused,
};

static void on_idle(struct timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, idle_timer);
	uint64_t now = loop_now_ms(t->worker->loop), quiet;

	if (offloaded_is_running(&t->offloaded))
		tunnel_update(t);
	quiet = now > t->last_ms ? now - t->last_ms : 0;
	if (quiet >= t->idle_ms)
		tunnel_break(t, "idle");
	else
		timer_arm(t->worker->loop, timer, t->idle_ms - quiet);
}

static void write_down(struct tunnel *t)
{
	struct exchange *record = t->record;

	record->sent_bytes = t->flows[ORIGIN].received;
	record->up.received = t->flows[CLIENT].received;
	record->bulk[BULK_REQUEST].transfer.bytes = t->transfers[CLIENT].bytes;
	record->bulk[BULK_RESPONSE].transfer.bytes = t->transfers[ORIGIN].bytes;
	record->sockmap_bytes[BULK_REQUEST] = t->kernel_bytes[CLIENT];
	record->sockmap_bytes[BULK_RESPONSE] = t->kernel_bytes[ORIGIN];
	record->undelivered_bytes = t->undelivered;
	record->tunnel_end = t->broken_by ? t->broken_by : "";
}

static void run_end(struct task *task)
{
	struct tunnel *t = container_of(task, struct tunnel, end_task);
	struct proxy_worker *w = t->worker;
	struct exchange *record = t->record;

	OBJ_CHECK(t, TUNNEL_TAG);
	timer_disarm(w->loop, &t->idle_timer);
	if (!tunnel_engine_stop(t))
		return;
	loop_undefer(w->loop, task);
	for (unsigned i = 0; i < SIDES; i++) {
		if (t->broken_by)
			http_stream_reset(t->streams[i]);
		else
			http_stream_done(t->streams[i]);
	}
	write_down(t);
	if (w->tunnels_next == &t->node)
		w->tunnels_next = t->node.next;
	list_remove(&t->node);
	w->tunnel_count--;
	metric_sub(w->metrics, METRIC_TUNNELS_ACTIVE, 1);
	t->tag = 0;
	exchange_end_tunnel(record);
}

struct tunnel *tunnel_new(struct exchange *x, struct http_stream *client, struct http_stream *origin, uint64_t idle_ms)
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
	t->began_ms = t->last_ms = loop_now_ms(w->loop);
	t->engine = x->tunnel_engine;
	list_append(&w->tunnels, &t->node);
	w->tunnel_count++;
	metric_add(w->metrics, METRIC_TUNNELS_ACTIVE, 1);
	for (unsigned i = 0; i < SIDES; i++) {
		t->streams[i]->owner = t;
		t->streams[i]->events = &tunnel_events;
	}
	tunnel_engine_init(t);
	timer_init(&t->idle_timer, on_idle);
	if (idle_ms)
		timer_arm(w->loop, &t->idle_timer, idle_ms);
	return t;
}

struct tunnel *tunnel_start(struct exchange *x, struct http_stream *client, struct http_stream *origin,
			    bool is_origin_ended, uint64_t idle_ms)
{
	struct tunnel *t = tunnel_new(x, client, origin, idle_ms);

	t->flows[ORIGIN].is_ended = is_origin_ended;
	tunnel_top_up(t, CLIENT);
	if (is_origin_ended)
		tunnel_end(t, ORIGIN);
	else
		tunnel_top_up(t, ORIGIN);
	return t;
}
