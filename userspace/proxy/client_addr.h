/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client_addr.h - who the client is when proxies stand in front of us.
 * X-Forwarded-For grows to the right, each proxy adding whom it talked to.  Its right end was written by a proxy that
 * we trust; so the client is the right-most address that is not a trusted proxy.  Everything left of it is hearsay.
 */
#ifndef SN_PROXY_CLIENT_ADDR_H
#define SN_PROXY_CLIENT_ADDR_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"
#include "http/headers.h"
#include "net/addr.h"

#define CLIENT_ADDR_HOPS_MAX 32 /* trusted proxies in a row that are followed */

struct client_addr_result {
	struct addr addr;     /* port 0 if it is not the peer */
	bool is_peer_trusted; /* the peer's forwarding headers may be believed */
	unsigned hops;	      /* elements of X-Forwarded-For that were followed */
};

/* Is it in one of the prefixes? */
bool client_addr_is_trusted(const struct addr *addr, const struct prefix *trusted, unsigned trusted_count);

/*
 * A peer outside `trusted` is the client.  An element that is no address ("unknown", a name) ends the walk, so does
 * CLIENT_ADDR_HOPS_MAX: the client then is the last address that was understood.
 */
void client_addr_find(const struct addr *peer, const struct headers *h, const struct prefix *trusted,
		      unsigned trusted_count, struct client_addr_result *out);

/* The IP as text, in a; "unix" for a Unix socket. */
struct span client_addr_text(const struct client_addr_result *r, struct arena *a);

#endif
