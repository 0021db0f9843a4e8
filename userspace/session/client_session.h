/* SPDX-License-Identifier: GPL-2.0-only */
/* client_session.h - what client sessions of all kinds begin with; for client*.c only. */
#ifndef SN_SESSION_CLIENT_SESSION_H
#define SN_SESSION_CLIENT_SESSION_H

#include "session/client.h"
#include "session/wait.h"

struct client_session;

struct client_session_ops {
	/* Of a session in pool->ready: it can take a request; is_new: and nothing came over it yet. */
	bool (*has_room)(struct client_session *s, bool is_new);
	struct http_stream *(*open)(struct client_session *s, const struct client_settings *settings, struct arena *a);
	bool (*is_idle)(const struct client_session *s);
	void (*close)(struct client_session *s); /* an idle one */
};

struct client_session {
	const struct client_session_ops *ops;
	struct client_pool *pool; /* borrowed */
	struct list node;	  /* pool->ready or pool->busy */
	enum client_protocol protocol; /* as it was asked for */
	bool is_private;	  /* began with a PROXY header: for one request */
	struct tls_client *tls;	  /* one reference; NULL: plain text */
	char *tls_host;		  /* owned; NULL without tls */
	uint64_t created_ms;
};

/* Counts as open and busy from now. */
void client_session_init(struct client_session *s, const struct client_session_ops *ops, struct client_pool *p,
			 const struct client_settings *settings);
/* Its stream is closed: out of its list, not counted any more. */
void client_session_fini(struct client_session *s);
static inline void client_session_move(struct client_session *s, struct list *to)
{
	list_remove(&s->node);
	list_push(to, &s->node);
}

/* Lived too long, or was for one request. */
bool client_session_is_over(const struct client_session *s, const struct client_settings *settings);

/* The stream that the settings describe: socket, PROXY header, TLS.  NULL: no socket. */
struct stream *client_connect(struct client_pool *p, const struct addr *addr, const struct client_settings *settings,
			      const struct stream_events *ev, void *owner, int *out_err);
/* Why a stream failed that is not connected yet; err -ETIMEDOUT: it took too long.  detail lives in `a`. */
struct session_failure client_connect_failure(struct stream *st, int err, struct arena *a);
/* Of an open stream that failed: TLS 1.3 tells what it thinks of our certificate after our part of the handshake. */
void client_tell_alert(struct stream *st, struct session_failure *f);

/* What ALPN said. */
bool client_speaks_h2(struct stream *st);
/* An open stream turned out to be of no use: to be told by client_connect_failure(st, -EPROTO). */
void client_refuse_alpn(struct stream *st);

/* Room for so many requests. */
void client_pool_released(struct client_pool *p, unsigned count);

/* Each kind: connect, then ops->open().  NULL: no socket. */
struct client_session *client_h1_connect(struct client_pool *p, const struct addr *addr,
					 const struct client_settings *settings, int *out_err);
struct client_session *client_h2_connect(struct client_pool *p, const struct addr *addr,
					 const struct client_settings *settings, int *out_err);
struct client_session *client_pending_connect(struct client_pool *p, const struct addr *addr,
					      const struct client_settings *settings, int *out_err);
struct client_session *client_raw_connect(struct client_pool *p, const struct addr *addr,
					  const struct client_settings *settings, int *out_err);
/* On an open stream, which is taken over. */
struct client_session *client_h1_take(struct client_pool *p, struct stream *st,
				      const struct client_settings *settings);
struct client_session *client_h2_take(struct client_pool *p, struct stream *st,
				      const struct client_settings *settings);

#endif
