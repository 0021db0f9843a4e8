/* SPDX-License-Identifier: GPL-2.0-only */
/* delays.c - a binary heap of those who wait. */
#include "limits/delays.h"

#include "base/check.h"

static void put(struct delays *q, uint32_t at, struct delay *d)
{
	q->heap[at] = d;
	d->place = at + 1;
}

static void rise(struct delays *q, uint32_t at, struct delay *d)
{
	while (at > 0 && q->heap[(at - 1) / 2]->due_ns > d->due_ns) {
		put(q, at, q->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(q, at, d);
}

static void sink(struct delays *q, uint32_t at, struct delay *d)
{
	for (uint32_t child; (child = 2 * at + 1) < q->count; at = child) {
		if (child + 1 < q->count && q->heap[child + 1]->due_ns < q->heap[child]->due_ns)
			child++;
		if (q->heap[child]->due_ns >= d->due_ns)
			break;
		put(q, at, q->heap[child]);
	}
	put(q, at, d);
}

bool delays_add(struct delays *q, struct delay *d, uint64_t due_ns)
{
	CHECK(!d->place && due_ns > 0);
	if (q->count == DELAYS_MAX)
		return false;
	d->due_ns = due_ns;
	rise(q, q->count++, d);
	return true;
}

void delays_remove(struct delays *q, struct delay *d)
{
	uint32_t at = d->place - 1;
	struct delay *last;

	if (!d->place)
		return;
	CHECK(at < q->count && q->heap[at] == d);
	d->place = 0;
	last = q->heap[--q->count];
	if (last == d)
		return;
	if (at > 0 && q->heap[(at - 1) / 2]->due_ns > last->due_ns)
		rise(q, at, last);
	else
		sink(q, at, last);
}

struct delay *delays_next(struct delays *q, uint64_t now_ns)
{
	struct delay *d;

	if (!q->count || q->heap[0]->due_ns > now_ns)
		return NULL;
	d = q->heap[0];
	delays_remove(q, d);
	return d;
}
