/* SPDX-License-Identifier: GPL-2.0-only */
/* client_h1.c - HTTP/1 client sessions: one message pair at a time on a connection to an origin, kept idle
 * between. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/socket.h"
#include "session/client_session.h"
#include "session/keep.h"
#include "session/writing.h"

#define CLIENT_H1_TAG TAG('c', 'l', 'h', '1')

enum client_h1_state {
	C_CONNECTING,
	C_BUSY,
	C_IDLE,
	C_CLOSING,
};

/* What came of the response. */
enum client_h1_response {
	RESPONSE_NONE,
	RESPONSE_BEGUN, /* some byte */
	RESPONSE_BODY,	/* the final head */
	RESPONSE_LENT,	/* ... and somebody else moves the rest of the body */
	RESPONSE_DONE,
};

struct client_h1 {
	uint32_t tag;
	enum client_h1_state state;
	struct client_session base;

	struct stream *stream; /* owned until on_closed() */
	struct http1 *codec; /* owned */
	struct waits waits;
	struct task pump_task;
	struct http_stream hs;
	struct arena *arena; /* of the response; the owner's */
	struct client_settings settings;

	int64_t allowance;
	uint64_t written_before; /* stream.bytes_out when the request began */
	uint32_t requests;
	enum client_h1_response response;
	bool is_request_done;
	bool is_reused, is_reusable;
	bool is_pumping, is_tunnel, is_broken, is_peer_done;
};

static const struct http1_limits response_limits = {
	.request_line_max = 8192,
	.head_max = 64 * 1024, /* origins are trusted more than clients: cookies, CSP */
	.fields_max = 256,
	.trailer_max = 16384,
	.chunk_line_max = 256,
};

static void on_connected(struct stream *st);
static void on_data(struct stream *st, struct slice data);
static void on_eof(struct stream *st);
static void on_sent(struct stream *st, size_t bytes);
static void on_fail(struct stream *st, int err);
static void on_closed(struct stream *st);
static void on_paused(struct stream *st);

static const struct stream_events client_stream_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
	.on_paused = on_paused,
};

static struct client_h1 *of_stream(struct stream *st)
{
	return st->owner;
}

static struct client_h1 *of_http_stream(const struct http_stream *hs)
{
	struct client_h1 *c = container_of(hs, struct client_h1, hs);

	OBJ_CHECK(c, CLIENT_H1_TAG);
	return c;
}

static struct client_h1 *of_session(const struct client_session *s)
{
	struct client_h1 *c = container_of(s, struct client_h1, base);

	OBJ_CHECK(c, CLIENT_H1_TAG);
	return c;
}

static struct loop *loop_of(struct client_h1 *c)
{
	return c->base.pool->loop;
}

/* ---- leaving and returning ---- */

static void session_close(struct client_h1 *c)
{
	if (c->state == C_CLOSING)
		return;
	if (c->state == C_IDLE) {
		c->base.pool->idle_count--;
		client_session_move(&c->base, &c->base.pool->busy);
	}
	c->state = C_CLOSING;
	waits_stop(loop_of(c), &c->waits);
	loop_undefer(loop_of(c), &c->pump_task);
	stream_close(c->stream);
}

static void on_closed(struct stream *st)
{
	struct client_h1 *c = of_stream(st);

	CHECK(c->state == C_CLOSING && !c->hs.owner);
	http1_free(c->codec);
	client_session_fini(&c->base);
	c->tag = 0;
	free(c);
}

static bool may_be_kept(const struct client_h1 *c)
{
	const struct client_settings *set = &c->settings;

	if (!c->is_request_done || c->response != RESPONSE_DONE || !c->is_reusable || c->is_peer_done || c->is_broken)
		return false;
	if (c->stream->state != STREAM_OPEN || c->stream->queued > 0 || http1_buffered(c->codec) > 0)
		return false;
	if (set->max_requests && c->requests >= set->max_requests)
		return false;
	return !client_session_is_over(&c->base, set) && c->base.pool->idle_count < set->max_idle;
}

