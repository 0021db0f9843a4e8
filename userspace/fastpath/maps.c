/* SPDX-License-Identifier: GPL-2.0-only */
/* maps.c - the guard's maps as this process holds them, and the rows that shall be in them. */
#include "fastpath/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/check.h"
#include "base/mem.h"

#define KEY_MAX 32

static const char *const names[MAP_COUNT] = {
#define X(NAME, name) [MAP_##NAME] = #name,
	FASTPATH_MAPS(X)
#undef X
};

const char *maps_name(enum fastpath_map map)
{
	CHECK(map < MAP_COUNT);
	return names[map];
}

void maps_init(struct fastpath_maps *m)
{
	size_t i;

	for (i = 0; i < MAP_COUNT; i++)
		m->fd[i] = -1;
}

void maps_fini(struct fastpath_maps *m)
{
	size_t i;

	for (i = 0; i < MAP_COUNT; i++)
		if (m->fd[i] >= 0)
			(void)close(m->fd[i]);
	maps_init(m);
}

bool maps_are_open(const struct fastpath_maps *m)
{
	return m->fd[0] >= 0;
}

void rows_init(struct rows *r, size_t key_size, size_t value_size)
{
	CHECK(key_size <= KEY_MAX);
	*r = (struct rows){ .key_size = key_size, .value_size = value_size };
}

void rows_fini(struct rows *r)
{
	if (!r)
		return;
	free(r->items);
	r->items = NULL;
	r->count = r->size = 0;
}

static size_t row_size(const struct rows *r)
{
	return r->key_size + r->value_size;
}

const void *rows_key(const struct rows *r, size_t index)
{
	CHECK(index < r->count);
	return r->items + index * row_size(r);
}

const void *rows_value(const struct rows *r, size_t index)
{
	return (const uint8_t *)rows_key(r, index) + r->key_size;
}

void rows_add(struct rows *r, const void *key, const void *value)
{
	uint8_t *item;

	if (r->count == r->size) {
		r->size = r->size ? 2 * r->size : 16;
		r->items = mem_resize(r->items, r->size, row_size(r));
	}
	item = r->items + r->count++ * row_size(r);
	memcpy(item, key, r->key_size);
	memcpy(item + r->key_size, value, r->value_size);
}

/* qsort_r() promises no stability, so indices are sorted: equal keys keep the order of their adding. */
struct sort_context {
	size_t key_size;
	const uint8_t *items;
	size_t row_size;
};

static int index_compare(const void *left, const void *right, void *context)
{
	const struct sort_context *c = context;
	size_t a = *(const size_t *)left, b = *(const size_t *)right;
	int order = memcmp(c->items + a * c->row_size, c->items + b * c->row_size, c->key_size);

	return order ? order : a < b ? -1 : a > b;
}

void rows_sort(struct rows *r)
{
	struct sort_context c = { r->key_size, r->items, row_size(r) };
	size_t *order = mem_array(r->count + 1, sizeof(*order));
	struct rows sorted;
	size_t i;

	for (i = 0; i < r->count; i++)
		order[i] = i;
	qsort_r(order, r->count, sizeof(*order), index_compare, &c);
	rows_init(&sorted, r->key_size, r->value_size);
	for (i = 0; i < r->count; i++) {
		const uint8_t *item = r->items + order[i] * c.row_size;

		if (sorted.count == 0 ||
		    memcmp(rows_key(&sorted, sorted.count - 1), item, r->key_size) != 0)
			rows_add(&sorted, item, item + r->key_size);
	}
	free(order);
	rows_fini(r);
	*r = sorted;
}

const void *rows_find(const struct rows *r, const void *key)
{
	size_t low = 0, high = r->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = memcmp(key, rows_key(r, middle), r->key_size);

		if (order == 0)
			return rows_value(r, middle);
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

int rows_read(struct rows *r, int map_fd)
{
	uint8_t key[KEY_MAX], value[64];
	void *previous = NULL;
	int err;

	CHECK(r->value_size <= sizeof(value));
	r->count = 0;
	while ((err = bpf_map_get_next_key(map_fd, previous, key)) == 0) {
		previous = key;
		err = bpf_map_lookup_elem(map_fd, key, value);
		if (err)
			return err;
		rows_add(r, key, value);
	}
	if (err != -ENOENT)
		return err;
	rows_sort(r);
	return 0;
}

int maps_put(int map_fd, const struct rows *wanted, const struct rows *actual, rows_filter filter)
{
	size_t i;

	for (i = 0; i < wanted->count; i++) {
		const void *value = rows_value(wanted, i);
		const void *present = rows_find(actual, rows_key(wanted, i));
		int err;

		if ((filter && !filter(value)) ||
		    (present && memcmp(present, value, wanted->value_size) == 0))
			continue;
		err = bpf_map_update_elem(map_fd, rows_key(wanted, i), value, BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

int maps_prune(int map_fd, const struct rows *wanted, const struct rows *actual, rows_filter filter)
{
	size_t i;

	for (i = 0; i < actual->count; i++) {
		int err;

		if ((filter && !filter(rows_value(actual, i))) || rows_find(wanted, rows_key(actual, i)))
			continue;
		err = bpf_map_delete_elem(map_fd, rows_key(actual, i));
		if (err && err != -ENOENT)
			return err;
	}
	return 0;
}

/* Set the bits of `add`, clear those that are not in `keep`. */
static int ports_change(const struct fastpath_maps *m, const uint64_t *add, const uint64_t *keep)
{
	uint32_t i;

	for (i = 0; i < SN_PORT_WORDS; i++) {
		uint64_t now, next;
		int err = bpf_map_lookup_elem(m->fd[MAP_PORTS], &i, &now);

		if (err)
			return err;
		next = (add ? now | add[i] : now) & (keep ? keep[i] : ~0ull);
		if (next == now)
			continue;
		err = bpf_map_update_elem(m->fd[MAP_PORTS], &i, &next, BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}

int maps_ports_put(const struct fastpath_maps *m, const uint64_t wanted[SN_PORT_WORDS])
{
	return ports_change(m, wanted, NULL);
}

int maps_ports_prune(const struct fastpath_maps *m, const uint64_t wanted[SN_PORT_WORDS])
{
	return ports_change(m, NULL, wanted);
}

int maps_config_get(const struct fastpath_maps *m, struct sn_config *out)
{
	const uint32_t zero = 0;

	return bpf_map_lookup_elem(m->fd[MAP_CONFIG], &zero, out);
}

int maps_config_set(const struct fastpath_maps *m, const struct sn_config *c)
{
	const uint32_t zero = 0;

	return bpf_map_update_elem(m->fd[MAP_CONFIG], &zero, c, BPF_ANY);
}

int maps_budgets_get(const struct fastpath_maps *m, struct sn_budgets *out)
{
	const uint32_t zero = 0;

	return bpf_map_lookup_elem(m->fd[MAP_BUDGETS], &zero, out);
}

int maps_budgets_set(const struct fastpath_maps *m, struct sn_budgets *b)
{
	const uint32_t zero = 0;
	struct sn_budgets present;
	int err = maps_budgets_get(m, &present);

	if (err)
		return err;
	if (present.seed[0] || present.seed[1])
		memcpy(b->seed, present.seed, sizeof(b->seed));
	if (memcmp(&present, b, sizeof(present)) == 0)
		return 0;
	return bpf_map_update_elem(m->fd[MAP_BUDGETS], &zero, b, BPF_ANY);
}
