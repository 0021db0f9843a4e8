/* SPDX-License-Identifier: GPL-2.0-only */
/* body.c - body chunks of an exchange: through the data hooks, held while the other end is not ready, and
 * credit. */
#include "proxy/exchange_internal.h"
#include "proxy/handler.h"
#include "proxy/worker.h"

#define CREDIT_MIN (BODY_WINDOW / 4)

size_t body_flow_top_up(struct body_flow *flow, size_t queued)
{
	/* A receive may have brought more than was allowed, even more than a window: that is made up for first. */
	uint64_t allowed = MAX(flow->credited, flow->received);
	uint64_t taken = allowed - flow->received + queued;
	size_t credit;

	if (flow->is_ended || taken > BODY_WINDOW - CREDIT_MIN)
		return 0;
	allowed += BODY_WINDOW - taken;
	credit = (size_t)(allowed - flow->credited);
	flow->credited = allowed;
	return credit;
}

/* ---- request: client -> filters in order -> handler ---- */

static void request_to_handler(struct exchange *x, struct chunk c)
{
	const struct handler *h = x->route->handler;

	if (c.is_end)
		x->up.is_sent = true;
	if (h->on_request_body && x->is_responding)
		h->on_request_body(x, c.data, c.is_end, c.trailers);
	else
		slice_put(&c.data);
}

/* After a data hook: whether the chunk goes on.  If not, the filter owns it, or nothing is left of it. */
static bool chunk_goes_on(enum filter_verdict v, struct chunk *c)
{
	if (v == FILTER_NEXT)
		return c->data.len > 0 || c->is_end;
	if (v != FILTER_WAIT)
		slice_put(&c->data);
	return false;
}

static void request_filter_from(struct exchange *x, unsigned first, struct chunk c)
{
	for (unsigned i = first; i < x->route->filter_count; i++) {
		const struct filter_use *u = &x->route->filters[i];

		if (u->filter->on_request_data && !chunk_goes_on(u->filter->on_request_data(x, u, &c), &c))
			return;
	}
	request_to_handler(x, c);
}

void filter_emit_request(struct exchange *x, const struct filter_use *u, struct chunk c)
{
	request_filter_from(x, u->index + 1, c);
}

/* A filter waits for the body: it sees the chunk now, the bytes are kept for the handler. */
static void request_show(struct exchange *x, struct slice data, bool is_end)
{
	const struct filter_use *u = &x->route->filters[x->want_body_by];
	struct chunk c = {data, is_end, x->up_trailers};

	if (u->filter->on_request_data)
		(void)u->filter->on_request_data(x, u, &c);
	slice_queue_push(&x->up_held, loop_keep(x->worker->loop, c.data));
	if (is_end || x->up_held.bytes > x->want_body_max)
		exchange_resume(x);
}

void body_request_in(struct exchange *x, struct slice data, bool is_end, struct headers *trailers)
{
	x->up.received += data.len;
	if (is_end) {
		x->up.is_ended = true;
		x->up_trailers = trailers;
	}
	if (x->failure != FAIL_NONE || x->is_answered || x->step > STEP_BODY) {
		slice_put(&data);
		return;
	}
	if (x->route && x->route->body_max && x->up.received > x->route->body_max) {
		slice_put(&data);
		exchange_fail(x, FAIL_BODY_TOO_LARGE, SPAN("body is longer than max-body-size"));
		return;
	}
	if (x->is_responding)
		request_filter_from(x, 0, (struct chunk){data, is_end, trailers});
	else if (x->want_body_max > 0)
		request_show(x, data, is_end);
	else
		slice_queue_push(&x->up_held, loop_keep(x->worker->loop, data));
}

/* Filters up to the one that wanted the body have seen the held bytes. */
void body_request_release(struct exchange *x)
{
	unsigned first = x->want_body_max > 0 ? x->want_body_by + 1 : 0;

	while (x->up_held.count > 0) {
		struct slice s = slice_queue_pop(&x->up_held);

		request_filter_from(x, first, (struct chunk){s, false, NULL});
		if (x->failure != FAIL_NONE)
			return;
	}
	if (x->up.is_ended && !x->up.is_sent)
		request_filter_from(x, first, (struct chunk){{0}, true, x->up_trailers});
}

void exchange_want_body(struct exchange *x, uint64_t max)
{
	size_t credit;

	CHECK(x->step == STEP_REQUEST_FILTERS && max > 0);
	x->want_body_max = max;
	x->want_body_by = x->filter_index;
	credit = (size_t)max + 1;
	x->up.credited += credit;
	if (!x->up.is_ended)
		http_stream_credit(x->client, credit);
	else
		exchange_resume(x);
}

