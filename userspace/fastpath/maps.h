/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * maps.h - the guard's maps as this process holds them, and the rows that shall be in them.
 *
 * A table that follows the plan is edited by comparison: `struct rows` is what shall be there, sorted by key;
 * maps_put() adds and changes, maps_prune() deletes the rest.  What is right already is not touched, so both can
 * be repeated after a failure.  Control thread.
 */
#ifndef SN_FASTPATH_MAPS_H
#define SN_FASTPATH_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sentinel/budget.h"

/* Every pinned map: identifier, name in the kernel and of the pin. */
#define FASTPATH_MAPS(X)            \
	X(PORTS, ports)             \
	X(PORT_HINTS, port_hints)   \
	X(VIPS, vips)               \
	X(HOST_ADDRS, host_addrs)   \
	X(ACL4, acl4)               \
	X(ACL6, acl6)               \
	X(BLOCK, block)             \
	X(BLOCK_HITS, block_hits)   \
	X(BUDGETS, budgets)         \
	X(RL_SKETCH, rl_sketch)     \
	X(RL_SRC, rl_src)           \
	X(GEO_CONFIG, geo_config)   \
	X(GEO4, geo4)               \
	X(GEO6, geo6)               \
	X(GEO_POLICIES, geo_policies) \
	X(GEO_CODES, geo_codes)     \
	X(GEO_COUNTS, geo_counts)   \
	X(CONFIG, config)           \
	X(HEARTBEAT, heartbeat)     \
	X(DROPS, drops)             \
	X(MONITORED, monitored)     \
	X(COUNTERS, counters)       \
	X(EVENT_BUDGET, event_budget) \
	X(DROP_EVENTS, drop_events)

enum fastpath_map {
#define X(NAME, name) MAP_##NAME,
	FASTPATH_MAPS(X)
#undef X
	MAP_COUNT
};

struct fastpath_maps {
	int fd[MAP_COUNT]; /* owned; all -1 while not open */
};

const char *maps_name(enum fastpath_map map);
void maps_init(struct fastpath_maps *m);
void maps_fini(struct fastpath_maps *m); /* closes what is open; again as after maps_init() */
bool maps_are_open(const struct fastpath_maps *m);

/* Keys and values of one map, back to back; keys are compared as bytes.  Zero-initialised: rows_init(). */
struct rows {
	size_t key_size;
	size_t value_size;

	uint8_t *items; /* owned */
	size_t count;
	size_t size; /* in items */
};

void rows_init(struct rows *r, size_t key_size, size_t value_size);
void rows_fini(struct rows *r); /* NULL ok */
void rows_add(struct rows *r, const void *key, const void *value);
/* Sort; of equal keys the one that was added first stays. */
void rows_sort(struct rows *r);
const void *rows_key(const struct rows *r, size_t index);
const void *rows_value(const struct rows *r, size_t index);
const void *rows_find(const struct rows *r, const void *key); /* value or NULL; after rows_sort() */
/* All that a hash or trie holds now, sorted.  0 or -errno. */
int rows_read(struct rows *r, int map_fd);

/* Does a value come in the first round?  (Allow before deny is added, deny before allow is taken out.) */
typedef bool (*rows_filter)(const void *value);

/* Set what map_fd lacks or has otherwise.  filter NULL: all rows.  0 or the first -errno. */
int maps_put(int map_fd, const struct rows *wanted, const struct rows *actual, rows_filter filter);
/* Delete what is in actual and not wanted.  The filter sees the value in the map. */
int maps_prune(int map_fd, const struct rows *wanted, const struct rows *actual, rows_filter filter);

/*
 * Bits of the ports map.  maps_ports_put() sets missing ones, maps_ports_prune() clears the others; one word is
 * replaced at a time, so no reader sees a port missing that stays.
 */
int maps_ports_put(const struct fastpath_maps *m, const uint64_t wanted[SN_PORT_WORDS]);
int maps_ports_prune(const struct fastpath_maps *m, const uint64_t wanted[SN_PORT_WORDS]);

int maps_config_get(const struct fastpath_maps *m, struct sn_config *out);
int maps_config_set(const struct fastpath_maps *m, const struct sn_config *c);
int maps_budgets_get(const struct fastpath_maps *m, struct sn_budgets *out);
/* *b takes the seed of the map, if it has one: the buckets stay. */
int maps_budgets_set(const struct fastpath_maps *m, struct sn_budgets *b);

#endif
