/* SPDX-License-Identifier: GPL-2.0-only */
/* test_exchange.c - exchanges through real filters and handlers, with a client that is a pair of buffers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/steady_clock.h"
#include "proxy/handler.h"
#include "proxy/worker.h"

/* ---- a client: implements http_stream with buffers ---- */

struct client {
	struct http_stream st;
	struct loop *loop;
	struct task pump;
	const char *body; /* what it will send, as far as it may */
	size_t body_len, body_pos;
	int64_t allowance;
	bool is_ended;

	unsigned status;
	bool is_head_seen, is_done, is_reset, has_end;
	enum body_framing framing;
	struct strbuf got, fields;
};

static struct client *client_of(const struct http_stream *st)
{
	return container_of(st, struct client, st);
}

static void run_pump(struct task *t)
{
	struct client *c = container_of(t, struct client, pump);

	while (!c->is_done && !c->is_reset && c->allowance > 0 && c->body_pos < c->body_len) {
		size_t n = MIN((size_t)3, c->body_len - c->body_pos);
		struct slice piece = slice_copy(c->body + c->body_pos, (uint32_t)n);

		c->body_pos += n;
		c->allowance -= (int64_t)n;
		c->st.events->on_body(&c->st, piece);
	}
	if (!c->is_done && !c->is_reset && c->body_pos == c->body_len && !c->is_ended) {
		c->is_ended = true;
		c->st.events->on_end(&c->st, NULL);
	}
}

static void op_send_head(struct http_stream *st, const struct message *m)
{
	struct client *c = client_of(st);

	assert_false(c->is_head_seen);
	c->is_head_seen = true;
	c->status = m->status;
	c->framing = m->framing;
	for (uint32_t i = 0; i < m->headers.count; i++)
		strbuf_printf(&c->fields, SPAN_FMT ": " SPAN_FMT "\n", SPAN_ARG(m->headers.items[i].name),
			      SPAN_ARG(m->headers.items[i].value));
}

static void op_send_body(struct http_stream *st, struct slice data)
{
	struct client *c = client_of(st);

	assert_true(c->is_head_seen);
	assert_false(c->has_end);
	strbuf_add(&c->got, data.ptr, data.len);
	slice_put(&data);
}

static void op_send_end(struct http_stream *st, const struct headers *trailers)
{
	(void)trailers;
	assert_false(client_of(st)->has_end);
	client_of(st)->has_end = true;
}

static void op_credit(struct http_stream *st, size_t bytes)
{
	struct client *c = client_of(st);

	c->allowance += (int64_t)bytes;
	loop_defer(c->loop, &c->pump);
}

static size_t op_queued(const struct http_stream *st)
{
	(void)st;
	return 0;
}

static void op_done(struct http_stream *st)
{
	struct client *c = client_of(st);

	assert_true(c->has_end);
	assert_false(c->is_done || c->is_reset);
	c->is_done = true;
}

static void op_reset(struct http_stream *st)
{
	assert_false(client_of(st)->is_done || client_of(st)->is_reset);
	client_of(st)->is_reset = true;
}

static const struct addr *unix_peer(struct stream *s)
{
	static const struct addr peer = { .len = sizeof(sa_family_t), .sa.sa_family = AF_UNIX };

	(void)s;
	return &peer;
}

static struct tlsio *no_tls(struct stream *s)
{
	(void)s;
	return NULL;
}

static struct stream *op_transport(struct http_stream *st)
{
	static const struct stream_ops ops = { .peer = unix_peer, .tls = no_tls };
	static struct stream stream = { .tag = TAG_STREAM, .ops = &ops };

	(void)st;
	return &stream;
}

static const struct http_stream_ops client_ops = {
	op_send_head, op_send_body, op_send_end, op_credit, op_queued, op_done, op_reset, op_transport,
};

/* ---- handlers: echo the request's body; fail late ---- */

