/* SPDX-License-Identifier: GPL-2.0-only */
/* config_namespace.c - rows of `namespace`, and how what it holds becomes a part of the file's lists. */
#include "proxy/config_namespace.h"

#include "proxy/config_rows.h"

#define SCOPE struct config_scope
#define SCOPE_ID_MAX 63

const char *config_id_verify(const char *text, struct arena *a)
{
	(void)a;
	return strchr(text, ':') ? "is not an id: `:` stands between namespace, service and name" : NULL;
}

/* Canonical ids are labels of metrics and parts of log lines. */
static const char *scope_verify(const char *text, struct arena *a)
{
	return strlen(text) > SCOPE_ID_MAX ? "is longer than 63 bytes" : config_id_verify(text, a);
}

/* ---- limits ---- */

#define LIMITS struct config_scope_limits

/* A key of the file's `limits` that cannot be kept for some routes only. */
static void not_here(struct schema *s, const struct kdl_node *node, void *member, void *config)
{
	struct diag_item *item =
		diag_error(s->diag, node->pos, "\"" SPAN_FMT "\" has no meaning in a namespace or service",
			   SPAN_ARG(node->name));

	(void)member;
	(void)config;
	if (span_starts(node->name, SPAN("max-body-size")))
		diag_hint(s->diag, item, "a route has its own: `policies { max-body-size ... }`");
	else
		diag_hint(s->diag, item, "it holds for the whole process: write it in `limits` of the file");
}

#define ROW_NOT_HERE(key, ...) \
	ROW_CUSTOM(LIMITS, meta, key, not_here, "", "", .flags = SCHEMA_HIDDEN, __VA_ARGS__)

static const struct schema_row limits_rows[] = {
	ROW_UINT(LIMITS, rps_global, "max-requests-per-second-global", 1, 100000000, "none",
		 "Requests of everybody to all its routes together; ten times as many may come at once.  More is 429."),
	ROW_UINT(LIMITS, rps_client, "max-requests-per-second-per-client", 1, 100000000, "none",
		 "The same for each client address (of IPv6, for each /64)."),
	ROW_UINT(LIMITS, rps_route, "max-requests-per-second-per-route", 1, 100000000, "none",
		 "The same for each of its routes."),
	ROW_UINT(LIMITS, in_flight_max, "max-in-flight-requests", 1, 10000000, "none",
		 "Requests and tunnels of all its routes that may be in progress; more are 503.  Builtin handlers have "
		 "no limit."),
	ROW_UINT(LIMITS, route_connections_max, "max-connections-per-route", 1, 10000000, "none",
		 "The same for each of its routes."),
	ROW_NOT_HERE("max-header-size", .aliases = "max-header-size-bytes"),
	ROW_NOT_HERE("max-request-line-size", .aliases = "max-request-line-size-bytes"),
	ROW_NOT_HERE("max-header-count"),
	ROW_NOT_HERE("max-body-size", .aliases = "max-body-size-bytes"),
	ROW_NOT_HERE("min-rate"),
	ROW_NOT_HERE("max-connections-per-client", .aliases = "max-connections"),
	ROW_NOT_HERE("max-total-connections"),
	ROW_NOT_HERE("max-in-flight-requests-per-worker"),
	ROW_NOT_HERE("max-idle-connections-per-upstream"),
	ROW_NOT_HERE("max-queued-requests"),
	ROW_NOT_HERE("max-memory-bytes"),
	ROW_NOT_HERE("max-memory-percent"),
	ROWS_LIMITS_LATER,
	ROW_END,
};

static const struct schema_block limits_block =
	SCHEMA_BLOCK(LIMITS, "limits", limits_rows, NULL, "What its routes may take; the limits around it apply too.");

/* ---- what is in a scope ---- */

static const struct schema_row upstreams_rows[] = {
	ROW_LIST(SCOPE, upstreams, upstream_count, "upstream", &config_upstream_block,
		 "As in `upstreams` of the file."),
	ROW_END,
};

static const struct schema_row routes_rows[] = {
	ROW_LIST(SCOPE, routes, route_count, "route", &config_route_block, "As in `routes` of the file."),
	ROW_END,
};

static const struct schema_row filters_rows[] = {
	ROW_VARIANTS(SCOPE, filters, filter_count, "filter", &config_filter_variants, "As in `filters` of the file.",
		     .verify = config_id_verify),
	ROW_END,
};

#define ROWS_CONTENT(what)                                                                                             \
	ROW_BLOCK(SCOPE, limits, "limits", &limits_block,                                                              \
		  "What the routes of the " what " may take; the limits around it apply too."),                        \
		ROW_GROUP("upstreams", upstreams_rows,                                                                 \
			  "As `upstreams` of the file; names are those of the " what ".",                              \
			  .flags = SCHEMA_REPEAT | SCHEMA_ELSEWHERE),                                                  \
		ROW_GROUP("routes", routes_rows,                                                                       \
			  "As `routes` of the file.  `upstream` and `filters` find names of the service, then of the " \
			  "namespace, then of the file, then those that a namespace exports; one with `:` is taken "   \
			  "as it is: `namespace:name` or `namespace:service:name`.",                                   \
			  .flags = SCHEMA_REPEAT | SCHEMA_ELSEWHERE),                                                  \
		ROW_GROUP("filters", filters_rows, "As `filters` of the file; names are those of the " what ".",       \
			  .flags = SCHEMA_REPEAT | SCHEMA_ELSEWHERE),                                                  \
		ROW_LATER("agents")

static const struct schema_row service_rows[] = {
	ROW_ID(SCOPE, id, "Name of the service, unique in its namespace; without `:`.", .verify = scope_verify),
	ROWS_CONTENT("service"),
	ROW_LATER("listener"),
	ROW_LATER("listeners"),
	ROW_END,
};

