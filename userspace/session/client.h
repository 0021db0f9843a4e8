/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client.h - client sessions: connections to origins, kept idle and reused, per worker and endpoint.
 */
#ifndef SN_SESSION_CLIENT_H
#define SN_SESSION_CLIENT_H

#include "base/list.h"
#include "http/http1.h"
#include "session/session.h"

struct client_settings {
	uint64_t connect_timeout_ms;
	uint64_t read_timeout_ms;  /* between body bytes of the response */
	uint64_t write_timeout_ms; /* between bytes of the request */
	uint64_t idle_timeout_ms;
	uint64_t max_lifetime_ms; /* 0: none */
	uint64_t max_requests;	  /* 0: none */
	unsigned max_idle;	  /* kept by this pool (already split over the workers) */
};

/* Where idle sessions of one endpoint wait.  Owned by the worker's side of an endpoint. */
struct client_pool {
	struct loop *loop;
	struct list idle; /* most recently used first */
	struct list busy;
	struct task release_task;
	unsigned idle_count;
	unsigned open_count; /* idle, busy and connecting */
	unsigned released;   /* connections that became idle or closed since the last on_release() */
	/* A connection became idle, or closed: whoever waits for one may try again.  Not during a call; may
	 * be NULL. */
	void (*on_release)(struct client_pool *p);
	void *owner;
	uint64_t reused, connected; /* statistics */
};

void client_pool_init(struct client_pool *p, struct loop *l);
/* Close what is idle; busy ones close when they end.  fini CHECKs open_count == 0. */
void client_pool_close(struct client_pool *p);
void client_pool_fini(struct client_pool *p);

/*
 * Open a message pair to the endpoint: on an idle connection if one is there (then http_stream_is_reused()),
 * else on a new one to `addr`.  Nothing is sent before http_stream_send_head(); bytes sent while connecting
 * are queued.  A connect failure arrives as on_fail(CONNECT or CONNECT_TIMEOUT).  `settings` are copied.
 * NULL: no socket (-errno in *out_err).  The response message lives in `a`.
 */
struct http_stream *client_open_h1(struct client_pool *p, const struct addr *addr,
				   const struct client_settings *settings, bool force_new, struct arena *a,
				   int *out_err);

#endif
