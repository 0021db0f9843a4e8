/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tables.h - a plan as the rows of the kernel's maps, and the edits that bring the maps there.
 *
 * Additions come before deletions and both are safe to repeat.  At every moment between, a source that old and
 * new plan allow is allowed: allow rules are added before deny rules, and deny rules deleted before allow
 * rules.  Control thread.
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
	struct sn_budgets budgets; /* after tables_put() with the seed that the map has */
};

void tables_init(struct tables *t, const struct fastpath_plan *p, const struct hostaddrs *addrs);
void tables_fini(struct tables *t); /* NULL ok */

/* 0, or -errno with the map's name in out_why.  After a failure nothing is to be pruned. */
int tables_put(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);
int tables_prune(struct tables *t, const struct fastpath_maps *m, struct strbuf *out_why);

#endif
