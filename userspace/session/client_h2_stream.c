/* SPDX-License-Identifier: GPL-2.0-only */
/* client_h2_stream.c - one request on an HTTP/2 connection to an origin: the calls of its owner, and its events. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "session/client_h2.h"

static struct client_h2_stream *of_http_stream(const struct http_stream *hs)
{
	struct client_h2_stream *st = container_of(hs, struct client_h2_stream, hs);

	OBJ_CHECK(st, CLIENT_H2_STREAM_TAG);
	return st;
}

static struct loop *loop_of(const struct client_h2_stream *st)
{
	return client_h2_loop(st->c);
}

static void codec_send(struct client_h2_stream *st, struct codec_send s)
{
	struct codec *codec = http2_codec(st->c->h);

	s.stream = st->hs.id;
	codec->ops->send(codec, &s);
	st->c->needs_pump = true;
	client_h2_flush_later(st->c);
}

/* ---- waiting ---- */

static void read_wait(struct client_h2_stream *st)
{
	if (!st->has_head || st->is_response_done || st->is_tunnel || st->allowance <= 0)
		wait_end(&st->waits, WAIT_READ);
	else if (wait_is_on(&st->waits, WAIT_READ))
		wait_progress(loop_of(st), &st->waits, WAIT_READ);
	else
		wait_begin(loop_of(st), &st->waits, WAIT_READ, st->read_timeout_ms);
}

static void write_wait(struct client_h2_stream *st)
{
	if (st->c->state == H2_CONNECTING || http2_queued(st->c->h, st->hs.id) == 0)
		wait_end(&st->waits, WAIT_WRITE);
	else if (wait_is_on(&st->waits, WAIT_WRITE))
		wait_progress(loop_of(st), &st->waits, WAIT_WRITE);
	else
		wait_begin(loop_of(st), &st->waits, WAIT_WRITE, st->write_timeout_ms);
}

/* Only a wait that has not begun: what the owner sends is no progress. */
static void write_wait_begin(struct client_h2_stream *st)
{
	if (!wait_is_on(&st->waits, WAIT_WRITE))
		write_wait(st);
}

static void on_expire(struct timer *t)
{
	struct waits *w = container_of(t, struct waits, timer);
	struct client_h2_stream *st = container_of(w, struct client_h2_stream, waits);
	struct session_failure f = {0};

	switch (waits_expired(loop_of(st), &st->waits)) {
	case WAIT_READ:
		f.fault = SESSION_FAULT_BODY_TIMEOUT;
		break;
	case WAIT_WRITE:
		/* An origin that answers early need not read the rest. */
		if (!st->has_head || st->is_tunnel)
			f.fault = SESSION_FAULT_WRITE_TIMEOUT;
		break;
	default:
		break;
	}
	if (f.fault != SESSION_FAULT_NONE)
		client_h2_stream_fail(st, &f);
}

/* ---- telling the owner ---- */

void client_h2_stream_fail(struct client_h2_stream *st, const struct session_failure *failure)
{
	struct session_failure f = *failure;
	bool is_end = f.fault == SESSION_FAULT_RESET || f.fault == SESSION_FAULT_EOF;

	if (st->is_broken || st->is_response_done)
		return;
	st->is_broken = true;
	if (st->has_head)
		st->c->body_count--;
	waits_stop(loop_of(st), &st->waits);
	/* The connection was closed between two uses: the origin did not see the request. */
	if (is_end && st->c->is_peer_done && st->is_reused && st->c->stream->bytes_in == st->heard_before)
		f.fault = SESSION_FAULT_STALE;
	if (st->hs.events)
		st->hs.events->on_fail(&st->hs, &f);
}

static void take_head(struct client_h2_stream *st, struct message *m)
{
	st->has_answer = true;
	if (m->status >= 200 || m->framing == BODY_TUNNEL) {
		st->has_head = true;
		st->c->body_count++;
		st->is_tunnel = m->framing == BODY_TUNNEL;
		if (st->is_tunnel)
			st->allowance = 0; /* its bytes wait for the owner of the tunnel, who asks anew */
		else if (st->allowance > 0)
			http2_credit(st->c->h, st->hs.id, (size_t)st->allowance);
		read_wait(st);
	}
	st->hs.events->on_head(&st->hs, m);
}

