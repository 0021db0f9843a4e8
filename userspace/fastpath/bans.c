/* SPDX-License-Identifier: GPL-2.0-only */
/* bans.c - the sources that are banned for a time, mirrored into the kernel's block map. */
#include "fastpath/bans.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/check.h"
#include "base/heap.h"
#include "base/hmap.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "sentinel/abi.h"

struct ban_row {
	struct ban ban;
	struct heap_node node; /* by the end of the ban */
};

struct bans {
	pthread_rwlock_t lock; /* guards table; control writes, workers read */
	struct hmap table;     /* key: ban.ip, value: struct ban_row, owned */
	_Atomic size_t count;  /* 0: readers need no lock */

	/* Control only. */
	struct bans_kernel kernel;
	struct heap manual, automatic; /* soonest end first; nodes owned */
	size_t room;		       /* of each */
	uint64_t remember_ns;
	uint64_t used[SN_BLOCK_MAX / 64]; /* slots, one bit each */
	uint32_t slot_next;		  /* where a free one is looked for */
};

/* As guard_block() in the kernel. */
static void ban_key(uint8_t out_ip[16], const uint8_t ip[16])
{
	memcpy(out_ip, ip, 16);
	ip16_to_client(out_ip);
}

static struct span key_span(const uint8_t ip[16])
{
	return span_of((const char *)ip, 16);
}

static bool is_manual(const struct ban *ban)
{
	return (ban->why & ~SN_BAN_NAMED) == SN_BAN_MANUAL;
}

static struct heap *heap_of(struct bans *b, const struct ban *ban)
{
	return is_manual(ban) ? &b->manual : &b->automatic;
}

static struct ban_row *row_first(const struct heap *h)
{
	struct heap_node *n = heap_first(h);

	return n ? container_of(n, struct ban_row, node) : NULL;
}

static void heap_put(struct bans *b, struct ban_row *row)
{
	if (b->room < b->table.count) {
		b->room = MAX(2 * b->room, (size_t)16);
		b->manual.nodes = mem_resize(b->manual.nodes, b->room, sizeof(*b->manual.nodes));
		b->automatic.nodes = mem_resize(b->automatic.nodes, b->room, sizeof(*b->automatic.nodes));
	}
	heap_add(heap_of(b, &row->ban), &row->node, row->ban.until_ns);
}

struct bans *bans_new(void)
{
	struct bans *b = mem_zalloc(sizeof(*b));

	CHECK(pthread_rwlock_init(&b->lock, NULL) == 0);
	b->kernel.map_fd = -1;
	return b;
}

void bans_free(struct bans *b)
{
	struct span key;
	size_t pos = 0;
	void *row;

	if (!b)
		return;
	while (hmap_next(&b->table, &pos, &key, &row))
		free(row);
	hmap_fini(&b->table);
	free(b->manual.nodes);
	free(b->automatic.nodes);
	pthread_rwlock_destroy(&b->lock);
	free(b);
}

void bans_remember(struct bans *b, uint64_t ns)
{
	b->remember_ns = ns;
}

/* ---- slots of the hits ---- */

static bool slot_take(struct bans *b, uint32_t slot)
{
	uint64_t bit = 1ull << slot % 64;

	if (slot >= SN_BLOCK_MAX || b->used[slot / 64] & bit)
		return false;
	b->used[slot / 64] |= bit;
	return true;
}

static uint32_t slot_find(struct bans *b)
{
	for (uint32_t i = 0; i < SN_BLOCK_MAX; i++) {
		uint32_t slot = (b->slot_next + i) % SN_BLOCK_MAX;

		if (!slot_take(b, slot))
			continue;
		b->slot_next = slot + 1;
		if (b->kernel.hits)
			__atomic_store_n(&b->kernel.hits[slot].packets, 0, __ATOMIC_RELAXED);
		return slot;
	}
	CHECK(false); /* there are as many slots as rows */
	return 0;
}

static void slot_give(struct bans *b, uint32_t slot)
{
	b->used[slot / 64] &= ~(1ull << slot % 64);
}

/* ---- the kernel's map ---- */

static void page_set(struct bans *b)
{
	if (b->kernel.page)
		__atomic_store_n(&b->kernel.page->has_bans, b->table.count > 0, __ATOMIC_SEQ_CST);
}

static struct sn_block block_of(const struct ban *ban)
{
	return (struct sn_block){
		.since_ns = ban->since_ns,
		.until_ns = ban->until_ns,
		.why = ban->why,
		.strikes = ban->strikes,
		.slot = ban->slot,
	};
}

static int map_set(struct bans *b, const struct ban *ban)
{
	const struct sn_block value = block_of(ban);

	if (b->kernel.map_fd < 0)
		return 0;
	return bpf_map_update_elem(b->kernel.map_fd, ban->ip, &value, BPF_ANY);
}

