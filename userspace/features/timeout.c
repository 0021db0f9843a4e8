/* SPDX-License-Identifier: GPL-2.0-only */
/* timeout.c - filter: other time-outs for the requests of a route. */
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "schema/schema.h"

struct timeout_config {
	struct schema_meta meta;
	uint64_t request_ms, upstream_ms, connect_ms; /* 0: as elsewhere */
};

static const struct schema_row rows[] = {
	ROW_DURATION(struct timeout_config, request_ms, "request-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_DAY,
		     "none", "The whole exchange, from the request's head to the end of the response."),
	ROW_DURATION(struct timeout_config, upstream_ms, "upstream-timeout-secs", SCHEMA_SECONDS, 1,
		     SCHEMA_DAY, "none", "The origin's first byte, and each wait for the next."),
	ROW_DURATION(struct timeout_config, connect_ms, "connect-timeout-secs", SCHEMA_SECONDS, 1,
		     SCHEMA_HOUR, "none", "Connecting to the origin."),
	ROW_END,
};

static void check(struct schema *s, void *config)
{
	const struct timeout_config *c = config;

	if (!c->request_ms && !c->upstream_ms && !c->connect_ms)
		diag_warning(s->diag, c->meta.pos, "this filter sets no time-out");
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct timeout_config *c = u->config;

	if (c->upstream_ms)
		x->upstream_timeout_ms = c->upstream_ms;
	if (c->connect_ms)
		x->connect_timeout_ms = c->connect_ms;
	if (c->request_ms)
		exchange_set_timeout(x, c->request_ms);
	return FILTER_NEXT;
}

const struct filter filter_timeout = {
	.name = "timeout",
	.help = "Other time-outs for the requests of a route.",
	.rows = rows,
	.config_size = sizeof(struct timeout_config),
	.check = check,
	.on_request = on_request,
};
