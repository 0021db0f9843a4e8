/* SPDX-License-Identifier: GPL-2.0-only */
/* heap.h - a binary heap of nodes that are embedded in their owners: the smallest key first, any node can leave. */
#ifndef SN_BASE_HEAP_H
#define SN_BASE_HEAP_H

#include <stdint.h>

struct heap_node { /* embed it, zeroed */
	uint64_t key; /* changed by leaving and coming back only */
	uint32_t place; /* from 1; 0: in no heap */
};

/* Zeroed: empty. */
struct heap {
	struct heap_node **nodes; /* the owner's memory */
	uint32_t count;
};

/* h->nodes has room for one more, and n is in no heap. */
void heap_add(struct heap *h, struct heap_node *n, uint64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* in no heap: nothing */
static inline struct heap_node *heap_first(const struct heap *h)
{
	return h->count ? h->nodes[0] : (struct heap_node *)0;
}

#endif
