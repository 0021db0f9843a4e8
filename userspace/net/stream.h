/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream.h - an ordered, reliable byte stream between us and one peer: TCP now, TLS over it later.
 *
 * Reading is pulled: stream_read() arms exactly one receive; the bytes come as one on_data(), and nothing more is
 * received until the owner asks again.  The kernel picks a buffer only when bytes are there, so an idle stream
 * holds none.  Whoever cannot take bytes does not ask; its peer's end is then seen by stream_watch().
 * Writing is queued: stream_write() takes slices, the stream sends all that is queued with one operation at the end of
 * the turn and reports progress by on_sent().  `queued` is the owner's measure for back-pressure.
 *
 * Events come from the loop only, never from inside a stream_* call.  After stream_close() or stream_abort() no event
 * comes but on_closed(), which is the last; only then may the owner free the memory that holds the stream.
 * After on_fail() nothing can be read or written; the owner must close.
 *
 * A peer may answer and reset while we still write to it.  So a send that ends with a reset does not fail a stream that
 * is being read: what is queued is dropped, the bytes that came before the reset are delivered as they are asked for,
 * and only then on_fail() comes.
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

struct stream_events {
	void (*on_connected)(struct stream *s);		       /* client side only */
	void (*on_data)(struct stream *s, struct slice data);  /* data's reference is the owner's; len > 0 */
	void (*on_eof)(struct stream *s);		       /* peer's FIN: no more data, writing still works */
	void (*on_sent)(struct stream *s, size_t bytes);       /* these left the queue for the socket */
	void (*on_fail)(struct stream *s, int err);	       /* err < 0: -ECONNRESET, -ETIMEDOUT, -EPIPE … */
	void (*on_hangup)(struct stream *s);		       /* stream_watch(): RDHUP seen while not reading */
	void (*on_closed)(struct stream *s);		       /* nothing in flight, descriptor closed */
};

enum stream_state {
	STREAM_CONNECTING,
	STREAM_OPEN,
	STREAM_FAILED,	/* on_fail() was called */
	STREAM_CLOSING, /* waiting for operations to end */
	STREAM_CLOSED,
};

/* The stream itself: about 230 bytes; what sending needs beyond that exists only while bytes are queued. */
struct stream {
	uint32_t tag;
	int fd; /* owned */
	struct loop *loop; /* borrowed */
	const struct stream_events *events; /* may be changed by the owner between events (tunnels do) */

	enum stream_state state;
	uint16_t inflight; /* operations */
	uint16_t flags;	   /* of stream_tcp.c */
	int send_err;	   /* writing ended with it, reading may still go on */
	enum loop_buffers read_class;
	struct slice_queue out; /* not yet accepted by the socket */
	size_t queued; /* bytes written by the owner that the socket has not taken */
	size_t sending; /* bytes of the send in flight; 0: none */

	struct op read_op, send_op, watch_op; /* send_op also connects */
	struct buffer_waiter waiter;
	struct task task; /* send what is queued, or finish closing */

	uint64_t bytes_in, bytes_out;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} name; /* of the peer, for stream_peer(); sa_family AF_UNSPEC: not asked yet */
};

/*
 * Take an accepted, connected descriptor, blocking as far as O_NONBLOCK is concerned (io_uring waits, we do not).
 * TCP_NODELAY is the listening socket's: accepted ones inherit it.  peer may be NULL (read from the socket on demand).
 */
void stream_open(struct stream *s, struct loop *l, int fd, const struct addr *peer, const struct stream_events *ev);
/* Start connecting; on_connected() or on_fail() follows.  0, or -errno when no socket could be made (nothing follows).
 * Sets TCP_NODELAY. */
int stream_connect(struct stream *s, struct loop *l, const struct addr *to, const struct stream_events *ev);

/* Ask for bytes once (already asked: nothing).  Not after eof. */
void stream_read(struct stream *s, enum loop_buffers class);
/*
 * Watch for the peer's end without receiving.  off: stop watching.  Watching ends with on_hangup(); watched again after
 * that, only a reset is reported (by on_fail).
 */
void stream_watch(struct stream *s, bool on);

/* Queue bytes; takes the reference.  On a failed or closing stream the slice is dropped. */
void stream_write(struct stream *s, struct slice data);
void stream_write_queue(struct stream *s, struct slice_queue *from); /* all of it */
/*
 * The owner will shut down or close as soon as what is queued is out: its last bytes wait for the FIN, so that both
 * leave in one packet.  Nothing more may be written.
 */
void stream_ends_soon(struct stream *s);
/* FIN after everything queued. */
void stream_shutdown(struct stream *s);
/* Everything queued is dropped, operations are cancelled, the descriptor closed; on_closed() follows. */
void stream_close(struct stream *s);
void stream_abort(struct stream *s); /* the same with a reset (SO_LINGER 0) */

/* getpeername() once, cached.  The result is valid until the next call on this thread: copy it to keep it. */
const struct addr *stream_peer(struct stream *s);
int stream_local(struct stream *s, struct addr *out_addr);

#endif
