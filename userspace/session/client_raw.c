/* SPDX-License-Identifier: GPL-2.0-only */
/* client_raw.c - client sessions without HTTP: a connection to an origin whose bytes are one tunnel. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "session/client_session.h"
#include "session/writing.h"

#define CLIENT_RAW_TAG TAG('c', 'l', 'r', 'w')

enum client_raw_state {
	R_CONNECTING,
	R_OPEN,
	R_CLOSING,
};

struct client_raw {
	uint32_t tag;
	enum client_raw_state state;
	struct client_session base;

	struct stream *stream; /* owned until on_closed() */
	struct waits waits;
	struct task go_on_task;
	struct http_stream hs;
	struct arena *arena; /* the owner's */
	uint64_t write_timeout_ms;
	uint64_t preface_bytes;

	int64_t allowance;
	bool is_request_done; /* the tunnel may begin */
	bool is_answered;
	bool is_broken, is_peer_done;
	bool is_lent_in; /* somebody else moves what the origin sends */
};

static void on_connected(struct stream *st);
static void on_data(struct stream *st, struct slice data);
static void on_eof(struct stream *st);
static void on_sent(struct stream *st, size_t bytes);
static void on_fail(struct stream *st, int err);
static void on_closed(struct stream *st);
static void on_paused(struct stream *st);

static const struct stream_events raw_stream_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
	.on_paused = on_paused,
};

static struct client_raw *of_http_stream(const struct http_stream *hs)
{
	struct client_raw *c = container_of(hs, struct client_raw, hs);

	OBJ_CHECK(c, CLIENT_RAW_TAG);
	return c;
}

static struct client_raw *of_session(const struct client_session *s)
{
	struct client_raw *c = container_of(s, struct client_raw, base);

	OBJ_CHECK(c, CLIENT_RAW_TAG);
	return c;
}

static struct loop *loop_of(struct client_raw *c)
{
	return c->base.pool->loop;
}

static void raw_close(struct client_raw *c, bool with_reset)
{
	if (c->state == R_CLOSING)
		return;
	c->state = R_CLOSING;
	waits_stop(loop_of(c), &c->waits);
	loop_undefer(loop_of(c), &c->go_on_task);
	if (with_reset)
		stream_abort(c->stream);
	else
		stream_close(c->stream);
}

static void owner_fail(struct client_raw *c, struct session_failure f)
{
	if (c->is_broken || !c->hs.events)
		return;
	c->is_broken = true;
	waits_stop(loop_of(c), &c->waits);
	c->hs.events->on_fail(&c->hs, &f);
}

static void read_more(struct client_raw *c)
{
	if (c->is_answered && !c->is_broken && !c->is_peer_done && !c->is_lent_in && c->allowance > 0)
		stream_read(c->stream, LOOP_BUFFERS_LARGE);
}

static void answer(struct client_raw *c)
{
	struct message *m;

	if (c->state != R_OPEN || !c->is_request_done || c->is_answered || c->is_broken || !c->hs.events)
		return;
	c->is_answered = true;
	m = arena_zalloc(c->arena, sizeof(*m));
	message_init(m, c->arena);
	m->status = 200;
	m->reason = status_reason(200);
	m->framing = BODY_TUNNEL;
	c->allowance = 0; /* bytes wait for the owner of the tunnel, who asks anew */
	c->hs.events->on_head(&c->hs, m);
}

static void run_go_on(struct task *t)
{
	struct client_raw *c = container_of(t, struct client_raw, go_on_task);

	answer(c);
	read_more(c);
}

/* ---- events of the stream ---- */

static void on_connected(struct stream *st)
{
	struct client_raw *c = st->owner;

	c->state = R_OPEN;
	wait_end(&c->waits, WAIT_IDLE);
	if (st->queued > 0)
		write_begins(&c->waits, st, c->write_timeout_ms);
	answer(c);
}

