/* SPDX-License-Identifier: GPL-2.0-only */
/* wheel.c - the hierarchical timer wheel. */
#include "loop/wheel.h"

#define FAR_SHIFT(level) (WHEEL_NEAR_BITS + (level) * WHEEL_FAR_BITS)
#define WHEEL_SPAN_MS	 (1ULL << FAR_SHIFT(WHEEL_FAR_LEVELS))

void wheel_init(struct wheel *w, uint64_t now_ms)
{
	*w = (struct wheel){ .tick = now_ms };
	list_init(&w->due);
	for (unsigned i = 0; i < WHEEL_NEAR_SLOTS; i++)
		list_init(&w->near[i]);
	for (unsigned level = 0; level < WHEEL_FAR_LEVELS; level++)
		for (unsigned i = 0; i < WHEEL_FAR_SLOTS; i++)
			list_init(&w->far[level][i]);
}

/* A deadline may be the tick itself: wheel_advance() places anew what it takes from a higher level, then collects. */
static void place(struct wheel *w, struct timer *t)
{
	uint64_t at = t->deadline_ms;
	uint64_t delay = at - w->tick;
	unsigned level, slot;

	if (delay < WHEEL_NEAR_SLOTS) {
		slot = at & (WHEEL_NEAR_SLOTS - 1);
		w->near_used[slot / 64] |= 1ULL << (slot % 64);
		list_append(&w->near[slot], &t->node);
		return;
	}
	if (delay >= WHEEL_SPAN_MS)
		at = w->tick + WHEEL_SPAN_MS - 1;
	for (level = 0; level < WHEEL_FAR_LEVELS - 1; level++)
		if (delay < 1ULL << FAR_SHIFT(level + 1))
			break;
	slot = (at >> FAR_SHIFT(level)) & (WHEEL_FAR_SLOTS - 1);
	w->far_used[level] |= 1ULL << slot;
	list_append(&w->far[level][slot], &t->node);
}

void wheel_add(struct wheel *w, struct timer *t)
{
	if (t->deadline_ms <= w->tick)
		list_append(&w->due, &t->node);
	else
		place(w, t);
}

/* Distance in 1..256 from `from` to the next slot in use, or 0. */
static unsigned near_distance(struct wheel *w, unsigned from)
{
	unsigned d = 1;

	while (d <= WHEEL_NEAR_SLOTS) {
		unsigned slot = (from + d) & (WHEEL_NEAR_SLOTS - 1);
		uint64_t rest = w->near_used[slot / 64] >> (slot % 64);

		if (rest == 0) {
			d += 64 - slot % 64;
			continue;
		}
		d += (unsigned)__builtin_ctzll(rest);
		slot = (from + d) & (WHEEL_NEAR_SLOTS - 1);
		if (d > WHEEL_NEAR_SLOTS)
			return 0;
		if (!list_is_empty(&w->near[slot]))
			return d;
		w->near_used[slot / 64] &= ~(1ULL << (slot % 64));
	}
	return 0;
}

/* The same for a higher level, in slots: 1..64, or 0. */
static unsigned far_distance(struct wheel *w, unsigned level, unsigned from)
{
	unsigned first = (from + 1) & (WHEEL_FAR_SLOTS - 1);

	while (w->far_used[level]) {
		uint64_t used = w->far_used[level];
		uint64_t turned = first ? used >> first | used << (64 - first) : used;
		unsigned d = (unsigned)__builtin_ctzll(turned);
		unsigned slot = (first + d) & (WHEEL_FAR_SLOTS - 1);

		if (!list_is_empty(&w->far[level][slot]))
			return d + 1;
		w->far_used[level] &= ~(1ULL << slot);
	}
	return 0;
}

uint64_t wheel_next(struct wheel *w)
{
	uint64_t next = WHEEL_NONE;
	unsigned d;

	if (!list_is_empty(&w->due))
		return w->tick;
	d = near_distance(w, w->tick & (WHEEL_NEAR_SLOTS - 1));
	if (d)
		next = w->tick + d;
	for (unsigned level = 0; level < WHEEL_FAR_LEVELS; level++) {
		uint64_t now = w->tick >> FAR_SHIFT(level);

		d = far_distance(w, level, now & (WHEEL_FAR_SLOTS - 1));
		if (d)
			next = MIN(next, (now + d) << FAR_SHIFT(level));
	}
	return next;
}

static void move_down(struct wheel *w, unsigned level)
{
	unsigned slot = (w->tick >> FAR_SHIFT(level)) & (WHEEL_FAR_SLOTS - 1);
	struct list taken, *n;

	list_init(&taken);
	list_splice(&taken, &w->far[level][slot]);
	w->far_used[level] &= ~(1ULL << slot);
	while ((n = list_pop(&taken)))
		place(w, list_entry(n, struct timer, node));
}

/* Everything between the old tick and the new one is empty: wheel_next() said so. */
static void step_to(struct wheel *w, uint64_t tick, struct list *out_expired)
{
	unsigned slot = tick & (WHEEL_NEAR_SLOTS - 1);

	w->tick = tick;
	/* From the top, so that what comes down two levels at once is not missed. */
	for (unsigned level = WHEEL_FAR_LEVELS; level-- > 0;)
		if ((tick & ((1ULL << FAR_SHIFT(level)) - 1)) == 0)
			move_down(w, level);
	list_splice(out_expired, &w->near[slot]);
	w->near_used[slot / 64] &= ~(1ULL << (slot % 64));
}

void wheel_advance(struct wheel *w, uint64_t now_ms, struct list *out_expired)
{
	list_splice(out_expired, &w->due);
	while (w->tick < now_ms) {
		uint64_t next = wheel_next(w);

		if (next > now_ms) {
			w->tick = now_ms;
			return;
		}
		step_to(w, next, out_expired);
	}
}
