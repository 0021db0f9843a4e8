/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * delays.h - requests that wait for their token, in the order in which they may go.  Bounded.  One thread.
 * Who waits for the same bucket goes in the order in which he came: his instant is later than all before.
 */
#ifndef SN_LIMITS_DELAYS_H
#define SN_LIMITS_DELAYS_H

#include <stdbool.h>
#include <stdint.h>

#define DELAYS_MAX 1024

struct delay { /* embed it, zeroed */
	uint64_t due_ns;
	uint32_t place; /* in the heap, from 1; 0: does not wait */
};

struct delays {
	struct delay **heap; /* DELAYS_MAX of them; borrowed.  The earliest first */
	uint32_t count;
};

/* False: DELAYS_MAX wait already. */
bool delays_add(struct delays *q, struct delay *d, uint64_t due_ns);
void delays_remove(struct delays *q, struct delay *d); /* does not wait: nothing */
/* The first one that may go now, taken off; NULL: none. */
struct delay *delays_next(struct delays *q, uint64_t now_ns);
/* When the first one may go; 0: nobody waits. */
static inline uint64_t delays_due_ns(const struct delays *q)
{
	return q->count ? q->heap[0]->due_ns : 0;
}

#endif
