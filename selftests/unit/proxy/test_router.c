/* SPDX-License-Identifier: GPL-2.0-only */
/* test_router.c - which route a request takes, why, and that the tables agree with looking at every route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/rand.h"
#include "proxy/regex.h"
#include "proxy/router.h"

#define ROUTES_MAX 2000

/* A route is only a pointer here: &mark[i] stands for route i. */
static char mark[ROUTES_MAX];
static struct arena arena;
static struct router_scratch *scratch;
static struct headers headers;
static const char *error;

static int setup(void **state)
{
	(void)state;
	hash_init();
	arena_init(&arena, 4096);
	scratch = router_scratch_new();
	headers_init(&headers, &arena);
	error = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	router_scratch_free(scratch);
	arena_fini(&arena);
	return 0;
}

struct row { /* one route: conditions end with a NULL in both */
	const char *id;
	int32_t priority;
	struct match_condition conditions[8];
};

#define PATH(v)                                                                                                        \
	{                                                                                                              \
		MATCH_PATH, NULL, v                                                                                    \
	}
#define PREFIX(v)                                                                                                      \
	{                                                                                                              \
		MATCH_PATH_PREFIX, NULL, v                                                                             \
	}
#define REGEX(v)                                                                                                       \
	{                                                                                                              \
		MATCH_PATH_REGEX, NULL, v                                                                              \
	}
#define HOST(v)                                                                                                        \
	{                                                                                                              \
		MATCH_HOST, NULL, v                                                                                    \
	}
#define METHOD(v)                                                                                                      \
	{                                                                                                              \
		MATCH_METHOD, NULL, v                                                                                  \
	}
#define HEADER(n, v)                                                                                                   \
	{                                                                                                              \
		MATCH_HEADER, n, v                                                                                     \
	}
#define QUERY(n, v)                                                                                                    \
	{                                                                                                              \
		MATCH_QUERY_PARAM, n, v                                                                                \
	}

static int build(struct router **out, const struct row *rows, unsigned count)
{
	struct route_match *matches = arena_array(&arena, count, sizeof(*matches));

	for (unsigned i = 0; i < count; i++) {
		matches[i] = (struct route_match){
			.route = (const struct route *)&mark[i],
			.id = rows[i].id,
			.priority = rows[i].priority,
			.order = i,
			.line = i + 1,
			.conditions = rows[i].conditions,
		};
		while (matches[i].count < 8 &&
		       (rows[i].conditions[matches[i].count].name || rows[i].conditions[matches[i].count].value))
			matches[i].count++;
	}
	return router_build(out, matches, count, &arena, &error);
}

static struct router *build_ok(const struct row *rows, unsigned count)
{
	struct router *r = NULL;

	if (build(&r, rows, count) < 0)
		fail_msg("%s", error);
	return r;
}

/* "GET http://host/path?query" -> the request. */
static struct route_request request_of(const char *text)
{
	struct span rest = span_str(text), method, target;
	struct route_request q = { .headers = &headers };
	size_t slash;

	assert_true(span_next(&rest, ' ', &method));
	target = span_skip(rest, strlen("http://"));
	slash = span_find(target, '/');
	q.method = method;
	q.host = span_of(target.ptr, slash);
	target = span_skip(target, slash);
	q.path = span_of(target.ptr, span_find(target, '?'));
	q.query = span_skip(target, q.path.len + 1);
	return q;
}

static const char *taken(const struct router *r, const struct row *rows, const char *text)
{
	struct route_request q = request_of(text);
	const char *m = (const char *)router_match(r, scratch, &q);

	return m ? rows[m - mark].id : "none";
}

