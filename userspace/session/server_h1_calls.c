/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h1_calls.c - what the owner of a request asks of its HTTP/1 server session. */
#include "session/server_h1.h"

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);
	struct message copy = *m;

	CHECK(s->state == S_EXCHANGE && s->answer == ANSWER_NONE);
	if (m->status >= 200 || m->framing == BODY_TUNNEL)
		s->answer = ANSWER_BEGUN;
	/* A body that was never asked for may come or not: nobody knows where the next request would begin. */
	if (s->answer == ANSWER_BEGUN && (s->request == REQUEST_UNASKED || s->base.host->is_draining))
		server_h1_be_last(s);
	/* An early answer, and more of the body to come than anybody would drain. */
	if (s->answer == ANSWER_BEGUN && s->request != REQUEST_DONE && s->body_left > UNWANTED_BODY_MAX)
		server_h1_be_last(s);
	copy.wants_keep_alive = !server_h1_is_last(s);
	c->ops->send(c, &(struct codec_send){CODEC_SEND_HEAD, .stream = 1, .message = &copy});
	if (s->answer == ANSWER_BEGUN && http1_closes(s->codec))
		server_h1_be_last(s);
	if (m->framing == BODY_TUNNEL) {
		s->is_tunnel = true;
		s->request = REQUEST_COMES;
		wait_end(&s->waits, WAIT_READ);
		waits_pace(&s->waits, 0);
		http1_enter_tunnel(s->codec);
	}
	server_h1_flush(s);
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);

	CHECK(s->state == S_EXCHANGE && s->answer == ANSWER_BEGUN);
	c->ops->send(c, &(struct codec_send){CODEC_SEND_BODY, .stream = 1, .data = data});
	server_h1_flush(s);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);

	CHECK(s->state == S_EXCHANGE && s->answer == ANSWER_BEGUN);
	s->answer = ANSWER_DONE;
	if (s->is_tunnel) {
		stream_shutdown(s->stream);
		return;
	}
	c->ops->send(c, &(struct codec_send){CODEC_SEND_END, .stream = 1, .trailers = trailers});
	server_h1_flush(s);
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct server_h1 *s = server_h1_of(hs);

	if (s->is_broken || s->request == REQUEST_DONE)
		return;
	s->allowance += (int64_t)bytes;
	if (s->request == REQUEST_UNASKED) {
		s->request = REQUEST_COMES;
		if (s->answer == ANSWER_NONE)
			stream_write(s->stream, slice_static("HTTP/1.1 100 Continue\r\n\r\n", 25));
	}
	if (!s->is_pumping)
		loop_defer(s->base.host->loop, &s->pump_task);
}

static size_t op_queued(const struct http_stream *hs)
{
	return server_h1_of(hs)->stream->queued;
}

static void owner_leaves(struct server_h1 *s)
{
	s->hs.owner = NULL;
	s->hs.events = NULL;
	s->hs.tag = 0;
	s->message_arena = NULL;
	wait_end(&s->waits, WAIT_WATCH);
}

static void op_done(struct http_stream *hs)
{
	struct server_h1 *s = server_h1_of(hs);

	CHECK(s->state == S_EXCHANGE && s->answer == ANSWER_DONE);
	owner_leaves(s);
	s->state = S_REST;
	s->unwanted = 0;
	if (http1_has_output_fault(s->codec)) { /* nobody is to take what went out for the answer */
		server_h1_close(s, true);
		return;
	}
	if (s->is_tunnel && s->request == REQUEST_DONE && s->stream->queued == 0) {
		server_h1_close(s, false);
		return;
	}
	if (s->request != REQUEST_DONE && !server_h1_is_last(s)) {
		wait_begin(s->base.host->loop, &s->waits, WAIT_READ, s->body_idle_ms);
		if (!s->is_pumping)
			loop_defer(s->base.host->loop, &s->pump_task);
	}
	server_h1_rest_check(s);
}

static void op_reset(struct http_stream *hs)
{
	struct server_h1 *s = server_h1_of(hs);

	CHECK(s->state == S_EXCHANGE);
	owner_leaves(s);
	server_h1_close(s, s->answer != ANSWER_NONE);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return server_h1_of(hs)->stream;
}

/* ---- lending ---- */

static size_t op_hold(struct http_stream *hs)
{
	struct server_h1 *s = server_h1_of(hs);

	s->allowance = (int64_t)server_h1_buffered(s) + stream_is_busy(s->stream, STREAM_IN);
	return (size_t)s->allowance;
}

static bool op_pause(struct http_stream *hs)
{
	struct server_h1 *s = server_h1_of(hs);
	size_t here = server_h1_buffered(s);

	s->allowance = (int64_t)here;
	if (here > 0 && !s->is_pumping)
		loop_defer(s->base.host->loop, &s->pump_task);
	wait_end(&s->waits, WAIT_WATCH);
	return stream_pause(s->stream) && here == 0 && !s->is_pumping;
}

static uint64_t op_lend(struct http_stream *hs, enum stream_side side)
{
	struct server_h1 *s = server_h1_of(hs);
	uint64_t left;

	if (s->state != S_EXCHANGE || s->is_broken)
		return LENDS_NEVER;
	if (side == STREAM_IN ? s->request == REQUEST_DONE || s->is_peer_done : s->answer != ANSWER_BEGUN)
		return LENDS_NEVER;
	if (stream_is_busy(s->stream, side) || (side == STREAM_IN && (s->is_pumping || server_h1_buffered(s) > 0)))
		return LENDS_LATER;
	left = session_lend(s->stream, side,
			    side == STREAM_IN ? http1_in_left(s->codec) : http1_out_left(s->codec));
	if (side == STREAM_IN && session_lends(left)) {
		s->request = REQUEST_LENT;
		s->allowance = 0;
	}
	return left;
}

static void lent_in(struct server_h1 *s, uint64_t bytes, bool is_waiting)
{
	http1_in_skip(s->codec, bytes);
	wait_bytes(&s->waits, WAIT_READ, bytes);
	s->body_left -= MIN(s->body_left, bytes);
	if (s->is_tunnel)
		return;
	if (!is_waiting)
		wait_end(&s->waits, WAIT_READ);
	else if (bytes > 0 || !wait_is_on(&s->waits, WAIT_READ))
		wait_begin(s->base.host->loop, &s->waits, WAIT_READ, s->body_idle_ms);
}

static void op_lent(struct http_stream *hs, enum stream_side side, uint64_t bytes, bool is_waiting)
{
	struct server_h1 *s = server_h1_of(hs);

	if (s->state != S_EXCHANGE || s->is_broken)
		return;
	if (side == STREAM_IN) {
		lent_in(s, bytes, is_waiting);
		return;
	}
	http1_out_skip(s->codec, bytes);
	write_lent(&s->waits, s->stream, bytes, is_waiting, s->write_idle_ms);
}

static void op_take_back(struct http_stream *hs, enum stream_side side, int err)
{
	struct server_h1 *s = server_h1_of(hs);

	stream_take_back(s->stream, side, err);
	if (s->is_broken)
		return;
	if (side == STREAM_OUT) {
		write_settles(&s->waits, s->stream);
		return;
	}
	s->request = REQUEST_COMES;
	wait_end(&s->waits, WAIT_READ);
	if (http1_in_left(s->codec) > 0)
		return;
	s->allowance = 1; /* nothing but the end can come */
	/* In this turn: in the next one the origin's answer may come first, and a request that has no end yet costs its
	 * connection. */
	loop_defer_flush(s->base.host->loop, &s->pump_task);
}

const struct http_stream_ops server_h1_ops = {
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
