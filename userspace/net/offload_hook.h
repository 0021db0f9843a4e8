/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload_hook.h - how a tunnel gives its two sockets to the kernel without knowing who brings that about: app/ fills
 * the hook with fastpath/offload, whose header says what the calls promise.
 *
 * From a join that returned 0 until the one last event both sockets are the pair's: whoever joined them neither reads,
 * writes, polls, shuts down nor closes them.
 */
#ifndef SN_NET_OFFLOAD_HOOK_H
#define SN_NET_OFFLOAD_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"

struct offload_pair;
struct flows;

enum offload_why {
	OFFLOAD_LEFT_ASKED,   /* offload_leave() */
	OFFLOAD_LEFT_ENDED,   /* both peers ended, and everything is in the sockets: only close() is left to do */
	OFFLOAD_LEFT_REFUSED, /* the kernel took one of the sockets and refused the other */
	OFFLOAD_LEFT_MOVED,   /* offload_release(): another process goes on with it, and no event says so */
	OFFLOAD_LEFT_COUNT
};

/* One direction: what came from fd[i] and goes to the other. */
struct offload_side {
	uint64_t kernel_bytes;	  /* redirected by the kernel since the join */
	uint64_t user_bytes;	  /* copied by the pair since the join */
	struct slice_queue *held; /* read, and not written yet: the owner writes it before anything it reads */
	uint64_t undelivered;	  /* of a failed pair: taken from fd[i], and did not get into the other socket */
	bool is_eof;		  /* the peer's FIN was read: nothing comes any more */
	bool is_shut;		  /* and passed on: the other socket is shut down for writing */
};

struct offload_report {
	enum offload_why why; /* of on_left() */
	struct offload_side sides[2];
};

/*
 * What another process must know of a pair to go on with it, besides its two sockets and the descriptors of the maps
 * they are in.  It comes from another process: whoever reads it believes nothing.
 */
struct offload_parcel {
	struct offload_parcel_dir {
		uint64_t cookie; /* of the source */
		uint64_t base_written, base_received, user_bytes, consumed, slow_seen;
		uint8_t state, is_eof, is_slow;
		uint8_t unused[5];
	} dirs[2];
	uint64_t user_active_ns; /* CLOCK_MONOTONIC */
	uint64_t age;		 /* how many processes had these maps before */
};

#define OFFLOAD_FDS_MAX 6

struct offload_arrival {
	const struct offload_parcel *parcel;
	struct flows *flows; /* borrowed; what the parcel's descriptors became */
};

/*
 * Exactly one of on_left() and on_fail() comes, once, unless the pair is released.  All come from the loop and never
 * from inside an offload_*() call.  These two are the last thing that happens to the pair, which is freed when they
 * return; it has no operation in flight on the sockets then.
 * Slices of `held` are the owner's if it moves them (slice_queue_move()); what is left is put.
 */
struct offload_events {
	/* Both sockets are plain again, at exactly the byte where the report says. */
	void (*on_left)(void *owner, struct offload_report *r);
	/* err: -errno.  Both sockets must be closed, which resets them. */
	void (*on_fail)(void *owner, int err, struct offload_report *r);
	/*
	 * After freeze(), unless one of those comes: nobody in this process touches the sockets or the pair any more,
	 * until thaw() or release().  The descriptors are borrowed until then.
	 */
	void (*on_frozen)(void *owner, const struct offload_parcel *parcel, const int *fds, unsigned fd_count);
};

struct offload_progress {
	uint64_t kernel_bytes[2], user_bytes[2]; /* since the join, index as fd[] */
	uint64_t active_ns; /* CLOCK_MONOTONIC, within a few milliseconds: when a byte arrived or was written last */
};

/* Of one worker, for its thread only. */
struct offload_hook {
	/*
	 * Both sockets are ESTABLISHED and plain, no receive is in flight, everything that was read is written.  0, and
	 * one of ev's events follows; or -errno, and nothing has changed.
	 */
	int (*join)(void *ctx, const int fd[2], const struct offload_events *ev, void *owner,
		    struct offload_pair **out_pair);
	void (*leave)(struct offload_pair *p);
	void (*abort)(struct offload_pair *p, int err);
	void (*progress)(const struct offload_pair *p, struct offload_progress *out);

	/* To another process and from one, while the kernel goes on; NULL: pairs have to leave before they move. */
	int (*freeze)(struct offload_pair *p);
	void (*thaw)(struct offload_pair *p);
	void (*release)(struct offload_pair *p);
	struct offload_pair *(*adopt)(void *ctx, const int fd[2], const struct offload_arrival *a,
				      const struct offload_events *ev, void *owner);
	void *ctx;
};

#endif
