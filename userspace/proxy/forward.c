/* SPDX-License-Identifier: GPL-2.0-only */
/* forward.c - the handler that asks an upstream: pick a target, send the request, retry, stream the answer back. */
#include "base/err.h"
#include "proxy/exchange_internal.h"
#include "proxy/forwarding.h"
#include "proxy/handler.h"
#include "proxy/origin.h"
#include "proxy/record.h"
#include "proxy/retry.h"
#include "proxy/worker.h"
#include "upstream/bitmap.h"

#define REPLAY_SLICE_COST 64 /* bytes that count for each kept slice */

enum forward_state {
	FORWARD_PICK,	 /* choose a target and open */
	FORWARD_REOPEN,	 /* the same target again: a connection is free, or the idle one was stale */
	FORWARD_QUEUED,	 /* max-connections of the target are open */
	FORWARD_BACKOFF, /* before the next attempt */
	FORWARD_SENT,	 /* waiting for the response head */
	FORWARD_ANSWERED,
};

struct forward {
	struct exchange *x;
	enum forward_state state;
	struct http_stream *origin; /* NULL between attempts, and when released */
	struct upstream_worker *uw;
	struct endpoint_worker *ew;
	unsigned endpoint; /* index in the upstream */
	unsigned refusals; /* addresses of it that refused a connection */
	uint64_t *tried;   /* a bit an endpoint */
	struct connection_waiter waiter;
	struct timer timer; /* of the state */

	struct message request;	    /* as the origin gets it */
	struct slice_queue pending; /* request bytes not yet given to an attempt */
	struct slice_queue replay;  /* copies of those that were */
	struct headers *trailers;
	bool is_replayable; /* replay holds all that was sent */
	bool has_end;	    /* the request's end arrived */
	bool is_end_sent;
	bool is_stopped; /* the origin answered early: no more of the request */
	bool is_response_done;
	bool has_reopened; /* the attempt has got its second connection */
	bool must_be_new; /* none that is open already for this attempt */
};

static void on_head(struct http_stream *st, struct message *m);
static void on_body(struct http_stream *st, struct slice data);
static void on_end(struct http_stream *st, struct headers *trailers);
static void on_sent(struct http_stream *st);
static void on_fail(struct http_stream *st, const struct session_failure *f);

static void on_paused(struct http_stream *st)
{
	bulk_paused(&((struct forward *)st->owner)->x->bulk[BULK_RESPONSE]);
}

static const struct http_stream_events origin_events = {
	.on_head = on_head,
	.on_body = on_body,
	.on_end = on_end,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_paused = on_paused,
};

static const struct upstream *upstream_of(const struct forward *f)
{
	return f->x->route->upstream;
}

static struct loop *loop_of(const struct forward *f)
{
	return f->x->worker->loop;
}

/* A reload may have let go of it since the last time. */
static struct endpoint_worker *endpoint_side(const struct forward *f)
{
	return proxy_worker_endpoint(f->x->worker, upstream_of(f)->endpoints[f->endpoint]);
}

/* ---- letting go ---- */

static void leave_attempt(struct forward *f, bool is_clean)
{
	timer_disarm(loop_of(f), &f->timer);
	if (f->ew && endpoint_worker_unwait(f->ew, &f->waiter))
		endpoint_worker_wake(f->ew);
	if (!f->origin)
		return;
	bulk_stop(&f->x->bulk[BULK_REQUEST]);
	bulk_stop(&f->x->bulk[BULK_RESPONSE]);
	upstream_end(f->uw, f->endpoint);
	if (is_clean)
		http_stream_done(f->origin);
	else
		http_stream_reset(f->origin);
	f->origin = NULL;
}

static void await_answer(struct forward *f)
{
	timer_arm(loop_of(f), &f->timer,
		  f->x->upstream_timeout_ms ? f->x->upstream_timeout_ms : upstream_of(f)->timeouts.first_byte_ms);
}

/* ---- failing and trying again ---- */

/* may_retry() said yes: another target, after a pause. */
static void retry_later(struct forward *f)
{
	const struct retry_settings *r = &f->x->route->retry;

	record_retry(f->x);
	f->must_be_new = f->has_reopened = false;
	f->state = FORWARD_BACKOFF;
	timer_arm(loop_of(f), &f->timer, retry_backoff_ms(r->backoff_base_ms, r->backoff_max_ms, f->x->attempts));
}

