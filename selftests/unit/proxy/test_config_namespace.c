/* SPDX-License-Identifier: GPL-2.0-only */
/* test_config_namespace.c - what names mean in namespaces and services, and which routes a listener serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "config_fixture.h"

#define LISTENER(id, port, keys) "listener \"" id "\" { address \"127.0.0.1:" port "\"; " keys " }\n"
#define UPSTREAM(id, port)	 "upstream \"" id "\" { target \"127.0.0.1:" port "\" }\n"
#define NOTE(id)		 "filter \"" id "\" { type \"note\" }\n"
#define AT(id, path, keys)	 "route \"" id "\" { matches { path \"" path "\" }; " keys " }\n"
#define HEALTH			 "builtin-handler \"health\""
#define IN(body) \
	"listeners { " LISTENER("l", "1", "namespace \"n\"") " }\nnamespace \"n\" { " body " }\n"
#define ROUTED			 "routes { " AT("r", "/", HEALTH) " }\n"

static const struct mistake mistakes[] = {
	{ LISTENERS "namespace { }", "\"id\" is missing in namespace" },
	{ LISTENERS "namespace \"\" { }", "must not be empty" },
	{ LISTENERS "namespace \"a:b\" { }", "\"a:b\" is not an id: `:` stands between" },
	{ LISTENERS "namespace \"0123456789012345678901234567890123456789012345678901234567890123\" { }",
	  "is longer than 63 bytes" },
	{ LISTENERS "namespace \"a\" { }\nnamespace \"a\" { }", "namespace \"a\" is defined twice" },
	{ LISTENERS "namespace \"a\" { exprts { } }", "did you mean \"exports\"?" },
	{ LISTENERS "namespace \"a\" { service \"s\" { }; service \"s\" { } }", "service \"s\" is defined twice" },
	{ LISTENERS "namespace \"a\" { service \"s:t\" { } }", "\"s:t\" is not an id" },
	{ LISTENERS "namespace \"a\" { service \"s\" { exports { } } }", "unknown key \"exports\" in service" },
	{ LISTENERS "namespace \"a\" { service \"s\" { service \"t\" { } } }", "unknown key \"service\" in service" },
	{ LISTENERS "namespace \"a\" { agents { } }", "\"agents\" is not in this version" },
	{ LISTENERS "namespace \"a\" { listeners { } }", "\"listeners\" is not in this version" },
	{ LISTENERS "namespace \"a\" { service \"s\" { listener { } } }", "\"listener\" is not in this version" },
	{ LISTENERS "namespace \"a\" { service \"s\" { agents { } } }", "\"agents\" is not in this version" },
	{ LISTENERS "namespace \"a\" { exports { agents \"x\" } }", "\"agents\" is not in this version" },
	{ LISTENERS "namespace \"a\" { upstreams { upstream \"u\" { } } }", "has no target" },
	{ LISTENERS "namespace \"a\" { filters { filter \"f\" { type \"nota\" } } }", "\"nota\" is not a value" },

	/* limits */
	{ IN("limits { max-header-size 2048 }"), "\"max-header-size\" has no meaning in a namespace or service" },
	{ IN("service \"s\" { limits { min-rate 10 } }"), "\"min-rate\" has no meaning in a namespace or service" },
	{ IN("limits { max-body-size 1 }"), "`policies { max-body-size ... }`" },
	{ IN("limits { max-total-connections 1 }"), "write it in `limits` of the file" },
	{ IN("limits { max-memory-bytes 1 }"), "write it in `limits` of the file" },
	{ IN("limits { max-agent-queue-depth 1 }"), "is not in this version" },
	{ IN("limits { max-in-flight-requests 0 }"), "max-in-flight-requests" },
	{ IN("limits { max-in-flight-request 1 }"), "did you mean \"max-in-flight-requests\"?" },
	{ IN("limits { max-in-flight-requests 1; max-in-flight-requests 2 }"), "is written twice" },
	{ IN("scopes { }"), "unknown key \"scopes\" in namespace" },
	{ LISTENERS "rate-limits { scopes { } }", "\"scopes\" is not in this version" },

	/* ids */
	{ LISTENERS "routes { " AT("a:b", "/", HEALTH) " }", "\"a:b\" is not an id" },
	{ LISTENERS "upstreams { " UPSTREAM("a:b", "1") " }", "\"a:b\" is not an id" },
	{ LISTENERS "filters { " NOTE("a:b") " }", "\"a:b\" is not an id" },
	{ IN("filters { " NOTE("a:b") " }"), "\"a:b\" is not an id" },
	{ IN("routes { " AT("r", "/", HEALTH) AT("r", "/b", HEALTH) " }"), "route \"r\" is defined twice" },
	{ IN("routes { " AT("r", "/", HEALTH) " }; routes { " AT("r", "/b", HEALTH) " }"),
	  "route \"r\" is defined twice" },
	{ IN("upstreams { " UPSTREAM("u", "1") UPSTREAM("u", "2") " }"), "upstream \"u\" is defined twice" },
	{ IN("filters { " NOTE("f") NOTE("f") " }"), "filter \"f\" is defined twice" },

	/* references */
	{ IN("routes { " AT("r", "/", "upstream \"u\"") " }"), "the file has no upstream at all" },
	{ IN("routes { " AT("r", "/", "upstream \"dbx\"") " }; upstreams { " UPSTREAM("dby", "1") " }"),
	  "did you mean \"dby\"?" },
	{ IN("routes { " AT("r", "/", "upstream \"n:dbx\"") " }; upstreams { " UPSTREAM("dby", "1") " }"),
	  "did you mean \"n:dby\"?" },
	{ IN("routes { " AT("r", "/", "upstream \"u\"") " }; service \"s\" { upstreams { " UPSTREAM("u", "1") " } }"),
	  "it is \"n:s:u\" elsewhere" },
	{ IN(ROUTED "upstreams { " UPSTREAM("u", "1") " }")
	  "routes { " AT("g", "/", "upstream \"u\"") " }", "it is \"n:u\" elsewhere" },
	{ IN("routes { " AT("r", "/", "upstream \":u\"") " }") UPSTREAMS, "there is no upstream \":u\"" },
	{ IN("routes { " AT("r", "/", "upstream \"n:u\"") " }") UPSTREAMS, "there is no upstream \"n:u\"" },
	{ IN("routes { " AT("r", "/", HEALTH "; filters \"f\"") " }"), "there is no filter \"f\"" },
	{ IN("routes { " AT("r", "/", "") " }"), "route \"n:r\" has nowhere to send requests" },

	/* exports */
	{ IN(ROUTED "exports { upstreams \"x\" }") UPSTREAMS, "there is no upstream \"x\"" },
	{ IN(ROUTED "exports { upstreams \"u\" }") UPSTREAMS, "there is no upstream \"u\"" },
	{ IN(ROUTED "exports { filters \"f\" }"), "there is no filter \"f\"" },
	{ IN(ROUTED "exports { upstreams \"m:u\" }") "namespace \"m\" { upstreams { " UPSTREAM("u", "1") " } }",
	  "upstream \"m:u\" is not of namespace \"n\"" },
	{ IN(ROUTED) "routes { " AT("g", "/", "upstream \"u\"") " }\n"
	  "namespace \"a\" { upstreams { " UPSTREAM("u", "1") " }; exports { upstreams \"u\" } }\n"
	  "namespace \"b\" { upstreams { " UPSTREAM("u", "1") " }; exports { upstreams \"u\" } }\n",
	  "write \"a:u\" or \"b:u\"" },

	/* listeners */
	{ "listeners { " LISTENER("l", "1", "namespace \"shpo\"") " }\nnamespace \"shop\" { }",
	  "did you mean \"shop\"?" },
	{ "listeners { " LISTENER("l", "1", "namespace \"n\"") " }", "the file has no namespace at all" },
	{ IN("routes { " AT("r", "/", HEALTH "; listeners \"x\"") " }"), "there is no listener \"x\"" },
	{ "listeners { " LISTENER("l", "1", "") " }\nnamespace \"n\" { routes { "
	  AT("r", "/", HEALTH "; listeners \"l\"") " } }", "only a listener with `namespace \"n\"` does" },
	{ IN(ROUTED) "routes { " AT("g", "/", HEALTH "; listeners \"l\"") " }",
	  "it serves only what is in namespace \"n\"" },
	{ "listeners { " LISTENER("l", "1", "default-route \"n:r\"") " }\nnamespace \"n\" { " ROUTED " }",
	  "listener \"l\" does not serve route \"n:r\"" },
	{ "listeners { " LISTENER("l", "1", "namespace \"n\"; default-route \"g\"") " }\n"
	  "namespace \"n\" { " ROUTED " }\n"
	  "routes { " AT("g", "/", HEALTH) " }", "listener \"l\" does not serve route \"g\"" },
	{ "listeners { " LISTENER("l", "1", "namespace \"n\"; default-route \"s:r\"") " }\n"
	  "namespace \"n\" { service \"s\" { "
	  ROUTED " } }", "it is \"n:s:r\" elsewhere" },
	{ "listeners { " LISTENER("l", "1", "default-route \"site\"") " }\n"
	  "namespace \"n\" { routes { " AT("site", "/", HEALTH) " } }\n"
	  "routes { " AT("sites", "/", HEALTH) " }", "did you mean \"sites\"?" },
};

