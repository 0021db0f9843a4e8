/* SPDX-License-Identifier: GPL-2.0-only */
/* exchange.c - the driver of an exchange: steps, resuming, failing, answering, and its end. */
#include "proxy/exchange.h"

#include <string.h>

#include "proxy/client_limits.h"
#include "proxy/client_tls.h"
#include "proxy/error_page.h"
#include "observe/log.h"
#include "proxy/exchange_internal.h"
#include "proxy/forwarding.h"
#include "proxy/handler.h"
#include "proxy/record.h"
#include "proxy/worker.h"

static enum step_verdict (*const step_functions[STEP_COUNT])(struct exchange *x) = {
#define STEP(ID, fn, waits) [STEP_##ID] = exchange_step_##fn,
#include "proxy/steps.def"
#undef STEP
};

static const char *const step_names[STEP_COUNT][2] = {
#define STEP(ID, fn, waits) [STEP_##ID] = {#fn, waits},
#include "proxy/steps.def"
#undef STEP
};

const char *step_name(enum step s)
{
	CHECK(s < STEP_COUNT);
	return step_names[s][0];
}

const char *step_waits_for(enum step s)
{
	CHECK(s < STEP_COUNT);
	return step_names[s][1];
}

/* Steps only go forward; an answer or a failure may jump over some. */
void exchange_set_step(struct exchange *x, enum step next)
{
	CHECK(next > x->step || (next == STEP_RESPONSE_FILTERS && x->step <= STEP_RESPONSE_FILTERS));
	x->step = next;
}

/* ---- failing ---- */

static bool client_can_be_told(const struct exchange *x)
{
	return x->client && !x->is_head_sent && x->failure != FAIL_CLIENT_RESET;
}

static void handler_abandon(struct exchange *x)
{
	if (!x->is_responding)
		return;
	x->is_responding = false;
	if (x->route->handler->on_done)
		x->route->handler->on_done(x);
}