static void on_data(struct stream *st, struct slice data)
{
	struct client_raw *c = st->owner;

	if (c->is_broken || !c->hs.events) {
		slice_put(&data);
		return;
	}
	c->allowance -= data.len;
	c->hs.events->on_body(&c->hs, data);
	read_more(c);
}

static void on_eof(struct stream *st)
{
	struct client_raw *c = st->owner;

	c->is_peer_done = true;
	if (c->hs.events && !c->is_broken)
		c->hs.events->on_end(&c->hs, NULL);
}

static void on_sent(struct stream *st, size_t bytes)
{
	struct client_raw *c = st->owner;

	write_progress(&c->waits, st, bytes);
	if (c->hs.events && !c->is_broken)
		c->hs.events->on_sent(&c->hs);
}

static void on_fail(struct stream *st, int err)
{
	struct client_raw *c = st->owner;

	if (c->state == R_CONNECTING && c->hs.events)
		owner_fail(c, client_connect_failure(st, err, c->arena));
	else
		owner_fail(c, (struct session_failure){.fault = SESSION_FAULT_RESET, .err = err});
}

static void on_paused(struct stream *st)
{
	struct client_raw *c = st->owner;

	if (c->hs.events && !c->is_broken && c->hs.events->on_paused)
		c->hs.events->on_paused(&c->hs);
}

static void on_closed(struct stream *st)
{
	struct client_raw *c = st->owner;

	CHECK(c->state == R_CLOSING && !c->hs.owner);
	client_session_fini(&c->base);
	c->tag = 0;
	free(c);
}

static void on_expire(struct timer *t)
{
	struct client_raw *c = container_of(container_of(t, struct waits, timer), struct client_raw, waits);

	switch (waits_expired(loop_of(c), &c->waits)) {
	case WAIT_IDLE:
		on_fail(c->stream, -ETIMEDOUT);
		break;
	case WAIT_WRITE:
		owner_fail(c, (struct session_failure){.fault = SESSION_FAULT_WRITE_TIMEOUT});
		break;
	default:
		break;
	}
}

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	(void)hs;
	(void)m;
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct client_raw *c = of_http_stream(hs);

	if (c->state == R_OPEN && !c->is_broken)
		write_begins(&c->waits, c->stream, c->write_timeout_ms);
	stream_write(c->stream, data);
}

/* The first is the end of a request that had no bytes. */
static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct client_raw *c = of_http_stream(hs);

	(void)trailers;
	if (c->is_answered)
		stream_shutdown(c->stream);
	c->is_request_done = true;
	loop_defer(loop_of(c), &c->go_on_task);
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct client_raw *c = of_http_stream(hs);

	c->allowance += (int64_t)bytes;
	loop_defer(loop_of(c), &c->go_on_task);
}

static size_t op_queued(const struct http_stream *hs)
{
	return of_http_stream(hs)->stream->queued;
}

static void owner_leaves(struct client_raw *c)
{
	c->hs.owner = NULL;
	c->hs.events = NULL;
	c->hs.tag = 0;
	c->arena = NULL;
}

static void op_reset(struct http_stream *hs)
{
	struct client_raw *c = of_http_stream(hs);

	owner_leaves(c);
	raw_close(c, c->state == R_OPEN); /* the origin is to see that it was not an end */
}

static void op_done(struct http_stream *hs)
{
	struct client_raw *c = of_http_stream(hs);

	owner_leaves(c);
	raw_close(c, false);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return of_http_stream(hs)->stream;
}

static bool op_is_reused(const struct http_stream *hs)
{
	(void)hs;
	return false;
}

static bool op_has_written(const struct http_stream *hs)
{
	const struct client_raw *c = of_http_stream(hs);

	return c->stream->bytes_out > c->preface_bytes;
}

/* ---- lending ---- */

static size_t op_hold(struct http_stream *hs)
{
	struct client_raw *c = of_http_stream(hs);

	c->allowance = stream_is_busy(c->stream, STREAM_IN);
	return (size_t)c->allowance;
}

