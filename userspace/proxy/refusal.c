/* SPDX-License-Identifier: GPL-2.0-only */
/* refusal.c - tells the worker's host whom filters refused and admitted. */
#include "proxy/refusal.h"

#include <string.h>

#include "proxy/exchange.h"
#include "proxy/worker.h"

/* The socket's own peer, whatever a PROXY header said. */
static bool is_peer_of_socket(struct exchange *x)
{
	struct addr peer = { .len = sizeof(peer.in6) };
	uint8_t mine[16], theirs[16];
	struct stream *st = x->client ? http_stream_transport(x->client) : NULL;

	return st && getpeername(stream_fd(st), &peer.sa, &peer.len) == 0 && addr_to_ip16(&peer, mine) &&
	       addr_to_ip16(&x->client_addr, theirs) && memcmp(mine, theirs, sizeof(mine)) == 0;
}

bool refusal_is_counted(const struct exchange *x)
{
	const _Atomic bool *flag = x->worker->counts_refusals;

	return flag && atomic_load_explicit(flag, memory_order_relaxed);
}

void refusal_report(struct exchange *x, const char *reason, uint64_t limit, uint64_t others)
{
	struct proxy_worker *w = x->worker;
	struct refusal r = { .client = &x->client_addr, .reason = reason, .limit = limit, .others = others };

	if (!refusal_is_counted(x))
		return;
	r.is_named = !is_peer_of_socket(x);
	w->refused(w, &r);
}

void refusal_report_admitted(struct exchange *x, uint64_t limit, uint64_t others)
{
	struct proxy_worker *w = x->worker;

	if (others && refusal_is_counted(x))
		w->admitted(w, &(struct refusal){ .client = &x->client_addr, .limit = limit, .others = others });
}

void refusal_count_request(struct exchange *x)
{
	struct proxy_worker *w = x->worker;

	if (refusal_is_counted(x))
		w->admitted(w, &(struct refusal){ .client = &x->client_addr });
}

bool refusal_is_banned(const struct exchange *x)
{
	struct proxy_worker *w = x->worker;

	return w->is_banned && x->is_client_named && w->is_banned(w, &x->client_addr);
}
