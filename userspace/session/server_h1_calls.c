/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h1_calls.c - what the owner of a request asks of its HTTP/1 server session, and the host's calls. */
#include <errno.h>
#include <unistd.h>

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
	if (s->is_head_sent && (s->owes_continue || s->host->is_draining))
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
		loop_defer(s->host->loop, &s->pump_task);
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
	if (s->is_tunnel && s->is_request_done && s->stream->queued == 0) {
		server_h1_close(s, false);
		return;
	}
	if (!s->is_request_done && !s->closes) {
		wait_begin(s->host->loop, &s->waits, WAIT_READ, s->body_idle_ms);
		if (!s->is_pumping)
			loop_defer(s->host->loop, &s->pump_task);
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

static const struct http_stream_ops server_h1_ops = {
	.send_head = op_send_head,
	.send_body = op_send_body,
	.send_end = op_send_end,
	.credit = op_credit,
	.queued = op_queued,
	.done = op_done,
	.reset = op_reset,
	.transport = op_transport,
};

/* ---- the host ---- */

void server_host_init(struct server_host *h, size_t sessions_max)
{
	CHECK(h->loop && h->settings && h->on_request && h->on_bad_request);
	list_init(&h->sessions);
	pool_init(&h->h1_sessions, "max-connections", sizeof(struct server_h1), sessions_max);
}

void server_host_fini(struct server_host *h)
{
	CHECK(list_is_empty(&h->sessions));
	while (h->codec_count > 0)
		http1_free(h->codecs[--h->codec_count]);
	pool_fini(&h->h1_sessions);
	arena_cache_fini(&h->arenas);
}

/* Of a connection whose listener left while it was accepted: it is served all the same. */
int server_accept_h1(struct server_host *h, uint32_t listener_id, int fd)
{
	struct server_h1 *s = pool_take(&h->h1_sessions);
	const struct server_settings *set;

	if (!s) {
		const struct linger reset = {1, 0};

		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
		return -ENOBUFS;
	}
	s->tag = SERVER_H1_TAG;
	s->host = h;
	s->listener_id = listener_id;
	s->hs.ops = &server_h1_ops;
	s->pump_task.run = server_h1_run_pump;
	waits_init(&s->waits, server_h1_on_expire);
	list_append(&h->sessions, &s->node);
	set = server_h1_settings(s);
	s->body_idle_ms = set ? set->body_idle_timeout_ms : LINGER_MS;
	s->write_idle_ms = set ? set->write_idle_timeout_ms : LINGER_MS;
	s->stream = stream_open(h->loop, fd, NULL, &server_h1_stream_events, s);
	server_h1_head_wait(s, true);
	return 0;
}

void server_drain(struct server_host *h, uint32_t listener_id)
{
	struct list *pos;

	list_for_each(pos, &h->sessions)
	{
		struct server_h1 *s = list_entry(pos, struct server_h1, node);

		if (listener_id != 0 && s->listener_id != listener_id)
			continue;
		if (s->state == S_HEAD && wait_is_on(&s->waits, WAIT_IDLE))
			wait_begin(h->loop, &s->waits, WAIT_IDLE, DRAIN_IDLE_MS);
	}
}

void server_abort_all(struct server_host *h)
{
	struct session_failure f = {.fault = SESSION_FAULT_SHUTDOWN};
	struct list *pos;

	/* An owner resets its stream later, from its own task; sessions leave the list when they are closed.
	 */
	list_for_each(pos, &h->sessions)
	{
		struct server_h1 *s = list_entry(pos, struct server_h1, node);

		if (s->state == S_EXCHANGE)
			server_h1_fail(s, &f);
		else
			server_h1_close(s, true);
	}
}

size_t server_session_count(const struct server_host *h)
{
	return h->h1_sessions.used;
}
