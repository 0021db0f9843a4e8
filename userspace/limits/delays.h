/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * delays.h - requests that wait for their token, in the order in which they may go.  Bounded.  One thread.
 * Who waits for the same bucket goes in the order in which he came: his instant is later than all before.
 */
#ifndef SN_LIMITS_DELAYS_H
#define SN_LIMITS_DELAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"

#define DELAYS_MAX 1024

struct delay { /* embed it, zeroed */
	struct heap_node node; /* its key is the instant in ns */
};

struct delays {
	struct heap heap; /* nodes: DELAYS_MAX of them; borrowed */
};

/* False: DELAYS_MAX wait already. */
bool delays_add(struct delays *q, struct delay *d, uint64_t due_ns);
void delays_remove(struct delays *q, struct delay *d); /* does not wait: nothing */
/* The first one that may go now, taken off; NULL: none. */
struct delay *delays_next(struct delays *q, uint64_t now_ns);
/* When the first one may go; 0: nobody waits. */
static inline uint64_t delays_due_ns(const struct delays *q)
{
	const struct heap_node *first = heap_first(&q->heap);

	return first ? first->key : 0;
}

static inline bool delay_waits(const struct delay *d)
{
	return d->node.place > 0;
}

#endif
