/* SPDX-License-Identifier: GPL-2.0-only */
/* test_client_h2.c - HTTP/2 connections to origins, against an nghttp2 server that the test plays. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "callers.h"
#include "h2_origin.h"
#include "lib/port_hold.h"

#define ORIGINS 4

struct fixture {
	struct calls k;
	struct h2_origin origins[ORIGINS];
	unsigned origin_count;
	uint32_t streams_max; /* of origins that are accepted */
	bool allows_connect, is_deaf, holds_windows;
};

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));

	calls_init(&f->k, CLIENT_HTTP2);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	calls_fini(&f->k);
	for (unsigned i = 0; i < f->origin_count; i++)
		h2_origin_close_all(&f->origins[i]);
	test_free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	int fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		assert_true(f->origin_count < ORIGINS);
		h2_origin_open(&f->origins[f->origin_count], fd, f->streams_max, f->allows_connect);
		f->origins[f->origin_count++].holds_windows = f->holds_windows;
	}
	for (unsigned i = 0; i < f->origin_count && !f->is_deaf; i++)
		h2_origin_turn(&f->origins[i]);
	loop_turn(f->k.loop, 2);
}

#define TURN_UNTIL(f, condition)										\
	do {													\
		bool is_so_ = (condition);									\
														\
		for (int turns_ = 0; turns_ < 1500 && !is_so_; turns_++) {					\
			turn(f);										\
			is_so_ = (condition);									\
		}												\
		if (!is_so_)											\
			fail_msg("never came: %s", #condition);							\
	} while (0)

static void turns(struct fixture *f, int n)
{
	while (n-- > 0)
		turn(f);
}

static void answer_all(struct fixture *f, struct h2_origin *o)
{
	for (unsigned i = 0; i < o->request_count; i++)
		if (o->requests[i].is_ended && !o->requests[i].is_closed && !o->requests[i].ends)
			h2_origin_answer(o, &o->requests[i], "200", 3, true);
	(void)f;
}

static void test_requests_share_a_connection(void **state)
{
	struct fixture *f = *state;
	struct h2_origin *o = &f->origins[0];

	for (int i = 0; i < 20; i++)
		call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 20);
	assert_int_equal(f->k.pool.connected, 1);
	assert_int_equal(f->k.pool.reused, 19);
	assert_string_equal(o->requests[7].path, "/a");
	answer_all(f, o);
	TURN_UNTIL(f, f->k.ends == 20);
	assert_int_equal(f->k.callers[3]->status, 200);
	assert_string_equal(f->k.callers[3]->text, "ooo");
	assert_int_equal(f->k.pool.idle_count, 1);
	assert_int_equal(f->k.pool.open_count, 1);
	assert_false(http_stream_is_reused(call(&f->k, "/b")->st) == false);
	assert_int_equal(f->k.pool.idle_count, 0);
	assert_true(f->k.releases > 0);
}

static void test_streams_run_out_and_another_connection_is_opened(void **state)
{
	struct fixture *f = *state;

	f->k.settings.h2_streams_max = 2;
	for (int i = 0; i < 5; i++)
		call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 3 && f->origins[2].ended == 1);
	assert_int_equal(f->origins[0].ended, 2);
	assert_int_equal(f->origins[1].ended, 2);
	f->k.settings.max_connections = 3;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_SHARED);
	call(&f->k, "/a");
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NONE);
	answer_all(f, &f->origins[1]);
	TURN_UNTIL(f, f->k.ends == 2);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_SHARED);
}

static void test_peers_limit_is_obeyed(void **state)
{
	struct fixture *f = *state;

	f->streams_max = 1;
	call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 1 && f->origins[0].ended == 1);
	turns(f, 5);
	call(&f->k, "/b");
	assert_int_equal(f->k.pool.open_count, 2);
	call(&f->k, "/c"); /* the second one's settings are not known, but what they will be is */
	assert_int_equal(f->k.pool.open_count, 3);
	TURN_UNTIL(f, f->origin_count == 3 && f->origins[1].ended == 1 && f->origins[2].ended == 1);
	assert_int_equal(f->origins[0].ended, 1);
}

