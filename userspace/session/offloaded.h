/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offloaded.h - a tunnel between two http_streams whose bytes the kernel carries, both ways (net/offload_hook.h).
 *
 * Both sessions lend both directions of their connections: they do that only over plain connections of HTTP/1 or
 * without a protocol, when neither peer has ended and no byte is in userspace.  offloaded_start() brings about the
 * quiet that it needs by http_stream_pause(), and is called again on each on_paused() and on_sent() until it answers.
 *
 * In a binary upgrade one that runs may go on in another process: offloaded_freeze() and, there, offloaded_adopt().
 *
 * While it runs no http_stream has an event but on_fail() for what we do ourselves (a stop).  Their counts of bytes are
 * true after offloaded_update().  When it is over, directions go back, and an end that a peer told meanwhile is read
 * again the usual way.
 */
#ifndef SN_SESSION_OFFLOADED_H
#define SN_SESSION_OFFLOADED_H

#include "net/offload_hook.h"
#include "session/session.h"

struct offloaded {
	const struct offload_hook *hook;
	struct http_stream *streams[2]; /* borrowed while it runs; index i: its peer's bytes are direction i */
	struct offload_pair *pair;	/* NULL: it does not run */
	uint64_t kernel_seen[2], user_seen[2]; /* of this run, told by on_moved() */
	bool is_frozen; /* what moves from here on is another process's to count, unless it thaws */
	void *owner;			/* the owner's */

	/* From offloaded_update(), and before the two others: bytes of streams[i] that went to the other one. */
	void (*on_moved)(struct offloaded *o, unsigned i, uint64_t kernel_bytes, uint64_t user_bytes);
	/*
	 * From the loop, once a run: both streams are the sessions' again, without credit.  held[i]: received from
	 * streams[i]; the owner sends that to the other one before anything else.
	 */
	void (*on_left)(struct offloaded *o, enum offload_why why, struct slice_queue *held[2]);
	/* Or this: both streams are to be reset. */
	void (*on_fail)(struct offloaded *o, int err, uint64_t undelivered);
	/* After offloaded_freeze(), unless it ends before: counts are up to date (offload_hook.h). */
	void (*on_frozen)(struct offloaded *o, const struct offload_parcel *parcel, const int *fds,
			  unsigned fd_count);
};

static inline bool offloaded_is_running(const struct offloaded *o)
{
	return o->pair != NULL;
}

#define OFFLOADED_LATER 1 /* an event follows: not quiet yet */

/*
 * 0: it runs.  OFFLOADED_LATER.  -ESHUTDOWN: a side is at its end, or broken.  Other: what the hook said.  Not running,
 * the streams are left without credit.
 */
int offloaded_start(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2]);
/*
 * What offloaded_freeze() told in another process, of a run that counted so much there: 0, and it runs; else -errno,
 * and both streams are to be reset.  The streams are new.
 */
int offloaded_adopt(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2],
		    const struct offload_arrival *a, const uint64_t kernel_seen[2]);
/* Look how far it is; returns when a byte moved last (CLOCK_MONOTONIC, ms; 0: none yet).  Running only. */
uint64_t offloaded_update(struct offloaded *o);
/* on_left() or on_fail() follows.  Running only. */
void offloaded_leave(struct offloaded *o);
void offloaded_abort(struct offloaded *o, int err);
/* 0: on_frozen() follows, or an end; -EAGAIN: ask again soon, or leave; -EOPNOTSUPP: leave. */
int offloaded_freeze(struct offloaded *o);
/* Frozen: it runs on; or it does not run here any more, and both streams are the sessions' again, without a socket. */
void offloaded_thaw(struct offloaded *o);
void offloaded_release(struct offloaded *o);

#endif
