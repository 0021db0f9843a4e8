/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session.h - one HTTP connection = stream + codec, and the message pairs (http_stream) on it.
 * Nothing above session/ knows which protocol a session speaks: HTTP/1 has one http_stream at a time, HTTP/2
 * many.
 *
 * An http_stream carries one request and its response.  On a server session the request comes in (events) and
 * the response goes out (calls); on a client session the other way round.  Calls never call events back;
 * events come from the loop only.  Body bytes are pulled with credit: no body event comes before
 * http_stream_credit() allowed it, but one receive (64 KiB at most) may exceed it.  `http_stream_queued()` is
 * the back-pressure in the other direction.
 *
 * The owner ends its use with exactly one of http_stream_done() and http_stream_reset(); afterwards no event
 * comes and the pointer is dead.  After on_fail() the owner still calls http_stream_reset().
 */
#ifndef SN_SESSION_SESSION_H
#define SN_SESSION_SESSION_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/iobuf.h"
#include "http/codec.h"
#include "net/stream.h"

#define HTTP_STREAM_TAG TAG('h', 's', 't', 'r')

struct http_stream;

/* faults.def of the session layer: why a stream died. */
enum session_fault {
	SESSION_FAULT_NONE = 0,
	SESSION_FAULT_RESET,	     /* peer reset, or the write failed */
	SESSION_FAULT_EOF,	     /* the peer ended inside a message */
	SESSION_FAULT_MALFORMED,     /* codec fault: see `codec` */
	SESSION_FAULT_HEAD_TIMEOUT,  /* server: request head too slow */
	SESSION_FAULT_BODY_TIMEOUT,  /* no body byte for body_idle */
	SESSION_FAULT_WRITE_TIMEOUT, /* no byte could be written for write_idle */
	SESSION_FAULT_CONNECT,	     /* client: see `err` */
	SESSION_FAULT_CONNECT_TIMEOUT,
	SESSION_FAULT_STALE,	/* client: an idle connection that was reused had been closed; nothing was
				   answered */
	SESSION_FAULT_REFUSED,	/* client, HTTP/2: the origin did not look at the request (REFUSED_STREAM) */
	SESSION_FAULT_GOAWAY,	/* client, HTTP/2: nor at this one, because it ends the connection */
	SESSION_FAULT_TLS,	/* client: the handshake failed; `tls` and detail say why */
	SESSION_FAULT_TLS_TIMEOUT,
	SESSION_FAULT_UPGRADE,	/* client, HTTP/2: the origin takes no extended CONNECT */
	SESSION_FAULT_SHUTDOWN, /* the daemon stops now */
	SESSION_FAULT_PING_TIMEOUT, /* h2: a PING was not answered */
	SESSION_FAULT_COUNT,
};

struct session_failure {
	enum session_fault fault;
	enum codec_fault codec; /* MALFORMED */
	int err;		/* -errno of CONNECT, RESET */
	struct span detail;	/* bytes of the peer, not escaped; valid during the event */
	uint32_t h2_error;	/* RESET by RST_STREAM or GOAWAY: its code (RFC 9113 7) */
	const char *tls;	/* TLS: the reason as a word, for metrics; static */
	enum http_version version; /* server, a head that is no request: 0 (not known): HTTP/1 */
};

const char *session_fault_name(enum session_fault f); /* lower-case word for logs and metrics */

struct http_stream_events {
	/* Client: a response head (1xx too; the final one last).  The message lives in the arena given at
	 * open. */
	void (*on_head)(struct http_stream *st, struct message *m);
	void (*on_body)(struct http_stream *st, struct slice data);	  /* reference is the owner's */
	void (*on_end)(struct http_stream *st, struct headers *trailers); /* NULL: none */
	void (*on_sent)(struct http_stream *st);			  /* the write queue got shorter */
	/* The peer is gone or broken.  Bytes it sent before were delivered. */
	void (*on_fail)(struct http_stream *st, const struct session_failure *f);
	/* Of http_stream_pause(), or of a transfer that could not start yet.  NULL: neither is ever asked for. */
	void (*on_paused)(struct http_stream *st);
};

#define LENDS_NEVER 0
#define LENDS_LATER (UINT64_MAX - 1) /* it is busy; an event follows */

