/* SPDX-License-Identifier: GPL-2.0-only */
/* client_limits.c - counts of connections by client, and of requests in progress. */
#include "proxy/client_limits.h"

#include "base/ip16.h"
#include "proxy/client_addr.h"
#include "proxy/worker.h"

/* An IPv6 client is its /64.  False: it is not counted. */
static bool key_of(const struct addr *client, uint8_t key[16])
{
	if (addr_is_loopback(client) || !addr_to_ip16(client, key))
		return false;
	ip16_to_client(key);
	return true;
}

/* Proxies in front bring everybody's requests.  Which are trusted may change: they are counted all the same. */
static bool is_exempt(const struct listener *l, const struct addr *client)
{
	return client_addr_is_trusted(client, l->trusted_proxies, l->trusted_proxy_count);
}

bool client_limits_begin(struct proxy_worker *w, const struct listener *l, const struct addr *peer)
{
	uint32_t max = w->current->snapshot->limits.connections_per_client, count;
	uint8_t key[16];

	if (!key_of(peer, key))
		return true;
	count = counts_add(&w->shared->clients, key);
	if (!max || count <= max || is_exempt(l, peer))
		return true;
	counts_sub(&w->shared->clients, key);
	return false;
}

void client_limits_adopt(struct proxy_worker *w, const struct addr *peer)
{
	uint8_t key[16];

	if (key_of(peer, key))
		(void)counts_add(&w->shared->clients, key);
}

void client_limits_end(struct proxy_worker *w, const struct addr *peer)
{
	uint8_t key[16];

	if (key_of(peer, key))
		counts_sub(&w->shared->clients, key);
}

bool client_limits_move(struct proxy_worker *w, const struct listener *l, struct stream *st, const struct addr *client)
{
	if (!client_limits_begin(w, l, client))
		return false;
	client_limits_end(w, stream_peer(st));
	return true;
}

/* ---- requests in progress ---- */

/* All of the route's bounds, or none. */
static enum failure count_in_progress(struct exchange *x, struct span *out_scope)
{
	const struct route *r = x->route;

	for (unsigned i = 0; i < r->bound_count; i++) {
		const struct route_bound *b = &r->bounds[i];

		x->in_progress[i] = b->count;
		if (atomic_fetch_add_explicit(b->count, 1, memory_order_relaxed) < b->max)
			continue;
		client_limits_leave(x);
		*out_scope = span_str(b->scope ? b->scope : "");
		return b->scope ? FAIL_NAMESPACE_BUSY : FAIL_ROUTE_BUSY;
	}
	return FAIL_NONE;
}

enum failure client_limits_enter(struct exchange *x, struct span *out_scope)
{
	const struct proxy_worker *w = x->worker;
	const struct client_limits *max = &x->pin->snapshot->limits;

	if (!x->route->upstream) /* health and admin pages answer whatever happens */
		return FAIL_NONE;
	if (max->in_flight &&
	    atomic_load_explicit(&w->shared->requests_in_flight, memory_order_relaxed) > max->in_flight)
		return FAIL_OVERLOAD;
	if (max->in_flight_per_worker && w->exchange_count + w->tunnel_count > max->in_flight_per_worker)
		return FAIL_OVERLOAD;
	if (atomic_load_explicit(&w->shared->is_short_of_memory, memory_order_relaxed))
		return FAIL_MEMORY;
	return x->route->bound_count ? count_in_progress(x, out_scope) : FAIL_NONE;
}

void client_limits_enter_adopted(struct exchange *x, const struct route *r)
{
	for (unsigned i = 0; r && i < r->bound_count; i++) {
		x->in_progress[i] = r->bounds[i].count;
		atomic_fetch_add_explicit(x->in_progress[i], 1, memory_order_relaxed);
	}
}

void client_limits_leave(struct exchange *x)
{
	for (unsigned i = 0; i < ROUTE_BOUNDS_MAX && x->in_progress[i]; i++) {
		atomic_fetch_sub_explicit(x->in_progress[i], 1, memory_order_relaxed);
		x->in_progress[i] = NULL;
	}
}
