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
#include "base/hmap.h"
#include "base/mem.h"
#include "sentinel/abi.h"

struct bans {
	pthread_rwlock_t lock; /* guards table; control writes, workers read */
	struct hmap table;     /* key: ban.ip, value: struct ban, owned */
	_Atomic size_t count;  /* 0: readers need no lock */

	int map_fd; /* borrowed, -1: none; control only */
};

static const uint8_t v4_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* As guard_block() in the kernel: the low half of an IPv6 address is the client's to choose. */
static void ban_key(uint8_t out_ip[16], const uint8_t ip[16])
{
	memcpy(out_ip, ip, 16);
	if (memcmp(ip, v4_prefix, sizeof(v4_prefix)) != 0)
		memset(out_ip + 8, 0, 8);
}

static struct span key_span(const uint8_t ip[16])
{
	return span_of((const char *)ip, 16);
}

struct bans *bans_new(void)
{
	struct bans *b = mem_zalloc(sizeof(*b));

	CHECK(pthread_rwlock_init(&b->lock, NULL) == 0);
	b->map_fd = -1;
	return b;
}

void bans_free(struct bans *b)
{
	struct span key;
	size_t pos = 0;
	void *ban;

	if (!b)
		return;
	while (hmap_next(&b->table, &pos, &key, &ban))
		free(ban);
	hmap_fini(&b->table);
	pthread_rwlock_destroy(&b->lock);
	free(b);
}

static int map_set(struct bans *b, const struct ban *ban)
{
	const struct sn_block value = {
		.since_ns = ban->since_ns,
		.until_ns = ban->until_ns,
		.why = ban->why,
		.strikes = ban->strikes,
	};

	if (b->map_fd < 0)
		return 0;
	return bpf_map_update_elem(b->map_fd, ban->ip, &value, BPF_ANY);
}

static int map_delete(struct bans *b, const uint8_t ip[16])
{
	int err;

	if (b->map_fd < 0)
		return 0;
	err = bpf_map_delete_elem(b->map_fd, ip);
	return err == -ENOENT ? 0 : err;
}

/* Takes ownership of ban.  What was there is freed. */
static void table_give(struct bans *b, struct ban *ban)
{
	struct ban *old;

	pthread_rwlock_wrlock(&b->lock);
	/* The key lives in the value, so the old one must be out before it is freed. */
	old = hmap_remove(&b->table, key_span(ban->ip));
	(void)hmap_set(&b->table, key_span(ban->ip), ban);
	atomic_store(&b->count, b->table.count);
	pthread_rwlock_unlock(&b->lock);
	free(old);
}

static bool table_remove(struct bans *b, const uint8_t key[16])
{
	struct ban *old;

	pthread_rwlock_wrlock(&b->lock);
	old = hmap_remove(&b->table, key_span(key));
	atomic_store(&b->count, b->table.count);
	pthread_rwlock_unlock(&b->lock);
	free(old);
	return old != NULL;
}

int bans_add(struct bans *b, const uint8_t ip[16], uint64_t now_ns, uint64_t until_ns, uint16_t why)
{
	const struct ban *old;
	struct ban *ban;
	uint8_t key[16];

	if (until_ns <= now_ns)
		return -EINVAL;
	ban_key(key, ip);
	old = hmap_get(&b->table, key_span(key));
	if (!old && b->table.count >= SN_BLOCK_MAX)
		return -ENOSPC;
	ban = mem_zalloc(sizeof(*ban));
	memcpy(ban->ip, key, sizeof(key));
	ban->since_ns = old ? old->since_ns : now_ns;
	ban->until_ns = until_ns;
	ban->why = why;
	ban->strikes = old ? (uint16_t)MIN(old->strikes + 1, UINT16_MAX) : 1;
	table_give(b, ban);
	return map_set(b, ban);
}

int bans_remove(struct bans *b, const uint8_t ip[16])
{
	uint8_t key[16];

	ban_key(key, ip);
	if (!table_remove(b, key))
		return -ENOENT;
	return map_delete(b, key);
}

size_t bans_expire(struct bans *b, uint64_t now_ns)
{
	size_t i, count, gone = 0;
	struct ban *all = bans_list(b, &count);

	for (i = 0; i < count; i++) {
		if (all[i].until_ns > now_ns)
			continue;
		(void)table_remove(b, all[i].ip);
		/* One that stays in the map does nothing any more: its time is over there too. */
		(void)map_delete(b, all[i].ip);
		gone++;
	}
	free(all);
	return gone;
}

struct ban *bans_list(struct bans *b, size_t *out_count)
{
	struct ban *all = NULL;
	size_t pos = 0, count = 0;
	struct span key;
	void *ban;

	pthread_rwlock_rdlock(&b->lock);
	if (b->table.count)
		all = mem_array(b->table.count, sizeof(*all));
	while (all && hmap_next(&b->table, &pos, &key, &ban))
		all[count++] = *(struct ban *)ban;
	pthread_rwlock_unlock(&b->lock);
	*out_count = count;
	return all;
}

size_t bans_count(struct bans *b)
{
	return atomic_load(&b->count);
}

uint64_t bans_until(struct bans *b, const uint8_t ip[16])
{
	const struct ban *ban;
	uint64_t until_ns;
	uint8_t key[16];

	if (atomic_load_explicit(&b->count, memory_order_relaxed) == 0)
		return 0;
	ban_key(key, ip);
	pthread_rwlock_rdlock(&b->lock);
	ban = hmap_get(&b->table, key_span(key));
	until_ns = ban ? ban->until_ns : 0;
	pthread_rwlock_unlock(&b->lock);
	return until_ns;
}

/* What an earlier run left in the map.  The table's own word is newer. */
static void adopt_map(struct bans *b)
{
	struct sn_block value;
	struct sn_addr key;
	struct ban *ban;
	void *previous = NULL;

	while (b->table.count < SN_BLOCK_MAX && bpf_map_get_next_key(b->map_fd, previous, &key) == 0) {
		previous = &key;
		if (hmap_get(&b->table, key_span((const uint8_t *)&key)) ||
		    bpf_map_lookup_elem(b->map_fd, &key, &value) < 0)
			continue;
		ban = mem_zalloc(sizeof(*ban));
		memcpy(ban->ip, &key, sizeof(ban->ip));
		ban->since_ns = value.since_ns;
		ban->until_ns = value.until_ns;
		ban->why = value.why;
		ban->strikes = value.strikes;
		table_give(b, ban);
	}
}

int bans_use_map(struct bans *b, int map_fd)
{
	size_t i, count;
	struct ban *all;
	int err = 0;

	b->map_fd = map_fd;
	if (map_fd < 0)
		return 0;
	adopt_map(b);
	all = bans_list(b, &count);
	for (i = 0; i < count; i++) {
		int one = map_set(b, &all[i]);

		err = err ? err : one;
	}
	free(all);
	return err;
}

const char *bans_why_name(uint16_t why)
{
	return why == SN_BAN_MANUAL ? "manual" : "unknown";
}
