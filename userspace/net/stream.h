/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream.h - an ordered, reliable byte stream between us and one peer.  Its owner does not know what carries it:
 * TCP and Unix sockets (stream_tcp.c), or TLS over one of these (stream_tls.h).
 *
 * Reading is pulled: stream_read() asks exactly once; the bytes come as one on_data(), and nothing more is given until
 * the owner asks again.  The kernel picks a buffer only when bytes are there, so an idle stream holds none.  Nothing is
 * received unasked but LOOP_STANDING_MAX bytes where short messages came so far (loop_recv_standing()).
 * Whoever cannot take bytes does not ask; its peer's end is then seen by stream_watch().
 * Writing is queued: stream_write() takes slices, the stream sends all that is queued with one operation at the end of
 * the turn and reports progress by on_sent().  `queued` is the owner's measure for back-pressure.
 *
 * Events come from the loop only, never from inside a stream_* call.  After stream_close() or stream_abort() no event
 * comes but on_closed(), which is the last; when it returns the stream frees itself.
 * After on_fail() nothing can be read or written; the owner must close.
 *
 * A server may answer and reset while we still write to it.  So a send that ends with a reset does not fail a stream
 * that we connected, or that is being read: what is queued is dropped, the bytes that came before the reset are
 * delivered as they are asked for, and only then on_fail() comes.
 */
#ifndef SN_NET_STREAM_H
#define SN_NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "loop/loop.h"
#include "net/addr.h"

#define TAG_STREAM TAG('s', 't', 'r', 'm')

struct stream;
struct tlsio;

struct stream_events {
	void (*on_connected)(struct stream *s);		       /* of a stream that began as CONNECTING */
	void (*on_data)(struct stream *s, struct slice data);  /* data's reference is the owner's; len > 0 */
	void (*on_eof)(struct stream *s);		       /* peer's FIN: no more data, writing still works */
	void (*on_sent)(struct stream *s, size_t bytes);       /* these left the queue for the socket */
	void (*on_fail)(struct stream *s, int err);	       /* err < 0: -ECONNRESET, -ETIMEDOUT, -EPIPE … */
	void (*on_hangup)(struct stream *s);		       /* stream_watch(): RDHUP seen while not reading */
	void (*on_closed)(struct stream *s);		       /* nothing in flight, descriptor closed */
	void (*on_paused)(struct stream *s);		       /* stream_pause(), stream_lend(): the receive is over */
};

enum stream_side {
	STREAM_IN,  /* what the peer sends */
	STREAM_OUT, /* what it gets */
};

enum stream_state {
	STREAM_CONNECTING, /* TCP connect, or a TLS handshake in either role; writing queues, reading is not possible */
	STREAM_OPEN,
	STREAM_FAILED,	/* on_fail() was called */
	STREAM_CLOSING, /* waiting for operations to end */
	STREAM_CLOSED,
};

struct stream_ops {
	void (*read)(struct stream *s, enum loop_buffers class);
	void (*watch)(struct stream *s, bool on);
	void (*write)(struct stream *s, struct slice data);
	void (*write_queue)(struct stream *s, struct slice_queue *from);
	void (*ends_soon)(struct stream *s);
	void (*shutdown)(struct stream *s);
	void (*close)(struct stream *s, bool with_reset);
	const struct addr *(*peer)(struct stream *s);
	void (*set_peer)(struct stream *s, const struct addr *peer);
	int (*local)(struct stream *s, struct addr *out_addr);
	int (*fd)(const struct stream *s);
	struct tlsio *(*tls)(struct stream *s);
	bool (*busy)(const struct stream *s, enum stream_side side);
	bool (*may_lend)(const struct stream *s, enum stream_side side);
	int (*lend)(struct stream *s, enum stream_side side);
	bool (*pause)(struct stream *s); /* NULL: it lends no input */
	void (*take_back)(struct stream *s, enum stream_side side, int err);
};

/* What every kind of stream begins with. */
struct stream {
	uint32_t tag;
	enum stream_state state;
	const struct stream_ops *ops;
	struct loop *loop; /* borrowed */
	const struct stream_events *events; /* may be changed by the owner between events, with `owner` */
	void *owner; /* the owner's */

	size_t queued; /* bytes written by the owner that the socket has not taken */
	size_t sending; /* of them: those that the socket may have taken already */
	uint64_t bytes_in, bytes_out; /* delivered, and taken by the socket */
};

/*
 * Take an accepted, connected descriptor, blocking as far as O_NONBLOCK is concerned (io_uring waits, we do not).
 * TCP_NODELAY is the listening socket's: accepted ones inherit it.  peer may be NULL (read from the socket on demand).
 */
