/* SPDX-License-Identifier: GPL-2.0-only */
/* exchange_steps.c - the steps of an exchange, in the order of steps.def.  Each ends by naming its successor.
 */
#include <string.h>

#include "http/uri.h"
#include "proxy/client_addr.h"
#include "proxy/client_limits.h"
#include "proxy/client_tls.h"
#include "proxy/exchange_internal.h"
#include "proxy/handler.h"
#include "proxy/header_ops.h"
#include "proxy/request_id.h"
#include "proxy/worker.h"

static enum step_verdict fail(struct exchange *x, enum failure f, struct span detail)
{
	exchange_fail(x, f, detail);
	return STEP_WAIT;
}

/* ---- HEAD: who asks, and for what ---- */

static void find_client(struct exchange *x)
{
	const struct listener *l = x->listener;
	struct client_addr_result r;

	x->peer = *stream_peer(http_stream_transport(x->client));
	client_addr_find(&x->peer, &x->request->headers, l ? l->trusted_proxies : NULL,
			 l ? l->trusted_proxy_count : 0, &r);
	x->client_addr = r.addr;
	x->is_client_named = r.hops > 0;
	x->client_ip = client_addr_text(&r, x->arena);
	x->is_client_trusted_hop = r.is_peer_trusted;
}

/* The path that routes, filters and keys use; with removed dot segments it also is what the origin gets. */
static int find_path(struct exchange *x)
{
	struct message *m = x->request;

	if (m->is_raw) {
		x->path = SPAN("/");
		return 0;
	}
	if (m->method == METHOD_CONNECT || span_eq(m->path, SPAN("*"))) {
		x->raw_path = m->path.len > 0 ? m->path : m->target;
		x->path = m->path.len > 0 ? m->path : SPAN("/");
		return 0;
	}
	uri_split(m->path, &x->raw_path, &x->query);
	if (uri_normalise(x->raw_path, x->arena, &x->path, &x->had_dots) < 0)
		return -1;
	if (!x->had_dots)
		return 0;
	m->path = x->path;
	if (x->query.ptr)
		m->path = span_str(
			arena_printf(x->arena, SPAN_FMT "?" SPAN_FMT, SPAN_ARG(x->path), SPAN_ARG(x->query)));
	return 0;
}

static struct span raw_protocol_of(const struct listener *l)
{
	return l && l->server.protocol == SERVER_TLS_PASSTHROUGH ? SPAN("TLS") : SPAN("TCP");
}

enum step_verdict exchange_step_head(struct exchange *x)
{
	struct message *m = x->request;
	enum failure f;
	unsigned port;

	find_client(x);
	headers_remove_connection(&m->headers); /* what is added from here on is not the client's to remove */
	x->authority = m->authority;
	if (m->is_raw)
		x->raw_protocol = raw_protocol_of(x->listener);
	x->request_id = request_id_of(&m->headers, x->pin->snapshot->trace_id_format, x->arena);
	if (refusal_is_banned(x))
		return fail(x, FAIL_BANNED, SPAN(""));
	if (m->authority.len > 0 && !uri_split_authority(m->authority, &x->host, &port))
		return fail(x, FAIL_CLIENT_MALFORMED, SPAN("Host is not a host name"));
	f = client_tls_apply(x);
	if (f != FAIL_NONE)
		return fail(x, f, m->authority);
	if (find_path(x) < 0)
		return fail(x, FAIL_BAD_PATH, m->path);
	exchange_set_step(x, STEP_ROUTE);
	return STEP_NEXT;
}

/* ---- ROUTE ---- */

static enum failure check_protocol(struct exchange *x)
{
	const struct route *r = x->route;
	struct message *m = x->request;

	if (m->is_raw)
		return FAIL_NONE;
	if (m->method == METHOD_CONNECT)
		return r->allows_connect ? FAIL_NONE : FAIL_CONNECT_REFUSED;
	if (m->upgrade.len == 0)
		return FAIL_NONE;
	if (span_eq_nocase(m->upgrade, SPAN("websocket")))
		return r->websocket == ROUTE_UPGRADE_ALLOWED ? FAIL_NONE : FAIL_UPGRADE_REFUSED;
	m->upgrade = (struct span){0}; /* another protocol is an offer: it is not passed on */
	return FAIL_NONE;
}

