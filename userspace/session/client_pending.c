/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client_pending.c - a connection to an origin that will speak HTTP/1 or HTTP/2, as ALPN decides, and the requests that
 * wait for it.
 *
 * A pending request keeps what its owner sends until the handshake is over; then there is a stream behind it, to which
 * every call is passed, and whose events are the owner's.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "session/client_session.h"

#define CLIENT_DIAL_TAG	   TAG('c', 'l', 'd', 'l')
#define CLIENT_PENDING_TAG TAG('c', 'l', 'p', 'd')
#define JOINED_MAX	   100 /* streams of a connection before the peer's SETTINGS */

enum client_dial_state {
	D_CONNECTING,
	D_CONNECTED,
	D_FAILED,  /* all owners were told */
	D_CLOSING, /* the stream is being closed */
};

struct client_dial {
	uint32_t tag;
	enum client_dial_state state;
	struct client_session base;

	struct stream *stream; /* owned until on_closed(), or handed over */
	struct waits waits;
	struct task decide_task;
	struct addr addr;
	struct client_settings settings; /* without preface; tls_host is base.tls_host */
	struct list requests; /* struct client_pending.node */
	unsigned request_count;
};

struct client_pending {
	uint32_t tag;
	struct http_stream hs;
	struct client_dial *dial; /* NULL: decided */
	struct http_stream *inner; /* NULL before */
	struct list node;
	struct arena *arena; /* the owner's */
	struct client_settings settings; /* the same */

	const struct message *head;
	struct slice_queue body;
	const struct headers *trailers;
	size_t credit;
	bool is_ended;
	bool is_broken; /* the owner was told */
};

static void on_connected(struct stream *s);
static void on_fail(struct stream *s, int err);
static void on_closed(struct stream *s);