static void test_body_goes_up_and_trailers_come_down(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *o = &f->origins[0];
	struct headers trailers;

	call_send(c, "POST", "/up", false);
	for (int i = 0; i < 20; i++)
		call_send_bytes(c, 30000);
	headers_init(&trailers, &c->arena);
	headers_add_name(&trailers, SPAN("x-sum"), SPAN("1234"));
	http_stream_send_end(c->st, &trailers);
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	assert_int_equal(o->requests[0].bytes, 600000);
	assert_string_equal(o->requests[0].trailer, "1234");
	assert_int_equal(http_stream_queued(c->st), 0);
	assert_true(c->sents > 0);
	o->requests[0].has_trailers = true;
	h2_origin_answer(o, &o->requests[0], "200", 300000, true);
	TURN_UNTIL(f, c->ends == 1);
	assert_int_equal(c->bytes, 300000);
	assert_string_equal(c->trailer, "7");
	assert_int_equal(f->k.pool.idle_count, 1);
}

static void test_body_waits_for_credit(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false), *other;
	struct h2_origin *o = &f->origins[0];

	c->gives_no_credit = true;
	f->k.settings.read_timeout_ms = 30000;
	call_send(c, "GET", "/slow", true); /* 65,536 bytes of credit */
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	h2_origin_answer(o, &o->requests[0], "200", 400000, true);
	TURN_UNTIL(f, c->bytes == 65536);
	other = call(&f->k, "/fast");
	TURN_UNTIL(f, o->ended == 2);
	h2_origin_answer(o, &o->requests[1], "200", 200000, true);
	TURN_UNTIL(f, other->ends == 1);
	turns(f, 10);
	assert_int_equal(c->bytes, 65536);
	c->gives_no_credit = false;
	http_stream_credit(c->st, 65536);
	TURN_UNTIL(f, c->ends == 1);
	assert_int_equal(c->bytes, 400000);
}

static void test_interim_answers_come_first(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	h2_origin_interim(o, &o->requests[0], "103");
	h2_origin_answer(o, &o->requests[0], "204", 0, true);
	TURN_UNTIL(f, c->ends == 1);
	assert_int_equal(c->interims, 1);
	assert_int_equal(c->status, 204);
}

static void test_goaway_lets_streams_end_and_refuses_later_ones(void **state)
{
	struct fixture *f = *state;
	struct caller *first = call(&f->k, "/1"), *second = call(&f->k, "/2");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 2);
	h2_origin_goaway(o, o->requests[0].id);
	TURN_UNTIL(f, second->fails == 1);
	assert_int_equal(second->failure.fault, SESSION_FAULT_GOAWAY);
	assert_int_equal(first->fails, 0);
	call(&f->k, "/3");
	TURN_UNTIL(f, f->origin_count == 2 && f->origins[1].ended == 1);
	h2_origin_answer(o, &o->requests[0], "200", 5, true);
	TURN_UNTIL(f, first->ends == 1);
	TURN_UNTIL(f, o->is_eof);
	assert_int_equal(f->k.pool.open_count, 1);
}

static void test_refused_stream(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	h2_origin_reset(o, &o->requests[0], NGHTTP2_REFUSED_STREAM);
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_REFUSED);
	assert_int_equal(f->k.pool.idle_count, 1); /* the connection is as good as before */
}

static void test_reset_by_the_origin(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	h2_origin_answer(o, &o->requests[0], "200", 10, false);
	TURN_UNTIL(f, c->bytes == 10);
	h2_origin_reset(o, &o->requests[0], NGHTTP2_CANCEL);
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_RESET);
	assert_int_equal(c->failure.h2_error, NGHTTP2_CANCEL);
	assert_int_equal(f->k.pool.idle_count, 1);
}

static void test_reset_by_the_owner_reaches_the_origin(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *o = &f->origins[0];

	call_send(c, "POST", "/a", false);
	call_say(c, "hello");
	TURN_UNTIL(f, f->origin_count == 1 && o->request_count == 1 && o->requests[0].bytes == 5);
	assert_true(http_stream_has_written(c->st));
	caller_leave(c, false);
	TURN_UNTIL(f, o->closed == 1);
	assert_int_equal(o->requests[0].error, NGHTTP2_CANCEL);
	assert_int_equal(f->k.pool.idle_count, 1);
}

