/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_explain.c - sentinel explain: what would happen to a request, why, and which line of the file says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/admin.h"
#include "app/client.h"
#include "app/guard.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "features/rate_limit.h"
#include "http/uri.h"
#include "proxy/client_addr.h"
#include "proxy/config.h"
#include "proxy/handler.h"
#include "proxy/snapshot.h"
#include "schema/value.h"

struct loser {
	const char *id, *why;
	struct schema_pos pos;
};

struct explanation {
	struct cli *cli;
	struct arena *arena;
	const struct snapshot *snapshot;

	/* the request */
	struct span method, host, path, query;
	unsigned port;
	bool is_https;
	struct headers headers;
	struct addr peer;
	struct client_addr_result client;

	/* the answer */
	struct rules_verdict verdict;
	char country[3]; /* of the peer, by the kernel's database; "": there is none */
	const struct listener *listener;
	const struct route *route;
	bool is_default_route;
	struct loser *losers;
	unsigned loser_count;
};

/* ---- reading the request: 0, or the exit code of cli_fail() ---- */

static int url_read(struct explanation *e, const char *url)
{
	struct span rest = span_str(url), authority, target, path;
	bool had_dots;
	unsigned default_port = 80;

	if (span_starts(rest, SPAN("https://"))) {
		rest = span_skip(rest, 8);
		default_port = 443;
		e->is_https = true;
	} else if (span_starts(rest, SPAN("http://"))) {
		rest = span_skip(rest, 7);
	} else if (rest.len == 0 || rest.ptr[0] != '/') {
		return cli_fail(e->cli, EXIT_CODE_USAGE,
				"\"%s\" is not a URL: write http://HOST/PATH, https://HOST/PATH, or only /PATH", url);
	}
	authority = span_of(rest.ptr, strcspn(rest.ptr, "/?#"));
	target = span_skip(rest, authority.len);
	target.len = span_find(target, '#');
	if (target.len == 0 || target.ptr[0] != '/')
		target = span_str(arena_printf(e->arena, "/" SPAN_FMT, SPAN_ARG(target)));
	e->port = 0;
	if (authority.len && !uri_split_authority(authority, &e->host, &e->port))
		return cli_fail(e->cli, EXIT_CODE_USAGE, "\"%.*s\" is not HOST or HOST:PORT", SPAN_ARG(authority));
	if (e->port == 0)
		e->port = default_port;
	uri_split(target, &path, &e->query);
	if (uri_normalise(path, e->arena, &e->path, &had_dots) < 0)
		return cli_fail(e->cli, EXIT_CODE_USAGE,
				"the path %.*s is answered with 400: it has a bad escape or leaves the root",
				SPAN_ARG(path));
	return 0;
}

static int headers_read(struct explanation *e)
{
	headers_init(&e->headers, e->arena);
	for (size_t i = 0; i < e->cli->header_count; i++) {
		struct span line = span_str(e->cli->headers[i]);
		struct span name = span_of(line.ptr, span_find(line, ':'));
		struct span value = span_trim(span_skip(line, name.len + 1));

		if (name.len == line.len || !header_name_is_valid(name) || !header_value_is_valid(value))
			return cli_fail(e->cli, EXIT_CODE_USAGE, "\"%s\" is not a header field: write 'Name: value'",
					e->cli->headers[i]);
		headers_add_name(&e->headers, name, value);
		if (header_token_of(name) == TOKEN_HOST) {
			unsigned port;

			if (!uri_split_authority(value, &e->host, &port))
				return cli_fail(e->cli, EXIT_CODE_USAGE, "the Host \"%.*s\" is not HOST or HOST:PORT",
						SPAN_ARG(value));
		}
	}
	return 0;
}

