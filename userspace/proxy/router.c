/* SPDX-License-Identifier: GPL-2.0-only */
/* router.c - finds the route of a request in the compiled tables. */
#include "proxy/router.h"

#include "base/check.h"
#include "base/mem.h"
#include "http/uri.h"
#include "proxy/router_private.h"

#define LABELS_MAX (ROUTER_HOST_MAX / 2 + 1)

/* The state of one lookup. */
struct search {
	const struct router *router;
	struct router_scratch *scratch;
	const struct route_request *request;
	uint32_t best; /* smallest rank that holds so far; rule_count: none */
	unsigned group_count;
	uint32_t groups[LABELS_MAX + 2]; /* whose hosts fit */
};

struct router_scratch *router_scratch_new(void)
{
	struct router_scratch *s = mem_zalloc(sizeof(*s));

	s->regex = regex_scratch_new();
	return s;
}

void router_scratch_free(struct router_scratch *s)
{
	if (!s)
		return;
	regex_scratch_free(s->regex);
	free(s);
}

uint64_t router_scratch_limit_hits(const struct router_scratch *s)
{
	return regex_scratch_limit_hits(s->regex);
}

size_t router_host_fold(struct span host, char out[ROUTER_HOST_MAX])
{
	if (host.len && host.ptr[host.len - 1] == '.')
		host.len--;
	if (host.len > ROUTER_HOST_MAX)
		return 0;
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.ptr[i];

		out[i] = (char)(c + ((unsigned)(c - 'A') < 26) * 32);
	}
	return host.len;
}

bool router_header_holds(const struct rule_condition *c, const struct headers *headers)
{
	const struct header *h =
		c->token ? headers_find(headers, c->token) : headers_find_name(headers, c->name);

	while (h && c->has_value && !span_eq(h->value, c->value))
		h = headers_next(headers, h);
	return h != NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded while comparing; a bad escape stands for itself. */
static bool decoded_eq(struct span raw, struct span want)
{
	size_t at = 0;

	for (size_t i = 0; i < raw.len; i++, at++) {
		char c = raw.ptr[i];

		if (c == '%' && i + 2 < raw.len && hex_digit(raw.ptr[i + 1]) >= 0 &&
		    hex_digit(raw.ptr[i + 2]) >= 0) {
			c = (char)(hex_digit(raw.ptr[i + 1]) << 4 | hex_digit(raw.ptr[i + 2]));
			i += 2;
		}
		if (at >= want.len || want.ptr[at] != c)
			return false;
	}
	return at == want.len;
}

bool router_query_holds(const struct rule_condition *c, struct span query)
{
	struct span name, value;

	while (uri_query_next(&query, &name, &value))
		if (decoded_eq(name, c->name) && (!c->has_value || decoded_eq(value, c->value)))
			return true;
	return false;
}

bool router_rest_holds(const struct router_rule *rule, const struct route_request *q)
{
	bool has_methods = false, method_fits = false;

	for (unsigned i = rule->rest; i < rule->count; i++) {
		const struct rule_condition *c = &rule->conditions[i];

		if (c->kind == MATCH_METHOD) {
			has_methods = true;
			method_fits |= span_eq(c->value, q->method);
		} else if (c->kind == MATCH_HEADER) {
			if (!router_header_holds(c, q->headers))
				return false;
		} else if (!router_query_holds(c, q->query)) {
			return false;
		}
	}
	return !has_methods || method_fits;
}

/* The first of the ranks that holds, if it is better than what was found. */
static void search_ranks(struct search *s, const uint32_t *ranks, uint32_t count)
{
	for (uint32_t i = 0; i < count && ranks[i] < s->best; i++) {
		const struct router_rule *rule = &s->router->rules[ranks[i]];

		if (rule->rest == rule->count || router_rest_holds(rule, s->request))
			s->best = ranks[i];
	}
}

static void search_regexes(struct search *s, const uint32_t *indexes, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct router_regex *re = &s->router->regexes[indexes[i]];

		if (re->rank >= s->best)
			return;
		if (regex_matches(re->regex, s->scratch->regex, s->request->path) &&
		    router_rest_holds(&s->router->rules[re->rank], s->request))
			s->best = re->rank;
	}
}

static const struct router_entry *search_table(struct search *s, const struct router_table *t, uint64_t hash,
					       struct span path, uint32_t group)
{
	if (!t->count || s->router->groups[group].best >= s->best)
		return NULL;
	return table_find(t, path_key(hash, group), path, group);
}

static void search_hosts(struct search *s)
{
	const struct router *r = s->router;
	char host[ROUTER_HOST_MAX];
	size_t len;

	s->groups[s->group_count++] = ROUTER_GROUP_ANY;
	if (r->hosts.count + r->wildcards.count == 0)
		return;
	len = router_host_fold(s->request->host, host);
	for (size_t at = 0; at < len; at++) {
		const struct router_table *t = at ? &r->wildcards : &r->hosts;
		const struct router_entry *e = NULL;
		const char *dot;
		size_t from;

		if (t->count)
			e = table_find(t, hash_run(0, host + at, len - at), span_of(host + at, len - at), 0);
		if (e)
			s->groups[s->group_count++] = *e->ranks;
		/* A label may be empty, but not all that a wildcard stands for. */
		from = MAX(at, 1);
		dot = r->wildcards.count ? memchr(host + from, '.', len - from) : NULL;
		if (!dot)
			return;
		at = (size_t)(dot - host);
	}
}

static void search_prefix(struct search *s, uint64_t hash, struct span prefix)
{
	for (unsigned i = 0; i < s->group_count; i++) {
		const struct router_entry *e;

		e = search_table(s, &s->router->prefix, hash, prefix, s->groups[i]);
		if (e)
			search_ranks(s, e->ranks, e->count);
		e = search_table(s, &s->router->regex_prefix, hash, prefix, s->groups[i]);
		if (e)
			search_regexes(s, e->ranks, e->count);
	}
}

static void search_paths(struct search *s)
{
	const struct router *r = s->router;
	struct span path = s->request->path;
	struct path_walk w = { .path = path };

	while (path_walk_next(&w))
		if (w.at <= r->prefix_len_max && r->prefix_lens[w.at / 64] >> (w.at % 64) & 1)
			search_prefix(s, w.hash, span_of(path.ptr, w.at));
	for (unsigned i = 0; i < s->group_count; i++) {
		const struct router_entry *e = search_table(s, &r->exact, w.hash, path, s->groups[i]);

		if (e)
			search_ranks(s, e->ranks, e->count);
	}
}

const struct route *router_match(const struct router *r, struct router_scratch *scratch,
				 const struct route_request *q)
{
	struct search s;

	s.router = r;
	s.scratch = scratch;
	s.request = q;
	s.best = r->rule_count;
	s.group_count = 0;
	search_hosts(&s);
	search_paths(&s);
	for (unsigned i = 0; i < s.group_count; i++) {
		const struct router_group *g = &r->groups[s.groups[i]];

		if (g->best >= s.best)
			continue;
		search_ranks(&s, g->any, g->any_count);
		search_regexes(&s, g->regexes, g->regex_count);
	}
	return s.best < r->rule_count ? r->rules[s.best].match.route : NULL;
}
