/* SPDX-License-Identifier: GPL-2.0-only */
/* router_compile.c - from the routes of the file to tables: ranks, groups of hosts, hashes of paths. */
#include <errno.h>

#include "base/check.h"
#include "base/hmap.h"
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/router_private.h"

#define SCORE_PREFIX_LEN_MAX 3999 /* the longest prefix stays below a regex */
#define SCORE_LABELS_MAX     19	  /* the longest wildcard stays below an exact host */

/* A row of a table to be: rows with the same group and key become one entry. */
struct pending {
	uint32_t group, rank;
	struct span key;
};

struct pending_list {
	struct pending *items; /* owned, malloc */
	uint32_t count, cap;
};

struct build {
	struct router *router;
	struct arena *arena;
	const char **out_error;
	uint32_t *best;				     /* smallest rank, one a group; owned, malloc */
	struct pending_list exact, prefix;	     /* key: the path */
	struct pending_list any;		     /* no key */
	struct pending_list regex_prefix, regex_any; /* rank: index in router->regexes */
	struct pending_list hosts, wildcards;	     /* rank: the group */
};

static void pending_add(struct pending_list *l, struct pending p)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->items = mem_resize(l->items, l->cap, sizeof(*l->items));
	}
	l->items[l->count++] = p;
}

static int pending_compare(const void *va, const void *vb)
{
	const struct pending *a = va, *b = vb;
	int order = memcmp(a->key.len ? a->key.ptr : "", b->key.len ? b->key.ptr : "",
			   MIN(a->key.len, b->key.len));

	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	if (order || a->key.len != b->key.len)
		return order ? order : a->key.len < b->key.len ? -1 : 1;
	return (a->rank > b->rank) - (a->rank < b->rank);
}

static void pending_sort(struct pending_list *l)
{
	if (l->count)
		qsort(l->items, l->count, sizeof(*l->items), pending_compare);
}

/* ---- conditions and order
 * ------------------------------------------------------------------------------------- */

static int build_fail(struct build *b, const struct route_match *m, const struct match_condition *c,
		      const char *why)
{
	*b->out_error =
		arena_printf(b->arena, "route \"%s\": \"%s\": %s", m->id, c->value ? c->value : "", why);
	return -EINVAL;
}

/* Like the paths of requests: else "/%7euser" could never match. */
static int path_compile(struct build *b, const struct route_match *m, const struct match_condition *c,
			struct rule_condition *out)
{
	bool had_dots;

	if (c->kind == MATCH_PATH && span_eq(out->value, SPAN("*")))
		return 0;
	if (out->value.len > ROUTER_PATH_MAX)
		return build_fail(b, m, c, "the path is too long");
	if (span_find(out->value, '?') < out->value.len || span_find(out->value, '#') < out->value.len)
		return build_fail(b, m, c, "a path has no '?' and no '#'");
	if (uri_normalise(out->value, b->arena, &out->value, &had_dots) < 0)
		return build_fail(b, m, c, "no path of a request looks like this");
	return 0;
}

static int host_compile(struct build *b, const struct route_match *m, const struct match_condition *c,
			struct rule_condition *out)
{
	char folded[ROUTER_HOST_MAX];
	size_t len;

	out->is_wildcard = span_starts(out->value, SPAN("*."));
	len = router_host_fold(span_skip(out->value, out->is_wildcard ? 2 : 0), folded);
	if (!len || memchr(folded, '*', len))
		return build_fail(b, m, c, "a host is a name, or \"*.\" and a name");
	out->value = arena_span(b->arena, span_of(folded, len));
	return 0;
}

/* Every method that can arrive is in upper case; a file may say "get". */
static struct span upper_case(struct arena *a, struct span s)
{
	char *text = arena_strndup(a, s.len ? s.ptr : "", s.len);

	for (size_t i = 0; i < s.len; i++)
		if (text[i] >= 'a' && text[i] <= 'z')
			text[i] -= 'a' - 'A';
	return span_of(text, s.len);
}