static const struct mistake warnings[] = {
	{ LISTENERS "namespace \"n\" { " ROUTED " }", "no listener serves namespace \"n\"" },
	{ LISTENERS "namespace \"n\" { service \"s\" { " ROUTED " } }", "add `namespace \"n\"` to a listener" },
	{ IN("") "routes { " AT("g", "/", HEALTH) " }", "no route is served on listener \"l\"" },
	{ "listeners { " LISTENER("l", "1", "") LISTENER("m", "2", "namespace \"n\"") " }\n"
	  "namespace \"n\" { " ROUTED " }",
	  "no route is served on listener \"l\"" },
	{ IN(ROUTED "upstreams { " UPSTREAM("u", "1") " }"), "no route uses upstream \"n:u\"" },
	{ IN(ROUTED "filters { " NOTE("f") " }"), "no route uses filter \"n:f\"" },
	{ IN("routes { " AT("a", "/", HEALTH) AT("b", "/", HEALTH) " }"), "route \"n:b\" is never reached" },
	{ "listeners { listener \"l\" { address \"0.0.0.0:1\"; namespace \"n\" } }\nnamespace \"n\" { routes { "
	  AT("c", "/", "builtin-handler \"config\"") " } }", "route \"n:c\" shows the inside of the proxy" },
	{ "listeners { " LISTENER("l", "1", "namespace \"n\"; protocol \"tcp\"") " }\nnamespace \"n\" { }\n"
	  "routes { " AT("g", "/", "upstream \"u\"") " }\n" UPSTREAMS,
	  "no route takes the connections of listener \"l\"" },
};

