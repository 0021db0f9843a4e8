/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - equal-sized objects with a maximum.  LIFO reuse (cache-warm).  Single thread.
 * Reaching the maximum is an ordinary event: pool_take() returns NULL and counts it.
 */
#ifndef SN_BASE_POOL_H
#define SN_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool {
	const char *name; /* the named limit, for messages and metrics; borrowed */
	size_t object_size;
	size_t max; /* objects at most */

	void *free_list;
	void *slabs; /* owned */

	size_t used;	  /* handed out now */
	size_t allocated; /* used + free */
	uint64_t refused; /* pool_take() that returned NULL */
};

void pool_init(struct pool *p, const char *name, size_t object_size, size_t max);
void pool_fini(struct pool *p); /* NULL ok; CHECKs used == 0 */
void *pool_take(struct pool *p); /* zeroed object or NULL at the maximum */
void pool_give(struct pool *p, void *object); /* NULL ok */

#endif
