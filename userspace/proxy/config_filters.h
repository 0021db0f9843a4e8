/* SPDX-License-Identifier: GPL-2.0-only */
/* config_filters.h - the filters of a route, with the limits that stand elsewhere in the file in front of them. */
#ifndef SN_PROXY_CONFIG_FILTERS_H
#define SN_PROXY_CONFIG_FILTERS_H

#include "proxy/config.h"
#include "proxy/snapshot.h"

struct config_scope_rates;

struct config_filters {
	struct snapshot *snapshot; /* being built */
	const struct config *config;
	struct config_registry *registry;
	struct diag *diag;
	uint32_t *slot_sizes;
	const struct filter *rate_limit;
	struct config_scope_rates *rates; /* max-requests-per-second-*: of the file, then of each scope */
};

void config_filters_begin(struct config_filters *f, struct snapshot *s, const struct config *c,
			  struct config_registry *registry, struct diag *d);
void config_filters_build(struct config_filters *f, struct route *r, const struct config_route *c);

#endif
