/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guard.h - between the configuration and fastpath/: the plan, the heartbeat, drops for the audit log and the metrics.
 * Control thread.
 */
#ifndef SN_APP_GUARD_H
#define SN_APP_GUARD_H

#include "app/drop_top.h"
#include "app/poller.h"
#include "fastpath/fastpath.h"
#include "fastpath/geo_rules.h"
#include "proxy/snapshot.h"

struct audit;

/* For accepted connections; part of a snapshot. */
struct guard_rules {
	struct rules *rules; /* owned */
	bool is_monitor;     /* count and report, refuse nothing */
	struct geo_rules *geo; /* owned; NULL: nobody is asked for his country */
	bool has_acl;	     /* false: only bans, and what geo says, can refuse somebody */
};

struct guard {
	struct fastpath *fastpath; /* owned */
	struct fastpath_plan plan; /* in force, or what fastpath_retry() is after */
	bool has_plan;
	bool is_released; /* another process has it: nothing is written, detached or unpinned here */
	struct audit **audit; /* borrowed: *audit may change */
	struct metrics_shard *metrics;
	struct poller events, addresses;
	uint64_t events_seen;
	struct drop_top top;
	char reported[FASTPATH_REASON_MAX]; /* the last reason that was logged */
	char noted[FASTPATH_NOTE_MAX];	    /* the last note */
};

void guard_init(struct guard *g, struct loop *l, const char *instance, struct audit **audit,
		struct metrics_shard *metrics);
/* Orderly end: detach unless the plan says keep. */
void guard_fini(struct guard *g);

/* The plan of a snapshot (freed by plan_fini()).  0, or -E2BIG with one sentence in out_why. */
int guard_plan(struct fastpath_plan *out, const struct snapshot *s, struct strbuf *out_why);
/* Rules of a plan; they live as long as the snapshot. */
const struct guard_rules *guard_rules(const struct fastpath_plan *p, struct snapshot *s);
/* Make it so; logs what could not be done.  Takes the contents of p. */
void guard_apply(struct guard *g, struct fastpath_plan *p);
/* It becomes another process's (or is still: before guard_inherit()). */
void guard_release(struct guard *g);
/* It is ours now; guard_apply() follows. */
void guard_inherit(struct guard *g);
/* The other process is gone: the plan again. */
void guard_take_back(struct guard *g);
/* Before giving up root: the pins belong to the user that will have to remove them. */
void guard_own(struct guard *g, const char *instance, uid_t uid, gid_t gid);
/* Once a second. */
void guard_tick(struct guard *g, unsigned seconds);
/* The reason of a failure, to the log, if it is another one than before. */
void guard_report(struct guard *g);
/*
 * Countries: what the configuration says of them; a database or tables for the kernel that are new; that of an
 * address, or "--".
 */
void guard_geo_plan(struct fastpath_plan *p, const struct snapshot *s);
void guard_geo_apply(struct guard *g);
const char *guard_geo_country(const struct guard *g, const uint8_t ip[16], char text[3]);
/* Feed the metrics. */
void guard_collect(struct guard *g);
/* One line for each interface and for what is wrong. */
void guard_describe(struct guard *g, struct strbuf *out);

#endif