static int request_read(struct explanation *e)
{
	const char *from = e->cli->from ? e->cli->from : "127.0.0.1";
	int code;

	e->method = span_str(e->cli->args[0]);
	if (!header_name_is_valid(e->method))
		return cli_fail(e->cli, EXIT_CODE_USAGE, "\"%s\" is not a method", e->cli->args[0]);
	code = url_read(e, e->cli->args[1]);
	if (code == 0)
		code = headers_read(e);
	if (code == 0 && addr_parse_ip(span_str(from), &e->peer) < 0)
		code = cli_fail(e->cli, EXIT_CODE_USAGE, "--from \"%s\" is not an IP address", from);
	return code;
}

/* ---- finding out ---- */

/*
 * By the port of the URL; a URL that names none of our ports is taken to come by the first listener that speaks its
 * scheme, or else by the first of all.
 */
static void listener_choose(struct explanation *e)
{
	const struct snapshot *s = e->snapshot;
	const struct listener *by_scheme = NULL;

	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listener *l = &s->listeners[i];

		if (addr_port(&l->addr) == e->port) {
			e->listener = l;
			return;
		}
		if (!by_scheme && (l->server.protocol == SERVER_HTTPS) == e->is_https)
			by_scheme = l;
	}
	e->listener = by_scheme ? by_scheme : &s->listeners[0];
}

static void on_route(void *ctx, const struct route_match *m, bool matches, const char *why)
{
	struct explanation *e = ctx;

	if (matches && m->route == e->route)
		return;
	e->losers[e->loser_count++] = (struct loser){
		.id = m->id,
		.why = matches ? "it matches too, but comes later" : arena_strdup(e->arena, why),
		.pos = m->route->pos,
	};
}

static void route_find(struct explanation *e)
{
	const struct route_request q = { e->method, e->host, e->path, e->query, &e->headers };
	struct router_scratch *scratch = router_scratch_new();

	e->losers = arena_array(e->arena, e->snapshot->route_count, sizeof(*e->losers));
	e->route = router_match(e->listener->router, scratch, &q);
	router_explain(e->listener->router, scratch, &q, on_route, e);
	router_scratch_free(scratch);
	if (!e->route && e->listener->default_route) {
		e->route = e->listener->default_route;
		e->is_default_route = true;
	}
}

/* After the rules: whom none refuses or allows is asked for his country. */
static void geo_ask(struct explanation *e, const struct fastpath_plan *p, const uint8_t ip[16])
{
	struct geo_rules *g = geo_rules_new(p);
	struct geo_place place = { 0 };

	if (!e->verdict.reason && !e->verdict.rule)
		e->verdict = geo_rules_judge(g, e->listener->number, ip).rules;
	if (p->geo.file && geo_file_find(p->geo.file, ip, &place) == 0)
		(void)geo_country_text(place.country, e->country);
	geo_rules_free(g);
}

static int guard_ask(struct explanation *e)
{
	struct fastpath_plan plan = { 0 };
	struct strbuf why = { 0 };
	struct rules *rules;
	uint8_t ip[16];

	if (guard_plan(&plan, e->snapshot, &why) < 0) {
		(void)cli_fail(e->cli, EXIT_CODE_ERROR, "%s", why.ptr);
		strbuf_fini(&why);
		return -1;
	}
	rules = rules_new(&plan);
	if (addr_to_ip16(&e->peer, ip)) {
		e->verdict = rules_judge(rules, NULL, ip, clock_boot_ns());
		geo_ask(e, &plan, ip);
	}
	rules_free(rules);
	plan_fini(&plan);
	strbuf_fini(&why);
	return 0;
}

/* ---- saying it: text ---- */

#define PLACE_MAX 512

static const char *place(const struct explanation *e, struct schema_pos pos, char buf[PLACE_MAX])
{
	return config_place(e->snapshot->config, pos, buf, PLACE_MAX);
}