static const char *const unsuspicious[] = {
	IN(ROUTED),
	IN("service \"s\" { " ROUTED " }"),
	IN(ROUTED "routes { " AT("b", "/b", HEALTH) " }; exports { }"),
	/* one that only exports needs no listener */
	IN("routes { " AT("r", "/", "upstream \"u\"; filters \"f\"") " }")
		"namespace \"shared\" { upstreams { " UPSTREAM("u", "1") " }; filters { " NOTE("f") " }\n"
		"exports { upstreams \"u\"; filters \"f\" } }",
	/* two exports of one name do not matter to who finds a nearer one */
	IN("upstreams { " UPSTREAM("u", "1") " }; routes { " AT("r", "/", "upstream \"u\"")
	   AT("a", "/a", "upstream \"a:u\"") AT("b", "/b", "upstream \"b:u\"") " }")
		"namespace \"a\" { upstreams { " UPSTREAM("u", "1") " }; exports { upstreams \"u\" } }\n"
		"namespace \"b\" { upstreams { " UPSTREAM("u", "1") " }; exports { upstreams \"u\" } }\n",
	"listeners { " LISTENER("l", "1", "namespace \"n\"; default-route \"n:s:r\"") " }\n"
	"namespace \"n\" { service \"s\" { " ROUTED " } }",
	"listeners { " LISTENER("l", "1", "namespace \"n\"; protocol \"tcp\"") " }\n"
	"namespace \"n\" { routes { " AT("r", "/", "upstream \"u\"") " } }\n" UPSTREAMS,
};

