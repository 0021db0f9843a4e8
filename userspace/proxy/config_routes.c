/* SPDX-License-Identifier: GPL-2.0-only */
/* config_routes.c - rows of `routes`: conditions, where requests go, retries, policies. */
#include "proxy/config_rows.h"

#include "http/message.h"
#include "http/uri.h"
#include "proxy/handler.h"
#include "proxy/regex.h"

/* ---- matches ---------------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	enum match_kind kind;
	bool has_name; /* the first argument is a name, a second one its value */
} kinds[] = {
	{ "path", MATCH_PATH, false },
	{ "path-prefix", MATCH_PATH_PREFIX, false },
	{ "path-regex", MATCH_PATH_REGEX, false },
	{ "host", MATCH_HOST, false },
	{ "header", MATCH_HEADER, true },
	{ "method", MATCH_METHOD, false },
	{ "query-param", MATCH_QUERY_PARAM, true },
};

/* Patterns meet normalised paths, so they are normalised the same way. */
static const char *path_read(struct schema *s, const struct kdl_value *value)
{
	struct span path;
	bool had_dots = false;

	if (value->text.len == 0 || value->text.ptr[0] != '/') {
		diag_error(s->diag, value->pos, "a path begins with `/`");
		return NULL;
	}
	if (span_find(value->text, '?') < value->text.len) {
		diag_hint(s->diag, diag_error(s->diag, value->pos, "a path has no query"),
			  "use `query-param \"name\" \"value\"`");
		return NULL;
	}
	if (uri_normalise(value->text, s->arena, &path, &had_dots) < 0) {
		diag_error(s->diag, value->pos, "this path can never match: it is not valid in a request");
		return NULL;
	}
	if (had_dots)
		diag_warning(s->diag, value->pos, "paths are compared without dot segments: `%.*s`",
			     SPAN_ARG(path));
	return arena_strndup(s->arena, path.ptr, path.len);
}

static const char *host_read(struct schema *s, const struct kdl_value *value)
{
	struct span text = value->text;
	char *host = arena_strndup(s->arena, text.ptr, text.len);
	size_t from = span_starts(text, SPAN("*.")) ? 2 : 0;

	for (size_t i = from; i < text.len; i++) {
		if (host[i] == '*') {
			diag_hint(s->diag,
				  diag_error(s->diag, value->pos, "`*` stands only at the start of a host"),
				  "`*.example.com` matches every name below example.com");
			return NULL;
		}
		if (host[i] >= 'A' && host[i] <= 'Z')
			host[i] |= 0x20;
		if ((unsigned char)host[i] <= ' ' || strchr("/?#@\\", host[i])) {
			diag_error(s->diag, value->pos, "this is not the name of a host");
			return NULL;
		}
	}
	if (text.len == from) {
		diag_error(s->diag, value->pos, "this is not the name of a host");
		return NULL;
	}
	return host;
}

static const char *value_read(struct schema *s, enum match_kind kind, const struct kdl_value *value)
{
	switch (kind) {
	case MATCH_PATH:
	case MATCH_PATH_PREFIX:
		return path_read(s, value);
	case MATCH_HOST:
		return host_read(s, value);
	case MATCH_PATH_REGEX: {
		struct regex *regex;
		const char *why;

		if (regex_compile(&regex, value->text, s->arena, &why) == 0)
			return value->text.ptr;
		diag_error(s->diag, value->pos, "not a pattern: %s", why);
		return NULL;
	}
	case MATCH_METHOD:
		for (size_t i = 0; i < value->text.len; i++)
			if (value->text.ptr[i] >= 'a' && value->text.ptr[i] <= 'z') {
				diag_error(s->diag, value->pos, "methods are written in capitals: `GET`");
				return NULL;
			}
		break;
	default:
		break;
	}
	if ((kind == MATCH_METHOD || kind == MATCH_HEADER) && !header_name_is_valid(value->text)) {
		diag_error(s->diag, value->pos,
			   kind == MATCH_METHOD ? "this is not a method"
						: "this is not the name of a header field");
		return NULL;
	}
	return value->text.ptr;
}

