/* SPDX-License-Identifier: GPL-2.0-only */
/* config_upstreams.c - rows of `upstreams`: targets, balancing, connections, deadlines. */
#include "proxy/config_rows.h"

#include "schema/value.h"

static const char *target_verify(const char *text, struct arena *a)
{
	struct span host;
	uint16_t port;
	bool is_ip;

	(void)a;
	if (strncmp(text, "unix:", 5) == 0)
		return endpoint_name_is_valid(text) ? NULL
						    : "is not a target: a socket is `unix:/absolute/path`";
	if (strstr(text, "://"))
		return "is not a target: write `host:port`, without a scheme";
	if (value_endpoint(span_str(text), &host, &port, &is_ip) < 0 || !endpoint_name_is_valid(text))
		return "is not a target: write `host:port`, `[v6]:port` or `unix:/path`";
	return NULL;
}

static const struct schema_row target_rows[] = {
	ROW_STRING(struct config_target, address, "address", NULL,
		   "`host:port`, `[v6]:port` or `unix:/path`.  A name is resolved in the background, again and again.",
		   .flags = SCHEMA_REQUIRED | SCHEMA_ARG | SCHEMA_PROP, .verify = target_verify),
	ROW_UINT(struct config_target, weight, "weight", 0, 1000, "1",
		 "Share of the requests; 0 takes the target out.", .flags = SCHEMA_PROP),
	ROW_LATER("max-requests", .flags = SCHEMA_PROP),
	ROW_END,
};

static const struct schema_block target_block =
	SCHEMA_BLOCK(struct config_target, "target", target_rows, NULL, "A server that answers.");

/* Names for balancer_find(); the later ones of balancers.def. */
const struct schema_word config_balancer_words[] = {
	{ "round-robin", 0, "roundrobin", "in turn, smoothly by weight" },
	{ "weighted", 1, "weighted-round-robin", "the same" },
	{ "least-connections", 2, "leastconnections",
	  "to the target with the fewest requests in flight, by weight" },
	{ "random", 3, .help = "at random" },
	{ "power-of-two-choices", 4, "p2c random-of-two", "the less busy of two at random, by weight" },
	{ "ip-hash", .aliases = "iphash", .is_later = true },
	{ "consistent-hash", .aliases = "consistenthash", .is_later = true },
	{ "adaptive", .is_later = true },
	{ "least-tokens-queued", .aliases = "leasttokensqueued least-tokens", .is_later = true },
	{ "maglev", .is_later = true },
	{ "locality-aware", .aliases = "localityaware locality", .is_later = true },
	{ "peak-ewma", .aliases = "peakewma ewma", .is_later = true },
	{ "deterministic-subset", .aliases = "subset subsetting", .is_later = true },
	{ "weighted-least-connections", .aliases = "weighted-least-conn wlc", .is_later = true },
	{ "sticky", .aliases = "sticky-session stickysession", .is_later = true },
	{ NULL },
};

static const struct schema_row balancing_rows[] = {
	ROW_ENUM(struct config_balancing, algorithm, "algorithm", config_balancer_words, "round-robin",
		 "How a target is chosen.", .flags = SCHEMA_ARG),
	ROW_LATER("cookie-name"),
	ROW_LATER("cookie-ttl"),
	ROW_LATER("cookie-path"),
	ROW_LATER("cookie-secure"),
	ROW_LATER("cookie-same-site"),
	ROW_LATER("fallback"),
	ROW_END,
};

static const struct schema_block balancing_block =
	SCHEMA_BLOCK(struct config_balancing, "load-balancing", balancing_rows, NULL, "How a target is chosen.");

#define POOL struct config_pool

static const struct schema_row pool_rows[] = {
	ROW_UINT(POOL, max_connections, "max-connections", 1, 1000000, "100",
		 "Connections to each target, of all workers together; a request that needs one more waits for it up "
		 "to the connect time-out, then 503."),
	ROW_UINT(POOL, max_idle, "max-idle", 0, 1000000, "20",
		 "Idle connections kept for each target, split over the workers."),
	ROW_DURATION(POOL, idle_timeout_ms, "idle-timeout", SCHEMA_SECONDS, 1, SCHEMA_DAY, "60",
		     "Close an idle connection after this long.", .aliases = "idle-timeout-secs"),
	ROW_DURATION(POOL, max_lifetime_ms, "max-lifetime", SCHEMA_SECONDS, 1, 30 * SCHEMA_DAY, "none",
		     "Use no connection for longer than this.", .aliases = "max-lifetime-secs"),
	ROW_UINT(POOL, max_requests, "max-requests", 1, 1000000000000LL, "none",
		 "Close a connection after this many requests."),
	ROW_END,
};

static const struct schema_block pool_block =
	SCHEMA_BLOCK(POOL, "connection-pool", pool_rows, NULL, "Connections to the targets.");

#define TIMEOUTS struct config_timeouts

