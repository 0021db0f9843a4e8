/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h1.c - HTTP/1 server sessions: one request at a time on an accepted connection. */
#include "session/server_h1.h"

#include "session/keep.h"

static struct server_h1 *of_stream(struct stream *st)
{
	return st->owner;
}

/* Move what the codec has to say to the socket's queue. */
void server_h1_flush(struct server_h1 *s)
{
	struct slice_queue *out = http1_output(s->codec);

	if (out->count == 0)
		return;
	write_begins(&s->waits, s->stream, s->write_idle_ms);
	stream_write_queue(s->stream, out);
}

/* ---- the codec: there as long as a request is ---- */

static const struct http1_limits default_limits = { 8192, 16384, 100, 8192, 256 };

static struct codec *codec_take(struct server_h1 *s)
{
	struct server_host *h = s->base.host;
	const struct server_settings *set;
	const struct http1_limits *limits;

	if (s->codec)
		return http1_codec(s->codec);
	set = server_session_settings(&s->base);
	limits = set ? &set->limits : &default_limits;
	if (h->codec_count > 0) {
		s->codec = h->codecs[--h->codec_count];
		http1_set_limits(s->codec, limits);
	} else {
		s->codec = http1_new(true, limits);
	}
	return http1_codec(s->codec);
}

/* At rest: as if it were new. */
static void codec_give(struct server_h1 *s)
{
	struct server_host *h = s->base.host;

	if (h->codec_count < SERVER_CODECS_MAX)
		h->codecs[h->codec_count++] = s->codec;
	else
		http1_free(s->codec);
	s->codec = NULL;
}

/* Nothing of a request is here: a kept connection costs the less. */
static void codec_rest(struct server_h1 *s)
{
	if (s->state == S_HEAD && !s->is_peer_done && !s->is_pumping && s->codec && http1_is_at_rest(s->codec))
		codec_give(s);
}

/* ---- waiting for a head ---- */

void server_h1_head_wait(struct server_h1 *s, bool is_first)
{
	const struct server_settings *set = server_session_settings(&s->base);
	uint64_t idle = set ? set->keep_alive_timeout_ms : DRAIN_IDLE_MS;

	s->state = S_HEAD;
	if (is_first || server_h1_buffered(s) > 0) {
		wait_begin(s->base.host->loop, &s->waits, WAIT_HEAD, set ? set->head_timeout_ms : DRAIN_IDLE_MS);
	} else {
		if (s->base.host->is_draining && !s->base.host->is_patient)
			idle = MIN(idle, (uint64_t)DRAIN_IDLE_MS);
		wait_begin(s->base.host->loop, &s->waits, WAIT_IDLE, idle);
	}
	if (!s->is_peer_done)
		stream_read(s->stream, LOOP_BUFFERS_SMALL);
}

static void next_request(struct server_h1 *s)
{
	const struct server_settings *set = server_session_settings(&s->base);

	if (set) {
		s->body_idle_ms = wait_limit(set->body_idle_timeout_ms);
		s->write_idle_ms = wait_limit(set->write_idle_timeout_ms);
		waits_pace(&s->waits, set->min_rate);
	}
	s->allowance = 0;
	s->unwanted = 0;
	s->request = REQUEST_COMES;
	s->answer = ANSWER_NONE;
	http1_next_message(s->codec);
	stream_watch(s->stream, false);
	server_h1_head_wait(s, false);
	if (server_h1_buffered(s) > 0 || s->is_peer_done)
		loop_defer(s->base.host->loop, &s->pump_task);
	codec_rest(s);
}

/* ---- the end of a session ---- */

void server_h1_close(struct server_h1 *s, bool with_reset)
{
	if (s->state == S_CLOSING)
		return;
	s->state = S_CLOSING;
	waits_stop(s->base.host->loop, &s->waits);
	loop_undefer(s->base.host->loop, &s->pump_task);
	if (with_reset)
		stream_abort(s->stream);
	else
		stream_close(s->stream);
}

/*
 * The response is out.  Say goodbye so that it is not lost.  The answer to early data may be out before the client's
 * part of the handshake is in.
 */