static void take_end(struct client_h2_stream *st, struct headers *trailers)
{
	st->is_response_done = true;
	st->c->body_count--;
	wait_end(&st->waits, WAIT_READ);
	st->hs.events->on_end(&st->hs, trailers);
}

static void take_reset(struct client_h2_stream *st, const struct codec_event *ev)
{
	struct session_failure f = {
		.fault = SESSION_FAULT_RESET,
		.err = -ECONNRESET,
		.h2_error = ev->error,
		.detail = ev->detail,
	};

	if (ev->fault == CODEC_FAULT_BODY_TRUNCATED) { /* the connection ended */
		f.fault = st->c->end_err ? SESSION_FAULT_RESET : SESSION_FAULT_EOF;
		f.err = st->c->end_err;
		f.detail = (struct span){0};
	} else if (ev->fault != CODEC_FAULT_NONE) {
		f.fault = SESSION_FAULT_MALFORMED;
		f.codec = ev->fault;
	} else if (ev->is_retryable) {
		f.fault = http2_is_exhausted(st->c->h) ? SESSION_FAULT_GOAWAY : SESSION_FAULT_REFUSED;
	}
	wait_end(&st->waits, WAIT_WRITE); /* nothing more is sent, also when the answer was complete */
	client_h2_stream_fail(st, &f);
}

void client_h2_stream_event(struct client_h2_stream *st, enum codec_event_type type, struct codec_event *ev)
{
	OBJ_CHECK(st, CLIENT_H2_STREAM_TAG);
	if (st->is_broken || !st->hs.events) {
		if (type == CODEC_BODY)
			slice_put(&ev->data);
		return;
	}
	switch (type) {
	case CODEC_HEAD:
		take_head(st, ev->message);
		break;
	case CODEC_BODY:
		st->allowance -= ev->data.len;
		read_wait(st);
		st->hs.events->on_body(&st->hs, ev->data);
		break;
	case CODEC_END:
		take_end(st, ev->trailers);
		break;
	case CODEC_SENT:
		write_wait(st);
		st->hs.events->on_sent(&st->hs);
		break;
	default:
		CHECK(type == CODEC_RESET);
		take_reset(st, ev);
		break;
	}
}

void client_h2_stream_sent(struct client_h2_stream *st)
{
	write_wait_begin(st);
	if (st->hs.events && !st->is_broken)
		st->hs.events->on_sent(&st->hs);
}

/* ---- calls of the owner ---- */

static void send_head(struct client_h2_stream *st, const struct message *m)
{
	codec_send(st, (struct codec_send){CODEC_SEND_HEAD, .message = m});
	if (list_is_empty(&st->out_node))
		list_append(&st->c->fresh, &st->out_node);
}

/* A WebSocket is asked for by extended CONNECT, which the peer must have allowed (RFC 8441 3). */
static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct client_h2_stream *st = of_http_stream(hs);
	bool needs_connect = m->upgrade.len > 0 && m->method != METHOD_CONNECT;

	if (!needs_connect || http2_peer_allows_connect(st->c->h)) {
		send_head(st, m);
	} else if (!st->c->has_settings) {
		st->held_head = m;
	} else {
		st->is_upgrade_refused = true;
		client_h2_pump_later(st->c);
	}
}

