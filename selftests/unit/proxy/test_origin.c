/* SPDX-License-Identifier: GPL-2.0-only */
/* test_origin.c - what origins are spoken to: HTTP/2, its ways to refuse, gRPC, PROXY headers, raw bytes. */
#include "forward_fixture.h"

#include "net/proxy_protocol.h"
#include "unit/session/h2_origin.h"

#define GET  "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
#define GRPC "POST /s/m HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\nTE: trailers\r\n" \
	     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"

static struct h2_origin h2[4];
static unsigned h2_count;

static int set_up_h2(void **state)
{
	struct fixture *f;
	int err = set_up(state);

	f = *state;
	f->upstream.connection.http = UPSTREAM_HTTP2;
	f->upstream.connection.h2_streams_max = 100;
	h2_count = 0;
	return err;
}

static int tear_down_h2(void **state)
{
	while (h2_count > 0)
		h2_origin_close_all(&h2[--h2_count]);
	return tear_down(state);
}

static void turn_h2(struct fixture *f)
{
	for (unsigned i = 0; i < ORIGINS; i++) {
		int fd = f->origins[i].listen_fd < 0 ? -1 : accept4(f->origins[i].listen_fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			assert_true(h2_count < ARRAY_LEN(h2));
			h2_origin_open(&h2[h2_count++], fd, 0, false);
		}
	}
	for (unsigned i = 0; i < h2_count; i++)
		h2_origin_turn(&h2[i]);
	turn(f);
}

#define H2_UNTIL(f, condition)                                                                                         \
	do {                                                                                                           \
		bool is_so_ = (condition);                                                                             \
		for (int turns_ = 0; turns_ < TURNS_MAX && !is_so_; turns_++) {                                        \
			turn_h2(f);                                                                                    \
			is_so_ = (condition);                                                                          \
		}                                                                                                      \
		if (!is_so_)                                                                                           \
			fail_msg("never came: %s; the client got: %s", #condition, f->clients[0].got);                 \
	} while (0)

static uint64_t grpc_calls(struct fixture *f, const char *status)
{
	const struct span labels[2] = { SPAN("r"), span_str(status) };

	return atomic_load(&metric_cell(f->worker.metrics, METRIC_GRPC_REQUESTS_TOTAL, labels)->value);
}

static bool client_has(const struct client *c, const char *text)
{
	return strstr(c->got, text);
}

static void test_clients_share_a_connection_to_an_h2_origin(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;

	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET);
	ask(b, POST);
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 2);
	h2_origin_answer(&h2[0], &h2[0].requests[0], "200", 3, true);
	h2_origin_answer(&h2[0], &h2[0].requests[1], "404", 0, true);
	H2_UNTIL(f, client_has(a, "ooo") && client_has(b, "HTTP/1.1 404"));
	assert_int_equal(side_of(f, 0)->pool.connected, 1);
	assert_int_equal(side_of(f, 0)->pool.idle_count, 1);
}

static void test_refused_stream_is_retried_for_any_method(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	unsigned first;

	f->upstream.endpoint_count = 2;
	f->route.retry.attempts_max = 2;
	begin(f);
	c = dial(f, 0);
	ask(c, POST);
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 1);
	first = f->worker.endpoints[f->endpoints[0]->slot] ? 0 : 1;
	h2_origin_reset(&h2[0], &h2[0].requests[0], NGHTTP2_REFUSED_STREAM);
	H2_UNTIL(f, h2_count == 2 && h2[1].ended == 1);
	assert_int_equal(h2[1].requests[0].bytes, 4);
	h2_origin_answer(&h2[1], &h2[1].requests[0], "200", 2, true);
	H2_UNTIL(f, client_has(c, "HTTP/1.1 200"));
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_REFUSED), 1);
	assert_int_equal(side_of(f, first)->pool.open_count, 1); /* nothing is wrong with it */
}

static void test_refused_stream_without_retry_is_503(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 1);
	h2_origin_reset(&h2[0], &h2[0].requests[0], NGHTTP2_REFUSED_STREAM);
	H2_UNTIL(f, client_has(c, "HTTP/1.1 503"));
}

