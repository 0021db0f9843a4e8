/* SPDX-License-Identifier: GPL-2.0-only */
/* router_explain.c - says why a route is taken or not, by looking at each condition of each route in turn. */
#include "proxy/router_private.h"

#include "base/check.h"

/* What a condition speaks about, in front of its value. */
static const char *kind_text(const struct rule_condition *c)
{
	switch (c->kind) {
	case MATCH_PATH:
		return "path ";
	case MATCH_PATH_PREFIX:
		return "path prefix ";
	case MATCH_PATH_REGEX:
		return "path regex ";
	case MATCH_HOST:
		return c->is_wildcard ? "host *." : "host ";
	case MATCH_METHOD:
		return "method ";
	case MATCH_HEADER:
		return "header ";
	case MATCH_QUERY_PARAM:
		return "query parameter ";
	}
	return "";
}

static bool prefix_holds(struct span prefix, struct span path)
{
	if (!span_starts(path, prefix))
		return false;
	return path.len == prefix.len || path.ptr[prefix.len] == '/' ||
	       (prefix.len && prefix.ptr[prefix.len - 1] == '/');
}

static bool host_holds(const struct rule_condition *c, struct span host)
{
	char folded[ROUTER_HOST_MAX];
	struct span name = span_of(folded, router_host_fold(host, folded));

	if (!c->is_wildcard)
		return span_eq(name, c->value);
	return name.len > c->value.len + 1 && span_ends(name, c->value) &&
	       name.ptr[name.len - c->value.len - 1] == '.';
}

static bool condition_holds(const struct rule_condition *c, struct router_scratch *s,
			    const struct route_request *q)
{
	switch (c->kind) {
	case MATCH_PATH:
		return span_eq(c->value, q->path);
	case MATCH_PATH_PREFIX:
		return prefix_holds(c->value, q->path);
	case MATCH_PATH_REGEX:
		return regex_matches(c->regex, s->regex, q->path);
	case MATCH_HOST:
		return host_holds(c, q->host);
	case MATCH_METHOD:
		return span_eq(c->value, q->method);
	case MATCH_HEADER:
		return router_header_holds(c, q->headers);
	case MATCH_QUERY_PARAM:
		return router_query_holds(c, q->query);
	}
	return false;
}

/* Kinds whose conditions are alternatives of each other: the first kind names the set. */
static enum match_kind alternatives_of(enum match_kind kind)
{
	return kind <= MATCH_PATH_REGEX ? MATCH_PATH : kind;
}

static bool is_alternative(enum match_kind kind)
{
	return kind != MATCH_HEADER && kind != MATCH_QUERY_PARAM;
}

static struct span subject_of(const struct rule_condition *c, const struct route_request *q)
{
	const struct header *h;

	switch (c->kind) {
	case MATCH_HOST:
		return q->host;
	case MATCH_METHOD:
		return q->method;
	case MATCH_HEADER:
		h = headers_find_name(q->headers, c->name);
		return h ? h->value : (struct span){ 0 };
	case MATCH_QUERY_PARAM:
		return (struct span){ 0 };
	default:
		return q->path;
	}
}

/* "path prefix /api does not match /x": the first condition of the set that failed, and how many more there
 * are. */
static void refusal_text(struct strbuf *out, const struct rule_condition *c, unsigned alternatives,
			 const struct route_request *q)
{
	struct rule_condition presence = *c;
	struct span subject = subject_of(c, q);

	strbuf_add_str(out, kind_text(c));
	if (!is_alternative(c->kind)) {
		presence.has_value = false;
		strbuf_add_span(out, c->name);
		if (!condition_holds(&presence, NULL, q))
			strbuf_add_str(out, " is missing");
		else if (c->kind == MATCH_HEADER)
			strbuf_printf(out, " is \"" SPAN_FMT "\", not \"" SPAN_FMT "\"", SPAN_ARG(subject),
				      SPAN_ARG(c->value));
		else
			strbuf_printf(out, " is not \"" SPAN_FMT "\"", SPAN_ARG(c->value));
		return;
	}
	strbuf_add_span(out, c->value);
	if (alternatives > 1)
		strbuf_printf(out, " and %u more do not match ", alternatives - 1);
	else
		strbuf_add_str(out, c->kind == MATCH_PATH || c->kind == MATCH_METHOD ? " is not "
										     : " does not match ");
	if (subject.len)
		strbuf_add_span(out, subject);
	else
		strbuf_add_str(out, "an empty one");
}

/* Sets of alternatives stand together, because conditions are sorted by kind. */
static bool rule_holds(const struct router_rule *rule, struct router_scratch *s,
		       const struct route_request *q, struct strbuf *out_why)
{
	for (unsigned i = 0, end; i < rule->count; i = end) {
		const struct rule_condition *first = &rule->conditions[i];
		bool holds = false;

		end = i;
		do {
			holds |= condition_holds(&rule->conditions[end], s, q);
			end++;
		} while (end < rule->count && is_alternative(first->kind) &&
			 alternatives_of(rule->conditions[end].kind) == alternatives_of(first->kind));
		if (!holds) {
			refusal_text(out_why, first, end - i, q);
			return false;
		}
	}
	return true;
}

