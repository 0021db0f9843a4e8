/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * escalation.h - counts whom filters refuse, over all workers, and says who is to be banned: `kernel { ban }`.
 *
 * One bounded table a process, in shards with a lock each; clients are IPv4 addresses and IPv6 /64s.  What is refused
 * comes as `struct refusal` (proxy/refusal.h); nobody here knows requests.  An address that others use too is not
 * banned: one with more than a tenth of all requests that were admitted in the last minute (and ten of them at least: a
 * share of next to nothing says nothing), or one that the same limit admitted under another value of its key's other
 * parts.
 */
#ifndef SN_APP_ESCALATION_H
#define SN_APP_ESCALATION_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/refusal.h"

#define ESCALATION_SHARE 10	   /* one part in so many is a crowd's share, ... */
#define ESCALATION_SHARE_MIN 10	   /* ... of at least so many requests */
#define ESCALATION_CLIENTS_MAX 32768 /* that are counted at once; the one that was quiet for longest makes room */

struct escalation;

struct escalation_policy {
	uint32_t after;
	uint64_t within_ns;
	uint32_t per_second;
};

enum escalation_verdict {
	ESCALATION_NOTHING,
	ESCALATION_BAN,
	ESCALATION_SHARED, /* would be banned, but for the others; told once for each client */
};

/* A process has one. */
struct escalation *escalation_new(void);
void escalation_free(struct escalation *e); /* NULL ok */
/* From now on; NULL: no automatic bans, and nothing is counted or kept.  Control. */
void escalation_set(struct escalation *e, const struct escalation_policy *p);
/* Any thread, as the next. */
bool escalation_is_on(const struct escalation *e);
/* The same, to be looked at without a call: for the workers, as long as e lives. */
const _Atomic bool *escalation_flag(const struct escalation *e);

/* now_ns: CLOCK_MONOTONIC, of the loop.  BAN at most per_second times a second; the client's count starts anew then. */
enum escalation_verdict escalation_refused(struct escalation *e, const struct refusal *r, uint64_t now_ns);
/* A request was admitted (limit 0), or admitted by a limit under these other parts of its key. */
void escalation_admitted(struct escalation *e, const struct refusal *r, uint64_t now_ns);

#endif
