/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hmap.h - hash table from byte strings to pointers.  Keys are borrowed: they must outlive the entry.
 * Open addressing, keyed hash, grows by doubling.  Single writer; readers only when nobody writes.
 */
#ifndef SN_BASE_HMAP_H
#define SN_BASE_HMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

struct hmap_slot {
	struct span key;
	uint64_t hash;
	void *value; /* NULL: free (or deleted, if hash is 1) */
};

struct hmap {
	struct hmap_slot *slots; /* owned */
	size_t mask;		 /* slots - 1, or 0 before the first insert */
	size_t count;
	size_t deleted;
};

void hmap_init(struct hmap *m); /* or zero-initialise */
void hmap_fini(struct hmap *m); /* NULL ok; values are the caller's */
void *hmap_get(const struct hmap *m, struct span key); /* NULL: none */
/* Insert or replace (value must not be NULL).  Returns the value that was there, or NULL. */
void *hmap_set(struct hmap *m, struct span key, void *value);
void *hmap_remove(struct hmap *m, struct span key); /* the value, or NULL */
/* Iterate: start with *pos = 0; false at the end.  Not during changes. */
bool hmap_next(const struct hmap *m, size_t *pos, struct span *out_key, void **out_value);

#endif
