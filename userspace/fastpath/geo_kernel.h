/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * geo_kernel.h - countries in the kernel: tables that were built beside it, and the slot by which they come in force.
 *
 * geo_built_make() runs on a thread of its own; everything else is for the control thread.
 */
#ifndef SN_FASTPATH_GEO_KERNEL_H
#define SN_FASTPATH_GEO_KERNEL_H

#include "fastpath/geo_plan.h"
#include "fastpath/maps.h"
#include "geo/compile.h"

/* Tables of one database and the countries that some plan names, in maps of the kernel. */
struct geo_built {
	struct geo_database *database; /* one reference; NULL: nothing was built */
	geo_country named[SN_GEO_NAMED_MAX];
	size_t named_count;
	int table_fd, trie_fd; /* owned; trie_fd -1: IPv6 is decided at accept */
	uint32_t mixed4, prefixes6, mixed6;
	uint64_t spent_ns; /* on compiling and filling */
};

void geo_built_init(struct geo_built *b);
void geo_built_fini(struct geo_built *b); /* again as after geo_built_init() */
/* Compile, make the maps and fill them.  0, or -errno with a sentence; any thread that may create maps. */
int geo_built_make(struct geo_built *out_built, struct geo_database *d, const geo_country *named, size_t count,
		   struct strbuf *out_why);

struct geo_kernel {
	const struct fastpath_maps *maps; /* borrowed */
	struct geo_built built;
	struct geo_built next; /* given, not yet in force */
	struct rows policies;  /* in force, in keys of slot 0 */
	uint32_t slot;	       /* that this process put in force; SN_GEO_OFF: none */
};

void geo_kernel_init(struct geo_kernel *g, const struct fastpath_maps *m);
void geo_kernel_fini(struct geo_kernel *g);
/* The maps are closed, or others will be opened: what this process had put in force there is not its own any more. */
void geo_kernel_reset(struct geo_kernel *g);

/* Are tables for this plan, its countries and its database wanted that are not there? */
bool geo_kernel_wants(const struct geo_kernel *g, const struct geo_plan *p);
/* Takes b; geo_kernel_apply() puts it in force. */
void geo_kernel_give(struct geo_kernel *g, struct geo_built *b);
/*
 * Make the maps, which are open, say what the plan says, as far as tables of its database are there: what those of
 * other countries cannot tell is passed, without any of this process everything is, for accept to decide.  So at no
 * moment the kernel refuses whom the plan lets in.  Before the plan's listeners are put.  0, or -errno with a sentence.
 */
int geo_kernel_apply(struct geo_kernel *g, const struct geo_plan *p, struct strbuf *out_why);

struct geo_kernel_status {
	bool is_in_force;
	bool is_v4_only;
	uint32_t mixed4, prefixes6, mixed6;
	uint64_t spent_ns;
};
void geo_kernel_status(const struct geo_kernel *g, struct geo_kernel_status *out_status);

struct geo_kernel_count {
	char country[3];
	uint64_t packets, monitored;
};
/* Call fn for each country that was ever named.  0 or -errno. */
int geo_kernel_counts(const struct geo_kernel *g, void (*fn)(void *ctx, const struct geo_kernel_count *c),
		      void *ctx);

#endif