static int condition_compile(struct build *b, const struct route_match *m, const struct match_condition *c,
			     struct rule_condition *out)
{
	const char *why;

	*out = (struct rule_condition){
		.kind = c->kind,
		.name = span_str(c->name),
		.value = span_str(c->value),
		.has_value = c->value != NULL,
	};
	switch (c->kind) {
	case MATCH_PATH:
	case MATCH_PATH_PREFIX:
		return path_compile(b, m, c, out);
	case MATCH_PATH_REGEX:
		if (regex_compile(&out->regex, out->value, b->arena, &why) < 0)
			return build_fail(b, m, c, why);
		return 0;
	case MATCH_HOST:
		return host_compile(b, m, c, out);
	case MATCH_HEADER:
		out->token = header_token_of(out->name);
		return 0;
	case MATCH_METHOD:
		out->value = upper_case(b->arena, out->value);
		return 0;
	case MATCH_QUERY_PARAM:
		return 0;
	}
	CHECK(!"a kind of condition");
	return -EINVAL;
}

static int32_t host_score(const struct rule_condition *c)
{
	int32_t labels = 1;

	if (!c->is_wildcard)
		return 70;
	for (size_t i = 0; i < c->value.len; i++)
		labels += c->value.ptr[i] == '.';
	return 50 + MIN(labels, SCORE_LABELS_MAX);
}

static int32_t rule_score(const struct router_rule *rule)
{
	int32_t path = 0, host = 0, method = 0, rest = 0;

	for (unsigned i = 0; i < rule->count; i++) {
		const struct rule_condition *c = &rule->conditions[i];

		switch (c->kind) {
		case MATCH_PATH:
			path = MAX(path, 10000);
			break;
		case MATCH_PATH_PREFIX:
			path = MAX(path, 1000 + (int32_t)MIN(c->value.len, SCORE_PREFIX_LEN_MAX));
			break;
		case MATCH_PATH_REGEX:
			path = MAX(path, 5000);
			break;
		case MATCH_HOST:
			host = MAX(host, host_score(c));
			break;
		case MATCH_METHOD:
			method = 10;
			break;
		case MATCH_HEADER:
			rest += c->has_value ? 30 : 20;
			break;
		case MATCH_QUERY_PARAM:
			rest += c->has_value ? 25 : 15;
			break;
		}
	}
	return path + host + method + rest;
}

/* Conditions go by kind: paths and hosts first (the tables answer these), then the rest. */
static int rule_compile(struct build *b, const struct route_match *m, struct router_rule *rule)
{
	rule->match = *m;
	rule->conditions = arena_array(b->arena, MAX(m->count, 1), sizeof(*rule->conditions));
	for (unsigned kind = MATCH_PATH; kind <= MATCH_QUERY_PARAM; kind++) {
		for (unsigned i = 0; i < m->count; i++) {
			if (m->conditions[i].kind != kind)
				continue;
			int err = condition_compile(b, m, &m->conditions[i], &rule->conditions[rule->count]);

			if (err < 0)
				return err;
			rule->count++;
		}
	}
	CHECK(rule->count == m->count);
	while (rule->rest < rule->count && rule->conditions[rule->rest].kind <= MATCH_HOST)
		rule->rest++;
	rule->score = rule_score(rule);
	return 0;
}

static int rule_compare(const void *va, const void *vb)
{
	const struct router_rule *a = va, *b = vb;

	if (a->match.priority != b->match.priority)
		return a->match.priority > b->match.priority ? -1 : 1;
	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return (a->match.order > b->match.order) - (a->match.order < b->match.order);
}

/* ---- tables
 * --------------------------------------------------------------------------------------------------- */

static void table_init(struct router_table *t, uint32_t count, struct arena *a)
{
	uint32_t size = 4;

	while (size < count * 2 + 2)
		size *= 2;
	t->mask = size - 1;
	t->slots = arena_array(a, size, sizeof(*t->slots));
}

