/* SPDX-License-Identifier: GPL-2.0-only */
/* hmap.c - open addressing with linear probing; deleted slots are reclaimed when the table is rebuilt. */
#include "base/hmap.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

#define HMAP_SLOTS_MIN 8
#define HASH_DELETED   1

void hmap_init(struct hmap *m)
{
	*m = (struct hmap){ 0 };
}

void hmap_fini(struct hmap *m)
{
	if (!m)
		return;
	free(m->slots);
	hmap_init(m);
}

static bool slot_is_deleted(const struct hmap_slot *s)
{
	return !s->value && s->hash == HASH_DELETED;
}

/* The slot that holds key, or NULL. */
static struct hmap_slot *slot_find(const struct hmap *m, struct span key, uint64_t hash)
{
	struct hmap_slot *s;

	if (!m->slots)
		return NULL;
	for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
		s = &m->slots[i];
		if (s->value) {
			if (s->hash == hash && span_eq(s->key, key))
				return s;
		} else if (!slot_is_deleted(s)) {
			return NULL;
		}
	}
}

/* The first slot on hash's way that holds nothing.  There is one: the table is never full. */
static struct hmap_slot *slot_vacant(const struct hmap *m, uint64_t hash)
{
	size_t i = hash & m->mask;

	while (m->slots[i].value)
		i = (i + 1) & m->mask;
	return &m->slots[i];
}

static void rebuild(struct hmap *m, size_t slots)
{
	struct hmap old = *m;

	m->slots = mem_array(slots, sizeof(*m->slots));
	m->mask = slots - 1;
	m->deleted = 0;
	for (size_t i = 0; old.slots && i <= old.mask; i++) {
		if (old.slots[i].value)
			*slot_vacant(m, old.slots[i].hash) = old.slots[i];
	}
	free(old.slots);
}

/* Keep a quarter of the slots free: probes stay short and always end. */
static void make_room(struct hmap *m)
{
	size_t slots = m->slots ? m->mask + 1 : 0;

	if (slots && (m->count + m->deleted + 1) * 4 <= slots * 3)
		return;
	/* With many deleted slots the same size is enough. */
	if (slots && (m->count + 1) * 2 <= slots)
		rebuild(m, slots);
	else
		rebuild(m, MAX(slots * 2, HMAP_SLOTS_MIN));
}

void *hmap_get(const struct hmap *m, struct span key)
{
	struct hmap_slot *s;

	if (m->count == 0)
		return NULL;
	s = slot_find(m, key, hash_span(key));
	return s ? s->value : NULL;
}

void *hmap_set(struct hmap *m, struct span key, void *value)
{
	uint64_t hash = hash_span(key);
	struct hmap_slot *s = slot_find(m, key, hash);
	void *before = NULL;

	CHECK(value);
	if (s) {
		before = s->value;
	} else {
		make_room(m);
		s = slot_vacant(m, hash);
		if (slot_is_deleted(s))
			m->deleted--;
		m->count++;
	}
	/* The new key as well: the old one may die with the value it belongs to. */
	*s = (struct hmap_slot){ .key = key, .hash = hash, .value = value };
	return before;
}

void *hmap_remove(struct hmap *m, struct span key)
{
	struct hmap_slot *s = slot_find(m, key, hash_span(key));
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	*s = (struct hmap_slot){ .hash = HASH_DELETED };
	m->count--;
	m->deleted++;
	return value;
}

bool hmap_next(const struct hmap *m, size_t *pos, struct span *out_key, void **out_value)
{
	while (m->slots && *pos <= m->mask) {
		const struct hmap_slot *s = &m->slots[(*pos)++];

		if (!s->value)
			continue;
		if (out_key)
			*out_key = s->key;
		if (out_value)
			*out_value = s->value;
		return true;
	}
	return false;
}
