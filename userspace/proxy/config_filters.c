/* SPDX-License-Identifier: GPL-2.0-only */
/* config_filters.c - the uses of filters by a route: limits first, the widest before the others; then its own. */
#include "proxy/config_filters.h"

#include "base/check.h"

#define LIMITS_USES 5 /* at most, before the route's filters */

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
	if (l->rps_global)
		f->rps_global = rate_limit_simple(a, SCHEMA_POS(l, rps_global), l->rps_global, RATE_KEY_NONE);
	if (l->rps_client)
		f->rps_client = rate_limit_simple(a, SCHEMA_POS(l, rps_client), l->rps_client, RATE_KEY_CLIENT_IP);
	if (l->rps_route)
		f->rps_route = rate_limit_simple(a, SCHEMA_POS(l, rps_route), l->rps_route, RATE_KEY_ROUTE);
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

void config_filters_build(struct config_filters *f, struct route *r, const struct config_route *c)
{
	const struct config *config = f->config;
	struct filter_use *uses = arena_array(&f->snapshot->arena, c->filters.count + LIMITS_USES, sizeof(*uses));

	r->filters = uses;
	limit_add(f, r, uses, "global", config->rate_limits.global);
	limit_add(f, r, uses, "max-requests-per-second-global", f->rps_global);
	limit_add(f, r, uses, "max-requests-per-second-per-client", f->rps_client);
	limit_add(f, r, uses, "max-requests-per-second-per-route", f->rps_route);
	limit_add(f, r, uses, "policies", c->policies.rate_limit);
	for (size_t i = 0; i < c->filters.count; i++) {
		const struct schema_variant *v = config->filters;

		while (strcmp(v->id, c->filters.items[i].text) != 0)
			CHECK(++v < config->filters + config->filter_count);
		use_add(f, r, uses,
			(struct filter_use){ .filter = filter_find(v->block->name), .id = v->id, .config = v->config });
	}
}
