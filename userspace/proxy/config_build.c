/* SPDX-License-Identifier: GPL-2.0-only */
/* config_build.c - from what was written to what the data path reads: a whole snapshot, or nothing. */
#include "proxy/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/access_log.h"
#include "proxy/config_filters.h"
#include "proxy/config_rows.h"
#include "proxy/handler.h"
#include "proxy/snapshot.h"

struct builder {
	struct snapshot *snapshot; /* being built */
	struct arena *arena;	   /* its arena */
	const struct config *config;
	struct config_registry *registry;
	const struct snapshot *previous; /* or NULL */
	struct diag *diag;

	struct listener *listeners;
	struct route *routes;
	unsigned file_routes; /* the first routes come from the file, the others are internal */
	const struct router **routers; /* of routes that name no listener: outside of namespaces, then of each one */
	struct upstream *upstreams;
	struct config_filters filters;
};

/* ---- small conversions ---- */

static void addr_from_value(struct addr *out, const union value_addr *v)
{
	*out = (struct addr){ 0 };
	if (v->sa.sa_family == AF_INET6) {
		out->in6 = v->in6;
		out->len = sizeof(out->in6);
	} else {
		out->in = v->in;
		out->len = sizeof(out->in);
	}
}

static const struct prefix *prefixes_build(struct builder *b, const struct schema_cidrs *cidrs)
{
	struct prefix *p = arena_array(b->arena, cidrs->count, sizeof(*p));

	for (size_t i = 0; i < cidrs->count; i++) {
		const struct value_cidr *c = &cidrs->items[i];

		if (c->family == AF_INET) {
			ip16_from_v4(p[i].ip, c->addr);
			p[i].len = (uint8_t)(96 + c->bits);
		} else {
			memcpy(p[i].ip, c->addr, 16);
			p[i].len = c->bits;
		}
	}
	return p;
}

/* ---- TLS ---- */

static void server_put(void *server)
{
	tls_server_put(server);
}

static struct tls_server *server_tls(struct builder *b, const struct config_listener *c)
{
	struct tls_server *server = c->tls ? config_tls_server(&b->registry->tls, c, b->diag) : NULL;

	if (server)
		arena_on_reset(b->arena, server_put, server);
	return server;
}

static void client_put(void *client)
{
	tls_client_put(client);
}

static struct tls_client *client_tls(struct builder *b, const struct config_upstream *c)
{
	struct tls_client *client = c->tls ? config_tls_client(&b->registry->tls, c, b->diag) : NULL;

	if (client)
		arena_on_reset(b->arena, client_put, client);
	return client;
}

/* ---- upstreams ---- */

struct endpoint_refs {
	struct config_registry *registry;
	const struct upstream *upstreams;
	unsigned count;
};

static void endpoints_put(void *ptr)
{
	struct endpoint_refs *refs = ptr;

	for (unsigned i = 0; i < refs->count; i++)
		for (unsigned e = 0; e < refs->upstreams[i].endpoint_count; e++)
			endpoint_put(&refs->registry->endpoints, refs->upstreams[i].endpoints[e]);
}

static void upstream_add(struct builder *b, struct upstream *u, const char *address, unsigned weight,
			 struct schema_pos pos)
{
	struct endpoint *e = endpoint_get(&b->registry->endpoints, address);

	if (!e) {
		diag_error(b->diag, pos, "there are more than %d targets", ENDPOINTS_MAX);
		return;
	}
	u->endpoints[u->endpoint_count] = e;
	u->weights[u->endpoint_count++] = weight;
}

static void connection_build(struct builder *b, struct upstream_connection_settings *to,
			     const struct config_upstream *c)
{
	const struct config_http_version *version = &c->http_version;

	*to = (struct upstream_connection_settings){
		.tls = client_tls(b, c),
		.tls_name = c->tls && c->tls->sni ? span_str(c->tls->sni) : SPAN(""),
		.http = c->tls && version->max == 2 ? UPSTREAM_HTTP_AUTO : UPSTREAM_HTTP1,
		.h2_streams_max = version->h2_streams_max,
		.h2_ping_interval_ms = version->h2_ping_interval_ms,
		.proxy_protocol = c->proxy_protocol,
	};
	if (version->min == 2)
		to->http = UPSTREAM_HTTP2;
}

