/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client.c - HTTP/1 client sessions and their idle pool, against an origin that the test plays itself. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "lib/port_hold.h"
#include "lib/steady_clock.h"
#include "net/addr.h"
#include "session/client.h"

struct fixture {
	struct loop *loop;
	struct client_pool pool;
	struct client_settings settings;
	struct arena arena;
	struct addr addr;
	int listen_fd, origin_fd; /* -1: none */

	struct http_stream *st;
	unsigned heads, ends, fails, releases;
	unsigned status;
	struct strbuf body;
	struct session_failure failure;
	bool ends_at_once; /* done() when the response is complete */
};

static void on_head(struct http_stream *st, struct message *m)
{
	struct fixture *f = st->owner;

	f->heads++;
	f->status = m->status;
}

static void on_body(struct http_stream *st, struct slice data)
{
	struct fixture *f = st->owner;

	strbuf_add(&f->body, data.ptr, data.len);
	slice_put(&data);
}

static void on_end(struct http_stream *st, struct headers *trailers)
{
	struct fixture *f = st->owner;

	(void)trailers;
	f->ends++;
	if (f->ends_at_once) {
		f->st = NULL;
		http_stream_done(st);
	}
}

static void on_sent(struct http_stream *st)
{
	(void)st;
}

static void on_fail(struct http_stream *st, const struct session_failure *failure)
{
	struct fixture *f = st->owner;

	f->fails++;
	f->failure = *failure;
	f->st = NULL;
	http_stream_reset(st);
}

static const struct http_stream_events events = { on_head, on_body, on_end, on_sent, on_fail };

static void on_release(struct client_pool *p, unsigned count)
{
	(void)count;
	((struct fixture *)p->owner)->releases++;
}

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;
	socklen_t len = sizeof(f->addr.in);

	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	client_pool_init(&f->pool, f->loop);
	f->pool.on_release = on_release;
	f->pool.owner = f;
	f->settings = (struct client_settings){
		.connect_timeout_ms = 500,
		.read_timeout_ms = 60,
		.write_timeout_ms = 60,
		.idle_timeout_ms = 5000,
		.max_idle = 1,
	};
	arena_init(&f->arena, 4096);
	strbuf_init(&f->body);
	f->ends_at_once = true;
	f->origin_fd = -1;
	f->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(addr_parse(SPAN("127.0.0.1:0"), &f->addr), 0);
	assert_int_equal(bind(f->listen_fd, &f->addr.sa, f->addr.len), 0);
	assert_int_equal(listen(f->listen_fd, 8), 0);
	assert_int_equal(getsockname(f->listen_fd, &f->addr.sa, &len), 0);
	assert_int_equal(fcntl(f->listen_fd, F_SETFL, O_NONBLOCK), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->st)
		http_stream_reset(f->st);
	client_pool_close(&f->pool);
	for (int i = 0; i < 200 && f->pool.open_count > 0; i++)
		loop_turn(f->loop, 5);
	client_pool_fini(&f->pool);
	close(f->listen_fd);
	if (f->origin_fd >= 0)
		close(f->origin_fd);
	strbuf_fini(&f->body);
	arena_fini(&f->arena);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		loop_turn(f->loop, 2);
}

/* Turn until *what reaches `value`. */
static void turn_until(struct fixture *f, const unsigned *what, unsigned value)
{
	for (int i = 0; i < 400 && *what < value; i++)
		loop_turn(f->loop, 5);
	assert_int_equal(*what, value);
}

static void ask(struct fixture *f)
{
	struct message m;
	int err = 0;

	f->st = client_open(&f->pool, &f->addr, &f->settings, false, &f->arena, &err);
	assert_non_null(f->st);
	f->st->owner = f;
	f->st->events = &events;
	message_init(&m, &f->arena);
	m.method = METHOD_GET;
	m.method_name = SPAN("GET");
	m.authority = SPAN("origin");
	m.path = SPAN("/x");
	m.wants_keep_alive = true;
	http_stream_send_head(f->st, &m);
	http_stream_send_end(f->st, NULL);
	http_stream_credit(f->st, 65536);
}

static void origin_accept(struct fixture *f)
{
	for (int i = 0; i < 400; i++) {
		f->origin_fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (f->origin_fd >= 0)
			break;
		loop_turn(f->loop, 5);
	}
	assert_true(f->origin_fd >= 0);
}

