/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * writing.h - the deadline of what is on its way to a peer (WAIT_WRITE), of sessions of every kind: it begins with the
 * first byte, goes on from each byte that the socket takes, and ends when nothing is left.
 */
#ifndef SN_SESSION_WRITING_H
#define SN_SESSION_WRITING_H

#include "net/stream.h"
#include "session/wait.h"

/* Something was written. */
static inline void write_begins(struct waits *w, struct stream *st, uint64_t limit_ms)
{
	if (!wait_is_on(w, WAIT_WRITE))
		wait_begin(st->loop, w, WAIT_WRITE, limit_ms);
}

/* Nothing is on its way any more, unless the stream has some. */
static inline void write_settles(struct waits *w, struct stream *st)
{
	if (st->queued == 0)
		wait_end(w, WAIT_WRITE);
}

/* The queue of the stream got shorter. */
static inline void write_progress(struct waits *w, struct stream *st, size_t bytes)
{
	wait_bytes(w, WAIT_WRITE, bytes);
	wait_progress(st->loop, w, WAIT_WRITE);
	write_settles(w, st);
}

/* Whom STREAM_OUT is lent to has written bytes, and now waits for room, or does not. */
static inline void write_lent(struct waits *w, struct stream *st, uint64_t bytes, bool is_waiting, uint64_t limit_ms)
{
	wait_bytes(w, WAIT_WRITE, bytes);
	if (is_waiting)
		write_begins(w, st, limit_ms);
	else
		write_settles(w, st);
}

#endif