/* Of each target. */
static unsigned idle_max(const struct builder *b, const struct upstream *u, const struct config_upstream *c)
{
	uint32_t all = b->config->limits.idle_connections_max;

	if (all == 0)
		return c->pool.max_idle;
	return MIN(c->pool.max_idle, MAX(all / MAX(u->endpoint_count, 1U), 1U));
}

static void upstream_build(struct builder *b, struct upstream *u, const struct config_upstream *c)
{
	u->id = c->id;
	u->endpoints = arena_array(b->arena, c->target_count + 1, sizeof(*u->endpoints));
	u->weights = arena_array(b->arena, c->target_count + 1, sizeof(*u->weights));
	if (c->address)
		upstream_add(b, u, c->address, 1, SCHEMA_POS(c, address));
	for (size_t i = 0; i < c->target_count; i++)
		upstream_add(b, u, c->targets[i].address, c->targets[i].weight, c->targets[i].meta.pos);
	u->balancer = balancer_find(schema_word_text(config_balancer_words, c->balancing.algorithm));
	CHECK(u->balancer);
	u->timeouts = (struct upstream_timeouts){
		.connect_ms = c->timeouts.connect_ms,
		.first_byte_ms = c->timeouts.first_byte_ms,
		.read_ms = c->timeouts.read_ms,
		.write_ms = c->timeouts.write_ms,
	};
	connection_build(b, &u->connection, c);
	u->pool = (struct upstream_pool_settings){
		.max_connections = c->pool.max_connections,
		.max_idle = idle_max(b, u, c),
		.idle_timeout_ms = c->pool.idle_timeout_ms,
		.max_lifetime_ms = c->pool.max_lifetime_ms,
		.max_requests = c->pool.max_requests,
	};
}

static void upstreams_build(struct builder *b)
{
	size_t count = b->config->upstream_count;
	struct endpoint_refs *refs = arena_zalloc(b->arena, sizeof(*refs));

	b->upstreams = arena_array(b->arena, count, sizeof(*b->upstreams));
	for (size_t i = 0; i < count; i++) {
		b->upstreams[i].index = (uint32_t)i;
		upstream_build(b, &b->upstreams[i], &b->config->upstreams[i]);
	}
	*refs = (struct endpoint_refs){ b->registry, b->upstreams, (unsigned)count };
	arena_on_reset(b->arena, endpoints_put, refs);
	b->snapshot->upstreams = b->upstreams;
	b->snapshot->upstream_count = (unsigned)count;
}

/* ---- routes ---- */

static void retry_build(struct retry_settings *out, const struct config_retry *c)
{
	*out = (struct retry_settings){ .attempts_max = 1, .budget_percent = 20, .replay_buffer_max = 65536 };
	if (!c)
		return;
	out->attempts_max = c->attempts_max;
	out->retries_non_idempotent = c->retries_non_idempotent;
	out->backoff_base_ms = c->backoff_base_ms;
	out->backoff_max_ms = c->backoff_max_ms;
	out->replay_buffer_max = (uint32_t)c->replay_buffer_max;
	out->budget_percent = c->budget_percent;
	for (size_t i = 0; i < c->statuses.count; i++)
		out->statuses[c->statuses.items[i] / 64] |= 1ull << (c->statuses.items[i] % 64);
}

static void route_defaults(struct builder *b, struct route *r, const char *id)
{
	r->id = id;
	r->index = (uint32_t)(r - b->routes);
	r->tunnel_idle_ms = 3600 * 1000;
	r->body_max = b->config->limits.body_max;
	retry_build(&r->retry, NULL);
}

static void bound_add(struct builder *b, struct route *r, struct route_bound *to, uint64_t max, const char *scope)
{
	const char *name = scope ? arena_printf(b->arena, ":%s", scope) : r->id;

	if (max)
		to[r->bound_count++] = (struct route_bound){ config_progress_count(b->registry, name), max, scope };
}

static void bounds_build(struct builder *b, struct route *r, const struct config_route *c)
{
	struct route_bound *bounds = arena_array(b->arena, ROUTE_BOUNDS_MAX, sizeof(*bounds));
	uint64_t max = b->config->limits.route_connections_max;

	for (const struct config_scope *scope = c->scope; scope; scope = scope->parent)
		max = config_limit_min(max, scope->limits.route_connections_max);
	bound_add(b, r, bounds, max, NULL);
	for (const struct config_scope *scope = c->scope; scope; scope = scope->parent)
		bound_add(b, r, bounds, scope->limits.in_flight_max, scope->name);
	r->bounds = bounds;
}

