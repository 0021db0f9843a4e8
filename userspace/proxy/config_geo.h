/* SPDX-License-Identifier: GPL-2.0-only */
/* config_geo.h - `kernel { geo }` as it was written: which countries may come in, for all listeners and for each. */
#ifndef SN_PROXY_CONFIG_GEO_H
#define SN_PROXY_CONFIG_GEO_H

#include "geo/file.h"
#include "schema/schema.h"

struct config;

enum config_geo_mode {
	CONFIG_GEO_MONITOR,
	CONFIG_GEO_ENFORCE,
	CONFIG_GEO_OFF,
};

/* What is said of one listener's clients, or of all. */
struct config_geo_policy {
	struct schema_strings allow, deny; /* not both */
	enum config_geo_mode mode;

	/* Made by the check. */
	bool is_allow;
	geo_country *countries;
	size_t country_count; /* 0: nothing is said */
	uint32_t line;	      /* of the list */
};

struct config_geo_listener {
	struct schema_meta meta;
	const char *id;
	struct config_geo_policy policy;
};

struct config_geo {
	struct schema_meta meta;
	const char *database;
	struct config_geo_policy policy; /* of listeners without a block of their own */
	struct config_geo_listener *listeners;
	size_t listener_count;

	struct geo_file *file; /* a reference of the configuration's arena; NULL: it is wrong */
};

extern const struct schema_block config_geo_block;

/* The rule for a listener; NULL: there is none. */
const struct config_geo_policy *config_geo_policy(const struct config_geo *g, const char *listener);
/* Rules across blocks: the listeners exist. */
void config_geo_check(struct schema *s, const struct config *c);

#endif
