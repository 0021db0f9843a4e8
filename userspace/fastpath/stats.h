/* SPDX-License-Identifier: GPL-2.0-only */
/* stats.h - what the guard counted: sums over all CPUs of its per-CPU maps.  Control thread. */
#ifndef SN_FASTPATH_STATS_H
#define SN_FASTPATH_STATS_H

#include "sentinel/abi.h"

struct fastpath_maps;

struct fastpath_stats {
	struct sn_count drops[SN_DROP_COUNT];	     /* index SN_DROP_*, [SN_DROP_NONE] is always 0 */
	struct sn_count monitored[SN_DROP_COUNT];    /* would have been dropped */
	struct sn_count counters[SN_COUNTER_COUNT]; /* index SN_COUNTER_* */
};

/* 0 or -errno; *out_stats is zeroed when maps is NULL or not open. */
int stats_read(const struct fastpath_maps *maps, struct fastpath_stats *out_stats);

/* "not_ours" and "passed: not addressed …": name and help of a counter. */
const char *stats_counter_label(unsigned counter);
const char *stats_counter_text(unsigned counter);

#endif