static enum handler_verdict echo_respond(struct exchange *x)
{
	if (!x->handler_state) {
		x->handler_state = x;
		exchange_request_credit(x, 1 << 20);
		message_init(&x->response, x->arena);
		x->response.status = 200;
		x->response.framing = BODY_CHUNKED;
		x->has_response = true;
	}
	return HANDLER_ANSWER;
}

static void echo_body(struct exchange *x, struct slice data, bool is_end, struct headers *trailers)
{
	exchange_response_body(x, data, is_end, trailers);
}

static unsigned handler_dones;

static void count_done(struct exchange *x)
{
	(void)x;
	handler_dones++;
}

static const struct handler echo = {
	.name = "echo",
	.respond = echo_respond,
	.on_request_body = echo_body,
	.on_done = count_done,
};

static enum handler_verdict broken_respond(struct exchange *x)
{
	exchange_fail(x, FAIL_UPSTREAM_RESET, SPAN("it broke"));
	return HANDLER_FAIL;
}

static const struct handler broken = { .name = "broken", .respond = broken_respond, .on_done = count_done };

static enum handler_verdict late_respond(struct exchange *x)
{
	if (x->handler_state)
		return HANDLER_ANSWER;
	x->handler_state = x;
	message_init(&x->response, x->arena);
	x->response.status = 200;
	x->response.framing = BODY_LENGTH;
	x->response.content_length = 10;
	x->has_response = true;
	return HANDLER_ANSWER;
}

static const struct handler late = { .name = "late", .respond = late_respond, .on_done = count_done };

/* ---- a filter that holds the whole request, then chooses ---- */

struct hold_state {
	struct strbuf seen;
	unsigned entered;
	bool is_ended;
};

static uint64_t hold_max = 1 << 20;

static enum filter_verdict hold_request(struct exchange *x, const struct filter_use *u)
{
	struct hold_state *st = filter_state(x, u);

	if (st->entered++ == 0) {
		strbuf_init(&st->seen);
		exchange_want_body(x, hold_max);
		return FILTER_WAIT;
	}
	if (exchange_body_is_larger(x)) {
		exchange_fail(x, FAIL_BODY_TOO_LARGE, SPAN(""));
		return FILTER_FAIL;
	}
	if (!st->is_ended)
		return FILTER_WAIT;
	headers_add_name(&x->request->headers, SPAN("X-Seen"), arena_span(x->arena, strbuf_span(&st->seen)));
	if (span_eq(strbuf_span(&st->seen), SPAN("stop"))) {
		exchange_answer(x, 418, "text/plain", slice_static("stopped", 7));
		return FILTER_ANSWER;
	}
	return FILTER_NEXT;
}

static enum filter_verdict hold_data(struct exchange *x, const struct filter_use *u, struct chunk *c)
{
	struct hold_state *st = filter_state(x, u);

	strbuf_add(&st->seen, c->data.ptr, c->data.len);
	st->is_ended |= c->is_end;
	return FILTER_NEXT;
}

static unsigned hold_dones;

static void hold_done(struct exchange *x, const struct filter_use *u)
{
	struct hold_state *st = filter_state(x, u);

	if (st->entered)
		strbuf_fini(&st->seen);
	hold_dones++;
}

static const struct filter hold = {
	.name = "hold",
	.state_size = sizeof(struct hold_state),
	.on_request = hold_request,
	.on_request_data = hold_data,
	.on_done = hold_done,
};

/* ---- a filter that expands every chunk, keeps the end back and flushes later ---- */

struct expand_state {
	struct exchange *x;
	const struct filter_use *use;
	struct chunk end;
	struct timer timer;
	unsigned held;
};

static void expand_later(struct timer *t)
{
	struct expand_state *st = container_of(t, struct expand_state, timer);

	filter_emit_response(st->x, st->use, (struct chunk){ .data = slice_static("[end]", 5) });
	filter_emit_response(st->x, st->use, st->end);
	st->held = 0;
}

static enum filter_verdict expand_data(struct exchange *x, const struct filter_use *u, struct chunk *c)
{
	struct expand_state *st = filter_state(x, u);