static int map_delete(struct bans *b, const uint8_t ip[16])
{
	int err;

	if (b->kernel.map_fd < 0)
		return 0;
	err = bpf_map_delete_elem(b->kernel.map_fd, ip);
	return err == -ENOENT ? 0 : err;
}

/* ---- the table ---- */

static struct ban_row *find(struct bans *b, const uint8_t key[16])
{
	return hmap_get(&b->table, key_span(key));
}

/* A new row, or the row's new contents (its slot stays). */
static struct ban_row *table_put(struct bans *b, const struct ban *ban)
{
	struct ban_row *row = find(b, ban->ip);
	uint32_t slot = row ? row->ban.slot : slot_find(b);

	pthread_rwlock_wrlock(&b->lock);
	if (row) {
		heap_remove(heap_of(b, &row->ban), &row->node);
	} else {
		row = mem_zalloc(sizeof(*row));
		memcpy(row->ban.ip, ban->ip, sizeof(row->ban.ip));
		(void)hmap_set(&b->table, key_span(row->ban.ip), row);
	}
	row->ban = *ban;
	row->ban.slot = slot;
	heap_put(b, row);
	atomic_store(&b->count, b->table.count);
	pthread_rwlock_unlock(&b->lock);
	page_set(b);
	return row;
}

/* From table and map.  0, or what the map said. */
static int row_remove(struct bans *b, struct ban_row *row)
{
	int err;

	pthread_rwlock_wrlock(&b->lock);
	heap_remove(heap_of(b, &row->ban), &row->node);
	(void)hmap_remove(&b->table, key_span(row->ban.ip));
	atomic_store(&b->count, b->table.count);
	pthread_rwlock_unlock(&b->lock);
	err = map_delete(b, row->ban.ip);
	slot_give(b, row->ban.slot);
	free(row);
	page_set(b);
	return err;
}

/* Room for one more row: the automatic ban that ends soonest may have to go. */
static int room_make(struct bans *b)
{
	struct ban_row *soonest = row_first(&b->automatic);

	if (b->table.count < SN_BLOCK_MAX)
		return 0;
	if (!soonest)
		return -ENOSPC;
	(void)row_remove(b, soonest);
	return 0;
}

int bans_add(struct bans *b, const uint8_t ip[16], uint64_t now_ns, uint64_t until_ns, uint16_t why)
{
	struct ban ban = { .since_ns = now_ns, .until_ns = until_ns, .why = why, .strikes = 1 };
	const struct ban_row *old;

	if (until_ns <= now_ns)
		return -EINVAL;
	ban_key(ban.ip, ip);
	old = find(b, ban.ip);
	if (old) {
		if (old->ban.until_ns > now_ns)
			ban.since_ns = old->ban.since_ns;
		ban.strikes = (uint16_t)MIN(old->ban.strikes + 1, UINT16_MAX);
	} else if (room_make(b) < 0) {
		return -ENOSPC;
	}
	return map_set(b, &table_put(b, &ban)->ban);
}

/* 60 s, 120 s, 240 s, … */
static uint64_t punishment_ns(const struct bans_policy *p, unsigned strikes)
{
	uint64_t ns = p->first_ns;

	while (--strikes > 0 && ns < p->max_ns)
		ns = ns > p->max_ns / 2 ? p->max_ns : ns * 2;
	return MIN(ns, p->max_ns);
}

int bans_punish(struct bans *b, const uint8_t ip[16], uint64_t now_ns, const struct bans_policy *p, uint16_t why)
{
	const struct ban_row *old;
	uint8_t key[16];
	unsigned strikes;

	ban_key(key, ip);
	old = find(b, key);
	if (old && old->ban.until_ns > now_ns)
		return -EALREADY;
	strikes = old && !is_manual(&old->ban) ? MIN(old->ban.strikes + 1U, (unsigned)UINT16_MAX - 1) : 1;
	if (old && is_manual(&old->ban))
		(void)row_remove(b, find(b, key)); /* it is over, and by hand: no strike */
	return bans_add(b, ip, now_ns, now_ns + punishment_ns(p, strikes), why);
}

int bans_remove(struct bans *b, const uint8_t ip[16], uint64_t now_ns)
{
	struct ban_row *row;
	bool was_banned;
	uint8_t key[16];
	int err;

	ban_key(key, ip);
	row = find(b, key);
	if (!row)
		return -ENOENT;
	was_banned = row->ban.until_ns > now_ns;
	err = row_remove(b, row);
	return was_banned ? err : -ENOENT;
}

size_t bans_expire(struct bans *b, uint64_t now_ns)
{
	struct ban_row *row;
	size_t gone = 0;

	/* One that stays in the map does nothing any more: its time is over there too. */
	while ((row = row_first(&b->manual)) && row->ban.until_ns <= now_ns) {
		(void)row_remove(b, row);
		gone++;
	}
	while ((row = row_first(&b->automatic)) && row->ban.until_ns <= now_ns &&
	       now_ns - row->ban.until_ns >= b->remember_ns) {
		(void)row_remove(b, row);
		gone++;
	}
	return gone;
}

