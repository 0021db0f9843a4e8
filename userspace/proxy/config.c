/* SPDX-License-Identifier: GPL-2.0-only */
/* config.c - the root of all rows, loading a file, and looking things up in what was loaded. */
#include "proxy/config.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/config_rows.h"
#include "proxy/snapshot.h"

/* ---- filters: their blocks come from features.def ---- */

#define FILTER_TYPES_MAX 64

static const char *const later_filters[] = { "compress", "cors", "agent" };

static struct schema_block filter_blocks[FILTER_TYPES_MAX];
static const struct schema_block *filter_types[FILTER_TYPES_MAX + 1];
const struct schema_variants config_filter_variants = { "type", filter_types };

static const struct schema_row no_rows[] = { ROW_END };

static void filter_types_collect(void)
{
	size_t n = 0;

	if (filter_types[0])
		return;
	for (const struct filter *f; (f = filter_at(n)); n++) {
		CHECK(n < FILTER_TYPES_MAX - ARRAY_LEN(later_filters));
		CHECK(f->config_size >= sizeof(struct schema_meta));
		filter_blocks[n] = (struct schema_block){
			.name = f->name,
			.size = f->config_size,
			.rows = f->rows,
			.check = f->check,
			.help = f->help,
		};
		filter_types[n] = &filter_blocks[n];
	}
	for (size_t i = 0; i < ARRAY_LEN(later_filters); i++, n++) {
		filter_blocks[n] = (struct schema_block){ .name = later_filters[i],
							  .size = sizeof(struct schema_meta),
							  .rows = no_rows,
							  .is_later = true };
		filter_types[n] = &filter_blocks[n];
	}
}

static const struct schema_row filters_rows[] = {
	ROW_VARIANTS(struct config, filters, filter_count, "filter", &config_filter_variants,
		     "Something that looks at or changes requests and responses; routes name it.",
		     .verify = config_id_verify),
	ROW_END,
};

/* ---- root ---- */

static const struct schema_row root_rows[] = {
	ROW_BLOCK(struct config, system, "system", &config_system_block, "The process.", .aliases = "!server"),
	ROW_GROUP("listeners", config_listeners_rows, "Where clients connect.",
		  .flags = SCHEMA_REQUIRED | SCHEMA_REPEAT),
	ROW_GROUP("routes", config_routes_rows, "Which requests go where.", .flags = SCHEMA_REPEAT),
	ROW_GROUP("upstreams", config_upstreams_rows, "Groups of servers that answer.", .flags = SCHEMA_REPEAT),
	ROW_GROUP("filters", filters_rows, "What routes may do to requests and responses.",
		  .flags = SCHEMA_REPEAT),
	ROW_BLOCK(struct config, limits, "limits", &config_limits_block, "What a client may send."),
	ROW_BLOCK(struct config, rate_limits, "rate-limits", &rate_limits_block,
		  "Limits of requests for all routes, and defaults of others."),
	ROW_LIST(struct config, namespaces, namespace_count, "namespace", &config_namespace_block,
		 "Routes, upstreams and filters with names of their own, served by listeners that name the namespace."),
	ROW_BLOCK(struct config, observability, "observability", &config_observability_block,
		  "Metrics and logs."),
	ROW_BLOCK(struct config, kernel, "kernel", &config_kernel_block,
		  "The guard: what the kernel refuses before it costs anything."),
	ROW_LATER("schema-version", .aliases = "version"),
	ROW_LATER("agents"),
	ROW_LATER("waf"),
	ROW_LATER("rate-limit-backend"),
	ROW_LATER("scopes"),
	ROW_LATER("cache"),
	ROW_END,
};

static const struct schema_block root_block =
	SCHEMA_BLOCK(struct config, "the configuration", root_rows, config_check, "The configuration.");

const struct schema_block *config_block(void)
{
	filter_types_collect();
	return &root_block;
}

/* ---- loading ---- */

static int load(struct arena *a, const char *name, const struct span *text, struct diag *d,
		struct config **out_config)
{
	struct config *c = arena_zalloc(a, sizeof(*c));
	struct source_set *sources = arena_zalloc(a, sizeof(*sources));
	struct kdl_node *nodes = NULL;
	struct schema s;
	int rc;

	source_init(sources, a);
	d->sources = sources;
	rc = text ? source_load_text(sources, name, *text, d, &nodes) : source_load(sources, name, d, &nodes);
	schema_init(&s, a, d, NULL);
	if (rc < 0)
		(void)schema_defaults(&s, config_block(), c);
	else
		rc = schema_parse(&s, config_block(), nodes, c);
	schema_fini(&s);
	c->path = arena_strdup(a, name);
	c->sources = sources;
	*out_config = c;
	return rc < 0 || d->error_count ? -EINVAL : 0;
}

int config_load(struct arena *a, const char *path, struct diag *d, struct config **out_config)
{
	return load(a, path, NULL, d, out_config);
}

int config_load_text(struct arena *a, const char *name, struct span text, struct diag *d,
		     struct config **out_config)
{
	return load(a, name, &text, d, out_config);
}

/* ---- looking up ---- */

const struct config_upstream *config_upstream_find(const struct config *c, const char *id)
{
	for (size_t i = 0; i < c->upstream_count; i++)
		if (c->upstreams[i].id && strcmp(c->upstreams[i].id, id) == 0)
			return &c->upstreams[i];
	return NULL;
}

const struct config_route *config_route_find(const struct config *c, const char *id)
{
	for (size_t i = 0; i < c->route_count; i++)
		if (c->routes[i].id && strcmp(c->routes[i].id, id) == 0)
			return &c->routes[i];
	return NULL;
}

const struct config_listener *config_listener_find(const struct config *c, const char *id)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].id && strcmp(c->listeners[i].id, id) == 0)
			return &c->listeners[i];
	return NULL;
}

const char *config_place(const struct config *c, struct schema_pos pos, char *buf, size_t size)
{
	if (schema_pos_is_set(pos))
		(void)snprintf(buf, size, "%s:%u", source_path(c->sources, pos.file), pos.line);
	else
		(void)snprintf(buf, size, "default");
	return buf;
}
