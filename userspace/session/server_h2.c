/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h2.c - HTTP/2 server sessions: what comes in, what goes out, and the end of a connection. */
#include "session/server_h2.h"

static struct server_h2 *of_stream(struct stream *st)
{
	struct server_h2 *s = st->owner;

	OBJ_CHECK(s, SERVER_H2_TAG);
	return s;
}

static struct server_h2 *of_session(struct server_session *base)
{
	struct server_h2 *s = container_of(base, struct server_h2, base);

	OBJ_CHECK(s, SERVER_H2_TAG);
	return s;
}

void server_h2_report(struct server_h2 *s, const struct session_failure *f)
{
	struct server_host *h = s->base.host;

	if (h->on_session_fault)
		h->on_session_fault(h, s->base.listener_id, s->stream, f);
}

/* ---- output ---- */

void server_h2_flush_later(struct server_h2 *s)
{
	if (s->state < H2_LINGER)
		loop_defer_flush(server_h2_loop(s), &s->flush_task);
}

static void output(struct server_h2 *s)
{
	struct slice_queue out = {0};

	while (s->stream->queued + out.bytes < SERVER_H2_QUEUE_MAX) {
		size_t before = out.bytes;

		http2_output(s->codec, &out, SERVER_H2_QUEUE_MAX - s->stream->queued - out.bytes);
		if (out.bytes == before)
			break;
	}
	if (out.count > 0) {
		write_begins(&s->waits, s->stream, s->write_idle_ms);
		stream_write_queue(s->stream, &out);
	}
	slice_queue_fini(&out);
}

/* ---- the end ---- */

void server_h2_close(struct server_h2 *s)
{
	bool with_reset = s->is_dead && s->state != H2_LINGER;

	if (s->state == H2_CLOSING)
		return;
	CHECK(list_is_empty(&s->streams));
	s->state = H2_CLOSING;
	waits_stop(server_h2_loop(s), &s->waits);
	loop_undefer(server_h2_loop(s), &s->pump_task);
	loop_undefer(server_h2_loop(s), &s->flush_task);
	if (with_reset)
		stream_abort(s->stream);
	else
		stream_close(s->stream);
}

static void on_closed(struct stream *st)
{
	struct server_h2 *s = of_stream(st);
	struct server_host *h = s->base.host;

	CHECK(s->state == H2_CLOSING && list_is_empty(&s->streams));
	server_session_end(&s->base, st);
	server_h2_leaving_prune(s, true);
	http2_free(s->codec);
	arena_cache_give(&h->arenas, s->arena);
	s->tag = 0;
	pool_give(&h->h2_sessions, s);
}

/* An owner may leave at once, and others with it: so each is taken from the front of what is left. */
void server_h2_break(struct server_h2 *s, const struct session_failure *f, bool is_dead)
{
	struct list todo;

	s->is_dead |= is_dead;
	if (s->state >= H2_LINGER) {
		server_h2_end_check(s);
		return;
	}
	s->state = H2_ENDING;
	list_init(&todo);
	list_splice(&todo, &s->streams);
	while (!list_is_empty(&todo)) {
		struct server_h2_stream *st = list_first(&todo, struct server_h2_stream, node);
		struct session_failure own = *f;

		list_remove(&st->node);
		list_append(&s->streams, &st->node);
		/* The client ended: in the middle of this request, or before it had the answer. */
		if (f->fault == SESSION_FAULT_EOF && st->is_request_done)
			own.fault = SESSION_FAULT_RESET;
		server_h2_stream_fail(st, &own);
	}
	server_h2_flush_later(s);
}

/* Nothing is to come, and nothing that is here can go out. */
static bool is_over(const struct server_h2 *s)
{
	if (!list_is_empty(&s->streams))
		return false;
	if (s->is_peer_done) /* who said its last word opens no window */
		return !http2_wants_output(s->codec);
	return s->goodbye == GOODBYE_FINAL && http2_stream_count(s->codec) == 0;
}