	if (c->data.len > 0) {
		filter_emit_response(x, u, (struct chunk){ .data = slice_static("<", 1) });
		filter_emit_response(x, u, (struct chunk){ .data = slice_ref(c->data) });
		filter_emit_response(x, u, (struct chunk){ .data = slice_static(">", 1) });
		slice_put(&c->data);
	}
	if (!c->is_end)
		return FILTER_NEXT;
	st->x = x;
	st->use = u;
	st->end = *c;
	st->held = 1;
	timer_init(&st->timer, expand_later);
	timer_arm(x->worker->loop, &st->timer, 5);
	return FILTER_WAIT;
}

static void expand_done(struct exchange *x, const struct filter_use *u)
{
	struct expand_state *st = filter_state(x, u);

	if (st->held) {
		timer_disarm(x->worker->loop, &st->timer);
		slice_put(&st->end.data);
	}
}

static const struct filter expand = {
	.name = "expand",
	.state_size = sizeof(struct expand_state),
	.on_response_data = expand_data,
	.on_done = expand_done,
};

/* ---- filters that write down their order ---- */

static char order[32];

static enum filter_verdict note_request(struct exchange *x, const struct filter_use *u)
{
	(void)x;
	strncat(order, u->id, 1);
	return FILTER_NEXT;
}

static const struct filter note = { .name = "note", .on_request = note_request, .on_response = note_request };

/* ---- one worker with one route ---- */

struct fixture {
	struct loop *loop;
	struct proxy_shared shared;
	struct proxy_worker worker;
	struct snapshot *snapshot;
	struct listener listener;
	struct route route;
	struct filter_use uses[3];
	struct route_match match;
	struct router *router;
	struct client client;
};

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;
	static uint32_t sizes[3];

	order[0] = 0;
	handler_dones = hold_dones = 0;
	hold_max = 1 << 20;
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	f->snapshot = snapshot_new();
	f->route = (struct route){ .id = "r", .handler = &echo, .filters = f->uses, .body_max = 1000 };
	f->match = (struct route_match){ .route = &f->route, .id = "r", .priority = 50 };
	assert_int_equal(router_build(&f->router, &f->match, 1, &f->snapshot->arena, &reason), 0);
	f->listener = (struct listener){ .id = "l", .number = 1, .router = f->router };
	snapshot_set_listeners(f->snapshot, &f->listener, 1);
	f->snapshot->routes = &f->route;
	f->snapshot->route_count = 1;
	f->snapshot->router = f->router;
	f->snapshot->worker_count = 1;
	f->snapshot->filter_slot_count = 3;
	f->snapshot->filter_worker_sizes = sizes;
	proxy_worker_init(&f->worker, f->loop, &f->shared, 0, 4);
	proxy_worker_adopt(&f->worker, f->snapshot);
	f->client = (struct client){ .st.ops = &client_ops, .loop = f->loop, .pump.run = run_pump };
	strbuf_init(&f->client.got);
	strbuf_init(&f->client.fields);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_true(list_is_empty(&f->worker.exchanges));
	assert_int_equal(f->worker.host.arenas.used, 0);
	assert_int_equal(f->worker.current->exchanges, 0);
	proxy_worker_close(&f->worker);
	proxy_worker_fini(&f->worker);
	snapshot_put(f->snapshot);
	loop_free(f->loop);
	strbuf_fini(&f->client.got);
	strbuf_fini(&f->client.fields);
	test_free(f);
	return 0;
}

static void use(struct fixture *f, const struct filter *filter, const char *id)
{
	unsigned i = f->route.filter_count++;

	f->route.changes_fields = true;
	f->uses[i] = (struct filter_use){ .filter = filter, .id = id, .slot = i, .index = i };
}

static struct message *request(struct fixture *f, struct arena *a, const char *body)
{
	struct message *m = arena_zalloc(a, sizeof(*m));

	message_init(m, a);
	m->version = HTTP_VERSION_1_1;
	m->method = METHOD_POST;
	m->method_name = SPAN("POST");
	m->target = m->path = SPAN("/x");
	m->authority = SPAN("h");
	m->framing = BODY_LENGTH;
	m->content_length = strlen(body);
	f->client.body = body;
	f->client.body_len = strlen(body);
	return m;
}

