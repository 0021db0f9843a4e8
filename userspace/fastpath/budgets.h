/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * budgets.h - the budgets of a plan as the guard reads them, what the daemon does for them while it lives, and the same
 * decision for accepted connections.
 *
 * With a guard attached the kernel counts; the daemon tells it which sources completed a handshake, and looks once a
 * second whether the sketch is saturated.  Without one, accepted connections are charged here, by the same code
 * (include/sentinel/budget.h) on a sketch of the process; packets are counted by nobody then.
 */
#ifndef SN_FASTPATH_BUDGETS_H
#define SN_FASTPATH_BUDGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fastpath/maps.h"
#include "fastpath/plan.h"
#include "sentinel/budget.h"

/*
 * The levels of a plan.  The seed is that of `old` (from the map or the last plan), so that buckets stay what they
 * are; a fresh one if it has none.  out may be old.
 */
void budgets_compile(const struct fastpath_plan *p, const struct sn_budgets *old, struct sn_budgets *out);
/* What was found of the levels that both have. */
void budgets_keep_saturation(struct sn_budgets *b, const struct sn_budgets *old);
/* Level 0..SN_BUDGET_LEVELS-1: connections by SN_PER_*, then packets. */
const struct sn_budget *budgets_level(const struct sn_budgets *b, unsigned level);

/* ---- for accepted connections ---- */

struct budgets;

/* A process has one; workers charge it, control changes its levels. */
struct budgets *budgets_new(void);
void budgets_free(struct budgets *b); /* NULL ok */
/* The levels from now on, and whether a guard is attached anywhere: then nothing is charged here.  Control. */
void budgets_set(struct budgets *b, const struct sn_budgets *levels, bool is_guarded);
/* Does the guard want to know who completed a handshake?  Any thread. */
bool budgets_want_sources(const struct budgets *b);
/* Are accepted connections to be charged?  Any thread. */
bool budgets_are_active(const struct budgets *b);
/*
 * Charge a connection of this source (16 bytes, IPv4-mapped; not loopback: exempt).  False: it is over a budget, whose
 * rule is in *out_rule.  now_ns is clock_mono_ns().  Any thread.
 */
bool budgets_admit(struct budgets *b, const uint8_t ip[16], uint64_t now_ns, uint32_t *out_rule);

/* ---- saturation ---- */

/*
 * Look at a sample of 1,024 cells of each level and mark those of which more than half are over their limit.  `cells`:
 * 2 x SN_SKETCH_ROW.  True: something changed in b.
 */
bool budgets_sample(struct sn_budgets *b, const struct sn_cell *cells, uint64_t now_ns);
/* budgets_sample() for accepted connections.  Control, once a second. */
void budgets_tick(struct budgets *b, uint64_t now_ns);
/* What the sketch says of a source's own buckets, which is never less than what it used; nothing if it is saturated. */
void budgets_sketched(const struct sn_budgets *b, const struct sn_cell *cells, const uint8_t ip[16],
		      struct sn_source *out);

#endif
