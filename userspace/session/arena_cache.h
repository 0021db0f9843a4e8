/* SPDX-License-Identifier: GPL-2.0-only */
/* arena_cache.h - recycled arenas of one worker: an exchange takes one and gives it back. */
#ifndef SN_SESSION_ARENA_CACHE_H
#define SN_SESSION_ARENA_CACHE_H

#include "base/arena.h"

#define ARENA_CACHE_MAX 256 /* kept at most; others are freed */

struct arena_cache {
	struct arena *free[ARENA_CACHE_MAX];
	unsigned count;
	unsigned used; /* out now */
};

struct arena *arena_cache_take(struct arena_cache *c);
void arena_cache_give(struct arena_cache *c, struct arena *a); /* resets it; NULL ok */
void arena_cache_fini(struct arena_cache *c);

#endif
