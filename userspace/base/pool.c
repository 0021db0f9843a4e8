/* SPDX-License-Identifier: GPL-2.0-only */
/* pool.c - equal-sized objects with a maximum, carved out of slabs. */
#include "base/pool.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/poison.h"

#define POOL_ALIGN	16
#define POOL_SLAB_BYTES 65536
#define POOL_SLAB_MIN	8 /* objects, for large ones */

struct pool_slab {
	struct pool_slab *next;
	size_t bytes; /* at objects */
	_Alignas(POOL_ALIGN) char objects[];
};

/* Lies in the first bytes of a free object. */
struct pool_free {
	struct pool_free *next;
};

void pool_init(struct pool *p, const char *name, size_t object_size, size_t max)
{
	CHECK(object_size > 0 && object_size <= SIZE_MAX / 1024);
	/* At least the link of the free list, and every object aligned. */
	object_size = (object_size + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
	*p = (struct pool){ .name = name, .object_size = object_size, .max = max };
}

void pool_fini(struct pool *p)
{
	struct pool_slab *slab;

	if (!p)
		return;
	CHECK(p->used == 0);
	while ((slab = p->slabs)) {
		p->slabs = slab->next;
		unpoison(slab->objects, slab->bytes);
		free(slab);
	}
	p->free_list = NULL;
	p->allocated = 0;
}

static void free_list_push(struct pool *p, void *object)
{
	struct pool_free *f = object;

	f->next = p->free_list;
	p->free_list = f;
	poison(object, p->object_size);
}

static void slab_add(struct pool *p)
{
	size_t count = MAX(POOL_SLAB_BYTES / p->object_size, POOL_SLAB_MIN);
	struct pool_slab *slab;

	count = MIN(count, p->max - p->allocated);
	slab = mem_alloc(sizeof(*slab) + count * p->object_size);
	slab->bytes = count * p->object_size;
	slab->next = p->slabs;
	p->slabs = slab;
	p->allocated += count;
	/* Backwards, so that the first object is handed out first. */
	while (count--)
		free_list_push(p, slab->objects + count * p->object_size);
}

void *pool_take(struct pool *p)
{
	struct pool_free *object;

	if (unlikely(!p->free_list)) {
		if (p->allocated >= p->max) {
			p->refused++;
			return NULL;
		}
		slab_add(p);
	}
	object = p->free_list;
	unpoison(object, p->object_size);
	p->free_list = object->next;
	p->used++;
	return memset(object, 0, p->object_size);
}

void pool_give(struct pool *p, void *object)
{
	if (!object)
		return;
	CHECK(p->used > 0);
	p->used--;
	free_list_push(p, object);
}
