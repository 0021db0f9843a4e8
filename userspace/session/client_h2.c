/* SPDX-License-Identifier: GPL-2.0-only */
/* client_h2.c - an HTTP/2 connection to an origin: many requests at once, health, and a graceful end. */
#include "session/client_h2.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "session/writing.h"

#define STREAMS_MAX_DEFAULT  100
#define RESPONSE_HEAD_MAX    (64 * 1024) /* as of HTTP/1 origins */
#define RESPONSE_FIELDS_MAX  256
#define RESPONSE_TRAILER_MAX 16384
#define QUEUE_MAX	     (128 * 1024) /* bytes given to the socket's queue; the rest waits in the codec */
#define PONG_TIMEOUT_MS	     10000
#define LEAVE_TIMEOUT_MS     1000

static void on_connected(struct stream *s);
static void on_data(struct stream *s, struct slice data);
static void on_eof(struct stream *s);
static void on_sent(struct stream *s, size_t bytes);
static void on_fail(struct stream *s, int err);
static void on_closed(struct stream *s);

static const struct stream_events h2_stream_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

static struct client_h2 *of_session(const struct client_session *s)
{
	struct client_h2 *c = container_of(s, struct client_h2, base);

	OBJ_CHECK(c, CLIENT_H2_TAG);
	return c;
}

static struct loop *loop_of(const struct client_h2 *c)
{
	return client_h2_loop(c);
}

void client_h2_pump_later(struct client_h2 *c)
{
	if (!c->is_pumping && c->state <= H2_OPEN)
		loop_defer(loop_of(c), &c->pump_task);
}

void client_h2_flush_later(struct client_h2 *c)
{
	if (c->state <= H2_OPEN)
		loop_defer_flush(loop_of(c), &c->flush_task);
}

/* ---- the end ---- */

static void session_close(struct client_h2 *c)
{
	if (c->state == H2_CLOSING)
		return;
	c->state = H2_CLOSING;
	waits_stop(loop_of(c), &c->waits);
	loop_undefer(loop_of(c), &c->pump_task);
	loop_undefer(loop_of(c), &c->flush_task);
	stream_close(c->stream);
}

/* Nothing is open any more: what the codec has to say, GOAWAY at least, goes out before the end. */
static void leave(struct client_h2 *c)
{
	struct slice_queue out = {0};

	if (c->state != H2_OPEN || c->stream->state != STREAM_OPEN) {
		session_close(c);
		return;
	}
	c->state = H2_LEAVING;
	waits_stop(loop_of(c), &c->waits);
	loop_undefer(loop_of(c), &c->pump_task);
	loop_undefer(loop_of(c), &c->flush_task);
	if (!c->is_broken)
		http2_shutdown(c->h, HTTP2_SHUTDOWN_FINAL);
	http2_output(c->h, &out, QUEUE_MAX);
	stream_write_queue(c->stream, &out);
	slice_queue_fini(&out);
	if (c->stream->queued == 0) {
		session_close(c);
		return;
	}
	stream_shutdown(c->stream);
	wait_begin(loop_of(c), &c->waits, WAIT_WRITE, LEAVE_TIMEOUT_MS);
}

static bool may_take_more(const struct client_h2 *c)
{
	if (c->state > H2_OPEN || c->is_broken || http2_is_exhausted(c->h))
		return false;
	if (c->base.is_private && c->requests > 0)
		return false;
	if (c->settings.max_requests && c->requests >= c->settings.max_requests)
		return false;
	return !client_session_is_over(&c->base, &c->settings) || c->requests == 0;
}

static uint64_t idle_ms(const struct client_h2 *c)
{
	uint64_t end_ms = c->base.created_ms + c->settings.max_lifetime_ms, now_ms = loop_now_ms(loop_of(c));

	if (!c->settings.max_lifetime_ms)
		return c->settings.idle_timeout_ms;
	return MIN(c->settings.idle_timeout_ms, end_ms > now_ms ? end_ms - now_ms : 1);
}

static void set_idle(struct client_h2 *c, bool is_idle)
{
	if (is_idle == c->is_counted_idle)
		return;
	c->is_counted_idle = is_idle;
	if (is_idle) {
		c->base.pool->idle_count++;
		wait_begin(loop_of(c), &c->waits, WAIT_IDLE, idle_ms(c));
	} else {
		c->base.pool->idle_count--;
		wait_end(&c->waits, WAIT_IDLE);
	}
}