static void start(struct fixture *f, struct message *m, struct arena *a)
{
	exchange_start(&f->worker, &f->client.st, 1, m, a);
}

static void turns(struct fixture *f)
{
	for (int i = 0; i < 40; i++)
		loop_turn(f->loop, 1);
}

static void post(struct fixture *f, const char *body)
{
	struct arena *a = arena_cache_take(&f->worker.host.arenas);

	start(f, request(f, a, body), a);
	turns(f);
}

static void test_body_goes_through_and_back(void **state)
{
	struct fixture *f = *state;

	post(f, "hello world");
	assert_true(f->client.is_done);
	assert_int_equal(f->client.status, 200);
	assert_string_equal(f->client.got.ptr, "hello world");
	assert_int_equal(handler_dones, 1);
}

static void test_filters_run_in_order_and_backwards(void **state)
{
	struct fixture *f = *state;

	use(f, &note, "a");
	use(f, &note, "b");
	use(f, &note, "c");
	post(f, "");
	assert_string_equal(order, "abccba");
}

static void test_filter_that_wants_the_body_sees_all_of_it_first(void **state)
{
	struct fixture *f = *state;

	use(f, &hold, "h");
	post(f, "hold me all");
	assert_int_equal(f->client.status, 200);
	assert_string_equal(f->client.got.ptr, "hold me all");
	assert_int_equal(hold_dones, 1);
	assert_int_equal(f->client.framing, BODY_CHUNKED);
}

static void test_filter_that_wants_the_body_can_answer(void **state)
{
	struct fixture *f = *state;

	use(f, &hold, "h");
	use(f, &note, "n");
	post(f, "stop");
	assert_int_equal(f->client.status, 418);
	assert_string_equal(f->client.got.ptr, "stopped");
	assert_int_equal(handler_dones, 0);
	assert_string_equal(order, "n");
}

static void test_body_larger_than_wanted_is_known(void **state)
{
	struct fixture *f = *state;

	hold_max = 4;
	use(f, &hold, "h");
	post(f, "longer than four");
	assert_int_equal(f->client.status, 413);
}

static void test_filter_expands_and_flushes_later(void **state)
{
	struct fixture *f = *state;

	use(f, &expand, "e");
	post(f, "abcdef");
	assert_true(f->client.is_done);
	assert_string_equal(f->client.got.ptr, "<abc><def>[end]");
}

static void test_client_that_leaves_while_a_filter_holds(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_cache_take(&f->worker.host.arenas);
	struct session_failure failure = { .fault = SESSION_FAULT_RESET };

	use(f, &expand, "e");
	start(f, request(f, a, "abc"), a);
	loop_turn(f->loop, 0);
	loop_turn(f->loop, 0);
	f->client.st.events->on_fail(&f->client.st, &failure);
	turns(f);
	assert_true(f->client.is_reset);
	assert_false(f->client.has_end);
}

static void test_failing_handler_gives_an_error_page(void **state)
{
	struct fixture *f = *state;

	f->route.handler = &broken;
	f->route.prefers_json_errors = true;
	post(f, "");
	assert_int_equal(f->client.status, 502);
	assert_non_null(strstr(f->client.got.ptr, "\"request_id\""));
	assert_non_null(strstr(f->client.fields.ptr, "application/json"));
	assert_int_equal(handler_dones, 1);
}

static void test_failing_after_the_head_resets(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_cache_take(&f->worker.host.arenas);

	f->route.handler = &late;
	start(f, request(f, a, ""), a);
	loop_turn(f->loop, 0);
	assert_true(f->client.is_head_seen);
	exchange_fail(f->client.st.owner, FAIL_UPSTREAM_EOF, SPAN("cut"));
	turns(f);
	assert_true(f->client.is_reset);
	assert_int_equal(handler_dones, 1);
}

