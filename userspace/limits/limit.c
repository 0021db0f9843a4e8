/* SPDX-License-Identifier: GPL-2.0-only */
/* limit.c - the limits of the process by identity: what outlives a configuration.  Control. */
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "limits/limits_private.h"

#define TAG_LIMIT TAG('L', 'I', 'M', 'T')

void limits_init(struct limits *ls)
{
	*ls = (struct limits){ 0 };
}

static void limit_free(struct limit *l)
{
	l->tag = 0;
	free(l->identity);
	free(l->scope);
	free(l->name);
	free(atomic_load(&l->sketch));
	free(l);
}

void limits_fini(struct limits *ls)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&ls->by_identity, &pos, &key, &value))
		limit_free(value);
	hmap_fini(&ls->by_identity);
	limits_table_close(ls);
}

static struct limit *limit_new(struct limits *ls, const struct limit_terms *t)
{
	struct limit *l = mem_zalloc(sizeof(*l));

	l->tag = TAG_LIMIT;
	l->limits = ls;
	l->identity = mem_strdup(t->identity);
	l->scope = mem_strdup(t->scope);
	l->name = mem_strdup(t->name);
	l->gcra = t->gcra;
	rand_secure(l->key, sizeof(l->key));
	l->number = ++ls->number_last;
	hmap_set(&ls->by_identity, span_str(l->identity), l);
	return l;
}

struct limit *limit_get(struct limits *ls, const struct limit_terms *t)
{
	struct limit *l = hmap_get(&ls->by_identity, span_str(t->identity));

	if (!ls->shards)
		limits_table_open(ls);
	if (!l)
		l = limit_new(ls, t);
	CHECK(l->gcra.interval_ns == t->gcra.interval_ns && l->gcra.tolerance_ns == t->gcra.tolerance_ns);
	atomic_store_explicit(&l->keys_max, t->keys_max, memory_order_relaxed);
	l->refs++;
	return l;
}

struct limit *limit_find(struct limits *ls, struct span identity)
{
	return hmap_get(&ls->by_identity, identity);
}

void limit_put(struct limit *l)
{
	if (!l)
		return;
	OBJ_CHECK(l, TAG_LIMIT);
	CHECK(l->refs > 0);
	l->refs--;
}

void limits_each(struct limits *ls, void (*fn)(void *ctx, struct limit *l), void *ctx)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&ls->by_identity, &pos, &key, &value))
		fn(ctx, value);
}

/* Removing moves others about in the map: begin anew after each. */
static bool sweep_one(struct limits *ls)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&ls->by_identity, &pos, &key, &value)) {
		struct limit *l = value;

		if (l->refs > 0 || atomic_load_explicit(&l->keys, memory_order_relaxed) > 0)
			continue;
		if (ls->on_forget)
			ls->on_forget(ls->ctx, l);
		hmap_remove(&ls->by_identity, key);
		limit_free(l);
		return true;
	}
	return false;
}

void limits_sweep(struct limits *ls, uint64_t now_ns)
{
	limits_table_sweep(ls, now_ns);
	while (sweep_one(ls))
		;
}
