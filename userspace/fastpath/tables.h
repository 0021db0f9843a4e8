/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tables.h - a plan as the rows of the kernel's maps, and the edits that bring the maps there.
 *
 * Four rounds, each safe to repeat:
 *   grant  ports without a listener go, what lets in comes
 *   put    what shuts out comes
 *   lift   what shut out goes, and then listeners come and go
 *   prune  what let in goes
 * So at every moment a packet that old and new plan pass is passed, unless its address loses the listener while
 * another one keeps the port.  Countries come in force by themselves between the first two rounds, interfaces come and
 * go between the last two.  Control thread.
 */
#ifndef SN_FASTPATH_TABLES_H
#define SN_FASTPATH_TABLES_H

#include <stdint.h>

#include "base/strbuf.h"
#include "fastpath/hostaddrs.h"
#include "fastpath/maps.h"
#include "fastpath/plan.h"

struct tables {
	struct rows vips;
	struct rows host_addrs;
	struct rows acl4;
	struct rows acl6;
	uint64_t ports[SN_PORT_WORDS];
	struct sn_port_hint *hints; /* owned; SN_PORTS */
	struct sn_config config;
	struct sn_budgets *budgets; /* borrowed */
};

/* budgets: compiled from p; tables_put() gives them the seed that the map has, and what was found of its levels. */
void tables_init(struct tables *t, const struct fastpath_plan *p, const struct hostaddrs *addrs,
		 struct sn_budgets *budgets);
void tables_fini(struct tables *t); /* NULL ok */

/* 0, or -errno with the map's name in out_why.  After a failure nothing is to be pruned. */
int tables_grant(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);
int tables_put(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);
int tables_lift(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);
int tables_prune(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);

#endif
