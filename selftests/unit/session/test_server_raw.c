/* SPDX-License-Identifier: GPL-2.0-only */
/* test_server_raw.c - server sessions without a protocol, on a socket pair. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/session/owners.h"

struct fixture {
	struct loop *loop;
	struct owners o;
	int fd; /* the client's end */
	char got[4096];
	size_t got_len, got_all;
	bool is_eof, is_reset;
};

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	owners_init(&f->o, f->loop, 2);
	f->o.settings.protocol = SERVER_TCP;
	f->fd = -1;
	*state = f;
	return 0;
}

static bool is_closed(struct fixture *f)
{
	return server_session_count(&f->o.host) == 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->fd);
	for (int i = 0; i < 1000 && !is_closed(f); i++)
		loop_turn(f->loop, 5);
	owners_fini(&f->o);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

/* A connection with bytes that were read before, and the name that was found in them. */
static void open_raw(struct fixture *f, const char *first, const char *name)
{
	static const struct stream_events none;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->fd = pair[0];
	server_raw_open(&f->o.host, 1, stream_open(f->loop, pair[1], NULL, &none, NULL),
			slice_copy(first, (uint32_t)strlen(first)), span_str(name));
}

static void turn(struct fixture *f)
{
	ssize_t n;

	loop_turn(f->loop, 2);
	while ((n = recv(f->fd, f->got + f->got_len, sizeof(f->got) - 1 - f->got_len, MSG_DONTWAIT)) > 0) {
		f->got_all += (size_t)n;
		f->got_len = MIN(f->got_len + (size_t)n, sizeof(f->got) / 2);
	}
	f->is_eof |= n == 0;
	f->is_reset |= n < 0 && errno == ECONNRESET;
}

#define TURN_UNTIL(f, condition)                                                   \
	do {                                                                       \
		int turns_left_ = 3000;                                            \
		while (!(condition) && turns_left_-- > 0)                          \
			turn(f);                                                   \
		if (!(condition))                                                  \
			fail_msg("line %d: never came: %s", __LINE__, #condition); \
	} while (0)

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void test_one_request_then_a_tunnel_both_ways(void **state)
{
	struct fixture *f = *state;
	struct request *r;

	open_raw(f, "peeked ", "a.example");
	assert_int_equal(f->o.count, 1);
	r = f->o.requests[0];
	assert_true(r->is_raw);
	assert_string_equal(r->method, "CONNECT");
	assert_string_equal(r->authority, "a.example");
	assert_string_equal(r->path, "");
	say(f, "and sent");
	TURN_UNTIL(f, f->got_all == 15);
	assert_memory_equal(f->got, "peeked and sent", 15);
	shutdown(f->fd, SHUT_WR);
	TURN_UNTIL(f, f->is_eof && is_closed(f));
	assert_int_equal(f->got_all, 15);
	assert_int_equal(f->o.fails, 0);
}

static void test_tcp_is_served_before_the_client_speaks(void **state)
{
	struct fixture *f = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->fd = pair[0];
	owners_accept(&f->o, 1, &f->o.settings, pair[1]);
	assert_int_equal(f->o.count, 1);
	assert_string_equal(f->o.requests[0]->authority, "");
	http_stream_send_body(f->o.requests[0]->st, slice_static("220 hello", 9));
	TURN_UNTIL(f, f->got_all == 9);
	shutdown(f->fd, SHUT_WR);
	TURN_UNTIL(f, is_closed(f));
}

static void test_answer_that_is_no_tunnel_closes_without_a_byte(void **state)
{
	struct fixture *f = *state;

	open_raw(f, "hello", "refused");
	TURN_UNTIL(f, f->is_eof || f->is_reset);
	TURN_UNTIL(f, is_closed(f));
	assert_int_equal(f->got_all, 0);
	assert_int_equal(f->o.count, 1);
}

static void test_bytes_come_only_with_credit(void **state)
{
	struct fixture *f = *state;
	struct request *r;

	f->o.first_credit = 0;
	open_raw(f, "12345", "");
	say(f, "678");
	for (int i = 0; i < 10; i++)
		turn(f);
	r = f->o.requests[0];
	assert_int_equal(r->received, 0);
	http_stream_credit(r->st, 1); /* what was read at once comes at once; the owner gives as much credit again */
	TURN_UNTIL(f, f->got_all == 8);
	assert_memory_equal(f->got, "12345678", 8);
}

/* What was allowed for a request's body is not for the tunnel. */
static void test_credit_of_before_the_tunnel_is_void(void **state)
{
	struct fixture *f = *state;
	struct request *r;

	f->o.waits_raw = true;
	open_raw(f, "123", "");
	r = f->o.requests[0];
	http_stream_credit(r->st, 100);
	r->is_tunnel = true;
	request_head(r, 200, BODY_TUNNEL, 0);
	for (int i = 0; i < 10; i++)
		turn(f);
	assert_int_equal(r->received, 0);
	http_stream_credit(r->st, 100);
	TURN_UNTIL(f, r->received == 3);
	request_leave(r, false);
}

static void test_one_receive_may_exceed_the_credit_no_more(void **state)
{
	struct fixture *f = *state;
	static char block[200000];

	f->o.first_credit = 0;
	open_raw(f, "", "");
	f->o.requests[0]->is_over = true;
	(void)!send(f->fd, block, sizeof(block), MSG_DONTWAIT);
	http_stream_credit(f->o.requests[0]->st, 1);
	for (int i = 0; i < 30; i++)
		turn(f);
	assert_in_range(f->o.requests[0]->received, 1, 65536);
	request_leave(f->o.requests[0], false);
}

/* A connection that can be reset. */
static void open_tcp(struct fixture *f)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
	f->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(f->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	owners_accept(&f->o, 1, &f->o.settings, accept(listener, NULL, NULL));
	close(listener);
}

static void test_client_resets_while_the_owner_decides(void **state)
{
	struct fixture *f = *state;
	const struct linger reset = { 1, 0 };

	f->o.waits_raw = true;
	open_tcp(f);
	for (int i = 0; i < 50; i++)
		turn(f);
	assert_int_equal(f->o.fails, 0);
	assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(f->fd);
	f->fd = -1;
	for (int i = 0; i < 300 && f->o.fails == 0; i++)
		loop_turn(f->loop, 2);
	assert_int_equal(f->o.fails, 1);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_RESET);
}

