/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * balancer.h - load-balancing algorithms: two functions each, in lb_*.c, listed in balancers.def.
 */
#ifndef SN_UPSTREAM_BALANCER_H
#define SN_UPSTREAM_BALANCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct upstream;

struct balance_context {
	uint64_t key_hash; /* of the client or a header: for hashing algorithms */
	/* Requests in flight of this worker, one an endpoint; NULL: what upstream_begin() counted. */
	const uint32_t *active;
};

struct balancer {
	const char *name; /* as written in the file; aliases are in balancers.def */
	size_t (*state_size)(unsigned endpoint_count);	     /* per worker and upstream */
	void (*init)(void *state, const struct upstream *u); /* state is zeroed */
	/*
	 * Among the endpoints whose bit in `usable` is set (at least one is, and each has a weight above 0).
	 * Returns an index.  c->active is never NULL here.  Allocates nothing.
	 */
	unsigned (*pick)(void *state, const struct upstream *u, const struct balance_context *c,
			 const uint64_t *usable);
};

#define BALANCER(symbol, names) extern const struct balancer symbol;
#define BALANCER_LATER(names)
#include "upstream/balancers.def"
#undef BALANCER
#undef BALANCER_LATER

/* By any of its names, - and _ alike; NULL: unknown. */
const struct balancer *balancer_find(const char *name);
/* A name of an algorithm that this version does not have: the error says "not in this version". */
bool balancer_is_later(const char *name);
/* In the order of balancers.def, for descriptions; NULL at the end. */
const struct balancer *balancer_at(size_t index);

#endif