static void session_finish(struct server_h1 *s)
{
	bool has_unread = s->request != REQUEST_DONE || server_h1_buffered(s) > 0 || early_is_now(s->stream);

	if (s->is_peer_done || (s->after == AFTER_CLOSE && !has_unread)) {
		server_h1_close(s, false);
		return;
	}
	s->state = S_LINGER;
	s->unwanted = 0;
	linger_begin(&s->waits, s->stream);
}

/* In S_REST: go on when the output is short enough and the request was read to its end. */
void server_h1_rest_check(struct server_h1 *s)
{
	if (s->state != S_REST)
		return;
	if (server_h1_is_last(s)) {
		stream_ends_soon(s->stream);
		if (s->stream->queued == 0)
			session_finish(s);
		return;
	}
	if (s->request == REQUEST_DONE && s->stream->queued <= PIPELINE_QUEUE_MAX)
		next_request(s);
}

static void on_closed(struct stream *st)
{
	struct server_h1 *s = of_stream(st);
	struct server_host *h = s->base.host;

	CHECK(s->state == S_CLOSING && !s->hs.owner);
	server_session_end(&s->base, st);
	arena_cache_give(&h->arenas, s->arena);
	if (s->codec) {
		http1_reset(s->codec);
		codec_give(s);
	}
	s->tag = 0;
	pool_give(&h->h1_sessions, s);
}

/* ---- telling the owner ---- */

void server_h1_fail(struct server_h1 *s, const struct session_failure *f)
{
	if (s->state != S_EXCHANGE || s->is_broken)
		return;
	s->is_broken = true;
	server_h1_be_last(s);
	s->hs.events->on_fail(&s->hs, f);
}

/* ---- bad heads ---- */

static void answer_bad_head(struct server_h1 *s, const struct session_failure *f, unsigned status)
{
	struct strbuf body = {0};
	const char *content_type = "text/plain; charset=utf-8";
	struct codec *c = http1_codec(s->codec);
	struct message m;

	strbuf_init(&body);
	if (!s->arena)
		s->arena = arena_cache_take(&s->base.host->arenas);
	s->base.host->on_bad_request(s->base.host, s->base.listener_id, s->stream, f, status, &body, &content_type);
	message_init(&m, s->arena);
	m.version = HTTP_VERSION_1_1;
	m.status = status;
	m.reason = status_reason(status);
	m.wants_keep_alive = false;
	m.framing = BODY_LENGTH;
	m.content_length = body.len;
	headers_add(&m.headers, TOKEN_CONTENT_TYPE, span_str(content_type));
	c->ops->send(c, &(struct codec_send){CODEC_SEND_HEAD, .stream = 1, .message = &m});
	c->ops->send(c, &(struct codec_send){CODEC_SEND_BODY, .stream = 1,
					     .data = slice_copy(body.ptr, (uint32_t)body.len)});
	c->ops->send(c, &(struct codec_send){CODEC_SEND_END, .stream = 1});
	strbuf_fini(&body);
	server_h1_be_last(s);
	s->request = REQUEST_COMES;
	s->state = S_REST;
	wait_end(&s->waits, WAIT_HEAD);
	wait_end(&s->waits, WAIT_IDLE);
	server_h1_flush(s);
	server_h1_rest_check(s);
}

/* ---- events of the codec ---- */

static void take_head(struct server_h1 *s, struct message *m)
{
	struct arena *a = s->arena;
	const struct server_settings *set = server_session_settings(&s->base);

	s->arena = NULL;
	s->message_arena = a;
	s->requests++;
	wait_end(&s->waits, WAIT_HEAD);
	wait_end(&s->waits, WAIT_IDLE);
	if (!m->wants_keep_alive || (s->is_peer_done && server_h1_buffered(s) == 0))
		s->after = AFTER_CLOSE;
	if (!set || s->base.host->is_draining ||
	    (set->keep_alive_requests_max && s->requests >= set->keep_alive_requests_max))
		server_h1_be_last(s);
	s->request = m->expects_continue ? REQUEST_UNASKED : REQUEST_COMES;
	s->body_left = m->framing == BODY_LENGTH ? m->content_length : 0;
	if (m->framing == BODY_NONE || (m->framing == BODY_LENGTH && m->content_length == 0))
		s->allowance = 1; /* nothing but the end can come */
	s->state = S_EXCHANGE;
	s->hs.tag = HTTP_STREAM_TAG;
	s->hs.id = 1;
	s->hs.events = NULL;
	s->hs.owner = NULL;
	s->base.host->on_request(s->base.host, &s->hs, s->base.listener_id, m, a);
}