static void test_body_over_the_limit_is_413(void **state)
{
	struct fixture *f = *state;

	f->route.body_max = 5;
	post(f, "longer than five");
	assert_int_equal(f->client.status, 413);
}

static void test_path_above_the_root_is_400(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_cache_take(&f->worker.host.arenas);
	struct message *m = request(f, a, "");

	m->path = SPAN("/../etc");
	start(f, m, a);
	turns(f);
	assert_int_equal(f->client.status, 400);
	assert_int_equal(handler_dones, 0);
}

static void test_total_timeout_is_504(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_cache_take(&f->worker.host.arenas);

	f->route.timeout_ms = 10;
	f->route.handler = &late;
	start(f, request(f, a, ""), a);
	turns(f);
	assert_true(f->client.is_reset); /* the head was out */
}

/* ---- responses that cannot be sent ---- */

static struct span bad_name, bad_value;

static enum filter_verdict spoil_response(struct exchange *x, const struct filter_use *u)
{
	(void)u;
	headers_add_name(&x->response.headers, bad_name, bad_value);
	return FILTER_NEXT;
}

static const struct filter spoil = { .name = "spoil", .on_response = spoil_response };

static void fresh_client(struct fixture *f)
{
	struct client *c = &f->client;

	c->is_done = c->is_reset = c->has_end = c->is_head_seen = c->is_ended = false;
	c->allowance = 0;
	c->body_pos = 0;
	strbuf_reset(&c->got);
	strbuf_reset(&c->fields);
}

static uint64_t refused_count(struct fixture *f)
{
	const struct span label = span_str(failure_row(FAIL_RESPONSE_MALFORMED)->label);

	return atomic_load(&metric_cell(f->worker.metrics, METRIC_BLOCKED_REQUESTS_TOTAL, &label)->value);
}

static void test_field_that_would_break_the_head_gives_502(void **state)
{
	static const struct { struct span name, value; } rows[] = {
		{ SPAN("X-A"), SPAN("a\r\nSet-Cookie: b") },
		{ SPAN("X-A"), SPAN("a\nb") },
		{ SPAN("X-A"), SPAN("a\0b") },
		{ SPAN("X A"), SPAN("b") },
		{ SPAN("X:"), SPAN("b") },
		{ SPAN(""), SPAN("b") },
	};
	struct fixture *f = *state;

	use(f, &spoil, "s");
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		bad_name = rows[i].name;
		bad_value = rows[i].value;
		fresh_client(f);
		post(f, "hello world");
		assert_int_equal(f->client.status, 502);
		assert_true(f->client.is_done);
		assert_false(f->client.is_reset);
		assert_null(strstr(f->client.got.ptr, "hello"));
		assert_non_null(strstr(f->client.got.ptr, "502"));
		assert_null(strstr(f->client.fields.ptr, "X-A"));
		assert_non_null(strstr(f->client.fields.ptr, "x-correlation-id"));
		assert_int_equal(handler_dones, i + 1);
		assert_int_equal(refused_count(f), i + 1);
	}
}

/* The filter spoils what tells of another failure, too. */
static void test_spoiled_error_page_is_made_again_without_filters(void **state)
{
	struct fixture *f = *state;

	bad_name = SPAN("X-A");
	bad_value = SPAN("a\rb");
	use(f, &spoil, "s");
	f->route.handler = &broken;
	post(f, "");
	assert_int_equal(f->client.status, 502);
	assert_true(f->client.is_done);
	assert_null(strstr(f->client.fields.ptr, "X-A"));
	assert_int_equal(refused_count(f), 1);
}

static enum handler_verdict bad_reason_respond(struct exchange *x)
{
	exchange_answer(x, 200, "text/plain", slice_static("text", 4));
	x->response.reason = SPAN("O\nK");
	return HANDLER_ANSWER;
}

static const struct handler bad_reason = { .name = "bad_reason", .respond = bad_reason_respond, .on_done = count_done };