static void match_append(struct schema *s, struct config_matches *m, struct config_match match)
{
	struct config_match *item = arena_alloc(s->arena, sizeof(*item));

	*item = match;
	item->next = NULL;
	if (!m->first)
		m->first = item;
	else
		*m->tail = item;
	m->tail = &item->next;
	m->count++;
}

static bool node_is_plain(struct schema *s, const struct kdl_node *node, size_t args_max)
{
	if (node->prop_count)
		diag_error(s->diag, node->props[0].pos, "\"%s\" has no properties", node->name.ptr);
	else if (node->has_children)
		diag_error(s->diag, node->pos, "\"%s\" has no block", node->name.ptr);
	else if (node->arg_count == 0)
		diag_error(s->diag, node->pos, "\"%s\" needs a value", node->name.ptr);
	else if (node->arg_count > args_max)
		diag_error(s->diag, node->args[args_max].pos, "\"%s\" takes %s", node->name.ptr,
			   args_max == 1 ? "one value" : "a name and a value");
	else
		return true;
	return false;
}

static void match_read(struct schema *s, const struct kdl_node *node, void *member, void *config)
{
	struct config_matches *matches = member;
	size_t k = 0;

	(void)config;
	matches->count++; /* a condition that is wrong is not "no condition": only one error for it */
	while (!span_eq(node->name, span_str(kinds[k].name)))
		CHECK(++k < ARRAY_LEN(kinds));
	if (!node_is_plain(s, node, kinds[k].has_name ? 2 : kinds[k].kind == MATCH_METHOD ? 16 : 1))
		return;
	for (size_t i = 0; i < node->arg_count; i++)
		if (node->args[i].type != KDL_STRING) {
			diag_error(s->diag, node->args[i].pos, "expected a string, not %s",
				   kdl_type_text(node->args[i].type));
			return;
		}
	matches->count--;
	for (size_t i = 0; i < (kinds[k].has_name ? 1 : node->arg_count); i++) {
		struct config_match match = { .kind = kinds[k].kind, .pos = node->pos };
		const char *first = value_read(s, kinds[k].kind, &node->args[i]);

		if (kinds[k].has_name) {
			match.name = first;
			match.value = node->arg_count > 1 ? node->args[1].text.ptr : NULL;
		} else {
			match.value = first;
		}
		if (first)
			match_append(s, matches, match);
		else
			matches->count++;
	}
}

#define ROW_MATCH(key, form, text)                                                                           \
	ROW_CUSTOM(struct config_route, matches, key, match_read, form, text, .flags = SCHEMA_REPEAT)

static const struct schema_row match_rows[] = {
	ROW_MATCH("path", "\"/path\"",
		  "The whole path.  Several `path`, `path-prefix` and `path-regex` are alternatives."),
	ROW_MATCH("path-prefix", "\"/path\"",
		  "The path or what lies below it: `/api` matches `/api` and `/api/x`, not `/apix`."),
	ROW_MATCH("path-regex", "\"pattern\"",
		  "A regular expression (PCRE) that is searched in the path; anchor it with `^` and `$`."),
	ROW_MATCH("host", "\"name\"",
		  "Host without port, in any case; `*.example.com` matches every name below example.com.  "
		  "Several are "
		  "alternatives."),
	ROW_MATCH("header", "\"Name\" [\"value\"]", "A header field is there, or has exactly this value."),
	ROW_MATCH("method", "\"GET\"", "The method.  Several are alternatives."),
	ROW_MATCH("query-param", "\"name\" [\"value\"]",
		  "A parameter of the query is there, or has this value (compared after percent-decoding)."),
	ROW_END,
};

/* ---- retry-policy ---- */

#define RETRY struct config_retry

static const struct schema_row retry_rows[] = {
	ROW_UINT(RETRY, attempts_max, "max-attempts", 1, 20, "3", "Attempts, the first one included."),
	ROW_UINT(RETRY, budget_percent, "budget-percent", 0, 100, "20",
		 "Retries of the whole process are at most this part of its requests, so that they cannot "
		 "storm."),
	ROW_DURATION(RETRY, backoff_base_ms, "backoff-base-ms", SCHEMA_MILLIS, 0, 60000, "100",
		     "Pause before the second attempt; it doubles with each one and is shortened at random."),
	ROW_DURATION(RETRY, backoff_max_ms, "backoff-max-ms", SCHEMA_MILLIS, 0, 600000, "10000",
		     "The longest pause."),
	ROW_UINTS(RETRY, statuses, "retryable-status-codes", 400, 599, NULL,
		  "Answers of an origin that are tried again like a failure."),
	ROW_BOOL(RETRY, retries_non_idempotent, "retry-non-idempotent", "#false",
		 "Try POST and PATCH again as well after a part of the request was sent."),
	ROW_SIZE(RETRY, replay_buffer_max, "replay-buffer-size", 0, 16 << 20, "64KiB",
		 "Bytes of a request's body kept for another attempt; a larger body is sent once only."),
	ROW_LATER("timeout-ms"),
	ROW_END,
};