static void take_body(struct server_h1 *s, struct slice data)
{
	s->body_left -= MIN(s->body_left, (uint64_t)data.len);
	if (s->state == S_EXCHANGE && !s->is_broken) {
		s->allowance -= data.len;
		wait_bytes(&s->waits, WAIT_READ, data.len);
		if (!s->is_tunnel)
			wait_progress(s->base.host->loop, &s->waits, WAIT_READ);
		s->hs.events->on_body(&s->hs, data);
		return;
	}
	s->unwanted += data.len;
	slice_put(&data);
	if (s->state == S_REST && s->unwanted > UNWANTED_BODY_MAX) {
		server_h1_be_last(s);
		server_h1_rest_check(s);
	}
}

static void take_end(struct server_h1 *s, struct headers *trailers)
{
	s->request = REQUEST_DONE;
	wait_end(&s->waits, WAIT_READ);
	if (s->state == S_EXCHANGE && !s->is_broken)
		s->hs.events->on_end(&s->hs, trailers);
	else
		server_h1_rest_check(s);
}

static void take_error(struct server_h1 *s, const struct codec_event *ev)
{
	struct session_failure f = {SESSION_FAULT_MALFORMED, ev->fault, 0, ev->detail};

	if (s->is_peer_done)
		f.fault = SESSION_FAULT_EOF;
	wait_end(&s->waits, WAIT_READ);
	if (s->state == S_HEAD) {
		answer_bad_head(s, &f, codec_fault_status(ev->fault));
	} else if (s->state == S_EXCHANGE) {
		server_h1_fail(s, &f);
	} else {
		server_h1_be_last(s);
		server_h1_rest_check(s);
	}
}

/* Whether next() may be called now: an owner's body waits for its permission. */
static bool may_pump(const struct server_h1 *s)
{
	switch (s->state) {
	case S_HEAD:
		return true;
	case S_EXCHANGE:
		return !s->is_broken && s->request != REQUEST_DONE && s->allowance > 0;
	case S_REST:
		return s->request != REQUEST_DONE && !server_h1_is_last(s);
	default:
		return false;
	}
}

/*
 * Nothing more is wanted of the client, but its reset is news.  Seeing it costs an operation and its cancellation, so
 * that is spent only on exchanges that last.
 */
static void watch_later(struct server_h1 *s)
{
	if (!wait_is_on(&s->waits, WAIT_WATCH))
		wait_begin(s->base.host->loop, &s->waits, WAIT_WATCH, WATCH_AFTER_MS);
}

static void watch_now(struct server_h1 *s)
{
	wait_end(&s->waits, WAIT_WATCH);
	if (s->state == S_EXCHANGE && !s->is_broken)
		stream_watch(s->stream, true);
}

static void read_body(struct server_h1 *s)
{
	if (s->allowance <= 0) {
		wait_end(&s->waits, WAIT_READ);
		watch_later(s);
		return;
	}
	if (!wait_is_on(&s->waits, WAIT_READ) && !s->is_tunnel)
		wait_begin(s->base.host->loop, &s->waits, WAIT_READ, s->body_idle_ms);
	stream_read(s->stream, LOOP_BUFFERS_LARGE);
}

/* Ask for the bytes that the state can take. */
static void read_more(struct server_h1 *s)
{
	bool is_done = s->request == REQUEST_DONE;

	if (s->is_peer_done || s->is_broken || s->request == REQUEST_LENT)
		return;
	if (s->state == S_HEAD) {
		stream_read(s->stream, LOOP_BUFFERS_SMALL);
	} else if (s->state == S_EXCHANGE && !is_done) {
		read_body(s);
	} else if (s->state == S_EXCHANGE && (server_h1_is_last(s) || server_h1_buffered(s) > 0)) {
		watch_later(s);
	} else if (s->state == S_EXCHANGE || (s->state == S_REST && is_done && !server_h1_is_last(s))) {
		/* Its next request, at most one small buffer of it, or its end. */
		stream_read(s->stream, LOOP_BUFFERS_SMALL);
	} else if (s->state == S_REST && !server_h1_is_last(s)) {
		stream_read(s->stream, LOOP_BUFFERS_LARGE);
	}
}

