/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * geo_plan.h - which countries may come in by which listener: the part of a plan that needs a database.
 *
 * A listener that is not named has no rule.  Countries that some policy names are numbered from 1 in the order of
 * `named`; the numbers hold for one plan only.  Built and used by one thread.
 */
#ifndef SN_FASTPATH_GEO_PLAN_H
#define SN_FASTPATH_GEO_PLAN_H

#include "base/strbuf.h"
#include "geo/file.h"
#include "sentinel/geo.h"

/* What is said of one listener's clients. */
struct geo_choice {
	uint32_t listener; /* fastpath_vip.listener */
	uint32_t rule;	   /* comes back in verdicts and events; > 0 */
	bool is_allow;	   /* only these may come; else all but these */
	bool is_monitor;   /* count and report, refuse nobody */
	geo_country *countries; /* owned by the plan, as the array */
	size_t count;
};

struct geo_plan {
	struct geo_file *file; /* one reference; NULL: there is nothing about countries */
	struct geo_choice *choices; /* owned */
	size_t choice_count;
	geo_country named[SN_GEO_NAMED_MAX]; /* in order */
	size_t named_count;
	bool has_too_many; /* more are named */
};

/* A zeroed plan is empty and valid. */
void geo_plan_fini(struct geo_plan *p); /* NULL ok; p is empty afterwards */
void geo_plan_copy(struct geo_plan *out_plan, const struct geo_plan *p);
/* Takes the reference; before the first choice. */
void geo_plan_use(struct geo_plan *p, struct geo_file *f);
/* Copies c with its countries.  One a listener. */
void geo_plan_add(struct geo_plan *p, const struct geo_choice *c);
/* 0, or -E2BIG with a sentence: too many countries, or listeners. */
int geo_plan_check(const struct geo_plan *p, struct strbuf *out_why);

/* The number of a country, SN_GEO_OTHER if nobody names it. */
uint8_t geo_plan_number(const struct geo_plan *p, geo_country country);
/* A choice in numbers. */
struct sn_geo_policy geo_plan_policy(const struct geo_plan *p, const struct geo_choice *c);
/*
 * The same in the numbers of tables that were made for another plan, whose countries are `named` (in order): never
 * refuses whom the choice lets in, and passes for accept to decide whom those tables cannot tell from others.
 */
struct sn_geo_policy geo_choice_policy(const struct geo_choice *c, const geo_country *named, size_t count);
bool geo_plan_names_same(const struct geo_plan *a, const geo_country *named, size_t count);

#endif
