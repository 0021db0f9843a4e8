/* SPDX-License-Identifier: GPL-2.0-only */
/* log.c - filter: write requests and responses of a route to the daemon's log. */
#include "observe/log.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "schema/schema.h"

struct log_config {
	struct schema_meta meta;
	bool logs_request, logs_response, logs_body;
	uint64_t body_max;
	enum log_level level;
};

struct log_state {
	struct span body; /* first bytes of the request's body, in the arena */
	uint64_t body_bytes;
};

static const struct schema_word levels[] = {
	{"trace", LOG_LEVEL_DEBUG, NULL, NULL, false}, {"debug", LOG_LEVEL_DEBUG, NULL, NULL, false},
	{"info", LOG_LEVEL_INFO, NULL, NULL, false},   {"warn", LOG_LEVEL_WARN, NULL, NULL, false},
	{"error", LOG_LEVEL_ERROR, NULL, NULL, false}, {NULL, 0, NULL, NULL, false},
};

static const struct schema_row rows[] = {
	ROW_BOOL(struct log_config, logs_request, "log-request", "#true", "A line for each request."),
	ROW_BOOL(struct log_config, logs_response, "log-response", "#true", "A line for each response."),
	ROW_BOOL(struct log_config, logs_body, "log-body", "#false",
		 "The first bytes of the request's body, escaped.  Bodies may hold secrets."),
	ROW_SIZE(struct log_config, body_max, "max-body-log-size", 1, 65536, "4096", "How many of them."),
	ROW_ENUM(struct log_config, level, "level", levels, "info", "Level of these lines."),
	ROW_END,
};

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const struct log_config *c = u->config;

	if (c->logs_request)
		log_at(c->level, SPAN_FMT " request " SPAN_FMT " " SPAN_FMT SPAN_FMT " from " SPAN_FMT,
		       SPAN_ARG(x->request_id), SPAN_ARG(x->request->method_name), SPAN_ARG(x->host),
		       SPAN_ARG(x->request->path), SPAN_ARG(x->client_ip));
	return FILTER_NEXT;
}

static enum filter_verdict on_request_data(struct exchange *x, const struct filter_use *u,
					   struct chunk *chunk)
{
	const struct log_config *c = u->config;
	struct log_state *st = filter_state(x, u);

	if (!c->logs_body)
		return FILTER_NEXT;
	st->body_bytes += chunk->data.len;
	if (st->body.len < c->body_max && chunk->data.len > 0) {
		size_t n = MIN(c->body_max - st->body.len, (size_t)chunk->data.len);
		char *copy = arena_alloc(x->arena, st->body.len + n);

		if (st->body.len > 0)
			memcpy(copy, st->body.ptr, st->body.len);
		memcpy(copy + st->body.len, chunk->data.ptr, n);
		st->body = span_of(copy, st->body.len + n);
	}
	if (chunk->is_end)
		log_at(c->level, SPAN_FMT " body of %llu bytes: " SPAN_FMT, SPAN_ARG(x->request_id),
		       (unsigned long long)st->body_bytes, SPAN_ARG(st->body));
	return FILTER_NEXT;
}

static enum filter_verdict on_response(struct exchange *x, const struct filter_use *u)
{
	const struct log_config *c = u->config;

	if (c->logs_response)
		log_at(c->level, SPAN_FMT " response %u from %s", SPAN_ARG(x->request_id), x->response.status,
		       x->is_answered ? "this proxy" : "the origin");
	return FILTER_NEXT;
}

const struct filter filter_log = {
	.name = "log",
	.help = "Write requests and responses to the daemon's log.",
	.rows = rows,
	.config_size = sizeof(struct log_config),
	.state_size = sizeof(struct log_state),
	.on_request = on_request,
	.on_request_data = on_request_data,
	.on_response = on_response,
};