static void become_idle(struct client_h1 *c)
{
	c->state = C_IDLE;
	client_session_move(&c->base, &c->base.pool->ready);
	c->base.pool->idle_count++;
	http1_next_message(c->codec);
	wait_end(&c->waits, WAIT_READ);
	wait_end(&c->waits, WAIT_WRITE);
	wait_begin(loop_of(c), &c->waits, WAIT_IDLE, c->settings.idle_timeout_ms);
	stream_read(c->stream, LOOP_BUFFERS_SMALL); /* its end, so that a closed one is never picked */
	client_pool_released(c->base.pool, 1);
}

/* ---- telling the owner ---- */

static void owner_fail(struct client_h1 *c, const struct session_failure *f)
{
	if (c->is_broken || !c->hs.events)
		return;
	c->is_broken = true;
	waits_stop(loop_of(c), &c->waits);
	c->hs.events->on_fail(&c->hs, f);
}

static void owner_fails_with(struct client_h1 *c, enum session_fault fault, int err)
{
	struct session_failure f = {.fault = fault, .err = err};

	/* Closed between two uses: the origin did not see the request, or chose not to answer it. */
	if (c->is_reused && c->response == RESPONSE_NONE &&
	    (fault == SESSION_FAULT_RESET || fault == SESSION_FAULT_EOF))
		f.fault = SESSION_FAULT_STALE;
	if (fault == SESSION_FAULT_RESET && c->response == RESPONSE_NONE)
		client_tell_alert(c->stream, &f);
	owner_fail(c, &f);
}

static void connect_fails(struct client_h1 *c, int err)
{
	struct session_failure f;

	if (!c->hs.events)
		return;
	f = client_connect_failure(c->stream, err, c->arena);
	owner_fail(c, &f);
}

/* ---- output ---- */

static void flush_codec(struct client_h1 *c)
{
	struct slice_queue *out = http1_output(c->codec);

	if (c->is_broken)
		return;
	if (out->count == 0 && c->stream->queued == 0 && !c->is_pumping) {
		loop_defer(loop_of(c), &c->pump_task); /* the codec refused the message: next() says why */
	} else if (out->count > 0) {
		if (c->state != C_CONNECTING)
			write_begins(&c->waits, c->stream, c->settings.write_timeout_ms);
		/* While connecting too: the stream counts what waits, and unpins it. */
		stream_write_queue(c->stream, out);
	}
}

/* ---- input ---- */

static void read_more(struct client_h1 *c)
{
	if (c->is_broken || c->is_peer_done || c->response == RESPONSE_LENT || c->state == C_CONNECTING ||
	    c->state == C_CLOSING)
		return;
	if (c->response == RESPONSE_DONE || c->response < RESPONSE_BODY) {
		stream_read(c->stream, LOOP_BUFFERS_SMALL);
		return;
	}
	if (c->allowance <= 0) {
		wait_end(&c->waits, WAIT_READ);
		return;
	}
	if (!wait_is_on(&c->waits, WAIT_READ) && !c->is_tunnel)
		wait_begin(loop_of(c), &c->waits, WAIT_READ, c->settings.read_timeout_ms);
	stream_read(c->stream, LOOP_BUFFERS_LARGE);
}

static void take_head(struct client_h1 *c, struct message *m)
{
	if (m->status >= 200 || m->framing == BODY_TUNNEL) {
		c->response = RESPONSE_BODY;
		c->is_reusable =
			m->wants_keep_alive && m->framing != BODY_UNTIL_CLOSE && m->framing != BODY_TUNNEL;
		c->is_tunnel = m->framing == BODY_TUNNEL;
		if (c->is_tunnel)
			c->allowance = 0; /* its bytes wait for the owner of the tunnel, who asks anew */
	}
	c->hs.events->on_head(&c->hs, m);
}

static void take_error(struct client_h1 *c, const struct codec_event *ev)
{
	struct session_failure f = {SESSION_FAULT_MALFORMED, ev->fault, 0, ev->detail};

	if (c->is_peer_done)
		owner_fails_with(c, SESSION_FAULT_EOF, 0);
	else
		owner_fail(c, &f);
}

static bool may_pump(const struct client_h1 *c)
{
	if (c->state != C_BUSY || c->is_broken || c->response == RESPONSE_DONE || !c->hs.events)
		return false;
	return c->response < RESPONSE_BODY || c->allowance > 0;
}