/* Nothing is read. */
static const struct stream_events dial_stream_events = {
	.on_connected = on_connected,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

static struct client_pending *of_http_stream(const struct http_stream *hs)
{
	struct client_pending *pd = container_of(hs, struct client_pending, hs);

	OBJ_CHECK(pd, CLIENT_PENDING_TAG);
	return pd;
}

static struct client_dial *of_session(const struct client_session *s)
{
	struct client_dial *d = container_of(s, struct client_dial, base);

	OBJ_CHECK(d, CLIENT_DIAL_TAG);
	return d;
}

static struct loop *loop_of(const struct client_dial *d)
{
	return d->base.pool->loop;
}

/* ---- events of the stream behind ---- */

static void inner_head(struct http_stream *in, struct message *m)
{
	struct client_pending *pd = in->owner;

	pd->hs.events->on_head(&pd->hs, m);
}

static void inner_body(struct http_stream *in, struct slice data)
{
	struct client_pending *pd = in->owner;

	pd->hs.events->on_body(&pd->hs, data);
}

static void inner_end(struct http_stream *in, struct headers *trailers)
{
	struct client_pending *pd = in->owner;

	pd->hs.events->on_end(&pd->hs, trailers);
}

static void inner_sent(struct http_stream *in)
{
	struct client_pending *pd = in->owner;

	pd->hs.events->on_sent(&pd->hs);
}

static void inner_fail(struct http_stream *in, const struct session_failure *f)
{
	struct client_pending *pd = in->owner;

	pd->hs.events->on_fail(&pd->hs, f);
}

static const struct http_stream_events inner_events = {
	.on_head = inner_head,
	.on_body = inner_body,
	.on_end = inner_end,
	.on_sent = inner_sent,
	.on_fail = inner_fail,
};

/* ---- the connection ---- */

static void dial_close(struct client_dial *d)
{
	if (d->state == D_CLOSING)
		return;
	d->state = D_CLOSING;
	client_session_move(&d->base, &d->base.pool->busy);
	waits_stop(loop_of(d), &d->waits);
	loop_undefer(loop_of(d), &d->decide_task);
	stream_close(d->stream);
}

static void dial_free(struct client_dial *d)
{
	client_session_fini(&d->base);
	d->tag = 0;
	free(d);
}

static void leave_dial(struct client_pending *pd)
{
	struct client_dial *d = pd->dial;

	if (!d)
		return;
	pd->dial = NULL;
	list_remove(&pd->node);
	d->request_count--;
}

static void pending_fail(struct client_pending *pd, const struct session_failure *f)
{
	if (pd->is_broken)
		return;
	pd->is_broken = true;
	if (pd->hs.events)
		pd->hs.events->on_fail(&pd->hs, f);
}

static void dial_fails(struct client_dial *d, int err)
{
	struct list *n;

	if (d->state >= D_FAILED)
		return;
	d->state = D_FAILED;
	waits_stop(loop_of(d), &d->waits);
	client_session_move(&d->base, &d->base.pool->busy);
	while ((n = d->requests.next) != &d->requests) {
		struct client_pending *pd = list_entry(n, struct client_pending, node);
		struct session_failure f = client_connect_failure(d->stream, err, pd->arena);

		leave_dial(pd);
		pending_fail(pd, &f);
	}
	dial_close(d);
}

/* What was kept goes to the stream that is now behind. */
static void pending_settle(struct client_pending *pd, struct client_session *s)
{
	struct http_stream *in = s->ops->open(s, &pd->settings, pd->arena);

	leave_dial(pd);
	pd->inner = in;
	pd->hs.is_duplex = in->is_duplex;
	in->owner = pd;
	in->events = &inner_events;
	if (pd->head)
		http_stream_send_head(in, pd->head);
	while (pd->body.count > 0)
		http_stream_send_body(in, slice_queue_pop(&pd->body));
	if (pd->is_ended)
		http_stream_send_end(in, pd->trailers);
	if (pd->credit > 0)
		http_stream_credit(in, pd->credit);
}

/* The origin spoke HTTP/2 before and does not any more: this request needs a connection of its own. */
static void pending_start_over(struct client_pending *pd, struct client_dial *from)
{
	struct client_pool *p = from->base.pool;
	struct client_settings set = from->settings;
	struct client_session *s = NULL;
	int err = -EBUSY;

	leave_dial(pd);
	if (!set.max_connections || p->open_count <= set.max_connections) /* one of them is `from`, which goes */
		s = client_pending_connect(p, &from->addr, &set, &err);
	if (s) {
		pd->dial = of_session(s);
		pd->dial->request_count++;
		list_append(&pd->dial->requests, &pd->node);
	} else {
		const struct session_failure f = {.fault = SESSION_FAULT_REFUSED, .err = err};

		pending_fail(pd, &f);
	}
}

static void run_decide(struct task *t)
{
	struct client_dial *d = container_of(t, struct client_dial, decide_task);
	struct client_pool *p = d->base.pool;
	bool is_h2 = client_speaks_h2(d->stream);
	struct client_session *s;
	struct list *n;

	p->spoke_h2 = is_h2;
	s = is_h2 ? client_h2_take(p, d->stream, &d->settings) : client_h1_take(p, d->stream, &d->settings);
	s->is_private = d->base.is_private;
	d->stream = NULL;
	waits_stop(loop_of(d), &d->waits);
	pending_settle(list_first(&d->requests, struct client_pending, node), s);
	while ((n = d->requests.next) != &d->requests) {
		struct client_pending *pd = list_entry(n, struct client_pending, node);

		if (is_h2 && s->ops->has_room(s, false))
			pending_settle(pd, s);
		else
			pending_start_over(pd, d);
	}
	dial_free(d);
}

static void on_connected(struct stream *s)
{
	struct client_dial *d = s->owner;

	d->state = D_CONNECTED;
	waits_stop(loop_of(d), &d->waits);
	loop_defer(loop_of(d), &d->decide_task);
}

static void on_fail(struct stream *s, int err)
{
	dial_fails(s->owner, err);
}

static void on_closed(struct stream *s)
{
	struct client_dial *d = s->owner;

	CHECK(d->state == D_CLOSING && d->request_count == 0);
	dial_free(d);
}

static void on_expire(struct timer *t)
{
	struct client_dial *d = container_of(container_of(t, struct waits, timer), struct client_dial, waits);

	if (waits_expired(loop_of(d), &d->waits) == WAIT_IDLE)
		dial_fails(d, -ETIMEDOUT);
}

/* ---- calls of the owner ---- */

static void op_send_head(struct http_stream *hs, const struct message *m)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		http_stream_send_head(pd->inner, m);
	else
		pd->head = m;
}

static void op_send_body(struct http_stream *hs, struct slice data)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		http_stream_send_body(pd->inner, data);
	else if (pd->dial)
		slice_queue_push(&pd->body, loop_keep(loop_of(pd->dial), data));
	else
		slice_put(&data);
}

