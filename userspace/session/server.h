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
	uint32_t min_rate; /* bytes a second of heads and bodies, see pace.h; 0: none */
	uint64_t keep_alive_requests_max; /* 0: no limit */
	uint32_t h2_streams_max;	  /* max-concurrent-streams: 100 */
	uint64_t h2_ping_interval_ms;	  /* 0: none */
	unsigned handshakes_max;	  /* of the listener and worker, at once; more wait for their turn */
};

#define SERVER_CODECS_MAX 64

struct server_session;

struct server_session_ops {
	/* Finish what is open, take nothing new, close. */
	void (*drain)(struct server_session *s);
	/* Owners get on_fail(SHUTDOWN); the session closes when they have left. */
	void (*abort)(struct server_session *s);
	/* Of its connection. */
	struct stream *(*stream)(struct server_session *s);
};

/* What the host knows of a connection, whatever it speaks and however far it is. */
struct server_session {
	const struct server_session_ops *ops;
	struct server_host *host; /* borrowed */
	struct list node; /* host->sessions */
	uint32_t listener_id;
};

/* Why a connection ended before it could carry a request. */
enum handshake_fault {
	HANDSHAKE_PROXY_HEADER, /* missing, malformed, or from a peer that may not send one */
	HANDSHAKE_CLIENT_HELLO, /* tls-passthrough: none, or a malformed one */
	HANDSHAKE_TLS,		/* the TLS of the stream says why */
	HANDSHAKE_TIMEOUT,
	HANDSHAKE_CLOSED,	/* the peer left in the middle of it */
	HANDSHAKE_FAULT_COUNT,
};

const char *handshake_fault_name(enum handshake_fault f); /* lower-case word for logs and metrics */

struct server_host {
	struct loop *loop;
	struct arena_cache arenas;
	size_t sessions_max; /* connections of this worker */
	size_t session_count;
	struct pool h1_sessions, h2_sessions, h2_streams, raw_sessions, incoming;
	struct http1 *codecs[SERVER_CODECS_MAX]; /* at rest: an idle session has none */
	unsigned codec_count;
	struct list sessions;	 /* all of this worker, for draining */
	struct list handshake_turns; /* of listeners that have handshakes now; see incoming.h */
	unsigned handshake_count; /* under way, of all listeners */
	struct task handshake_task; /* let waiting ones begin */
	bool is_draining;	 /* answers carry Connection: close; idle sessions were closed */
	bool is_patient;	 /* draining: idle sessions may wait for their next request as ever */

	/* Settings of a listener now, or NULL: it is gone (finish, then close). */
	const struct server_settings *(*settings)(struct server_host *h, uint32_t listener_id);
	/*
	 * May the client that a PROXY header named come in?  False: counted, and the connection is reset.  May be NULL.
	 * The peer of the socket itself is judged before server_accept().
	 */
	bool (*admits)(struct server_host *h, uint32_t listener_id, struct stream *st, const struct addr *client);
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
	/*
	 * HTTP/2, when no answer can be given: a malformed message whose stream was reset, or an end of the
	 * connection that is the client's doing (floods, broken frames, a head or a PING's answer that did not come).
	 * To be counted and logged.  May be NULL.
	 */
	void (*on_session_fault)(struct server_host *h, uint32_t listener_id, struct stream *s,
				 const struct session_failure *f);
	/* A connection that never became a session; it is closed after this.  May be NULL. */
	void (*on_handshake_failure)(struct server_host *h, uint32_t listener_id, struct stream *s,
				     enum handshake_fault fault);
	/* Of any kind; the stream is closed, and knows its peer still.  May be NULL. */
	void (*on_session_end)(struct server_host *h, uint32_t listener_id, struct stream *st);
};

/* Zero h, set loop and callbacks, then call this. */
void server_host_init(struct server_host *h, size_t sessions_max);
void server_host_fini(struct server_host *h);
/*
 * An accepted descriptor; owned from here.  `set` are its listener's settings now (also of a listener that has just
 * left: the connection is served all the same).  Not when the host is full.
 */
void server_accept(struct server_host *h, uint32_t listener_id, const struct server_settings *set, int fd,
		   const struct addr *peer);
/* There are sessions_max connections. */
static inline bool server_is_full(const struct server_host *h)
{
	return h->session_count >= h->sessions_max;
}
/* Close idle sessions, let the others finish.  listener_id 0: all. */
void server_drain(struct server_host *h, uint32_t listener_id);
void server_abort_all(struct server_host *h);
/*
 * Reset every connection of this client at once (16 bytes, IPv4-mapped; in IPv6 of its whole /64), whatever it is
 * doing: its owner meets it as a reset by the peer.  How many there were.
 */
unsigned server_reset_client(struct server_host *h, const uint8_t ip[16]);
static inline size_t server_session_count(const struct server_host *h)
{
	return h->session_count;
}

/* --- for the kinds of sessions --- */

void server_session_begin(struct server_session *s, const struct server_session_ops *ops, struct server_host *h,
			  uint32_t listener_id);
/* The connection goes on as a session of another kind, which begins next. */
void server_session_leave(struct server_session *s);
void server_session_end(struct server_session *s, struct stream *st);
/* Settings of the session's listener now; NULL: it is gone. */
static inline const struct server_settings *server_session_settings(const struct server_session *s)
{
	return s->host->settings(s->host, s->listener_id);
}

/*
 * Make a session of a stream that is open and not being read; the stream is owned from here.  `first`: bytes that come
 * before those of the stream; its reference is taken.
 */
void server_h1_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first);
void server_h2_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first);
/* name: of the ClientHello, or empty. */
void server_raw_open(struct server_host *h, uint32_t listener_id, struct stream *st, struct slice first,
		     struct span name);
/* A tunnel that has begun elsewhere, over st, which is taken; there is room (server_is_full()). */
struct http_stream *server_raw_adopt(struct server_host *h, uint32_t listener_id, struct stream *st,
				     uint64_t write_idle_ms);

#endif
