/* SPDX-License-Identifier: GPL-2.0-only */
/* counters.c - finds the cells of a route, a method and a status once, and keeps them. */
#include "proxy/counters.h"

#include "base/check.h"
#include "base/mem.h"

#define METHOD_COUNT (METHOD_PATCH + 1)

struct status_cell {
	unsigned status;
	struct metric_cell *cell;
};

struct method_counters {
	struct metric_cell *duration;
	unsigned status_count;
	struct status_cell statuses[COUNTERS_STATUSES_MAX];
};

/* What the usual request needs is in the first cache line. */
struct route_counters {
	struct metric_cell *requests, *duration; /* of the last method and status; NULL: there was none */
	uint32_t method, status;
	struct metric_cell *request_bytes, *response_bytes;
	struct metric_cell *attempts; /* NULL: there was none */

	struct method_counters *methods[METHOD_COUNT]; /* made when they are first seen */
};

static struct span method_label(enum http_method m)
{
	static const char *const names[METHOD_COUNT] = {
		[METHOD_OTHER] = "other",     [METHOD_GET] = "GET",	    [METHOD_HEAD] = "HEAD",
		[METHOD_POST] = "POST",	      [METHOD_PUT] = "PUT",	    [METHOD_DELETE] = "DELETE",
		[METHOD_CONNECT] = "CONNECT", [METHOD_OPTIONS] = "OPTIONS", [METHOD_TRACE] = "TRACE",
		[METHOD_PATCH] = "PATCH",
	};

	CHECK(m < METHOD_COUNT);
	return span_str(names[m]);
}

static struct metric_cell *status_find(struct metrics_shard *shard, struct span route, enum http_method m,
				       unsigned status)
{
	char text[4] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10) };
	struct span labels[] = { route, method_label(m), { text, 3 } };

	return metric_cell(shard, METRIC_REQUESTS_TOTAL, labels);
}

static struct metric_cell *duration_find(struct metrics_shard *shard, struct span route, enum http_method m)
{
	struct span labels[] = { route, method_label(m) };

	return metric_cell(shard, METRIC_REQUEST_DURATION_SECONDS, labels);
}

static struct metric_cell *status_cell(struct method_counters *mc, struct metrics_shard *shard, struct span route,
				       const struct counters_sample *s)
{
	struct metric_cell *cell;

	for (unsigned i = 0; i < mc->status_count; i++)
		if (mc->statuses[i].status == s->status)
			return mc->statuses[i].cell;
	cell = status_find(shard, route, s->method, s->status);
	if (mc->status_count < COUNTERS_STATUSES_MAX)
		mc->statuses[mc->status_count++] = (struct status_cell){ s->status, cell };
	return cell;
}

static struct route_counters *route_counters(struct metrics_shard *shard, struct pin *pin, const struct route *route)
{
	struct route_counters *rc = pin->route_counters[route->index];
	struct span label = span_str(route->id);

	if (likely(rc))
		return rc;
	rc = arena_zalloc(&pin->arena, sizeof(*rc) + MEM_LINE);
	rc = (struct route_counters *)(((uintptr_t)rc + MEM_LINE - 1) & ~(uintptr_t)(MEM_LINE - 1));
	rc->request_bytes = metric_cell(shard, METRIC_REQUEST_BODY_SIZE_BYTES, &label);
	rc->response_bytes = metric_cell(shard, METRIC_RESPONSE_BODY_SIZE_BYTES, &label);
	pin->route_counters[route->index] = rc;
	return rc;
}

/* Another method or status than the last one. */
static void recent_find(struct route_counters *rc, struct metrics_shard *shard, struct pin *pin,
			const struct route *route, const struct counters_sample *s)
{
	struct method_counters *mc = rc->methods[s->method];

	if (!mc) {
		mc = arena_zalloc(&pin->arena, sizeof(*mc));
		mc->duration = duration_find(shard, span_str(route->id), s->method);
		rc->methods[s->method] = mc;
	}
	rc->requests = status_cell(mc, shard, span_str(route->id), s);
	rc->duration = mc->duration;
	rc->method = s->method;
	rc->status = s->status;
}

void counters_record(struct metrics_shard *shard, struct pin *pin, const struct route *route,
		     const struct counters_sample *s)
{
	struct route_counters *rc;

	if (!route) {
		metric_cell_add(status_find(shard, SPAN("none"), s->method, s->status), 1);
		metric_cell_observe_us(duration_find(shard, SPAN("none"), s->method), s->duration_us);
		return;
	}
	rc = route_counters(shard, pin, route);
	if (unlikely(!rc->requests || rc->method != s->method || rc->status != s->status))
		recent_find(rc, shard, pin, route, s);
	metric_cell_add(rc->requests, 1);
	metric_cell_observe_us(rc->duration, s->duration_us);
	metric_cell_observe(rc->request_bytes, s->request_bytes);
	metric_cell_observe(rc->response_bytes, s->response_bytes);
}

void counters_attempt(struct metrics_shard *shard, struct pin *pin, const struct route *route)
{
	struct route_counters *rc = route_counters(shard, pin, route);

	if (unlikely(!rc->attempts)) {
		const struct span labels[2] = { span_str(route->upstream->id), span_str(route->id) };

		rc->attempts = metric_cell(shard, METRIC_UPSTREAM_ATTEMPTS_TOTAL, labels);
	}
	metric_cell_add(rc->attempts, 1);
}