static void test_streaming_both_ways(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *o = &f->origins[0];

	assert_true(c->st->is_duplex);
	call_send(c, "POST", "/chat", false);
	TURN_UNTIL(f, f->origin_count == 1 && o->request_count == 1 && o->requests[0].has_head);
	h2_origin_answer(o, &o->requests[0], "200", 4, false);
	TURN_UNTIL(f, c->bytes == 4);
	call_say(c, "one");
	TURN_UNTIL(f, o->requests[0].bytes == 3);
	h2_origin_more(o, &o->requests[0], 6, false);
	TURN_UNTIL(f, c->bytes == 10);
	call_say(c, "two");
	http_stream_send_end(c->st, NULL);
	TURN_UNTIL(f, o->requests[0].is_ended);
	assert_int_equal(o->requests[0].bytes, 6);
	o->requests[0].has_trailers = true;
	h2_origin_more(o, &o->requests[0], 1, true);
	TURN_UNTIL(f, c->ends == 1);
	assert_string_equal(c->trailer, "7");
}

/* RFC 9113 8.1: a complete answer, and RST_STREAM(NO_ERROR) for the rest of the request. */
static void test_early_answer_is_an_answer(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *o = &f->origins[0];

	f->holds_windows = true;
	call_send(c, "POST", "/big", false);
	call_send_bytes(c, 200000);
	TURN_UNTIL(f, f->origin_count == 1 && o->request_count == 1 && o->requests[0].bytes > 60000);
	h2_origin_answer(o, &o->requests[0], "413", 3, true);
	h2_origin_reset(o, &o->requests[0], NGHTTP2_NO_ERROR);
	TURN_UNTIL(f, c->ends == 1);
	assert_int_equal(c->status, 413);
	assert_int_equal(c->bytes, 3);
	assert_int_equal(c->fails, 0);
	turns(f, 5);
	assert_int_equal(f->k.pool.idle_count, 1);
	call(&f->k, "/next");
	TURN_UNTIL(f, o->ended == 1);
	assert_int_equal(f->origin_count, 1);
}

static void test_silent_peer_is_pinged_and_given_up(void **state)
{
	struct fixture *f = *state;
	struct caller *c;
	struct h2_origin *o = &f->origins[0];

	f->k.settings.h2_ping_interval_ms = 40;
	c = call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 1 && o->pings >= 3); /* answered by nghttp2 */
	assert_int_equal(c->fails, 0);
	f->is_deaf = true;
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_PING_TIMEOUT);
	TURN_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_body_that_stops_is_a_read_timeout(void **state)
{
	struct fixture *f = *state;
	struct caller *c, *other;
	struct h2_origin *o = &f->origins[0];

	f->k.settings.read_timeout_ms = 60;
	c = call(&f->k, "/a");
	f->k.settings.read_timeout_ms = 20000;
	other = call(&f->k, "/b");
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 2);
	h2_origin_answer(o, &o->requests[0], "200", 10, false);
	h2_origin_answer(o, &o->requests[1], "200", 10, false);
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_BODY_TIMEOUT);
	assert_int_equal(other->fails, 0);
	TURN_UNTIL(f, o->closed == 1);
	assert_int_equal(o->requests[0].error, NGHTTP2_CANCEL);
}

