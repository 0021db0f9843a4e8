/* SPDX-License-Identifier: GPL-2.0-only */
/* builtin.c - handlers that answer from the daemon itself: status, health, metrics, not-found, config,
 * upstreams. */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "proxy/exchange.h"
#include "proxy/handler.h"
#include "proxy/worker.h"

static const char json_type[] = "application/json; charset=utf-8";

static void add_common_fields(struct exchange *x)
{
	headers_add(&x->response.headers, TOKEN_X_REQUEST_ID, x->request_id);
	headers_add(&x->response.headers, TOKEN_CACHE_CONTROL, SPAN("no-cache, no-store, must-revalidate"));
}

static enum handler_verdict answer_text(struct exchange *x, unsigned status, const char *type,
					struct strbuf *b)
{
	exchange_answer(x, status, type, slice_copy(b->ptr, (uint32_t)b->len));
	strbuf_fini(b);
	add_common_fields(x);
	return HANDLER_ANSWER;
}

static void begin(struct json *j, struct strbuf *b)
{
	*b = (struct strbuf){0};
	strbuf_init(b);
	json_init(j, b, true);
	json_object(j, NULL);
}

static enum handler_verdict finish(struct exchange *x, unsigned status, struct json *j, struct strbuf *b)
{
	json_end(j, '}');
	strbuf_add_char(b, '\n');
	return answer_text(x, status, json_type, b);
}

static void add_timestamp(struct json *j, struct exchange *x)
{
	char text[32];
	size_t len = clock_rfc3339(loop_wall_ns(x->worker->loop), text);

	json_span(j, "timestamp", span_of(text, len));
}

/* ---- status ---- */

static void add_uptime(struct json *j, uint64_t seconds)
{
	struct strbuf b = {0};

	strbuf_init(&b);
	if (seconds >= 86400)
		strbuf_printf(&b, "%llud ", (unsigned long long)(seconds / 86400));
	if (seconds >= 3600)
		strbuf_printf(&b, "%lluh ", (unsigned long long)(seconds / 3600 % 24));
	if (seconds >= 60)
		strbuf_printf(&b, "%llum ", (unsigned long long)(seconds / 60 % 60));
	strbuf_printf(&b, "%llus", (unsigned long long)(seconds % 60));
	json_span(j, "uptime", strbuf_span(&b));
	strbuf_fini(&b);
	json_u64(j, "uptime_secs", seconds);
}

static enum handler_verdict respond_status(struct exchange *x)
{
	const struct proxy_shared *shared = x->worker->shared;
	struct strbuf b;
	struct json j;

	begin(&j, &b);
	json_str(&j, "status", "ok");
	json_str(&j, "version", shared->version);
	add_uptime(&j, (loop_now_ns(x->worker->loop) - shared->start_mono_ns) / 1000000000);
	json_str(&j, "instance_id", shared->instance_uuid);
	add_timestamp(&j, x);
	return finish(x, 200, &j, &b);
}

/* ---- health, not-found ---- */

static enum handler_verdict respond_health(struct exchange *x)
{
	struct strbuf b;
	struct json j;

	begin(&j, &b);
	json_str(&j, "status", "healthy");
	add_timestamp(&j, x);
	return finish(x, 200, &j, &b);
}

static enum handler_verdict respond_not_found(struct exchange *x)
{
	struct strbuf b;
	struct json j;

	begin(&j, &b);
	json_str(&j, "error", "not_found");
	json_u64(&j, "status", 404);
	json_str(&j, "message", "The requested resource was not found");
	json_span(&j, "request_id", x->request_id);
	add_timestamp(&j, x);
	return finish(x, 404, &j, &b);
}

/* ---- config ---- */

static enum handler_verdict respond_config(struct exchange *x)
{
	struct span text = x->pin->snapshot->config_json;
	struct strbuf b = {0};

	strbuf_init(&b);
	strbuf_add_span(&b, text);
	return answer_text(x, 200, json_type, &b);
}

/* ---- upstreams ---- */

