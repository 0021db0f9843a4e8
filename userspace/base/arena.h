/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * arena.h - bump allocator: many small pieces that live and die together.
 * Nothing is freed one by one.  Pieces are aligned to 16.  Clean-ups run in reverse order at reset and fini.
 * Single thread at a time.
 */
#ifndef SN_BASE_ARENA_H
#define SN_BASE_ARENA_H

#include <stddef.h>

#include "base/check.h"
#include "base/poison.h"
#include "base/span.h"

struct arena_block;
struct arena_cleanup;

struct arena {
	struct arena_block *blocks; /* owned; newest first */
	struct arena_cleanup *cleanups;
	char *next, *end; /* free part of the newest block */
	size_t block_size;
	size_t bytes; /* handed out since the last reset */
};

/* block_size: size of the ordinary blocks (min 256).  Nothing is allocated before the first arena_alloc(). */
void arena_init(struct arena *a, size_t block_size);
void arena_fini(struct arena *a); /* NULL ok */
/* Run clean-ups, forget all pieces; the first block is kept for reuse, the others are freed. */
void arena_reset(struct arena *a);

#define ARENA_ALIGN 16

/* A piece that the newest block has no room for; rounded up to ARENA_ALIGN. */
void *arena_alloc_more(struct arena *a, size_t rounded);
/* Uninitialised, never NULL. */
static inline void *arena_alloc(struct arena *a, size_t size)
{
	size_t rounded;
	char *p = a->next;

	CHECK(size <= SIZE_MAX / 2);
	rounded = (MAX(size, (size_t)1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	a->bytes += rounded;
	if (likely(rounded <= (size_t)(a->end - p)))
		a->next = p + rounded;
	else
		p = arena_alloc_more(a, rounded);
	unpoison(p, size);
	return p;
}

void *arena_zalloc(struct arena *a, size_t size); /* zeroed */
void *arena_array(struct arena *a, size_t n, size_t size); /* zeroed, overflow aborts */
char *arena_strndup(struct arena *a, const char *s, size_t len); /* NUL-terminated */
char *arena_strdup(struct arena *a, const char *s);
struct span arena_span(struct arena *a, struct span s); /* a copy, also NUL-terminated */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Call fn(ptr) when the arena is reset or finished. */
void arena_on_reset(struct arena *a, void (*fn)(void *ptr), void *ptr);

#endif