void client_h2_stream_release(struct client_h2_stream *st)
{
	const struct session_failure f = {.fault = SESSION_FAULT_UPGRADE};
	const struct message *m = st->held_head;

	if (m && http2_peer_allows_connect(st->c->h)) {
		st->held_head = NULL;
		send_head(st, m);
		if (st->is_held_ended)
			codec_send(st, (struct codec_send){CODEC_SEND_END});
	} else if (m || st->is_upgrade_refused) {
		st->held_head = NULL;
		client_h2_stream_fail(st, &f);
	}
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct client_h2_stream *st = of_http_stream(hs);

	if (st->held_head || st->is_upgrade_refused) { /* such a request has no body */
		slice_put(&data);
		return;
	}
	codec_send(st, (struct codec_send){CODEC_SEND_BODY, .data = loop_keep(loop_of(st), data)});
	write_wait_begin(st);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct client_h2_stream *st = of_http_stream(hs);

	st->is_request_done = true;
	if (st->held_head)
		st->is_held_ended = true;
	else if (!st->is_upgrade_refused)
		codec_send(st, (struct codec_send){CODEC_SEND_END, .trailers = trailers});
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct client_h2_stream *st = of_http_stream(hs);

	if (st->is_broken || st->is_response_done)
		return;
	st->allowance += (int64_t)bytes;
	if (!st->has_head) /* not yet known whether it is for a body */
		return;
	read_wait(st);
	http2_credit(st->c->h, hs->id, bytes);
	client_h2_pump_later(st->c);
}

/* A head that is not out counts as one byte. */
static size_t op_queued(const struct http_stream *hs)
{
	const struct client_h2_stream *st = of_http_stream(hs);

	return http2_queued(st->c->h, hs->id) + (st->held_head || !list_is_empty(&st->out_node));
}

static void stream_free(struct client_h2_stream *st)
{
	struct client_h2 *c = st->c;

	if (st->has_head && !st->is_response_done && !st->is_broken)
		c->body_count--;
	waits_stop(client_h2_loop(c), &st->waits);
	http2_forget(c->h, st->hs.id);
	list_remove(&st->out_node);
	list_remove(&st->node);
	CHECK(c->stream_count > 0);
	c->stream_count--;
	st->tag = 0;
	st->hs.tag = 0;
	free(st);
	client_h2_flush_later(c);
	client_pool_released(c->base.pool, 1);
	client_h2_settle(c);
}

/* done() and reset(): the codec resets what is not complete (CANCEL). */
static void op_leave(struct http_stream *hs)
{
	stream_free(of_http_stream(hs));
}

static struct stream *op_transport(struct http_stream *hs)
{
	return of_http_stream(hs)->c->stream;
}

static bool op_is_reused(const struct http_stream *hs)
{
	return of_http_stream(hs)->is_reused;
}

static bool op_has_written(const struct http_stream *hs)
{
	const struct client_h2_stream *st = of_http_stream(hs);
	const struct stream *s = st->c->stream;

	return st->head_to > 0 && s->bytes_out + s->sending > st->head_from;
}

static const struct http_stream_ops client_h2_ops = {
	.send_head = op_send_head,
	.send_body = op_send_body,
	.send_end = op_send_end,
	.credit = op_credit,
	.queued = op_queued,
	.done = op_leave,
	.reset = op_leave,
	.transport = op_transport,
	.is_reused = op_is_reused,
	.has_written = op_has_written,
};

struct http_stream *client_h2_stream_open(struct client_h2 *c, const struct client_settings *settings,
					  struct arena *a)
{
	struct client_h2_stream *st = mem_zalloc(sizeof(*st));
	uint32_t id = http2_open(c->h, a);

	CHECK(id > 0);
	st->tag = CLIENT_H2_STREAM_TAG;
	st->c = c;
	st->arena = a;
	st->hs = (struct http_stream){.tag = HTTP_STREAM_TAG, .ops = &client_h2_ops, .id = id, .is_duplex = true};
	waits_init(&st->waits, on_expire);
	list_init(&st->out_node);
	st->read_timeout_ms = settings->read_timeout_ms;
	st->write_timeout_ms = settings->write_timeout_ms;
	st->heard_before = c->stream->bytes_in;
	st->is_reused = st->heard_before > 0;
	http2_set_owner(c->h, id, st);
	list_append(&c->streams, &st->node);
	c->stream_count++;
	return &st->hs;
}
