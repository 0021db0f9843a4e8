/* SPDX-License-Identifier: GPL-2.0-only */
/* mem.c - allocation that aborts instead of returning NULL. */
#include "base/mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static void *checked(void *p)
{
	CHECK(p && "out of memory");
	return p;
}

static size_t product(size_t n, size_t size)
{
	size_t bytes;

	CHECK(!__builtin_mul_overflow(n, size, &bytes));
	return bytes;
}

/* malloc(0) may be NULL in the standard; ours never is. */
static size_t at_least_one(size_t size)
{
	return size ? size : 1;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(at_least_one(size)));
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, at_least_one(size)));
}

void *mem_zalloc_lines(size_t size)
{
	size_t lines = (at_least_one(size) + MEM_LINE - 1) / MEM_LINE;

	return memset(checked(aligned_alloc(MEM_LINE, lines * MEM_LINE)), 0, lines * MEM_LINE);
}

void *mem_array(size_t n, size_t size)
{
	return mem_zalloc(product(n, size));
}

void *mem_resize(void *p, size_t n, size_t size)
{
	return checked(realloc(p, at_least_one(product(n, size))));
}

char *mem_strndup(const char *s, size_t len)
{
	char *copy;

	CHECK(len < SIZE_MAX);
	copy = mem_alloc(len + 1);
	if (len)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

void mem_tune(void)
{
	/* Of each thread's heap; setting one of them also stops glibc from moving them by itself. */
	(void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}
