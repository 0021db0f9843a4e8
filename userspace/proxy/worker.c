/* SPDX-License-Identifier: GPL-2.0-only */
/* worker.c - what one worker thread owns of the proxy: sessions, endpoints, the current snapshot, logs,
 * draining. */
#include "proxy/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/socket.h"
#include "net/tlsio.h"
#include "proxy/client_limits.h"
#include "proxy/error_page.h"
#include "proxy/record.h"
#include "proxy/request_id.h"
#include "proxy/tunnels.h"
#include "proxy/worker_stores.h"

#define TICK_MS 500
#define LOG_INTERVAL_NS 1000000000ull /* between two lines of what clients can cause at will */

static struct proxy_worker *of_host(struct server_host *h)
{
	return container_of(h, struct proxy_worker, host);
}

/* ---- the server host ---- */

static const struct server_settings *host_settings(struct server_host *h, uint32_t listener_id)
{
	const struct listener *l = snapshot_listener(of_host(h)->current->snapshot, listener_id);

	return l && !l->is_removed ? &l->server : NULL;
}

void proxy_worker_count_refused(struct proxy_worker *w, const char *reason)
{
	const struct span label = span_str(reason);

	metric_cell_add(metric_cell(w->metrics, METRIC_REFUSED_CONNECTIONS_TOTAL, &label), 1);
}

static bool host_admits(struct server_host *h, uint32_t listener_id, struct stream *st, const struct addr *client)
{
	struct proxy_worker *w = of_host(h);
	const struct listener *l = snapshot_listener(w->current->snapshot, listener_id);

	if (w->admits && !w->admits(w, listener_id, client))
		return false;
	if (l && client_limits_move(w, l, st, client))
		return true;
	proxy_worker_count_refused(w, l ? "client_connections" : "listener_gone");
	return false;
}

static void host_on_request(struct server_host *h, struct http_stream *st, uint32_t listener_id,
			    struct message *m, struct arena *a)
{
	exchange_start(of_host(h), st, listener_id, m, a);
}

/* status_reason() as a string: its spans are literals. */
static const char *reason_text(unsigned status)
{
	return status_reason(status).ptr;
}

static void host_on_bad_request(struct server_host *h, uint32_t listener_id, struct stream *s,
				const struct session_failure *f, unsigned status, struct strbuf *body,
				const char **content_type)
{
	struct proxy_worker *w = of_host(h);
	struct arena *a = arena_cache_take(&h->arenas);
	struct span id = request_id_new(w->current->snapshot->trace_id_format, a);
	struct slice page = error_page_render(status, reason_text(status), id, SPAN(""), false, content_type);

	(void)listener_id;
	strbuf_add(body, page.ptr, page.len);
	slice_put(&page);
	record_bad_request(w, s, f, status, id);
	arena_cache_give(&h->arenas, a);
}

/* Certificates that were refused are somebody's attempt to come in: these go to the audit log too. */
static bool is_about_certificate(enum tls_failure f)
{
	return f >= TLS_FAILURE_EXPIRED && f <= TLS_FAILURE_NO_CERTIFICATE;
}

static void host_on_handshake_failure(struct server_host *h, uint32_t listener_id, struct stream *s,
				      enum handshake_fault fault)
{
	struct proxy_worker *w = of_host(h);
	const struct tlsio *tls = stream_tls(s);
	const char *reason = handshake_fault_name(fault), *detail = "";

	if (tls && fault == HANDSHAKE_TLS) {
		reason = tls_failure_name(tlsio_failure(tls));
		detail = tlsio_failure_detail(tls);
		if (w->audit && is_about_certificate(tlsio_failure(tls)))
			w->audit(w, stream_peer(s), "client_certificate_refused", reason, detail);
	}
	record_handshake_failure(w, listener_id, s, span_str(reason), detail);
}

static void host_on_session_fault(struct server_host *h, uint32_t listener_id, struct stream *s,
				  const struct session_failure *f)
{
	record_session_fault(of_host(h), listener_id, s, f);
}

static void host_on_session_end(struct server_host *h, uint32_t listener_id, struct stream *st)
{
	struct proxy_worker *w = of_host(h);

	(void)listener_id;
	atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
	metric_sub(w->metrics, METRIC_OPEN_CONNECTIONS, 1);
	client_limits_end(w, stream_peer(st));
}