static bool op_pause(struct http_stream *hs)
{
	struct client_raw *c = of_http_stream(hs);

	c->allowance = 0;
	return stream_pause(c->stream);
}

static uint64_t op_lend(struct http_stream *hs, enum stream_side side)
{
	struct client_raw *c = of_http_stream(hs);
	uint64_t answer;

	if (!c->is_answered || c->is_broken || (side == STREAM_IN && c->is_peer_done))
		return LENDS_NEVER;
	if (stream_is_busy(c->stream, side))
		return LENDS_LATER;
	answer = session_lend(c->stream, side, UINT64_MAX);
	if (side == STREAM_IN && session_lends(answer)) {
		c->is_lent_in = true;
		c->allowance = 0;
	}
	return answer;
}

static void op_lent(struct http_stream *hs, enum stream_side side, uint64_t bytes, bool is_waiting)
{
	struct client_raw *c = of_http_stream(hs);

	if (side == STREAM_OUT && !c->is_broken)
		write_lent(&c->waits, c->stream, bytes, is_waiting, c->write_timeout_ms);
}

static void op_take_back(struct http_stream *hs, enum stream_side side, int err)
{
	struct client_raw *c = of_http_stream(hs);

	stream_take_back(c->stream, side, err);
	if (side == STREAM_IN)
		c->is_lent_in = false;
	else
		write_settles(&c->waits, c->stream);
}

static const struct http_stream_ops client_raw_ops = {
	.send_head = op_send_head,
	.send_body = op_send_body,
	.send_end = op_send_end,
	.credit = op_credit,
	.queued = op_queued,
	.done = op_done,
	.reset = op_reset,
	.transport = op_transport,
	.is_reused = op_is_reused,
	.has_written = op_has_written,
	.hold = op_hold,
	.pause = op_pause,
	.lend = op_lend,
	.lent = op_lent,
	.take_back = op_take_back,
};

/* ---- beginnings ---- */

static struct http_stream *session_open(struct client_session *s, const struct client_settings *settings,
					struct arena *a)
{
	struct client_raw *c = of_session(s);

	c->write_timeout_ms = settings->write_timeout_ms;
	c->preface_bytes = settings->tls ? 0 : settings->preface.len;
	c->arena = a;
	c->hs = (struct http_stream){.tag = HTTP_STREAM_TAG, .ops = &client_raw_ops, .id = 1};
	return &c->hs;
}

static const struct client_session_ops client_raw_session_ops = {
	.open = session_open, /* never in pool->ready */
};

static struct client_raw *session_new(struct client_pool *p, const struct client_settings *settings, struct stream *st)
{
	struct client_raw *c = mem_zalloc(sizeof(*c));

	c->tag = CLIENT_RAW_TAG;
	client_session_init(&c->base, &client_raw_session_ops, p, settings);
	c->stream = st;
	st->events = &raw_stream_events;
	st->owner = c;
	c->go_on_task.run = run_go_on;
	waits_init(&c->waits, on_expire);
	return c;
}

struct client_session *client_raw_connect(struct client_pool *p, const struct addr *addr,
					  const struct client_settings *settings, int *out_err)
{
	struct stream *st = client_connect(p, addr, settings, &raw_stream_events, NULL, out_err);
	struct client_raw *c;

	if (!st)
		return NULL;
	c = session_new(p, settings, st);
	c->state = R_CONNECTING;
	wait_begin(p->loop, &c->waits, WAIT_IDLE, settings->connect_timeout_ms);
	return &c->base;
}

struct http_stream *client_raw_adopt(struct client_pool *p, struct stream *st, uint64_t write_timeout_ms)
{
	struct client_raw *c = session_new(p, &(struct client_settings){ .protocol = CLIENT_RAW }, st);

	c->state = R_OPEN;
	c->write_timeout_ms = write_timeout_ms;
	c->is_request_done = c->is_answered = true;
	c->hs = (struct http_stream){.tag = HTTP_STREAM_TAG, .ops = &client_raw_ops, .id = 1};
	return &c->hs;
}
