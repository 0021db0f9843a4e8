/* SPDX-License-Identifier: GPL-2.0-only */
/* bans_heap.h - rows of bans.c by the end of their ban, soonest first.  Not for others. */
#ifndef SN_FASTPATH_BANS_HEAP_H
#define SN_FASTPATH_BANS_HEAP_H

#include "fastpath/bans.h"

struct ban_row {
	struct ban ban;
	size_t at; /* in the heap that has it */
};

/* Zero-initialised: empty. */
struct bans_heap {
	struct ban_row **rows; /* owned; what they point to is not */
	size_t count, size;
};

void bans_heap_fini(struct bans_heap *h);
void bans_heap_add(struct bans_heap *h, struct ban_row *row);
void bans_heap_remove(struct bans_heap *h, struct ban_row *row); /* it is in h */
static inline struct ban_row *bans_heap_first(const struct bans_heap *h)
{
	return h->count ? h->rows[0] : NULL;
}

#endif
