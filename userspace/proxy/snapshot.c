/* SPDX-License-Identifier: GPL-2.0-only */
/* snapshot.c - references to versions of the configuration: counted by threads, pinned by exchanges. */
#include "proxy/snapshot.h"

#include "base/check.h"
#include "base/mem.h"

#define TAG_SNAPSHOT TAG('S', 'N', 'A', 'P')

struct snapshot *snapshot_new(void)
{
	struct snapshot *s = mem_zalloc(sizeof(*s));

	s->tag = TAG_SNAPSHOT;
	arena_init(&s->arena, 64 * 1024);
	atomic_init(&s->refs, 1);
	return s;
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	OBJ_CHECK(s, TAG_SNAPSHOT);
	CHECK(atomic_load_explicit(&s->refs, memory_order_relaxed) == 0);
	s->tag = 0;
	arena_fini(&s->arena);
	free(s);
}

struct snapshot *snapshot_get(struct snapshot *s)
{
	OBJ_CHECK(s, TAG_SNAPSHOT);
	CHECK(atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed) > 0);
	return s;
}

void snapshot_put(struct snapshot *s)
{
	uint32_t before;

	if (!s)
		return;
	OBJ_CHECK(s, TAG_SNAPSHOT);
	/* release: what this thread did with s happens before the free; acquire: in the thread that frees */
	before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
	CHECK(before > 0);
	if (before > 1)
		return;
	if (s->on_unused)
		s->on_unused(s);
	else
		snapshot_free(s);
}

/* ---- listeners by number ---- */

/* Numbers are handed out one by one and never again: their low bits spread well, but there is no bound to them. */
void snapshot_set_listeners(struct snapshot *s, const struct listener *listeners, unsigned count)
{
	uint32_t size = 2;

	OBJ_CHECK(s, TAG_SNAPSHOT);
	CHECK(!s->listener_table);
	while (size < 2 * count)
		size *= 2;
	s->listeners = listeners;
	s->listener_count = count;
	s->listener_table = arena_array(&s->arena, size, sizeof(*s->listener_table));
	s->listener_mask = size - 1;
	for (unsigned i = 0; i < count; i++) {
		uint32_t at = listeners[i].number & s->listener_mask;

		CHECK(!snapshot_listener(s, listeners[i].number));
		while (s->listener_table[at])
			at = (at + 1) & s->listener_mask;
		s->listener_table[at] = &listeners[i];
	}
}

const struct listener *snapshot_listener(const struct snapshot *s, uint32_t number)
{
	const struct listener *l;

	if (!s->listener_table)
		return NULL;
	for (uint32_t at = number;; at++) {
		l = s->listener_table[at & s->listener_mask];
		if (!l || l->number == number)
			return l;
	}
}

/* ---- pins ---- */

struct pin *pin_new(struct snapshot *s)
{
	struct pin *p = mem_zalloc(sizeof(*p));

	p->snapshot = snapshot_get(s);
	p->is_current = true;
	arena_init(&p->arena, 4096);
	p->upstreams = arena_array(&p->arena, s->upstream_count, sizeof(*p->upstreams));
	for (unsigned i = 0; i < s->upstream_count; i++)
		upstream_worker_init(&p->upstreams[i], &s->upstreams[i], &p->arena);
	p->filter_states = arena_array(&p->arena, s->filter_slot_count, sizeof(*p->filter_states));
	for (uint32_t i = 0; i < s->filter_slot_count; i++)
		if (s->filter_worker_sizes[i])
			p->filter_states[i] = arena_zalloc(&p->arena, s->filter_worker_sizes[i]);
	p->route_counters = arena_array(&p->arena, s->route_count, sizeof(*p->route_counters));
	return p;
}

static void pin_free(struct pin *p)
{
	struct snapshot *s = p->snapshot;

	arena_fini(&p->arena);
	free(p);
	snapshot_put(s);
}

void pin_retire(struct pin *p)
{
	CHECK(p->is_current);
	p->is_current = false;
	if (p->exchanges == 0)
		pin_free(p);
}

void pin_leave(struct pin *p)
{
	CHECK(p->exchanges > 0);
	if (--p->exchanges == 0 && !p->is_current)
		pin_free(p);
}