static void route_build(struct builder *b, struct route *r, const struct config_route *c)
{
	const struct config_policies *p = &c->policies;

	route_defaults(b, r, c->id);
	r->pos = c->meta.pos;
	bounds_build(b, r, c);
	config_filters_build(&b->filters, r, c);
	/* a route that only redirects never gets to its handler */
	r->handler = c->upstream ? &handler_forward
				 : handler_find(c->builtin_handler ? c->builtin_handler : "not-found");
	CHECK(r->handler);
	if (c->upstream)
		r->upstream =
			&b->upstreams[config_upstream_find(b->config, c->upstream) - b->config->upstreams];
	header_ops_build(&r->request_headers, &p->request_headers.ops, b->arena);
	header_ops_build(&r->response_headers, &p->response_headers.ops, b->arena);
	r->timeout_ms = p->timeout_ms;
	r->tunnel_idle_ms = p->tunnel_idle_ms;
	if (SCHEMA_HAS(p, body_max))
		r->body_max = p->body_max;
	retry_build(&r->retry, c->retry);
	r->websocket = c->allows_upgrade ? ROUTE_UPGRADE_ALLOWED : ROUTE_UPGRADE_REFUSED;
	r->allows_connect = c->allows_connect;
	r->splice = SCHEMA_HAS(c, splice) ? c->splice : b->config->kernel.splice;
	r->prefers_json_errors = c->service != CONFIG_SERVICE_WEB || c->builtin_handler;
}

/* Pages of the metrics listener: path, handler. */
static const struct {
	const char *id, *path, *handler;
} pages[] = {
	{ "(metrics)", NULL, "metrics" }, /* NULL: the path that is configured */
	{ "(health)", "/health", "health" }, { "(status)", "/status", "status" },
	{ "(config)", "/config", "config" }, { "(upstreams)", "/upstreams", "upstreams" },
};

static void routes_build(struct builder *b)
{
	size_t count = b->config->route_count;

	config_filters_begin(&b->filters, b->snapshot, b->config, b->registry, b->diag);
	b->routes = arena_array(b->arena, count + ARRAY_LEN(pages), sizeof(*b->routes));
	for (size_t i = 0; i < count; i++)
		route_build(b, &b->routes[i], &b->config->routes[i]);
	b->file_routes = (unsigned)count;
	for (size_t i = 0; b->config->observability.metrics.is_enabled && i < ARRAY_LEN(pages);
	     i++, count++) {
		struct route *r = &b->routes[count];

		route_defaults(b, r, pages[i].id);
		r->handler = handler_find(pages[i].handler);
		CHECK(r->handler);
		r->prefers_json_errors = true;
	}
	b->snapshot->routes = b->routes;
	b->snapshot->route_count = (unsigned)count;
}

/* ---- routers ---- */

static void match_build(struct builder *b, struct route_match *m, const struct route *r)
{
	const struct config_route *c = &b->config->routes[r->index];
	struct match_condition *conditions = arena_array(b->arena, c->matches.count, sizeof(*conditions));
	unsigned n = 0;

	for (const struct config_match *p = c->matches.first; p; p = p->next)
		conditions[n++] = (struct match_condition){ p->kind, p->name, p->value };
	*m = (struct route_match){
		.route = r,
		.id = r->id,
		.priority = c->priority,
		.order = r->index,
		.line = c->meta.pos.line,
		.conditions = conditions,
		.count = n,
	};
}

struct hidden {
	struct builder *b;
};

static void hidden_report(void *ctx, const struct route_match *lost, const struct route_match *by)
{
	struct builder *b = ((struct hidden *)ctx)->b;

	diag_note(b->diag, diag_warning(b->diag, lost->route->pos, "route \"%s\" is never reached", lost->id),
		  by->route->pos, "route \"%s\" takes all its requests", by->id);
}

static const struct router *router_make(struct builder *b, const struct route_match *matches, unsigned count)
{
	struct router *router = NULL;
	const char *why = NULL;

	if (router_build(&router, matches, count, b->arena, &why) < 0)
		diag_error(b->diag, (struct schema_pos){ 0 }, "the routes cannot be compiled: %s", why);
	return router;
}