void server_h2_end_check(struct server_h2 *s)
{
	if (s->state == H2_OPEN && is_over(s))
		s->state = H2_ENDING;
	if (s->state == H2_LINGER && s->is_dead)
		server_h2_close(s);
	if (s->state != H2_ENDING || !list_is_empty(&s->streams))
		return;
	if (s->is_dead) {
		server_h2_close(s);
		return;
	}
	if (http2_wants_output(s->codec))
		return;
	stream_ends_soon(s->stream);
	if (s->stream->queued > 0)
		return;
	if (s->is_peer_done) {
		server_h2_close(s);
		return;
	}
	s->state = H2_LINGER;
	linger_begin(&s->waits, s->stream);
}

/* ---- heads that are answered here ---- */

static void refuse(struct server_h2 *s, const struct codec_event *ev)
{
	struct codec *c = http2_codec(s->codec);

	c->ops->send(c, &(struct codec_send){CODEC_SEND_RESET, .stream = ev->stream, .error = HTTP2_REFUSED_STREAM});
	http2_forget(s->codec, ev->stream);
	arena_cache_give(&s->base.host->arenas, s->arena);
	s->arena = NULL;
}

static void answer_bad_head(struct server_h2 *s, const struct codec_event *ev)
{
	struct server_h2_stream *st = server_h2_stream_new(s, ev->stream, ev->message, s->arena);
	struct server_host *h = s->base.host;
	struct codec *c = http2_codec(s->codec);
	struct session_failure f = {
		.fault = SESSION_FAULT_MALFORMED,
		.codec = ev->fault,
		.detail = ev->detail,
		.version = HTTP_VERSION_2,
	};
	unsigned status = codec_fault_status(ev->fault);
	const char *content_type = "text/plain; charset=utf-8";
	struct strbuf body = {0};
	struct message m;

	if (!st) {
		refuse(s, ev);
		return;
	}
	strbuf_init(&body);
	h->on_bad_request(h, s->base.listener_id, s->stream, &f, status, &body, &content_type);
	message_init(&m, s->arena);
	m.version = HTTP_VERSION_2;
	m.status = status;
	m.framing = BODY_LENGTH;
	m.content_length = body.len;
	headers_add(&m.headers, TOKEN_CONTENT_TYPE, span_str(content_type));
	c->ops->send(c, &(struct codec_send){CODEC_SEND_HEAD, .stream = ev->stream, .message = &m});
	c->ops->send(c, &(struct codec_send){CODEC_SEND_BODY, .stream = ev->stream,
					     .data = slice_copy(body.ptr, (uint32_t)body.len)});
	c->ops->send(c, &(struct codec_send){CODEC_SEND_END, .stream = ev->stream});
	strbuf_fini(&body);
	st->is_head_sent = st->is_response_done = true;
	server_h2_stream_leave(st);
	arena_cache_give(&h->arenas, s->arena);
	s->arena = NULL;
}

/* ---- events of the codec ---- */

/* Another request: whether it is the last that this connection takes. */
static void count_request(struct server_h2 *s)
{
	const struct server_settings *set = server_session_settings(&s->base);

	s->requests++;
	wait_end(&s->waits, WAIT_HEAD); /* the next head has its own time */
	if (!set || s->base.host->is_draining ||
	    (set->keep_alive_requests_max && s->requests >= set->keep_alive_requests_max))
		server_h2_goodbye(s);
	if (!set)
		return;
	s->body_idle_ms = set->body_idle_timeout_ms;
	s->write_idle_ms = set->write_idle_timeout_ms;
	s->ping_interval_ms = set->h2_ping_interval_ms;
}

static void take_head(struct server_h2 *s, const struct codec_event *ev)
{
	struct server_h2_stream *st = server_h2_stream_new(s, ev->stream, ev->message, s->arena);

	if (!st) {
		refuse(s, ev);
		return;
	}
	s->arena = NULL;
	st->hs.is_early = early_covers(&s->early, ev->at);
	count_request(s);
	s->base.host->on_request(s->base.host, &st->hs, s->base.listener_id, ev->message, st->arena);
}

static void take_body(struct server_h2_stream *st, struct slice data)
{
	if (st->is_broken) {
		slice_put(&data);
		return;
	}
	st->allowance -= data.len;
	pace_bytes(&st->in_pace, data.len);
	if (st->read_ms)
		st->read_ms = st->allowance > 0 ? loop_now_ms(server_h2_loop(st->session)) : 0;
	st->hs.events->on_body(&st->hs, data);
}

