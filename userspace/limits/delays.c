/* SPDX-License-Identifier: GPL-2.0-only */
/* delays.c - a bounded heap of those who wait. */
#include "limits/delays.h"

#include "base/check.h"

bool delays_add(struct delays *q, struct delay *d, uint64_t due_ns)
{
	CHECK(!delay_waits(d) && due_ns > 0);
	if (q->heap.count == DELAYS_MAX)
		return false;
	heap_add(&q->heap, &d->node, due_ns);
	return true;
}

void delays_remove(struct delays *q, struct delay *d)
{
	heap_remove(&q->heap, &d->node);
}

struct delay *delays_next(struct delays *q, uint64_t now_ns)
{
	struct heap_node *first = heap_first(&q->heap);

	if (!first || first->key > now_ns)
		return NULL;
	heap_remove(&q->heap, first);
	return container_of(first, struct delay, node);
}