/* Of what listeners of that namespace serve, and this one of them; listener NULL: of the routes that name none. */
static const struct router *router_compile(struct builder *b, const char *namespace_id, const char *listener)
{
	struct route_match *matches = arena_array(b->arena, b->file_routes, sizeof(*matches));
	struct hidden hidden = { b };
	const struct router *router;
	unsigned n = 0;

	for (unsigned i = 0; i < b->file_routes; i++)
		if (config_route_is_on(&b->config->routes[i], namespace_id, listener))
			match_build(b, &matches[n++], &b->routes[i]);
	router = router_make(b, matches, n);
	if (router)
		router_find_hidden(router, hidden_report, &hidden);
	return router;
}

/* Shared by all listeners of the namespace, but for those that have routes of their own. */
static const struct router *router_for(struct builder *b, const char *namespace_id, const char *listener)
{
	const struct config_scope *space = namespace_id ? config_namespace_find(b->config, namespace_id) : NULL;
	const struct router **shared = space ? &b->routers[space - b->config->namespaces + 1] : &b->routers[0];

	for (unsigned i = 0; listener && i < b->file_routes; i++)
		if (b->config->routes[i].listeners.count &&
		    config_route_is_on(&b->config->routes[i], namespace_id, listener))
			return router_compile(b, namespace_id, listener);
	if (namespace_id && !space)
		return router_compile(b, namespace_id, NULL); /* it left the file: nothing */
	if (!*shared)
		*shared = router_compile(b, namespace_id, NULL);
	return *shared;
}

static const struct router *router_for_pages(struct builder *b)
{
	struct route_match matches[ARRAY_LEN(pages)];

	for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
		struct match_condition *condition = arena_zalloc(b->arena, sizeof(*condition));

		condition->kind = MATCH_PATH;
		condition->value = pages[i].path ? pages[i].path : b->config->observability.metrics.path;
		matches[i] = (struct route_match){
			.route = &b->routes[b->file_routes + i],
			.id = pages[i].id,
			.order = i,
			.conditions = condition,
			.count = 1,
		};
	}
	return router_make(b, matches, ARRAY_LEN(matches));
}

/* ---- listeners ---- */

static void server_build(struct builder *b, struct server_settings *s)
{
	const struct config_limits *limits = &b->config->limits;

	*s = (struct server_settings){
		.limits = { .request_line_max = limits->request_line_max,
			    .head_max = limits->head_max,
			    .fields_max = limits->fields_max,
			    .trailer_max = 8192,
			    .chunk_line_max = 256 },
		.head_timeout_ms = 10 * 1000,
		.body_idle_timeout_ms = 30 * 1000,
		.keep_alive_timeout_ms = 75 * 1000,
		.write_idle_timeout_ms = 30 * 1000,
		.handshake_timeout_ms = 10 * 1000,
		.h2_streams_max = 100,
		.handshakes_max = 1000,
		.min_rate = limits->min_rate,
	};
}

static enum server_protocol protocol_of(enum config_protocol p)
{
	static const enum server_protocol protocols[] = {
		[CONFIG_PROTOCOL_HTTP] = SERVER_HTTP,
		[CONFIG_PROTOCOL_HTTPS] = SERVER_HTTPS,
		[CONFIG_PROTOCOL_H2] = SERVER_HTTPS,
		[CONFIG_PROTOCOL_H2C] = SERVER_H2C,
		[CONFIG_PROTOCOL_TCP] = SERVER_TCP,
		[CONFIG_PROTOCOL_TLS_PASSTHROUGH] = SERVER_TLS_PASSTHROUGH,
	};

	return protocols[p];
}

static void connections_build(struct builder *b, struct server_settings *s, const struct config_listener *c)
{
	s->protocol = protocol_of(c->protocol);
	s->tls = server_tls(b, c);
	s->proxy_protocol = c->proxy_protocol;
	s->handshake_timeout_ms = c->handshake_timeout_ms;
	s->handshakes_max = c->handshakes_max;
	s->h2_streams_max = c->h2_streams_max;
	s->h2_ping_interval_ms = c->h2_ping_interval_ms;
}

