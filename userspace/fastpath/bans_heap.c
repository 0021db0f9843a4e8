/* SPDX-License-Identifier: GPL-2.0-only */
/* bans_heap.c - rows of bans by the end of their ban: a binary heap whose rows know where they are. */
#include "fastpath/bans_heap.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

void bans_heap_fini(struct bans_heap *h)
{
	free(h->rows);
	*h = (struct bans_heap){ 0 };
}

static void put(struct bans_heap *h, size_t at, struct ban_row *row)
{
	h->rows[at] = row;
	row->at = at;
}

static void rise(struct bans_heap *h, size_t at, struct ban_row *row)
{
	while (at > 0) {
		struct ban_row *parent = h->rows[(at - 1) / 2];

		if (parent->ban.until_ns <= row->ban.until_ns)
			break;
		put(h, at, parent);
		at = (at - 1) / 2;
	}
	put(h, at, row);
}

static void sink(struct bans_heap *h, size_t at, struct ban_row *row)
{
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->rows[child + 1]->ban.until_ns < h->rows[child]->ban.until_ns)
			child++;
		if (row->ban.until_ns <= h->rows[child]->ban.until_ns)
			break;
		put(h, at, h->rows[child]);
		at = child;
	}
	put(h, at, row);
}

void bans_heap_add(struct bans_heap *h, struct ban_row *row)
{
	if (h->count == h->size) {
		h->size = h->size ? 2 * h->size : 16;
		h->rows = mem_resize(h->rows, h->size, sizeof(struct ban_row *));
	}
	rise(h, h->count++, row);
}

void bans_heap_remove(struct bans_heap *h, struct ban_row *row)
{
	struct ban_row *last = h->rows[h->count - 1];
	size_t at = row->at;

	CHECK(h->rows[at] == row);
	h->count--;
	if (last == row)
		return;
	sink(h, at, last);
	rise(h, last->at, last);
}
