/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * geo_rules.h - the decision about a country for accepted connections, exact and by the same code as in the kernel.
 * `struct geo_rules` is immutable but for its database, which follows the file: built by control, read by any thread.
 */
#ifndef SN_FASTPATH_GEO_RULES_H
#define SN_FASTPATH_GEO_RULES_H

#include "fastpath/plan.h"
#include "fastpath/rules.h"

struct geo_rules;

/* NULL: the plan says nothing about countries.  Holds the plan's file, keeps nothing else of p. */
struct geo_rules *geo_rules_new(const struct fastpath_plan *p);
void geo_rules_free(struct geo_rules *r); /* NULL ok */

struct geo_verdict {
	struct rules_verdict rules; /* reason SN_DROP_GEO or SN_DROP_NONE */
	geo_country country;	    /* 0: unknown, or nobody asked */
};

/*
 * After rules_judge(), and only of whom it neither refuses nor allows by a rule (then the kernel does not ask either).
 * r NULL: nothing is refused.  A look-up that fails is an unknown country.
 */
struct geo_verdict geo_rules_judge(const struct geo_rules *r, uint32_t listener, const uint8_t ip[16]);

#endif
