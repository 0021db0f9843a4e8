/* SPDX-License-Identifier: GPL-2.0-only */
/* headers.c - filter: rename, set, add and remove header fields of the request, the response, or both. */
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "proxy/header_ops.h"

enum phase {
	PHASE_REQUEST = 1,
	PHASE_RESPONSE = 2,
	PHASE_BOTH = PHASE_REQUEST | PHASE_RESPONSE,
};

struct headers_config {
	struct schema_meta meta;
	enum phase phase;
	struct config_header_ops ops;

	struct header_op_set set; /* built from ops */
};

static const struct schema_word phases[] = {
	{"request", PHASE_REQUEST, NULL, NULL, false},
	{"response", PHASE_RESPONSE, NULL, NULL, false},
	{"both", PHASE_BOTH, NULL, NULL, false},
	{NULL, 0, NULL, NULL, false},
};

static const struct schema_row rows[] = {
	ROW_ENUM(struct headers_config, phase, "phase", phases, "request", "Which message is changed."),
	ROWS_HEADER_OPS(struct headers_config, ops),
	ROW_END,
};

static void check(struct schema *s, void *config)
{
	struct headers_config *c = config;

	header_ops_check(s, &c->ops);
	header_ops_build(&c->set, &c->ops, s->arena);
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct headers_config *c = u->config;

	if (c->phase & PHASE_REQUEST)
		header_ops_apply(&c->set, &x->request->headers);
	return FILTER_NEXT;
}

static enum filter_verdict on_response(struct exchange *x, const struct filter_use *u)
{
	const struct headers_config *c = u->config;

	if (c->phase & PHASE_RESPONSE)
		header_ops_apply(&c->set, &x->response.headers);
	return FILTER_NEXT;
}

const struct filter filter_headers = {
	.name = "headers",
	.help = "Rename, set, add and remove header fields.",
	.rows = rows,
	.config_size = sizeof(struct headers_config),
	.check = check,
	.on_request = on_request,
	.on_response = on_response,
};
