/* SPDX-License-Identifier: GPL-2.0-only */
/* client.c - the connections of an endpoint: finding one for a request, making one, counting them. */
#include "session/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/tlsio.h"
#include "session/client_session.h"

/* ---- sessions ---- */

void client_session_init(struct client_session *s, const struct client_session_ops *ops, struct client_pool *p,
			 const struct client_settings *settings)
{
	*s = (struct client_session){
		.ops = ops,
		.pool = p,
		.protocol = settings->protocol,
		.is_private = settings->preface.len > 0,
		.created_ms = loop_now_ms(p->loop),
	};
	list_append(&p->busy, &s->node);
	p->open_count++;
}

void client_session_fini(struct client_session *s)
{
	struct client_pool *p = s->pool;

	list_remove(&s->node);
	CHECK(p->open_count > 0);
	p->open_count--;
	client_pool_released(p, 1);
}

bool client_session_is_over(const struct client_session *s, const struct client_settings *settings)
{
	uint64_t age_ms = loop_now_ms(s->pool->loop) - s->created_ms;

	return s->is_private || (settings->max_lifetime_ms && age_ms >= settings->max_lifetime_ms);
}

struct stream *client_connect(struct client_pool *p, const struct addr *addr, const struct client_settings *settings,
			      const struct stream_events *ev, void *owner, int *out_err)
{
	struct stream *st = stream_connect(p->loop, addr, ev, owner, out_err);

	if (!st)
		return NULL;
	p->connected++;
	if (settings->preface.len > 0)
		stream_write(st, slice_copy(settings->preface.ptr, (uint32_t)settings->preface.len));
	return st;
}

/* A handshake has begun when a byte of it came or went: until then it is the socket that is not connected. */
struct session_failure client_connect_failure(struct stream *st, int err, struct arena *a)
{
	const struct tlsio *tls = stream_tls(st);
	bool is_timeout = err == -ETIMEDOUT;
	struct session_failure f = {
		.fault = is_timeout ? SESSION_FAULT_CONNECT_TIMEOUT : SESSION_FAULT_CONNECT,
		.err = err,
	};

	if (!tls || tlsio_handshake_bytes(tls) == 0)
		return f;
	f.fault = is_timeout ? SESSION_FAULT_TLS_TIMEOUT : SESSION_FAULT_TLS;
	f.tls = tls_failure_name(is_timeout ? TLS_FAILURE_TIMEOUT : tlsio_failure(tls));
	f.detail = arena_span(a, span_str(tlsio_failure_detail(tls)));
	if (f.detail.len == 0)
		f.detail = span_str(tls_failure_text(is_timeout ? TLS_FAILURE_TIMEOUT : tlsio_failure(tls)));
	return f;
}

bool client_speaks_h2(struct stream *st)
{
	const struct tlsio *tls = stream_tls(st);

	return tls && span_eq(tlsio_alpn(tls), SPAN("h2"));
}

/* ---- the pool ---- */

static void run_release(struct task *t)
{
	struct client_pool *p = container_of(t, struct client_pool, release_task);

	p->on_release(p);
	p->released = 0;
}

void client_pool_released(struct client_pool *p, unsigned count)
{
	p->released += count;
	if (p->on_release)
		loop_defer(p->loop, &p->release_task);
}

void client_pool_init(struct client_pool *p, struct loop *l)
{
	*p = (struct client_pool){.loop = l, .release_task.run = run_release};
	list_init(&p->ready);
	list_init(&p->busy);
}

void client_pool_close(struct client_pool *p)
{
	struct list *pos, *next;

	list_for_each_safe(pos, next, &p->ready) {
		struct client_session *s = list_entry(pos, struct client_session, node);

		if (s->ops->is_idle(s))
			s->ops->close(s);
	}
}

void client_pool_fini(struct client_pool *p)
{
	CHECK(p->open_count == 0);
	loop_undefer(p->loop, &p->release_task);
}

/* ---- finding and making ---- */

static bool fits(const struct client_session *s, const struct client_settings *settings)
{
	if (s->protocol != settings->protocol || s->tls != settings->tls)
		return false;
	return !s->tls || span_eq(span_str(s->tls_host), settings->tls_host);
}

static struct client_session *find(struct client_pool *p, const struct client_settings *settings, bool force_new)
{
	struct list *pos;

	if (settings->preface.len > 0 || settings->protocol == CLIENT_RAW)
		return NULL;
	list_for_each(pos, &p->ready) {
		struct client_session *s = list_entry(pos, struct client_session, node);

		if (fits(s, settings) && s->ops->has_room(s, force_new))
			return s;
	}
	return NULL;
}

/* The one that was not used for the longest time. */
static void close_one_idle(struct client_pool *p)
{
	for (struct list *pos = p->ready.prev; pos != &p->ready; pos = pos->prev) {
		struct client_session *s = list_entry(pos, struct client_session, node);

		if (s->ops->is_idle(s)) {
			s->ops->close(s);
			return;
		}
	}
}

static struct client_settings effective(const struct client_settings *settings)
{
	struct client_settings set = *settings;

	if (set.protocol == CLIENT_AUTO && !set.tls)
		set.protocol = CLIENT_HTTP1;
	return set;
}

enum client_room client_pool_room(struct client_pool *p, const struct client_settings *settings, bool force_new)
{
	const struct client_settings set = effective(settings);

	if (find(p, &set, force_new))
		return CLIENT_ROOM_SHARED;
	if (!set.max_connections || p->open_count < set.max_connections)
		return CLIENT_ROOM_NEW;
	close_one_idle(p);
	return CLIENT_ROOM_NONE;
}

static struct client_session *connect_new(struct client_pool *p, const struct addr *addr,
					  const struct client_settings *settings, int *out_err)
{
	switch (settings->protocol) {
	case CLIENT_HTTP2:
		return client_h2_connect(p, addr, settings, out_err);
	case CLIENT_AUTO:
		return client_pending_connect(p, addr, settings, out_err);
	case CLIENT_RAW:
		return client_raw_connect(p, addr, settings, out_err);
	default:
		return client_h1_connect(p, addr, settings, out_err);
	}
}

struct http_stream *client_open(struct client_pool *p, const struct addr *addr, const struct client_settings *settings,
				bool force_new, struct arena *a, int *out_err)
{
	const struct client_settings set = effective(settings);
	struct client_session *s = find(p, &set, force_new);

	if (!s)
		s = connect_new(p, addr, &set, out_err);
	else
		p->reused++;
	return s ? s->ops->open(s, &set, a) : NULL;
}
