/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * worker.h - what one worker thread owns of the proxy: loop, sessions, pools, current snapshot, metrics,
 * logs. proxy/ never starts threads; app/ does.
 */
#ifndef SN_PROXY_WORKER_H
#define SN_PROXY_WORKER_H

#include "limits/counts.h"
#include "observe/log.h"
#include "observe/logfile.h"
#include "observe/metrics.h"
#include "net/offload_hook.h"
#include "net/pipes.h"
#include "proxy/access_log.h"
#include "proxy/exchange.h"
#include "proxy/refusal.h"
#include "proxy/retry.h"
#include "proxy/snapshot.h"
#include "proxy/turns.h"
#include "session/client.h"
#include "session/server.h"

/* A worker's side of an endpoint; lives until the worker ends or the endpoint leaves the last snapshot. */
struct endpoint_worker {
	struct endpoint *endpoint; /* borrowed from the snapshots that name it */
	struct client_pool pool;
	struct list waiters; /* exchanges that wait for a connection, in order */
	unsigned waiter_count;
	unsigned told_count; /* those of whom on_free() was called and who did not look yet; in no list */
};

/* An exchange that waits for a connection.  Embed; list_init() the node first. */
struct connection_waiter {
	struct list node;
	void (*on_free)(struct connection_waiter *cw);
	bool is_told;
};

/* Facts of the whole process that workers read or count: relaxed atomics, exact. */
struct proxy_shared {
	_Atomic uint64_t requests_in_flight;
	_Atomic uint64_t connections;
	struct counts clients; /* connections of each; zero is valid */
	struct retry_budget retry_budget;
	struct pipe_pool pipes; /* splice(2) goes through these */
	_Atomic bool is_draining;
	_Atomic bool is_short_of_memory; /* above the mark of `limits` */
	uint64_t start_wall_ns, start_mono_ns;
	const char *version; /* static */
	char instance_uuid[37];
};

struct proxy_worker {
	unsigned index;
	struct loop *loop; /* borrowed from app */
	struct metrics_shard *metrics;
	struct proxy_shared *shared; /* borrowed */

	struct server_host host;
	struct pin *current;
	struct router_scratch *scratch;
	struct endpoint_worker **endpoints; /* by endpoint->slot, grown on demand */
	uint32_t endpoint_cap;
	struct list exchanges;
	struct list stores; /* struct worker_store */
	struct list tunnels;
	struct list *tunnels_next; /* to be looked at */
	struct timer tunnels_timer;
	struct client_pool adopted; /* connections to origins of tunnels that came from another process */
	struct tunnel_mover *mover; /* where tunnels go; NULL: nowhere */
	struct turns turns;
	uint64_t exchange_count, tunnel_count;
	struct timer tick_timer;
	uint64_t ticks;
	struct logfile access_log; /* used if the snapshot has access-log settings */
	bool has_access_log;
	struct access_clock access_clock;
	struct strbuf access_line; /* scratch */
	struct metric_cell *tunnel_bytes[2]; /* c2s, s2c */
	struct metric_cell *engine_bytes[SPLICE_ENGINE_COUNT][2]; /* c2s, s2c; none of AUTO */
	struct log_limit handshake_log, session_log, origin_log;

	/*
	 * Text that only control can make ("metrics": collectors run there).  done() is called once, later, on this
	 * worker, and owns the slice.  Set by app.
	 */
	void (*render)(struct proxy_worker *w, const char *what, void (*done)(void *ctx, struct slice text), void *ctx);
	/* server_host's admits(): counts whom it refuses.  Set by app; may be NULL. */
	bool (*admits)(struct proxy_worker *w, uint32_t listener_id, const struct addr *client);
	/*
	 * Whom filters refused and admitted, for automatic bans, and whether a client that a header named is banned.
	 * Filters call refusal.h, not these.  Set by app; may be NULL.
	 */
	const _Atomic bool *counts_refusals; /* whether anybody listens to the next two */
	void (*refused)(struct proxy_worker *w, const struct refusal *r);
	void (*admitted)(struct proxy_worker *w, const struct refusal *r);
	bool (*is_banned)(struct proxy_worker *w, const struct addr *client);
	/* Gives tunnels to the kernel (sockmap).  Set by app before the worker starts; join NULL: not here. */
	struct offload_hook offload;
	/* A line for the audit log, which control writes; texts are copied.  Set by app; may be NULL. */
	void (*audit)(struct proxy_worker *w, const struct addr *peer, const char *type, const char *reason,
		      const char *detail);
};

void proxy_worker_init(struct proxy_worker *w, struct loop *l, struct proxy_shared *shared, unsigned index,
		       size_t sessions_max);
/* After the first adopt: starts the worker's one-second tick (log flush, gauges). */
void proxy_worker_start(struct proxy_worker *w);
/* For loop_on_turn(). */
static inline void proxy_worker_turn(struct proxy_worker *w, uint64_t busy_ns)
{
	turns_add(&w->turns, busy_ns);
}
/* Between two events: new exchanges use s (takes a reference). */
void proxy_worker_adopt(struct proxy_worker *w, struct snapshot *s);
/* A connection of a listener; fd is owned from here.  peer: socket_peer_find().  Refusals are counted. */
void proxy_worker_accept(struct proxy_worker *w, uint32_t listener_id, int fd, const struct addr *peer);
/* One that never came so far.  reason: of the metric, static. */
void proxy_worker_count_refused(struct proxy_worker *w, const char *reason);

/* The endpoint's side of this worker, created on first use. */
struct endpoint_worker *proxy_worker_endpoint(struct proxy_worker *w, struct endpoint *e);
/* Nobody came before this one: it was told, or nobody waits.  Else a connection that is there is not for it. */
bool endpoint_worker_is_next(const struct endpoint_worker *ew, const struct connection_waiter *cw);
/*
 * Wait for a connection of the endpoint: on_free() runs when one may be had.  Who was told in vain waits again, before
 * all others.  Idempotent.
 */
void endpoint_worker_wait(struct endpoint_worker *ew, struct connection_waiter *cw);
/* A connection may be had: the first that waits is told. */
void endpoint_worker_wake(struct endpoint_worker *ew);
/* It has one, or wants none.  True: it was told, so if it does not use it the next is to be. */
bool endpoint_worker_unwait(struct endpoint_worker *ew, struct connection_waiter *cw);

/*
 * The end, in this order: drain (every answer says Connection: close), wait for is_idle() - or abort() when
 * the time is over - then close(), wait for is_closed(), fini().  The caller turns the loop meanwhile.
 */
void proxy_worker_drain(struct proxy_worker *w);
/* The same, but idle connections may wait for one more request as long as ever; drain() may follow. */
void proxy_worker_retire(struct proxy_worker *w);
bool proxy_worker_is_idle(const struct proxy_worker *w);
void proxy_worker_abort(struct proxy_worker *w);
void proxy_worker_close(struct proxy_worker *w);
bool proxy_worker_is_closed(const struct proxy_worker *w);
void proxy_worker_fini(struct proxy_worker *w);

#endif