/* A request that became a tunnel at once: its own end comes first, then that of the tunnel. */
static void take_end(struct server_h2_stream *st, struct headers *trailers)
{
	bool is_of_tunnel = st->is_tunnel && st->is_head_ended;

	if (!st->is_tunnel || is_of_tunnel) {
		st->is_request_done = true;
		st->read_ms = 0;
		server_h2_set_upload(st, false);
	}
	st->is_head_ended = true;
	if (!st->is_broken)
		st->hs.events->on_end(&st->hs, trailers);
}

static void take_sent(struct server_h2_stream *st)
{
	st->blocked_ms = 0;
	if (!st->is_broken)
		st->hs.events->on_sent(&st->hs);
}

static void take_reset(struct server_h2 *s, const struct codec_event *ev)
{
	struct server_h2_stream *st = ev->owner;
	struct session_failure f = {ev->fault ? SESSION_FAULT_MALFORMED : SESSION_FAULT_RESET, ev->fault, 0,
				    ev->detail};

	if (st) {
		server_h2_set_upload(st, false);
		server_h2_stream_fail(st, &f);
	} else if (ev->fault) {
		server_h2_report(s, &f);
	}
}

static void take_error(struct server_h2 *s, const struct codec_event *ev)
{
	struct session_failure f = {SESSION_FAULT_MALFORMED, ev->fault, 0, ev->detail};

	if (s->is_peer_done)
		f = (struct session_failure){.fault = SESSION_FAULT_EOF};
	else
		server_h2_report(s, &f);
	server_h2_break(s, &f, false);
}

/* Nothing of a stream. */
static void take_connection_event(struct server_h2 *s, const struct codec_event *ev)
{
	switch (ev->type) {
	case CODEC_SETTINGS:
		s->is_started = true;
		break;
	case CODEC_GOAWAY: /* it will open no stream; those that are open go on */
		server_h2_goodbye_final(s);
		break;
	case CODEC_PONG:
		server_h2_pong(s);
		break;
	case CODEC_CLOSED:
		s->state = H2_ENDING;
		break;
	default:
		take_error(s, ev);
		break;
	}
}

static void take_event(struct server_h2 *s, const struct codec_event *ev)
{
	switch (ev->type) {
	case CODEC_HEAD:
		take_head(s, ev);
		break;
	case CODEC_BAD_HEAD:
		wait_end(&s->waits, WAIT_HEAD);
		answer_bad_head(s, ev);
		break;
	case CODEC_BODY:
		take_body(ev->owner, ev->data);
		break;
	case CODEC_END:
		take_end(ev->owner, ev->trailers);
		break;
	case CODEC_SENT:
		take_sent(ev->owner);
		break;
	case CODEC_RESET:
		take_reset(s, ev);
		break;
	default:
		take_connection_event(s, ev);
		break;
	}
}

/* Bytes that nobody may take yet must not hold the loop's receive buffers for as long as a slow peer likes. */
static void keep(struct slice *part, void *loop)
{
	*part = loop_keep(loop, *part);
}

static void pump(struct server_h2 *s)
{
	struct codec *c = http2_codec(s->codec);

	CHECK(!s->is_pumping);
	s->is_pumping = true;
	while (s->state == H2_OPEN) {
		struct codec_event ev = {0};

		if (!s->arena)
			s->arena = arena_cache_take(&s->base.host->arenas);
		if (c->ops->next(c, s->arena, &ev) == CODEC_MORE)
			break;
		take_event(s, &ev);
	}
	s->is_pumping = false;
	if (s->arena && (s->state != H2_OPEN || !http2_holds_arena(s->codec))) {
		arena_cache_give(&s->base.host->arenas, s->arena);
		s->arena = NULL;
	}
	http2_keep(s->codec, keep, server_h2_loop(s));
	if (http2_wants_output(s->codec) && s->stream->queued < SERVER_H2_QUEUE_MAX)
		server_h2_flush_later(s);
	server_h2_waits_check(s);
	server_h2_end_check(s);
}

static void run_pump(struct task *t)
{
	pump(container_of(t, struct server_h2, pump_task));
}

static void run_flush(struct task *t)
{
	struct server_h2 *s = container_of(t, struct server_h2, flush_task);

	output(s);
	server_h2_sent_keep(s);
	server_h2_leaving_prune(s, false);
	pump(s);
}

/* ---- events of the stream ---- */