/* NULL: it is taken, and counted for its client. */
static const char *refusal_of(struct proxy_worker *w, const struct listener *l, uint64_t open, const struct addr *peer)
{
	if (!l)
		return "listener_gone";
	if (open >= w->current->snapshot->max_connections || server_is_full(&w->host))
		return "max_connections";
	return client_limits_begin(w, l, peer) ? NULL : "client_connections";
}

void proxy_worker_accept(struct proxy_worker *w, uint32_t listener_id, int fd, const struct addr *peer)
{
	const struct listener *l = snapshot_listener(w->current->snapshot, listener_id);
	uint64_t open = atomic_fetch_add_explicit(&w->shared->connections, 1, memory_order_relaxed);
	const char *refused = refusal_of(w, l, open, peer);

	if (refused) {
		atomic_fetch_sub_explicit(&w->shared->connections, 1, memory_order_relaxed);
		proxy_worker_count_refused(w, refused);
		socket_close_reset(fd);
		return;
	}
	server_accept(&w->host, listener_id, &l->server, fd, peer);
	metric_add(w->metrics, METRIC_OPEN_CONNECTIONS, 1);
	record_accept(w, l);
}

/* ---- endpoints ---- */

static void on_release(struct client_pool *p, unsigned count)
{
	struct endpoint_worker *ew = container_of(p, struct endpoint_worker, pool);

	while (count-- > 0)
		endpoint_worker_wake(ew);
}

void endpoint_worker_wake(struct endpoint_worker *ew)
{
	struct connection_waiter *cw = list_first(&ew->waiters, struct connection_waiter, node);

	if (!cw)
		return;
	(void)endpoint_worker_unwait(ew, cw);
	cw->is_told = true;
	ew->told_count++;
	cw->on_free(cw);
}

bool endpoint_worker_is_next(const struct endpoint_worker *ew, const struct connection_waiter *cw)
{
	return cw->is_told || ew->waiter_count + ew->told_count == 0;
}

void endpoint_worker_wait(struct endpoint_worker *ew, struct connection_waiter *cw)
{
	if (!list_is_empty(&cw->node))
		return;
	if (endpoint_worker_unwait(ew, cw))
		list_push(&ew->waiters, &cw->node);
	else
		list_append(&ew->waiters, &cw->node);
	ew->waiter_count++;
}

bool endpoint_worker_unwait(struct endpoint_worker *ew, struct connection_waiter *cw)
{
	bool was_told = cw->is_told;

	if (was_told)
		ew->told_count--;
	cw->is_told = false;
	if (!list_is_empty(&cw->node)) {
		list_remove(&cw->node);
		ew->waiter_count--;
	}
	return was_told;
}

struct endpoint_worker *proxy_worker_endpoint(struct proxy_worker *w, struct endpoint *e)
{
	struct endpoint_worker *ew;

	if (e->slot >= w->endpoint_cap) {
		uint32_t cap = MAX(16U, w->endpoint_cap);

		while (cap <= e->slot)
			cap *= 2;
		w->endpoints = mem_resize(w->endpoints, cap, sizeof(struct endpoint_worker *));
		memset(w->endpoints + w->endpoint_cap, 0,
		       (cap - w->endpoint_cap) * sizeof(struct endpoint_worker *));
		w->endpoint_cap = cap;
	}
	ew = w->endpoints[e->slot];
	if (ew)
		return ew;
	ew = mem_zalloc(sizeof(*ew));
	ew->endpoint = e;
	endpoint_ref(e);
	list_init(&ew->waiters);
	client_pool_init(&ew->pool, w->loop);
	ew->pool.on_release = on_release;
	w->endpoints[e->slot] = ew;
	return ew;
}

static void endpoint_worker_free(struct proxy_worker *w, uint32_t slot)
{
	struct endpoint_worker *ew = w->endpoints[slot];

	client_pool_fini(&ew->pool);
	endpoint_unref(ew->endpoint);
	free(ew);
	w->endpoints[slot] = NULL;
}

static bool snapshot_names(const struct snapshot *s, const struct endpoint *e)
{
	for (unsigned i = 0; i < s->upstream_count; i++)
		for (unsigned j = 0; j < s->upstreams[i].endpoint_count; j++)
			if (s->upstreams[i].endpoints[j] == e)
				return true;
	return false;
}

/* Endpoints that left the file lose their idle connections; when nothing is open any more they are let go. */
static void sweep_endpoints(struct proxy_worker *w)
{
	for (uint32_t i = 0; i < w->endpoint_cap; i++) {
		struct endpoint_worker *ew = w->endpoints[i];

		if (!ew || snapshot_names(w->current->snapshot, ew->endpoint))
			continue;
		client_pool_close(&ew->pool);
		if (ew->pool.open_count == 0 && ew->waiter_count + ew->told_count == 0)
			endpoint_worker_free(w, i);
	}
}