static void pump(struct client_h1 *c)
{
	struct codec *codec = http1_codec(c->codec);

	CHECK(!c->is_pumping);
	c->is_pumping = true;
	while (may_pump(c)) {
		struct codec_event ev;
		enum codec_event_type type = codec->ops->next(codec, c->arena, &ev);

		if (type == CODEC_MORE)
			break;
		if (type == CODEC_HEAD) {
			take_head(c, ev.message);
		} else if (type == CODEC_BODY) {
			c->allowance -= ev.data.len;
			wait_progress(loop_of(c), &c->waits, WAIT_READ);
			c->hs.events->on_body(&c->hs, ev.data);
		} else if (type == CODEC_END) {
			c->response = RESPONSE_DONE;
			wait_end(&c->waits, WAIT_READ);
			c->hs.events->on_end(&c->hs, ev.trailers);
		} else if (type == CODEC_CLOSED) {
			owner_fails_with(c, SESSION_FAULT_EOF, 0);
		} else {
			take_error(c, &ev);
		}
	}
	c->is_pumping = false;
	keep_input(loop_of(c), c->codec);
	read_more(c);
}

static void run_pump(struct task *t)
{
	pump(container_of(t, struct client_h1, pump_task));
}

/* ---- events of the stream ---- */

static void on_connected(struct stream *st)
{
	struct client_h1 *c = of_stream(st);

	c->state = C_BUSY;
	wait_end(&c->waits, WAIT_IDLE);
	if (st->queued > 0)
		write_begins(&c->waits, st, c->settings.write_timeout_ms);
	flush_codec(c);
	stream_read(st, LOOP_BUFFERS_SMALL);
}

static void on_data(struct stream *st, struct slice data)
{
	struct client_h1 *c = of_stream(st);
	struct codec *codec = http1_codec(c->codec);

	if (c->state == C_IDLE) { /* an origin that speaks unasked */
		slice_put(&data);
		session_close(c);
		return;
	}
	if (c->is_broken || c->state != C_BUSY) {
		slice_put(&data);
		return;
	}
	c->response = MAX(c->response, RESPONSE_BEGUN);
	if (c->response == RESPONSE_DONE) /* more than a response: not to be used again */
		c->is_reusable = false;
	codec->ops->feed(codec, data);
	pump(c);
}

static void on_eof(struct stream *st)
{
	struct client_h1 *c = of_stream(st);
	struct codec *codec = http1_codec(c->codec);

	c->is_peer_done = true;
	if (c->state == C_IDLE) {
		session_close(c);
		return;
	}
	codec->ops->feed_eof(codec);
	pump(c);
}

static void on_sent(struct stream *st, size_t bytes)
{
	struct client_h1 *c = of_stream(st);

	write_progress(&c->waits, st, bytes);
	if (c->hs.events && !c->is_broken)
		c->hs.events->on_sent(&c->hs);
}

static void on_fail(struct stream *st, int err)
{
	struct client_h1 *c = of_stream(st);

	c->is_peer_done = true;
	if (c->state == C_IDLE)
		session_close(c);
	else if (c->state == C_CONNECTING)
		connect_fails(c, err);
	else
		owner_fails_with(c, SESSION_FAULT_RESET, err);
}

static void on_paused(struct stream *st)
{
	struct client_h1 *c = of_stream(st);

	if (c->hs.events && !c->is_broken && c->hs.events->on_paused)
		c->hs.events->on_paused(&c->hs);
}

