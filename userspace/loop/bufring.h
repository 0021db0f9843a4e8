/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bufring.h - one class of receive buffers: a provided-buffer ring shared with the kernel.  Owned by a loop.
 *
 * A buffer is in one of three places: in the ring (the kernel may fill it), pinned (a slice holds it), or spare.
 * The kernel uses the ring first in, first out, so a full ring would walk through all of its memory.  Therefore
 * only as many are provided as recent bursts needed; the rest lies on a stack and is used last in, first out: what
 * is received into was used a moment ago and is in the processor's cache.  A turn with an -ENOBUFS while buffers
 * are spare doubles what is provided; a long time without one halves it.
 */
#ifndef SN_LOOP_BUFRING_H
#define SN_LOOP_BUFRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "base/list.h"

struct io_uring;
struct io_uring_buf_ring;

struct bufring {
	unsigned count;	       /* of buffers; a power of two */
	unsigned buffer_bytes; /* of one */
	unsigned group;	       /* IORING buffer group */

	struct io_uring_buf_ring *ring; /* owned mapping, shared with the kernel */
	uint8_t *memory;		/* owned mapping: count * buffer_bytes */
	struct iobuf *bufs;		/* owned: one header a buffer, allocated once */
	uint16_t *spare;		/* owned: stack of buffer ids */
	unsigned spare_count;
	unsigned provided;     /* in the ring, as far as completions have told */
	unsigned provided_max; /* how many there should be; at most count */
	unsigned pinned;
	unsigned calm_takes; /* buffers taken since the last shortage */
	bool was_short;	     /* a shortage in this turn */

	struct list waiters; /* struct buffer_waiter, in order of arrival */

	uint64_t missing; /* -ENOBUFS seen */
};

/* 0 or -errno (-EINVAL: the kernel has no buffer rings).  */
int bufring_init(struct bufring *b, struct io_uring *ring, unsigned group, unsigned count, unsigned bytes);
void bufring_fini(struct bufring *b, struct io_uring *ring); /* CHECKs that nothing is pinned */
/* Once a turn: give spare buffers to the kernel, with one store for all of them. */
void bufring_provide(struct bufring *b);
/* The buffer `id` of a completion, with len bytes in it. */
struct slice bufring_take(struct bufring *b, unsigned id, uint32_t len);
/* A receive found the ring empty. */
void bufring_missed(struct bufring *b);

#endif
