/* SPDX-License-Identifier: GPL-2.0-only */
/* heap.c - a binary heap of embedded nodes. */
#include "base/heap.h"

#include "base/check.h"

static void put(struct heap *h, uint32_t at, struct heap_node *n)
{
	h->nodes[at] = n;
	n->place = at + 1;
}

static void rise(struct heap *h, uint32_t at, struct heap_node *n)
{
	while (at > 0 && h->nodes[(at - 1) / 2]->key > n->key) {
		put(h, at, h->nodes[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(h, at, n);
}

static void sink(struct heap *h, uint32_t at, struct heap_node *n)
{
	for (uint32_t child; (child = 2 * at + 1) < h->count; at = child) {
		if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (h->nodes[child]->key >= n->key)
			break;
		put(h, at, h->nodes[child]);
	}
	put(h, at, n);
}

void heap_add(struct heap *h, struct heap_node *n, uint64_t key)
{
	CHECK(!n->place);
	n->key = key;
	rise(h, h->count++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	uint32_t at = n->place - 1;
	struct heap_node *last;

	if (!n->place)
		return;
	CHECK(at < h->count && h->nodes[at] == n);
	n->place = 0;
	last = h->nodes[--h->count];
	if (last == n)
		return;
	if (at > 0 && h->nodes[(at - 1) / 2]->key > last->key)
		rise(h, at, last);
	else
		sink(h, at, last);
}