/* The same target once more, now. */
static void reopen(struct forward *f)
{
	f->state = FORWARD_REOPEN;
	exchange_resume(f->x);
}

/* A connection that ended before it saw the request costs no attempt: one more to the same target. */
static bool may_reopen(const struct forward *f, enum failure failure, bool has_written)
{
	if (f->has_reopened || !f->is_replayable)
		return false;
	if (failure == FAIL_UPSTREAM_GOAWAY)
		return true;
	if (failure != FAIL_UPSTREAM_STALE)
		return false;
	return !has_written || method_is_idempotent(f->x->request->method) ||
	       f->x->route->retry.retries_non_idempotent;
}

/* A name may have several addresses (localhost: ::1 and 127.0.0.1), not all served: together they are one attempt. */
static bool may_try_next_address(const struct forward *f, enum failure failure)
{
	const struct endpoint *e = upstream_of(f)->endpoints[f->endpoint];

	return failure == FAIL_UPSTREAM_CONNECT && f->is_replayable &&
	       f->refusals + 1 < atomic_load_explicit(&e->addr_count, memory_order_relaxed);
}

/* The attempt is not over yet: the same target once more. */
static bool may_go_on(struct forward *f, enum failure failure, bool has_written)
{
	if (f->x->has_response)
		return false;
	if (may_try_next_address(f, failure)) {
		f->refusals++;
		return true;
	}
	if (may_reopen(f, failure, has_written)) {
		f->has_reopened = true;
		f->must_be_new = failure == FAIL_UPSTREAM_STALE; /* others may be stale too */
		return true;
	}
	return false;
}

static bool may_retry(struct forward *f, enum failure failure, bool has_written)
{
	struct exchange *x = f->x;
	const struct retry_settings *r = &x->route->retry;
	struct retry_question q = {
		.retry = failure_row(failure)->retry,
		.is_idempotent = method_is_idempotent(x->request->method),
		.retries_non_idempotent = r->retries_non_idempotent,
		.has_written = has_written,
		.is_replayable = f->is_replayable,
		.has_response = x->has_response,
		.attempts = x->attempts,
		.attempts_max = r->attempts_max,
	};

	if (!retry_is_allowed(&q))
		return false;
	if (retry_budget_take(&x->worker->shared->retry_budget, r->budget_percent, loop_now_ms(loop_of(f))))
		return true;
	record_budget_exhausted(x);
	return false;
}

static void attempt_failed(struct forward *f, enum failure failure, struct span detail)
{
	struct exchange *x = f->x;
	bool has_written = f->origin && http_stream_has_written(f->origin);

	detail = arena_span(x->arena, detail); /* may lie in what is let go now */
	leave_attempt(f, false);
	if (may_go_on(f, failure, has_written)) {
		reopen(f);
		return;
	}
	record_failure(x, failure);
	if (may_retry(f, failure, has_written))
		retry_later(f);
	else
		exchange_fail(x, failure, detail);
}

static void on_timer(struct timer *t)
{
	struct forward *f = container_of(t, struct forward, timer);

	switch (f->state) {
	case FORWARD_BACKOFF:
		f->state = FORWARD_PICK;
		exchange_resume(f->x);
		break;
	case FORWARD_QUEUED:
		attempt_failed(f, FAIL_POOL_FULL, SPAN("no connection became free"));
		break;
	case FORWARD_SENT:
		attempt_failed(f, FAIL_UPSTREAM_FIRST_BYTE_TIMEOUT, SPAN(""));
		break;
	default:
		break;
	}
}

/* ---- the request ---- */

