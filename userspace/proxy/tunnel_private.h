/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnel_private.h - what the files of tunnels share.
 *
 * tunnel.c         a tunnel's life: bytes both ways, ends, idleness
 * tunnel_engine.c  what moves its bytes: us, splice(2), or sockmap; and moving between these
 * tunnel_stall.c   a receiver that is stuck while the kernel carries its bytes
 * tunnel_move.c    going on in another process
 * tunnels.c        all tunnels of a worker
 */
#ifndef SN_PROXY_TUNNEL_PRIVATE_H
#define SN_PROXY_TUNNEL_PRIVATE_H

#include "proxy/exchange_internal.h"
#include "proxy/tunnel_move.h"
#include "proxy/tunnel_stall.h"
#include "proxy/tunnels.h"
#include "proxy/worker.h"
#include "session/offloaded.h"
#include "session/transfer.h"

#define TUNNEL_TAG TAG('t', 'u', 'n', 'l')

enum side {
	CLIENT,
	ORIGIN,
	SIDES,
};

/* Where sockmap has it. */
enum tunnel_place {
	TUNNEL_HERE,	 /* nowhere: bytes are copied, or go by splice(2) */
	TUNNEL_JOINING,	 /* still here, but nothing more is read: it goes when it is quiet */
	TUNNEL_IN,	 /* in the kernel */
	TUNNEL_LEAVING,
	TUNNEL_MOVING, /* in the kernel, and on its way to another process */
	TUNNEL_ABORTING,
};

struct rate {
	uint64_t since_ms, bytes;
};

struct tunnel {
	uint32_t tag;
	struct exchange *record; /* what is logged at the end; its arena holds this struct */
	struct proxy_worker *worker;
	struct list node; /* worker->tunnels */
	uint64_t began_ms, idle_ms;
	enum splice_engine engine; /* the configuration's word */
	bool is_plain;

	struct http_stream *streams[SIDES];
	struct body_flow flows[SIDES]; /* from that side */
	struct timer idle_timer;
	struct task end_task;
	uint64_t last_ms; /* when a byte moved */
	const char *broken_by; /* static; NULL: it is not broken */

	struct transfer transfers[SIDES]; /* splice(2), from that side */
	struct rate rates[SIDES];
	bool is_wanted[SIDES]; /* the transfer runs, or will when userspace holds nothing */

	enum tunnel_place place;
	struct offloaded offloaded; /* sockmap; index as side */
	struct timer join_timer; /* gives up joining, or tries it again */
	uint64_t join_at_ms, backoff_ms; /* not before; after the next refusal */
	bool is_refused; /* for good */
	unsigned joins;
	uint64_t kernel_bytes[SIDES], undelivered;
	struct stall stalls[SIDES]; /* of that side as a receiver */
};

static inline enum side other(enum side s)
{
	return s == CLIENT ? ORIGIN : CLIENT;
}

/* tunnel.c */
/* Nothing moves its bytes yet; its streams are new. */
struct tunnel *tunnel_new(struct exchange *x, struct http_stream *client, struct http_stream *origin,
			  uint64_t idle_ms);
void tunnel_break(struct tunnel *t, const char *why);
void tunnel_end_later(struct tunnel *t);

/* tunnel_engine.c */
void tunnel_engine_metrics(struct proxy_worker *w); /* so that they are there from the start */
void tunnel_engine_init(struct tunnel *t);
/* Bytes from that side were received by us. */
void tunnel_count(struct tunnel *t, enum side from, enum splice_engine engine, size_t bytes);
/* Give the credit that may be given, or have the kernel carry on. */
void tunnel_top_up(struct tunnel *t, enum side from);
/* A stream became quiet. */
void tunnel_paused(struct tunnel *t);
/* That side has ended: sockmap takes whole tunnels only. */
void tunnel_side_ended(struct tunnel *t, enum side from);
/* In the kernel: bring counts up to date, and last_ms. */
void tunnel_update(struct tunnel *t);
/* From time to time: whether what moves its bytes is still right.  True: something was done about it. */
bool tunnel_look(struct tunnel *t);
/* Nothing moves its bytes any more.  False: not yet, tunnel_end_later() is called when it is so. */
bool tunnel_engine_stop(struct tunnel *t);
/* It is in the kernel already, and was in another process.  Or both sides are reset. */
void tunnel_engine_adopt(struct tunnel *t, const struct tunnel_parcel *p, struct flows *flows);
enum splice_engine tunnel_engine_now(const struct tunnel *t, enum side from);

/* tunnel_move.c: of one in the kernel.  False: it has to leave first. */
bool tunnel_move_as_it_is(struct tunnel *t);
void tunnel_frozen(struct offloaded *o, const struct offload_parcel *parcel, const int *fds, unsigned fd_count);

#endif
