/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server.h - server sessions: accepted connections, whatever they speak.
 * One server_host a worker (implemented by proxy/): it gets the requests and answers what a session may not
 * know.
 */
#ifndef SN_SESSION_SERVER_H
#define SN_SESSION_SERVER_H

#include "base/list.h"
#include "base/pool.h"
#include "http/http1.h"
#include "session/arena_cache.h"
#include "session/session.h"

/* What a listener's connections speak. */
enum server_protocol {
	SERVER_HTTP,		/* HTTP/1 in plain text */
	SERVER_HTTPS,		/* TLS, then HTTP/2 or HTTP/1 by ALPN */
	SERVER_H2C,		/* HTTP/2 in plain text by prior knowledge (RFC 9113 3.3) */
	SERVER_TCP,		/* bytes, to the upstream of a route */
	SERVER_TLS_PASSTHROUGH, /* the same, the route chosen by the name in the ClientHello */
};

enum server_proxy_protocol {
	SERVER_PROXY_OFF,
	SERVER_PROXY_ACCEPT,  /* a trusted peer's connection may begin with a PROXY header */
	SERVER_PROXY_REQUIRE, /* ... begins with it, and other peers are refused */
};

/* Of a listener; looked up again by `listener_id` between requests, so that a reload changes it. */
struct server_settings {
	enum server_protocol protocol;
	enum server_proxy_protocol proxy_protocol;
	const struct prefix *proxy_protocol_from; /* trusted peers */
	unsigned proxy_protocol_from_count;
	struct tls_server *tls; /* HTTPS; counted by the snapshot */
	struct http1_limits limits;
	uint64_t handshake_timeout_ms;	  /* PROXY header, ClientHello and TLS handshake together; 10,000 */
	uint64_t head_timeout_ms;	  /* first byte (or accept) to the end of the head; 10,000 */
	uint64_t body_idle_timeout_ms;	  /* 30,000 */
	uint64_t keep_alive_timeout_ms;	  /* 75,000 */
	uint64_t write_idle_timeout_ms;	  /* 30,000 */
	uint64_t keep_alive_requests_max; /* 0: no limit */
	uint32_t h2_streams_max;	  /* max-concurrent-streams: 100 */
	uint64_t h2_ping_interval_ms;	  /* 0: none */
	unsigned handshakes_max;	  /* of a worker, at once; more connections wait for their turn */
};

#define SERVER_CODECS_MAX 64

struct server_host {
	struct loop *loop;
	struct arena_cache arenas;
	struct pool h1_sessions; /* max: connections of this worker */
	struct http1 *codecs[SERVER_CODECS_MAX]; /* at rest: an idle session has none */
	unsigned codec_count;
	struct list sessions;	 /* all of this worker, for draining */
	bool is_draining;	 /* answers carry Connection: close; idle sessions were closed */

	/* Settings of a listener now, or NULL: it is gone (finish, then close). */
	const struct server_settings *(*settings)(struct server_host *h, uint32_t listener_id);
	/*
	 * A request.  The owner becomes whoever sets st->events and st->owner here.  `a` holds the message
	 * and is the owner's: it goes back with arena_cache_give() after http_stream_done()/reset().
	 */
	void (*on_request)(struct server_host *h, struct http_stream *st, uint32_t listener_id,
			   struct message *m, struct arena *a);
	/*
	 * A head that never became a request (malformed, too slow, too large).  Fill `body`/`content_type` of
	 * the answer (the session sends it with f's status and closes), count and log.  detail in f.
	 */
	void (*on_bad_request)(struct server_host *h, uint32_t listener_id, struct stream *s,
			       const struct session_failure *f, unsigned status, struct strbuf *body,
			       const char **content_type);
	void (*on_session_end)(struct server_host *h, uint32_t listener_id);
};

/* Zero h, set loop and callbacks, then call this. */
void server_host_init(struct server_host *h, size_t sessions_max);
void server_host_fini(struct server_host *h);
/* An accepted descriptor; owned from here.  -ENOBUFS: the pool is full (the descriptor is closed with a
 * reset). */
int server_accept_h1(struct server_host *h, uint32_t listener_id, int fd);
/* Close idle sessions, let the others finish with Connection: close.  listener_id 0: all. */
void server_drain(struct server_host *h, uint32_t listener_id);
void server_abort_all(struct server_host *h);
size_t server_session_count(const struct server_host *h);

#endif