/* The error answer replaces whatever response there was. */
static void answer_with_error(struct exchange *x)
{
	const struct failure_row *row = failure_row(x->failure);
	struct span accept = headers_value(&x->request->headers, TOKEN_ACCEPT);
	unsigned status = x->failure_status ? x->failure_status : row->status;
	const char *text = x->failure_text ? x->failure_text : row->text, *content_type;
	struct slice body;

	slice_queue_clear(&x->down_held);
	body = error_page_render(status, text, x->request_id, accept, x->route && x->route->prefers_json_errors,
				 &content_type);
	exchange_answer(x, status, content_type, body);
	if (row->status == 405 && x->failure == FAIL_CONNECT_REFUSED)
		headers_add(&x->response.headers, TOKEN_ALLOW,
			    SPAN("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
	if (row->status == 503)
		headers_add(&x->response.headers, TOKEN_RETRY_AFTER, SPAN("1"));
}

static void handle_failure(struct exchange *x)
{
	x->is_failure_handled = true;
	handler_abandon(x);
	if (!client_can_be_told(x)) {
		if (x->client)
			http_stream_reset(x->client);
		x->client = NULL;
		if (x->step != STEP_DONE)
			exchange_set_step(x, STEP_DONE);
		return;
	}
	answer_with_error(x);
	if (x->step == STEP_RESPONSE_FILTERS)
		x->is_filtered = true; /* a response filter failed: no second round */
	else if (x->step < STEP_RESPONSE_FILTERS)
		exchange_set_step(x, STEP_RESPONSE_FILTERS);
	x->filter_index = 0;
}

void exchange_fail(struct exchange *x, enum failure f, struct span detail)
{
	CHECK(f != FAIL_NONE);
	if (x->failure != FAIL_NONE || x->step == STEP_DONE)
		return;
	x->failure = f;
	x->failure_detail = arena_span(x->arena, detail);
	log_debug(SPAN_FMT " fails with %s in step %s (waiting for %s): " SPAN_FMT, SPAN_ARG(x->request_id),
		  failure_row(f)->label, step_name(x->step), step_waits_for(x->step), SPAN_ARG(detail));
	exchange_resume(x);
}

void exchange_refuse_response(struct exchange *x, struct span detail)
{
	static struct log_limit limit = { .interval_ns = 1000000000 };

	if (x->failure != FAIL_NONE && !x->is_failure_handled)
		return;
	x->failure = FAIL_RESPONSE_MALFORMED;
	x->is_failure_handled = false;
	x->failure_detail = arena_span(x->arena, detail);
	if (log_every(&limit, loop_now_ns(x->worker->loop)))
		log_error("request " SPAN_FMT ", route %s: the proxy made a response that cannot be sent: " SPAN_FMT
			  " (%llu more)", SPAN_ARG(x->request_id), x->route_id ? x->route_id : "-", SPAN_ARG(detail),
			  (unsigned long long)log_limit_suppressed(&limit));
	exchange_resume(x);
}

/* ---- driving ---- */

static void exchange_run(struct exchange *x)
{
	enum step_verdict v;

	do {
		if (x->failure != FAIL_NONE && !x->is_failure_handled)
			handle_failure(x);
		v = step_functions[x->step](x);
	} while (v == STEP_NEXT);
}

static void run_resumed(struct task *t)
{
	struct exchange *x = container_of(t, struct exchange, resume_task);

	OBJ_CHECK(x, EXCHANGE_TAG);
	exchange_run(x);
}

void exchange_resume(struct exchange *x)
{
	OBJ_CHECK(x, EXCHANGE_TAG);
	loop_defer(x->worker->loop, &x->resume_task);
}

static void on_total_timeout(struct timer *t)
{
	struct exchange *x = container_of(t, struct exchange, total_timer);

	exchange_fail(x, FAIL_TOTAL_TIMEOUT, SPAN(""));
}

void exchange_set_timeout(struct exchange *x, uint64_t timeout_ms)
{
	x->timeout_ms = timeout_ms;
	if (timeout_ms)
		timer_arm(x->worker->loop, &x->total_timer, timeout_ms);
	else
		timer_disarm(x->worker->loop, &x->total_timer);
}

/* ---- what filters keep ---- */

void *filter_state(struct exchange *x, const struct filter_use *u)
{
	return x->filter_states[u->index];
}

void *filter_worker_state(struct exchange *x, const struct filter_use *u)
{
	return x->pin->filter_states[u->slot];
}

/* ---- answering here ---- */

void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct slice body)
{
	slice_put(&x->answer_body);
	message_init(&x->response, x->arena);
	x->response.version = HTTP_VERSION_1_1;
	x->response.status = status;
	x->response.reason = status_reason(status);
	x->response.framing = BODY_LENGTH;
	x->response.content_length = body.len;
	x->response.wants_keep_alive = true;
	if (content_type)
		headers_add(&x->response.headers, TOKEN_CONTENT_TYPE,
			    arena_span(x->arena, span_str(content_type)));
	x->answer_body = body;
	x->has_response = true;
	x->is_answered = true;
}

/* ---- events of the client's stream ---- */

static enum failure failure_of_client(const struct session_failure *f)
{
	switch (f->fault) {
	case SESSION_FAULT_MALFORMED:
		return codec_fault_status(f->codec) == 431 ? FAIL_HEADERS_TOO_LARGE : FAIL_CLIENT_MALFORMED;
	case SESSION_FAULT_EOF:
		return FAIL_CLIENT_MALFORMED;
	case SESSION_FAULT_BODY_TIMEOUT:
	case SESSION_FAULT_HEAD_TIMEOUT:
		return FAIL_CLIENT_TIMEOUT;
	case SESSION_FAULT_SHUTDOWN:
		return FAIL_SHUTDOWN;
	default:
		return FAIL_CLIENT_RESET;
	}
}

static void on_client_fail(struct http_stream *st, const struct session_failure *f)
{
	struct exchange *x = st->owner;
	enum failure failure = failure_of_client(f);

	x->is_client_broken = true;
	/* A client that breaks while it is served an error of its own, or that resets: the stream must still
	 * be given up. */
	if (x->failure != FAIL_NONE && (failure == FAIL_CLIENT_RESET || failure == FAIL_SHUTDOWN)) {
		x->failure = failure == FAIL_SHUTDOWN ? FAIL_SHUTDOWN : FAIL_CLIENT_RESET;
		x->is_failure_handled = false;
		exchange_resume(x);
		return;
	}
	exchange_fail(x, failure,
		      f->codec ? span_str(codec_fault_text(f->codec))
			       : span_str(session_fault_name(f->fault)));
}

static void on_client_body(struct http_stream *st, struct slice data)
{
	body_request_in(st->owner, data, false, NULL);
}

static void on_client_end(struct http_stream *st, struct headers *trailers)
{
	struct exchange *x = st->owner;

	if (trailers && trailers->count > 0) {
		forwarding_clean_trailers(trailers);
		client_tls_clean(x, trailers);
	}
	body_request_in(x, (struct slice){0}, true, trailers);
}

static void on_client_sent(struct http_stream *st)
{
	body_response_credit(st->owner);
}

static void on_client_paused(struct http_stream *st)
{
	struct exchange *x = st->owner;

	bulk_paused(&x->bulk[BULK_REQUEST]);
}

static const struct http_stream_events client_events = {
	.on_body = on_client_body,
	.on_end = on_client_end,
	.on_sent = on_client_sent,
	.on_fail = on_client_fail,
	.on_paused = on_client_paused,
};

/* ---- birth and end ---- */

void exchange_start(struct proxy_worker *w, struct http_stream *st, uint32_t listener_id, struct message *m,
		    struct arena *a)
{
	struct exchange *x = arena_zalloc(a, sizeof(*x));

	x->tag = EXCHANGE_TAG;
	x->arena = a;
	x->worker = w;
	x->pin = w->current;
	pin_enter(x->pin);
	x->listener = snapshot_listener(x->pin->snapshot, listener_id);
	x->resume_task.run = run_resumed;
	timer_init(&x->total_timer, on_total_timeout);
	list_append(&w->exchanges, &x->node);
	w->exchange_count++;
	atomic_fetch_add_explicit(&w->shared->requests_in_flight, 1, memory_order_relaxed);
	x->client = st;
	st->owner = x;
	st->events = &client_events;
	x->request = m;
	x->start_ns = loop_now_ns(w->loop);
	exchange_run(x);
}

/* What is common to the end of an exchange and of a tunnel. */
static void exchange_free(struct exchange *x)
{
	struct proxy_worker *w = x->worker;
	struct arena *a = x->arena;

	record_log(x);
	slice_queue_fini(&x->up_held);
	slice_queue_fini(&x->down_held);
	slice_put(&x->answer_body);
	atomic_fetch_sub_explicit(&w->shared->requests_in_flight, 1, memory_order_relaxed);
	client_limits_leave(x);
	if (x->pin)
		pin_leave(x->pin);
	x->tag = 0;
	arena_cache_give(&w->host.arenas, a);
}

/* Out of the worker's lists and timers; nothing calls back any more. */
static void exchange_unlink(struct exchange *x)
{
	handler_abandon(x);
	if (x->route) {
		for (unsigned i = 0; i < x->route->filter_count; i++) {
			const struct filter_use *u = &x->route->filters[i];

			if (u->filter->on_done && x->filter_states)
				u->filter->on_done(x, u);
		}
	}
	timer_disarm(x->worker->loop, &x->total_timer);
	loop_undefer(x->worker->loop, &x->resume_task);
	list_remove(&x->node);
	x->worker->exchange_count--;
}

enum step_verdict exchange_step_done(struct exchange *x)
{
	exchange_unlink(x);
	record_count(x);
	if (x->client)
		http_stream_done(x->client);
	x->client = NULL;
	exchange_free(x);
	return STEP_WAIT;
}

/* The tunnel copied what it needs of the snapshot: the exchange stays as its log record only. */
void exchange_become_tunnel(struct exchange *x)
{
	struct pin *pin = x->pin;

	exchange_unlink(x);
	x->client = NULL;
	x->step = STEP_DONE;
	record_count(x);
	x->route_id = arena_strdup(x->arena, x->route_id);
	x->upstream_id = arena_strdup(x->arena, x->upstream_id);
	x->listener_id = arena_strdup(x->arena, x->listener->id);
	x->pin = NULL;
	x->route = NULL;
	x->listener = NULL;
	pin_leave(pin);
}

void exchange_end_tunnel(struct exchange *x)
{
	exchange_free(x);
}