static void test_each_mistake_is_an_error_that_names_it(void **state)
{
	(void)state;
	check_errors(mistakes, ARRAY_LEN(mistakes));
}

static void test_doubtful_files_are_built_with_a_warning(void **state)
{
	(void)state;
	check_warnings(warnings, ARRAY_LEN(warnings));
}

static void test_other_files_are_built_without_a_word(void **state)
{
	(void)state;
	check_silence(unsuspicious, ARRAY_LEN(unsuspicious));
}

static void test_errors_have_the_place_of_the_reference(void **state)
{
	(void)state;
	assert_int_equal(build("listeners { listener \"l\" { address \"127.0.0.1:1\"; namespace \"n\" } }\n"
			       "namespace \"n\" {\n"
			       "  upstreams { upstream \"cart-db\" { target \"127.0.0.1:1\" } }\n"
			       "  service \"s\" {\n"
			       "    routes { route \"r\" { matches { path \"/\" }; upstream \"car-db\" } }\n"
			       "  }\n"
			       "  exports { upstreams \"cart-db\" \"other\" }\n"
			       "}\n"),
			 -EINVAL);
	assert_string_equal(text.ptr, "t.kdl:3:15: warning: no route uses upstream \"n:cart-db\"\n"
				      "      upstreams { upstream \"cart-db\" { target \"127.0.0.1:1\" } }\n"
				      "                  ^~~~~~~~\n"
				      "t.kdl:5:48: error: there is no upstream \"car-db\"\n"
				      "        routes { route \"r\" { matches { path \"/\" }; upstream \"car-db\" } }\n"
				      "                                                   ^~~~~~~~\n"
				      "  hint: did you mean \"cart-db\"?\n"
				      "t.kdl:7:33: error: there is no upstream \"other\"\n"
				      "      exports { upstreams \"cart-db\" \"other\" }\n"
				      "                                    ^~~~~~~\n");
}

/* ---- what names mean ---- */

static const struct route *route(const char *id)
{
	for (unsigned i = 0; i < built->route_count; i++)
		if (strcmp(built->routes[i].id, id) == 0)
			return &built->routes[i];
	fail_msg("there is no route %s", id);
	return NULL;
}

/* Each level has one more name than the next inner one. */
#define LEVELS                                                                                                    \
	"listeners { " LISTENER("g", "1", "") LISTENER("n", "2", "namespace \"n\"") LISTENER(                     \
		"m", "3", "namespace \"m\"") " }\n"                                                               \
	"upstreams { " UPSTREAM("a", "1") UPSTREAM("b", "1") UPSTREAM("c", "1") " }\n"                            \
	"filters { " NOTE("f") " }\n"                                                                             \
	"routes { " USES " }\n"                                                                                   \
	"namespace \"n\" { upstreams { " UPSTREAM("a", "2") UPSTREAM("b", "2") UPSTREAM("d", "2") " }\n"          \
	"filters { " NOTE("f") " }\nroutes { " USES " }\n"                                                        \
	"service \"s\" { upstreams { " UPSTREAM("a", "3") UPSTREAM("e", "3") " }\nroutes { " USES " } }\n"        \
	"exports { upstreams \"d\" \"n:s:e\" } }\n"                                                               \
	"namespace \"m\" { routes { " USES " } }\n"