static void session_leave(struct client_session *s)
{
	struct client_h2 *c = of_session(s);

	CHECK(c->stream_count == 0);
	set_idle(c, false);
	client_session_move(s, &s->pool->busy);
	leave(c);
}

void client_h2_settle(struct client_h2 *c)
{
	struct client_pool *p = c->base.pool;
	bool is_kept = may_take_more(c);

	if (c->is_pumping || c->state > H2_OPEN)
		return;
	if (c->stream_count > 0) {
		set_idle(c, false);
		if (!is_kept)
			client_session_move(&c->base, &p->busy);
		return;
	}
	is_kept = is_kept && c->state == H2_OPEN && (c->is_counted_idle || p->idle_count < c->settings.max_idle);
	if (is_kept) {
		set_idle(c, true);
		return;
	}
	session_leave(&c->base);
}

/* All owners are told, each once. */
static void fail_all(struct client_h2 *c, const struct session_failure *f, int connect_err)
{
	struct list todo;

	if (c->is_broken)
		return;
	c->is_broken = true;
	waits_stop(loop_of(c), &c->waits); /* first: when the last owner leaves, its goodbye has a time of its own */
	list_init(&todo);
	list_splice(&todo, &c->streams);
	while (!list_is_empty(&todo)) {
		struct client_h2_stream *st = list_first(&todo, struct client_h2_stream, node);
		struct session_failure connect = {0};

		list_remove(&st->node);
		list_append(&c->streams, &st->node);
		if (connect_err)
			connect = client_connect_failure(c->stream, connect_err, st->arena);
		client_h2_stream_fail(st, connect_err ? &connect : f);
	}
	client_h2_settle(c);
}

static void fails_with(struct client_h2 *c, enum session_fault fault, int err)
{
	struct session_failure f = {.fault = fault, .err = err};

	if (!c->has_settings)
		client_tell_alert(c->stream, &f);
	fail_all(c, &f, 0);
}

/* ---- input ---- */

static void read_more(struct client_h2 *c)
{
	if (c->state == H2_OPEN && !c->is_broken && c->stream->state == STREAM_OPEN && !c->is_peer_done)
		stream_read(c->stream, c->body_count > 0 ? LOOP_BUFFERS_LARGE : LOOP_BUFFERS_SMALL);
}

static void take_settings(struct client_h2 *c)
{
	struct list *pos, *next;

	c->has_settings = true;
	c->base.pool->h2_streams_seen = MAX(http2_peer_streams_max(c->h), 1U);
	list_for_each_safe(pos, next, &c->streams)
		client_h2_stream_release(list_entry(pos, struct client_h2_stream, node));
	client_pool_released(c->base.pool, MIN(http2_peer_streams_max(c->h), c->settings.h2_streams_max));
}

static void take_error(struct client_h2 *c, const struct codec_event *ev)
{
	struct session_failure f = {SESSION_FAULT_MALFORMED, ev->fault, 0, ev->detail};

	fail_all(c, &f, 0);
}

static void take_event(struct client_h2 *c, enum codec_event_type type, struct codec_event *ev)
{
	switch (type) {
	case CODEC_HEAD:
	case CODEC_BODY:
	case CODEC_END:
	case CODEC_SENT:
	case CODEC_RESET:
		CHECK(ev->owner);
		client_h2_stream_event(ev->owner, type, ev);
		break;
	case CODEC_SETTINGS:
		take_settings(c);
		break;
	case CODEC_ERROR:
		take_error(c, ev);
		break;
	default: /* GOAWAY: settle() sees it.  PONG: any byte is as good. */
		break;
	}
}

static void keep_slice(struct slice *s, void *arg)
{
	*s = loop_keep(arg, *s);
}

static void pump(struct client_h2 *c)
{
	struct codec *codec = http2_codec(c->h);

	CHECK(!c->is_pumping);
	c->is_pumping = true;
	c->needs_pump = false;
	while (!c->is_broken) {
		struct codec_event ev = {0};
		enum codec_event_type type = codec->ops->next(codec, NULL, &ev);

		if (type == CODEC_MORE || type == CODEC_CLOSED) /* settle() sees that it is used up */
			break;
		take_event(c, type, &ev);
	}
	c->is_pumping = false;
	http2_keep(c->h, keep_slice, loop_of(c));
	client_h2_settle(c);
	read_more(c);
	if (http2_wants_output(c->h))
		client_h2_flush_later(c);
}

