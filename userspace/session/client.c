/* SPDX-License-Identifier: GPL-2.0-only */
/* client.c - the connections of an endpoint: finding one for a request, making one, counting them. */
#include "session/client.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/stream_tls.h"
#include "session/client_session.h"

/* ---- sessions ---- */

void client_session_init(struct client_session *s, const struct client_session_ops *ops, struct client_pool *p,
			 const struct client_settings *settings)
{
	*s = (struct client_session){
		.tls = settings->tls ? tls_client_get(settings->tls) : NULL,
		.tls_host = settings->tls ? mem_strndup(settings->tls_host.ptr, settings->tls_host.len) : NULL,
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
	tls_client_put(s->tls);
	free(s->tls_host);
	CHECK(p->open_count > 0);
	p->open_count--;
	client_pool_released(p, 1);
}

bool client_session_is_over(const struct client_session *s, const struct client_settings *settings)
{
	uint64_t age_ms = loop_now_ms(s->pool->loop) - s->created_ms;

	return s->is_private || (settings->max_lifetime_ms && age_ms >= settings->max_lifetime_ms);
}

static void on_unused_closed(struct stream *st)
{
	(void)st;
}

/* Of a stream that nobody got. */
static const struct stream_events no_events = {.on_closed = on_unused_closed};

static struct span alpn_of(enum client_protocol p)
{
	switch (p) {
	case CLIENT_HTTP2:
		return SPAN("\2h2");
	case CLIENT_AUTO:
		return SPAN("\2h2\10http/1.1");
	case CLIENT_RAW:
		return SPAN("");
	default:
		return SPAN("\10http/1.1");
	}
}

static struct stream *connect_tls(struct client_pool *p, struct stream *below, const struct client_settings *settings,
				  const struct stream_events *ev, void *owner)
{
	struct ssl_st *ssl = tls_client_ssl(settings->tls, settings->tls_host, &p->tls_sessions);

	if (!ssl)
		return NULL;
	tls_ssl_set_alpn(ssl, alpn_of(settings->protocol));
	return stream_tls_client(below, ssl, ev, owner);
}

struct stream *client_connect(struct client_pool *p, const struct addr *addr, const struct client_settings *settings,
			      const struct stream_events *ev, void *owner, int *out_err)
{
	struct stream *st = stream_connect(p->loop, addr, settings->tls ? &no_events : ev, owner, out_err), *tls;

	if (!st)
		return NULL;
	if (settings->preface.len > 0)
		stream_write(st, slice_copy(settings->preface.ptr, (uint32_t)settings->preface.len));
	if (settings->tls) {
		tls = connect_tls(p, st, settings, ev, owner);
		if (!tls) { /* no name that a certificate could have */
			stream_close(st);
			*out_err = -EINVAL;
			return NULL;
		}
		st = tls;
	}
	p->connected++;
	return st;
}

/* A handshake has begun when a byte of it went: until then it is the socket that is not connected. */
struct session_failure client_connect_failure(struct stream *st, int err, struct arena *a)
{
	struct tlsio *tls = stream_tls(st);
	bool is_timeout = err == -ETIMEDOUT;
	struct session_failure f = {
		.fault = is_timeout ? SESSION_FAULT_CONNECT_TIMEOUT : SESSION_FAULT_CONNECT,
		.err = err,
	};

	if (!tls || tlsio_handshake_bytes(tls) == 0)
		return f;
	tlsio_set_failure(tls, is_timeout ? TLS_FAILURE_TIMEOUT : TLS_FAILURE_CLOSED);
	f.fault = is_timeout ? SESSION_FAULT_TLS_TIMEOUT : SESSION_FAULT_TLS;
	f.tls = tls_failure_name(tlsio_failure(tls));
	f.detail = arena_span(a, span_str(tlsio_failure_detail(tls)));
	if (f.detail.len == 0)
		f.detail = span_str(tls_failure_text(tlsio_failure(tls)));
	return f;
}

void client_tell_alert(struct stream *st, struct session_failure *f)
{
	const struct tlsio *tls = stream_tls(st);
	enum tls_failure failure = tls ? tlsio_failure(tls) : TLS_FAILURE_NONE;

	if (failure != TLS_FAILURE_ALERT_CERTIFICATE && failure != TLS_FAILURE_ALERT_CERTIFICATE_REQUIRED &&
	    failure != TLS_FAILURE_ALERT_UNKNOWN_CA)
		return;
	f->tls = tls_failure_name(failure);
	f->detail = span_str(tls_failure_text(failure));
}

bool client_speaks_h2(struct stream *st)
{
	const struct tlsio *tls = stream_tls(st);

	return tls && span_eq(tlsio_alpn(tls), SPAN("h2"));
}

void client_refuse_alpn(struct stream *st)
{
	tlsio_set_failure(stream_tls(st), TLS_FAILURE_NO_SHARED_ALPN);
}

/* ---- the pool ---- */

static void run_release(struct task *t)
{
	struct client_pool *p = container_of(t, struct client_pool, release_task);
	unsigned count = p->released;

	p->released = 0;
	p->on_release(p, count);
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
	tls_session_cache_fini(&p->tls_sessions);
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
