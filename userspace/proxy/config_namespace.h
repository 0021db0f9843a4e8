/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config_namespace.h - namespaces and their services: what is written in them, until it has moved into the lists of the
 * file under its canonical id ("shop:name", "shop:cart:name").  docs/design/0012-namespaces.md
 */
#ifndef SN_PROXY_CONFIG_NAMESPACE_H
#define SN_PROXY_CONFIG_NAMESPACE_H

#include "schema/schema.h"

struct config;
struct config_route;
struct config_upstream;

/* Of the file's `limits` what a scope may have for itself; 0: no limit. */
struct config_scope_limits {
	struct schema_meta meta;
	uint64_t rps_global, rps_client, rps_route;
	uint64_t route_connections_max, in_flight_max;
};

struct config_exports {
	struct schema_meta meta;
	struct schema_strings upstreams, filters; /* canonical once references are resolved */
};

/* A namespace, or a service of one. */
struct config_scope {
	struct schema_meta meta;
	const char *id;
	struct config_scope_limits limits;
	/* Empty once they have moved. */
	struct config_upstream *upstreams;
	size_t upstream_count;
	struct config_route *routes;
	size_t route_count;
	struct schema_variant *filters;
	size_t filter_count;
	struct config_exports exports; /* of a namespace, as the next one */
	struct config_scope *services;
	size_t service_count;

	/* Not from rows. */
	const char *name;		   /* canonical: "shop" or "shop:cart" */
	const struct config_scope *parent; /* NULL: it is a namespace */
	unsigned index;			   /* among all scopes of the file */
	bool has_routes;		   /* it, or one of its services */
};

extern const struct schema_block config_namespace_block;

/* The smaller one of two limits, of which 0 is none. */
static inline uint64_t config_limit_min(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

/* For ids of what can be in a scope, and of scopes: NULL, or why it cannot be one. */
const char *config_id_verify(const char *text, struct arena *a);

/* Move what is in scopes into the lists of the file; once, before anything else looks at them. */
void config_scopes_flatten(struct schema *s, struct config *c);
const struct config_scope *config_namespace_find(const struct config *c, const char *id);

const char *config_route_namespace(const struct config_route *r); /* NULL: it is in none */
/* Listeners of that namespace serve routes that are in it; those of none (NULL) routes that are in none. */
bool config_route_is_in(const struct config_route *r, const char *namespace_id);
/* And on this one of them?  listener NULL: on all of them. */
bool config_route_is_on(const struct config_route *r, const char *namespace_id, const char *listener);

#endif
