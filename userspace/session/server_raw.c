/* SPDX-License-Identifier: GPL-2.0-only */
/* server_raw.c - server sessions without a protocol: one request, then a tunnel. */
#include "session/server_raw.h"

static struct server_raw *of_stream(struct stream *st)
{
	return st->owner;
}

static struct server_raw *of_http_stream(const struct http_stream *hs)
{
	struct server_raw *s = container_of(hs, struct server_raw, hs);

	OBJ_CHECK(s, SERVER_RAW_TAG);
	return s;
}

static struct server_raw *of_session(struct server_session *base)
{
	return container_of(base, struct server_raw, base);
}

static struct loop *loop_of(struct server_raw *s)
{
	return s->base.host->loop;
}

/* ---- the end ---- */

static void session_close(struct server_raw *s, bool with_reset)
{
	if (s->state == RAW_CLOSING)
		return;
	s->state = RAW_CLOSING;
	waits_stop(loop_of(s), &s->waits);
	loop_undefer(loop_of(s), &s->pump_task);
	if (with_reset)
		stream_abort(s->stream);
	else
		stream_close(s->stream);
}

static void on_closed(struct stream *st)
{
	struct server_raw *s = of_stream(st);

	CHECK(s->state == RAW_CLOSING && !s->hs.owner);
	server_session_end(&s->base, st);
	slice_queue_fini(&s->input);
	s->tag = 0;
	pool_give(&s->base.host->raw_sessions, s);
}

static void owner_fail(struct server_raw *s, enum session_fault fault, int err)
{
	struct session_failure f = {.fault = fault, .err = err};

	if (s->is_broken || !s->hs.events)
		return;
	s->is_broken = true;
	waits_stop(loop_of(s), &s->waits);
	s->hs.events->on_fail(&s->hs, &f);
}

/* ---- input ---- */

static bool has_owner(const struct server_raw *s)
{
	return s->hs.events && !s->is_broken;
}

static void read_more(struct server_raw *s)
{
	if (s->is_peer_done || s->is_lent_in || !has_owner(s))
		return;
	if (s->state == RAW_TUNNEL && s->allowance > 0)
		stream_read(s->stream, LOOP_BUFFERS_LARGE);
	else if (!wait_is_on(&s->waits, WAIT_WATCH))
		wait_begin(loop_of(s), &s->waits, WAIT_WATCH, WATCH_AFTER_MS);
}

static void pump(struct server_raw *s)
{
	if (has_owner(s) && !s->is_head_ended) {
		s->is_head_ended = true;
		s->hs.events->on_end(&s->hs, NULL);
	}
	while (has_owner(s) && s->state == RAW_TUNNEL && s->allowance > 0 && s->input.count > 0) {
		struct slice data = slice_queue_pop(&s->input);

		s->allowance -= data.len;
		s->hs.events->on_body(&s->hs, data);
	}
	if (has_owner(s) && s->state == RAW_TUNNEL && s->is_peer_done && !s->is_end_told && s->input.count == 0) {
		s->is_end_told = true;
		s->hs.events->on_end(&s->hs, NULL);
	}
	read_more(s);
}

static void run_pump(struct task *t)
{
	pump(container_of(t, struct server_raw, pump_task));
}

/* ---- events of the stream ---- */

static void on_data(struct stream *st, struct slice data)
{
	struct server_raw *s = of_stream(st);

	if (!has_owner(s)) {
		slice_put(&data);
		return;
	}
	slice_queue_push(&s->input, data);
	pump(s);
}

static void on_eof(struct stream *st)
{
	struct server_raw *s = of_stream(st);

	s->is_peer_done = true;
	pump(s);
	if (has_owner(s))
		stream_watch(st, true);
}

/* It half-closed while nothing was read: from here only a reset matters until there is credit. */
static void on_hangup(struct stream *st)
{
	if (has_owner(of_stream(st)))
		stream_watch(st, true);
}

static void leave_check(struct server_raw *s)
{
	if (s->state == RAW_LEAVING && s->stream->queued == 0)
		session_close(s, false);
}