static void verdict_text(const struct explanation *e, struct strbuf *out)
{
	char ip[ADDR_TEXT_MAX];
	size_t len = addr_format_ip(&e->peer, ip);

	strbuf_printf(out, "kernel    %.*s: ", (int)len, ip);
	if (!e->verdict.reason)
		strbuf_add_str(out, e->verdict.rule ? "allowed by a rule" : "no rule speaks against it");
	else
		strbuf_printf(out, "%s: %s", e->verdict.is_refused ? "refused" : "would be refused (monitor)",
			      rules_reason_text(e->verdict.reason));
	if (e->verdict.rule)
		strbuf_printf(out, "  (line %u)", e->verdict.rule);
	if (e->country[0])
		strbuf_printf(out, "\n          country %s by %s", e->country,
			      e->snapshot->config->kernel.geo->database);
	strbuf_add_str(out, "\n          bans of a running daemon are not looked at: `sentinel ban list`\n");
}

static void forward_text(const struct explanation *e, struct strbuf *out)
{
	const struct route *r = e->route;
	const struct upstream *u = r->upstream;
	const struct config_upstream *c;
	char buf[PLACE_MAX];

	if (!u) {
		strbuf_printf(out, "answer    by the builtin handler \"%s\"\n", r->handler->name);
		return;
	}
	c = config_upstream_find(e->snapshot->config, u->id);
	strbuf_printf(out, "upstream  %s, %s  (%s)\n", u->id, u->balancer->name, place(e, c->meta.pos, buf));
	for (unsigned i = 0; i < u->endpoint_count; i++)
		strbuf_printf(out, "          target %s weight %u\n", u->endpoints[i]->name, u->weights[i]);
	strbuf_printf(out, "          at most %u attempt%s\n", r->retry.attempts_max,
		      r->retry.attempts_max == 1 ? "" : "s");
}

/* What a filter's key needs of a request. */
static void exchange_like(const struct explanation *e, struct exchange *x, struct message *m)
{
	message_init(m, e->arena);
	m->headers = e->headers;
	*x = (struct exchange){
		.arena = e->arena,
		.request = m,
		.path = e->path,
		.query = e->query,
		.route = e->route,
		.route_id = e->route->id,
		.client_addr = e->client.addr,
	};
}

/* Of a limit: the level of the bucket that the request meets, if a daemon runs.  Empty: nobody knows. */
static struct span level_ask(const struct explanation *e, const struct filter_use *u)
{
	const char *path = e->cli->socket ? e->cli->socket : admin_path(client_system(e->cli), e->arena);
	struct strbuf question = { 0 }, answer = { 0 };
	struct span level = { 0 };
	struct exchange x;
	struct message m;
	bool is_ok;
	int code = EXIT_CODE_NOT_RUNNING;

	strbuf_init(&question);
	strbuf_init(&answer);
	exchange_like(e, &x, &m);
	if (rate_limit_question(&x, u, &question) && question.len < ADMIN_LINE_MAX - 16 && access(path, F_OK) == 0)
		code = client_ask_text(e->cli, question.ptr, &answer, &is_ok);
	if (code == EXIT_CODE_ERROR)
		cli_complain("how full the limit is, is not known: %s", answer.ptr);
	else if (code == EXIT_CODE_OK)
		level = arena_span(e->arena, span_of(answer.ptr, span_find(strbuf_span(&answer), '\n')));
	strbuf_fini(&question);
	strbuf_fini(&answer);
	return level;
}

static void level_text(const struct explanation *e, const struct filter_use *u, struct strbuf *out)
{
	struct span level = level_ask(e, u);

	if (level.len)
		strbuf_printf(out, "          now: " SPAN_FMT "\n", SPAN_ARG(level));
}

static void level_json(const struct explanation *e, const struct filter_use *u, struct json *j)
{
	struct span level = level_ask(e, u);
	struct strbuf terms = { 0 };

	if (!u->filter->explain)
		return;
	strbuf_init(&terms);
	u->filter->explain(u->config, &e->client.addr, &terms);
	json_object(j, NULL);
	json_str(j, "filter", u->id);
	json_span(j, "explanation", strbuf_span(&terms));
	if (level.len)
		json_span(j, "level", level);
	json_end(j, '}');
	strbuf_fini(&terms);
}