/* Its socket takes nothing any more, not even our goodbye. */
static void test_connection_that_is_given_up_does_not_wait_for_ever(void **state)
{
	struct fixture *f = *state;
	const int small = 2048;
	struct caller *c;

	assert_int_equal(setsockopt(f->k.listen_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	f->k.settings.h2_ping_interval_ms = 40;
	f->k.settings.write_timeout_ms = 60000;
	c = call_open(&f->k, false);
	assert_int_equal(setsockopt(stream_fd(http_stream_transport(c->st)), SOL_SOCKET, SO_SNDBUF, &small,
				    sizeof(small)), 0);
	call_send(c, "POST", "/a", false);
	call_send_bytes(c, 60000);
	for (int i = 0; i < 1000 && c->fails == 0; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(c->failure.fault, SESSION_FAULT_PING_TIMEOUT);
	for (int i = 0; i < 400 && f->k.pool.open_count > 0; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(f->k.pool.open_count, 0);
}

static void test_body_that_nobody_reads_is_a_write_timeout(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false), *other;
	struct h2_origin *o = &f->origins[0];

	caller_leave(c, false);
	turns(f, 3);
	f->holds_windows = true;
	f->k.settings.write_timeout_ms = 80;
	c = call_open(&f->k, false);
	call_send(c, "POST", "/stuck", false);
	call_send_bytes(c, 100000);
	TURN_UNTIL(f, f->origin_count > 0 && f->origins[f->origin_count - 1].request_count == 1);
	o = &f->origins[f->origin_count - 1];
	assert_true(http_stream_queued(c->st) > 0);
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_WRITE_TIMEOUT);
	other = call(&f->k, "/b"); /* the connection lives on */
	TURN_UNTIL(f, o->ended == 1);
	assert_int_equal(other->fails, 0);
}

static void test_socket_that_nobody_reads_ends_the_connection(void **state)
{
	struct fixture *f = *state;
	struct caller *c;

	f->k.settings.write_timeout_ms = 100;
	c = call_open(&f->k, false);
	call_send(c, "GET", "/a", true);
	TURN_UNTIL(f, f->origin_count == 1 && f->origins[0].ended == 1);
	f->is_deaf = true;
	for (int i = 0; i < 60 && c->fails == 0; i++) { /* fill the socket with heads of requests */
		struct caller *more = call_open(&f->k, false);

		if (!more->st)
			break;
		call_send(more, "POST", "/b", false);
		call_send_bytes(more, 65000);
		turn(f);
	}
	TURN_UNTIL(f, f->k.fails > 0);
}

static void test_end_of_the_connection(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a"), *whole;
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	whole = call_open(&f->k, false);
	whole->gives_no_credit = true;
	call_send(whole, "GET", "/b", true);
	TURN_UNTIL(f, o->ended == 2);
	assert_true(http_stream_is_reused(whole->st));
	h2_origin_answer(o, &o->requests[0], "200", 4, false);
	h2_origin_answer(o, &o->requests[1], "200", 65600, true);
	for (int i = 0; i < 50; i++)
		h2_origin_turn(o), turn(f);
	assert_int_equal(whole->bytes, 65536);
	close(o->fd);
	o->fd = -1;
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_EOF);
	/* An answer that had come wholly is delivered as its owner can take it. */
	assert_int_equal(whole->fails, 0);
	http_stream_credit(whole->st, 100);
	TURN_UNTIL(f, whole->ends == 1);
	assert_int_equal(whole->bytes, 65600);
	TURN_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_end_before_a_word_on_an_old_connection_is_stale(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	answer_all(f, o);
	TURN_UNTIL(f, c->ends == 1);
	turns(f, 5);
	close(o->fd);
	o->fd = -1;
	c = call(&f->k, "/b"); /* the end is not seen yet */
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_STALE);
}

static void test_closed_idle_connection_is_never_picked(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	struct h2_origin *o = &f->origins[0];

	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	answer_all(f, o);
	TURN_UNTIL(f, c->ends == 1);
	assert_int_equal(f->k.pool.idle_count, 1);
	close(o->fd);
	o->fd = -1;
	TURN_UNTIL(f, f->k.pool.open_count == 0);
	call(&f->k, "/b");
	TURN_UNTIL(f, f->origin_count == 2 && f->origins[1].ended == 1);
}

static void test_idle_connection_says_goodbye(void **state)
{
	struct fixture *f = *state;
	struct caller *c;
	struct h2_origin *o = &f->origins[0];

	f->k.settings.idle_timeout_ms = 50;
	c = call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	answer_all(f, o);
	TURN_UNTIL(f, c->ends == 1);
	TURN_UNTIL(f, o->is_eof);
	assert_int_equal(o->goaways, 1);
	assert_int_equal(f->k.pool.open_count, 0);
}

static void test_requests_of_a_connection_are_bounded(void **state)
{
	struct fixture *f = *state;

	f->k.settings.max_requests = 2;
	for (int i = 0; i < 3; i++)
		call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 2 && f->origins[1].ended == 1);
	assert_int_equal(f->origins[0].ended, 2);
	answer_all(f, &f->origins[0]);
	TURN_UNTIL(f, f->origins[0].is_eof);
}

