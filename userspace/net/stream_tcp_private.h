/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream_tcp_private.h - what the files of streams over TCP and Unix sockets share.
 *
 * stream_tcp.c        reading, watching, writing, the end
 * stream_tcp_ahead.c  bytes that came before they were asked for
 * stream_tcp_lend.c   giving a direction to somebody else
 */
#ifndef SN_NET_STREAM_TCP_PRIVATE_H
#define SN_NET_STREAM_TCP_PRIVATE_H

#include <errno.h>

#include "base/check.h"
#include "net/stream.h"

/* What sending needs beyond this exists only while bytes are queued. */
struct stream_tcp {
	struct stream face;
	int fd; /* owned */
	uint8_t inflight; /* operations: at most one of each kind */
	uint8_t read_class; /* enum loop_buffers: what is received into */
	int16_t send_err; /* writing ended with it, reading may still go on */
	uint32_t flags;
	struct addr_short name; /* of the peer, for stream_peer(); AF_UNSPEC: not asked yet */
	struct slice *ahead; /* owned: came before it was asked for; NULL: nothing did */
	struct slice_queue out; /* not yet accepted by the socket */

	struct op read_op, send_op, watch_op; /* send_op also connects */
	struct buffer_waiter waiter;
	struct task task; /* send what is queued, give what came ahead, or finish closing */
};

_Static_assert(sizeof(struct stream_tcp) <= 232, "an idle connection is cheap");

enum {
	IS_READING = 1 << 0,	  /* the owner asked: a receive is in flight, waits for a buffer, or bytes came ahead */
	IS_RECEIVING = 1 << 1,	  /* read_op is in flight: a receive that stands also while nobody asks */
	IS_SENDING = 1 << 2,	  /* send_op is in flight as a send: `out` holds its bytes */
	IS_CONNECTING = 1 << 3,	  /* send_op is in flight as a connect */
	WANTS_WATCH = 1 << 4,	  /* the owner wants to hear of the peer's end */
	IS_POLLING = 1 << 5,	  /* watch_op is in flight */
	WANTS_SHUTDOWN = 1 << 6,  /* FIN when `out` is empty */
	IS_SHUT = 1 << 7,	  /* FIN sent */
	IS_READ_EOF = 1 << 8,	  /* FIN received and told */
	IS_HUNG_UP = 1 << 9,	  /* on_hangup() was called */
	EXPECTS_MORE = 1 << 10,	  /* the last receive left bytes in the socket, or it is the first */
	IS_BLOCKED = 1 << 11,	  /* the socket did not take all of the last send: the peer is slow */
	ENDS_SOON = 1 << 12,	  /* stream_ends_soon() */
	IS_HELD = 1 << 13,	  /* the socket holds the last bytes back for the FIN */
	IS_OUTGOING = 1 << 14,	  /* we connected */
	IS_LENT_IN = 1 << 15,	  /* stream_lend() */
	IS_LENT_OUT = 1 << 16,
	FAILS_SOON = 1 << 17,	  /* with send_err: whom it was lent met that */
	IS_PAUSING = 1 << 18,	  /* stream_pause(): operations are cancelled, on_paused() is owed */
	WANTS_LARGE = 1 << 19,	  /* the owner asked for a large buffer */
	SAYS_LITTLE = 1 << 20,	  /* when it did so last, a small one would have done */
	IS_SETTLING = 1 << 21,	  /* stream_lend(): the receive that stood is cancelled, on_paused() is owed */
	HAS_STOOD = 1 << 22,	  /* the receive gave bytes and stayed */
};

static inline bool is(const struct stream_tcp *s, unsigned flags)
{
	return s->flags & flags;
}

static inline void set(struct stream_tcp *s, unsigned flags)
{
	s->flags |= flags;
}

static inline void unset(struct stream_tcp *s, unsigned flags)
{
	s->flags &= ~flags;
}

static inline struct stream_tcp *tcp_of(const struct stream *face)
{
	OBJ_CHECK(face, TAG_STREAM);
	return container_of(face, struct stream_tcp, face);
}

static inline void stream_tcp_drop_queued(struct stream_tcp *s)
{
	slice_queue_fini(&s->out);
	s->face.queued = 0;
}

/* Of a receive: the socket is as it was. */
static inline bool stream_tcp_is_nothing(int res)
{
	return res == -ECANCELED || res == -EAGAIN || res == -EINTR || res == -ENOBUFS;
}

static inline void flush_later(struct stream_tcp *s)
{
	loop_defer_flush(s->face.loop, &s->task);
}

/* stream_tcp_ahead.c */
void stream_tcp_ahead_add(struct stream_tcp *s, struct slice data); /* takes data */
struct slice stream_tcp_ahead_take(struct stream_tcp *s); /* all of it; CHECKs that there is something */
void stream_tcp_ahead_drop(struct stream_tcp *s);
/* While nobody asked, or after what came ahead: a FIN is met again by the next receive, an error is not. */
void stream_tcp_unasked_end(struct stream_tcp *s, int res);
/* Bytes came ahead of a reset that is kept for a reader.  It does not read: then it hears of it now. */
void stream_tcp_broken_check(struct stream_tcp *s);

/* stream_tcp_lend.c */
bool stream_tcp_busy(const struct stream *face, enum stream_side side);
bool stream_tcp_may_lend(const struct stream *face, enum stream_side side);
int stream_tcp_lend(struct stream *face, enum stream_side side);
void stream_tcp_take_back(struct stream *face, enum stream_side side, int err);
bool stream_tcp_pause(struct stream *face);

#endif