static void test_paths(void **state)
{
	static const struct row rows[] = {
		{ "exact", 50, { PATH("/a/b") } },
		{ "prefix", 50, { PREFIX("/a") } },
		{ "longer", 50, { PREFIX("/a/b/c") } },
		{ "slash", 50, { PREFIX("/dir/") } },
		{ "regex", 50, { REGEX("^/v[0-9]+/x$") } },
		{ "anywhere", 50, { REGEX("needle") } },
		{ "escaped", 50, { PATH("/%7euser/%2f") } },
		{ "several", 50, { PATH("/one"), PATH("/two"), PREFIX("/three"), REGEX("fo+ur$") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/a/b"), "exact");
	assert_string_equal(taken(r, rows, "GET http://h/a/b?q"), "exact");
	assert_string_equal(taken(r, rows, "GET http://h/a/b/"), "prefix");
	assert_string_equal(taken(r, rows, "GET http://h/a"), "prefix");
	assert_string_equal(taken(r, rows, "GET http://h/a/"), "prefix");
	assert_string_equal(taken(r, rows, "GET http://h/a//x"), "prefix");
	assert_string_equal(taken(r, rows, "GET http://h/a/b/c"), "longer");
	assert_string_equal(taken(r, rows, "GET http://h/a/b/c/d/e"), "longer");
	assert_string_equal(taken(r, rows, "GET http://h/a/b/cc"), "prefix");
	assert_string_equal(taken(r, rows, "GET http://h/ab"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/A/b"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/dir/x"), "slash");
	assert_string_equal(taken(r, rows, "GET http://h/dir/"), "slash");
	assert_string_equal(taken(r, rows, "GET http://h/dir"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/v12/x"), "regex");
	assert_string_equal(taken(r, rows, "GET http://h/v12/xy"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/in/a/needle/x"), "anywhere");
	assert_string_equal(taken(r, rows, "GET http://h/~user/%2F"), "escaped");
	assert_string_equal(taken(r, rows, "GET http://h/one"), "several");
	assert_string_equal(taken(r, rows, "GET http://h/two"), "several");
	assert_string_equal(taken(r, rows, "GET http://h/three/x"), "several");
	assert_string_equal(taken(r, rows, "GET http://h/x/foooour"), "several");
	assert_string_equal(taken(r, rows, "GET http://h/one/x"), "none");
}

static void test_root_prefix_takes_everything_but_the_star(void **state)
{
	static const struct row rows[] = { { "root", 50, { PREFIX("/") } }, { "star", 50, { PATH("*") } } };
	struct router *r = build_ok(rows, ARRAY_LEN(rows));
	struct route_request q = request_of("OPTIONS http://h/");

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/"), "root");
	assert_string_equal(taken(r, rows, "GET http://h/any/thing"), "root");
	q.path = SPAN("*");
	assert_ptr_equal(router_match(r, scratch, &q), &mark[1]);
}

static void test_hosts(void **state)
{
	static const struct row rows[] = {
		{ "exact", 50, { HOST("WWW.Example.com") } },
		{ "wild", 50, { HOST("*.example.com") } },
		{ "deep", 50, { HOST("*.b.example.com") } },
		{ "two", 50, { HOST("one.test"), HOST("two.test"), PREFIX("/x") } },
		{ "any", 50, { PREFIX("/only") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://www.example.com/"), "exact");
	assert_string_equal(taken(r, rows, "GET http://wwW.EXAMPLE.com./"), "exact");
	assert_string_equal(taken(r, rows, "GET http://x.example.com/"), "wild");
	assert_string_equal(taken(r, rows, "GET http://x.y.example.com/"), "wild");
	assert_string_equal(taken(r, rows, "GET http://x.B.example.com/"), "deep");
	assert_string_equal(taken(r, rows, "GET http://b.example.com/"), "wild");
	assert_string_equal(taken(r, rows, "GET http://example.com/"), "none");
	assert_string_equal(taken(r, rows, "GET http://.example.com/"), "none");
	assert_string_equal(taken(r, rows, "GET http://xexample.com/"), "none");
	assert_string_equal(taken(r, rows, "GET http://x..example.com/"), "wild");
	assert_string_equal(taken(r, rows, "GET http://one.test/x"), "two");
	assert_string_equal(taken(r, rows, "GET http://two.test/x/y"), "two");
	assert_string_equal(taken(r, rows, "GET http://three.test/x"), "none");
	assert_string_equal(taken(r, rows, "GET http://one.test/only"), "any");
	assert_string_equal(taken(r, rows, "GET http:///only"), "any");
	/* A path weighs more than a host, as the scores say. */
	assert_string_equal(taken(r, rows, "GET http://x.example.com/only"), "any");
}

static void test_host_longer_than_any_name(void **state)
{
	static const struct row rows[] = { { "wild", 50, { HOST("*.a") } }, { "any", 10, { PREFIX("/") } } };
	struct router *r = build_ok(rows, ARRAY_LEN(rows));
	struct route_request q = request_of("GET http://h/");
	char host[600];

	(void)state;
	for (unsigned i = 0; i < sizeof(host); i++)
		host[i] = i % 2 ? '.' : 'a';
	q.host = span_of(host, 255);
	assert_ptr_equal(router_match(r, scratch, &q), &mark[0]);
	q.host = span_of(host, 257);
	assert_ptr_equal(router_match(r, scratch, &q), &mark[1]);
	q.host = span_of(host, sizeof(host));
	assert_ptr_equal(router_match(r, scratch, &q), &mark[1]);
}

static void test_methods_are_alternatives(void **state)
{
	static const struct row rows[] = {
		{ "write", 50, { PREFIX("/"), METHOD("POST"), METHOD("PUT"), METHOD("purge") } },
		{ "rest", 50, { PREFIX("/") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "POST http://h/"), "write");
	assert_string_equal(taken(r, rows, "PUT http://h/"), "write");
	assert_string_equal(taken(r, rows, "PURGE http://h/"), "write");
	assert_string_equal(taken(r, rows, "GET http://h/"), "rest");
	assert_string_equal(taken(r, rows, "POS http://h/"), "rest");
}

static void test_headers_must_all_hold(void **state)
{
	static const struct row rows[] = {
		{ "both", 50, { HEADER("X-A", "1"), HEADER("accept", NULL) } },
		{ "one", 50, { HEADER("X-A", "1") } },
		{ "presence", 50, { HEADER("x-a", NULL) } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/"), "none");
	headers_add_name(&headers, SPAN("x-A"), SPAN("2"));
	assert_string_equal(taken(r, rows, "GET http://h/"), "presence");
	headers_add_name(&headers, SPAN("X-a"), SPAN("1")); /* a second field of the name */
	assert_string_equal(taken(r, rows, "GET http://h/"), "one");
	headers_add(&headers, TOKEN_ACCEPT, SPAN("*/*"));
	assert_string_equal(taken(r, rows, "GET http://h/"), "both");
}

static void test_query_parameters_are_decoded(void **state)
{
	static const struct row rows[] = {
		{ "both", 50, { QUERY("a", "x y"), QUERY("b", NULL) } },
		{ "value", 50, { QUERY("a", "x y") } },
		{ "empty", 50, { QUERY("a", "") } },
		{ "presence", 50, { QUERY("a", NULL) } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/?b=a"), "none");
	assert_string_equal(taken(r, rows, "GET http://h/?a=z"), "presence");
	assert_string_equal(taken(r, rows, "GET http://h/?a"), "empty");
	assert_string_equal(taken(r, rows, "GET http://h/?%61=x%20y"), "value");
	assert_string_equal(taken(r, rows, "GET http://h/?a=z&a=x%20y"), "value");
	assert_string_equal(taken(r, rows, "GET http://h/?b&a=%78%20y"), "both");
	assert_string_equal(taken(r, rows, "GET http://h/?a=x%2"), "presence");
	assert_string_equal(taken(r, rows, "GET http://h/?a=x%20y%zz"), "presence");
}

static void test_order_is_priority_then_specificity_then_file(void **state)
{
	static const struct row rows[] = {
		{ "first", 50, { PREFIX("/p") } },
		{ "second", 50, { PREFIX("/p") } },
		{ "exact", 50, { PATH("/p/x") } },
		{ "regex", 50, { REGEX("^/p/") } },
		{ "critical", 1000, { PREFIX("/p/c") } },
		{ "header", 50, { PREFIX("/p"), HEADER("x-h", NULL) } },
		{ "host", 50, { PREFIX("/p"), HOST("h.test") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/p"), "first");
	assert_string_equal(taken(r, rows, "GET http://h/p/x"), "exact");
	assert_string_equal(taken(r, rows, "GET http://h/p/y"), "regex");
	assert_string_equal(taken(r, rows, "GET http://h/p/c/d"), "critical");
	assert_string_equal(taken(r, rows, "GET http://h.test/p"), "host");
	headers_add_name(&headers, SPAN("X-H"), SPAN(""));
	assert_string_equal(taken(r, rows, "GET http://h/p"), "header");
	assert_string_equal(taken(r, rows, "GET http://h.test/p"), "host");
}

static void test_a_route_without_conditions_takes_all(void **state)
{
	static const struct row rows[] = { { "all", 10, { { 0 } } }, { "x", 50, { PATH("/x") } } };
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/x"), "x");
	assert_string_equal(taken(r, rows, "GET http://h/y"), "all");
	assert_int_equal(build(&r, rows, 0), 0);
	assert_string_equal(taken(r, rows, "GET http://h/y"), "none");
}

static void test_what_is_refused(void **state)
{
	static const struct row bad[] = {
		{ "r", 50, { REGEX("a(") } },	  { "r", 50, { PATH("relative") } }, { "r", 50, { PATH("/a?b") } },
		{ "r", 50, { PREFIX("/../x") } }, { "r", 50, { PREFIX("") } },	     { "r", 50, { PATH("/%zz") } },
		{ "r", 50, { HOST("a.*.b") } },	  { "r", 50, { HOST("*") } },	     { "r", 50, { HOST("*.") } },
		{ "r", 50, { HOST("") } },	  { "r", 50, { PREFIX("*") } },	     { "r", 50, { PATH("/a#b") } },
		{ "r", 50, { REGEX("\\C") } },	  { "r", 50, { REGEX("(*UTF)a") } },
	};
	struct router *r = NULL;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		error = NULL;
		if (build(&r, &bad[i], 1) != -EINVAL)
			fail_msg("accepted: %s", bad[i].conditions[0].value);
		assert_non_null(strstr(error, "route \"r\""));
	}
	assert_null(r);
}

static void test_a_regex_that_explodes_is_no_match_and_counted(void **state)
{
	static const struct row rows[] = { { "evil", 50, { REGEX("^/(a|aa|a?)*(a|aa)*[cd]$") } } };
	struct router *r = build_ok(rows, 1);

	(void)state;
	assert_string_equal(taken(r, rows, "GET http://h/aac"), "evil");
	assert_int_equal(router_scratch_limit_hits(scratch), 0);
	assert_string_equal(taken(r, rows, "GET http://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), "none");
	assert_int_equal(router_scratch_limit_hits(scratch), 1);
}

static void test_literal_prefix_of_a_regex(void **state)
{
	static const struct {
		const char *pattern, *prefix;
	} rows[] = {
		{ "^/api/v1/x", "/api/v1/x" },
		{ "/api", "" },
		{ "^/api$", "/api" },
		{ "^/ab*", "/a" },
		{ "^/ab+", "/ab" },
		{ "^/ab?c", "/a" },
		{ "^/ab{0,2}", "/a" },
		{ "^/a\\.b", "/a.b" },
		{ "^/a\\d", "/a" },
		{ "^/a|/b", "" },
		{ "^/(a|b)", "/" },
		{ "^/[|]x|y", "" },
		{ "^/a[]|]b", "/a" },
		{ "^/a[](]|/b", "" },
		{ "^/a[[:alpha:](]|/b", "" },
		{ "^(?i)/a", "" },
		{ "^/a(?i)b", "" },
		{ "^/\\Qa|b\\E", "" },
		{ "^/a\\c(|/b", "" },
		{ "^/a(?#()|/b", "" },
		{ "^/a(?:b|c)", "/a" },
		{ "^", "" },
		{ "", "" },
		{ "^/a\\/b", "/a/b" },
		{ "^/a[\\](]|/b", "" },
		{ "^/a(?P<n>x|y)", "/a" },
		{ "^/x.y", "/x" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct regex *re;
		struct span prefix;

		if (regex_compile(&re, span_str(rows[i].pattern), &arena, &error) < 0)
			fail_msg("%s: %s", rows[i].pattern, error);
		prefix = regex_literal_prefix(re);
		if (!span_eq(prefix, span_str(rows[i].prefix)))
			fail_msg("%s: \"" SPAN_FMT "\"", rows[i].pattern, SPAN_ARG(prefix));
	}
}

/* ---- explain and warnings
 * ------------------------------------------------------------------------------------- */

static struct strbuf told;

static void tell(void *ctx, const struct route_match *m, bool matches, const char *why)
{
	(void)ctx;
	strbuf_printf(&told, "%s%s: %s\n", matches ? "+" : "-", m->id, why);
}

static void test_explain_says_why(void **state)
{
	static const struct row rows[] = {
		{ "api", 100, { PREFIX("/api") } },
		{ "two", 90, { PATH("/a"), PATH("/b"), REGEX("c$") } },
		{ "host", 80, { HOST("*.test"), PREFIX("/") } },
		{ "post", 70, { METHOD("POST") } },
		{ "header", 60, { HEADER("X-A", "1") } },
		{ "absent", 59, { HEADER("X-B", "1") } },
		{ "query", 58, { QUERY("k", "v") } },
		{ "won", 50, { PREFIX("/"), HEADER("X-A", NULL) } },
		{ "late", 50, { PREFIX("/") } },
		{ "later", 50, { PREFIX("/") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));
	struct route_request q = request_of("GET http://h/x?k=w");

	(void)state;
	headers_add_name(&headers, SPAN("x-a"), SPAN("2"));
	strbuf_init(&told);
	router_explain(r, scratch, &q, tell, NULL);
	assert_string_equal(told.ptr, "-api: path prefix /api does not match /x\n"
				      "-two: path /a and 2 more do not match /x\n"
				      "-host: host *.test does not match h\n"
				      "-post: method POST is not GET\n"
				      "-header: header X-A is \"2\", not \"1\"\n"
				      "-absent: header X-B is missing\n"
				      "-query: query parameter k is not \"v\"\n"
				      "+won: path prefix /, header X-A\n"
				      "+late: matches too, but \"won\" comes first: more specific (1021 over 1001)\n"
				      "+later: matches too, but \"won\" comes first: more specific (1021 over 1001)\n");
	strbuf_fini(&told);
}

static void tell_hidden(void *ctx, const struct route_match *hidden, const struct route_match *by)
{
	(void)ctx;
	strbuf_printf(&told, "%s<%s ", hidden->id, by->id);
}

static void test_hidden_routes_are_found(void **state)
{
	static const struct row rows[] = {
		{ "wide", 100, { PREFIX("/a"), HOST("*.test") } },
		{ "h1", 50, { PREFIX("/a/b"), HOST("x.test") } },
		{ "ok1", 50, { PREFIX("/ab"), HOST("x.test") } },
		{ "ok2", 50, { PREFIX("/a/b") } },
		{ "h2", 50, { PATH("/a"), PATH("/a/c"), HOST("*.x.test"), METHOD("GET") } },
		{ "ok3", 50, { PATH("/a"), PATH("/c"), HOST("*.x.test") } },
		{ "m", 40, { METHOD("GET"), METHOD("PUT"), HEADER("x-a", NULL), QUERY("q", "1") } },
		{ "h3", 30, { METHOD("GET"), HEADER("X-A", "1"), QUERY("q", "1"), PREFIX("/m") } },
		{ "ok4", 30, { METHOD("GET"), HEADER("X-A", "1"), PREFIX("/m") } },
		{ "same", 30, { METHOD("GET"), HEADER("X-A", "1"), PREFIX("/m") } },
		{ "re", 20, { REGEX("x+") } },
		{ "h4", 10, { REGEX("x+"), HOST("r.test") } },
		{ "ok5", 10, { REGEX("x") } },
	};
	struct router *r = build_ok(rows, ARRAY_LEN(rows));

	(void)state;
	strbuf_init(&told);
	router_find_hidden(r, tell_hidden, NULL);
	assert_string_equal(told.ptr, "h2<wide h1<wide h3<m same<ok4 h4<re ");
	strbuf_fini(&told);
}

/* ---- the tables against the walk over all routes
 * -------------------------------------------------------------- */

static const char *const words[] = { "/", "/a", "/b", "/a/b", "/a/", "/ab", "/a/b/c", "//", "/a//b", "/%2F", "/c/" };
static const char *const hosts[] = { "a.x", "b.x", "a.b.x", "x", "c.a.b.x", "A.X", "" };
static const char *const patterns[] = { "^/a", "b$", "^/a/.*c", "a|b", "^/(a|b)/", "/+b" };
static const char *const values[] = { "1", "2", NULL };
static const char *const methods[] = { "GET", "POST", "PUT" };
#define ONE_OF(a) (a)[rand_below(ARRAY_LEN(a))]

static struct match_condition random_condition(void)
{
	char wild[32];

	switch (rand_below(9)) {
	case 0:
	case 1:
		return (struct match_condition)PATH(ONE_OF(words));
	case 2:
	case 3:
		return (struct match_condition)PREFIX(ONE_OF(words));
	case 4:
		return (struct match_condition)REGEX(ONE_OF(patterns));
	case 5:
		return (struct match_condition)METHOD(ONE_OF(methods));
	case 6:
		return (struct match_condition)HEADER(rand_below(2) ? "X-A" : "accept", ONE_OF(values));
	case 7:
		return (struct match_condition)QUERY(rand_below(2) ? "p" : "q", ONE_OF(values));
	default:
		snprintf(wild, sizeof(wild), "%s%s", rand_below(2) ? "*." : "", hosts[rand_below(6)]);
		return (struct match_condition)HOST(arena_strdup(&arena, wild));
	}
}

struct verdicts {
	const struct route *first;
	const struct route_match *hidden[64];
	unsigned hidden_count;
};

static void note_first(void *ctx, const struct route_match *m, bool matches, const char *why)
{
	struct verdicts *v = ctx;

	(void)why;
	if (matches && !v->first)
		v->first = m->route;
}

static void note_hidden(void *ctx, const struct route_match *hidden, const struct route_match *by)
{
	struct verdicts *v = ctx;

	(void)by;
	v->hidden[v->hidden_count++] = hidden;
}

static void random_request(struct route_request *q)
{
	char *query = arena_printf(&arena, "%s=%u", rand_below(2) ? "p" : "q", rand_below(3));

	headers_init(&headers, &arena);
	if (rand_below(2))
		headers_add_name(&headers, SPAN("x-a"), span_str(ONE_OF(values)));
	if (rand_below(2))
		headers_add_name(&headers, SPAN("Accept"), span_str(ONE_OF(values)));
	*q = (struct route_request){
		.method = span_str(ONE_OF(methods)),
		.host = span_str(ONE_OF(hosts)),
		.path = span_str(ONE_OF(words)),
		.query = rand_below(2) ? span_str(query) : (struct span){ 0 },
		.headers = &headers,
	};
}

static void test_tables_agree_with_looking_at_every_route(void **state)
{
	unsigned found = 0, hidden = 0;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct row rows[40];
		unsigned count = 1 + rand_below(ARRAY_LEN(rows));
		struct verdicts v = { 0 };
		struct router *r;

		for (unsigned i = 0; i < count; i++) {
			rows[i] = (struct row){ .id = "r", .priority = (int32_t)rand_below(3) };
			for (unsigned k = rand_below(5); k > 0; k--)
				rows[i].conditions[k - 1] = random_condition();
		}
		r = build_ok(rows, count);
		router_find_hidden(r, note_hidden, &v);
		for (unsigned n = 0; n < 60; n++) {
			struct route_request q;
			const struct route *got;

			random_request(&q);
			v.first = NULL;
			router_explain(r, scratch, &q, note_first, &v);
			got = router_match(r, scratch, &q);
			assert_ptr_equal(got, v.first);
			found += got != NULL;
			for (unsigned k = 0; k < v.hidden_count; k++)
				assert_ptr_not_equal(got, v.hidden[k]->route);
		}
		hidden += v.hidden_count;
		arena_reset(&arena);
	}
	assert_true(found > 1000 && hidden > 100);
}

/* A thousand routes of each kind that the tables answer: each is found, and a stranger is not. */
static void test_a_thousand_routes(void **state)
{
	struct row *rows = arena_array(&arena, 1000, sizeof(*rows));
	struct router *r;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		rows[i] = (struct row){ .id = arena_printf(&arena, "r%u", i), .priority = 50 };
		rows[i].conditions[0] = i % 3 == 0 ? (struct match_condition)PREFIX(arena_printf(&arena, "/p%u", i))
					: i % 3 == 1
						? (struct match_condition)PATH(arena_printf(&arena, "/e%u", i))
						: (struct match_condition)HOST(arena_printf(&arena, "h%u.test", i));
	}
	r = build_ok(rows, 1000);
	for (unsigned i = 0; i < 1000; i++) {
		const char *text = i % 3 == 0	? arena_printf(&arena, "GET http://h/p%u/x", i)
				   : i % 3 == 1 ? arena_printf(&arena, "GET http://h/e%u", i)
						: arena_printf(&arena, "GET http://h%u.test/", i);

		assert_string_equal(taken(r, rows, text), rows[i].id);
	}
	assert_string_equal(taken(r, rows, "GET http://h1000.test/e2"), "none");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_paths),
		TEST(test_root_prefix_takes_everything_but_the_star),
		TEST(test_hosts),
		TEST(test_host_longer_than_any_name),
		TEST(test_methods_are_alternatives),
		TEST(test_headers_must_all_hold),
		TEST(test_query_parameters_are_decoded),
		TEST(test_order_is_priority_then_specificity_then_file),
		TEST(test_a_route_without_conditions_takes_all),
		TEST(test_what_is_refused),
		TEST(test_a_regex_that_explodes_is_no_match_and_counted),
		TEST(test_literal_prefix_of_a_regex),
		TEST(test_explain_says_why),
		TEST(test_hidden_routes_are_found),
		TEST(test_tables_agree_with_looking_at_every_route),
		TEST(test_a_thousand_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