/* Wait for a request and return what came, NUL-terminated. */
static void origin_read(struct fixture *f, char *buf, size_t size)
{
	size_t len = 0;

	for (int i = 0; i < 400; i++) {
		ssize_t n = recv(f->origin_fd, buf + len, size - 1 - len, MSG_DONTWAIT);

		if (n > 0)
			len += (size_t)n;
		buf[len] = 0;
		if (strstr(buf, "\r\n\r\n"))
			return;
		loop_turn(f->loop, 5);
	}
	fail_msg("no request came");
}

static void origin_say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->origin_fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void exchange_once(struct fixture *f)
{
	char request[1024];

	ask(f);
	if (f->origin_fd < 0)
		origin_accept(f);
	origin_read(f, request, sizeof(request));
	assert_ptr_equal(strstr(request, "GET /x HTTP/1.1\r\n"), request);
	origin_say(f, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	turn_until(f, &f->ends, f->heads ? f->heads : 1);
}

static void test_connection_is_kept_and_reused(void **state)
{
	struct fixture *f = *state;

	exchange_once(f);
	assert_string_equal(f->body.ptr, "hi");
	assert_int_equal(f->pool.idle_count, 1);
	ask(f);
	assert_true(http_stream_is_reused(f->st));
	assert_int_equal(f->pool.idle_count, 0);
	{
		char request[1024];

		origin_read(f, request, sizeof(request));
	}
	origin_say(f, "HTTP/1.1 204 No Content\r\n\r\n");
	turn_until(f, &f->ends, 2);
	assert_int_equal(f->status, 204);
	assert_int_equal(f->pool.connected, 1);
	assert_true(f->releases >= 1);
}

static void test_closed_idle_connection_is_never_picked(void **state)
{
	struct fixture *f = *state;

	exchange_once(f);
	close(f->origin_fd);
	f->origin_fd = -1;
	for (int i = 0; i < 200 && f->pool.open_count > 0; i++)
		loop_turn(f->loop, 5);
	assert_int_equal(f->pool.open_count, 0);
	exchange_once(f);
	assert_int_equal(f->pool.connected, 2);
}

static void test_origin_that_speaks_unasked_is_dropped(void **state)
{
	struct fixture *f = *state;

	exchange_once(f);
	origin_say(f, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	for (int i = 0; i < 200 && f->pool.open_count > 0; i++)
		loop_turn(f->loop, 5);
	assert_int_equal(f->pool.open_count, 0);
	assert_int_equal(f->heads, 1);
}

static void test_end_before_an_answer_on_a_reused_connection_is_stale(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	exchange_once(f);
	ask(f);
	origin_read(f, request, sizeof(request));
	close(f->origin_fd);
	f->origin_fd = -1;
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_STALE);
}

static void test_end_before_an_answer_on_a_new_connection_is_eof(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	close(f->origin_fd);
	f->origin_fd = -1;
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_EOF);
}

static void test_refused_connect_fails(void **state)
{
	struct fixture *f = *state;

	f->listen_fd = port_hold(f->listen_fd);
	ask(f);
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_CONNECT);
	assert_int_equal(f->failure.err, -ECONNREFUSED);
}

static void test_body_that_stops_is_a_read_timeout(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_BODY_TIMEOUT);
	assert_int_equal(f->heads, 1);
}

static void test_truncated_body_is_eof_and_not_kept(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
	shutdown(f->origin_fd, SHUT_WR);
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_EOF);
	turns(f, 5);
	assert_int_equal(f->pool.idle_count, 0);
}

static void test_garbage_is_malformed(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "hello there\r\n\r\n");
	turn_until(f, &f->fails, 1);
	assert_int_equal(f->failure.fault, SESSION_FAULT_MALFORMED);
}

static void test_interim_responses_come_before_the_final_one(void **state)
{
	struct fixture *f = *state;
	char request[1024];

	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	turn_until(f, &f->ends, 1);
	assert_int_equal(f->heads, 2);
	assert_int_equal(f->status, 200);
	assert_int_equal(f->pool.idle_count, 1);
}

