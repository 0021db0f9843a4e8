/* SPDX-License-Identifier: GPL-2.0-only */
/* arena.c - bump allocator. */
#include "base/arena.h"

#include <stdarg.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/poison.h"

#define ARENA_BLOCK_MIN 256

struct arena_block {
	struct arena_block *next;
	size_t size; /* bytes at data */
	_Alignas(ARENA_ALIGN) char data[];
};

struct arena_cleanup {
	struct arena_cleanup *next;
	void (*fn)(void *ptr);
	void *ptr;
};

void arena_init(struct arena *a, size_t block_size)
{
	CHECK(block_size <= SIZE_MAX / 2);
	block_size = MAX(block_size, ARENA_BLOCK_MIN);
	*a = (struct arena){ .block_size = block_size & ~(size_t)(ARENA_ALIGN - 1) };
}

static struct arena_block *block_new(size_t size)
{
	struct arena_block *block = mem_alloc(sizeof(*block) + size);

	block->size = size;
	poison(block->data, size);
	return block;
}

static void block_free(struct arena_block *block)
{
	unpoison(block->data, block->size);
	free(block);
}

static void cleanups_run(struct arena *a)
{
	struct arena_cleanup *c;

	/* Popped first: a clean-up may allocate here and may register another one. */
	while ((c = a->cleanups)) {
		a->cleanups = c->next;
		c->fn(c->ptr);
	}
}

void arena_fini(struct arena *a)
{
	struct arena_block *block;

	if (!a)
		return;
	cleanups_run(a);
	while ((block = a->blocks)) {
		a->blocks = block->next;
		block_free(block);
	}
	*a = (struct arena){ .block_size = a->block_size };
}

void arena_reset(struct arena *a)
{
	struct arena_block *block, *kept = NULL;

	cleanups_run(a);
	while ((block = a->blocks)) {
		a->blocks = block->next;
		/* One ordinary block stays; an oversized one would pin its memory for ever. */
		if (!kept && block->size == a->block_size)
			kept = block;
		else
			block_free(block);
	}
	a->bytes = 0;
	a->next = a->end = NULL;
	if (!kept)
		return;
	kept->next = NULL;
	poison(kept->data, kept->size);
	a->blocks = kept;
	a->next = kept->data;
	a->end = kept->data + kept->size;
}

void *arena_alloc_more(struct arena *a, size_t size)
{
	struct arena_block *block;

	CHECK(a->block_size && "arena_init() was not called");
	if (size > a->block_size / 2 && a->blocks) {
		/* A block of its own, behind the newest one, whose free part stays in use. */
		block = block_new(size);
		block->next = a->blocks->next;
		a->blocks->next = block;
		return block->data;
	}
	block = block_new(MAX(size, a->block_size));
	block->next = a->blocks;
	a->blocks = block;
	a->next = block->data + size;
	a->end = block->data + block->size;
	return block->data;
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;

	CHECK(!__builtin_mul_overflow(n, size, &bytes));
	return arena_zalloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy;

	CHECK(len < SIZE_MAX / 2);
	copy = arena_alloc(a, len + 1);
	if (len)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

struct span arena_span(struct arena *a, struct span s)
{
	return span_of(arena_strndup(a, s.ptr, s.len), s.len);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int len;

	CHECK(fmt);
	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	CHECK(len >= 0);
	text = arena_alloc(a, (size_t)len + 1);
	CHECK(vsnprintf(text, (size_t)len + 1, fmt, again) == len);
	va_end(again);
	return text;
}

void arena_on_reset(struct arena *a, void (*fn)(void *ptr), void *ptr)
{
	struct arena_cleanup *c = arena_alloc(a, sizeof(*c));

	*c = (struct arena_cleanup){ .next = a->cleanups, .fn = fn, .ptr = ptr };
	a->cleanups = c;
}