/* A connection that ends costs no attempt, whatever the method. */
static void test_streams_above_goaway_start_over_on_one_new_connection(void **state)
{
	struct fixture *f = *state;
	struct client *c[3];

	begin(f);
	for (unsigned i = 0; i < 3; i++) {
		c[i] = dial(f, i);
		ask(c[i], POST);
	}
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 3);
	h2_origin_goaway(&h2[0], h2[0].requests[0].id);
	H2_UNTIL(f, h2_count == 2 && h2[1].ended == 2);
	h2_origin_answer(&h2[0], &h2[0].requests[0], "200", 1, true);
	h2_origin_answer(&h2[1], &h2[1].requests[0], "200", 1, true);
	h2_origin_goaway(&h2[1], h2[1].requests[0].id); /* but not twice */
	H2_UNTIL(f, c[0]->got_len && c[1]->got_len && c[2]->got_len);
	assert_int_equal(client_has(c[0], " 502 ") + client_has(c[1], " 502 ") + client_has(c[2], " 502 "), 1);
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_GOAWAY), 1);
	assert_int_equal(h2_count, 2);
}

static void test_grpc_streams_both_ways_and_is_counted(void **state)
{
	struct fixture *f = *state;
	struct h2_request *r = &h2[0].requests[0];
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GRPC);
	H2_UNTIL(f, h2_count == 1 && r->bytes == 5);
	h2_origin_answer(&h2[0], r, "200", 4, false);
	H2_UNTIL(f, client_has(c, "oooo"));
	assert_false(r->is_ended);
	ask(c, "3\r\nyou\r\n"); /* the request goes on after the head of the answer */
	H2_UNTIL(f, r->bytes == 8);
	ask(c, "0\r\n\r\n");
	H2_UNTIL(f, r->is_ended);
	r->has_trailers = true;
	h2_origin_more(&h2[0], r, 2, true);
	H2_UNTIL(f, client_has(c, "grpc-status: 7\r\n"));
	H2_UNTIL(f, list_is_empty(&f->worker.exchanges));
	assert_int_equal(grpc_calls(f, "7"), 1);
	assert_int_equal(grpc_calls(f, "none"), 0);
}

static void test_grpc_without_a_status_is_counted_as_such(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GRPC "0\r\n\r\n");
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 1);
	h2_origin_answer(&h2[0], &h2[0].requests[0], "503", 0, true);
	H2_UNTIL(f, client_has(c, "HTTP/1.1 503"));
	H2_UNTIL(f, list_is_empty(&f->worker.exchanges));
	assert_int_equal(grpc_calls(f, "none"), 1);
}

static void test_client_that_cancels_resets_the_stream(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GRPC);
	H2_UNTIL(f, h2_count == 1 && h2[0].requests[0].bytes == 5);
	client_resets(c);
	H2_UNTIL(f, h2[0].closed == 1);
	assert_int_equal(h2[0].requests[0].error, NGHTTP2_CANCEL);
	assert_int_equal(side_of(f, 0)->pool.idle_count, 1);
}

static void test_origin_that_cancels_cuts_the_answer(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 1);
	h2_origin_answer(&h2[0], &h2[0].requests[0], "200", 10, false);
	H2_UNTIL(f, client_has(c, "oooooooooo"));
	h2_origin_reset(&h2[0], &h2[0].requests[0], NGHTTP2_CANCEL);
	H2_UNTIL(f, c->is_eof || c->is_reset);
	assert_false(client_has(c, "\r\n0\r\n"));
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_RESET), 1);
}

static void test_requests_wait_for_a_stream(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;

	f->upstream.connection.h2_streams_max = 1;
	f->upstream.pool.max_connections = 1;
	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET);
	ask(b, GET);
	H2_UNTIL(f, h2_count == 1 && h2[0].ended == 1);
	assert_int_equal(side_of(f, 0)->waiter_count, 1);
	h2_origin_answer(&h2[0], &h2[0].requests[0], "200", 1, true);
	H2_UNTIL(f, h2[0].ended == 2);
	h2_origin_answer(&h2[0], &h2[0].requests[1], "200", 1, true);
	H2_UNTIL(f, client_has(a, " 200 ") && client_has(b, " 200 "));
	assert_int_equal(h2_count, 1);
}

static void test_websocket_that_the_origin_does_not_take(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
	       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	H2_UNTIL(f, client_has(c, "HTTP/1.1 502"));
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_UPGRADE), 1);
}

/* ---- PROXY headers ---- */