/* The head as the origin gets it: forwarding fields in, hop-by-hop fields out, the body's framing as it came. */
static void build_request(struct forward *f)
{
	struct exchange *x = f->x;
	struct message *m = &f->request;
	char peer_text[ADDR_TEXT_MAX];
	struct forwarding_input in = {
		.peer_ip = x->is_client_named ? span_of(peer_text, addr_format_ip(&x->peer, peer_text)) : x->client_ip,
		.client_ip = x->client_ip,
		.is_peer_trusted = x->is_client_trusted_hop,
		.scheme = x->scheme,
		.host = x->authority,
		.request_id = x->request_id,
	};

	/* In place: from here on the request's fields are those that the origin gets. */
	headers_remove_hop_by_hop(&x->request->headers);
	headers_remove(&x->request->headers, TOKEN_EXPECT);
	headers_set(&x->request->headers, TOKEN_HOST, x->request->authority);
	forwarding_apply(&x->request->headers, &in, x->arena);
	*m = *x->request;
	m->version = HTTP_VERSION_1_1;
	m->wants_keep_alive = true;
	m->expects_continue = false;
}

/* Keep a copy of what an attempt gets, as long as all of it fits. */
static void remember(struct forward *f, struct slice s)
{
	const struct retry_settings *r = &f->x->route->retry;

	if (!f->is_replayable || s.len == 0)
		return;
	/* Many small chunks cost more than their bytes. */
	if (f->replay.bytes + s.len + f->replay.count * REPLAY_SLICE_COST > r->replay_buffer_max) {
		f->is_replayable = false;
		slice_queue_clear(&f->replay);
		return;
	}
	slice_queue_push(&f->replay, loop_keep(loop_of(f), slice_ref(s)));
}

static void send_pending(struct forward *f)
{
	while (f->origin && f->pending.count > 0) {
		struct slice s = slice_queue_pop(&f->pending);

		remember(f, s);
		http_stream_send_body(f->origin, s);
	}
	if (f->origin && f->has_end && !f->is_end_sent) {
		f->is_end_sent = true;
		http_stream_send_end(f->origin, f->trailers);
		if (http_stream_queued(f->origin) == 0) /* the end is no byte: on_sent() will not come */
			await_answer(f);
	}
}

/* What an attempt got may have to be sent once more.  Its head is out. */
static bool may_replay(const struct forward *f)
{
	const struct exchange *x = f->x;
	const struct retry_settings *r = &x->route->retry;

	if (!f->is_replayable || (!method_is_idempotent(x->request->method) && !r->retries_non_idempotent))
		return false;
	return x->attempts < r->attempts_max || (x->was_reused && !f->has_reopened);
}

/* The rest of the request moves inside the kernel, now or soon.  What does cannot be replayed. */
static bool moves_in_bulk(struct forward *f)
{
	struct exchange *x = f->x;
	struct bulk *b = &x->bulk[BULK_REQUEST];

	if (!f->origin || f->request.framing != BODY_LENGTH || !x->client || x->up.is_ended)
		return false;
	if (!b->x && (may_replay(f) ||
		      !bulk_want(x, BULK_REQUEST, x->client, f->origin, f->request.content_length)))
		return false;
	if (!bulk_is_wanted(b))
		return false;
	if (bulk_try(b)) {
		f->is_replayable = false;
		slice_queue_clear(&f->replay);
	}
	return true;
}

static void ask_for_more(struct forward *f)
{
	size_t queued = f->pending.bytes + (f->origin ? http_stream_queued(f->origin) : 0);

	if (!f->is_stopped && !moves_in_bulk(f))
		exchange_request_credit(f->x, body_flow_top_up(&f->x->up, queued));
}

static void send_request(struct forward *f)
{
	http_stream_send_head(f->origin, &f->request);
	for (uint32_t i = 0; i < f->replay.count; i++)
		http_stream_send_body(f->origin, slice_ref(*slice_queue_at(&f->replay, i)));
	f->is_end_sent = false;
	f->state = FORWARD_SENT;
	f->x->down = (struct body_flow){0}; /* an earlier attempt took its credit along */
	http_stream_credit(f->origin, body_flow_top_up(&f->x->down, 0));
	send_pending(f);
	ask_for_more(f);
}

/* ---- opening ---- */