static void winner_text(struct strbuf *out, const struct router_rule *rule)
{
	if (!rule->count)
		strbuf_add_str(out, "it has no conditions");
	for (unsigned i = 0; i < rule->count; i++) {
		const struct rule_condition *c = &rule->conditions[i];

		if (i)
			strbuf_add_str(out, ", ");
		strbuf_add_str(out, kind_text(c));
		strbuf_add_span(out, c->name);
		if (c->name.len && c->has_value)
			strbuf_add_str(out, " = ");
		strbuf_add_span(out, c->value);
	}
}

static void beaten_text(struct strbuf *out, const struct router_rule *rule, const struct router_rule *by)
{
	strbuf_printf(out, "matches too, but \"%s\" comes first: ", by->match.id);
	if (by->match.priority != rule->match.priority)
		strbuf_printf(out, "priority %d over %d", by->match.priority, rule->match.priority);
	else if (by->score != rule->score)
		strbuf_printf(out, "more specific (%d over %d)", by->score, rule->score);
	else
		strbuf_add_str(out, "earlier in the file");
}

void router_explain(const struct router *r, struct router_scratch *s, const struct route_request *q,
		    router_explain_fn fn, void *ctx)
{
	const struct router_rule *winner = NULL;
	struct strbuf why;

	strbuf_init(&why);
	for (uint32_t rank = 0; rank < r->rule_count; rank++) {
		const struct router_rule *rule = &r->rules[rank];
		bool holds;

		strbuf_reset(&why);
		holds = rule_holds(rule, s, q, &why);
		if (holds && winner) {
			beaten_text(&why, rule, winner);
		} else if (holds) {
			winner_text(&why, rule);
			winner = rule;
		}
		fn(ctx, &rule->match, holds, why.ptr);
	}
	strbuf_fini(&why);
}

/* ---- routes that can never be reached
 * ------------------------------------------------------------------------- */

static bool wildcard_covers(struct span wide, struct span name)
{
	return name.len > wide.len + 1 && span_ends(name, wide) && name.ptr[name.len - wide.len - 1] == '.';
}

/* Whatever satisfies `narrow` satisfies `wide`. */
static bool condition_covers(const struct rule_condition *wide, const struct rule_condition *narrow)
{
	if (alternatives_of(wide->kind) != alternatives_of(narrow->kind))
		return false;
	switch (wide->kind) {
	case MATCH_PATH:
	case MATCH_PATH_REGEX:
	case MATCH_METHOD:
		return wide->kind == narrow->kind && span_eq(wide->value, narrow->value);
	case MATCH_PATH_PREFIX:
		return narrow->kind != MATCH_PATH_REGEX && prefix_holds(wide->value, narrow->value);
	case MATCH_HOST:
		if (span_eq(wide->value, narrow->value))
			return wide->is_wildcard == narrow->is_wildcard;
		return wide->is_wildcard && wildcard_covers(wide->value, narrow->value);
	case MATCH_HEADER:
		return span_eq_nocase(wide->name, narrow->name) &&
		       (!wide->has_value || (narrow->has_value && span_eq(wide->value, narrow->value)));
	case MATCH_QUERY_PARAM:
		return span_eq(wide->name, narrow->name) &&
		       (!wide->has_value || (narrow->has_value && span_eq(wide->value, narrow->value)));
	}
	return false;
}

static bool is_covered(const struct rule_condition *narrow, const struct router_rule *wide)
{
	for (unsigned i = 0; i < wide->count; i++)
		if (condition_covers(&wide->conditions[i], narrow))
			return true;
	return false;
}

static bool has_set(const struct router_rule *rule, enum match_kind kind)
{
	for (unsigned i = 0; i < rule->count; i++)
		if (alternatives_of(rule->conditions[i].kind) == kind)
			return true;
	return false;
}

static bool rule_covers(const struct router_rule *wide, const struct router_rule *narrow)
{
	static const enum match_kind sets[] = { MATCH_PATH, MATCH_HOST, MATCH_METHOD };

	/* Alternatives: each one of the narrow rule must be one of the wide rule. */
	for (unsigned n = 0; n < ARRAY_LEN(sets); n++) {
		if (!has_set(wide, sets[n]))
			continue;
		if (!has_set(narrow, sets[n]))
			return false;
		for (unsigned i = 0; i < narrow->count; i++)
			if (alternatives_of(narrow->conditions[i].kind) == sets[n] &&
			    !is_covered(&narrow->conditions[i], wide))
				return false;
	}
	/* Demands: each one of the wide rule must follow from one of the narrow rule. */
	for (unsigned i = 0; i < wide->count; i++) {
		bool follows = is_alternative(wide->conditions[i].kind);

		for (unsigned k = 0; k < narrow->count && !follows; k++)
			follows = condition_covers(&wide->conditions[i], &narrow->conditions[k]);
		if (!follows)
			return false;
	}
	return true;
}

void router_find_hidden(const struct router *r,
			void (*fn)(void *ctx, const struct route_match *hidden, const struct route_match *by),
			void *ctx)
{
	for (uint32_t rank = 1; rank < r->rule_count; rank++) {
		for (uint32_t by = 0; by < rank; by++) {
			if (!rule_covers(&r->rules[by], &r->rules[rank]))
				continue;
			fn(ctx, &r->rules[rank].match, &r->rules[by].match);
			break;
		}
	}
}
