/* SPDX-License-Identifier: GPL-2.0-only */
/* rate_limit.h - the key of a limit, from a request: between rate_limit.c and rate_key.c. */
#ifndef SN_FEATURES_RATE_LIMIT_H
#define SN_FEATURES_RATE_LIMIT_H

#include "limits/limits.h"
#include "proxy/config_rate_limit.h"
#include "proxy/exchange.h"

/* Add what the request has for each part.  What it lacks is a value too: those without it share a bucket. */
void rate_key_add(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c);
/* Only the parts that a client may choose, without its address.  False: there are none. */
bool rate_key_others(struct limit_key *k, struct exchange *x, const struct config_rate_limit *c);
static inline bool rate_key_has_client(const struct config_rate_limit *c)
{
	for (unsigned i = 0; i < c->part_count; i++)
		if (c->parts[i].kind == RATE_KEY_CLIENT_IP)
			return true;
	return false;
}

#endif