#define USES                                                                                                      \
	AT("a", "/a", "upstream \"a\"; filters \"f\"")                                                            \
	AT("b", "/b", "upstream \"b\"") AT("c", "/c", "upstream \"c\"") AT("d", "/d", "upstream \"d\"")           \
	AT("e", "/e", "upstream \"e\"") AT("q", "/q", "upstream \"n:s:a\"; filters \"n:f\" \"f\"")

static void test_the_nearest_name_is_meant(void **state)
{
	static const struct {
		const char *route, *upstream;
	} meant[] = {
		{ "a", "a" },	      { "b", "b" },	  { "c", "c" },	    { "d", "n:d" },   { "e", "n:s:e" },
		{ "n:a", "n:a" },     { "n:b", "n:b" },	  { "n:c", "c" },   { "n:d", "n:d" }, { "n:e", "n:s:e" },
		{ "n:s:a", "n:s:a" }, { "n:s:b", "n:b" }, { "n:s:c", "c" }, { "n:s:d", "n:d" }, { "n:s:e", "n:s:e" },
		{ "m:a", "a" },	      { "m:b", "b" },	  { "m:c", "c" },   { "m:d", "n:d" }, { "m:e", "n:s:e" },
		{ "q", "n:s:a" },     { "n:q", "n:s:a" }, { "n:s:q", "n:s:a" }, { "m:q", "n:s:a" },
	};

	(void)state;
	assert_int_equal(build(LEVELS), 0);
	assert_int_equal(built->upstream_count, 8);
	for (size_t i = 0; i < ARRAY_LEN(meant); i++)
		assert_string_equal(route(meant[i].route)->upstream->id, meant[i].upstream);
	assert_string_equal(route("a")->filters[0].id, "f");
	assert_string_equal(route("n:a")->filters[0].id, "n:f");
	assert_string_equal(route("n:s:a")->filters[0].id, "n:f");
	assert_string_equal(route("m:a")->filters[0].id, "f");
	assert_string_equal(route("m:q")->filters[0].id, "n:f");
	assert_string_equal(route("n:s:q")->filters[1].id, "n:f");
}

/* ---- who is served ---- */

static const char *served(const char *listener, const char *path)
{
	for (unsigned i = 0; i < built->listener_count; i++)
		if (strcmp(built->listeners[i].id, listener) == 0) {
			const struct route *r = match(&built->listeners[i], path);

			return r ? r->id : "-";
		}
	return "(no such listener)";
}

static void test_a_listener_serves_its_namespace_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(build("listeners { " LISTENER("g", "1", "") LISTENER("n", "2", "namespace \"n\"")
			       LISTENER("n2", "3", "namespace \"n\"; default-route \"x\"")
			       LISTENER("m", "4", "namespace \"m\"") " }\n"
			       "routes { " AT("x", "/x", HEALTH) AT("g", "/g", HEALTH) " }\n"
			       "namespace \"n\" { routes { " AT("x", "/x", HEALTH)
			       AT("y", "/y", HEALTH "; listeners \"n2\"")
			       " }\nservice \"s\" { routes { " AT("x", "/s", HEALTH) AT("z", "/x", HEALTH) " } } }\n"
			       "namespace \"m\" { routes { " AT("x", "/x", HEALTH) " } }"),
			 0);
	assert_string_equal(served("g", "/x"), "x");
	assert_string_equal(served("g", "/g"), "g");
	assert_string_equal(served("g", "/s"), "-");
	assert_string_equal(served("n", "/x"), "n:x"); /* its own come before those of its services */
	assert_string_equal(served("n", "/s"), "n:s:x");
	assert_string_equal(served("n", "/g"), "-");
	assert_string_equal(served("n", "/y"), "-");
	assert_string_equal(served("n2", "/y"), "n:y");
	assert_string_equal(served("n2", "/s"), "n:s:x");
	assert_string_equal(served("m", "/x"), "m:x");
	assert_string_equal(served("m", "/s"), "-");
	assert_string_equal(served("(metrics)", "/metrics"), "(metrics)");
	for (unsigned i = 0; i < built->listener_count; i++)
		if (strcmp(built->listeners[i].id, "n2") == 0)
			assert_string_equal(built->listeners[i].default_route->id, "n:x");
}

