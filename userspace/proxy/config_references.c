/* SPDX-License-Identifier: GPL-2.0-only */
/* config_references.c - what a name in the file means: every reference becomes the canonical id of what it names. */
#include "proxy/config_rows.h"

#define NAMES_MAX 256 /* candidates for "did you mean" */

enum kind {
	UPSTREAM,
	FILTER,
	ROUTE,
	LISTENER,
	NAMESPACE,
};

static const char *const kind_names[] = { "upstream", "filter", "route", "listener", "namespace" };

/* Where a name is looked up from. */
struct lookup {
	struct schema *s;
	const struct config *c;
	const struct config_scope *scope; /* NULL: the file */
	enum kind kind;
};

/* ---- all names of a kind ---- */

static const char *id_at(const struct config *c, enum kind kind, size_t i)
{
	switch (kind) {
	case UPSTREAM:
		return i < c->upstream_count ? c->upstreams[i].id : NULL;
	case FILTER:
		return i < c->filter_count ? c->filters[i].id : NULL;
	case ROUTE:
		return i < c->route_count ? c->routes[i].id : NULL;
	case LISTENER:
		return i < c->listener_count ? c->listeners[i].id : NULL;
	case NAMESPACE:
		return i < c->namespace_count ? c->namespaces[i].id : NULL;
	}
	return NULL;
}

static size_t count_of(const struct config *c, enum kind kind)
{
	const size_t counts[] = { c->upstream_count, c->filter_count, c->route_count, c->listener_count,
				  c->namespace_count };

	return counts[kind];
}

static const char *find(const struct config *c, enum kind kind, const char *canonical)
{
	for (size_t i = 0; i < count_of(c, kind); i++) {
		const char *id = id_at(c, kind, i);

		if (id && strcmp(id, canonical) == 0)
			return id;
	}
	return NULL;
}

static const char *last_part(const char *canonical)
{
	const char *colon = strrchr(canonical, ':');

	return colon ? colon + 1 : canonical;
}

/* ---- what is not there ---- */

/* As it could have been written from here: without the scopes around. */
static const char *short_name(const struct lookup *l, const char *canonical)
{
	for (const struct config_scope *scope = l->scope; scope; scope = scope->parent) {
		size_t len = strlen(scope->name);

		if (strncmp(canonical, scope->name, len) == 0 && canonical[len] == ':' &&
		    !strchr(canonical + len + 1, ':'))
			return canonical + len + 1;
	}
	return canonical;
}

/* Is it of the namespace from which it is looked up? */
static bool is_near(const struct lookup *l, const char *canonical)
{
	const struct config_scope *space = l->scope && l->scope->parent ? l->scope->parent : l->scope;
	size_t len = space ? strlen(space->name) : 0;

	return space && strncmp(canonical, space->name, len) == 0 && canonical[len] == ':';
}

/* Would its whole name do where that name was not found?  Routes of other namespaces are not served. */
static bool is_meant(const struct lookup *l, const char *canonical, const char *name)
{
	return (l->kind == UPSTREAM || l->kind == FILTER || (l->kind == ROUTE && is_near(l, canonical))) &&
	       strcmp(last_part(canonical), last_part(name)) == 0;
}

static void missing(const struct lookup *l, struct schema_pos pos, const char *name)
{
	struct diag_item *item = diag_error(l->s->diag, pos, "there is no %s \"%s\"", kind_names[l->kind], name);
	const char *names[NAMES_MAX], *elsewhere = NULL;
	size_t count = 0;

	for (size_t i = 0; i < count_of(l->c, l->kind); i++) {
		const char *id = id_at(l->c, l->kind, i);

		if (!id || !*id)
			continue;
		if (is_meant(l, id, name) && (!elsewhere || (!is_near(l, elsewhere) && is_near(l, id))))
			elsewhere = id;
		if (count < NAMES_MAX)
			names[count++] = strchr(name, ':') ? id : short_name(l, id);
	}
	if (elsewhere)
		diag_hint(l->s->diag, item, "it is \"%s\" elsewhere: write its whole name", elsewhere);
	else if (count == 0)
		diag_hint(l->s->diag, item, "the file has no %s at all", kind_names[l->kind]);
	else
		diag_suggest(l->s->diag, item, span_str(name), names, count);
}

/* ---- exports ---- */

static void exports_resolve(struct schema *s, const struct config *c, const struct config_scope *space,
			    struct schema_strings *list, enum kind kind)
{
	const struct lookup l = { s, c, space, kind };

	for (size_t i = 0; i < list->count; i++) {
		struct schema_string *item = &list->items[i];
		const char *prefix = arena_printf(s->arena, "%s:", space->name);
		const char *name = strchr(item->text, ':') ? item->text
							   : arena_printf(s->arena, "%s%s", prefix, item->text);
		const char *id = find(c, kind, name);

		if (id && strncmp(id, prefix, strlen(prefix)) != 0) {
			diag_hint(s->diag,
				  diag_error(s->diag, item->pos, "%s \"%s\" is not of namespace \"%s\"",
					     kind_names[kind], item->text, space->name),
				  "a namespace exports what it, or a service of it, has");
			id = NULL;
		} else if (!id) {
			missing(&l, item->pos, item->text);
		}
		if (id)
			*item = (struct schema_string){ id, strlen(id), item->pos };
	}
}