static void on_expire(struct timer *t)
{
	struct client_h1 *c = container_of(container_of(t, struct waits, timer), struct client_h1, waits);

	switch (waits_expired(loop_of(c), &c->waits)) {
	case WAIT_IDLE:
		if (c->state == C_IDLE)
			session_close(c);
		else
			connect_fails(c, -ETIMEDOUT);
		break;
	case WAIT_READ:
		owner_fails_with(c, SESSION_FAULT_BODY_TIMEOUT, 0);
		break;
	case WAIT_WRITE:
		/* An origin that answers early need not read the rest. */
		if (c->response < RESPONSE_BODY || c->is_tunnel)
			owner_fails_with(c, SESSION_FAULT_WRITE_TIMEOUT, 0);
		break;
	default:
		break;
	}
}

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct client_h1 *c = of_http_stream(hs);
	struct codec *codec = http1_codec(c->codec);

	http1_expect_response(c->codec, m->method);
	codec->ops->send(codec, &(struct codec_send){CODEC_SEND_HEAD, .stream = 1, .message = m});
	flush_codec(c);
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct client_h1 *c = of_http_stream(hs);
	struct codec *codec = http1_codec(c->codec);

	codec->ops->send(codec, &(struct codec_send){CODEC_SEND_BODY, .stream = 1, .data = data});
	flush_codec(c);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct client_h1 *c = of_http_stream(hs);
	struct codec *codec = http1_codec(c->codec);

	c->is_request_done = true;
	if (c->is_tunnel) {
		stream_shutdown(c->stream);
		return;
	}
	codec->ops->send(codec, &(struct codec_send){CODEC_SEND_END, .stream = 1, .trailers = trailers});
	flush_codec(c);
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct client_h1 *c = of_http_stream(hs);

	if (c->is_broken || c->response == RESPONSE_DONE)
		return;
	c->allowance += (int64_t)bytes;
	if (c->response >= RESPONSE_BODY && !c->is_pumping)
		loop_defer(loop_of(c), &c->pump_task);
}

static size_t op_queued(const struct http_stream *hs)
{
	return of_http_stream(hs)->stream->queued;
}

static void owner_leaves(struct client_h1 *c)
{
	c->hs.owner = NULL;
	c->hs.events = NULL;
	c->hs.tag = 0;
	c->arena = NULL;
}

static void op_reset(struct http_stream *hs)
{
	struct client_h1 *c = of_http_stream(hs);

	owner_leaves(c);
	session_close(c);
}

static void op_done(struct http_stream *hs)
{
	struct client_h1 *c = of_http_stream(hs);

	owner_leaves(c);
	if (may_be_kept(c))
		become_idle(c);
	else
		session_close(c);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return of_http_stream(hs)->stream;
}

static bool op_is_reused(const struct http_stream *hs)
{
	return of_http_stream(hs)->is_reused;
}

static bool op_has_written(const struct http_stream *hs)
{
	const struct client_h1 *c = of_http_stream(hs);

	return c->stream->bytes_out > c->written_before || c->stream->sending > 0;
}

/* ---- lending ---- */

static size_t op_hold(struct http_stream *hs)
{
	struct client_h1 *c = of_http_stream(hs);

	c->allowance = (int64_t)http1_buffered(c->codec) + stream_is_busy(c->stream, STREAM_IN);
	return (size_t)c->allowance;
}

static bool op_pause(struct http_stream *hs)
{
	struct client_h1 *c = of_http_stream(hs);
	size_t here = http1_buffered(c->codec);

	c->allowance = (int64_t)here;
	if (here > 0 && !c->is_pumping)
		loop_defer(loop_of(c), &c->pump_task);
	return stream_pause(c->stream) && here == 0 && !c->is_pumping;
}

static uint64_t op_lend(struct http_stream *hs, enum stream_side side)
{
	struct client_h1 *c = of_http_stream(hs);
	uint64_t left;

	if (c->is_broken || (side == STREAM_IN ? c->response != RESPONSE_BODY || c->is_peer_done :
						 c->is_request_done && !c->is_tunnel))
		return LENDS_NEVER;
	if (stream_is_busy(c->stream, side) ||
	    (side == STREAM_IN && (c->is_pumping || http1_buffered(c->codec) > 0)))
		return LENDS_LATER;
	left = session_lend(c->stream, side,
			    side == STREAM_IN ? http1_in_left(c->codec) : http1_out_left(c->codec));
	if (side == STREAM_IN && session_lends(left)) {
		c->response = RESPONSE_LENT;
		c->allowance = 0;
	}
	return left;
}

static void lent_in(struct client_h1 *c, uint64_t bytes, bool is_waiting)
{
	http1_in_skip(c->codec, bytes);
	if (c->is_tunnel)
		return;
	if (!is_waiting)
		wait_end(&c->waits, WAIT_READ);
	else if (bytes > 0 || !wait_is_on(&c->waits, WAIT_READ))
		wait_begin(loop_of(c), &c->waits, WAIT_READ, c->settings.read_timeout_ms);
}

