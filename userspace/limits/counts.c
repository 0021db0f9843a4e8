/* SPDX-License-Identifier: GPL-2.0-only */
/* counts.c - open addressing with a keyed hash; who leaves lets others move up. */
#include "limits/counts.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

void counts_init(struct counts *c)
{
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < COUNTS_SHARDS; i++)
		pthread_mutex_init(&c->shards[i].lock, NULL);
}

void counts_fini(struct counts *c)
{
	for (unsigned i = 0; i < COUNTS_SHARDS; i++) {
		pthread_mutex_destroy(&c->shards[i].lock);
		free(c->shards[i].slots);
	}
}

static struct counts_shard *shard_of(struct counts *c, uint64_t hash)
{
	return &c->shards[hash >> 60];
}

/* The key's slot, or the free one where it would be. */
static uint32_t slot_find(const struct counts_shard *s, const uint8_t key[16], uint64_t hash)
{
	uint32_t at = (uint32_t)hash & s->mask;

	while (s->slots[at].count && memcmp(s->slots[at].key, key, 16) != 0)
		at = (at + 1) & s->mask;
	return at;
}

static void shard_resize(struct counts_shard *s, uint32_t size)
{
	struct count *old = s->slots;
	uint32_t old_size = old ? s->mask + 1 : 0;

	s->slots = mem_array(size, sizeof(*s->slots));
	s->mask = size - 1;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i].count)
			s->slots[slot_find(s, old[i].key, hash_bytes(old[i].key, 16))] = old[i];
	free(old);
}

uint32_t counts_add(struct counts *c, const uint8_t key[16])
{
	uint64_t hash = hash_bytes(key, 16);
	struct counts_shard *s = shard_of(c, hash);
	struct count *slot;
	uint32_t count;

	pthread_mutex_lock(&s->lock);
	if (!s->slots)
		shard_resize(s, 16);
	else if (2 * s->used > s->mask)
		shard_resize(s, 2 * (s->mask + 1));
	slot = &s->slots[slot_find(s, key, hash)];
	if (!slot->count) {
		memcpy(slot->key, key, 16);
		s->used++;
	}
	count = ++slot->count;
	pthread_mutex_unlock(&s->lock);
	return count;
}

/* Those behind a slot that got free, and that would not be found any more, move up. */
static void slot_close(struct counts_shard *s, uint32_t hole)
{
	for (uint32_t at = (hole + 1) & s->mask; s->slots[at].count; at = (at + 1) & s->mask) {
		uint32_t home = (uint32_t)hash_bytes(s->slots[at].key, 16) & s->mask;

		if (((at - home) & s->mask) < ((at - hole) & s->mask))
			continue;
		s->slots[hole] = s->slots[at];
		hole = at;
	}
	s->slots[hole].count = 0;
}

void counts_sub(struct counts *c, const uint8_t key[16])
{
	uint64_t hash = hash_bytes(key, 16);
	struct counts_shard *s = shard_of(c, hash);
	uint32_t at;

	pthread_mutex_lock(&s->lock);
	CHECK(s->slots);
	at = slot_find(s, key, hash);
	CHECK(s->slots[at].count > 0);
	if (--s->slots[at].count == 0) {
		slot_close(s, at);
		s->used--;
	}
	if (s->mask > 15 && 8 * s->used < s->mask)
		shard_resize(s, (s->mask + 1) / 2);
	pthread_mutex_unlock(&s->lock);
}

uint32_t counts_of(struct counts *c, const uint8_t key[16])
{
	uint64_t hash = hash_bytes(key, 16);
	struct counts_shard *s = shard_of(c, hash);
	uint32_t count;

	pthread_mutex_lock(&s->lock);
	count = s->slots ? s->slots[slot_find(s, key, hash)].count : 0;
	pthread_mutex_unlock(&s->lock);
	return count;
}