static enum handler_verdict wait_for_connection(struct forward *f, uint64_t timeout_ms, bool has_room)
{
	if (!f->waiter.is_told && f->ew->waiter_count >= f->x->pin->snapshot->limits.queued) {
		attempt_failed(f, FAIL_POOL_FULL, SPAN("too many requests wait for a connection"));
		return HANDLER_WAIT;
	}
	if (f->state != FORWARD_QUEUED) {
		f->state = FORWARD_QUEUED;
		timer_arm(loop_of(f), &f->timer, timeout_ms);
	}
	endpoint_worker_wait(f->ew, &f->waiter);
	if (has_room && f->ew->told_count == 0)
		endpoint_worker_wake(f->ew);
	return HANDLER_WAIT;
}

static enum handler_verdict open_origin(struct forward *f)
{
	struct exchange *x = f->x;
	struct endpoint *e;
	struct client_settings settings;
	enum client_room room;
	struct addr addr = {0};
	int err;

	f->ew = endpoint_side(f);
	e = f->ew->endpoint;
	origin_settings(x, &f->request, e, &settings);
	room = client_pool_room(&f->ew->pool, &settings, f->must_be_new);
	if (room == CLIENT_ROOM_NONE || !endpoint_worker_is_next(f->ew, &f->waiter))
		return wait_for_connection(f, settings.connect_timeout_ms, room != CLIENT_ROOM_NONE);
	timer_disarm(loop_of(f), &f->timer);
	if (room == CLIENT_ROOM_NEW) {
		err = endpoint_next_addr(e, &addr);
		if (err < 0) {
			attempt_failed(f, FAIL_UPSTREAM_CONNECT, SPAN("name is not resolved"));
			return HANDLER_WAIT;
		}
	}
	f->origin = client_open(&f->ew->pool, &addr, &settings, f->must_be_new, x->arena, &err);
	if (!f->origin) {
		attempt_failed(f, FAIL_UPSTREAM_CONNECT, span_str(err_text(err)));
		return HANDLER_WAIT;
	}
	/* Who came meanwhile is behind those who wait: if there is room for more, it is for them. */
	if (endpoint_worker_unwait(f->ew, &f->waiter) && f->ew->waiter_count > 0 &&
	    client_pool_room(&f->ew->pool, &settings, false) != CLIENT_ROOM_NONE)
		endpoint_worker_wake(f->ew);
	upstream_begin(f->uw, f->endpoint);
	f->origin->owner = f;
	f->origin->events = &origin_events;
	x->was_reused = http_stream_is_reused(f->origin);
	send_request(f);
	return HANDLER_WAIT;
}

/* HTTP/1.0 needs no Host, but HTTP/2 does: then the target's own name, as for any client that was told only this. */
static void name_host(struct forward *f)
{
	const struct endpoint *e = upstream_of(f)->endpoints[f->endpoint];

	if (f->x->request->authority.len > 0 || f->x->request->is_raw)
		return;
	headers_set(&f->request.headers, TOKEN_HOST, e->host[0] == '/' ? SPAN("localhost") : span_str(e->name));
}

static enum handler_verdict pick(struct forward *f)
{
	struct exchange *x = f->x;
	int i = upstream_pick(f->uw, NULL, f->tried);

	if (i < 0) {
		exchange_fail(x, FAIL_NO_TARGET, SPAN("no target is usable"));
		return HANDLER_FAIL;
	}
	f->endpoint = (unsigned)i;
	f->refusals = 0;
	bitmap_set(f->tried, f->endpoint);
	x->attempts++;
	x->upstream_addr = span_str(upstream_of(f)->endpoints[i]->name);
	name_host(f);
	record_attempt(x);
	return open_origin(f);
}

static void on_free_connection(struct connection_waiter *cw)
{
	struct forward *f = container_of(cw, struct forward, waiter);

	exchange_resume(f->x);
}

static struct forward *forward_new(struct exchange *x)
{
	struct forward *f = arena_zalloc(x->arena, sizeof(*f));
	const struct upstream *u = x->route->upstream;

	f->x = x;
	x->handler_state = f;
	f->uw = &x->pin->upstreams[u->index];
	list_init(&f->waiter.node);
	f->waiter.on_free = on_free_connection;
	timer_init(&f->timer, on_timer);
	f->tried = arena_array(x->arena, bitmap_words(u->endpoint_count), sizeof(uint64_t));
	f->is_replayable = true;
	x->upstream_id = u->id;
	x->is_grpc = x->request->method == METHOD_POST &&
		     span_starts(headers_value(&x->request->headers, TOKEN_CONTENT_TYPE), SPAN("application/grpc"));
	retry_budget_request(&x->worker->shared->retry_budget, loop_now_ms(x->worker->loop));
	build_request(f);
	return f;
}

