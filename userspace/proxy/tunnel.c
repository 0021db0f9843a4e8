/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel.c - after a 101, or a 2xx to CONNECT: bytes both ways until both ends are done, or nothing moved for
 * too long. */
#include "proxy/exchange_internal.h"
#include "proxy/tunnels.h"
#include "proxy/worker.h"

#define TUNNEL_TAG TAG('t', 'u', 'n', 'l')

enum side {
	CLIENT,
	ORIGIN,
	SIDES,
};

/* A direction that moved so much in a window is bulk; one that moves a quarter of it in ten is no longer. */
#define BULK_BYTES	(2 * 1024 * 1024)
#define BULK_WINDOW_MS	100

struct rate {
	uint64_t since_ms, bytes;
};

struct tunnel {
	uint32_t tag;
	struct exchange *record; /* what is logged at the end; its arena holds this struct */
	struct proxy_worker *worker;
	struct list node; /* worker->tunnels */

	struct http_stream *streams[SIDES];
	struct body_flow flows[SIDES]; /* from that side */
	struct transfer transfers[SIDES]; /* inside the kernel, from that side */
	struct rate rates[SIDES];
	bool is_wanted[SIDES]; /* the transfer runs, or will when userspace holds nothing */
	bool is_plain;
	enum splice_engine engine; /* the configuration's word */
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

static enum side other(enum side s)
{
	return s == CLIENT ? ORIGIN : CLIENT;
}

/* Only what is in userspace may still come. */
static void hold(struct tunnel *t, enum side from)
{
	t->flows[from].credited = t->flows[from].received + http_stream_hold(t->streams[from]);
	http_stream_credit(t->streams[from], 0);
}

static void transfer_try(struct tunnel *t, enum side from)
{
	enum transfer_answer answer;

	if (transfer_is_running(&t->transfers[from]))
		return;
	answer = transfer_start(&t->transfers[from], &t->worker->shared->pipes, t->streams[from],
				t->streams[other(from)]);
	if (answer == TRANSFER_LATER) {
		hold(t, from);
	} else if (answer == TRANSFER_NEVER) {
		t->is_wanted[from] = false;
		t->flows[from].credited = t->flows[from].received;
	}
}

/* Whether this direction should leave userspace, or has. */
static bool is_for_kernel(struct tunnel *t, enum side from)
{
	const struct rate *r = &t->rates[from];
	const struct splice_question q = {
		.wanted = t->engine,
		.is_plain = t->is_plain,
		.is_bulk = r->bytes >= BULK_BYTES,
		.bytes = SPLICE_UNTIL_EOF,
	};

	if (!t->is_wanted[from] && !t->flows[from].is_ended && splice_choose(&q) == SPLICE_ENGINE_SPLICE) {
		t->is_wanted[from] = true;
		hold(t, from);
	}
	if (t->is_wanted[from])
		transfer_try(t, from);
	return t->is_wanted[from];
}

static void top_up(struct tunnel *t, enum side from)
{
	enum side to = other(from);
	size_t credit;

	if (is_for_kernel(t, from))
		return;
	credit = body_flow_top_up(&t->flows[from], http_stream_queued(t->streams[to]));
	if (credit > 0)
		http_stream_credit(t->streams[from], credit);
}

static void count(struct tunnel *t, enum side from, enum splice_engine engine, size_t bytes)
{
	struct rate *r = &t->rates[from];
	uint64_t now = loop_now_ms(t->worker->loop);

	t->last_ms = now;
	t->flows[from].received += bytes;
	metric_cell_add(t->worker->tunnel_bytes[from], bytes);
	metric_cell_add(t->worker->engine_bytes[engine == SPLICE_ENGINE_SPLICE][from], bytes);
	if (engine == SPLICE_ENGINE_COPY && now - r->since_ms >= BULK_WINDOW_MS)
		*r = (struct rate){ .since_ms = now };
	r->bytes += bytes;
}

static void transfer_moved(struct transfer *transfer, size_t bytes)
{
	struct tunnel *t = transfer->owner;
	enum side from = transfer == &t->transfers[CLIENT] ? CLIENT : ORIGIN;
	struct rate *r = &t->rates[from];
	uint64_t now = loop_now_ms(t->worker->loop);

	count(t, from, SPLICE_ENGINE_SPLICE, bytes);
	if (t->engine == SPLICE_ENGINE_SPLICE || now - r->since_ms < 10 * BULK_WINDOW_MS)
		return;
	if (r->bytes < BULK_BYTES / 4 && http_stream_queued(t->streams[other(from)]) == 0) {
		(void)transfer_stop(transfer); /* nothing is in the pipe */
		t->is_wanted[from] = false;
		t->flows[from].credited = t->flows[from].received;
		*r = (struct rate){ .since_ms = now };
		top_up(t, from);
		return;
	}
	*r = (struct rate){ .since_ms = now };
}

/* An end, or that no pipe is to be had: what follows is read the usual way. */
static void transfer_ended(struct transfer *transfer, enum splice_end why)
{
	struct tunnel *t = transfer->owner;
	enum side from = transfer == &t->transfers[CLIENT] ? CLIENT : ORIGIN;
	size_t credit;

	(void)why;
	t->is_wanted[from] = false;
	t->rates[from] = (struct rate){ .since_ms = loop_now_ms(t->worker->loop) };
	t->flows[from].credited = t->flows[from].received;
	credit = body_flow_top_up(&t->flows[from], http_stream_queued(t->streams[other(from)]));
	http_stream_credit(t->streams[from], credit); /* not top_up(): its end comes by reading */
}

static void tunnel_body(struct tunnel *t, enum side from, struct slice data)
{
	count(t, from, SPLICE_ENGINE_COPY, data.len);
	http_stream_send_body(t->streams[other(from)], data);
	top_up(t, from);
}

static void tunnel_end(struct tunnel *t, enum side from)
{
	t->flows[from].is_ended = true;
	t->is_wanted[from] = false;
	http_stream_send_end(t->streams[other(from)], NULL);
	if (is_over(t))
		end_later(t);
}

static void tunnel_sent(struct tunnel *t, enum side to)
{
	t->last_ms = loop_now_ms(t->worker->loop);
	top_up(t, other(to));
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
	for (unsigned i = 0; i < SIDES; i++)
		(void)transfer_stop(&t->transfers[i]);
	for (unsigned i = 0; i < SIDES; i++) {
		if (t->is_broken)
			http_stream_reset(t->streams[i]);
		else
			http_stream_done(t->streams[i]);
	}
	record->sent_bytes = t->flows[ORIGIN].received;
	record->up.received = t->flows[CLIENT].received;
	record->bulk[BULK_REQUEST].transfer.bytes = t->transfers[CLIENT].bytes;
	record->bulk[BULK_RESPONSE].transfer.bytes = t->transfers[ORIGIN].bytes;
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
	t->engine = x->tunnel_engine;
	t->is_plain = transfer_is_possible(client, origin);
	for (unsigned i = 0; i < SIDES; i++) {
		t->transfers[i].owner = t;
		t->transfers[i].on_moved = transfer_moved;
		t->transfers[i].on_end = transfer_ended;
		t->rates[i].since_ms = t->last_ms;
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