static void test_listeners_of_a_namespace_share_a_router(void **state)
{
	(void)state;
	assert_int_equal(build("listeners { " LISTENER("a", "1", "namespace \"n\"")
			       LISTENER("b", "2", "namespace \"n\"")
			       " }\nnamespace \"n\" { " ROUTED " }"),
			 0);
	assert_ptr_equal(built->listeners[0].router, built->listeners[1].router);
}

/* A connection must not get to other routes because its listener is gone. */
static void test_a_removed_listener_keeps_its_namespace(void **state)
{
	static const char file[] = "listeners { " LISTENER("g", "1", "") "%s }\n"
				   "routes { " AT("g", "/", HEALTH) " }\n"
				   "namespace \"n\" { routes { " AT("r", "/r", HEALTH) " } }";
	static const char bare[] = "listeners { " LISTENER("g", "1", "") " }\nroutes { " AT("g", "/", HEALTH) " }\n";
	char with[1024], without[1024];
	struct snapshot *first, *second, *third;

	(void)state;
	(void)snprintf(with, sizeof(with), file, LISTENER("n", "2", "namespace \"n\""));
	(void)snprintf(without, sizeof(without), file, "");
	assert_int_equal(build(with), 0);
	first = built;
	assert_int_equal(config_build_text(&built, "t.kdl", span_str(without), &registry, first, &diag), 0);
	assert_string_equal(served("n", "/r"), "n:r");
	assert_string_equal(served("n", "/"), "-");
	second = built;
	assert_int_equal(config_build_text(&built, "t.kdl", span_str(bare), &registry, first, &diag), 0);
	assert_string_equal(served("n", "/r"), "-");
	assert_string_equal(served("n", "/"), "-");
	assert_string_equal(served("g", "/"), "g");
	third = built;
	/* whose listener went even earlier has none: he gets nothing, for it may have served a namespace */
	assert_int_equal(config_build_text(&built, "t.kdl", span_str(bare), &registry, third, &diag), 0);
	assert_string_equal(served("n", "/"), "(no such listener)");
	assert_null(match(&(struct listener){ .router = built->router }, "/"));
	snapshot_put(first);
	snapshot_put(second);
	snapshot_put(third);
}

/* ---- texts ---- */

static void test_changes_have_canonical_names(void **state)
{
	struct snapshot *other = NULL;
	struct strbuf changes = { 0 };

	(void)state;
	assert_int_equal(build(IN("routes { " AT("a", "/a", "upstream \"u\"") AT("b", "/b", HEALTH) " }\n"
				  "service \"s\" { upstreams { " UPSTREAM("u", "1") " } }") UPSTREAMS), 0);
	assert_int_equal(config_build_text(
				 &other, "t.kdl",
				 span_str(IN("routes { " AT("a", "/a", "upstream \"u\"") " }\n"
					     "upstreams { " UPSTREAM("u", "1") " }\n"
					     "service \"s\" { upstreams { " UPSTREAM("u", "2") " } }\n"
					     "service \"t\" { }") UPSTREAMS "namespace \"m\" { }"),
				 &registry, built, &diag), 0);
	strbuf_init(&changes);
	assert_int_equal(config_changes(built->config, built->config, &changes), 0);
	assert_int_equal(config_changes(built->config, other->config, &changes), 6);
	/* n:a means another upstream now */
	assert_string_equal(changes.ptr, "route \"n:a\" changed\nroute \"n:b\" removed\n"
					 "upstream \"n:u\" added\nupstream \"n:s:u\" changed\n"
					 "namespace \"n\" changed\nnamespace \"m\" added\n");
	strbuf_fini(&changes);
	snapshot_put(other);
}