static enum handler_verdict respond(struct exchange *x)
{
	struct forward *f = x->handler_state;

	if (!f)
		f = forward_new(x);
	switch (f->state) {
	case FORWARD_PICK:
		return pick(f);
	case FORWARD_REOPEN:
	case FORWARD_QUEUED:
		return open_origin(f);
	case FORWARD_ANSWERED:
		return HANDLER_ANSWER;
	default:
		return HANDLER_WAIT;
	}
}

/* ---- events of the origin's stream ---- */

static void take_interim(struct forward *f, struct message *m)
{
	struct exchange *x = f->x;

	/* 100 was ours to give; others are passed to clients that understand them. */
	if (m->status == 100 || x->request->version == HTTP_VERSION_1_0 || !x->client || x->is_head_sent)
		return;
	headers_remove_hop_by_hop(&m->headers);
	http_stream_send_head(x->client, m);
}

static bool is_retryable_status(const struct forward *f, unsigned status)
{
	const struct retry_settings *r = &f->x->route->retry;

	return status < 640 && (r->statuses[status / 64] >> (status % 64) & 1);
}

/* Answered early: it does not want the rest. */
static void stop_request(struct forward *f)
{
	if (f->is_end_sent)
		return;
	f->is_stopped = true;
	bulk_stop(&f->x->bulk[BULK_REQUEST]);
	slice_queue_clear(&f->pending);
}

/* In the trailers, or in the head of an answer that has nothing else. */
static void take_grpc_status(struct forward *f, const struct headers *fields)
{
	const struct header *h = fields ? headers_find_name(fields, SPAN("grpc-status")) : NULL;

	if (h)
		f->x->grpc_status = h->value;
}

static void on_head(struct http_stream *st, struct message *m)
{
	struct forward *f = st->owner;
	struct exchange *x = f->x;
	bool is_switch = m->status == 101;

	if (m->status < 200 && !is_switch) {
		take_interim(f, m);
		return;
	}
	timer_disarm(loop_of(f), &f->timer);
	if (is_switch && (f->request.upgrade.len == 0 || m->upgrade.len == 0)) {
		attempt_failed(f, FAIL_UPSTREAM_MALFORMED, SPAN("101 without a request to switch"));
		return;
	}
	if (m->framing == BODY_TUNNEL && !f->is_end_sent) { /* the rest would be taken for bytes of the tunnel */
		attempt_failed(f, FAIL_UPSTREAM_MALFORMED, SPAN("switched before the end of the request"));
		return;
	}
	if (is_retryable_status(f, m->status) &&
	    may_retry(f, FAIL_UPSTREAM_STATUS, http_stream_has_written(st))) {
		leave_attempt(f, false);
		record_failure(x, FAIL_UPSTREAM_STATUS);
		retry_later(f);
		return;
	}
	headers_remove_hop_by_hop(&m->headers);
	x->response = *m;
	x->has_response = true;
	f->state = FORWARD_ANSWERED;
	slice_queue_clear(&f->replay);
	f->is_replayable = false;
	if (x->is_grpc)
		take_grpc_status(f, &m->headers);
	if (!st->is_duplex)
		stop_request(f);
	if (m->framing == BODY_LENGTH && x->client)
		(void)bulk_want(x, BULK_RESPONSE, st, x->client, m->content_length);
	exchange_resume(x);
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct forward *f = st->owner;
	struct exchange *x = f->x;
	size_t credit;

	exchange_response_body(x, data, false, NULL);
	if (bulk_is_wanted(&x->bulk[BULK_RESPONSE]))
		return;
	credit = body_flow_top_up(&x->down, exchange_response_queued(x));
	if (credit > 0)
		http_stream_credit(st, credit);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	struct forward *f = st->owner;

	f->is_response_done = true;
	if (f->x->response.framing == BODY_TUNNEL) /* before the tunnel has begun */
		return;
	if (f->x->is_grpc)
		take_grpc_status(f, trailers);
	stop_request(f);
	exchange_response_body(f->x, (struct slice){0}, true, trailers);
	/* At once: what the origin does next, such as a reset because it did not read, is no failure. */
	leave_attempt(f, f->is_end_sent);
}