static void route_text(const struct explanation *e, struct strbuf *out)
{
	const struct route *r = e->route;
	char buf[PLACE_MAX], text[VALUE_TEXT_MAX];

	if (!r) {
		strbuf_add_str(out, "route     none: 404\n");
		return;
	}
	strbuf_printf(out, "route     %s  (%s)%s\n", r->id, place(e, r->pos, buf),
		      e->is_default_route ? ", the default-route of the listener: no route matches" : "");
	for (unsigned i = 0; i < r->filter_count; i++) {
		const struct filter_use *u = &r->filters[i];

		strbuf_printf(out, "filter %-2u %s, type %s  (%s)\n", i + 1, u->id, u->filter->name,
			      place(e, ((const struct schema_meta *)u->config)->pos, buf));
		if (!u->filter->explain)
			continue;
		strbuf_add_str(out, "          ");
		u->filter->explain(u->config, &e->client.addr, out);
		strbuf_add_char(out, '\n');
		level_text(e, u, out);
	}
	forward_text(e, out);
	strbuf_printf(out, "limits    body %s", value_size_text(text, r->body_max));
	strbuf_printf(out, ", total time %s\n",
		      r->timeout_ms ? value_duration_text(text, r->timeout_ms) : "unlimited");
	for (unsigned i = 0; i < r->bound_count; i++)
		strbuf_printf(out, "          at most %llu requests and tunnels of %s in progress\n",
			      (unsigned long long)r->bounds[i].max,
			      r->bounds[i].scope ? r->bounds[i].scope : "the route");
}

/* Whose routes the listener serves; NULL: those that are in no namespace. */
static const char *namespace_of(const struct explanation *e)
{
	const struct config_listener *c = config_listener_find(e->snapshot->config, e->listener->id);

	return c ? c->namespace_id : NULL;
}

static void explain_text(const struct explanation *e, struct strbuf *out)
{
	char buf[PLACE_MAX], addr[ADDR_TEXT_MAX];
	const char *space = namespace_of(e);

	verdict_text(e, out);
	addr_format(&e->listener->addr, addr);
	strbuf_printf(out, "listener  %s %s  (%s)\n", e->listener->id, addr, place(e, e->listener->pos, buf));
	if (space)
		strbuf_printf(out, "          only routes in namespace %s\n", space);
	strbuf_printf(out, "client    %.*s\n", SPAN_ARG(client_addr_text(&e->client, e->arena)));
	strbuf_printf(out, "path      %.*s\n", SPAN_ARG(e->path));
	route_text(e, out);
	for (unsigned i = 0; i < e->loser_count; i++)
		strbuf_printf(out, "not       %s: %s  (%s)\n", e->losers[i].id, e->losers[i].why,
			      place(e, e->losers[i].pos, buf));
}

/* ---- saying it: JSON ---- */