static void test_json_has_each_thing_once(void **state)
{
	const char *json;

	(void)state;
	assert_int_equal(build(IN("routes { " AT("a", "/a", "upstream \"u\"") " }\n"
				  "upstreams { " UPSTREAM("u", "1") " }\n"
				  "service \"s\" { }\nexports { upstreams \"u\" }")), 0);
	json = built->config_json.ptr;
	assert_non_null(strstr(json, "\"id\": \"n:a\""));
	assert_non_null(strstr(json, "\"id\": \"n:u\""));
	assert_null(strstr(json, "\"id\": \"a\""));
	assert_non_null(strstr(json, "\"id\": \"n\""));
	assert_non_null(strstr(json, "\"id\": \"s\""));
	assert_non_null(strstr(json, "\"namespace\": \"n\""));
	assert_null(strstr(strstr(json, "\"routes\"") + 1, "\"routes\""));
}

/* ---- limits ---- */

#define RATES(g, c, r)                                                                                                 \
	"limits { max-requests-per-second-global " g "; max-requests-per-second-per-client " c                         \
	"; max-requests-per-second-per-route " r " }\n"

/* Of the uses of `rate-limit` in a route: "id scope rate", the widest first. */
static void assert_rates(const char *id, const char *const *want)
{
	const struct route *r = route(id);
	char have[200];
	unsigned i;

	for (i = 0; want[i]; i++) {
		const struct config_rate_limit *c;

		assert_true(i < r->filter_count);
		assert_string_equal(r->filters[i].filter->name, "rate-limit");
		c = r->filters[i].config;
		(void)snprintf(have, sizeof(have), "%s %s %llu%s", r->filters[i].id, c->scope ? c->scope : "-",
			       (unsigned long long)c->rate.count, c->spans_routes ? "" : " each");
		assert_string_equal(have, want[i]);
		assert_int_equal(c->burst, 10 * c->rate.count);
	}
	assert_int_equal(i, r->filter_count);
}

static void test_rates_of_all_scopes_around_apply(void **state)
{
#define GLOBAL "max-requests-per-second-global"
#define CLIENT "max-requests-per-second-per-client"
#define EACH   "max-requests-per-second-per-route"
	static const char *const file[] = { GLOBAL " - 1", CLIENT " - 2", EACH " - 3 each", NULL };
	static const char *const space[] = { GLOBAL " - 1",	  CLIENT " - 2",      EACH " - 3 each",
					     "n:" GLOBAL " n 4", "n:" CLIENT " n 5", "n:" EACH " n 6 each",
					     NULL };
	static const char *const service[] = {
		GLOBAL " - 1",		CLIENT " - 2",		EACH " - 3 each",
		"n:" GLOBAL " n 4",	"n:" CLIENT " n 5",	"n:" EACH " n 6 each",
		"n:s:" GLOBAL " n:s 7", "n:s:" CLIENT " n:s 8", "n:s:" EACH " n:s 9 each",
		NULL,
	};
	static const char *const other[] = { GLOBAL " - 1", CLIENT " - 2", EACH " - 3 each", "m:t:" GLOBAL " m:t 1",
					     NULL };

	(void)state;
	assert_int_equal(build("listeners { " LISTENER("g", "1", "") LISTENER("n", "2", "namespace \"n\"")
			       LISTENER("m", "3", "namespace \"m\"") " }\n"
			       "routes { " AT("g", "/", HEALTH) " }\n" RATES("1", "2", "3")
			       "namespace \"n\" { " ROUTED RATES("4", "5", "6")
			       "service \"s\" { routes { " AT("r", "/s", HEALTH) " }\n" RATES("7", "8", "9") " } }\n"
			       "namespace \"m\" { service \"s\" { " ROUTED " }; service \"t\" { routes { "
			       AT("r", "/t", HEALTH) " }\nlimits { " GLOBAL " 1 } } }"),
			 0);
	assert_rates("g", file);
	assert_rates("n:r", space);
	assert_rates("n:s:r", service);
	assert_rates("m:s:r", file);
	assert_rates("m:t:r", other);
	/* one bucket, whichever route of the scope it is */
	assert_ptr_equal(route("n:r")->filters[3].config, route("n:s:r")->filters[3].config);
}

