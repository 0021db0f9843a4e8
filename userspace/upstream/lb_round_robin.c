/* SPDX-License-Identifier: GPL-2.0-only */
/* lb_round_robin.c - in turn; with weights as smooth as possible (the algorithm of nginx). */
#include "base/rand.h"
#include "upstream/bitmap.h"
#include "upstream/upstream.h"

struct round_robin {
	unsigned next; /* with equal weights: where the search starts */
	bool has_weights;
	int64_t credit[]; /* with weights: what each endpoint is owed; their sum is 0 */
};

static size_t round_robin_state_size(unsigned endpoint_count)
{
	return sizeof(struct round_robin) + endpoint_count * sizeof(int64_t);
}

/* Everybody gets its weight; the one who is owed most is picked and pays for all.  usable NULL: all. */
static unsigned round_robin_turn(struct round_robin *rr, const struct upstream *u, const uint64_t *usable)
{
	int64_t total = 0;
	unsigned best = BITMAP_NONE;

	for (unsigned i = 0; i < u->endpoint_count; i++) {
		if (!u->weights[i] || (usable && !bitmap_test(usable, i)))
			continue;
		rr->credit[i] += u->weights[i];
		total += u->weights[i];
		if (best == BITMAP_NONE || rr->credit[i] > rr->credit[best])
			best = i;
	}
	if (best != BITMAP_NONE)
		rr->credit[best] -= total;
	return best;
}

static unsigned round_robin_pick(void *state, const struct upstream *u, const struct balance_context *c,
				 const uint64_t *usable)
{
	struct round_robin *rr = state;
	unsigned index;

	(void)c;
	if (rr->has_weights)
		return round_robin_turn(rr, u, usable);
	index = bitmap_next_wrap(usable, u->endpoint_count, rr->next);
	rr->next = index + 1;
	return index;
}

/* Workers start at different places: else the first target gets the first request of each. */
static void round_robin_init(void *state, const struct upstream *u)
{
	struct round_robin *rr = state;

	if (!u->endpoint_count)
		return;
	for (unsigned i = 1; i < u->endpoint_count; i++)
		if (u->weights[i] != u->weights[0])
			rr->has_weights = true;
	rr->next = rand_below(u->endpoint_count);
	for (unsigned turns = rr->has_weights ? rr->next : 0; turns > 0; turns--)
		(void)round_robin_turn(rr, u, NULL);
}

const struct balancer lb_round_robin = {
	.name = "round-robin",
	.state_size = round_robin_state_size,
	.init = round_robin_init,
	.pick = round_robin_pick,
};