static const struct schema_row timeouts_rows[] = {
	ROW_DURATION(TIMEOUTS, connect_ms, "connect", SCHEMA_SECONDS, 1, SCHEMA_HOUR, "10",
		     "To open a connection; then 504.", .aliases = "connect-secs"),
	ROW_DURATION(TIMEOUTS, first_byte_ms, "request", SCHEMA_SECONDS, 1, SCHEMA_DAY, "60",
		     "From the end of the request to the head of the response; then 504.",
		     .aliases = "first-byte request-secs first-byte-secs"),
	ROW_DURATION(TIMEOUTS, read_ms, "read", SCHEMA_SECONDS, 1, SCHEMA_DAY, "30",
		     "Between two pieces of a response's body.", .aliases = "read-secs"),
	ROW_DURATION(TIMEOUTS, write_ms, "write", SCHEMA_SECONDS, 1, SCHEMA_DAY, "30",
		     "Between two pieces of a request that the target takes.", .aliases = "write-secs"),
	ROW_END,
};

static const struct schema_block timeouts_block =
	SCHEMA_BLOCK(TIMEOUTS, "timeouts", timeouts_rows, NULL, "Deadlines of a request to a target.");

static const struct schema_word proxy_protocol_words[] = {
	{ "off", CONFIG_PROXY_OFF, .aliases = "false", .help = "no header" },
	{ "v1", CONFIG_PROXY_V1, .help = "the text form" },
	{ "v2", CONFIG_PROXY_V2, .aliases = "true", .help = "the binary form, with what is known of the client's TLS" },
	{ NULL },
};

#define UPSTREAM struct config_upstream

static const struct schema_row targets_rows[] = {
	ROW_LIST(UPSTREAM, targets, target_count, "target", &target_block, "A server that answers."),
	ROW_END,
};

static const struct schema_row upstream_rows[] = {
	ROW_ID(UPSTREAM, id, "Name of the upstream: in routes, logs and metrics.", .verify = config_id_verify),
	ROW_LIST(UPSTREAM, targets, target_count, "target", &target_block,
		 "A server that answers: `target \"host:port\" weight=2`."),
	ROW_GROUP("targets", targets_rows, "The same with a block around it."),
	ROW_STRING(UPSTREAM, address, "address", NULL, "The same for a single target.", .verify = target_verify),
	ROW_BLOCK(UPSTREAM, balancing, "load-balancing", &balancing_block, "How a target is chosen."),
	ROW_BLOCK(UPSTREAM, pool, "connection-pool", &pool_block, "Connections to the targets."),
	ROW_BLOCK(UPSTREAM, timeouts, "timeouts", &timeouts_block, "Deadlines of a request to a target."),
	ROW_LATER("health-check"),
	ROW_LATER("circuit-breaker"),
	ROW_BLOCK(UPSTREAM, http_version, "http-version", &config_http_version_block,
		  "Which HTTP is spoken to the targets."),
	ROW_OPTIONAL(UPSTREAM, tls, "tls", &config_upstream_tls_block,
		     "Speak TLS to the targets; verified unless `insecure-skip-verify`."),
	ROW_ENUM(UPSTREAM, proxy_protocol, "proxy-protocol", proxy_protocol_words, "off",
		 "Begin each connection with a header of the PROXY protocol that names the client.  Such a connection "
		 "serves one client's request and is then closed."),
	ROW_LATER("discovery"),
	ROW_END,
};

/* A socket has no name that a certificate could be for. */
static void tls_name_check(struct schema *s, const UPSTREAM *c, const char *address, struct schema_pos pos)
{
	if (c->tls && !c->tls->sni && address && strncmp(address, "unix:", 5) == 0)
		diag_hint(s->diag, diag_error(s->diag, pos, "TLS to \"%s\" needs a name to verify", address),
			  "add `sni \"...\"` to `tls`");
}

static void upstream_check(struct schema *s, void *config)
{
	UPSTREAM *c = config;

	if (c->target_count == 0 && !c->address && !SCHEMA_HAS(c, address)) {
		diag_hint(s->diag, diag_error(s->diag, c->meta.pos, "upstream \"%s\" has no target", c->id),
			  "add `target \"127.0.0.1:8000\"`");
		return;
	}
	tls_name_check(s, c, c->address, SCHEMA_POS(c, address));
	for (size_t i = 0; i < c->target_count; i++) {
		const struct config_target *t = &c->targets[i];

		tls_name_check(s, c, t->address, t->meta.pos);
		for (size_t j = 0; t->address && j < i; j++)
			if (c->targets[j].address && strcmp(t->address, c->targets[j].address) == 0) {
				diag_note(s->diag,
					  diag_error(s->diag, t->meta.pos, "target \"%s\" is written twice",
						     t->address),
					  c->targets[j].meta.pos, "first written here");
				break;
			}
		if (t->address && c->address && strcmp(t->address, c->address) == 0)
			diag_error(s->diag, t->meta.pos, "target \"%s\" is written twice", t->address);
	}
}

const struct schema_block config_upstream_block =
	SCHEMA_BLOCK(UPSTREAM, "upstream", upstream_rows, upstream_check,
		     "Servers that answer the same requests.");

const struct schema_row config_upstreams_rows[] = {
	ROW_LIST(struct config, upstreams, upstream_count, "upstream", &config_upstream_block,
		 "Servers that answer the same requests."),
	ROW_END,
};
