/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client.h - client sessions: connections to origins, whatever they speak, kept and shared per worker and endpoint.
 *
 * client_h1.c: one request at a time, kept idle between.  client_h2.c: many.  client_pending.c: a connection that does
 * not know yet which of both it will be.  client_raw.c: bytes.
 */
#ifndef SN_SESSION_CLIENT_H
#define SN_SESSION_CLIENT_H

#include "base/list.h"
#include "net/tls_context.h"
#include "session/session.h"

enum client_protocol {
	CLIENT_HTTP1,
	CLIENT_HTTP2, /* prior knowledge; over TLS: ALPN h2, and nothing else will do */
	CLIENT_AUTO,  /* over TLS: what ALPN says.  In plain text: HTTP/1. */
	CLIENT_RAW,   /* no HTTP: when it is connected the answer is "200" with BODY_TUNNEL */
};

/* Spans are borrowed for the call only. */
struct client_settings {
	enum client_protocol protocol;
	struct tls_client *tls;	  /* NULL: plain text */
	struct span tls_host;	  /* with tls: the name to send and to find in the certificate */
	struct span preface;	  /* PROXY header, sent before anything else; such a connection is for one request */
	uint64_t connect_timeout_ms; /* TCP and TLS together */
	uint64_t read_timeout_ms;  /* between body bytes of the response */
	uint64_t write_timeout_ms; /* between bytes of the request */
	uint64_t idle_timeout_ms;
	uint64_t max_lifetime_ms; /* 0: none */
	uint64_t max_requests;	  /* of a connection; 0: no limit */
	unsigned max_idle;	  /* kept by this pool (already split over the workers) */
	unsigned max_connections; /* of this pool, as above; 0: no limit */
	uint32_t h2_streams_max;  /* of ours on a connection; 0: 100 */
	uint64_t h2_ping_interval_ms; /* after so long without a byte; 0: never */
};

/* Where the connections of one endpoint are.  Owned by the worker's side of an endpoint. */
struct client_pool {
	struct loop *loop;
	struct list ready; /* sessions that may take a request; most recently used first */
	struct list busy;
	struct task release_task;
	unsigned idle_count; /* open, without a request */
	unsigned open_count; /* idle, busy and connecting */
	unsigned released;   /* requests that got room and were not told by on_release() */
	bool spoke_h2;	     /* the last answer to CLIENT_AUTO */
	uint32_t h2_streams_seen; /* what the last SETTINGS allowed on a connection, at least 1; 0: none came yet */
	struct tls_session_cache tls_sessions;
	/*
	 * A connection became idle, a stream of it ended, or it closed: so many of those who wait for one may try
	 * again.  Not during a call; the pool may end in it; may be NULL.
	 */
	void (*on_release)(struct client_pool *p, unsigned count);
	void *owner;
	uint64_t reused, connected; /* statistics */
};

void client_pool_init(struct client_pool *p, struct loop *l);
/* Close what is idle; busy ones close when they end.  fini CHECKs open_count == 0. */
void client_pool_close(struct client_pool *p);
void client_pool_fini(struct client_pool *p);

enum client_room {
	CLIENT_ROOM_SHARED, /* an open connection will take the request: client_open() needs no address */
	CLIENT_ROOM_NEW,    /* client_open() will connect */
	CLIENT_ROOM_NONE,   /* max_connections are open: wait for on_release() */
};

/* With ROOM_NONE an idle connection that cannot serve these settings is closed, so that room comes. */
enum client_room client_pool_room(struct client_pool *p, const struct client_settings *settings, bool force_new);

/*
 * Open a message pair to the endpoint: on a connection that is there and was made for the same protocol, TLS client and
 * name, or on a new one to `addr`.  force_new: not on one that was heard of before this call.  Does not look at
 * max_connections, client_pool_room() does.  Nothing is sent before http_stream_send_head(); what is sent while
 * connecting is queued.  A connect failure arrives as on_fail(CONNECT, CONNECT_TIMEOUT, TLS or TLS_TIMEOUT).
 * NULL: no socket (-errno in *out_err).  The response message lives in `a`; the message given to send_head must stay
 * valid as long as the stream.
 */
struct http_stream *client_open(struct client_pool *p, const struct addr *addr, const struct client_settings *settings,
				bool force_new, struct arena *a, int *out_err);

/* The origin's side of a tunnel that has begun elsewhere, over st, which is taken; it counts in p. */
struct http_stream *client_raw_adopt(struct client_pool *p, struct stream *st, uint64_t write_timeout_ms);

#endif