/* The export of that short name.  Two: an error, and the first of them. */
static const char *exported(const struct lookup *l, struct schema_pos pos, const char *name)
{
	const char *found = NULL;

	for (size_t i = 0; i < l->c->namespace_count; i++) {
		const struct config_exports *e = &l->c->namespaces[i].exports;
		const struct schema_strings *list = l->kind == FILTER ? &e->filters : &e->upstreams;

		for (size_t k = 0; k < list->count; k++) {
			const char *id = list->items[k].text;

			/* without `:` it is one that was not found */
			if (!strchr(id, ':') || strcmp(last_part(id), name) != 0 || (found && strcmp(found, id) == 0))
				continue;
			if (!found) {
				found = id;
				continue;
			}
			diag_hint(l->s->diag,
				  diag_error(l->s->diag, pos, "%s \"%s\" is exported twice", kind_names[l->kind], name),
				  "write \"%s\" or \"%s\"", found, id);
			return found;
		}
	}
	return found;
}

/* ---- references ---- */

/* The canonical id that a name means, or NULL with the error reported. */
static const char *resolve(const struct lookup *l, struct schema_pos pos, const char *name)
{
	const struct config_scope *scope = strchr(name, ':') ? NULL : l->scope;
	const char *id = NULL;

	for (; scope && !id; scope = scope->parent)
		id = find(l->c, l->kind, arena_printf(l->s->arena, "%s:%s", scope->name, name));
	if (!id)
		id = find(l->c, l->kind, name);
	if (!id && (l->kind == UPSTREAM || l->kind == FILTER) && !strchr(name, ':'))
		id = exported(l, pos, name);
	if (!id)
		missing(l, pos, name);
	return id;
}

static void not_served(struct schema *s, struct schema_pos pos, const struct config_route *r,
		       const struct config_listener *l)
{
	struct diag_item *item = diag_error(s->diag, pos, "listener \"%s\" does not serve route \"%s\"", l->id, r->id);

	diag_note(s->diag, item, r->meta.pos, "this route");
	if (l->namespace_id)
		diag_hint(s->diag, item, "it serves only what is in namespace \"%s\"", l->namespace_id);
	else
		diag_hint(s->diag, item, "only a listener with `namespace \"%s\"` does", config_route_namespace(r));
}

static bool route_always_answers(const struct config *c, const struct config_route *r)
{
	for (size_t i = 0; i < r->filters.count; i++) {
		const struct schema_variant *f = NULL;

		for (size_t k = 0; k < c->filter_count && !f; k++)
			if (c->filters[k].id && strcmp(c->filters[k].id, r->filters.items[i].text) == 0)
				f = &c->filters[k];
		if (!f || !f->block || strcmp(f->block->name, "redirect") == 0)
			return true; /* an unknown filter is an error of its own */
	}
	return false;
}

static void route_resolve(struct schema *s, const struct config *c, struct config_route *r)
{
	const char *id;

	if (r->upstream) {
		id = resolve(&(struct lookup){ s, c, r->scope, UPSTREAM }, SCHEMA_POS(r, upstream), r->upstream);
		r->upstream = id ? id : r->upstream;
	}
	for (size_t i = 0; i < r->filters.count; i++) {
		struct schema_string *item = &r->filters.items[i];

		id = resolve(&(struct lookup){ s, c, r->scope, FILTER }, item->pos, item->text);
		if (id)
			*item = (struct schema_string){ id, strlen(id), item->pos };
	}
	for (size_t i = 0; i < r->listeners.count; i++) {
		const struct schema_string *item = &r->listeners.items[i];
		const struct config_listener *l = config_listener_find(c, item->text);

		if (!l)
			missing(&(struct lookup){ s, c, NULL, LISTENER }, item->pos, item->text);
		else if (!config_route_is_in(r, l->namespace_id))
			not_served(s, item->pos, r, l);
	}
	if (!SCHEMA_HAS(r, upstream) && !SCHEMA_HAS(r, builtin_handler) && !route_always_answers(c, r))
		diag_hint(
			s->diag,
			diag_error(s->diag, r->meta.pos, "route \"%s\" has nowhere to send requests", r->id),
			"add `upstream \"...\"`, `builtin-handler \"...\"` or a filter of type redirect");
}

static void listener_resolve(struct schema *s, const struct config *c, struct config_listener *l)
{
	const struct config_scope *space = l->namespace_id ? config_namespace_find(c, l->namespace_id) : NULL;
	const struct config_route *r;
	const char *id;

	if (l->namespace_id && !space)
		missing(&(struct lookup){ s, c, NULL, NAMESPACE }, SCHEMA_POS(l, namespace_id), l->namespace_id);
	if (!l->default_route || (l->namespace_id && !space))
		return;
	id = resolve(&(struct lookup){ s, c, space, ROUTE }, SCHEMA_POS(l, default_route), l->default_route);
	if (!id)
		return;
	l->default_route = id;
	r = config_route_find(c, id);
	if (!config_route_is_in(r, l->namespace_id))
		not_served(s, SCHEMA_POS(l, default_route), r, l);
}

void config_references_check(struct schema *s, struct config *c)
{
	for (size_t i = 0; i < c->namespace_count; i++) {
		struct config_scope *space = &c->namespaces[i];

		exports_resolve(s, c, space, &space->exports.upstreams, UPSTREAM);
		exports_resolve(s, c, space, &space->exports.filters, FILTER);
	}
	for (size_t i = 0; i < c->route_count; i++)
		route_resolve(s, c, &c->routes[i]);
	for (size_t i = 0; i < c->listener_count; i++)
		listener_resolve(s, c, &c->listeners[i]);
}