static void listener_build(struct builder *b, struct listener *l, const struct config_listener *c)
{
	const struct schema_cidrs *trusted =
		SCHEMA_HAS(c, trusted_proxies) ? &c->trusted_proxies : &b->config->system.trusted_proxies;

	l->id = c->id;
	addr_from_value(&l->addr, &c->address);
	l->number = config_listener_number(b->registry, l->id, &l->addr);
	l->pos = c->meta.pos;
	server_build(b, &l->server);
	l->server.head_timeout_ms = c->head_timeout_ms;
	l->server.body_idle_timeout_ms = c->body_timeout_ms;
	l->server.keep_alive_timeout_ms = c->keep_alive_timeout_ms;
	l->server.write_idle_timeout_ms = c->write_timeout_ms;
	l->server.keep_alive_requests_max = c->keep_alive_requests_max;
	connections_build(b, &l->server, c);
	l->trusted_proxies = prefixes_build(b, trusted);
	l->trusted_proxy_count = (unsigned)trusted->count;
	l->server.proxy_protocol_from = l->trusted_proxies;
	l->server.proxy_protocol_from_count = l->trusted_proxy_count;
	if (c->tls && c->tls->client_auth != TLS_CLIENT_AUTH_NONE)
		l->client_fields = &c->tls->client_fields;
	if (c->default_route)
		l->default_route =
			&b->routes[config_route_find(b->config, c->default_route) - b->config->routes];
	l->router = router_for(b, c->namespace_id, c->id);
	b->registry->had_namespaces |= c->namespace_id != NULL;
}

static void listener_build_pages(struct builder *b, struct listener *l)
{
	l->id = CONFIG_METRICS_LISTENER;
	addr_from_value(&l->addr, &b->config->observability.metrics.address);
	l->number = config_listener_number(b->registry, l->id, &l->addr);
	l->pos = SCHEMA_POS(&b->config->observability.metrics, address);
	server_build(b, &l->server);
	l->router = router_for_pages(b);
}

static const struct config_client_fields *client_fields_copy(struct builder *b, const struct config_client_fields *was)
{
	struct config_client_fields *copy;

	if (!was)
		return NULL;
	copy = arena_zalloc(b->arena, sizeof(*copy));
	copy->verified = arena_strdup(b->arena, was->verified);
	copy->subject = arena_strdup(b->arena, was->subject);
	copy->fingerprint = arena_strdup(b->arena, was->fingerprint);
	copy->names = arena_strdup(b->arena, was->names);
	return copy;
}

/* What was accepted by a listener that left the file is served once more each, by the routes of all listeners of its
 * namespace. */
static void listener_build_removed(struct builder *b, struct listener *l, const struct listener *was)
{
	const struct config_listener *c = config_listener_find(b->previous->config, was->id);
	struct prefix *trusted = arena_array(b->arena, was->trusted_proxy_count, sizeof(*trusted));

	if (was->trusted_proxy_count)
		memcpy(trusted, was->trusted_proxies, was->trusted_proxy_count * sizeof(*trusted));
	*l = *was;
	l->id = arena_strdup(b->arena, was->id);
	l->pos = (struct schema_pos){ 0 };
	l->server.keep_alive_requests_max = 1;
	l->trusted_proxies = trusted;
	l->server.proxy_protocol_from = trusted;
	if (was->server.tls)
		arena_on_reset(b->arena, server_put, tls_server_get(was->server.tls));
	l->client_fields = client_fields_copy(b, was->client_fields);
	l->default_route = NULL;
	l->router = router_for(b, c ? c->namespace_id : NULL, NULL);
	l->is_removed = true;
}

/* Each name once, of listeners that left the file too. */
static void client_fields_add(struct builder *b, const char *name)
{
	struct snapshot *s = b->snapshot;

	for (unsigned i = 0; i < s->client_field_count; i++)
		if (span_eq_nocase(s->client_fields[i], span_str(name)))
			return;
	s->client_fields[s->client_field_count++] = span_str(name);
}

static void client_fields_build(struct builder *b, unsigned listener_count)
{
	b->snapshot->client_fields = arena_array(b->arena, (size_t)listener_count * 4, sizeof(struct span));
	for (unsigned i = 0; i < listener_count; i++) {
		const struct config_client_fields *f = b->listeners[i].client_fields;

		if (!f)
			continue;
		client_fields_add(b, f->verified);
		client_fields_add(b, f->subject);
		client_fields_add(b, f->fingerprint);
		client_fields_add(b, f->names);
	}
}

