/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * transfer.h - body bytes (or those of a tunnel) of one http_stream that go to another inside the kernel.
 *
 * Both sessions lend one direction of their connection for exactly the bytes that are left of the body.  They do that
 * only on HTTP/1 or without a protocol, from a plain connection to a plain one or to TLS that the kernel makes, and
 * when no body byte is in userspace: nothing is queued, received or being received.  The owner brings that about by
 * http_stream_hold() and by waiting for on_sent() and on_paused().  Meanwhile both sessions keep their deadlines,
 * http_stream_queued() of `to` counts what is in the pipe, and the owner gets on_sent() of it as ever.  The end of a
 * body, and whatever fails, is told by the http_streams themselves after on_end(): credit is asked for as before.
 */
#ifndef SN_SESSION_TRANSFER_H
#define SN_SESSION_TRANSFER_H

#include "net/splice.h"
#include "session/session.h"

struct transfer {
	struct http_stream *from, *to; /* borrowed while it runs */
	struct splice *splice;	       /* NULL: it does not run */
	uint64_t bytes;		       /* moved, all runs together */
	void *owner;		       /* the owner's */

	/* From the loop.  bytes: these were received from the one and count as sent to the other. */
	void (*on_moved)(struct transfer *t, size_t bytes);
	void (*on_end)(struct transfer *t, enum splice_end why);
};

/* Whether these two can ever lend. */
static inline bool transfer_is_possible(const struct http_stream *from, const struct http_stream *to)
{
	return from->ops->lend && to->ops->lend &&
	       stream_may_lend(from->ops->transport((struct http_stream *)from), STREAM_IN) &&
	       stream_may_lend(to->ops->transport((struct http_stream *)to), STREAM_OUT);
}

static inline bool transfer_is_running(const struct transfer *t)
{
	return t->splice != NULL;
}

enum transfer_answer {
	TRANSFER_RUNS,
	/* Bytes are in userspace, or soon: hold, and try again at on_sent() of `to` or on_paused() of `from`. */
	TRANSFER_LATER,
	TRANSFER_NEVER, /* nothing is left to move, or one of them is at its end */
};

enum transfer_answer transfer_start(struct transfer *t, struct pipe_pool *pipes, struct http_stream *from,
				    struct http_stream *to);
/*
 * At once, before either http_stream is done or reset; not running: nothing.  Bytes that were in the pipe are lost:
 * then `to` is only good for a reset, and true is returned.
 */
bool transfer_stop(struct transfer *t);

#endif