static void op_send_end(struct http_stream *hs, const struct headers *trailers)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner) {
		http_stream_send_end(pd->inner, trailers);
		return;
	}
	pd->is_ended = true;
	pd->trailers = trailers;
}

static void op_credit(struct http_stream *hs, size_t bytes)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		http_stream_credit(pd->inner, bytes);
	else
		pd->credit += bytes;
}

/* A head that waits counts as one byte. */
static size_t op_queued(const struct http_stream *hs)
{
	const struct client_pending *pd = of_http_stream(hs);

	return pd->inner ? http_stream_queued(pd->inner) : pd->body.bytes + (pd->head != NULL);
}

static void pending_free(struct client_pending *pd)
{
	struct client_dial *d = pd->dial;

	leave_dial(pd);
	if (d && d->request_count == 0)
		dial_close(d);
	slice_queue_fini(&pd->body);
	pd->tag = 0;
	pd->hs.tag = 0;
	free(pd);
}

static void op_done(struct http_stream *hs)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		http_stream_done(pd->inner);
	pending_free(pd);
}

static void op_reset(struct http_stream *hs)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		http_stream_reset(pd->inner);
	pending_free(pd);
}

static struct stream *op_transport(struct http_stream *hs)
{
	struct client_pending *pd = of_http_stream(hs);

	if (pd->inner)
		return http_stream_transport(pd->inner);
	return pd->dial ? pd->dial->stream : NULL;
}

static bool op_is_reused(const struct http_stream *hs)
{
	(void)hs;
	return false;
}

static bool op_has_written(const struct http_stream *hs)
{
	const struct client_pending *pd = of_http_stream(hs);

	return pd->inner && http_stream_has_written(pd->inner);
}

static const struct http_stream_ops client_pending_ops = {
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
};

/* ---- beginnings ---- */

/* More requests join while the origin is known to speak HTTP/2; else each opens a connection of its own. */
static bool session_has_room(struct client_session *s, bool is_new)
{
	const struct client_dial *d = of_session(s);
	uint32_t max = d->settings.h2_streams_max ? MIN(d->settings.h2_streams_max, JOINED_MAX) : JOINED_MAX;

	if (s->pool->h2_streams_seen)
		max = MIN(max, s->pool->h2_streams_seen);
	(void)is_new; /* it is */
	return s->pool->spoke_h2 && !s->is_private && d->state <= D_CONNECTED && d->request_count < max;
}

static struct http_stream *session_open(struct client_session *s, const struct client_settings *settings,
					struct arena *a)
{
	struct client_dial *d = of_session(s);
	struct client_pending *pd = mem_zalloc(sizeof(*pd));

	pd->tag = CLIENT_PENDING_TAG;
	pd->hs = (struct http_stream){.tag = HTTP_STREAM_TAG, .ops = &client_pending_ops, .id = 1};
	pd->dial = d;
	pd->arena = a;
	pd->settings = *settings;
	pd->settings.preface = pd->settings.tls_host = (struct span){0};
	list_append(&d->requests, &pd->node);
	d->request_count++;
	return &pd->hs;
}

static bool session_is_idle(const struct client_session *s)
{
	(void)s;
	return false;
}

static const struct client_session_ops client_pending_session_ops = {
	.has_room = session_has_room,
	.open = session_open,
	.is_idle = session_is_idle,
};

struct client_session *client_pending_connect(struct client_pool *p, const struct addr *addr,
					      const struct client_settings *settings, int *out_err)
{
	struct stream *s = client_connect(p, addr, settings, &dial_stream_events, NULL, out_err);
	struct client_dial *d;

	if (!s)
		return NULL;
	d = mem_zalloc(sizeof(*d));
	d->tag = CLIENT_DIAL_TAG;
	client_session_init(&d->base, &client_pending_session_ops, p, settings);
	client_session_move(&d->base, &p->ready);
	d->stream = s;
	s->owner = d;
	d->addr = *addr;
	d->settings = *settings;
	d->settings.preface = (struct span){0};
	d->settings.tls_host = span_str(d->base.tls_host);
	d->decide_task.run = run_decide;
	list_init(&d->requests);
	waits_init(&d->waits, on_expire);
	wait_begin(p->loop, &d->waits, WAIT_IDLE, settings->connect_timeout_ms);
	return &d->base;
}
