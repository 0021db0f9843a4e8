/* SPDX-License-Identifier: GPL-2.0-only */
/* config_check.c - rules across blocks: references, doubled addresses, what nobody uses. */
#include "proxy/config_rows.h"

#include <net/if.h>

/* ---- what nobody uses ---- */

static void check_unused(struct schema *s, const struct config *c)
{
	for (size_t i = 0; i < c->upstream_count; i++) {
		bool is_used = !c->upstreams[i].id;

		for (size_t r = 0; r < c->route_count && !is_used; r++)
			is_used = c->routes[r].upstream &&
				  strcmp(c->routes[r].upstream, c->upstreams[i].id) == 0;
		if (!is_used)
			diag_warning(s->diag, c->upstreams[i].meta.pos, "no route uses upstream \"%s\"",
				     c->upstreams[i].id);
	}
	for (size_t i = 0; i < c->filter_count; i++) {
		bool is_used = !c->filters[i].id || !*c->filters[i].id;

		for (size_t r = 0; r < c->route_count && !is_used; r++)
			for (size_t f = 0; f < c->routes[r].filters.count && !is_used; f++)
				is_used = strcmp(c->routes[r].filters.items[f].text, c->filters[i].id) == 0;
		if (!is_used)
			diag_warning(s->diag, c->filters[i].meta.pos, "no route uses filter \"%s\"",
				     c->filters[i].id);
	}
}

/* ---- addresses ---- */

static bool address_eq(const union value_addr *a, const union value_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family || a->sa.sa_family == 0 || a->in.sin_port != b->in.sin_port)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

static bool address_is_loopback(const union value_addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return (ntohl(a->in.sin_addr.s_addr) >> 24) == 127;
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

static void check_addresses(struct schema *s, const struct config *c)
{
	const struct config_metrics *m = &c->observability.metrics;
	char text[VALUE_TEXT_MAX];

	for (size_t i = 0; i < c->listener_count; i++) {
		const struct config_listener *l = &c->listeners[i];

		for (size_t j = 0; j < i; j++)
			if (address_eq(&l->address, &c->listeners[j].address))
				diag_note(s->diag,
					  diag_error(s->diag, SCHEMA_POS(l, address),
						     "listener \"%s\" has the address of listener \"%s\"",
						     l->id, c->listeners[j].id),
					  SCHEMA_POS(&c->listeners[j], address), "first used here");
		if (m->is_enabled && address_eq(&l->address, &m->address))
			diag_hint(s->diag,
				  diag_error(s->diag, SCHEMA_POS(l, address),
					     "%s is where the metrics are served",
					     value_addr_text(text, &l->address)),
				  "give `observability { metrics { address \"...\" } }` another port");
	}
	if (m->is_enabled && SCHEMA_HAS_VALID(m, address) && !address_is_loopback(&m->address))
		diag_hint(s->diag,
			  diag_warning(s->diag, SCHEMA_POS(m, address),
				       "everybody who reaches %s can read the metrics",
				       value_addr_text(text, &m->address)),
			  "an address like 127.0.0.1 keeps them on this host");
}

/* Pages about the inside of the proxy that a route offers to the world. */
static void check_exposed(struct schema *s, const struct config *c)
{
	static const char *const inside[] = { "config", "upstreams", "metrics" };

	for (size_t r = 0; r < c->route_count; r++) {
		const struct config_route *route = &c->routes[r];
		bool is_inside = false;

		for (size_t i = 0; route->builtin_handler && i < ARRAY_LEN(inside); i++)
			is_inside |= strcmp(route->builtin_handler, inside[i]) == 0;
		for (size_t i = 0; is_inside && i < c->listener_count; i++) {
			const struct config_listener *l = &c->listeners[i];

			if (!config_route_is_on(route, l->namespace_id, l->id) ||
			    l->address.sa.sa_family == 0 || address_is_loopback(&l->address))
				continue;
			diag_note(s->diag,
				  diag_warning(s->diag, SCHEMA_POS(route, builtin_handler),
					       "route \"%s\" shows the inside of the proxy to everybody",
					       route->id),
				  l->meta.pos, "it is served on this listener; `listeners` can restrict it");
			break;
		}
	}
}

/* ---- the PROXY protocol ---- */

/* Or wrong ones, of which somebody else complains. */
static bool has_trusted(const struct config_system *system, const struct config_listener *l)
{
	if (SCHEMA_HAS(l, trusted_proxies))
		return l->trusted_proxies.count > 0 || !SCHEMA_HAS_VALID(l, trusted_proxies);
	return system->trusted_proxies.count > 0 ||
	       (SCHEMA_HAS(system, trusted_proxies) && !SCHEMA_HAS_VALID(system, trusted_proxies));
}

static void check_proxy_protocol(struct schema *s, const struct config *c)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct config_listener *l = &c->listeners[i];
		struct diag_item *item;

		if (l->proxy_protocol == SERVER_PROXY_OFF || has_trusted(&c->system, l))
			continue;
		if (l->proxy_protocol == SERVER_PROXY_REQUIRE)
			item = diag_error(s->diag, SCHEMA_POS(l, proxy_protocol),
					  "listener \"%s\" would refuse everybody: it has no `trusted-proxies`", l->id);
		else
			item = diag_warning(s->diag, SCHEMA_POS(l, proxy_protocol),
					    "nobody's header is read: listener \"%s\" has no `trusted-proxies`",
					    l->id);
		diag_hint(s->diag, item, "add `trusted-proxies \"...\"`: the networks of the proxies in front");
	}
}

