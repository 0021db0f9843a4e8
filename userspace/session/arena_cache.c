/* SPDX-License-Identifier: GPL-2.0-only */
/* arena_cache.c - recycled arenas of one worker. */
#include "session/arena_cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* One block holds the exchange, its head and what the filters add for an ordinary request. */
#define ARENA_BLOCK (8 * 1024)

struct arena *arena_cache_take(struct arena_cache *c)
{
	struct arena *a;

	c->used++;
	if (c->count > 0)
		return c->free[--c->count];
	a = mem_alloc(sizeof(*a));
	arena_init(a, ARENA_BLOCK);
	return a;
}

void arena_cache_give(struct arena_cache *c, struct arena *a)
{
	if (!a)
		return;
	CHECK(c->used > 0);
	c->used--;
	if (c->count == ARENA_CACHE_MAX) {
		arena_fini(a);
		free(a);
		return;
	}
	arena_reset(a);
	c->free[c->count++] = a;
}

void arena_cache_fini(struct arena_cache *c)
{
	CHECK(c->used == 0);
	while (c->count > 0) {
		struct arena *a = c->free[--c->count];

		arena_fini(a);
		free(a);
	}
}