static void table_add(struct router_table *t, struct router_entry e)
{
	uint32_t i = (uint32_t)(e.hash >> 32) & t->mask;

	while (t->slots[i].ranks)
		i = (i + 1) & t->mask;
	t->slots[i] = e;
	t->count++;
}

static void table_build(struct build *b, struct router_table *t, struct pending_list *l, bool is_path)
{
	table_init(t, l->count, b->arena);
	pending_sort(l);
	for (uint32_t i = 0, end; i < l->count; i = end) {
		struct router_entry e = { .key = l->items[i].key, .group = l->items[i].group };

		for (end = i;
		     end < l->count && l->items[end].group == e.group && span_eq(l->items[end].key, e.key);
		     end++)
			;
		e.hash = is_path ? path_key(path_hash(e.key), e.group) : hash_run(0, e.key.ptr, e.key.len);
		e.ranks = arena_array(b->arena, end - i, sizeof(*e.ranks));
		for (uint32_t k = i; k < end; k++)
			if (!e.count || e.ranks[e.count - 1] != l->items[k].rank)
				e.ranks[e.count++] = l->items[k].rank;
		table_add(t, e);
	}
}

/* The group of a host pattern, made when it is new. */
static uint32_t group_of(struct build *b, const struct rule_condition *host, struct hmap *names)
{
	uintptr_t number = (uintptr_t)hmap_get(names, host->value);

	if (!number) {
		number = b->router->group_count++;
		hmap_set(names, host->value, (void *)number);
		pending_add(host->is_wildcard ? &b->wildcards : &b->hosts,
			    (struct pending){ .rank = (uint32_t)number, .key = host->value });
	}
	return (uint32_t)number;
}

static void prefix_place(struct build *b, struct pending_list *l, struct pending p)
{
	struct router *r = b->router;

	pending_add(l, p);
	r->prefix_len_max = MAX(r->prefix_len_max, (uint32_t)p.key.len);
	r->prefix_lens[p.key.len / 64] |= UINT64_C(1) << (p.key.len % 64);
}

/* A regex whose matches begin with "/api/v" is looked at only below "/api/". */
static void regex_place(struct build *b, const struct regex *re, uint32_t group, uint32_t rank)
{
	struct router *r = b->router;
	struct span literal = regex_literal_prefix(re);
	struct pending p = { .group = group, .rank = r->regex_count };

	r->regexes[r->regex_count++] = (struct router_regex){ rank, re };
	while (literal.len && literal.ptr[literal.len - 1] != '/')
		literal.len--;
	p.key = literal;
	if (literal.len && literal.len <= ROUTER_PATH_MAX)
		prefix_place(b, &b->regex_prefix, p);
	else
		pending_add(&b->regex_any, (struct pending){ .group = group, .rank = p.rank });
}

static void rule_place(struct build *b, uint32_t rank, uint32_t group)
{
	const struct router_rule *rule = &b->router->rules[rank];
	bool has_path = false;

	for (unsigned i = 0; i < rule->rest; i++) {
		const struct rule_condition *c = &rule->conditions[i];
		struct pending p = { .group = group, .rank = rank, .key = c->value };

		if (c->kind == MATCH_HOST)
			continue;
		has_path = true;
		if (c->kind == MATCH_PATH)
			pending_add(&b->exact, p);
		else if (c->kind == MATCH_PATH_PREFIX)
			prefix_place(b, &b->prefix, p);
		else
			regex_place(b, c->regex, group, rank);
	}
	if (!has_path)
		pending_add(&b->any, (struct pending){ .group = group, .rank = rank });
	b->best[group] = MIN(b->best[group], rank);
}