static void test_lifetime_of_a_connection_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct h2_origin *o = &f->origins[0];

	f->k.settings.max_lifetime_ms = 2000;
	f->k.settings.read_timeout_ms = 30000;
	call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 1 && o->ended == 1);
	answer_all(f, o);
	TURN_UNTIL(f, f->k.ends == 1);
	call(&f->k, "/b");
	TURN_UNTIL(f, o->ended == 2);
	assert_int_equal(f->origin_count, 1);
	steady_pass(2000);
	turn(f);
	call(&f->k, "/late"); /* the other one still is busy */
	TURN_UNTIL(f, f->origin_count == 2 && f->origins[1].ended == 1);
	answer_all(f, o);
	TURN_UNTIL(f, o->is_eof);
	answer_all(f, &f->origins[1]);
	TURN_UNTIL(f, f->origins[1].is_eof); /* long before the idle time-out */
}

static void test_private_connection_begins_with_its_preface_and_serves_one(void **state)
{
	struct fixture *f = *state;
	struct caller *c;
	char line[32] = "";
	int fd = -1;

	f->k.settings.preface = SPAN("PROXY UNKNOWN\r\n");
	c = call(&f->k, "/a");
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		loop_turn(f->k.loop, 5);
	}
	assert_true(fd >= 0);
	assert_int_equal(recv(fd, line, 15, MSG_WAITALL), 15);
	assert_string_equal(line, "PROXY UNKNOWN\r\n");
	h2_origin_open(&f->origins[f->origin_count++], fd, 0, false);
	TURN_UNTIL(f, f->origins[0].ended == 1);
	f->k.settings.preface = (struct span){0};
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
	answer_all(f, &f->origins[0]);
	TURN_UNTIL(f, c->ends == 1);
	TURN_UNTIL(f, f->k.pool.open_count == 0);
}

static void test_connection_that_was_not_heard_of_counts_as_new(void **state)
{
	struct fixture *f = *state;

	call(&f->k, "/a");
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, true), CLIENT_ROOM_SHARED);
	TURN_UNTIL(f, f->origin_count == 1 && f->origins[0].ended == 1);
	turns(f, 5);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, true), CLIENT_ROOM_NEW);
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_SHARED);
	f->k.settings.protocol = CLIENT_HTTP1;
	assert_int_equal(client_pool_room(&f->k.pool, &f->k.settings, false), CLIENT_ROOM_NEW);
}

