/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * resolver.h - keeps the addresses of targets that are written as names: resolved in the background, again when
 * their TTL is over (5 to 300 s).  A name that does not resolve keeps its last good addresses.  Control thread.
 */
#ifndef SN_APP_RESOLVER_H
#define SN_APP_RESOLVER_H

#include "loop/loop.h"
#include "upstream/endpoint.h"

struct metrics_shard;
struct resolver;

#define RESOLVER_TTL_MIN_SECS 5
#define RESOLVER_TTL_MAX_SECS 300

/* 0 or -errno (then names never resolve; the caller says so). */
int resolver_new(struct resolver **out, struct loop *l, struct endpoint_registry *registry,
		 struct metrics_shard *metrics);
/* Before the registry ends.  NULL ok. */
void resolver_free(struct resolver *r);
/* Look at the registry again: new names are resolved now, what nobody else holds is let go.  NULL ok. */
void resolver_sync(struct resolver *r);
/* Has every name had an answer, of whatever kind?  NULL ok. */
bool resolver_is_settled(const struct resolver *r);

#endif