static void rules_place(struct build *b)
{
	struct hmap names[2]; /* exact, wildcard */

	hmap_init(&names[0]);
	hmap_init(&names[1]);
	b->router->group_count = 1;
	for (uint32_t rank = 0; rank < b->router->rule_count; rank++) {
		const struct router_rule *rule = &b->router->rules[rank];
		bool has_host = false;

		for (unsigned i = 0; i < rule->rest; i++) {
			const struct rule_condition *c = &rule->conditions[i];

			if (c->kind != MATCH_HOST)
				continue;
			has_host = true;
			rule_place(b, rank, group_of(b, c, &names[c->is_wildcard]));
		}
		if (!has_host)
			rule_place(b, rank, ROUTER_GROUP_ANY);
	}
	hmap_fini(&names[0]);
	hmap_fini(&names[1]);
}

/* The lists of the groups are parts of one array. */
static uint32_t *lists_build(struct build *b, struct pending_list *l)
{
	uint32_t *ranks = arena_array(b->arena, MAX(l->count, 1), sizeof(*ranks));

	pending_sort(l);
	for (uint32_t i = 0; i < l->count; i++)
		ranks[i] = l->items[i].rank;
	return ranks;
}

static void groups_build(struct build *b)
{
	struct router *r = b->router;
	uint32_t *any = lists_build(b, &b->any), *regexes = lists_build(b, &b->regex_any);

	r->groups = arena_array(b->arena, r->group_count, sizeof(*r->groups));
	for (uint32_t g = 0; g < r->group_count; g++)
		r->groups[g].best = b->best[g];
	for (uint32_t i = 0; i < b->any.count; i++) {
		struct router_group *g = &r->groups[b->any.items[i].group];

		if (!g->any_count++)
			g->any = &any[i];
	}
	for (uint32_t i = 0; i < b->regex_any.count; i++) {
		struct router_group *g = &r->groups[b->regex_any.items[i].group];

		if (!g->regex_count++)
			g->regexes = &regexes[i];
	}
}

/* Upper bounds: of groups, and of regexes that are placed (once a host of their route). */
static void rules_count(const struct router *r, size_t *out_hosts, size_t *out_regexes)
{
	*out_hosts = *out_regexes = 0;
	for (uint32_t rank = 0; rank < r->rule_count; rank++) {
		size_t hosts = 0, regexes = 0;

		for (unsigned i = 0; i < r->rules[rank].rest; i++) {
			hosts += r->rules[rank].conditions[i].kind == MATCH_HOST;
			regexes += r->rules[rank].conditions[i].kind == MATCH_PATH_REGEX;
		}
		*out_hosts += hosts;
		*out_regexes += regexes * MAX(hosts, 1);
	}
}

static void build_fini(struct build *b)
{
	free(b->best);
	free(b->exact.items);
	free(b->prefix.items);
	free(b->any.items);
	free(b->regex_prefix.items);
	free(b->regex_any.items);
	free(b->hosts.items);
	free(b->wildcards.items);
}

int router_build(struct router **out, const struct route_match *matches, unsigned count, struct arena *a,
		 const char **out_error)
{
	struct router *r = arena_zalloc(a, sizeof(*r));
	struct build b = { .router = r, .arena = a, .out_error = out_error };
	size_t hosts, regexes;
	int err;

	r->rule_count = count;
	r->rules = arena_array(a, MAX(count, 1), sizeof(*r->rules));
	for (unsigned i = 0; i < count; i++) {
		err = rule_compile(&b, &matches[i], &r->rules[i]);
		if (err < 0)
			return err;
	}
	qsort(r->rules, count, sizeof(*r->rules), rule_compare);
	rules_count(r, &hosts, &regexes);
	r->regexes = arena_array(a, MAX(regexes, 1), sizeof(*r->regexes));
	b.best = mem_array(hosts + 1, sizeof(*b.best));
	memset(b.best, 0xff, (hosts + 1) * sizeof(*b.best));
	rules_place(&b);
	table_build(&b, &r->hosts, &b.hosts, false);
	table_build(&b, &r->wildcards, &b.wildcards, false);
	table_build(&b, &r->exact, &b.exact, true);
	table_build(&b, &r->prefix, &b.prefix, true);
	table_build(&b, &r->regex_prefix, &b.regex_prefix, true);
	groups_build(&b);
	build_fini(&b);
	*out = r;
	return 0;
}
