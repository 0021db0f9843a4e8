/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * refusal.h - what becomes known of clients that limits, geo or agents refuse: who keeps being refused is banned.
 *
 * Filters report; app/ counts, over all workers, and bans (`kernel { ban }`).  Only what is the client's own doing is
 * reported: a limit whose key contains the client's address, geo, an agent.  Never a 503, a store that failed, a limit
 * that clients share.  Reports cost a look at a flag while no automatic bans are configured.
 */
#ifndef SN_PROXY_REFUSAL_H
#define SN_PROXY_REFUSAL_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct exchange;

/* What was decided about one request of a client. */
struct refusal {
	const struct addr *client; /* borrowed for the call */
	bool is_named;		   /* by a header: the kernel sees another address */
	const char *reason;	   /* static, one word: "rate-limit", "geo", "agent" */
	uint64_t limit;	 /* identity of the limit, the same over reloads and workers; 0: the reason has none */
	uint64_t others; /* hash of the values of the key's other parts; 0: the key is the address alone */
};

/* Is there a `ban` block?  Else what a report needs need not be worked out. */
bool refusal_is_counted(const struct exchange *x);
/* The request was refused, and that is the client's doing. */
void refusal_report(struct exchange *x, const char *reason, uint64_t limit, uint64_t others);
/*
 * A limit with further key parts admitted the request: an address that is admitted under one value and refused under
 * another has several people behind it, and is not banned.  Requests as such are counted without the filters' help.
 */
void refusal_report_admitted(struct exchange *x, uint64_t limit, uint64_t others);

/* Of the exchange: it found its route and its filters let it pass. */
void refusal_count_request(struct exchange *x);
/* Is the client, whom a header named, banned?  (Whoever connects by himself was asked when he was accepted.) */
bool refusal_is_banned(const struct exchange *x);

#endif