static void route_json(const struct explanation *e, struct json *j)
{
	const struct route *r = e->route;
	char buf[PLACE_MAX];

	if (!r) {
		json_null(j, "route");
		json_u64(j, "status", 404);
		return;
	}
	json_str(j, "route", r->id);
	json_str(j, "place", place(e, r->pos, buf));
	json_bool(j, "is_default_route", e->is_default_route);
	json_array(j, "filters");
	for (unsigned i = 0; i < r->filter_count; i++)
		json_str(j, NULL, r->filters[i].id);
	json_end(j, ']');
	json_array(j, "explanations");
	for (unsigned i = 0; i < r->filter_count; i++)
		level_json(e, &r->filters[i], j);
	json_end(j, ']');
	json_str(j, "handler", r->handler->name);
	json_str(j, "upstream", r->upstream ? r->upstream->id : NULL);
	json_array(j, "targets");
	for (unsigned i = 0; r->upstream && i < r->upstream->endpoint_count; i++)
		json_str(j, NULL, r->upstream->endpoints[i]->name);
	json_end(j, ']');
	json_array(j, "in_progress");
	for (unsigned i = 0; i < r->bound_count; i++) {
		json_object(j, NULL);
		json_u64(j, "max", r->bounds[i].max);
		json_str(j, "scope", r->bounds[i].scope);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void explain_json(const struct explanation *e, struct strbuf *out)
{
	struct json j;
	char buf[PLACE_MAX];

	json_init(&j, out, true);
	json_object(&j, NULL);
	json_object(&j, "kernel");
	json_bool(&j, "refused", e->verdict.is_refused);
	json_str(&j, "reason", e->verdict.reason ? rules_reason_label(e->verdict.reason) : NULL);
	json_u64(&j, "rule_line", e->verdict.rule);
	json_str(&j, "country", e->country[0] ? e->country : NULL);
	json_end(&j, '}');
	json_str(&j, "listener", e->listener->id);
	json_str(&j, "namespace", namespace_of(e));
	json_span(&j, "client_ip", client_addr_text(&e->client, e->arena));
	json_span(&j, "path", e->path);
	route_json(e, &j);
	json_array(&j, "not");
	for (unsigned i = 0; i < e->loser_count; i++) {
		json_object(&j, NULL);
		json_str(&j, "route", e->losers[i].id);
		json_str(&j, "why", e->losers[i].why);
		json_str(&j, "place", place(e, e->losers[i].pos, buf));
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

/* ---- the command ---- */

static int explain_loaded(struct explanation *e)
{
	struct strbuf text = { 0 };
	int code = request_read(e);

	if (code)
		return code;
	listener_choose(e);
	client_addr_find(&e->peer, &e->headers, e->listener->trusted_proxies,
			 e->listener->trusted_proxy_count, &e->client);
	if (guard_ask(e) < 0)
		return EXIT_CODE_ERROR;
	route_find(e);
	strbuf_init(&text);
	if (e->cli->wants_json)
		explain_json(e, &text);
	else
		explain_text(e, &text);
	(void)fwrite(text.ptr, 1, text.len, stdout);
	strbuf_fini(&text);
	return EXIT_CODE_OK;
}

static int explain(struct cli *c)
{
	const char *path = cli_config(c);
	struct config_registry registry;
	struct snapshot *s = NULL;
	struct diag d;
	int code = EXIT_CODE_ERROR;

	if (!path)
		return EXIT_CODE_ERROR;
	diag_init(&d, NULL);
	config_registry_init(&registry);
	if (config_build(&s, path, &registry, NULL, &d) < 0) {
		cli_show_diag(c, &d);
	} else {
		struct explanation e = { .cli = c, .arena = &c->arena, .snapshot = s };

		code = explain_loaded(&e);
	}
	snapshot_put(s);
	diag_fini(&d);
	config_registry_fini(&registry);
	return code;
}

const struct command command_explain = {
	.name = "explain",
	.usage = "METHOD URL [-H 'Name: value']... [--from IP] [-c FILE]",
	.summary = "what would happen to a request, and why",
	.help = "Reads the configuration; a daemon that runs is only asked how full limits are.  Prints what the\n"
		"kernel's guard says of the client, the listener, the route and why the others lost, the filters\n"
		"in order, and the targets, each with its line of the file.\n"
		"The listener is the one with the port of the URL, else the first that speaks its scheme;\n"
		"without --from the client is 127.0.0.1.\n\n"
		"Example: sentinel explain GET 'http://example.com/api/x?y=1' -H 'Accept: text/html' --from "
		"203.0.113.9",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON | CLI_HEADER | CLI_FROM,
	.args_min = 2,
	.args_max = 2,
	.run = explain,
};