static void test_request_limit_ends_reuse(void **state)
{
	struct fixture *f = *state;

	f->settings.max_requests = 1;
	exchange_once(f);
	for (int i = 0; i < 200 && f->pool.open_count > 0; i++)
		loop_turn(f->loop, 5);
	assert_int_equal(f->pool.open_count, 0);
}

static void test_idle_timeout_closes(void **state)
{
	struct fixture *f = *state;

	f->settings.idle_timeout_ms = 30;
	exchange_once(f);
	assert_int_equal(f->pool.idle_count, 1);
	for (int i = 0; i < 200 && f->pool.open_count > 0; i++)
		loop_turn(f->loop, 5);
	assert_int_equal(f->pool.open_count, 0);
}

static void test_body_waits_for_credit(void **state)
{
	struct fixture *f = *state;
	struct message m;
	char request[1024];
	int err;

	f->settings.read_timeout_ms = 5000;
	f->st = client_open(&f->pool, &f->addr, &f->settings, false, &f->arena, &err);
	f->st->owner = f;
	f->st->events = &events;
	message_init(&m, &f->arena);
	m.method = METHOD_GET;
	m.method_name = SPAN("GET");
	m.authority = SPAN("origin");
	m.path = SPAN("/x");
	m.wants_keep_alive = true;
	http_stream_send_head(f->st, &m);
	http_stream_send_end(f->st, NULL);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
	turn_until(f, &f->heads, 1);
	turns(f, 5);
	assert_int_equal(f->body.len, 0);
	http_stream_credit(f->st, 10);
	turn_until(f, &f->ends, 1);
	assert_string_equal(f->body.ptr, "hi");
}

/* What its owner has no room for may stay long: it must leave the buffers that all connections share. */
static void test_input_without_credit_pins_no_receive_buffer(void **state)
{
	struct fixture *f = *state;
	char request[1024], chunk[1024];
	struct loop_gauges g;

	f->settings.read_timeout_ms = 5000;
	ask(f);
	origin_accept(f);
	origin_read(f, request, sizeof(request));
	origin_say(f, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	turn_until(f, &f->heads, 1);
	memset(chunk, 'x', sizeof(chunk));
	memcpy(chunk, "3f9\r\n", 5); /* 1017 bytes, and two that end them */
	memcpy(chunk + 1022, "\r\n", 2);
	for (int i = 0; i < 80; i++)
		assert_int_equal(send(f->origin_fd, chunk, sizeof(chunk), MSG_NOSIGNAL), sizeof(chunk));
	turns(f, 10);
	assert_in_range(f->body.len, 65536, 65536 + 1017);
	loop_gauges(f->loop, &g);
	assert_int_equal(g.buffers_pinned[LOOP_BUFFERS_LARGE], 0);
	assert_int_equal(g.buffers_pinned[LOOP_BUFFERS_SMALL], 0);
}

static void on_last_release(struct client_pool *p, unsigned count)
{
	if (p->open_count > 0 || count == 0)
		return;
	client_pool_fini(p);
	memset(p, 0xa5, sizeof(*p)); /* as if it were freed */
}

static void test_pool_may_end_with_its_last_release(void **state)
{
	struct fixture *f = *state;
	const uint8_t *bytes = (const uint8_t *)&f->pool;

	f->pool.on_release = on_last_release;
	f->pool.owner = NULL;
	ask(f);
	origin_accept(f);
	http_stream_reset(f->st);
	f->st = NULL;
	turns(f, 10);
	for (size_t i = 0; i < sizeof(f->pool); i++)
		assert_int_equal(bytes[i], 0xa5);
	client_pool_init(&f->pool, f->loop);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_connection_is_kept_and_reused),
		T(test_closed_idle_connection_is_never_picked),
		T(test_origin_that_speaks_unasked_is_dropped),
		T(test_end_before_an_answer_on_a_reused_connection_is_stale),
		T(test_end_before_an_answer_on_a_new_connection_is_eof),
		T(test_refused_connect_fails),
		T(test_body_that_stops_is_a_read_timeout),
		T(test_truncated_body_is_eof_and_not_kept),
		T(test_garbage_is_malformed),
		T(test_interim_responses_come_before_the_final_one),
		T(test_request_limit_ends_reuse),
		T(test_idle_timeout_closes),
		T(test_body_waits_for_credit),
		T(test_input_without_credit_pins_no_receive_buffer),
		T(test_pool_may_end_with_its_last_release),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
