/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload.h - lets the kernel carry the bytes of two connected TCP sockets to each other, and takes them back at any
 * time without a byte lost, doubled or out of order.
 *
 * `struct offload` is a worker's part: made and used on the thread of its loop.  A pair is two sockets in the kernel's
 * map.  From offload_join() until its one last event, both sockets are the pair's: whoever joined them neither reads,
 * writes, polls, shuts down nor closes them, nor changes SO_RCVLOWAT or SO_SNDBUF.
 *
 * What the kernel may not redirect (the receiver is slow, bytes came between two steps) it leaves to userspace, and the
 * pair copies it: slower, and never wrong.  The end of a peer's stream (FIN) is passed on after its last byte, while
 * the other direction goes on.  A receiver that does not read stops its sender by TCP's window, as a copy would;
 * what the kernel holds of a pair is bounded by the send and receive buffers of its sockets.
 *
 * Whatever cannot be proven complete is an error (on_fail), and the sockets are set to be reset by close().
 */
#ifndef SN_FASTPATH_OFFLOAD_H
#define SN_FASTPATH_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "fastpath/flows.h"
#include "loop/loop.h"
#include "net/offload_hook.h"

struct offload;

/* At most so much is read ahead of a receiver that is slow: while the pair is in, and to let it leave. */
#define OFFLOAD_HELD_MAX (64 * 1024)
#define OFFLOAD_HELD_LEAVING_MAX (4 * 1024 * 1024)

struct offload_options {
	uint64_t stall_ms;	 /* give up draining after so long without a byte; 0: 30,000 */
	bool is_deaf;		 /* for tests: never read the events */
};

/* Since the start. */
struct offload_counts {
	uint64_t joins;
	uint64_t adopted;		   /* came from another process, in the kernel */
	uint64_t refused;		   /* offload_join() failed, or left as REFUSED */
	uint64_t left[OFFLOAD_LEFT_COUNT]; /* index OFFLOAD_LEFT_* */
	uint64_t failed;
	uint64_t lost_races; /* of them: the numbers did not fit after leaving */
	uint64_t arms, disarms;
	uint64_t kernel_bytes, user_bytes; /* of pairs that are gone */
	uint64_t undelivered;
	uint64_t slow;		 /* skbs passed because the receiver had no room */
	uint64_t iterations;	 /* runs of the iterator */
	uint64_t leave_retries;	 /* a socket was not ready when the iterator came by */
	uint64_t drain_max_ms;
	uint64_t events;
};

/* worker: 0.. below flows_options.worker_count, each once.  NULL and *out_err: no ring for the events. */
struct offload *offload_new(struct loop *l, struct flows *f, unsigned worker, const struct offload_options *o,
			    int *out_err);
/*
 * Let go of the loop: then on_closed(ctx), and o is gone.  CHECKs that there is no pair any more.
 */
void offload_close(struct offload *o, void (*on_closed)(void *ctx), void *ctx);

/*
 * Give two sockets to the kernel.  Before: both ESTABLISHED, no receive in flight (a cancelled one has completed),
 * everything that was read is written, nothing is queued.  Unread bytes in the sockets are no hindrance.
 * 0, and *out_pair; or nothing has changed: -ENOBUFS: no row is free; -EOPNOTSUPP: not TCP, or not established;
 * -EINVAL: a ULP (kTLS); -EBUSY, -EEXIST: in a map already; -EAGAIN: not a quiet moment; -ENOMEM: the system's TCP uses
 * more than the first number of tcp_mem; …
 */
int offload_join(struct offload *o, const int fd[2], const struct offload_events *ev, void *owner,
		 struct offload_pair **out_pair);
/*
 * Leave the kernel: on_left() or on_fail() follows, mostly within a few milliseconds, within a second if both peers
 * send as fast as they can: these are offered a small window for that time.  It takes until the receivers have read, if
 * more than OFFLOAD_HELD_LEAVING_MAX is on its way to them.  Again: nothing.
 */
void offload_leave(struct offload_pair *p);
/* Give the pair up: on_fail(err) follows at once, with what was not delivered. */
void offload_abort(struct offload_pair *p, int err);

/*
 * To another process (binary upgrade): the kernel goes on, and who arms and copies changes.  0: on_frozen() follows,
 * or an end that came before.  -EAGAIN: something is read and not written; it reads no more until it is asked again, or
 * told to leave.  -EOPNOTSUPP: it leaves, or its maps have had OFFLOAD_AGE_MAX processes before this one.  No row of a
 * released pair is given out again.
 */
int offload_freeze(struct offload_pair *p);
/* Frozen: go on here.  What offload_abort() asked for meanwhile happens now. */
void offload_thaw(struct offload_pair *p);
/* Frozen: another process has it.  The pair is gone, without an event; both descriptors are the caller's again. */
void offload_release(struct offload_pair *p);
/*
 * The other side: go on with what offload_freeze() told there.  NULL: the parcel does not fit these sockets and maps;
 * both sockets must be reset.
 */
struct offload_pair *offload_adopt(struct offload *o, const int fd[2], const struct offload_arrival *a,
				   const struct offload_events *ev, void *owner);
/* Maps that give out no row any more are kept for the tunnels in them: so many may there be at once. */
#define OFFLOAD_AGE_MAX 16

/* Memory of the kernel, read without a system call. */
void offload_progress(const struct offload_pair *p, struct offload_progress *out);

const struct offload_counts *offload_counts(const struct offload *o);
unsigned offload_pair_count(const struct offload *o);

#endif