/* Memory for what the codec finds next: a head's is handed to the owner with it, trailers use the owner's. */
static struct arena *pump_arena(struct server_h1 *s)
{
	if (s->state == S_EXCHANGE)
		return s->message_arena;
	if (!s->arena)
		s->arena = arena_cache_take(&s->base.host->arenas);
	return s->arena;
}

/* Of the head that is here in part, or comes next. */
static uint64_t head_place(const struct server_h1 *s)
{
	return s->stream->bytes_in - server_h1_buffered(s);
}

static void pump(struct server_h1 *s)
{
	struct codec *c;

	CHECK(!s->is_pumping);
	if (!s->codec)
		return;
	c = http1_codec(s->codec);
	s->is_pumping = true;
	while (may_pump(s)) {
		struct codec_event ev;
		enum codec_event_type type;

		if (s->state == S_HEAD)
			s->hs.is_early = s->early.bytes > 0 && early_covers(&s->early, head_place(s));
		type = c->ops->next(c, pump_arena(s), &ev);

		if (type == CODEC_MORE)
			break;
		if (type == CODEC_HEAD)
			take_head(s, ev.message);
		else if (type == CODEC_BODY)
			take_body(s, ev.data);
		else if (type == CODEC_END)
			take_end(s, ev.trailers);
		else if (type == CODEC_CLOSED)
			server_h1_close(s, false);
		else
			take_error(s, &ev);
	}
	s->is_pumping = false;
	if (s->arena) { /* an idle session holds none */
		arena_cache_give(&s->base.host->arenas, s->arena);
		s->arena = NULL;
	}
	keep_input(s->base.host->loop, s->codec);
	codec_rest(s);
	read_more(s);
}

static void run_pump(struct task *t)
{
	pump(container_of(t, struct server_h1, pump_task));
}

/* ---- events of the stream ---- */

static void on_data(struct stream *st, struct slice data)
{
	struct server_h1 *s = of_stream(st);
	struct codec *c;

	if (s->state == S_LINGER) {
		if (!linger_data(st, data, &s->unwanted))
			server_h1_close(s, false);
		return;
	}
	if (s->is_broken || s->state == S_CLOSING) {
		slice_put(&data);
		return;
	}
	if (s->state == S_HEAD && wait_is_on(&s->waits, WAIT_IDLE)) {
		const struct server_settings *set = server_session_settings(&s->base);

		wait_end(&s->waits, WAIT_IDLE);
		wait_begin(s->base.host->loop, &s->waits, WAIT_HEAD, set ? set->head_timeout_ms : DRAIN_IDLE_MS);
	}
	if (s->state == S_HEAD)
		wait_bytes(&s->waits, WAIT_HEAD, data.len);
	early_note(&s->early, st);
	c = codec_take(s);
	c->ops->feed(c, data);
	pump(s);
}

static void on_eof(struct stream *st)
{
	struct server_h1 *s = of_stream(st);
	struct codec *c;

	s->is_peer_done = true;
	if (s->state == S_LINGER || !s->codec) {
		server_h1_close(s, false);
		return;
	}
	/* Requests that came before the end are answered, all of them. */
	if (!s->is_tunnel && server_h1_buffered(s) == 0)
		s->after = AFTER_CLOSE;
	c = http1_codec(s->codec);
	c->ops->feed_eof(c);
	if (s->state == S_REST)
		server_h1_rest_check(s);
	else
		pump(s);
	if (s->state == S_EXCHANGE)
		stream_watch(st, true);
}

/* The client half-closed while nothing was read.  From here only a reset matters, and that is on_fail(). */
static void on_hangup(struct stream *st)
{
	if (of_stream(st)->state == S_EXCHANGE)
		stream_watch(st, true);
}

static void on_sent(struct stream *st, size_t bytes)
{
	struct server_h1 *s = of_stream(st);

	write_progress(&s->waits, st, bytes);
	if (s->state == S_EXCHANGE && !s->is_broken)
		s->hs.events->on_sent(&s->hs);
	else if (s->state == S_REST)
		server_h1_rest_check(s);
}