static void on_sent(struct stream *st, size_t bytes)
{
	struct server_raw *s = of_stream(st);

	write_progress(&s->waits, st, bytes);
	if (has_owner(s))
		s->hs.events->on_sent(&s->hs);
	leave_check(s);
}

static void on_fail(struct stream *st, int err)
{
	struct server_raw *s = of_stream(st);

	s->is_peer_done = true;
	if (s->hs.events)
		owner_fail(s, SESSION_FAULT_RESET, err);
	else
		session_close(s, false);
}

static void on_expire(struct timer *t)
{
	struct server_raw *s = container_of(container_of(t, struct waits, timer), struct server_raw, waits);

	switch (waits_expired(loop_of(s), &s->waits)) {
	case WAIT_WATCH:
		if (has_owner(s))
			stream_watch(s->stream, true);
		break;
	case WAIT_WRITE:
		if (s->hs.events)
			owner_fail(s, SESSION_FAULT_WRITE_TIMEOUT, 0);
		else
			session_close(s, true);
		break;
	default:
		break;
	}
}

static void on_paused(struct stream *st)
{
	struct server_raw *s = of_stream(st);

	if (has_owner(s) && s->hs.events->on_paused)
		s->hs.events->on_paused(&s->hs);
}

static const struct stream_events stream_events = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_hangup = on_hangup,
	.on_closed = on_closed,
	.on_paused = on_paused,
};

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct server_raw *s = of_http_stream(hs);

	CHECK(s->state == RAW_ASKING);
	if (m->framing == BODY_TUNNEL) {
		s->state = RAW_TUNNEL;
		s->allowance = 0; /* as with every tunnel: the owner asks anew */
	} else if (m->status >= 200) {
		s->state = RAW_REFUSED;
	}
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct server_raw *s = of_http_stream(hs);

	CHECK(s->state == RAW_TUNNEL || s->state == RAW_REFUSED);
	if (s->state == RAW_REFUSED) {
		slice_put(&data);
		return;
	}
	write_begins(&s->waits, s->stream, s->write_idle_ms);
	stream_write(s->stream, data);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct server_raw *s = of_http_stream(hs);

	(void)trailers;
	if (s->state == RAW_TUNNEL)
		stream_shutdown(s->stream);
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct server_raw *s = of_http_stream(hs);

	if (s->is_broken || s->is_end_told)
		return;
	s->allowance += (int64_t)bytes;
	if (s->state == RAW_TUNNEL)
		loop_defer(loop_of(s), &s->pump_task);
}

static size_t op_queued(const struct http_stream *hs)
{
	return of_http_stream(hs)->stream->queued;
}

static void owner_leaves(struct server_raw *s)
{
	s->hs.owner = NULL;
	s->hs.events = NULL;
	s->hs.tag = 0;
	wait_end(&s->waits, WAIT_WATCH);
}

static void op_done(struct http_stream *hs)
{
	struct server_raw *s = of_http_stream(hs);
	bool is_dead = s->stream->state != STREAM_OPEN;

	owner_leaves(s);
	if (s->state == RAW_REFUSED || is_dead) {
		session_close(s, false);
		return;
	}
	s->state = RAW_LEAVING;
	leave_check(s);
}

static void op_reset(struct http_stream *hs)
{
	struct server_raw *s = of_http_stream(hs);

	owner_leaves(s);
	session_close(s, s->state == RAW_TUNNEL);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return of_http_stream(hs)->stream;
}

/* ---- lending ---- */

static size_t op_hold(struct http_stream *hs)
{
	struct server_raw *s = of_http_stream(hs);

	s->allowance = (int64_t)s->input.bytes + stream_is_busy(s->stream, STREAM_IN);
	return (size_t)s->allowance;
}

static bool op_pause(struct http_stream *hs)
{
	struct server_raw *s = of_http_stream(hs);

	s->allowance = (int64_t)s->input.bytes;
	if (s->input.count > 0)
		loop_defer(loop_of(s), &s->pump_task);
	wait_end(&s->waits, WAIT_WATCH);
	return stream_pause(s->stream) && s->input.count == 0;
}

