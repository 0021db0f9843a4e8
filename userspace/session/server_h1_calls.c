/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h1_calls.c - what the owner of a request asks of its HTTP/1 server session. */
#include "session/server_h1.h"

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);
	struct message copy = *m;

	CHECK(s->state == S_EXCHANGE && !s->is_head_sent);
	s->is_head_sent = m->status >= 200 || m->framing == BODY_TUNNEL;
	/* A body that was never asked for may come or not: nobody knows where the next request would begin. */
	if (s->is_head_sent && (s->owes_continue || s->base.host->is_draining))
		s->closes = true;
	/* An early answer, and more of the body to come than anybody would drain. */
	if (s->is_head_sent && !s->is_request_done && s->body_left > UNWANTED_BODY_MAX)
		s->closes = true;
	copy.wants_keep_alive = !s->closes;
	c->ops->send(c, &(struct codec_send){CODEC_SEND_HEAD, .stream = 1, .message = &copy});
	if (s->is_head_sent && http1_closes(s->codec))
		s->closes = true;
	if (m->framing == BODY_TUNNEL) {
		s->is_tunnel = true;
		s->is_request_done = false;
		wait_end(&s->waits, WAIT_READ);
		http1_enter_tunnel(s->codec);
	}
	server_h1_flush(s);
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);

	CHECK(s->state == S_EXCHANGE && s->is_head_sent);
	c->ops->send(c, &(struct codec_send){CODEC_SEND_BODY, .stream = 1, .data = data});
	server_h1_flush(s);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct server_h1 *s = server_h1_of(hs);
	struct codec *c = http1_codec(s->codec);

	CHECK(s->state == S_EXCHANGE && s->is_head_sent && !s->is_response_done);
	s->is_response_done = true;
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

	if (s->is_broken || s->is_request_done)
		return;
	s->allowance += (int64_t)bytes;
	if (s->owes_continue) {
		s->owes_continue = false;
		if (!s->is_head_sent)
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

	CHECK(s->state == S_EXCHANGE && s->is_response_done);
	owner_leaves(s);
	s->state = S_REST;
	s->unwanted = 0;
	if (http1_has_output_fault(s->codec)) { /* nobody is to take what went out for the answer */
		server_h1_close(s, true);
		return;
	}
	if (s->is_tunnel && s->is_request_done && s->stream->queued == 0) {
		server_h1_close(s, false);
		return;
	}
	if (!s->is_request_done && !s->closes) {
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
	server_h1_close(s, s->is_head_sent);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return server_h1_of(hs)->stream;
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
};
