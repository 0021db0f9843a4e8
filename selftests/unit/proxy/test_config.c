/* SPDX-License-Identifier: GPL-2.0-only */
/* test_config.c - what a file may say, what is said about a wrong one, and what is built from a right one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "config_fixture.h"

/* ---- what is said about a wrong file ---- */

#define PAIR "cert-file \"/nowhere/c.pem\"; key-file \"/nowhere/k.pem\"; "
#define SNI  "sni { cert-file \"/a\"; key-file \"/b\"; "
#define TLS(protocol, text)                                                                                   \
	"listeners { listener \"a\" { address \"1.2.3.4:1\"; protocol \"" protocol "\"; tls { " text " } } }; "

#define PROTOCOL(protocol, text) \
	"listeners { listener \"a\" { address \"127.0.0.1:1\"; protocol \"" protocol "\"; " text " } }\n"
#define RAW(protocol, conditions, more) \
	PROTOCOL(protocol, more) "routes { route \"r\" { matches { " conditions " }; upstream \"u\" } }\n" UPSTREAMS

static const struct mistake mistakes[] = {
	{ "", "\"listeners\" is missing" },
	{ "listeners { }", "is missing" },
	{ LISTENERS "listener { }", "unknown key \"listener\"" },
	{ "listeners { listener \"a\" { } }", "\"address\" is missing in listener" },
	{ "listeners { listener { address \"1.2.3.4:5\" } }", "listener" },
	{ "listeners { listener \"a\" { address \"localhost:80\" } }", "address" },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\" }; listener \"a\" { address \"1.2.3.4:2\" } }",
	  "a" },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\" }; listener \"b\" { address \"1.2.3.4:1\" } }",
	  "listener \"b\" has the address of listener \"a\"" },
	{ "listeners { listener \"a\" { address \"127.0.0.1:9090\" } }", "is where the metrics are served" },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\"; protocol \"https\" } }", "has no certificate" },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\"; protocol \"h3\" } }",
	  "\"h3\" is not in this version" },
	{ TLS("http", PAIR), "`tls` has no meaning with this protocol" },
	{ TLS("https", ""), "`tls` has no default certificate" },
	{ TLS("https", "cert-file \"/a\""), "each certificate needs its key" },
	{ TLS("https", PAIR) ROUTE(ALL "builtin-handler \"status\""), "/nowhere/c.pem cannot be read" },
	{ TLS("https", PAIR SNI "hostnames \"a.*.b\" }"), "is not a host name" },
	{ TLS("https", PAIR SNI "hostnames \"a\"; priority-hostnames \"b\" }"),
	  "either `hostnames` or `priority-hostnames`" },
	{ TLS("https", PAIR "client-auth #true"), "`client-auth` needs a `ca-file`" },
	{ TLS("https", PAIR "client-auth 1"), "client-auth" },
	{ TLS("https", PAIR "ca-file \"/a\""), "no effect without `client-auth`" },
	{ TLS("https", PAIR "cipher-suites \"TLS_RSA_WITH_RC4_128_SHA\""), "is not a cipher suite that we have" },
	{ TLS("https", PAIR "min-version \"1.3\"; max-version \"1.2\""), "older than `min-version`" },
	{ TLS("https", PAIR "early-data #true; session-resumption #false"), "needs `session-resumption`" },
	{ TLS("https", PAIR "early-data #true; ktls \"auto\""), "`ktls` cannot be had with `early-data`" },
	{ TLS("https", PAIR "ktls \"on\""), "ktls" },
	{ TLS("https", PAIR "ocsp-responder \"ldap://a\""), "is not an address like http://host/path" },
	{ TLS("https", PAIR "client-cert-headers { subject \"Host\" }"), "a meaning of its own" },
	{ TLS("https", PAIR "client-cert-headers { subject \"X-A\" }") ROUTE(ALL "builtin-handler \"status\""),
	  "`client-cert-headers` has no effect without `client-auth`" },
	{ TLS("https", PAIR "acme { }"), "\"acme\" is not in this version" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; tls { client-key \"/a\" } } }",
	  "`client-key` needs a `client-cert`" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"unix:/a\"; tls { } } }", "needs a name to verify" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; http-version { min-version 2; max-version 1 } } }",
	  "older than `min-version`" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; proxy-protocol \"v3\" } }",
	  "\"v3\" is not a value of" },
	{ PROTOCOL("http", "proxy-protocol \"require\""), "listener \"a\" would refuse everybody" },
	{ PROTOCOL("http", "proxy-protocol \"require\"; trusted-proxies") "system { trusted-proxies \"10.0.0.0/8\" }",
	  "trusted-proxies" },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\"; default-route \"x\" } }",
	  "there is no route \"x\"" },
	{ LISTENERS ROUTE(ALL "upstream \"v\"") UPSTREAMS, "there is no upstream \"v\"" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; filters \"f\"") UPSTREAMS, "there is no filter \"f\"" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; listeners \"wep\"") UPSTREAMS, "did you mean \"web\"?" },
	{ LISTENERS ROUTE(ALL), "has nowhere to send requests" },
	{ LISTENERS ROUTE("upstream \"u\"") UPSTREAMS, "has no conditions" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; builtin-handler \"status\"") UPSTREAMS,
	  "has an upstream and a builtin-handler" },
	{ LISTENERS ROUTE(ALL "builtin-handler \"statos\""), "is not a builtin handler" },
	{ LISTENERS ROUTE(ALL "builtin-handler \"cache-purge\""), "is not in this version" },
	{ LISTENERS ROUTE("matches { path \"x\" }; upstream \"u\"") UPSTREAMS, "a path begins with `/`" },
	{ LISTENERS ROUTE("matches { path \"/a?b\" }; upstream \"u\"") UPSTREAMS, "a path has no query" },
	{ LISTENERS ROUTE("matches { path \"/%zz\" }; upstream \"u\"") UPSTREAMS, "can never match" },
	{ LISTENERS ROUTE("matches { path-regex \"(\" }; upstream \"u\"") UPSTREAMS, "not a pattern" },
	{ LISTENERS ROUTE("matches { host \"a.*.b\" }; upstream \"u\"") UPSTREAMS,
	  "only at the start of a host" },
	{ LISTENERS ROUTE("matches { method \"get\" }; upstream \"u\"") UPSTREAMS, "in capitals" },
	{ LISTENERS ROUTE("matches { header \"a b\" }; upstream \"u\"") UPSTREAMS,
	  "not the name of a header" },
	{ LISTENERS ROUTE("matches { cookie \"a\" }; upstream \"u\"") UPSTREAMS, "unknown key \"cookie\"" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; priority \"hi\"") UPSTREAMS, "\"hi\" is not a value of" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; retry-policy { max-attempts 0 }") UPSTREAMS,
	  "must be from 1 to 20" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; retry-policy { backoff-base-ms 500; backoff-max-ms 100 }")
		  UPSTREAMS,
	  "longer than backoff-max-ms" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; policies { request-headers { set { Content-Length \"1\" } } }")
		  UPSTREAMS,
	  "\"Content-Length\" cannot be changed" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; policies { rate-limit { key \"client\" } }") UPSTREAMS,
	  "\"client\" is not a key" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; policies { rate-limit { max-rps 0 } }") UPSTREAMS,
	  "refuse everybody" },
	{ LISTENERS "rate-limits { global { burst 5 } }", "`global` needs `max-rps`" },
	{ LISTENERS "rate-limits { scopes { } }", "scopes" },
	{ LISTENERS "scopes { }", "\"scopes\" is not in this version" },
	{ LISTENERS ROUTE(ALL "upstream \"u\"; cache { }") UPSTREAMS, "\"cache\" is not in this version" },
	{ LISTENERS "upstreams { upstream \"u\" { } }", "upstream \"u\" has no target" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"http://a\" } }", "without a scheme" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a\" } }", "is not a target" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; target \"a:1\" } }", "is written twice" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; load-balancing \"maglev\" } }",
	  "\"maglev\" is not in this version" },
	{ LISTENERS "upstreams { upstream \"u\" { target \"a:1\"; health-check { } } }",
	  "is not in this version" },
	{ LISTENERS "filters { filter \"f\" { type \"cors\" } }", "\"cors\" is not in this version" },
	{ LISTENERS "filters { filter \"f\" { type \"note\"; text \"wrong\" } }", "does not like this text" },
	{ LISTENERS "filters { filter \"f\" { type \"note\"; txet \"a\" } }", "did you mean \"text\"?" },
	{ LISTENERS "system { daemon #true }", "\"daemon\" is not in this version" },
	{ LISTENERS "system { instance \"../x\" }", "is not a name of an instance" },
	{ LISTENERS "system { worker-threads \"many\" }", "worker-threads" },
	{ LISTENERS "limits { max-header-size 1024; max-request-line-size 2048 }",
	  "larger than the whole head" },
	{ LISTENERS "limits { max-agent-queue-depth 1 }", "is not in this version" },
	{ LISTENERS "agents { }", "\"agents\" is not in this version" },
	{ LISTENERS "kernel { acl { deny \"1.2.3.4/33\" } }", "1.2.3.4/33" },
	{ LISTENERS "kernel { interface \"lo\"; interface \"lo\" }", "lo" },
	{ LISTENERS "kernel { mode \"fast\" }", "\"fast\" is not a value of" },
	{ LISTENERS "observability { tracing { } }", "\"tracing\" is not in this version" },
};

static void test_each_mistake_is_an_error_that_names_it(void **state)
{
	(void)state;
	check_errors(mistakes, ARRAY_LEN(mistakes));
}

static void test_several_mistakes_are_told_at_once_with_places_and_hints(void **state)
{
	(void)state;
	assert_int_equal(build("listeners {\n"
			       "  listener \"web\" { adress \"0.0.0.0:80\" }\n"
			       "}\n"
			       "routes {\n"
			       "  route \"r\" { matches { path \"/\" }; upstream \"orign\" }\n"
			       "}\n"
			       "upstreams { upstream \"origin\" { target \"a:1\"; weight 2 } }\n"),
			 -EINVAL);
	assert_string_equal(text.ptr, "t.kdl:2:3: error: \"address\" is missing in listener\n"
				      "      listener \"web\" { adress \"0.0.0.0:80\" }\n"
				      "      ^~~~~~~~\n"
				      "t.kdl:2:20: error: unknown key \"adress\" in listener\n"
				      "      listener \"web\" { adress \"0.0.0.0:80\" }\n"
				      "                       ^~~~~~\n"
				      "  hint: did you mean \"address\"?\n"
				      "t.kdl:5:37: error: there is no upstream \"orign\"\n"
				      "      route \"r\" { matches { path \"/\" }; upstream \"orign\" }\n"
				      "                                        ^~~~~~~~\n"
				      "  hint: did you mean \"origin\"?\n"
				      "t.kdl:7:13: warning: no route uses upstream \"origin\"\n"
				      "    upstreams { upstream \"origin\" { target \"a:1\"; weight 2 } }\n"
				      "                ^~~~~~~~\n"
				      "t.kdl:7:47: error: unknown key \"weight\" in upstream\n"
				      "    upstreams { upstream \"origin\" { target \"a:1\"; weight 2 } }\n"
				      "                                                  ^~~~~~\n");
}

/* ---- warnings ---- */

#define NO_ROUTE "no route takes the connections of listener \"a\""

static const struct mistake warnings[] = {
	{ LISTENERS UPSTREAMS ROUTE(ALL "builtin-handler \"health\""), "no route uses upstream \"u\"" },
	{ LISTENERS "routes { route \"a\" { matches { path-prefix \"/\" }; builtin-handler \"health\" }\n"
		    "route \"b\" { matches { path-prefix \"/\" }; builtin-handler \"health\" } }",
	  "route \"b\" is never reached" },
	{ LISTENERS ROUTE(ALL
			  "builtin-handler \"health\"") "observability { metrics { address \"0.0.0.0:9\" } }",
	  "can read the metrics" },
	{ LISTENERS ROUTE(ALL "builtin-handler \"config\""), "shows the inside of the proxy" },
	{ LISTENERS, "there is no route: every request gets 404" },
	{ LISTENERS "server { worker-threads 1 }\n" ROUTE(ALL "builtin-handler \"health\""),
	  "\"server\" is deprecated" },
	{ PROTOCOL("http", "proxy-protocol \"accept\"") ROUTE(ALL "builtin-handler \"health\""),
	  "nobody's header is read" },
	{ RAW("tcp", "path-prefix \"/api\"", ""), NO_ROUTE },
	{ RAW("tcp", "host \"a\"", ""), NO_ROUTE },
	{ RAW("tcp", "path-prefix \"/\"; method \"GET\"", ""), NO_ROUTE },
	{ RAW("tls-passthrough", "host \"a\"; header \"x\"", ""), NO_ROUTE },
	{ RAW("tls-passthrough", "host \"a\"; path \"/a\"", ""), NO_ROUTE },
	{ PROTOCOL("tcp", "") ROUTE(ALL "builtin-handler \"health\""), NO_ROUTE },
	{ PROTOCOL("tcp", "default-route \"r\"") ROUTE(ALL "builtin-handler \"health\""), NO_ROUTE },
	{ "listeners { listener \"a\" { address \"1.2.3.4:1\"; protocol \"tcp\" }\n"
	  "listener \"b\" { address \"1.2.3.4:2\" } }\n"
	  ROUTE("listeners \"b\"; " ALL "upstream \"u\"") UPSTREAMS, NO_ROUTE },
};

static const char *const unsuspicious[] = {
	PROTOCOL("http", "proxy-protocol \"require\"") "system { trusted-proxies \"10.0.0.0/8\" }\n"
		ROUTE(ALL "builtin-handler \"health\""),
	RAW("tcp", "path-prefix \"/\"", ""),
	RAW("tcp", "path-regex \"^/$\"; method \"GET\"; method \"CONNECT\"", ""),
	RAW("tcp", "path-prefix \"/api\"", "default-route \"r\""),
	RAW("tls-passthrough", "host \"a\"", "proxy-protocol \"accept\"; trusted-proxies \"10.0.0.0/8\""),
};

static void test_other_files_are_built_without_a_word(void **state)
{
	(void)state;
	check_silence(unsuspicious, ARRAY_LEN(unsuspicious));
}

static void test_doubtful_files_are_built_with_a_warning(void **state)
{
	(void)state;
	check_warnings(warnings, ARRAY_LEN(warnings));
}

/* ---- what is built ---- */

static const struct config_listener *first_listener(const char *file)
{
	struct config *c;

	built = snapshot_new();
	assert_int_equal(config_load_text(&built->arena, "t.kdl", span_str(file), &diag, &c), 0);
	return &c->listeners[0];
}

static void test_a_listener_with_tls_speaks_tls(void **state)
{
	const char *file = "listeners { listener \"a\" { address \"1.2.3.4:1\"; tls { " PAIR " } } }";

	(void)state;
	assert_int_equal(first_listener(file)->protocol, CONFIG_PROTOCOL_HTTPS);
}

static void test_defaults_of_an_almost_empty_file(void **state)
{
	const struct listener *l;

	(void)state;
	assert_int_equal(build(LISTENERS ROUTE(ALL "upstream \"u\"") UPSTREAMS), 0);
	assert_string_equal(text.ptr ? text.ptr : "", "");
	assert_int_equal(built->listener_count, 2); /* and the one of the metrics */
	l = &built->listeners[0];
	assert_int_equal(l->server.limits.head_max, 16384);
	assert_int_equal(l->server.limits.request_line_max, 8192);
	assert_int_equal(l->server.limits.fields_max, 100);
	assert_int_equal(l->server.head_timeout_ms, 10000);
	assert_int_equal(l->server.body_idle_timeout_ms, 30000);
	assert_int_equal(l->server.keep_alive_timeout_ms, 75000);
	assert_int_equal(l->server.write_idle_timeout_ms, 30000);
	assert_int_equal(l->server.keep_alive_requests_max, 0);
	assert_int_equal(built->routes[0].retry.attempts_max, 1);
	assert_int_equal(built->routes[0].body_max, 10 << 20);
	assert_int_equal(built->routes[0].tunnel_idle_ms, 3600000);
	assert_int_equal(built->routes[0].websocket, ROUTE_UPGRADE_REFUSED);
	assert_int_equal(built->upstreams[0].timeouts.connect_ms, 10000);
	assert_int_equal(built->upstreams[0].timeouts.first_byte_ms, 60000);
	assert_int_equal(built->upstreams[0].pool.max_connections, 100);
	assert_int_equal(built->upstreams[0].pool.max_idle, 20);
	assert_string_equal(built->upstreams[0].balancer->name, "round-robin");
	assert_int_equal(built->drain_timeout_ms, 30000);
	assert_int_equal(built->max_connections, 10000);
	assert_string_equal(built->instance, "default");
}

static void test_every_spelling_of_a_target_is_a_target(void **state)
{
	const struct upstream *u;

	(void)state;
	assert_int_equal(
		build(LISTENERS ROUTE(ALL "upstream \"u\"") "upstreams { upstream \"u\" {\n"
							    "address \"10.0.0.1:1\"\n"
							    "target \"10.0.0.2:2\" weight=2\n"
							    "target { address \"10.0.0.3:3\"; weight 3 }\n"
							    "target address=\"10.0.0.4:4\" weight=4\n"
							    "targets { target \"unix:/run/x\" weight=5 }\n"
							    "load-balancing \"LEAST_connections\"\n"
							    "} }"),
		0);
	u = &built->upstreams[0];
	assert_int_equal(u->endpoint_count, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(u->weights[i], i + 1);
	assert_string_equal(u->endpoints[4]->name, "unix:/run/x");
	assert_string_equal(u->balancer->name, "least-connections");
}

static void test_request_timeout_is_short_for_two_deadlines(void **state)
{
	(void)state;
	assert_int_equal(build("listeners { listener \"a\" { address \"1.2.3.4:5\"; request-timeout-secs 7; "
			       "body-idle-timeout-secs \"250ms\" } }"),
			 0);
	assert_int_equal(built->listeners[0].server.head_timeout_ms, 7000);
	assert_int_equal(built->listeners[0].server.body_idle_timeout_ms, 250);
}

static void test_a_route_with_listeners_is_served_there_only(void **state)
{
	(void)state;
	assert_int_equal(build("listeners { listener \"a\" { address \"1.2.3.4:1\" }\n"
			       "listener \"b\" { address \"1.2.3.4:2\" } }\n"
			       "routes { route \"x\" { listeners \"b\"; matches { path \"/x\" }; "
			       "builtin-handler \"health\" }\n"
			       "route \"y\" { matches { path \"/y\" }; builtin-handler \"health\" } }"),
			 0);
	assert_null(match(&built->listeners[0], "/x"));
	assert_string_equal(match(&built->listeners[0], "/y")->id, "y");
	assert_string_equal(match(&built->listeners[1], "/x")->id, "x");
	assert_string_equal(match(&built->listeners[1], "/y")->id, "y");
	assert_ptr_equal(built->listeners[0].router, built->router);
	assert_null(match(&built->listeners[2], "/y"));
	assert_string_equal(match(&built->listeners[2], "/metrics")->handler->name, "metrics");
}

static void test_filters_have_slots_and_keep_their_order(void **state)
{
	const struct route *r;

	(void)state;
	assert_int_equal(build(LISTENERS ROUTE(ALL "upstream \"u\"; filters \"b\" \"a\"") UPSTREAMS
			       "filters { filter \"a\" { type \"note\"; text \"A\" }; filter \"b\" { type "
			       "\"redirect\" } }"),
			 0);
	r = &built->routes[0];
	assert_int_equal(r->filter_count, 2);
	assert_string_equal(r->filters[0].id, "b");
	assert_string_equal(r->filters[1].id, "a");
	assert_string_equal(((const struct note_config *)r->filters[1].config)->text, "A");
	assert_int_equal(built->filter_slot_count, 2);
	assert_int_equal(built->filter_worker_sizes[r->filters[1].slot], 40);
}

static void test_listener_numbers_follow_id_and_address(void **state)
{
	struct snapshot *first;
	uint32_t number;

	(void)state;
	assert_int_equal(build(LISTENERS), 0);
	first = built;
	number = first->listeners[0].number;
	assert_true(number > 0);
	diag_fini(&diag);
	diag_init(&diag, NULL);
	assert_int_equal(config_build_text(&built, "t.kdl",
					   SPAN("listeners { listener \"new\" { address \"1.2.3.4:1\" }\n"
						"listener \"web\" { address \"0.0.0.0:80\" } }"),
					   &registry, first, &diag),
			 0);
	assert_int_equal(built->listeners[1].number, number);
	assert_false(built->listeners[1].is_removed);
	assert_int_not_equal(built->listeners[0].number, number);
	snapshot_put(first);
}

static void test_a_removed_listener_stays_for_one_generation(void **state)
{
	struct snapshot *first, *second;
	const struct listener *was;

	(void)state;
	assert_int_equal(build(LISTENERS), 0);
	first = built;
	diag_fini(&diag);
	diag_init(&diag, NULL);
	assert_int_equal(config_build_text(&second, "t.kdl",
					   SPAN("listeners { listener \"b\" { address \"1.2.3.4:1\" } }"),
					   &registry, first, &diag),
			 0);
	was = snapshot_listener(second, first->listeners[0].number);
	assert_non_null(was);
	assert_true(was->is_removed);
	assert_int_equal(was->server.keep_alive_requests_max, 1);
	assert_int_equal(config_build_text(&built, "t.kdl",
					   SPAN("listeners { listener \"b\" { address \"1.2.3.4:1\" } }"),
					   &registry, second, &diag),
			 0);
	assert_null(snapshot_listener(built, first->listeners[0].number));
	snapshot_put(first);
	snapshot_put(second);
}

static void test_changes_are_named(void **state)
{
	struct snapshot *other = NULL;
	struct strbuf changes = { 0 };

	(void)state;
	assert_int_equal(build(LISTENERS ROUTE(ALL "upstream \"u\"") UPSTREAMS), 0);
	assert_int_equal(
		config_build_text(
			&other, "t.kdl",
			SPAN("listeners { listener \"w2\" { address \"0.0.0.0:80\" } }\n"
			     "routes { route \"r\" { matches { path-prefix \"/a\" }; upstream \"u\" } }\n"
			     "upstreams { upstream \"u\" { target \"127.0.0.1:1\" } }\n"
			     "system { user \"x\" }"),
			&registry, built, &diag),
		0);
	strbuf_init(&changes);
	assert_int_equal(config_changes(built->config, built->config, &changes), 0);
	assert_int_equal(config_changes(built->config, other->config, &changes), 4);
	assert_string_equal(changes.ptr, "system changed\nlistener \"w2\" added\nlistener \"web\" removed\n"
					 "route \"r\" changed\n");
	assert_string_equal(config_needs_restart(built->config, other->config), "user");
	assert_null(config_needs_restart(built->config, built->config));
	strbuf_fini(&changes);
	snapshot_put(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_each_mistake_is_an_error_that_names_it),
		T(test_several_mistakes_are_told_at_once_with_places_and_hints),
		T(test_doubtful_files_are_built_with_a_warning),
		T(test_other_files_are_built_without_a_word),
		T(test_a_listener_with_tls_speaks_tls),
		T(test_defaults_of_an_almost_empty_file),
		T(test_every_spelling_of_a_target_is_a_target),
		T(test_request_timeout_is_short_for_two_deadlines),
		T(test_a_route_with_listeners_is_served_there_only),
		T(test_filters_have_slots_and_keep_their_order),
		T(test_listener_numbers_follow_id_and_address),
		T(test_a_removed_listener_stays_for_one_generation),
		T(test_changes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
