/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_router.c - routes and a request from bytes: the tables must agree with the walk over all routes. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/hash.h"
#include "http/uri.h"
#include "proxy/router.h"

#define ROUTES_MAX     24
#define CONDITIONS_MAX 6

static char marks[ROUTES_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note_first(void *ctx, const struct route_match *m, bool matches, const char *why)
{
	const struct route **first = ctx;

	CHECK(why && *why);
	if (matches && !*first)
		*first = m->route;
}

static void note_hidden(void *ctx, const struct route_match *hidden, const struct route_match *by)
{
	const struct route *taken = *(const struct route **)ctx;

	CHECK(hidden != by && hidden->route != taken);
}

/* "ptext" is a path condition, and so on; a header or a query parameter is "hname=value". */
static struct match_condition condition_read(struct arena *a, struct span line)
{
	static const char kinds[] = "pPrhHmq";
	const char *kind = line.len ? strchr(kinds, line.ptr[0]) : NULL;
	struct match_condition c = { .kind = kind && *kind ? (enum match_kind)(kind - kinds) : MATCH_PATH };
	struct span rest = span_skip(line, 1);

	if (c.kind == MATCH_HEADER || c.kind == MATCH_QUERY_PARAM) {
		size_t equals = span_find(rest, '=');

		c.name = arena_strndup(a, rest.ptr, equals);
		if (equals < rest.len)
			c.value = arena_strndup(a, rest.ptr + equals + 1, rest.len - equals - 1);
	} else {
		c.value = arena_strndup(a, rest.ptr, rest.len);
	}
	return c;
}

/* One route a line, its conditions separated by tabs; a digit in front is its priority. */
static unsigned routes_read(struct arena *a, struct span *rest, struct route_match *matches)
{
	unsigned count = 0;
	struct span line, item;

	while (count < ROUTES_MAX && span_next(rest, '\n', &line) && line.len) {
		struct match_condition *conditions = arena_array(a, CONDITIONS_MAX, sizeof(*conditions));
		struct route_match *m = &matches[count];

		*m = (struct route_match){ .route = (const struct route *)&marks[count], .id = "r", .order = count };
		m->conditions = conditions;
		if (line.ptr[0] >= '0' && line.ptr[0] <= '9') {
			m->priority = line.ptr[0] - '0';
			line = span_skip(line, 1);
		}
		while (m->count < CONDITIONS_MAX && span_next(&line, '\t', &item) && item.len)
			conditions[m->count++] = condition_read(a, item);
		count++;
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = span_of((const char *)data, size), field = { 0 };
	struct route_match matches[ROUTES_MAX];
	const struct route *first = NULL, *taken;
	struct router_scratch *scratch;
	struct route_request q = { 0 };
	struct headers headers;
	struct router *r;
	struct arena a;
	const char *error;
	unsigned count;

	if (size > 4096)
		return 0;
	hash_init();
	arena_init(&a, 4096);
	count = routes_read(&a, &rest, matches);
	if (router_build(&r, matches, count, &a, &error) < 0) {
		CHECK(error && *error);
		arena_fini(&a);
		return 0;
	}
	scratch = router_scratch_new();
	headers_init(&headers, &a);
	q.headers = &headers;
	if (span_next(&rest, '\n', &field))
		q.method = field;
	if (span_next(&rest, '\n', &field))
		q.host = field;
	if (span_next(&rest, '\n', &field))
		uri_split(field, &q.path, &q.query);
	while (span_next(&rest, '\n', &field) && headers.count < 8) {
		size_t colon = span_find(field, ':');

		headers_add_name(&headers, span_of(field.ptr, colon), span_trim(span_skip(field, colon + 1)));
	}
	taken = router_match(r, scratch, &q);
	router_explain(r, scratch, &q, note_first, &first);
	/* A search that was given up may give up at another place the second time. */
	if (!router_scratch_limit_hits(scratch)) {
		CHECK(taken == first);
		router_find_hidden(r, note_hidden, &taken);
	}
	router_scratch_free(scratch);
	arena_fini(&a);
	return 0;
}
