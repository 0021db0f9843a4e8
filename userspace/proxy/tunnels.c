/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnels.c - all tunnels of a worker: looked at from time to time, listed, ended. */
#include "proxy/tunnel_private.h"

#define LOOKS_A_TURN 500 /* 1,000 rows */
#define MOVES_A_TURN 32	 /* a join takes a dozen system calls */

/* ---- looking ---- */

static void look_on(struct timer *timer)
{
	struct proxy_worker *w = container_of(timer, struct proxy_worker, tunnels_timer);
	unsigned looks = 0, moves = 0;

	while (w->tunnels_next != &w->tunnels && looks++ < LOOKS_A_TURN && moves < MOVES_A_TURN) {
		struct tunnel *t = list_entry(w->tunnels_next, struct tunnel, node);

		w->tunnels_next = t->node.next;
		moves += tunnel_look(t);
	}
	if (w->tunnels_next != &w->tunnels)
		timer_arm(w->loop, timer, 1);
}

void tunnels_init(struct proxy_worker *w)
{
	list_init(&w->tunnels);
	w->tunnels_next = &w->tunnels;
	timer_init(&w->tunnels_timer, look_on);
	tunnel_engine_metrics(w);
	client_pool_init(&w->adopted, w->loop);
}

void tunnels_fini(struct proxy_worker *w)
{
	timer_disarm(w->loop, &w->tunnels_timer);
	if (w->mover)
		tunnel_mover_fini(w->mover);
	client_pool_fini(&w->adopted);
}

void tunnels_look(struct proxy_worker *w)
{
	if ((!w->offload.join && !w->mover) || w->tunnels_next != &w->tunnels)
		return;
	w->tunnels_next = w->tunnels.next;
	look_on(&w->tunnels_timer);
}

/* ---- listing ---- */

static const char *kind_of(const struct exchange *x)
{
	const struct message *m = x->request;

	if (m->is_raw)
		return span_eq(x->raw_protocol, SPAN("TLS")) ? "tls-passthrough" : "tcp";
	if (m->upgrade.len == 0)
		return "connect";
	return span_eq_nocase(m->upgrade, SPAN("websocket")) ? "websocket" : "upgrade";
}

static void facts_of(struct tunnel *t, struct tunnel_facts *out)
{
	const struct exchange *x = t->record;
	uint64_t now;

	if (offloaded_is_running(&t->offloaded))
		tunnel_update(t);
	now = MAX(loop_now_ms(t->worker->loop), t->last_ms);
	*out = (struct tunnel_facts){
		.client = x->peer,
		.origin = *stream_peer(http_stream_transport(t->streams[ORIGIN])),
		.listener = x->listener_id,
		.route = x->route_id,
		.upstream = x->upstream_id,
		.kind = kind_of(x),
		.open_ms = now - t->began_ms,
		.idle_ms = now - t->last_ms,
		.joins = t->joins,
	};
	for (unsigned i = 0; i < SIDES; i++) {
		out->engine[i] = tunnel_engine_now(t, (enum side)i);
		out->bytes[i] = t->flows[i].received;
		out->kernel_bytes[i] = t->kernel_bytes[i];
	}
}

void tunnels_each(struct proxy_worker *w, void (*fn)(void *ctx, const struct tunnel_facts *f), void *ctx)
{
	struct list *pos;

	list_for_each(pos, &w->tunnels)
	{
		struct tunnel_facts facts;

		facts_of(list_entry(pos, struct tunnel, node), &facts);
		fn(ctx, &facts);
	}
}

/* ---- the end ---- */

void tunnels_abort(struct proxy_worker *w)
{
	struct list *pos;

	list_for_each(pos, &w->tunnels) tunnel_break(list_entry(pos, struct tunnel, node), "shutdown");
}
