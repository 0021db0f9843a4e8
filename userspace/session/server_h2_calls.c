/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h2_calls.c - the streams of an HTTP/2 server session, and what their owners ask. */
#include "session/server_h2.h"

static struct server_h2_stream *of_http_stream(const struct http_stream *hs)
{
	struct server_h2_stream *st = container_of(hs, struct server_h2_stream, hs);

	OBJ_CHECK(hs, HTTP_STREAM_TAG);
	return st;
}

static void send_piece(struct server_h2_stream *st, struct codec_send piece)
{
	struct codec *c = http2_codec(st->session->codec);

	piece.stream = st->hs.id;
	c->ops->send(c, &piece);
	server_h2_flush_later(st->session);
}

/* ---- their beginning and end ---- */

struct server_h2_stream *server_h2_stream_new(struct server_h2 *s, uint32_t id, const struct message *m,
					      struct arena *a)
{
	struct server_h2_stream *st = pool_take(&s->base.host->h2_streams);

	if (!st)
		return NULL;
	st->hs = (struct http_stream){.tag = HTTP_STREAM_TAG, .ops = &server_h2_ops, .id = id};
	st->session = s;
	st->arena = a;
	st->owes_continue = m->expects_continue;
	pace_begin(&st->in_pace);
	pace_begin(&st->out_pace);
	list_init(&st->sent_node);
	list_append(&s->streams, &st->node);
	http2_set_owner(s->codec, id, st);
	server_h2_set_upload(st, m->framing != BODY_NONE);
	return st;
}

void server_h2_set_upload(struct server_h2_stream *st, bool on)
{
	if (st->is_upload == on)
		return;
	st->is_upload = on;
	st->session->uploads += on ? 1 : -1U;
}

void server_h2_stream_fail(struct server_h2_stream *st, const struct session_failure *f)
{
	if (st->is_broken || !st->hs.events)
		return;
	st->is_broken = true;
	st->read_ms = st->blocked_ms = 0;
	st->hs.events->on_fail(&st->hs, f);
}

static void stream_free(struct server_h2_stream *st)
{
	list_remove(&st->node);
	list_remove(&st->sent_node);
	pool_give(&st->session->base.host->h2_streams, st);
}

void server_h2_sent_keep(struct server_h2 *s)
{
	struct list *node;

	while ((node = list_pop(&s->sent))) {
		struct server_h2_stream *st = list_entry(node, struct server_h2_stream, sent_node);
		struct slice_queue *q = http2_unsent(s->codec, st->hs.id);

		for (uint32_t i = 0; q && i < q->count; i++) {
			struct slice *part = slice_queue_at(q, i);

			*part = loop_keep(server_h2_loop(s), *part);
		}
	}
}

void server_h2_leaving_prune(struct server_h2 *s, bool is_all)
{
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &s->leaving)
	{
		struct server_h2_stream *st = list_entry(pos, struct server_h2_stream, node);

		if (!is_all && (http2_queued(s->codec, st->hs.id) > 0 || http2_is_blocked(s->codec, st->hs.id)))
			continue;
		stream_free(st);
	}
}

void server_h2_stream_leave(struct server_h2_stream *st)
{
	struct server_h2 *s = st->session;

	server_h2_set_upload(st, false);
	st->hs.tag = 0;
	st->hs.events = NULL;
	st->hs.owner = NULL;
	st->arena = NULL;
	http2_set_owner(s->codec, st->hs.id, NULL);
	http2_forget(s->codec, st->hs.id);
	if (st->is_response_done) {
		st->blocked_ms = 0;
		list_remove(&st->node);
		list_append(&s->leaving, &st->node);
	} else {
		stream_free(st);
	}
	server_h2_flush_later(s);
}

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct server_h2_stream *st = of_http_stream(hs);

	CHECK(!st->is_head_sent);
	st->is_head_sent = m->status >= 200 || m->framing == BODY_TUNNEL;
	send_piece(st, (struct codec_send){CODEC_SEND_HEAD, .message = m});
	if (m->framing != BODY_TUNNEL)
		return;
	st->is_tunnel = true;
	st->is_request_done = false;
	st->read_ms = 0;
	server_h2_set_upload(st, true);
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct server_h2_stream *st = of_http_stream(hs);

	CHECK(st->is_head_sent && !st->is_response_done);
	st->body_bytes += data.len;
	send_piece(st, (struct codec_send){CODEC_SEND_BODY, .data = data});
	if (list_is_empty(&st->sent_node))
		list_append(&st->session->sent, &st->sent_node);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct server_h2_stream *st = of_http_stream(hs);

	CHECK(st->is_head_sent && !st->is_response_done);
	st->is_response_done = true;
	send_piece(st, (struct codec_send){CODEC_SEND_END, .trailers = trailers});
}

static void say_continue(struct server_h2_stream *st)
{
	struct message m;

	st->owes_continue = false;
	if (st->is_head_sent)
		return;
	message_init(&m, st->arena);
	m.version = HTTP_VERSION_2;
	m.status = 100;
	send_piece(st, (struct codec_send){CODEC_SEND_HEAD, .message = &m});
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct server_h2_stream *st = of_http_stream(hs);
	struct server_h2 *s = st->session;

	if (st->is_broken || st->is_request_done || s->state != H2_OPEN)
		return;
	st->allowance += (int64_t)bytes;
	if (st->owes_continue)
		say_continue(st);
	if (!st->read_ms && !st->is_tunnel && st->allowance > 0)
		st->read_ms = loop_now_ms(server_h2_loop(s));
	http2_credit(s->codec, hs->id, bytes);
	loop_defer(server_h2_loop(s), &s->pump_task);
}

static size_t op_queued(const struct http_stream *hs)
{
	return http2_queued(of_http_stream(hs)->session->codec, hs->id);
}

static void op_done(struct http_stream *hs)
{
	struct server_h2_stream *st = of_http_stream(hs);

	CHECK(st->is_response_done);
	server_h2_stream_leave(st);
}

/* A tunnel that breaks, or a client that is given up, is a cancellation; an answer that breaks off is our failure. */
static void op_reset(struct http_stream *hs)
{
	struct server_h2_stream *st = of_http_stream(hs);
	uint32_t error = st->is_tunnel || st->is_broken ? HTTP2_CANCEL : HTTP2_INTERNAL_ERROR;

	send_piece(st, (struct codec_send){CODEC_SEND_RESET, .error = error});
	server_h2_stream_leave(st);
}

static struct stream *op_transport(struct http_stream *hs)
{
	return of_http_stream(hs)->session->stream;
}

const struct http_stream_ops server_h2_ops = {
	.send_head = op_send_head,
	.send_body = op_send_body,
	.send_end = op_send_end,
	.credit = op_credit,
	.queued = op_queued,
	.done = op_done,
	.reset = op_reset,
	.transport = op_transport,
};