static void test_handler_that_makes_a_bad_status_line_gives_502(void **state)
{
	struct fixture *f = *state;

	f->route.handler = &bad_reason;
	post(f, "");
	assert_int_equal(f->client.status, 502);
	assert_true(f->client.is_done);
	assert_int_equal(refused_count(f), 1);
}

static enum handler_verdict ten_respond(struct exchange *x)
{
	enum handler_verdict v = echo_respond(x);

	x->response.framing = BODY_LENGTH;
	x->response.content_length = 10;
	return v;
}

static const struct handler ten = { .name = "ten", .respond = ten_respond, .on_request_body = echo_body,
				    .on_done = count_done };

static void test_body_of_another_length_than_announced_resets(void **state)
{
	struct fixture *f = *state;
	static const char *const bodies[] = { "too short", "longer than ten" };

	f->route.handler = &ten;
	for (unsigned i = 0; i < ARRAY_LEN(bodies); i++) {
		fresh_client(f);
		post(f, bodies[i]);
		assert_int_equal(f->client.status, 200);
		assert_true(f->client.is_reset);
		assert_false(f->client.has_end);
		assert_true(f->client.got.len < 10);
		assert_int_equal(refused_count(f), i + 1);
	}
	fresh_client(f);
	post(f, "just right");
	assert_true(f->client.is_done);
}

static void bad_trailers_body(struct exchange *x, struct slice data, bool is_end, struct headers *trailers)
{
	static struct headers bad;

	(void)trailers;
	headers_init(&bad, x->arena);
	headers_add_name(&bad, SPAN("X-Sum"), SPAN("1\r\n2"));
	exchange_response_body(x, data, is_end, is_end ? &bad : NULL);
}

static const struct handler bad_trailers = { .name = "bad_trailers", .respond = echo_respond,
					     .on_request_body = bad_trailers_body, .on_done = count_done };

static void test_trailers_that_would_break_the_message_reset(void **state)
{
	struct fixture *f = *state;

	f->route.handler = &bad_trailers;
	post(f, "body");
	assert_int_equal(f->client.status, 200);
	assert_true(f->client.is_reset);
	assert_false(f->client.has_end);
	assert_int_equal(refused_count(f), 1);
}

/* One receive brought more than two windows: what is allowed next must be a window above that. */
static void test_credit_makes_up_for_a_receive_that_was_too_much(void **state)
{
	struct body_flow flow = { 0 };

	(void)state;
	assert_int_equal(body_flow_top_up(&flow, 0), BODY_WINDOW);
	assert_int_equal(body_flow_top_up(&flow, 0), 0);
	flow.received = 2 * BODY_WINDOW + 100;
	assert_int_equal(body_flow_top_up(&flow, BODY_WINDOW), 0);
	assert_int_equal(body_flow_top_up(&flow, 0), 2 * BODY_WINDOW + 100);
	assert_int_equal(flow.credited, flow.received + BODY_WINDOW);
	flow.received += BODY_WINDOW / 2;
	assert_int_equal(body_flow_top_up(&flow, BODY_WINDOW / 2), 0);
	assert_int_equal(body_flow_top_up(&flow, 0), BODY_WINDOW / 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_credit_makes_up_for_a_receive_that_was_too_much),
		T(test_body_goes_through_and_back),
		T(test_filters_run_in_order_and_backwards),
		T(test_filter_that_wants_the_body_sees_all_of_it_first),
		T(test_filter_that_wants_the_body_can_answer),
		T(test_body_larger_than_wanted_is_known),
		T(test_filter_expands_and_flushes_later),
		T(test_client_that_leaves_while_a_filter_holds),
		T(test_failing_handler_gives_an_error_page),
		T(test_failing_after_the_head_resets),
		T(test_body_over_the_limit_is_413),
		T(test_path_above_the_root_is_400),
		T(test_total_timeout_is_504),
		T(test_field_that_would_break_the_head_gives_502),
		T(test_spoiled_error_page_is_made_again_without_filters),
		T(test_handler_that_makes_a_bad_status_line_gives_502),
		T(test_body_of_another_length_than_announced_resets),
		T(test_trailers_that_would_break_the_message_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
