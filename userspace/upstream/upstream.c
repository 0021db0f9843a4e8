/* SPDX-License-Identifier: GPL-2.0-only */
/* upstream.c - a worker's side of a group of endpoints: which may be picked now, and the pick. */
#include "upstream/upstream.h"

#include "base/check.h"
#include "upstream/bitmap.h"

void upstream_worker_init(struct upstream_worker *uw, const struct upstream *u, struct arena *a)
{
	unsigned words = MAX(bitmap_words(u->endpoint_count), 1);

	*uw = (struct upstream_worker){
		.upstream = u,
		.balancer_state = arena_zalloc(a, MAX(u->balancer->state_size(u->endpoint_count), 1)),
		.active = arena_array(a, MAX(u->endpoint_count, 1), sizeof(*uw->active)),
		.usable = arena_array(a, words, sizeof(*uw->usable)),
		.candidates = arena_array(a, words, sizeof(*uw->candidates)),
	};
	u->balancer->init(uw->balancer_state, u);
}

void upstream_end(struct upstream_worker *uw, unsigned index)
{
	CHECK(index < uw->upstream->endpoint_count && uw->active[index] > 0);
	uw->active[index]--;
}

/* Only after an endpoint changed: a pick looks at one word instead of at every endpoint. */
static void usable_refresh(struct upstream_worker *uw)
{
	const struct upstream *u = uw->upstream;
	uint64_t epoch = endpoint_epoch() + 1;

	if (likely(uw->epoch == epoch))
		return;
	uw->epoch = epoch;
	for (unsigned i = 0; i < u->endpoint_count; i++) {
		if (u->weights[i] && endpoint_is_usable(u->endpoints[i]))
			bitmap_set(uw->usable, i);
		else
			bitmap_clear(uw->usable, i);
	}
}

int upstream_pick(struct upstream_worker *uw, const struct balance_context *c, const uint64_t *tried)
{
	const struct upstream *u = uw->upstream;
	struct balance_context context = c ? *c : (struct balance_context){ 0 };
	const uint64_t *usable = uw->usable;
	unsigned index;

	usable_refresh(uw);
	if (!context.active)
		context.active = uw->active;
	if (tried) {
		for (unsigned w = 0; w < bitmap_words(u->endpoint_count); w++)
			uw->candidates[w] = uw->usable[w] & ~tried[w];
		if (!bitmap_is_empty(uw->candidates, u->endpoint_count))
			usable = uw->candidates;
	}
	if (bitmap_is_empty(usable, u->endpoint_count))
		return -1;
	index = u->balancer->pick(uw->balancer_state, u, &context, usable);
	CHECK(index < u->endpoint_count && bitmap_test(usable, index));
	return (int)index;
}
