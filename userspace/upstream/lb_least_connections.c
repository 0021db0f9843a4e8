/* SPDX-License-Identifier: GPL-2.0-only */
/* lb_least_connections.c - the fewest requests in flight for its weight; equals take turns. */
#include "base/rand.h"
#include "upstream/bitmap.h"
#include "upstream/upstream.h"

struct least_connections {
	unsigned next; /* the search starts here, so that equals take turns */
};

static size_t least_connections_state_size(unsigned endpoint_count)
{
	(void)endpoint_count;
	return sizeof(struct least_connections);
}

static void least_connections_init(void *state, const struct upstream *u)
{
	struct least_connections *lc = state;

	lc->next = u->endpoint_count ? rand_below(u->endpoint_count) : 0;
}

static unsigned least_connections_pick(void *state, const struct upstream *u, const struct balance_context *c,
				       const uint64_t *usable)
{
	struct least_connections *lc = state;
	unsigned first = bitmap_next_wrap(usable, u->endpoint_count, lc->next), best = first, i = first;

	do {
		/* (active + 1) / weight, without dividing: the load it would have with this request. */
		uint64_t load = ((uint64_t)c->active[i] + 1) * u->weights[best];

		if (load < ((uint64_t)c->active[best] + 1) * u->weights[i])
			best = i;
		i = bitmap_next_wrap(usable, u->endpoint_count, i + 1);
	} while (i != first);
	lc->next = best + 1;
	return best;
}

const struct balancer lb_least_connections = {
	.name = "least-connections",
	.state_size = least_connections_state_size,
	.init = least_connections_init,
	.pick = least_connections_pick,
};