struct stream *stream_open(struct loop *l, int fd, const struct addr *peer, const struct stream_events *ev,
			   void *owner);
/*
 * Start connecting; on_connected() or on_fail() follows.  NULL, with -errno in *out_err, when no socket could be made.
 * Sets TCP_NODELAY.
 */
struct stream *stream_connect(struct loop *l, const struct addr *to, const struct stream_events *ev, void *owner,
			      int *out_err);

/*
 * Ask for bytes once (already asked: nothing).  Not after eof.  class: how much is wanted; where a large buffer was
 * asked for and little came, the next one is a small one.  What came before it was asked for comes in one piece.
 */
static inline void stream_read(struct stream *s, enum loop_buffers class)
{
	s->ops->read(s, class);
}

/*
 * Watch for the peer's end without receiving.  off: stop watching.  Watching ends with on_hangup(); watched again after
 * that, only a reset is reported (by on_fail).
 */
static inline void stream_watch(struct stream *s, bool on)
{
	s->ops->watch(s, on);
}

/* Queue bytes; takes the reference.  On a failed or closing stream the slice is dropped. */
static inline void stream_write(struct stream *s, struct slice data)
{
	s->ops->write(s, data);
}

static inline void stream_write_queue(struct stream *s, struct slice_queue *from) /* all of it */
{
	s->ops->write_queue(s, from);
}

/*
 * The owner will shut down or close as soon as what is queued is out: its last bytes wait for the FIN, so that both
 * leave in one packet.  Nothing more may be written.
 */
static inline void stream_ends_soon(struct stream *s)
{
	s->ops->ends_soon(s);
}

/* FIN (after TLS's close_notify) after everything queued. */
static inline void stream_shutdown(struct stream *s)
{
	s->ops->shutdown(s);
}

/* Everything queued is dropped, operations are cancelled, the descriptor closed; on_closed() follows. */
static inline void stream_close(struct stream *s)
{
	s->ops->close(s, false);
}

/* The same with a reset (SO_LINGER 0). */
static inline void stream_abort(struct stream *s)
{
	s->ops->close(s, true);
}

/* getpeername() once, cached.  The result is valid until the next call on this thread: copy it to keep it. */
static inline const struct addr *stream_peer(struct stream *s)
{
	return s->ops->peer(s);
}

/* The peer that a trusted proxy named (PROXY protocol). */
static inline void stream_set_peer(struct stream *s, const struct addr *peer)
{
	s->ops->set_peer(s, peer);
}

static inline int stream_local(struct stream *s, struct addr *out_addr)
{
	return s->ops->local(s, out_addr);
}

/* Of the socket below, for options only. */
static inline int stream_fd(const struct stream *s)
{
	return s->ops->fd(s);
}

/* The TLS of the stream (tlsio.h): names, versions, the peer's certificate.  NULL: there is none. */
static inline struct tlsio *stream_tls(struct stream *s)
{
	return s->ops->tls(s);
}

/*
 * Let somebody else move the bytes of one direction on stream_fd(): who receives or sends them itself, keeps bytes_in,
 * bytes_out and queued true, and calls on_sent().  -EAGAIN: not yet, a receive stood that nobody asked for; it is
 * cancelled, and on_paused() comes when it is over, unless reading is asked for before.  Another error: it is busy (was
 * asked to read, bytes are queued), or never.
 * A socket lends both directions; TLS only its output, and only when the kernel makes the records.
 * The other direction goes on as it was.  The direction goes back before the stream is closed;
 * err < 0: it ended with that, which the stream then tells as if it had met it itself.
 */
static inline bool stream_may_lend(const struct stream *s, enum stream_side side)
{
	return s->ops->may_lend(s, side);
}

static inline int stream_lend(struct stream *s, enum stream_side side)
{
	return s->ops->lend(s, side);
}

static inline bool stream_is_busy(const struct stream *s, enum stream_side side)
{
	return s->ops->busy(s, side);
}

/*
 * Take back stream_read() and stream_watch().  True: nothing is in flight on the input any more.  False: it has been
 * cancelled, and on_paused() comes when it is over, after on_data() or on_eof() if these were faster.  Asking to read
 * again ends the pause, and on_paused() need not come.  Only for a stream that may lend its input.
 */
static inline bool stream_pause(struct stream *s)
{
	return s->ops->pause(s);
}

static inline void stream_take_back(struct stream *s, enum stream_side side, int err)
{
	s->ops->take_back(s, side, err);
}

#endif