static uint64_t op_lend(struct http_stream *hs, enum stream_side side)
{
	struct server_raw *s = of_http_stream(hs);
	uint64_t answer;

	if (s->state != RAW_TUNNEL || s->is_broken || (side == STREAM_IN && s->is_peer_done))
		return LENDS_NEVER;
	if (stream_is_busy(s->stream, side) || (side == STREAM_IN && s->input.count > 0))
		return LENDS_LATER;
	answer = session_lend(s->stream, side, UINT64_MAX);
	if (side == STREAM_IN && session_lends(answer)) {
		s->is_lent_in = true;
		s->allowance = 0;
	}
	return answer;
}

static void op_lent(struct http_stream *hs, enum stream_side side, uint64_t bytes, bool is_waiting)
{
	struct server_raw *s = of_http_stream(hs);

	if (side == STREAM_OUT && !s->is_broken)
		write_lent(&s->waits, s->stream, bytes, is_waiting, s->write_idle_ms);
}

static void op_take_back(struct http_stream *hs, enum stream_side side, int err)
{
	struct server_raw *s = of_http_stream(hs);

	stream_take_back(s->stream, side, err);
	if (side == STREAM_IN)
		s->is_lent_in = false;
	else
		write_settles(&s->waits, s->stream);
}

static const struct http_stream_ops raw_ops = {
	.send_head = op_send_head,
	.send_body = op_send_body,
	.send_end = op_send_end,
	.credit = op_credit,
	.queued = op_queued,
	.done = op_done,
	.reset = op_reset,
	.transport = op_transport,
	.hold = op_hold,
	.pause = op_pause,
	.lend = op_lend,
	.lent = op_lent,
	.take_back = op_take_back,
};

/* ---- the beginning ---- */

/* Its bytes have an end of their own, which is waited for. */
static void session_drain(struct server_session *base)
{
	(void)base;
}

static void session_abort(struct server_session *base)
{
	struct server_raw *s = of_session(base);

	if (s->hs.events)
		owner_fail(s, SESSION_FAULT_SHUTDOWN, 0);
	else
		session_close(s, true);
}

static struct stream *session_stream(struct server_session *base)
{
	return of_session(base)->stream;
}

static const struct server_session_ops session_ops = {
	.drain = session_drain,
	.abort = session_abort,
	.stream = session_stream,
};

static struct message *request_new(struct arena *a, struct span name)
{
	struct message *m = arena_zalloc(a, sizeof(*m));

	message_init(m, a);
	m->method = METHOD_CONNECT;
	m->method_name = method_text(METHOD_CONNECT);
	m->authority = arena_span(a, name);
	m->target = m->authority;
	m->framing = BODY_NONE;
	m->is_raw = true;
	return m;
}

static struct server_raw *session_new(struct server_host *h, uint32_t listener_id, struct stream *st)
{
	struct server_raw *s = pool_take(&h->raw_sessions);

	CHECK(s);
	s->tag = SERVER_RAW_TAG;
	server_session_begin(&s->base, &session_ops, h, listener_id);
	waits_init(&s->waits, on_expire);
	s->pump_task.run = run_pump;
	s->stream = st;
	st->events = &stream_events;
	st->owner = s;
	s->hs.tag = HTTP_STREAM_TAG;
	s->hs.ops = &raw_ops;
	s->hs.id = 1;
	return s;
}

struct http_stream *server_raw_adopt(struct server_host *h, uint32_t listener_id, struct stream *st,
				     uint64_t write_idle_ms)
{
	struct server_raw *s = session_new(h, listener_id, st);

	s->write_idle_ms = write_idle_ms;
	s->state = RAW_TUNNEL;
	s->is_head_ended = true;
	return &s->hs;
}

void server_raw_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first,
		     struct span name)
{
	struct server_raw *s = session_new(h, listener_id, st);
	const struct server_settings *set = server_session_settings(&s->base);
	struct arena *a = arena_cache_take(&h->arenas);

	s->write_idle_ms = set ? set->write_idle_timeout_ms : LINGER_MS;
	slice_queue_push(&s->input, loop_keep(h->loop, first));
	loop_defer(h->loop, &s->pump_task); /* the end of the request */
	h->on_request(h, &s->hs, listener_id, request_new(a, name), a);
}