static void add_target(struct json *j, const struct upstream *u, unsigned i, unsigned *healthy)
{
	struct endpoint *e = u->endpoints[i];
	bool is_usable = endpoint_is_usable(e);
	bool is_up = atomic_load_explicit(&e->health, memory_order_relaxed) == ENDPOINT_UP;

	*healthy += is_usable;
	json_object(j, NULL);
	json_str(j, "address", e->name);
	json_u64(j, "weight", u->weights[i]);
	json_str(j, "status", is_usable ? "healthy" : "unhealthy");
	if (!is_usable)
		json_str(j, "reason", is_up ? "not resolved" : "down");
	json_end(j, '}');
}

static void count_targets(const struct snapshot *s, unsigned *total, unsigned *healthy)
{
	for (unsigned i = 0; i < s->upstream_count; i++) {
		*total += s->upstreams[i].endpoint_count;
		for (unsigned e = 0; e < s->upstreams[i].endpoint_count; e++)
			*healthy += endpoint_is_usable(s->upstreams[i].endpoints[e]);
	}
}

static enum handler_verdict respond_upstreams(struct exchange *x)
{
	const struct snapshot *s = x->pin->snapshot;
	unsigned total = 0, healthy = 0, seen = 0;
	struct strbuf b;
	struct json j;

	count_targets(s, &total, &healthy);
	begin(&j, &b);
	json_object(&j, "summary");
	json_u64(&j, "total_upstreams", s->upstream_count);
	json_u64(&j, "total_targets", total);
	json_u64(&j, "healthy", healthy);
	json_u64(&j, "unhealthy", total - healthy);
	json_end(&j, '}');
	json_array(&j, "upstreams");
	for (unsigned i = 0; i < s->upstream_count; i++) {
		const struct upstream *u = &s->upstreams[i];

		json_object(&j, NULL);
		json_str(&j, "id", u->id);
		json_str(&j, "load_balancing", u->balancer->name);
		json_array(&j, "targets");
		for (unsigned e = 0; e < u->endpoint_count; e++)
			add_target(&j, u, e, &seen);
		json_end(&j, ']');
		json_end(&j, '}');
	}
	json_end(&j, ']');
	return finish(x, 200, &j, &b);
}

/* ---- metrics: rendered by control ---- */

struct metrics_request {
	struct exchange *x; /* NULL: it ended before the text came */
	struct slice text;
	bool is_done;
};

static void on_rendered(void *ctx, struct slice text)
{
	struct metrics_request *r = ctx;

	if (!r->x) {
		slice_put(&text);
		free(r);
		return;
	}
	r->text = text;
	r->is_done = true;
	exchange_resume(r->x);
}

static enum handler_verdict respond_metrics(struct exchange *x)
{
	struct metrics_request *r = x->handler_state;

	if (!r) {
		r = mem_zalloc(sizeof(*r));
		r->x = x;
		x->handler_state = r;
		x->worker->render(x->worker, "metrics", on_rendered, r);
		return HANDLER_WAIT;
	}
	if (!r->is_done)
		return HANDLER_WAIT;
	exchange_answer(x, 200, "text/plain; version=0.0.4; charset=utf-8", r->text);
	r->text = (struct slice){0};
	add_common_fields(x);
	return HANDLER_ANSWER;
}

static void metrics_done(struct exchange *x)
{
	struct metrics_request *r = x->handler_state;

	if (!r)
		return;
	x->handler_state = NULL;
	if (!r->is_done) { /* on_rendered() frees it */
		r->x = NULL;
		return;
	}
	slice_put(&r->text);
	free(r);
}

const struct handler handler_status = {
	.name = "status",
	.help = "Version, uptime and instance id as JSON.",
	.respond = respond_status,
};

const struct handler handler_health = {
	.name = "health",
	.help = "200 as long as the daemon runs.",
	.respond = respond_health,
};

const struct handler handler_metrics = {
	.name = "metrics",
	.help = "Metrics as Prometheus text.",
	.respond = respond_metrics,
	.on_done = metrics_done,
};

const struct handler handler_not_found = {
	.name = "not-found",
	.help = "404 as JSON.",
	.respond = respond_not_found,
};

const struct handler handler_config = {
	.name = "config",
	.help = "The configuration in force as JSON, without secrets.",
	.respond = respond_config,
};

const struct handler handler_upstreams = {
	.name = "upstreams",
	.help = "Upstreams and the state of their targets as JSON.",
	.respond = respond_upstreams,
};
