/* SPDX-License-Identifier: GPL-2.0-only */
/* config_filters.c - the uses of filters by a route: limits first, the widest before the others; then its own. */
#include "proxy/config_filters.h"

#include "base/check.h"

enum rate {
	RATE_GLOBAL,
	RATE_PER_CLIENT,
	RATE_PER_ROUTE,
	RATE_COUNT,
};

static const struct {
	const char *name;
	enum rate_key key;
} rates[RATE_COUNT] = {
	{ "max-requests-per-second-global", RATE_KEY_NONE },
	{ "max-requests-per-second-per-client", RATE_KEY_CLIENT_IP },
	{ "max-requests-per-second-per-route", RATE_KEY_ROUTE },
};

/* One scope's; a scope that does not limit one has NULL there. */
struct config_scope_rates {
	const char *ids[RATE_COUNT];
	const struct config_rate_limit *limits[RATE_COUNT];
};

#define SCOPES_MAX  3 /* around a route: the file, its namespace, its service */
#define LIMITS_USES (2 + SCOPES_MAX * RATE_COUNT) /* at most, before the route's filters */

static void rate_add(struct config_filters *f, const struct config_scope *scope, enum rate rate, uint64_t rps,
		     struct schema_pos pos)
{
	struct config_scope_rates *to = &f->rates[scope ? scope->index + 1 : 0];
	struct arena *a = &f->snapshot->arena;
	struct config_rate_limit *limit;

	if (!rps)
		return;
	limit = rate_limit_simple(a, f->diag, pos, rps, rates[rate].key);
	limit->scope = scope ? scope->name : NULL;
	to->limits[rate] = limit;
	to->ids[rate] = scope ? arena_printf(a, "%s:%s", scope->name, rates[rate].name) : rates[rate].name;
}

static void scope_rates_add(struct config_filters *f, const struct config_scope *scope)
{
	const struct config_scope_limits *l = &scope->limits;

	rate_add(f, scope, RATE_GLOBAL, l->rps_global, SCHEMA_POS(l, rps_global));
	rate_add(f, scope, RATE_PER_CLIENT, l->rps_client, SCHEMA_POS(l, rps_client));
	rate_add(f, scope, RATE_PER_ROUTE, l->rps_route, SCHEMA_POS(l, rps_route));
	for (size_t i = 0; i < scope->service_count; i++)
		scope_rates_add(f, &scope->services[i]);
}

void config_filters_begin(struct config_filters *f, struct snapshot *s, const struct config *c,
			  struct config_registry *registry, struct diag *d)
{
	const struct config_limits *l = &c->limits;
	struct arena *a = &s->arena;
	size_t uses = 0;

	*f = (struct config_filters){ .snapshot = s, .config = c, .registry = registry, .diag = d };
	for (size_t i = 0; i < c->route_count; i++)
		uses += c->routes[i].filters.count + LIMITS_USES;
	f->slot_sizes = arena_array(a, uses, sizeof(*f->slot_sizes));
	s->filter_worker_sizes = f->slot_sizes;
	f->rate_limit = filter_find("rate-limit");
	f->rates = arena_array(a, c->scope_count + 1, sizeof(*f->rates));
	rate_add(f, NULL, RATE_GLOBAL, l->rps_global, SCHEMA_POS(l, rps_global));
	rate_add(f, NULL, RATE_PER_CLIENT, l->rps_client, SCHEMA_POS(l, rps_client));
	rate_add(f, NULL, RATE_PER_ROUTE, l->rps_route, SCHEMA_POS(l, rps_route));
	for (size_t i = 0; i < c->namespace_count; i++)
		scope_rates_add(f, &c->namespaces[i]);
}

static void use_add(struct config_filters *f, struct route *r, struct filter_use *uses, struct filter_use use)
{
	const struct filter_opening opening = { &f->registry->limits, &f->snapshot->arena, use.id, r->id, f->registry,
						f->diag };

	CHECK(use.filter);
	use.slot = f->snapshot->filter_slot_count++;
	use.index = r->filter_count++;
	if (use.filter->open)
		use.object = use.filter->open(&opening, use.config);
	r->changes_fields |= !use.filter->keeps_fields_valid;
	f->slot_sizes[use.slot] = (uint32_t)use.filter->worker_size;
	uses[use.index] = use;
}

static void limit_add(struct config_filters *f, struct route *r, struct filter_use *uses, const char *id,
		      const struct config_rate_limit *limit)
{
	if (limit)
		use_add(f, r, uses, (struct filter_use){ .filter = f->rate_limit, .id = id, .config = limit });
}

/* Of the scopes around the route, the widest first. */
static void rates_use(struct config_filters *f, struct route *r, struct filter_use *uses,
		      const struct config_scope *scope)
{
	const struct config_scope_rates *of = &f->rates[scope ? scope->index + 1 : 0];

	if (scope)
		rates_use(f, r, uses, scope->parent);
	for (unsigned i = 0; i < RATE_COUNT; i++)
		limit_add(f, r, uses, of->ids[i], of->limits[i]);
}

void config_filters_build(struct config_filters *f, struct route *r, const struct config_route *c)
{
	const struct config *config = f->config;
	struct filter_use *uses = arena_array(&f->snapshot->arena, c->filters.count + LIMITS_USES, sizeof(*uses));

	r->filters = uses;
	limit_add(f, r, uses, "global", config->rate_limits.global);
	rates_use(f, r, uses, c->scope);
	limit_add(f, r, uses, "policies", c->policies.rate_limit);
	for (size_t i = 0; i < c->filters.count; i++) {
		const struct schema_variant *v = config->filters;

		while (strcmp(v->id, c->filters.items[i].text) != 0)
			CHECK(++v < config->filters + config->filter_count);
		use_add(f, r, uses,
			(struct filter_use){ .filter = filter_find(v->block->name), .id = v->id, .config = v->config });
	}
}
