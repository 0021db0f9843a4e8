/* SPDX-License-Identifier: GPL-2.0-only */
/* lb_random.c - weighted random choice, and the less loaded of two such choices. */
#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "upstream/bitmap.h"
#include "upstream/upstream.h"

/* A draw hits an unusable endpoint: draw again, but only so often before looking at each of them. */
#define RANDOM_DRAWS_MAX 8

/*
 * Alias table (Vose): each column is chosen with 1/n; it stands for its own endpoint below `cut`, else for
 * `other`.  So a weighted draw costs the same for any number of endpoints.
 */
struct random_column {
	uint32_t cut; /* of 2^32 */
	uint32_t other;
};

static size_t random_state_size(unsigned endpoint_count)
{
	return endpoint_count * sizeof(struct random_column);
}

static void random_init(void *state, const struct upstream *u)
{
	struct random_column *columns = state;
	unsigned n = u->endpoint_count, small = 0, large = n;
	uint64_t *share = mem_array(n + 1, sizeof(*share)); /* weight * n */
	uint32_t *stack =
		mem_array(n + 1, sizeof(*stack)); /* below average at the left, others at the right */
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++)
		total += u->weights[i];
	for (unsigned i = 0; i < n; i++) {
		share[i] = (uint64_t)u->weights[i] * n;
		columns[i] = (struct random_column){ .cut = UINT32_MAX, .other = i };
		stack[share[i] < total ? small++ : --large] = i;
	}
	while (small > 0 && large < n) {
		uint32_t s = stack[--small], l = stack[large++];

		columns[s] = (struct random_column){ (uint32_t)(share[s] * UINT32_MAX / total), l };
		share[l] -= total - share[s];
		stack[share[l] < total ? small++ : --large] = l;
	}
	free(share);
	free(stack);
}

static unsigned random_draw(const struct random_column *columns, const struct upstream *u,
			    const uint64_t *usable)
{
	unsigned n = u->endpoint_count, i;
	uint64_t total = 0, ticket;

	for (unsigned draw = 0; draw < RANDOM_DRAWS_MAX; draw++) {
		uint64_t r = rand_u64();

		i = (unsigned)((r >> 32) * n >> 32);
		if ((uint32_t)r > columns[i].cut)
			i = columns[i].other;
		if (bitmap_test(usable, i))
			return i;
	}
	/* Few are usable: exactly, by the sum of their weights. */
	bitmap_for_each(i, usable, n) total += u->weights[i];
	ticket = rand_u64() % total;
	bitmap_for_each(i, usable, n)
	{
		if (ticket < u->weights[i])
			break;
		ticket -= u->weights[i];
	}
	CHECK(i != BITMAP_NONE);
	return i;
}

static unsigned random_pick(void *state, const struct upstream *u, const struct balance_context *c,
			    const uint64_t *usable)
{
	(void)c;
	return random_draw(state, u, usable);
}

static unsigned random_two_pick(void *state, const struct upstream *u, const struct balance_context *c,
				const uint64_t *usable)
{
	unsigned a = random_draw(state, u, usable), b = a;

	for (unsigned draw = 0; draw < RANDOM_DRAWS_MAX && b == a; draw++)
		b = random_draw(state, u, usable);
	if (b == a) /* a single usable one, or one with nearly all of the weight: its neighbour */
		b = bitmap_next_wrap(usable, u->endpoint_count, a + 1);
	/* The smaller (active + 1) / weight, without dividing. */
	if (((uint64_t)c->active[b] + 1) * u->weights[a] < ((uint64_t)c->active[a] + 1) * u->weights[b])
		return b;
	return a;
}

const struct balancer lb_random = {
	.name = "random",
	.state_size = random_state_size,
	.init = random_init,
	.pick = random_pick,
};

const struct balancer lb_random_two = {
	.name = "random-of-two",
	.state_size = random_state_size,
	.init = random_init,
	.pick = random_two_pick,
};