struct ban *bans_list(struct bans *b, uint64_t now_ns, size_t *out_count)
{
	struct ban *all = NULL;
	size_t pos = 0, count = 0;
	struct span key;
	void *at;

	pthread_rwlock_rdlock(&b->lock);
	if (b->table.count)
		all = mem_array(b->table.count, sizeof(*all));
	while (all && hmap_next(&b->table, &pos, &key, &at)) {
		const struct ban_row *row = at;

		if (row->ban.until_ns <= now_ns)
			continue;
		all[count] = row->ban;
		if (b->kernel.hits)
			all[count].hits = __atomic_load_n(&b->kernel.hits[row->ban.slot].packets, __ATOMIC_RELAXED);
		count++;
	}
	pthread_rwlock_unlock(&b->lock);
	*out_count = count;
	if (count == 0) {
		free(all);
		all = NULL;
	}
	return all;
}

size_t bans_count(struct bans *b)
{
	return atomic_load(&b->count);
}

uint64_t bans_until(struct bans *b, const uint8_t ip[16])
{
	const struct ban_row *row;
	uint64_t until_ns;
	uint8_t key[16];

	if (atomic_load_explicit(&b->count, memory_order_relaxed) == 0)
		return 0;
	ban_key(key, ip);
	pthread_rwlock_rdlock(&b->lock);
	row = find(b, key);
	until_ns = row ? row->ban.until_ns : 0;
	pthread_rwlock_unlock(&b->lock);
	return until_ns;
}

/* What an earlier run left in the map, with its slot.  The table's own word is newer. */
static void adopt_row(struct bans *b, const struct sn_addr *key, const struct sn_block *value)
{
	struct ban_row *row = mem_zalloc(sizeof(*row));

	memcpy(row->ban.ip, key, sizeof(row->ban.ip));
	row->ban.since_ns = value->since_ns;
	row->ban.until_ns = value->until_ns;
	row->ban.why = value->why;
	row->ban.strikes = value->strikes;
	row->ban.slot = slot_take(b, value->slot) ? value->slot : slot_find(b);
	pthread_rwlock_wrlock(&b->lock);
	(void)hmap_set(&b->table, key_span(row->ban.ip), row);
	heap_put(b, row);
	atomic_store(&b->count, b->table.count);
	pthread_rwlock_unlock(&b->lock);
}

int bans_put(struct bans *b, const struct ban *ban)
{
	const struct sn_block value = block_of(ban);
	struct sn_addr key;

	ban_key((uint8_t *)&key, ban->ip);
	if (find(b, (const uint8_t *)&key))
		return 0;
	if (b->table.count >= SN_BLOCK_MAX)
		return -ENOSPC;
	adopt_row(b, &key, &value);
	page_set(b);
	return map_set(b, &find(b, (const uint8_t *)&key)->ban);
}

static void adopt_map(struct bans *b)
{
	struct sn_block value;
	struct sn_addr key;
	void *previous = NULL;

	while (b->table.count < SN_BLOCK_MAX && bpf_map_get_next_key(b->kernel.map_fd, previous, &key) == 0) {
		previous = &key;
		if (!find(b, (const uint8_t *)&key) && bpf_map_lookup_elem(b->kernel.map_fd, &key, &value) == 0)
			adopt_row(b, &key, &value);
	}
}

int bans_use_map(struct bans *b, const struct bans_kernel *k)
{
	struct span key;
	size_t pos = 0;
	void *row;
	int err = 0;

	b->kernel = k ? *k : (struct bans_kernel){ .map_fd = -1 };
	if (b->kernel.map_fd < 0)
		return 0;
	adopt_map(b);
	page_set(b);
	while (hmap_next(&b->table, &pos, &key, &row)) {
		int one = map_set(b, &((struct ban_row *)row)->ban);

		err = err ? err : one;
	}
	return err;
}

static const char *const why_names[] = {
	[SN_BAN_MANUAL] = "manual", [SN_BAN_RATE_LIMIT] = "rate-limit", [SN_BAN_GEO] = "geo",
	[SN_BAN_AGENT] = "agent",   [SN_BAN_OTHER] = "other",
};

const char *bans_why_name(uint16_t why)
{
	why &= (uint16_t)~SN_BAN_NAMED;
	return why < ARRAY_LEN(why_names) && why_names[why] ? why_names[why] : "unknown";
}

uint16_t bans_why_of(const char *reason)
{
	for (uint16_t i = SN_BAN_MANUAL + 1; i < ARRAY_LEN(why_names); i++)
		if (strcmp(reason, why_names[i]) == 0)
			return i;
	return SN_BAN_OTHER;
}
