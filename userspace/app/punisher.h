/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * punisher.h - automatic bans: between what workers count (escalation.h) and the table of bans.  Control thread.
 *
 * Never banned are loopback, whom `acl` allows, trusted proxies (of listeners, also for the PROXY protocol) and the
 * addresses of upstreams: with a ban of one of those we would shut out ourselves.
 */
#ifndef SN_APP_PUNISHER_H
#define SN_APP_PUNISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "app/escalation.h"
#include "net/addr.h"

struct control;

struct punisher {
	struct control *control; /* borrowed */
	struct escalation *escalation; /* owned; workers count in it */
	uint64_t bans, spared;	       /* since the start; spared: somebody who can never be banned */
};

void punisher_init(struct punisher *p, struct control *c);
/* When no worker runs any more. */
void punisher_fini(struct punisher *p);
/* The policy of the current configuration. */
void punisher_apply(struct punisher *p);
/* Does `acl` allow ip, which no ban does away with? */
bool punisher_is_allowed(const struct punisher *p, const uint8_t ip[16]);
/* Reset what a client that was banned has open, unless `acl` allows it. */
void punisher_reset(struct punisher *p, const uint8_t ip[16]);
/* A worker's verdict about a client. */
void punisher_punish(struct punisher *p, const struct addr *client, const char *reason, bool is_named,
		     enum escalation_verdict verdict);

#endif