static void assert_bound(const char *id, unsigned i, uint64_t max, const char *scope)
{
	const struct route *r = route(id);

	assert_true(i < r->bound_count);
	assert_int_equal(r->bounds[i].max, max);
	assert_string_equal(r->bounds[i].scope ? r->bounds[i].scope : "", scope);
}

static void test_bounds_of_requests_in_progress(void **state)
{
	struct snapshot *first;

	static const char file[] =
		"listeners { " LISTENER("g", "1", "") LISTENER("n", "2", "namespace \"n\"") " }\n" UPSTREAMS
		"limits { max-connections-per-route 50; max-in-flight-requests 99 }\n"
		"routes { " AT("g", "/", "upstream \"u\"") " }\n"
		"namespace \"n\" { routes { " AT("r", "/", "upstream \"u\"") " }\n"
		"limits { max-connections-per-route 60; max-in-flight-requests 7 }\n"
		"service \"s\" { routes { " AT("r", "/s", "upstream \"u\"") " }\n"
		"limits { max-connections-per-route 5; max-in-flight-requests 3 } }\n"
		"service \"t\" { routes { " AT("r", "/t", "upstream \"u\"") " } } }";

	(void)state;
	assert_int_equal(build(file), 0);
	assert_int_equal(route("g")->bound_count, 1);
	assert_bound("g", 0, 50, "");
	assert_int_equal(route("n:r")->bound_count, 2);
	assert_bound("n:r", 0, 50, "");
	assert_bound("n:r", 1, 7, "n");
	assert_int_equal(route("n:s:r")->bound_count, 3);
	assert_bound("n:s:r", 0, 5, "");
	assert_bound("n:s:r", 1, 3, "n:s");
	assert_bound("n:s:r", 2, 7, "n");
	assert_bound("n:t:r", 1, 7, "n");
	assert_ptr_equal(route("n:r")->bounds[1].count, route("n:s:r")->bounds[2].count);
	assert_ptr_not_equal(route("n:r")->bounds[0].count, route("n:s:r")->bounds[0].count);
	assert_ptr_not_equal(route("n:s:r")->bounds[1].count, route("n:s:r")->bounds[2].count);
	first = built;
	assert_int_equal(config_build_text(&built, "t.kdl", span_str(file), &registry, first, &diag), 0);
	for (unsigned i = 0; i < first->route_count; i++)
		for (unsigned k = 0; k < first->routes[i].bound_count; k++)
			assert_ptr_equal(built->routes[i].bounds[k].count, first->routes[i].bounds[k].count);
	snapshot_put(first);
}

/* Each key of the file's limits is either one of a scope's, or an error that says why not. */
static void test_every_key_of_limits_is_known_in_a_scope(void **state)
{
	const struct schema_row *limits = schema_row_find(config_block()->rows, SPAN("limits"));
	unsigned taken = 0;
	char file[1024];

	(void)state;
	for (const struct schema_row *row = limits->block->rows; row->name; row++, begin_again()) {
		const char *says = row->type == SCHEMA_LATER ? "is not in this version"
							     : "has no meaning in a namespace";

		(void)snprintf(file, sizeof(file), IN(ROUTED "limits { %s 5 }"), row->name);
		if (build(file) == 0)
			taken++;
		else if (!strstr(text.ptr, says))
			fail_msg("%s should say: %s\n%s", row->name, says, text.ptr);
	}
	assert_int_equal(taken, 5);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_each_mistake_is_an_error_that_names_it),
		T(test_doubtful_files_are_built_with_a_warning),
		T(test_other_files_are_built_without_a_word),
		T(test_errors_have_the_place_of_the_reference),
		T(test_the_nearest_name_is_meant),
		T(test_a_listener_serves_its_namespace_and_nothing_else),
		T(test_listeners_of_a_namespace_share_a_router),
		T(test_a_removed_listener_keeps_its_namespace),
		T(test_rates_of_all_scopes_around_apply),
		T(test_bounds_of_requests_in_progress),
		T(test_every_key_of_limits_is_known_in_a_scope),
		T(test_changes_have_canonical_names),
		T(test_json_has_each_thing_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
