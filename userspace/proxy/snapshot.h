/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * snapshot.h - everything that one version of the file describes, built by control, constant, in one arena.
 * A worker holds ONE atomic reference through its pin and counts its exchanges with a plain integer, so the
 * request path touches no atomic.
 */
#ifndef SN_PROXY_SNAPSHOT_H
#define SN_PROXY_SNAPSHOT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "proxy/router.h"
#include "proxy/settings.h"

struct access_log_settings;
struct metric_cell;
struct config;

/* Of connections and requests in progress; 0: no limit. */
struct client_limits {
	uint32_t connections_per_client;
	uint64_t in_flight, in_flight_per_worker;
	unsigned queued; /* requests that wait for a connection to one target, of each worker; never 0 */
	uint64_t memory_bytes;	 /* of the process; see app/memory.h */
	unsigned memory_percent; /* of what it may have */
};

struct snapshot {
	uint32_t tag;
	struct arena arena;  /* holds everything below, and this struct's arrays */
	uint64_t generation; /* 1, 2, … */
	_Atomic uint32_t refs;
	/* Last reference dropped, from any thread: hands it to control, which frees it. */
	void (*on_unused)(struct snapshot *s);
	void *owner;

	const struct listener *listeners; /* with those that just left; see snapshot_set_listeners() */
	unsigned listener_count;
	const struct listener **listener_table; /* by number: open addressing, at least half of it empty */
	uint32_t listener_mask;
	const struct route *routes;
	unsigned route_count;
	const struct upstream *upstreams;
	unsigned upstream_count;
	const struct router *router; /* of requests whose listener is gone; with namespaces it has no route */

	struct span *client_fields; /* names of client-cert-headers of all listeners */
	unsigned client_field_count;
	uint32_t filter_slot_count;	     /* worker states of filters */
	const uint32_t *filter_worker_sizes; /* bytes, one a slot */

	enum trace_id_format trace_id_format;
	const char *instance;
	uint64_t drain_timeout_ms; /* graceful-shutdown-timeout-secs */
	unsigned worker_count;
	uint64_t max_connections;		      /* process-wide */
	struct client_limits limits;
	const struct access_log_settings *access_log; /* NULL: off */
	struct snapshot *config_owner; /* whose arena holds `config`; often itself, else one reference */
	const struct config *config; /* what was written, with its places; for explain and the next reload */
	struct span config_json;     /* for the builtin config handler; secrets left out */
};

/* Empty, with one reference; on_unused may be NULL (then the last put frees it).  Control. */
struct snapshot *snapshot_new(void);
/* The listeners, which must outlive the snapshot and keep their numbers, no two the same.  Once.  Control. */
void snapshot_set_listeners(struct snapshot *s, const struct listener *listeners, unsigned count);
/* Free an unused snapshot: its arena's clean-ups put the endpoints.  Control.  NULL ok. */
void snapshot_free(struct snapshot *s);
struct snapshot *snapshot_get(struct snapshot *s);
void snapshot_put(struct snapshot *s); /* NULL ok, any thread */

/* A worker's hold on a snapshot, with its unshared state. */
struct pin {
	struct snapshot *snapshot;	   /* one reference */
	uint64_t exchanges;		   /* of this worker that point here */
	struct arena arena;		   /* worker states below */
	struct upstream_worker *upstreams; /* by upstream->index */
	void **filter_states;		   /* by slot */
	struct route_counters **route_counters; /* by route->index; see proxy/counters.h */
	struct metric_cell **accept_cells;  /* accepted_connections_total by place of the listener */
	bool is_current;
};

struct pin *pin_new(struct snapshot *s); /* takes a reference */
/* No longer current: freed now, or by the exchange that ends last. */
void pin_retire(struct pin *p);
static inline void pin_enter(struct pin *p)
{
	p->exchanges++;
}
void pin_leave(struct pin *p);
/* By session's listener id, also one that just left; NULL: it is gone.  Costs the same however many there are. */
const struct listener *snapshot_listener(const struct snapshot *s, uint32_t number);

#endif