static size_t state_bytes(const struct filter_use *u)
{
	return (u->filter->state_size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

/* The pointers, and behind them what they point to. */
static void filter_states_make(struct exchange *x, const struct route *r)
{
	size_t at = (r->filter_count * sizeof(void *) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1), bytes = at;
	char *piece;

	for (unsigned i = 0; i < r->filter_count; i++)
		bytes += state_bytes(&r->filters[i]);
	piece = arena_zalloc(x->arena, bytes);
	x->filter_states = (void **)(void *)piece;
	for (unsigned i = 0; i < r->filter_count; i++) {
		x->filter_states[i] = piece + at;
		at += state_bytes(&r->filters[i]);
	}
}

enum step_verdict exchange_step_route(struct exchange *x)
{
	struct message *m = x->request;
	struct route_request q = {m->method_name, x->host, x->path, x->query, &m->headers};
	const struct router *router = x->listener ? x->listener->router : x->pin->snapshot->router;
	const struct route *r = router_match(router, x->worker->scratch, &q);
	struct span scope = SPAN("");
	enum failure f;

	if (!r && x->listener)
		r = x->listener->default_route;
	if (!r)
		return fail(x, FAIL_NO_ROUTE, SPAN(""));
	x->route = r;
	x->route_id = r->id;
	f = check_protocol(x);
	if (f != FAIL_NONE)
		return fail(x, f, m->upgrade);
	f = client_limits_enter(x, &scope);
	if (f != FAIL_NONE)
		return fail(x, f, scope);
	if (m->framing == BODY_LENGTH && r->body_max && m->content_length > r->body_max)
		return fail(x, FAIL_BODY_TOO_LARGE, SPAN("Content-Length is larger than max-body-size"));
	if (r->timeout_ms)
		exchange_set_timeout(x, r->timeout_ms);
	header_ops_apply(&r->request_headers, &m->headers);
	if (r->filter_count > 0)
		filter_states_make(x, r);
	exchange_set_step(x, STEP_REQUEST_FILTERS);
	return STEP_NEXT;
}

/* ---- REQUEST_FILTERS ---- */

enum step_verdict exchange_step_request_filters(struct exchange *x)
{
	while (x->filter_index < x->route->filter_count) {
		const struct filter_use *u = &x->route->filters[x->filter_index];
		enum filter_verdict v = u->filter->on_request ? u->filter->on_request(x, u) : FILTER_NEXT;

		if (v == FILTER_WAIT || v == FILTER_FAIL)
			return STEP_WAIT;
		if (v == FILTER_ANSWER) {
			CHECK(x->has_response);
			exchange_set_step(x, STEP_RESPONSE_FILTERS);
			x->filter_index = 0;
			return STEP_NEXT;
		}
		x->filter_index++;
	}
	refusal_count_request(x);
	exchange_set_step(x, STEP_RESPOND);
	return STEP_NEXT;
}

/* ---- RESPOND ---- */

/* A data hook may change the length of a body, so the length is not announced. */
static void unfix_request_length(struct exchange *x)
{
	if (x->request->framing != BODY_LENGTH)
		return;
	for (unsigned i = 0; i < x->route->filter_count; i++)
		if (x->route->filters[i].filter->on_request_data)
			x->request->framing = BODY_CHUNKED;
}

enum step_verdict exchange_step_respond(struct exchange *x)
{
	bool is_first = !x->is_responding;
	enum handler_verdict v;

	if (is_first) {
		x->is_responding = true;
		unfix_request_length(x);
	}
	v = x->route->handler->respond(x);
	if (v == HANDLER_FAIL)
		return STEP_WAIT;
	if (is_first && x->failure == FAIL_NONE)
		body_request_release(x);
	if (v == HANDLER_WAIT)
		return STEP_WAIT;
	CHECK(x->has_response);
	x->filter_index = 0;
	exchange_set_step(x, STEP_RESPONSE_FILTERS);
	return STEP_NEXT;
}

/* ---- RESPONSE_FILTERS: backwards ---- */

static void finish_response_head(struct exchange *x)
{
	struct message *m = &x->response;

	if (x->route)
		header_ops_apply(&x->route->response_headers, &m->headers);
	headers_set(&m->headers, TOKEN_X_CORRELATION_ID, x->request_id);
	if (m->framing != BODY_LENGTH || !x->route)
		return;
	for (unsigned i = 0; i < x->route->filter_count; i++)
		if (x->route->filters[i].filter->on_response_data)
			m->framing = BODY_CHUNKED;
}

const struct header *response_bad_field(const struct exchange *x, const struct headers *h)
{
	/* The codec judged what an origin sent, and the configuration's fields were checked as it was read. */
	if (x->upstream_id && !x->is_answered && !x->route->changes_fields)
		return NULL;
	for (const struct header *f = h->items; f < h->items + h->count; f++)
		if ((f->token == TOKEN_OTHER && !header_name_is_valid(f->name)) || !header_value_is_valid(f->value))
			return f;
	return NULL;
}

static bool head_can_be_sent(struct exchange *x)
{
	const struct header *bad = response_bad_field(x, &x->response.headers);

	if (x->failure == FAIL_RESPONSE_MALFORMED) /* this is the page that tells of it */
		return true;
	if (bad)
		exchange_refuse_response(x, bad->name);
	else if (!header_value_is_valid(x->response.reason))
		exchange_refuse_response(x, SPAN("the reason of the status"));
	else
		return true;
	return false;
}

enum step_verdict exchange_step_response_filters(struct exchange *x)
{
	unsigned count = x->route && x->filter_states && !x->is_filtered ? x->route->filter_count : 0;

	while (x->filter_index < count) {
		const struct filter_use *u = &x->route->filters[count - 1 - x->filter_index];
		enum filter_verdict v = u->filter->on_response ? u->filter->on_response(x, u) : FILTER_NEXT;

		if (v == FILTER_WAIT || v == FILTER_FAIL) {
			body_response_keep(x);
			return STEP_WAIT;
		}
		CHECK(v == FILTER_NEXT);
		x->filter_index++;
	}
	x->is_filtered = true;
	finish_response_head(x);
	if (!head_can_be_sent(x))
		return STEP_WAIT;
	exchange_set_step(x, STEP_BODY);
	return STEP_NEXT;
}

/* ---- BODY: head out, then both bodies ---- */

static enum step_verdict start_tunnel(struct exchange *x)
{
	struct http_stream *client = x->client;
	bool is_origin_ended;
	struct http_stream *origin = forward_take_stream(x, &is_origin_ended);
	uint64_t idle_ms = x->route->tunnel_idle_ms;

	http_stream_send_head(client, &x->response);
	x->tunnel_engine = x->route->splice;
	x->tunnel_write_ms[0] = x->listener->server.write_idle_timeout_ms;
	x->tunnel_write_ms[1] = x->route->upstream->timeouts.write_ms;
	exchange_become_tunnel(x);
	(void)tunnel_start(x, client, origin, is_origin_ended, idle_ms);
	return STEP_WAIT;
}

static void send_response_head(struct exchange *x)
{
	x->is_head_sent = true;
	x->head_ns = loop_now_ns(x->worker->loop);
	http_stream_send_head(x->client, &x->response);
	if (x->is_answered) {
		struct slice body = x->answer_body;

		x->answer_body = (struct slice){0};
		if (response_has_no_body(x))
			slice_put(&body);
		x->down.is_ended = true;
		slice_queue_push(&x->down_held, body);
	}
	body_response_release(x);
	body_response_credit(x); /* a filter may have taken all of it: then nothing is sent that would ask for more */
}

enum step_verdict exchange_step_body(struct exchange *x)
{
	if (!x->is_head_sent) {
		if (x->response.framing == BODY_TUNNEL)
			return start_tunnel(x);
		send_response_head(x);
	}
	if (x->failure != FAIL_NONE && !x->is_failure_handled)
		return STEP_NEXT;
	if (!x->down.is_sent)
		return STEP_WAIT;
	exchange_set_step(x, STEP_DONE);
	return STEP_NEXT;
}