static void run_pump(struct task *t)
{
	struct client_h2 *c = container_of(t, struct client_h2, pump_task);
	struct list *pos, *next;

	list_for_each_safe(pos, next, &c->streams) {
		struct client_h2_stream *st = list_entry(pos, struct client_h2_stream, node);

		if (st->is_upgrade_refused)
			client_h2_stream_release(st);
	}
	pump(c);
}

/* ---- output ---- */

static void note_heads(struct client_h2 *c, uint64_t from)
{
	struct list *n;

	while ((n = list_pop(&c->fresh))) {
		struct client_h2_stream *st = list_entry(n, struct client_h2_stream, out_node);

		st->head_from = from;
		st->head_to = c->stream->bytes_out + c->stream->queued;
		list_append(&c->unsent, n);
	}
}

static void run_flush(struct task *t)
{
	struct client_h2 *c = container_of(t, struct client_h2, flush_task);
	uint64_t from = c->stream->bytes_out + c->stream->queued;
	struct slice_queue out = {0};

	if (c->is_broken || c->stream->queued >= QUEUE_MAX)
		return;
	http2_output(c->h, &out, QUEUE_MAX - c->stream->queued);
	if (out.count > 0)
		stream_write_queue(c->stream, &out);
	else if (c->stream->queued == 0 && c->needs_pump)
		loop_defer(loop_of(c), &c->pump_task); /* on_sent() will not come to look for events */
	slice_queue_fini(&out);
	note_heads(c, from);
	if (c->state == H2_OPEN && c->stream->queued > 0)
		write_begins(&c->waits, c->stream, c->settings.write_timeout_ms);
}

/* ---- events of the stream ---- */

static void ping_wait(struct client_h2 *c)
{
	wait_end(&c->waits, WAIT_PONG);
	wait_begin(loop_of(c), &c->waits, WAIT_PING, c->settings.h2_ping_interval_ms);
}

static void on_connected(struct stream *s)
{
	struct client_h2 *c = s->owner;

	if (c->base.tls && !client_speaks_h2(s)) {
		client_refuse_alpn(s);
		fail_all(c, NULL, -EPROTO);
		return;
	}
	c->state = H2_OPEN;
	wait_end(&c->waits, WAIT_IDLE);
	if (s->queued > 0)
		write_begins(&c->waits, s, c->settings.write_timeout_ms);
	ping_wait(c);
	read_more(c);
	client_h2_flush_later(c);
}

static void on_data(struct stream *s, struct slice data)
{
	struct client_h2 *c = s->owner;
	struct codec *codec = http2_codec(c->h);

	if (c->is_broken || c->state != H2_OPEN) {
		slice_put(&data);
		return;
	}
	ping_wait(c);
	http2_tick(c->h, loop_now_ms(loop_of(c)));
	codec->ops->feed(codec, data);
	pump(c);
}

/* No more comes: answers that are complete are still delivered as their owners can take them, the others fail. */
static void peer_ends(struct client_h2 *c, int err)
{
	struct codec *codec = http2_codec(c->h);

	c->is_peer_done = true;
	c->end_err = err;
	if (c->state == H2_LEAVING) {
		session_close(c);
	} else if (!c->is_broken && c->state == H2_OPEN) {
		codec->ops->feed_eof(codec);
		pump(c);
	}
}

static void on_eof(struct stream *s)
{
	peer_ends(s->owner, 0);
}

static void on_sent(struct stream *s, size_t bytes)
{
	struct client_h2 *c = s->owner;
	struct client_h2_stream *st;

	if (c->state == H2_LEAVING) {
		if (s->queued == 0)
			session_close(c);
		return;
	}
	write_progress(&c->waits, s, bytes);
	if (c->is_broken)
		return;
	while ((st = list_first(&c->unsent, struct client_h2_stream, out_node)) && st->head_to <= s->bytes_out) {
		list_remove(&st->out_node);
		client_h2_stream_sent(st);
	}
	pump(c);
}

static void on_fail(struct stream *s, int err)
{
	struct client_h2 *c = s->owner;

	if (c->state == H2_CONNECTING)
		fail_all(c, NULL, err);
	else
		peer_ends(c, err);
}

static void on_closed(struct stream *s)
{
	struct client_h2 *c = s->owner;

	CHECK(c->state == H2_CLOSING && c->stream_count == 0);
	http2_free(c->h);
	client_session_fini(&c->base);
	c->tag = 0;
	free(c);
}