bool exchange_body_is_larger(const struct exchange *x)
{
	return x->up_held.bytes > x->want_body_max;
}

void exchange_request_credit(struct exchange *x, size_t bytes)
{
	if (x->client && !x->up.is_ended && !x->is_client_broken && bytes > 0)
		http_stream_credit(x->client, bytes);
}

/* ---- response: handler -> filters backwards -> client ---- */

/* The head that is out says how long the body is. */
static bool length_is_right(const struct exchange *x, const struct chunk *c)
{
	const struct message *m = &x->response;
	uint64_t bytes = x->sent_bytes + c->data.len, announced = m->framing == BODY_LENGTH ? m->content_length : 0;

	if ((m->framing != BODY_LENGTH && m->framing != BODY_NONE) || response_has_no_body(x))
		return true;
	return c->is_end ? bytes == announced : bytes <= announced;
}

static bool chunk_can_be_sent(struct exchange *x, const struct chunk *c)
{
	const struct header *bad = c->trailers ? response_bad_field(x, c->trailers) : NULL;

	if (!length_is_right(x, c))
		exchange_refuse_response(x, SPAN("the body is not as long as the head says"));
	else if (bad)
		exchange_refuse_response(x, bad->name);
	else
		return true;
	return false;
}

static void response_to_client(struct exchange *x, struct chunk c)
{
	if (!x->client || x->down.is_sent || !chunk_can_be_sent(x, &c)) {
		slice_put(&c.data);
		return;
	}
	if (c.data.len > 0) {
		x->sent_bytes += c.data.len;
		http_stream_send_body(x->client, c.data);
	} else {
		slice_put(&c.data);
	}
	if (c.is_end) {
		x->down.is_sent = true;
		http_stream_send_end(x->client, c.trailers);
		exchange_resume(x);
	}
}

/* `below`: filters with a smaller index, from the highest. */
static void response_filter_from(struct exchange *x, unsigned below, struct chunk c)
{
	for (unsigned i = below; i-- > 0;) {
		const struct filter_use *u = &x->route->filters[i];

		if (u->filter->on_response_data && !chunk_goes_on(u->filter->on_response_data(x, u, &c), &c))
			return;
	}
	response_to_client(x, c);
}

void filter_emit_response(struct exchange *x, const struct filter_use *u, struct chunk c)
{
	response_filter_from(x, u->index, c);
}

void exchange_response_body(struct exchange *x, struct slice data, bool is_end, struct headers *trailers)
{
	x->down.received += data.len;
	if (is_end) {
		x->down.is_ended = true;
		x->down_trailers = trailers;
	}
	if (x->failure != FAIL_NONE || !x->client) {
		slice_put(&data);
		return;
	}
	if (!x->is_head_sent) {
		/* Mostly for the step that runs next; if that waits, body_response_keep() follows. */
		slice_queue_push(&x->down_held,
				 task_is_queued(&x->resume_task) ? data : loop_keep(x->worker->loop, data));
		return;
	}
	response_filter_from(x, x->route ? x->route->filter_count : 0,
			     (struct chunk){data, is_end, trailers});
}

void body_response_keep(struct exchange *x)
{
	for (uint32_t i = 0; i < x->down_held.count; i++) {
		struct slice *s = slice_queue_at(&x->down_held, i);

		*s = loop_keep(x->worker->loop, *s);
	}
}

void body_response_release(struct exchange *x)
{
	unsigned count = x->route ? x->route->filter_count : 0;

	while (x->down_held.count > 0) {
		struct slice s = slice_queue_pop(&x->down_held);
		bool is_last = x->down_held.count == 0 && x->down.is_ended;

		response_filter_from(x, count, (struct chunk){s, is_last, is_last ? x->down_trailers : NULL});
		if (is_last)
			return;
	}
	if (x->down.is_ended)
		response_filter_from(x, count, (struct chunk){{0}, true, x->down_trailers});
}

void body_response_credit(struct exchange *x)
{
	size_t credit;

	if (x->step != STEP_BODY || !x->is_responding || x->down.is_ended || !x->route->handler->on_response_credit)
		return;
	if (bulk_is_wanted(&x->bulk[BULK_RESPONSE])) {
		(void)bulk_try(&x->bulk[BULK_RESPONSE]);
		return;
	}
	credit = body_flow_top_up(&x->down, exchange_response_queued(x));
	if (credit > 0)
		x->route->handler->on_response_credit(x, credit);
}

size_t exchange_response_queued(const struct exchange *x)
{
	return x->down_held.bytes + (x->client ? http_stream_queued(x->client) : 0);
}
