/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * upstream.h - a group of endpoints that answer the same requests, as the file describes it.
 * Part of a snapshot: constant after it was built.  The endpoints are registry objects and outlive it.
 */
#ifndef SN_UPSTREAM_UPSTREAM_H
#define SN_UPSTREAM_UPSTREAM_H

#include "base/arena.h"
#include "upstream/balancer.h"
#include "upstream/endpoint.h"

struct tls_client;

struct upstream_timeouts {
	uint64_t connect_ms;	/* 10,000 */
	uint64_t first_byte_ms; /* end of the request to the response head: 60,000 */
	uint64_t read_ms;	/* between response bytes: 30,000 */
	uint64_t write_ms;	/* between request bytes: 30,000 */
};

struct upstream_pool_settings {
	unsigned max_connections; /* of each target, process-wide: 100 */
	unsigned max_idle;	  /* of each target, process-wide: 20 */
	uint64_t idle_timeout_ms; /* 60,000 */
	uint64_t max_lifetime_ms; /* 0: none */
	uint64_t max_requests;	  /* 0: none */
};

enum upstream_http {
	UPSTREAM_HTTP1,
	UPSTREAM_HTTP2,	    /* prior knowledge, or ALPN h2 only */
	UPSTREAM_HTTP_AUTO, /* with TLS: what ALPN says; in plain text HTTP/1 */
};

struct upstream_connection_settings {
	struct tls_client *tls; /* NULL: plain text; the snapshot has a reference */
	struct span tls_name;	/* sent and verified; empty: the target's host */
	enum upstream_http http;
	uint32_t h2_streams_max;      /* at once on a connection; 0: 100 */
	uint64_t h2_ping_interval_ms; /* 0: none */
	unsigned proxy_protocol;      /* version of the PROXY header that begins each connection; 0: none */
};

struct upstream {
	const char *id;
	uint32_t index; /* in the snapshot: slot of the worker's state */

	struct endpoint **endpoints; /* counted references, put when the snapshot is freed */
	unsigned *weights;	     /* one an endpoint, 0..1000; 0: gets no request */
	unsigned endpoint_count;
	const struct balancer *balancer;
	struct upstream_timeouts timeouts;
	struct upstream_pool_settings pool;
	struct upstream_connection_settings connection;
};

/* A worker's side of an upstream of one snapshot. */
struct upstream_worker {
	const struct upstream *upstream;
	void *balancer_state; /* zeroed memory of balancer->state_size(n), initialised */
	uint32_t *active;     /* requests in flight of this worker under this snapshot, one an endpoint */

	uint64_t *usable;     /* endpoints that may be picked, as of epoch */
	uint64_t *candidates; /* the same without those that were tried; scratch */
	uint64_t epoch;	      /* endpoint_epoch() + 1; 0: usable was never computed */
};

void upstream_worker_init(struct upstream_worker *uw, const struct upstream *u, struct arena *a);
/* A request goes to, and is done with, endpoint `index`: what least-connections and random-of-two weigh. */
static inline void upstream_begin(struct upstream_worker *uw, unsigned index)
{
	uw->active[index]++;
}

void upstream_end(struct upstream_worker *uw, unsigned index);

/*
 * Choose a target.  `tried` has one bit an endpoint (bitmap.h; NULL: none): those are avoided as long as
 * another usable one is there.  c may be NULL.  Returns the index, or -1: no endpoint is usable, that is up,
 * with an address and a weight above 0.
 */
int upstream_pick(struct upstream_worker *uw, const struct balance_context *c, const uint64_t *tried);

#endif