static void on_fail(struct stream *st, int err)
{
	struct server_h1 *s = of_stream(st);
	struct session_failure f = {SESSION_FAULT_RESET, CODEC_FAULT_NONE, err, {0}};

	waits_stop(s->base.host->loop, &s->waits);
	s->is_peer_done = true;
	if (s->state == S_EXCHANGE)
		server_h1_fail(s, &f);
	else
		server_h1_close(s, false);
}

static void head_expired(struct server_h1 *s)
{
	struct session_failure f = {.fault = SESSION_FAULT_HEAD_TIMEOUT};

	if (s->state != S_HEAD || server_h1_buffered(s) == 0)
		server_h1_close(s, false);
	else
		answer_bad_head(s, &f, 408);
}

static void on_expire(struct timer *t)
{
	struct server_h1 *s = container_of(container_of(t, struct waits, timer), struct server_h1, waits);
	struct session_failure f = {0};

	switch (waits_expired(s->base.host->loop, &s->waits)) {
	case WAIT_HEAD:
		head_expired(s);
		break;
	case WAIT_IDLE:
		server_h1_close(s, false);
		break;
	case WAIT_READ:
		f.fault = SESSION_FAULT_BODY_TIMEOUT;
		server_h1_be_last(s);
		/* A client that was answered early need not send the rest: the answer goes on. */
		if (s->state == S_EXCHANGE && s->answer == ANSWER_NONE)
			server_h1_fail(s, &f);
		else
			server_h1_rest_check(s);
		break;
	case WAIT_WATCH:
		watch_now(s);
		break;
	case WAIT_WRITE:
		f.fault = SESSION_FAULT_WRITE_TIMEOUT;
		if (s->state == S_EXCHANGE && !s->is_broken)
			server_h1_fail(s, &f);
		else if (s->state != S_EXCHANGE)
			server_h1_close(s, true);
		else /* the owner knows of another failure and is about to leave */
			wait_begin(s->base.host->loop, &s->waits, WAIT_WRITE, s->write_idle_ms);
		break;
	default:
		break;
	}
}

static void on_paused(struct stream *st)
{
	struct server_h1 *s = of_stream(st);

	if (s->state == S_EXCHANGE && !s->is_broken && s->hs.events->on_paused)
		s->hs.events->on_paused(&s->hs);
}

/* ---- the beginning ---- */

static const struct stream_events stream_events = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_hangup = on_hangup,
	.on_closed = on_closed,
	.on_paused = on_paused,
};

static struct server_h1 *of_session(struct server_session *base)
{
	return container_of(base, struct server_h1, base);
}

static void session_drain(struct server_session *base)
{
	struct server_h1 *s = of_session(base);

	if (!base->host->is_patient && s->state == S_HEAD && wait_is_on(&s->waits, WAIT_IDLE))
		wait_begin(base->host->loop, &s->waits, WAIT_IDLE, DRAIN_IDLE_MS);
}

static void session_abort(struct server_session *base)
{
	struct server_h1 *s = of_session(base);
	struct session_failure f = {.fault = SESSION_FAULT_SHUTDOWN};

	if (s->state == S_EXCHANGE)
		server_h1_fail(s, &f);
	else
		server_h1_close(s, true);
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

void server_h1_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first)
{
	struct server_h1 *s = pool_take(&h->h1_sessions);
	const struct server_settings *set;

	CHECK(s);
	s->tag = SERVER_H1_TAG;
	server_session_begin(&s->base, &session_ops, h, listener_id);
	s->hs.ops = &server_h1_ops;
	s->pump_task.run = run_pump;
	waits_init(&s->waits, on_expire);
	set = server_session_settings(&s->base);
	s->body_idle_ms = wait_limit(set ? set->body_idle_timeout_ms : LINGER_MS);
	s->write_idle_ms = wait_limit(set ? set->write_idle_timeout_ms : LINGER_MS);
	waits_pace(&s->waits, set ? set->min_rate : 0);
	s->stream = st;
	st->events = &stream_events;
	st->owner = s;
	early_begin(&s->early, st);
	if (first.len > 0) {
		struct codec *c = codec_take(s);

		c->ops->feed(c, first);
		loop_defer(h->loop, &s->pump_task);
	}
	server_h1_head_wait(s, true);
}