static void on_sent(struct http_stream *st)
{
	struct forward *f = st->owner;

	ask_for_more(f);
	if (f->state == FORWARD_SENT && f->is_end_sent && http_stream_queued(st) == 0)
		await_answer(f);
}

static enum failure failure_of_origin(const struct session_failure *s)
{
	switch (s->fault) {
	case SESSION_FAULT_CONNECT:
		return FAIL_UPSTREAM_CONNECT;
	case SESSION_FAULT_CONNECT_TIMEOUT:
		return FAIL_UPSTREAM_CONNECT_TIMEOUT;
	case SESSION_FAULT_TLS:
		return FAIL_UPSTREAM_TLS;
	case SESSION_FAULT_TLS_TIMEOUT:
		return FAIL_UPSTREAM_TLS_TIMEOUT;
	case SESSION_FAULT_REFUSED:
		return FAIL_UPSTREAM_REFUSED;
	case SESSION_FAULT_GOAWAY:
		return FAIL_UPSTREAM_GOAWAY;
	case SESSION_FAULT_UPGRADE:
		return FAIL_UPSTREAM_UPGRADE;
	case SESSION_FAULT_STALE:
		return FAIL_UPSTREAM_STALE;
	case SESSION_FAULT_EOF:
		return FAIL_UPSTREAM_EOF;
	case SESSION_FAULT_MALFORMED:
		return FAIL_UPSTREAM_MALFORMED;
	case SESSION_FAULT_BODY_TIMEOUT:
		return FAIL_UPSTREAM_READ_TIMEOUT;
	case SESSION_FAULT_WRITE_TIMEOUT:
		return FAIL_UPSTREAM_WRITE_TIMEOUT;
	default:
		return FAIL_UPSTREAM_RESET;
	}
}

static void on_fail(struct http_stream *st, const struct session_failure *s)
{
	struct forward *f = st->owner;
	struct span detail = s->detail;

	if (s->tls)
		detail = record_tls_failure(f->x, s);
	else if (s->fault == SESSION_FAULT_CONNECT || s->fault == SESSION_FAULT_RESET)
		detail = span_str(err_text(s->err));
	else if (s->codec)
		detail = span_str(codec_fault_text(s->codec));
	attempt_failed(f, failure_of_origin(s), detail);
}

/* ---- the rest of the handler's contract ---- */

static void on_request_body(struct exchange *x, struct slice data, bool is_end, struct headers *trailers)
{
	struct forward *f = x->handler_state;

	if (is_end) {
		f->has_end = true;
		f->trailers = trailers;
	}
	if (f->is_stopped) {
		slice_put(&data);
		return;
	}
	slice_queue_push(&f->pending, f->origin ? data : loop_keep(loop_of(f), data));
	send_pending(f);
	if (!is_end)
		ask_for_more(f);
}

static void on_response_credit(struct exchange *x, size_t bytes)
{
	struct forward *f = x->handler_state;

	if (f->origin && !f->is_response_done)
		http_stream_credit(f->origin, bytes);
}

static void on_done(struct exchange *x)
{
	struct forward *f = x->handler_state;

	if (!f)
		return;
	leave_attempt(f, f->is_response_done && f->is_end_sent);
	slice_queue_fini(&f->pending);
	slice_queue_fini(&f->replay);
}

struct http_stream *forward_take_stream(struct exchange *x, bool *out_is_ended)
{
	struct forward *f = x->handler_state;
	struct http_stream *origin = f->origin;

	CHECK(origin);
	*out_is_ended = f->is_response_done;
	upstream_end(f->uw, f->endpoint);
	f->origin = NULL;
	return origin;
}

const struct handler handler_forward = {
	.name = "forward",
	.help = "Ask an upstream.",
	.respond = respond,
	.on_request_body = on_request_body,
	.on_response_credit = on_response_credit,
	.on_done = on_done,
};