static void ping(struct client_h2 *c)
{
	http2_ping(c->h);
	client_h2_flush_later(c);
	wait_begin(loop_of(c), &c->waits, WAIT_PONG, MIN(c->settings.h2_ping_interval_ms, (uint64_t)PONG_TIMEOUT_MS));
}

static void on_expire(struct timer *t)
{
	struct client_h2 *c = container_of(container_of(t, struct waits, timer), struct client_h2, waits);

	switch (waits_expired(loop_of(c), &c->waits)) {
	case WAIT_IDLE:
		if (c->state == H2_CONNECTING)
			fail_all(c, NULL, -ETIMEDOUT);
		else
			session_leave(&c->base);
		break;
	case WAIT_WRITE:
		if (c->state == H2_LEAVING)
			session_close(c);
		else
			fails_with(c, SESSION_FAULT_WRITE_TIMEOUT, 0);
		break;
	case WAIT_PING:
		ping(c);
		break;
	case WAIT_PONG:
		fails_with(c, SESSION_FAULT_PING_TIMEOUT, 0);
		break;
	default:
		break;
	}
}

/* ---- beginnings ---- */

static bool session_has_room(struct client_session *s, bool is_new)
{
	struct client_h2 *c = of_session(s);

	if (!may_take_more(c) || !http2_can_open(c->h))
		return false;
	if (!c->has_settings && s->pool->h2_streams_seen && c->stream_count >= s->pool->h2_streams_seen)
		return false; /* it would most likely be refused */
	return !is_new || c->stream->bytes_in == 0;
}

static bool session_is_idle(const struct client_session *s)
{
	return of_session(s)->is_counted_idle;
}

static struct http_stream *session_open(struct client_session *s, const struct client_settings *settings,
					struct arena *a)
{
	struct client_h2 *c = of_session(s);
	uint32_t streams_max = c->settings.h2_streams_max;
	struct http_stream *hs;

	c->settings = *settings;
	c->settings.h2_streams_max = streams_max;
	c->settings.preface = c->settings.tls_host = (struct span){0};
	hs = client_h2_stream_open(c, settings, a);
	c->requests++;
	client_session_move(s, &s->pool->ready); /* settle() takes it out when it is used up */
	client_h2_settle(c);
	return hs;
}

static const struct client_session_ops client_h2_session_ops = {
	.has_room = session_has_room,
	.open = session_open,
	.is_idle = session_is_idle,
	.close = session_leave,
};

static struct client_h2 *client_h2_new(struct client_pool *p, struct stream *s, const struct client_settings *settings)
{
	struct client_h2 *c = mem_zalloc(sizeof(*c));
	struct http2_settings h2 = http2_defaults;

	c->tag = CLIENT_H2_TAG;
	client_session_init(&c->base, &client_h2_session_ops, p, settings);
	list_init(&c->streams);
	list_init(&c->fresh);
	list_init(&c->unsent);
	c->pump_task.run = run_pump;
	c->flush_task.run = run_flush;
	waits_init(&c->waits, on_expire);
	c->settings = *settings;
	c->settings.preface = c->settings.tls_host = (struct span){0};
	if (!c->settings.h2_streams_max)
		c->settings.h2_streams_max = STREAMS_MAX_DEFAULT;
	h2.max_concurrent_streams = c->settings.h2_streams_max;
	h2.head_max = RESPONSE_HEAD_MAX;
	h2.fields_max = RESPONSE_FIELDS_MAX;
	h2.trailer_max = RESPONSE_TRAILER_MAX;
	h2.is_tls = settings->tls != NULL;
	c->h = http2_new(false, &h2);
	c->stream = s;
	s->events = &h2_stream_events;
	s->owner = c;
	return c;
}

struct client_session *client_h2_connect(struct client_pool *p, const struct addr *addr,
					 const struct client_settings *settings, int *out_err)
{
	struct stream *s = client_connect(p, addr, settings, &h2_stream_events, NULL, out_err);
	struct client_h2 *c;

	if (!s)
		return NULL;
	c = client_h2_new(p, s, settings);
	wait_begin(p->loop, &c->waits, WAIT_IDLE, settings->connect_timeout_ms);
	return &c->base;
}

struct client_session *client_h2_take(struct client_pool *p, struct stream *s, const struct client_settings *settings)
{
	struct client_h2 *c = client_h2_new(p, s, settings);

	on_connected(s);
	return &c->base;
}