static void retry_check(struct schema *s, void *config)
{
	RETRY *c = config;

	if (c->backoff_base_ms > c->backoff_max_ms)
		diag_error(s->diag, SCHEMA_POS(c, backoff_base_ms),
			   "backoff-base-ms is longer than backoff-max-ms");
}

static const struct schema_block retry_block =
	SCHEMA_BLOCK(RETRY, "retry-policy", retry_rows, retry_check, "When a failed attempt is repeated.");

/* ---- policies ---- */

static const struct schema_row headers_policy_rows[] = {
	ROWS_HEADER_OPS(struct config_headers_policy, ops),
	ROW_END,
};

static void headers_policy_check(struct schema *s, void *config)
{
	header_ops_check(s, &((struct config_headers_policy *)config)->ops);
}

static const struct schema_block headers_policy_block =
	SCHEMA_BLOCK(struct config_headers_policy, "headers", headers_policy_rows, headers_policy_check,
		     "Changes of header fields, in the order rename, set, add, remove.");

#define POLICIES struct config_policies

static const struct schema_row policies_rows[] = {
	ROW_BLOCK(POLICIES, request_headers, "request-headers", &headers_policy_block,
		  "Changes of the request's fields before it goes to the origin."),
	ROW_BLOCK(POLICIES, response_headers, "response-headers", &headers_policy_block,
		  "Changes of the response's fields before it goes to the client."),
	ROW_DURATION(POLICIES, timeout_ms, "timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY, "none",
		     "From the head of the request to the end of the response; then 504, or a reset if the "
		     "response "
		     "has begun.  Does not end tunnels."),
	ROW_DURATION(POLICIES, tunnel_idle_ms, "tunnel-idle-timeout-secs", SCHEMA_SECONDS, 1, 7 * SCHEMA_DAY,
		     "3600", "End a tunnel (WebSocket, CONNECT) that moved no byte for this long."),
	ROW_SIZE(POLICIES, body_max, "max-body-size", 0, 1LL << 50, NULL,
		 "Bytes of a request's body, instead of `limits/max-body-size`.",
		 .aliases = "max-body-size-bytes"),
	ROW_OPTIONAL(POLICIES, rate_limit, "rate-limit", &rate_limit_block,
		     "How many requests each client, or another key, may make to this route; before its filters."),
	ROW_LATER("failure-mode"),
	ROW_LATER("buffer-requests"),
	ROW_LATER("buffer-responses"),
	ROW_LATER("cache"),
	ROW_LATER("circuit-breaker"),
	ROW_END,
};

static const struct schema_block policies_block =
	SCHEMA_BLOCK(POLICIES, "policies", policies_rows, NULL, "Bounds and header fields of a route.");

/* ---- route ---- */

static const struct schema_word priority_words[] = {
	{ "low", CONFIG_PRIORITY_LOW, .help = "10" },
	{ "normal", 50, .help = "50" },
	{ "high", 100, .help = "100" },
	{ "critical", 1000, .help = "1000" },
	{ NULL },
};

static const struct schema_word service_words[] = {
	{ "web", CONFIG_SERVICE_WEB, .help = "errors as the client's Accept wishes, else text" },
	{ "api", CONFIG_SERVICE_API, .help = "errors as JSON unless the client wishes another form" },
	{ "builtin", CONFIG_SERVICE_BUILTIN, .help = "as api" },
	{ "static", .is_later = true },
	{ "inference", .is_later = true },
	{ NULL },
};