static void test_proxy_header_of_version_1(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in me;
	socklen_t len = sizeof(me);
	struct client *c;
	char line[128];

	f->upstream.connection = (struct upstream_connection_settings){ .proxy_protocol = 1 };
	f->client_addr.len = 0;
	begin(f);
	c = dial(f, 0);
	assert_int_equal(getsockname(c->fd, (struct sockaddr *)&me, &len), 0);
	(void)snprintf(line, sizeof(line), "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\nGET /x HTTP/1.1\r\n",
		       ntohs(me.sin_port), ntohs(f->addr.in.sin_port));
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	assert_ptr_equal(strstr(f->origins[0].got, line), f->origins[0].got);
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	client_hears(f, c, "HTTP/1.1 200");
	origin_sees_the_end(f, 0); /* it was this client's */
	for (int i = 0; i < TURNS_MAX && side_of(f, 0)->pool.open_count > 0; i++)
		turn(f);
	assert_int_equal(side_of(f, 0)->pool.open_count, 0);
}

static void test_proxy_header_of_version_2(void **state)
{
	struct fixture *f = *state;
	struct origin *o = &f->origins[0];
	struct proxy_header h;
	struct client *c;
	size_t used;

	f->upstream.connection = (struct upstream_connection_settings){ .proxy_protocol = 2 };
	f->client_addr.len = 0;
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	accept_at(f, 0);
	for (int i = 0; i < TURNS_MAX && o->got_len < 60; i++) {
		(void)origin_receive(o);
		turn(f);
	}
	assert_int_equal(proxy_protocol_read(o->got, o->got_len, &h, &used), PROXY_PROTOCOL_DONE);
	assert_int_equal(h.version, 2);
	assert_true(h.has_addresses);
	assert_false(h.has_tls);
	assert_int_equal(h.destination.in.sin_port, f->addr.in.sin_port);
	assert_memory_equal(o->got + used, "GET /x", 6);
}

/* A retry has the header too. */
static void test_proxy_header_comes_with_each_attempt(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	unsigned first;

	f->upstream.connection = (struct upstream_connection_settings){ .proxy_protocol = 1 };
	f->client_addr.len = 0;
	f->upstream.endpoint_count = 2;
	f->route.retry.attempts_max = 2;
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	first = accept_anywhere(f);
	origin_hears(f, first, "\r\n\r\n");
	origin_resets(f, first);
	origin_hears(f, 1 - first, "\r\n\r\n");
	assert_ptr_equal(strstr(f->origins[1 - first].got, "PROXY TCP4 127.0.0.1"), f->origins[1 - first].got);
	origin_says(f, 1 - first, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	client_hears(f, c, "HTTP/1.1 200");
}

/* ---- bytes ---- */

static void test_raw_listener_is_a_tunnel(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->upstream.connection = (struct upstream_connection_settings){ 0 };
	f->listener.server.protocol = SERVER_TCP;
	f->listener.default_route = &f->route;
	f->listener.server.handshakes_max = 10;
	begin(f);
	c = dial(f, 0);
	ask(c, "any bytes");
	origin_hears(f, 0, "any bytes");
	origin_says(f, 0, "and back");
	client_hears(f, c, "and back");
	assert_int_equal(f->worker.tunnel_count, 1);
	shutdown(c->fd, SHUT_WR);
	origin_sees_the_end(f, 0);
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_true(c->is_eof);
}

static void test_raw_listener_whose_origin_refuses_says_nothing(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->upstream.connection = (struct upstream_connection_settings){ 0 };
	f->listener.server.protocol = SERVER_TCP;
	f->listener.default_route = &f->route;
	f->listener.server.handshakes_max = 10;
	stop_listening(f, 0);
	begin(f);
	c = dial(f, 0);
	ask(c, "any bytes");
	client_sees_the_end(f, c);
	assert_int_equal(c->got_len, 0);
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_CONNECT), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up_h2, tear_down_h2)
	const struct CMUnitTest tests[] = {
		T(test_clients_share_a_connection_to_an_h2_origin),
		T(test_refused_stream_is_retried_for_any_method),
		T(test_refused_stream_without_retry_is_503),
		T(test_streams_above_goaway_start_over_on_one_new_connection),
		T(test_grpc_streams_both_ways_and_is_counted),
		T(test_grpc_without_a_status_is_counted_as_such),
		T(test_client_that_cancels_resets_the_stream),
		T(test_origin_that_cancels_cuts_the_answer),
		T(test_requests_wait_for_a_stream),
		T(test_websocket_that_the_origin_does_not_take),
		T(test_proxy_header_of_version_1),
		T(test_proxy_header_of_version_2),
		T(test_proxy_header_comes_with_each_attempt),
		T(test_raw_listener_is_a_tunnel),
		T(test_raw_listener_whose_origin_refuses_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