static void test_origin_that_breaks_resets_the_client(void **state)
{
	struct fixture *f = *state;

	open_tcp(f);
	say(f, "x");
	TURN_UNTIL(f, f->got_all == 1);
	request_leave(f->o.requests[0], false);
	TURN_UNTIL(f, f->is_reset);
	TURN_UNTIL(f, is_closed(f));
}

static void test_end_of_one_side_leaves_the_other(void **state)
{
	struct fixture *f = *state;
	struct request *r;

	open_raw(f, "", "");
	r = f->o.requests[0];
	turn(f);
	http_stream_send_body(r->st, slice_static("bye", 3));
	http_stream_send_end(r->st, NULL);
	r->is_over = true; /* the owner has nothing to echo to any more */
	TURN_UNTIL(f, f->is_eof);
	assert_memory_equal(f->got, "bye", 3);
	say(f, "still here");
	TURN_UNTIL(f, r->received == 10);
	shutdown(f->fd, SHUT_WR);
	TURN_UNTIL(f, is_closed(f));
	assert_int_equal(f->o.fails, 0);
}

static void test_client_that_takes_nothing_is_given_up(void **state)
{
	struct fixture *f = *state;
	static char block[1 << 20];

	f->o.settings.write_idle_timeout_ms = 50;
	open_raw(f, "", "");
	http_stream_send_body(f->o.requests[0]->st, slice_static(block, sizeof(block)));
	for (int i = 0; i < 300 && !is_closed(f); i++)
		loop_turn(f->loop, 2);
	assert_true(is_closed(f));
	assert_int_equal(f->o.last_fault, SESSION_FAULT_WRITE_TIMEOUT);
}

static void test_abort_tells_the_owner(void **state)
{
	struct fixture *f = *state;

	open_raw(f, "x", "");
	TURN_UNTIL(f, f->got_all == 1);
	server_drain(&f->o.host, 0); /* a tunnel is not disturbed by that */
	say(f, "y");
	TURN_UNTIL(f, f->got_all == 2);
	server_abort_all(&f->o.host);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_SHUTDOWN);
	TURN_UNTIL(f, is_closed(f));
	assert_int_equal(f->o.sessions_ended, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_one_request_then_a_tunnel_both_ways),
		T(test_tcp_is_served_before_the_client_speaks),
		T(test_answer_that_is_no_tunnel_closes_without_a_byte),
		T(test_bytes_come_only_with_credit),
		T(test_credit_of_before_the_tunnel_is_void),
		T(test_one_receive_may_exceed_the_credit_no_more),
		T(test_client_resets_while_the_owner_decides),
		T(test_origin_that_breaks_resets_the_client),
		T(test_end_of_one_side_leaves_the_other),
		T(test_client_that_takes_nothing_is_given_up),
		T(test_abort_tells_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