/* ---- listeners without HTTP ---- */

/* Conditions of one kind are alternatives, but for fields and parameters: all of those must hold. */
static bool route_takes_raw(const struct config_route *r, bool has_name)
{
	bool has_paths = false, path_fits = false, has_methods = false, method_fits = false;

	for (const struct config_match *m = r->matches.first; m; m = m->next) {
		switch (m->kind) {
		case MATCH_PATH_REGEX:
			path_fits = true; /* it may */
			has_paths = true;
			break;
		case MATCH_PATH:
		case MATCH_PATH_PREFIX:
			path_fits |= m->value && strcmp(m->value, "/") == 0;
			has_paths = true;
			break;
		case MATCH_METHOD:
			method_fits |= m->value && strcmp(m->value, "CONNECT") == 0;
			has_methods = true;
			break;
		case MATCH_HOST:
			if (!has_name)
				return false;
			break;
		default:
			return false;
		}
	}
	return r->upstream && path_fits == has_paths && method_fits == has_methods;
}

static void check_raw(struct schema *s, const struct config *c)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct config_listener *l = &c->listeners[i];
		const struct config_route *r = l->default_route ? config_route_find(c, l->default_route) : NULL;
		bool has_name = l->protocol == CONFIG_PROTOCOL_TLS_PASSTHROUGH, is_served = r && r->upstream;

		if (!has_name && l->protocol != CONFIG_PROTOCOL_TCP)
			continue;
		for (size_t n = 0; n < c->route_count && !is_served; n++)
			is_served = config_route_is_on(&c->routes[n], l->namespace_id, l->id) &&
				    route_takes_raw(&c->routes[n], has_name);
		if (!is_served)
			diag_hint(s->diag,
				  diag_warning(s->diag, SCHEMA_POS(l, protocol),
					       "no route takes the connections of listener \"%s\"", l->id),
				  "add `default-route \"...\"` with a route that has an upstream");
	}
}

/* ---- the rest ---- */

static bool has_guard(const struct config_kernel *k)
{
	for (size_t i = 0; i < k->interface_count; i++) {
		const struct config_interface *n = &k->interfaces[i];

		if ((SCHEMA_HAS(n, mode) ? n->mode : k->mode) != CONFIG_GUARD_OFF)
			return true;
	}
	return false;
}

static void check_kernel(struct schema *s, const struct config *c)
{
	if (c->kernel.budget.packet_count > 0 && !has_guard(&c->kernel))
		diag_warning(s->diag, c->kernel.budget.packets[0].meta.pos,
			     "budgets of packets are not enforced without a guard: no `interface` is configured");
	for (size_t i = 0; i < c->kernel.interface_count; i++) {
		const struct config_interface *n = &c->kernel.interfaces[i];

		if (n->name && if_nametoindex(n->name) == 0)
			diag_warning(s->diag, n->meta.pos, "there is no interface \"%s\" now", n->name);
	}
}

/* ---- who is served ---- */

static void check_served(struct schema *s, const struct config *c)
{
	if (c->listener_count && c->route_count == 0) {
		diag_warning(s->diag, c->listeners[0].meta.pos, "there is no route: every request gets 404");
		return;
	}
	for (size_t i = 0; i < c->listener_count; i++) {
		const struct config_listener *l = &c->listeners[i];
		bool is_served = l->default_route || !l->id || l->protocol == CONFIG_PROTOCOL_TCP ||
				 l->protocol == CONFIG_PROTOCOL_TLS_PASSTHROUGH;

		for (size_t n = 0; n < c->route_count && !is_served; n++)
			is_served = config_route_is_on(&c->routes[n], l->namespace_id, l->id);
		if (!is_served)
			diag_warning(s->diag, l->meta.pos,
				     "no route is served on listener \"%s\": every request gets 404", l->id);
	}
	for (size_t i = 0; i < c->namespace_count; i++) {
		const struct config_scope *space = &c->namespaces[i];
		bool is_served = !space->has_routes;

		for (size_t n = 0; n < c->listener_count && !is_served; n++)
			is_served = c->listeners[n].namespace_id &&
				    strcmp(c->listeners[n].namespace_id, space->name) == 0;
		if (!is_served)
			diag_hint(s->diag,
				  diag_warning(s->diag, space->meta.pos, "no listener serves namespace \"%s\"",
					       space->name),
				  "add `namespace \"%s\"` to a listener", space->name);
	}
}

void config_check(struct schema *s, void *config)
{
	const struct config *c = config;

	config_scopes_flatten(s, config);
	rate_limits_check(s, config);
	config_references_check(s, config);
	check_addresses(s, c);
	check_proxy_protocol(s, c);
	check_raw(s, c);
	check_kernel(s, c);
	config_geo_check(s, c);
	check_served(s, c);
	check_unused(s, c);
	check_exposed(s, c);
}