static void listeners_build(struct builder *b)
{
	const struct config *c = b->config;
	unsigned old_count = b->previous ? b->previous->listener_count : 0, n = 0;

	b->listeners = arena_array(b->arena, c->listener_count + 1 + old_count, sizeof(*b->listeners));
	b->routers = arena_array(b->arena, c->namespace_count + 1, sizeof(*b->routers));
	for (size_t i = 0; i < c->listener_count; i++)
		listener_build(b, &b->listeners[n++], &c->listeners[i]);
	if (c->observability.metrics.is_enabled)
		listener_build_pages(b, &b->listeners[n++]);
	for (unsigned i = 0; i < old_count; i++) {
		const struct listener *was = &b->previous->listeners[i];
		bool is_there = was->is_removed;

		for (unsigned k = 0; k < n && !is_there; k++)
			is_there = b->listeners[k].number == was->number;
		if (!is_there)
			listener_build_removed(b, &b->listeners[n++], was);
	}
	b->snapshot->router = b->registry->had_namespaces ? router_make(b, NULL, 0) : router_for(b, NULL, NULL);
	client_fields_build(b, n);
	snapshot_set_listeners(b->snapshot, b->listeners, n);
}

/* ---- the whole ---- */

static uint64_t connections_max(const struct config *c)
{
	if (!SCHEMA_HAS(&c->limits, connections_max))
		return c->system.max_connections;
	if (!SCHEMA_HAS(&c->system, max_connections))
		return c->limits.connections_max;
	return MIN(c->system.max_connections, c->limits.connections_max);
}

static void snapshot_fill(struct builder *b)
{
	struct snapshot *s = b->snapshot;
	const struct config *c = b->config;
	const struct config_log *log = &c->observability.logging.access;

	upstreams_build(b);
	routes_build(b);
	listeners_build(b);
	s->trace_id_format = c->system.trace_id_format;
	s->instance = c->system.instance;
	s->drain_timeout_ms = c->system.drain_timeout_ms;
	s->max_connections = connections_max(c);
	s->limits = (struct client_limits){
		.connections_per_client = c->limits.client_connections_max,
		.in_flight = c->limits.in_flight_max,
		.in_flight_per_worker = c->limits.in_flight_worker_max,
		.queued = c->limits.queued_max,
		.memory_bytes = c->limits.memory_max,
		.memory_percent = c->limits.memory_percent,
	};
	if (log->is_enabled) {
		struct access_log_settings *a = arena_zalloc(b->arena, sizeof(*a));

		a->is_enabled = true;
		a->file = log->file;
		a->format = log->format == CONFIG_LOG_COMBINED ? ACCESS_LOG_COMBINED : ACCESS_LOG_JSON;
		a->buffer_size = log->buffer_bytes;
		s->access_log = a;
	}
	s->config_json = config_json(c, b->arena);
}

static int finish(struct snapshot **out, struct builder *b)
{
	config_tls_registry_begin(&b->registry->tls);
	snapshot_fill(b);
	*out = b->snapshot;
	return b->diag->error_count ? -EINVAL : 0;
}

static int build(struct snapshot **out, const char *name, const struct span *text, struct builder *b)
{
	struct config *c = NULL;
	int rc;

	b->snapshot = snapshot_new();
	b->snapshot->config_owner = b->snapshot;
	b->arena = &b->snapshot->arena;
	rc = text ? config_load_text(b->arena, name, *text, b->diag, &c)
		  : config_load(b->arena, name, b->diag, &c);
	b->config = c;
	b->snapshot->config = c;
	*out = b->snapshot;
	return rc == 0 ? finish(out, b) : -EINVAL;
}

static void owner_put(void *owner)
{
	snapshot_put(owner);
}

int config_rebuild(struct snapshot **out, struct config_registry *r, const struct snapshot *previous, struct diag *d)
{
	struct builder b = { .registry = r, .previous = previous, .diag = d };
	struct snapshot *owner = previous->config_owner;
	int rc;

	b.snapshot = snapshot_new();
	b.arena = &b.snapshot->arena;
	b.config = previous->config;
	b.snapshot->config = previous->config;
	b.snapshot->config_owner = snapshot_get(owner);
	d->sources = previous->config->sources;
	arena_on_reset(b.arena, owner_put, owner);
	r->tls.keeps_old = true;
	rc = finish(out, &b);
	r->tls.keeps_old = false;
	return rc;
}

int config_build(struct snapshot **out, const char *path, struct config_registry *r,
		 const struct snapshot *previous, struct diag *d)
{
	struct builder b = { .registry = r, .previous = previous, .diag = d };

	return build(out, path, NULL, &b);
}

int config_build_text(struct snapshot **out, const char *name, struct span text, struct config_registry *r,
		      const struct snapshot *previous, struct diag *d)
{
	struct builder b = { .registry = r, .previous = previous, .diag = d };

	return build(out, name, &text, &b);
}