/* ---- snapshots ---- */

void proxy_worker_adopt(struct proxy_worker *w, struct snapshot *s)
{
	struct pin *old = w->current;

	w->current = pin_new(s);
	if (old)
		pin_retire(old);
	sweep_endpoints(w);
	if (old)
		for (unsigned i = 0; i < s->listener_count; i++)
			if (s->listeners[i].is_removed)
				server_drain(&w->host, s->listeners[i].number);
	record_adopt(w);
}

/* ---- the beginning and the end ---- */

static void on_tick(struct timer *t)
{
	struct proxy_worker *w = container_of(t, struct proxy_worker, tick_timer);

	if (w->ticks % 2 == 1)
		turns_second(&w->turns);
	record_tick(w);
	tunnels_look(w);
	if (w->ticks++ % 10 == 0) {
		sweep_endpoints(w);
		worker_stores_sweep(w);
	}
	timer_arm(w->loop, t, TICK_MS);
}

void proxy_worker_init(struct proxy_worker *w, struct loop *l, struct proxy_shared *shared, unsigned index,
		       size_t sessions_max)
{
	*w = (struct proxy_worker){.index = index, .loop = l, .shared = shared};
	w->handshake_log.interval_ns = w->session_log.interval_ns = w->origin_log.interval_ns = LOG_INTERVAL_NS;
	w->metrics = metrics_shard_new();
	w->scratch = router_scratch_new();
	w->host.loop = l;
	w->host.settings = host_settings;
	w->host.admits = host_admits;
	w->host.on_request = host_on_request;
	w->host.on_bad_request = host_on_bad_request;
	w->host.on_session_end = host_on_session_end;
	w->host.on_handshake_failure = host_on_handshake_failure;
	w->host.on_session_fault = host_on_session_fault;
	server_host_init(&w->host, sessions_max);
	list_init(&w->exchanges);
	list_init(&w->stores);
	tunnels_init(w);
	record_init(w);
	timer_init(&w->tick_timer, on_tick);
}

void proxy_worker_start(struct proxy_worker *w)
{
	timer_arm(w->loop, &w->tick_timer, TICK_MS);
}

void proxy_worker_retire(struct proxy_worker *w)
{
	w->host.is_draining = w->host.is_patient = true;
	server_drain(&w->host, 0);
}

void proxy_worker_drain(struct proxy_worker *w)
{
	w->host.is_patient = false;
	w->host.is_draining = true;
	server_drain(&w->host, 0);
}

bool proxy_worker_is_idle(const struct proxy_worker *w)
{
	return server_session_count(&w->host) == 0 && list_is_empty(&w->exchanges) &&
	       list_is_empty(&w->tunnels);
}

static bool has_origins(const struct proxy_worker *w)
{
	if (w->adopted.open_count > 0)
		return true;
	for (uint32_t i = 0; i < w->endpoint_cap; i++)
		if (w->endpoints[i] && w->endpoints[i]->pool.open_count > 0)
			return true;
	return false;
}

void proxy_worker_close(struct proxy_worker *w)
{
	timer_disarm(w->loop, &w->tick_timer);
	for (uint32_t i = 0; i < w->endpoint_cap; i++)
		if (w->endpoints[i])
			client_pool_close(&w->endpoints[i]->pool);
	worker_stores_close(w);
}

bool proxy_worker_is_closed(const struct proxy_worker *w)
{
	return proxy_worker_is_idle(w) && !has_origins(w) && worker_stores_are_closed(w);
}

void proxy_worker_abort(struct proxy_worker *w)
{
	tunnels_abort(w);
	server_abort_all(&w->host);
}

void proxy_worker_fini(struct proxy_worker *w)
{
	CHECK(proxy_worker_is_closed(w));
	timer_disarm(w->loop, &w->tick_timer);
	tunnels_fini(w);
	for (uint32_t i = 0; i < w->endpoint_cap; i++)
		if (w->endpoints[i])
			endpoint_worker_free(w, i);
	free(w->endpoints);
	worker_stores_fini(w);
	if (w->current)
		pin_retire(w->current);
	w->current = NULL;
	record_fini(w);
	server_host_fini(&w->host);
	router_scratch_free(w->scratch);
}