static const struct schema_block service_block =
	SCHEMA_BLOCK(SCOPE, "service", service_rows, NULL, "A part of a namespace with names and limits of its own.");

#define EXPORTS struct config_exports

static const struct schema_row exports_rows[] = {
	ROW_STRINGS(EXPORTS, upstreams, "upstreams", NULL,
		    "Upstreams of the namespace; of a service as `namespace:service:name`."),
	ROW_STRINGS(EXPORTS, filters, "filters", NULL, "Filters, the same."),
	ROW_LATER("agents"),
	ROW_END,
};

static const struct schema_block exports_block =
	SCHEMA_BLOCK(EXPORTS, "exports", exports_rows, NULL, "What others find by its short name.");

static const struct schema_row namespace_rows[] = {
	ROW_ID(SCOPE, id,
	       "Name of the namespace, without `:`: for `namespace` of listeners, and in the ids of what is in it.",
	       .verify = scope_verify),
	ROWS_CONTENT("namespace"),
	ROW_LIST(SCOPE, services, service_count, "service", &service_block,
		 "A part of the namespace with names and limits of its own; its routes are served where those of the "
		 "namespace are."),
	ROW_BLOCK(SCOPE, exports, "exports", &exports_block,
		  "What routes elsewhere find by its short name, if nothing nearer has that name.  With its whole name "
		  "they find everything."),
	ROW_LATER("listeners"),
	ROW_END,
};

const struct schema_block config_namespace_block = SCHEMA_BLOCK(
	SCOPE, "namespace", namespace_rows, NULL,
	"Routes, upstreams and filters with names of their own, served by listeners that name the namespace.");

/* ---- into the lists of the file ---- */

struct totals {
	size_t routes, upstreams, filters;
};

static void totals_add(struct totals *t, const SCOPE *scope)
{
	t->routes += scope->route_count;
	t->upstreams += scope->upstream_count;
	t->filters += scope->filter_count;
	for (size_t i = 0; i < scope->service_count; i++)
		totals_add(t, &scope->services[i]);
}

static void *grown(struct arena *a, const void *items, size_t count, size_t room, size_t size)
{
	void *more = arena_array(a, room, size);

	if (count)
		memcpy(more, items, count * size);
	return more;
}

/* NULL and "" were errors. */
static const char *canonical(struct schema *s, const SCOPE *scope, const char *id)
{
	return id && *id ? arena_printf(s->arena, "%s:%s", scope->name, id) : id;
}

static void scope_move(struct schema *s, struct config *c, SCOPE *scope)
{
	for (size_t i = 0; i < scope->upstream_count; i++) {
		c->upstreams[c->upstream_count] = scope->upstreams[i];
		c->upstreams[c->upstream_count++].id = canonical(s, scope, scope->upstreams[i].id);
	}
	for (size_t i = 0; i < scope->filter_count; i++) {
		c->filters[c->filter_count] = scope->filters[i];
		c->filters[c->filter_count++].id = canonical(s, scope, scope->filters[i].id);
	}
	for (size_t i = 0; i < scope->route_count; i++) {
		struct config_route *r = &c->routes[c->route_count++];

		*r = scope->routes[i];
		r->id = canonical(s, scope, r->id);
		r->scope = scope;
	}
	scope->has_routes = scope->route_count > 0;
	scope->upstream_count = scope->filter_count = scope->route_count = 0;
	scope->index = c->scope_count++;
}

void config_scopes_flatten(struct schema *s, struct config *c)
{
	struct totals t = { c->route_count, c->upstream_count, c->filter_count };

	if (c->namespace_count == 0)
		return;
	for (size_t i = 0; i < c->namespace_count; i++)
		totals_add(&t, &c->namespaces[i]);
	c->routes = grown(s->arena, c->routes, c->route_count, t.routes, sizeof(*c->routes));
	c->upstreams = grown(s->arena, c->upstreams, c->upstream_count, t.upstreams, sizeof(*c->upstreams));
	c->filters = grown(s->arena, c->filters, c->filter_count, t.filters, sizeof(*c->filters));
	for (size_t i = 0; i < c->namespace_count; i++) {
		SCOPE *space = &c->namespaces[i];

		space->name = space->id ? space->id : "";
		scope_move(s, c, space);
		for (size_t k = 0; k < space->service_count; k++) {
			SCOPE *service = &space->services[k];

			service->parent = space;
			service->name = arena_printf(s->arena, "%s:%s", space->name, service->id ? service->id : "");
			scope_move(s, c, service);
			space->has_routes |= service->has_routes;
		}
	}
}

/* ---- looking up ---- */

const SCOPE *config_namespace_find(const struct config *c, const char *id)
{
	for (size_t i = 0; i < c->namespace_count; i++)
		if (c->namespaces[i].id && strcmp(c->namespaces[i].id, id) == 0)
			return &c->namespaces[i];
	return NULL;
}

const char *config_route_namespace(const struct config_route *r)
{
	if (!r->scope)
		return NULL;
	return r->scope->parent ? r->scope->parent->name : r->scope->name;
}

bool config_route_is_in(const struct config_route *r, const char *namespace_id)
{
	const char *of = config_route_namespace(r);

	return of && namespace_id ? strcmp(of, namespace_id) == 0 : !of && !namespace_id;
}

bool config_route_is_on(const struct config_route *r, const char *namespace_id, const char *listener)
{
	if (!config_route_is_in(r, namespace_id))
		return false;
	for (size_t i = 0; listener && i < r->listeners.count; i++)
		if (strcmp(r->listeners.items[i].text, listener) == 0)
			return true;
	return r->listeners.count == 0;
}