static const char *builtin_verify(const char *text, struct arena *a)
{
	char *name = arena_strdup(a, text);

	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	if (handler_find(name))
		return NULL;
	if (strcmp(name, "cache-purge") == 0 || strcmp(name, "cache-stats") == 0)
		return "is not in this version of Sentinel";
	for (size_t i = 0; handler_at(i); i++)
		name = arena_printf(a, "%s%s %s", i ? name : "is not a builtin handler; there are",
				    i ? "," : "", handler_at(i)->name);
	return name;
}

#define ROUTE struct config_route

static const struct schema_row route_rows[] = {
	ROW_ID(ROUTE, id, "Name of the route: in logs, metrics and `default-route`.", .verify = config_id_verify),
	ROW_GROUP("matches", match_rows,
		  "Conditions: all must hold, where alternatives of one kind count as one.  Without any the "
		  "route "
		  "matches every request; then its priority must be `low`.",
		  .flags = SCHEMA_REPEAT),
	ROW_INT(ROUTE, priority, "priority", INT32_MIN, INT32_MAX, "50",
		"Routes with more are tried first; among equals the more specific one, then the first in the "
		"file.",
		.words = priority_words),
	ROW_STRING(ROUTE, upstream, "upstream", NULL, "Forward to this upstream."),
	ROW_STRINGS(
		ROUTE, filters, "filters", NULL,
		"Filters by name, in the order in which requests pass them; responses pass them backwards."),
	ROW_STRINGS(ROUTE, listeners, "listeners", NULL,
		    "Serve the route on these listeners only; without the key on all of its namespace, or on all "
		    "that have none."),
	ROW_STRING(ROUTE, builtin_handler, "builtin-handler", NULL,
		   "Answer here: `status`, `health`, `metrics`, `not-found`, `config` or `upstreams`.",
		   .verify = builtin_verify),
	ROW_ENUM(ROUTE, service, "service-type", service_words, "web", "What kind of service this is."),
	ROW_OPTIONAL(ROUTE, retry, "retry-policy", &retry_block,
		     "When a failed attempt is repeated; without the block never, but for a request that "
		     "met a connection the origin had just closed."),
	ROW_BLOCK(ROUTE, policies, "policies", &policies_block, "Bounds and header fields."),
	ROW_BOOL(ROUTE, allows_upgrade, "websocket", "#false",
		 "Let WebSocket upgrades through; else they get 403.  Offers of other protocols are not passed on."),
	ROW_BOOL(ROUTE, allows_connect, "allow-connect", "#false",
		 "Let CONNECT through to the upstream; else it gets 405."),
	ROW_ENUM(ROUTE, splice, "splice", config_splice_words, NULL,
		 "As `splice` of the kernel block, for this route."),
	ROW_LATER("static-files"),
	ROW_LATER("api-schema"),
	ROW_LATER("inference"),
	ROW_LATER("cache"),
	ROW_LATER("shadow"),
	ROW_LATER("fallback"),
	ROW_LATER("websocket-inspection"),
	ROW_LATER("waf-enabled"),
	ROW_LATER("circuit-breaker"),
	ROW_LATER("error-pages"),
	ROW_END,
};

static void route_check(struct schema *s, void *config)
{
	ROUTE *c = config;

	if (c->upstream && c->builtin_handler)
		diag_note(s->diag,
			  diag_error(s->diag, SCHEMA_POS(c, builtin_handler),
				     "route \"%s\" has an upstream and a builtin-handler", c->id),
			  SCHEMA_POS(c, upstream), "the upstream is here");
	if (c->matches.count == 0 && c->priority > CONFIG_PRIORITY_LOW)
		diag_hint(s->diag,
			  diag_error(s->diag, c->meta.pos,
				     "route \"%s\" has no conditions, so it would take everything", c->id),
			  "add `matches { path-prefix \"/\" }`, or `priority \"low\"` if that is meant");
	for (char *p = (char *)(uintptr_t)c->builtin_handler; p && *p; p++)
		if (*p == '_')
			*p = '-';
}

const struct schema_block config_route_block =
	SCHEMA_BLOCK(ROUTE, "route", route_rows, route_check, "Which requests, and what is done with them.");

const struct schema_row config_routes_rows[] = {
	ROW_LIST(struct config, routes, route_count, "route", &config_route_block,
		 "Which requests, and what is done with them."),
	ROW_END,
};