static void test_refused_connect_fails_all(void **state)
{
	struct fixture *f = *state;

	f->k.listen_fd = port_hold(f->k.listen_fd);
	call(&f->k, "/a");
	call(&f->k, "/b");
	for (int i = 0; i < 200 && f->k.fails < 2; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(f->k.callers[0]->failure.fault, SESSION_FAULT_CONNECT);
	assert_int_equal(f->k.callers[1]->failure.err, -ECONNREFUSED);
	assert_int_equal(f->k.pool.connected, 1);
}

static void test_peer_that_speaks_something_else(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call(&f->k, "/a");
	int fd = -1;

	for (int i = 0; i < 200 && fd < 0; i++) {
		fd = accept4(f->k.listen_fd, NULL, NULL, SOCK_CLOEXEC);
		loop_turn(f->k.loop, 5);
	}
	assert_int_equal(send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL), 28);
	for (int i = 0; i < 200 && c->fails == 0; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(c->failure.fault, SESSION_FAULT_MALFORMED);
	for (int i = 0; i < 400 && f->k.pool.open_count > 0; i++)
		loop_turn(f->k.loop, 5);
	assert_int_equal(f->k.pool.open_count, 0);
	close(fd);
}

static void websocket(struct caller *c)
{
	struct message *m = &c->request;

	message_init(m, &c->arena);
	m->method = METHOD_GET;
	m->method_name = SPAN("GET");
	m->scheme = SPAN("http");
	m->authority = SPAN("origin");
	m->path = SPAN("/ws");
	m->upgrade = SPAN("websocket");
	headers_add_name(&m->headers, SPAN("sec-websocket-key"), SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
	http_stream_send_head(c->st, m);
	http_stream_send_end(c->st, NULL);
	http_stream_credit(c->st, 65536);
}

static void test_websocket_is_a_tunnel(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);
	struct h2_origin *o = &f->origins[0];

	c->stays = true;
	f->allows_connect = true;
	websocket(c); /* waits for the peer's SETTINGS */
	assert_true(http_stream_queued(c->st) > 0);
	TURN_UNTIL(f, f->origin_count == 1 && o->request_count == 1 && o->requests[0].has_head);
	assert_string_equal(o->requests[0].method, "CONNECT");
	assert_string_equal(o->requests[0].protocol, "websocket");
	h2_origin_answer(o, &o->requests[0], "200", 5, false);
	TURN_UNTIL(f, c->heads == 1);
	assert_int_equal(c->status, 101);
	assert_int_equal(c->framing, BODY_TUNNEL);
	turns(f, 5);
	assert_int_equal(c->bytes, 0); /* credit from before is not for the tunnel */
	http_stream_credit(c->st, 100);
	TURN_UNTIL(f, c->bytes == 5);
	call_say(c, "ping");
	TURN_UNTIL(f, o->requests[0].bytes == 4);
	h2_origin_more(o, &o->requests[0], 1, true);
	TURN_UNTIL(f, c->ends == 1);
	http_stream_send_end(c->st, NULL);
	TURN_UNTIL(f, o->closed == 1);
	caller_leave(c, true);
	assert_int_equal(f->k.pool.idle_count, 1);
}

static void test_websocket_without_extended_connect_fails(void **state)
{
	struct fixture *f = *state;
	struct caller *c = call_open(&f->k, false);

	websocket(c);
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(c->failure.fault, SESSION_FAULT_UPGRADE);
	c = call_open(&f->k, false);
	websocket(c); /* now it is known */
	TURN_UNTIL(f, c->fails == 1);
	assert_int_equal(f->origins[0].request_count, 0);
}

static void test_idle_ones_are_bounded(void **state)
{
	struct fixture *f = *state;

	f->k.settings.h2_streams_max = 1;
	f->k.settings.max_idle = 1;
	for (int i = 0; i < 3; i++)
		call(&f->k, "/a");
	TURN_UNTIL(f, f->origin_count == 3 && f->origins[2].ended == 1 && f->origins[1].ended == 1 &&
			      f->origins[0].ended == 1);
	for (int i = 0; i < 3; i++)
		answer_all(f, &f->origins[i]);
	TURN_UNTIL(f, f->k.ends == 3 && f->k.pool.open_count == 1);
	assert_int_equal(f->k.pool.idle_count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_requests_share_a_connection),
		T(test_streams_run_out_and_another_connection_is_opened),
		T(test_peers_limit_is_obeyed),
		T(test_body_goes_up_and_trailers_come_down),
		T(test_body_waits_for_credit),
		T(test_interim_answers_come_first),
		T(test_goaway_lets_streams_end_and_refuses_later_ones),
		T(test_refused_stream),
		T(test_reset_by_the_origin),
		T(test_reset_by_the_owner_reaches_the_origin),
		T(test_streaming_both_ways),
		T(test_early_answer_is_an_answer),
		T(test_silent_peer_is_pinged_and_given_up),
		T(test_body_that_stops_is_a_read_timeout),
		T(test_connection_that_is_given_up_does_not_wait_for_ever),
		T(test_body_that_nobody_reads_is_a_write_timeout),
		T(test_socket_that_nobody_reads_ends_the_connection),
		T(test_end_of_the_connection),
		T(test_end_before_a_word_on_an_old_connection_is_stale),
		T(test_closed_idle_connection_is_never_picked),
		T(test_idle_connection_says_goodbye),
		T(test_requests_of_a_connection_are_bounded),
		T(test_lifetime_of_a_connection_is_bounded),
		T(test_private_connection_begins_with_its_preface_and_serves_one),
		T(test_connection_that_was_not_heard_of_counts_as_new),
		T(test_refused_connect_fails_all),
		T(test_peer_that_speaks_something_else),
		T(test_websocket_is_a_tunnel),
		T(test_websocket_without_extended_connect_fails),
		T(test_idle_ones_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