/* What lend() of a session answers when this direction of its stream is to be lent for so many bytes. */
static inline uint64_t session_lend(struct stream *st, enum stream_side side, uint64_t bytes)
{
	int err = bytes > 0 ? stream_lend(st, side) : -ENODATA;

	if (err)
		return err == -EAGAIN ? LENDS_LATER : LENDS_NEVER;
	return bytes;
}

static inline bool session_lends(uint64_t answer)
{
	return answer != LENDS_NEVER && answer != LENDS_LATER;
}

struct http_stream_ops {
	void (*send_head)(struct http_stream *st, const struct message *m);
	void (*send_body)(struct http_stream *st, struct slice data);
	void (*send_end)(struct http_stream *st, const struct headers *trailers);
	void (*credit)(struct http_stream *st, size_t bytes);
	size_t (*queued)(const struct http_stream *st);
	void (*done)(struct http_stream *st);
	void (*reset)(struct http_stream *st);
	struct stream *(*transport)(struct http_stream *st);
	bool (*is_reused)(const struct http_stream *st);   /* client */
	bool (*has_written)(const struct http_stream *st); /* client */
	/* Lending, see transfer.h, whose calls these are; NULL: never (HTTP/2). */
	size_t (*hold)(struct http_stream *st);
	bool (*pause)(struct http_stream *st);
	uint64_t (*lend)(struct http_stream *st, enum stream_side side); /* bytes, or one of LENDS_* */
	void (*lent)(struct http_stream *st, enum stream_side side, uint64_t bytes, bool is_waiting);
	void (*take_back)(struct http_stream *st, enum stream_side side, int err);
};

struct http_stream {
	uint32_t tag;
	const struct http_stream_ops *ops;
	const struct http_stream_events *events; /* the owner's */
	void *owner;
	uint32_t id; /* h1: 1 */
	/* Client: the origin may answer while it still reads, so the request goes on after the response's head. */
	bool is_duplex;
	bool is_early; /* server: a byte of the request's head came as early data, and may be a replay */
};

/* Head of a message: request on a client session, response (1xx too) on a server session.  Spans are copied.
 */
static inline void http_stream_send_head(struct http_stream *st, const struct message *m)
{
	st->ops->send_head(st, m);
}

/* Takes the reference. */
static inline void http_stream_send_body(struct http_stream *st, struct slice data)
{
	st->ops->send_body(st, data);
}

static inline void http_stream_send_end(struct http_stream *st, const struct headers *trailers)
{
	st->ops->send_end(st, trailers);
}

/* Allow that many more body bytes to come (tunnel bytes too). */
static inline void http_stream_credit(struct http_stream *st, size_t bytes)
{
	st->ops->credit(st, bytes);
}

/*
 * Take back what was allowed but for the bytes that are here already, and those of a receive that is under way;
 * returned is how many still may come.
 */
static inline size_t http_stream_hold(struct http_stream *st)
{
	return st->ops->hold(st);
}

/*
 * The same, but a receive that is under way is cancelled: no byte but those that are here comes before credit is given
 * again.  True: nothing is here, and nothing is in flight on the connection's input.  False: events follow, of which
 * on_paused() is one; call it again then.
 */
static inline bool http_stream_pause(struct http_stream *st)
{
	return st->ops->pause(st);
}

/* Bytes sent by the owner that the socket has not taken yet. */
static inline size_t http_stream_queued(const struct http_stream *st)
{
	return st->ops->queued(st);
}

/*
 * Both messages are complete as far as the owner cares.  Server: what is queued is still written, then the
 * connection is kept or closed (an unread rest of the request body is drained up to 64 KiB, else the
 * connection closes after the response).  Client: the connection goes to the idle pool if both sides are
 * complete and reusable, else it closes.
 */
static inline void http_stream_done(struct http_stream *st)
{
	st->ops->done(st);
}

/* Abandon: h1 closes the connection (a server that has sent response bytes resets it), h2 resets the stream.
 */
static inline void http_stream_reset(struct http_stream *st)
{
	st->ops->reset(st);
}

/* The byte stream below: for addresses and, for tunnels of a plain h1 session, the later kernel engines. */
static inline struct stream *http_stream_transport(struct http_stream *st)
{
	return st->ops->transport(st);
}

/* Client: the connection was open before. */
static inline bool http_stream_is_reused(const struct http_stream *st)
{
	return st->ops->is_reused(st);
}

/* Client: a byte of the request left for the socket, or may have (then only idempotent methods may be retried). */
static inline bool http_stream_has_written(const struct http_stream *st)
{
	return st->ops->has_written(st);
}

#endif