static void op_lent(struct http_stream *hs, enum stream_side side, uint64_t bytes, bool is_waiting)
{
	struct client_h1 *c = of_http_stream(hs);

	if (c->is_broken)
		return;
	if (side == STREAM_IN) {
		lent_in(c, bytes, is_waiting);
		return;
	}
	http1_out_skip(c->codec, bytes);
	write_lent(&c->waits, c->stream, bytes, is_waiting, c->settings.write_timeout_ms);
}

static void op_take_back(struct http_stream *hs, enum stream_side side, int err)
{
	struct client_h1 *c = of_http_stream(hs);

	stream_take_back(c->stream, side, err);
	if (side == STREAM_OUT) {
		write_settles(&c->waits, c->stream);
		return;
	}
	c->response = RESPONSE_BODY;
	wait_end(&c->waits, WAIT_READ);
	if (c->is_broken || http1_in_left(c->codec) > 0)
		return;
	if (socket_has_input(stream_fd(c->stream))) /* more than a response: not to be used again */
		c->is_reusable = false;
	c->allowance = 1; /* nothing but the end can come */
	loop_defer(loop_of(c), &c->pump_task);
}

static const struct http_stream_ops client_h1_ops = {
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

/* For a request, whatever the connection did before. */
static struct http_stream *session_open(struct client_session *s, const struct client_settings *settings,
					struct arena *a)
{
	struct client_h1 *c = of_session(s);

	if (c->state == C_IDLE) {
		client_session_move(s, &s->pool->busy);
		s->pool->idle_count--;
		c->state = C_BUSY;
		c->is_reused = true;
		wait_end(&c->waits, WAIT_IDLE);
	}
	c->settings = *settings;
	c->arena = a;
	c->requests++;
	c->allowance = 0;
	c->written_before = c->stream->bytes_out;
	if (c->state == C_CONNECTING && !settings->tls)
		c->written_before += settings->preface.len;
	c->response = RESPONSE_NONE;
	c->is_tunnel = c->is_broken = c->is_request_done = c->is_reusable = false;
	c->hs.tag = HTTP_STREAM_TAG;
	c->hs.id = 1;
	c->hs.owner = NULL;
	c->hs.events = NULL;
	return &c->hs;
}

static bool session_has_room(struct client_session *s, bool is_new)
{
	return !is_new && of_session(s)->state == C_IDLE;
}

static bool session_is_idle(const struct client_session *s)
{
	return of_session(s)->state == C_IDLE;
}

static void session_close_idle(struct client_session *s)
{
	session_close(of_session(s));
}

static const struct client_session_ops client_h1_session_ops = {
	.has_room = session_has_room,
	.open = session_open,
	.is_idle = session_is_idle,
	.close = session_close_idle,
};

static struct client_h1 *client_h1_new(struct client_pool *p, const struct client_settings *settings)
{
	struct client_h1 *c = mem_zalloc(sizeof(*c));

	c->tag = CLIENT_H1_TAG;
	client_session_init(&c->base, &client_h1_session_ops, p, settings);
	c->hs.ops = &client_h1_ops;
	c->pump_task.run = run_pump;
	c->codec = http1_new(false, &response_limits);
	waits_init(&c->waits, on_expire);
	return c;
}

struct client_session *client_h1_connect(struct client_pool *p, const struct addr *addr,
					 const struct client_settings *settings, int *out_err)
{
	struct stream *st = client_connect(p, addr, settings, &client_stream_events, NULL, out_err);
	struct client_h1 *c;

	if (!st)
		return NULL;
	c = client_h1_new(p, settings);
	c->state = C_CONNECTING;
	c->stream = st;
	st->owner = c;
	wait_begin(p->loop, &c->waits, WAIT_IDLE, settings->connect_timeout_ms);
	return &c->base;
}

struct client_session *client_h1_take(struct client_pool *p, struct stream *st,
				      const struct client_settings *settings)
{
	struct client_h1 *c = client_h1_new(p, settings);

	c->state = C_BUSY;
	c->stream = st;
	st->events = &client_stream_events;
	st->owner = c;
	stream_read(st, LOOP_BUFFERS_SMALL);
	return &c->base;
}