static void read_more(struct server_h2 *s)
{
	if (s->is_peer_done || s->is_dead || s->state >= H2_LINGER)
		return;
	stream_read(s->stream, s->uploads > 0 ? LOOP_BUFFERS_LARGE : LOOP_BUFFERS_SMALL);
}

static void on_data(struct stream *st, struct slice data)
{
	struct server_h2 *s = of_stream(st);
	struct codec *c = http2_codec(s->codec);
	uint64_t now = loop_now_ms(server_h2_loop(s));

	if (s->state == H2_LINGER) {
		if (!linger_data(st, data, &s->thrown))
			server_h2_close(s);
		return;
	}
	if (s->state != H2_OPEN) { /* as it lingers later, but owners are still here */
		slice_put(&data);
		return;
	}
	s->input_ms = now;
	if (now - s->codec_ms >= SERVER_H2_TICK_MS) {
		s->codec_ms = now;
		http2_tick(s->codec, now);
	}
	early_note(&s->early, st);
	c->ops->feed(c, data);
	pump(s);
	read_more(s);
}

static void on_eof(struct stream *st)
{
	struct server_h2 *s = of_stream(st);
	struct codec *c = http2_codec(s->codec);

	s->is_peer_done = true;
	if (s->state == H2_LINGER) {
		server_h2_close(s);
		return;
	}
	c->ops->feed_eof(c);
	pump(s);
}

static void on_sent(struct stream *st, size_t bytes)
{
	struct server_h2 *s = of_stream(st);

	write_progress(&s->waits, st, bytes);
	if (s->state >= H2_LINGER)
		return;
	if (http2_wants_output(s->codec))
		server_h2_flush_later(s);
	server_h2_end_check(s);
}

static void on_fail(struct stream *st, int err)
{
	struct server_h2 *s = of_stream(st);
	struct session_failure f = {.fault = SESSION_FAULT_RESET, .err = err};

	s->is_peer_done = true;
	server_h2_break(s, &f, true);
}

static const struct stream_events stream_events = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

/* ---- the beginning ---- */

static void session_drain(struct server_session *base)
{
	server_h2_goodbye(of_session(base));
}

static void session_abort(struct server_session *base)
{
	struct session_failure f = {.fault = SESSION_FAULT_SHUTDOWN};

	server_h2_break(of_session(base), &f, true);
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

static struct http2 *codec_new(const struct server_settings *set)
{
	struct http2_settings h2 = http2_defaults;

	h2.allows_connect = true;
	if (set) {
		h2.head_max = set->limits.head_max;
		h2.path_max = set->limits.request_line_max;
		h2.fields_max = set->limits.fields_max;
		h2.trailer_max = set->limits.trailer_max;
		if (set->h2_streams_max)
			h2.max_concurrent_streams = set->h2_streams_max;
	}
	return http2_new(true, &h2);
}

void server_h2_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first)
{
	struct server_h2 *s = pool_take(&h->h2_sessions);
	const struct server_settings *set;

	CHECK(s);
	s->tag = SERVER_H2_TAG;
	server_session_begin(&s->base, &session_ops, h, listener_id);
	set = server_session_settings(&s->base);
	list_init(&s->streams);
	list_init(&s->leaving);
	list_init(&s->sent);
	s->pump_task.run = run_pump;
	s->flush_task.run = run_flush;
	s->codec = codec_new(set);
	s->stream = st;
	st->events = &stream_events;
	st->owner = s;
	early_begin(&s->early, st);
	s->input_ms = s->codec_ms = loop_now_ms(h->loop);
	s->body_idle_ms = set ? set->body_idle_timeout_ms : LINGER_MS;
	s->write_idle_ms = set ? set->write_idle_timeout_ms : LINGER_MS;
	s->ping_interval_ms = set ? set->h2_ping_interval_ms : 0;
	http2_tick(s->codec, s->codec_ms);
	server_h2_waits_init(s);
	waits_pace(&s->waits, set ? set->min_rate : 0);
	if (first.len > 0) {
		struct codec *c = http2_codec(s->codec);

		c->ops->feed(c, first);
		loop_defer(h->loop, &s->pump_task);
	}
	server_h2_flush_later(s); /* our SETTINGS */
	read_more(s);
	if (h->is_draining || !set)
		server_h2_goodbye(s);
}
