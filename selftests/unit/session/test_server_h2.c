/* SPDX-License-Identifier: GPL-2.0-only */
/* test_server_h2.c - HTTP/2 server sessions on a socket pair, with a client of nghttp2 and with raw frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "unit/session/h2_client.h"
#include "session/server_h2.h"
#include "unit/session/owners.h"

struct fixture {
	struct loop *loop;
	struct owners o;
	struct h2_client c;
};

static int set_up(void **state)
{
	struct fixture *f = test_calloc(1, sizeof(*f));
	const char *reason;
	int pair[2];

	hash_init();
	assert_int_equal(loop_new(&f->loop, &(struct loop_config){ 0 }, &reason), 0);
	owners_init(&f->o, f->loop, 2);
	f->o.settings.protocol = SERVER_H2C;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	h2_client_init(&f->c, pair[0]);
	owners_accept(&f->o, 1, &f->o.settings, pair[1]);
	*state = f;
	return 0;
}

static void turn(struct fixture *f)
{
	h2_client_turn(&f->c);
	loop_turn(f->loop, 2);
}

static bool is_closed(struct fixture *f)
{
	return server_session_count(&f->o.host) == 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->c.fd);
	f->c.is_eof = true;
	for (int i = 0; i < 1000 && !is_closed(f); i++)
		loop_turn(f->loop, 5);
	owners_fini(&f->o);
	h2_client_fini(&f->c);
	loop_free(f->loop);
	test_free(f);
	return 0;
}

#define TURN_UNTIL(f, condition)                                                      \
	do {                                                                          \
		int turns_left_ = 3000;                                               \
		while (!(condition) && turns_left_-- > 0)                             \
			turn(f);                                                      \
		if (!(condition))                                                     \
			fail_msg("line %d: never came: %s", __LINE__, #condition);    \
	} while (0)

static void turns(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++)
		turn(f);
}

/* ---- requests ---- */

static void test_one_after_another(void **state)
{
	struct fixture *f = *state;
	int32_t a = h2_get(&f->c, "/a"), b;

	TURN_UNTIL(f, h2_answer(&f->c, a)->is_closed);
	b = h2_get(&f->c, "/bcd");
	TURN_UNTIL(f, h2_answer(&f->c, b)->is_closed);
	assert_string_equal(h2_answer(&f->c, a)->text, "/a");
	assert_string_equal(h2_answer(&f->c, b)->text, "/bcd");
	assert_int_equal(h2_answer(&f->c, b)->status, 200);
	assert_int_equal(h2_answer(&f->c, b)->error, 0);
	assert_string_equal(f->o.requests[0]->authority, "x");
	assert_int_equal(f->c.goaways, 0);
	assert_int_equal(f->o.fails, 0);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++)
		h2_get(&f->c, "/size/20000");
	TURN_UNTIL(f, f->c.closed == 100);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(f->c.answers[i].bytes, 20000);
		assert_true(f->c.answers[i].is_ended);
	}
	assert_int_equal(f->o.host.h2_streams.used, 0);
}

/* Sends are counted by the client: one recv() takes all that one send() brought on a socket pair. */
static void test_answers_of_a_turn_leave_together(void **state)
{
	struct fixture *f = *state;
	char buf[65536];
	unsigned received = 0;

	TURN_UNTIL(f, f->c.closed == 0 && f->c.session && nghttp2_session_get_remote_settings(f->c.session, 3) == 100);
	turns(f, 5);
	for (int i = 0; i < 32; i++)
		h2_get(&f->c, "/small");
	h2_client_turn(&f->c);
	for (int i = 0; i < 20; i++) {
		ssize_t n;

		loop_turn(f->loop, 2);
		n = recv(f->c.fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n <= 0)
			continue;
		received++;
		assert_true(nghttp2_session_mem_recv(f->c.session, (uint8_t *)buf, (size_t)n) == n);
		if (f->c.closed > 0)
			break;
	}
	assert_int_equal(f->c.closed, 32);
	assert_int_equal(received, 1);
}

static void test_large_answer_is_sent_with_back_pressure(void **state)
{
	struct fixture *f = *state;
	int32_t a = h2_get(&f->c, "/size/5000000");

	TURN_UNTIL(f, h2_answer(&f->c, a)->is_closed);
	assert_int_equal(h2_answer(&f->c, a)->bytes, 5000000);
	assert_true(f->o.requests[0]->queued_max < 2 * OWNER_WINDOW);
}

static void test_stuck_reader_holds_up_nobody_and_is_reset_alone(void **state)
{
	struct fixture *f = *state;
	int32_t stuck, id = 0;
	unsigned others = 0;

	f->o.settings.write_idle_timeout_ms = 400;
	stuck = h2_get(&f->c, "/size/1000000");
	h2_answer(&f->c, stuck)->is_stuck = true;
	TURN_UNTIL(f, h2_answer(&f->c, stuck)->bytes == 65535);
	while (!h2_answer(&f->c, stuck)->is_closed) {
		id = h2_get(&f->c, "/size/100000");
		TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
		assert_int_equal(h2_answer(&f->c, id)->bytes, 100000);
		others++;
		assert_true(others < 400);
		usleep(2000);
	}
	assert_true(others > 3);
	assert_int_equal(h2_answer(&f->c, stuck)->error, NGHTTP2_CANCEL);
	assert_int_equal(h2_answer(&f->c, stuck)->bytes, 65535);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_WRITE_TIMEOUT);
	assert_int_equal(f->o.fails, 1);
	id = h2_get(&f->c, "/after");
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->status, 200);
}

static void test_slow_reader_is_not_stuck(void **state)
{
	struct fixture *f = *state;
	int32_t slow = h2_get(&f->c, "/size/1000000");

	f->o.settings.write_idle_timeout_ms = 200;
	h2_answer(&f->c, slow)->is_stuck = true;
	TURN_UNTIL(f, h2_answer(&f->c, slow)->bytes == 65535);
	for (int i = 0; i < 12; i++) {
		uint64_t since = loop_now_ms(f->loop);

		nghttp2_submit_window_update(f->c.session, NGHTTP2_FLAG_NONE, slow, 1000);
		while (loop_now_ms(f->loop) - since < 50)
			turn(f);
	}
	assert_int_equal(f->o.fails, 0);
	assert_int_equal(h2_answer(&f->c, slow)->bytes, 65535 + 12000);
	TURN_UNTIL(f, h2_answer(&f->c, slow)->is_closed);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_WRITE_TIMEOUT);
}

/* The owner has left, its last bytes have not: they are watched all the same. */
static void test_bytes_left_behind_are_given_up_too(void **state)
{
	struct fixture *f = *state;
	int32_t stuck;

	f->o.settings.write_idle_timeout_ms = 200;
	stuck = h2_get(&f->c, "/size/100000");
	h2_answer(&f->c, stuck)->is_stuck = true;
	TURN_UNTIL(f, f->o.count == 1 && f->o.open == 0);
	TURN_UNTIL(f, h2_answer(&f->c, stuck)->is_closed);
	assert_int_equal(h2_answer(&f->c, stuck)->error, NGHTTP2_CANCEL);
	assert_int_equal(h2_answer(&f->c, stuck)->bytes, 65535);
	assert_int_equal(f->o.fails, 0);
	TURN_UNTIL(f, f->o.host.h2_streams.used == 0);
	assert_int_equal(f->c.goaways, 0);
}

static unsigned received_all(struct fixture *f, size_t bytes)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->o.count; i++)
		n += f->o.requests[i]->received == bytes;
	return n;
}

static void test_stuck_readers_pin_no_receive_buffers(void **state)
{
	struct fixture *f = *state;
	struct loop_gauges g;
	int32_t id;

	for (int i = 0; i < 40; i++) {
		id = h2_ask(&f->c, "POST", "/echo", 200000, true);
		h2_answer(&f->c, id)->is_stuck = true;
	}
	TURN_UNTIL(f, received_all(f, 200000) == 40);
	loop_gauges(f->loop, &g);
	assert_in_range(g.buffers_pinned[LOOP_BUFFERS_LARGE], 0, 32);
	id = h2_get(&f->c, "/other");
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, 1)->bytes, 65535);
}

static void test_bodies_that_nobody_takes_pin_no_receive_buffers(void **state)
{
	struct fixture *f = *state;
	struct loop_gauges g;
	int32_t id;

	for (int i = 0; i < 90; i++)
		h2_ask(&f->c, "POST", "/hold", 60000, true);
	TURN_UNTIL(f, f->o.count == 90);
	turns(f, 100);
	loop_gauges(f->loop, &g);
	assert_in_range(g.buffers_pinned[LOOP_BUFFERS_LARGE], 0, 32);
	id = h2_ask(&f->c, "POST", "/echo", 100000, true);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->bytes, 100000);
	for (int i = 0; i < 90; i++)
		request_leave(f->o.requests[i], false);
}

/* Every byte is out, and no room for the frame that says so. */
static void test_end_behind_a_full_window_is_given_up_too(void **state)
{
	struct fixture *f = *state;
	struct request *r;
	static char zeros[65535];
	int32_t stuck = h2_get(&f->c, "/hold");

	f->o.settings.write_idle_timeout_ms = 200;
	h2_answer(&f->c, stuck)->is_stuck = true;
	TURN_UNTIL(f, f->o.count == 1);
	r = f->o.requests[0];
	request_head(r, 200, BODY_CHUNKED, 0);
	http_stream_send_body(r->st, slice_static(zeros, sizeof(zeros)));
	TURN_UNTIL(f, h2_answer(&f->c, stuck)->bytes == sizeof(zeros));
	http_stream_send_end(r->st, NULL);
	request_leave(r, true);
	TURN_UNTIL(f, h2_answer(&f->c, stuck)->is_closed);
	assert_int_equal(f->o.host.h2_streams.used, 0);
}

static void test_client_that_reads_nothing_is_cut_off(void **state)
{
	struct fixture *f = *state;
	size_t most = 0;

	f->o.settings.write_idle_timeout_ms = 200;
	for (int i = 0; i < 40; i++)
		h2_get(&f->c, "/size/1000000");
	h2_client_turn(&f->c);
	for (int i = 0; i < 1000 && !is_closed(f); i++) {
		loop_turn(f->loop, 5);
		if (f->o.open > 0)
			most = MAX(most, http_stream_transport(owners_last(&f->o)->st)->queued);
	}
	assert_true(is_closed(f));
	assert_in_range(most, SERVER_H2_QUEUE_MAX / 2, SERVER_H2_QUEUE_MAX + 20000);
	assert_true(f->o.fails > 0);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_WRITE_TIMEOUT);
}

/* ---- request bodies ---- */

static void test_body_comes_only_with_credit(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_ask(&f->c, "POST", "/hold", 3000, true);
	struct request *r;

	TURN_UNTIL(f, f->o.count == 1);
	turns(f, 10);
	r = f->o.requests[0];
	assert_int_equal(r->received, 0);
	http_stream_credit(r->st, 1000);
	turns(f, 5);
	assert_int_equal(r->received, 1000);
	assert_false(r->is_ended);
	http_stream_credit(r->st, 2000);
	TURN_UNTIL(f, r->is_ended);
	assert_int_equal(r->received, 3000);
	request_answer(r);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->error, 0);
}

static void test_stream_without_credit_holds_up_no_other(void **state)
{
	struct fixture *f = *state;
	int32_t held = h2_ask(&f->c, "POST", "/hold", 400000, true), echo;

	TURN_UNTIL(f, f->o.count == 1);
	turns(f, 10);
	echo = h2_ask(&f->c, "POST", "/echo", 300000, true);
	TURN_UNTIL(f, h2_answer(&f->c, echo)->is_closed);
	assert_int_equal(h2_answer(&f->c, echo)->bytes, 300000);
	assert_int_equal(f->o.requests[0]->received, 0);
	assert_false(h2_answer(&f->c, held)->is_closed);
	request_leave(f->o.requests[0], false);
}

static void test_large_body_flows_through(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_ask(&f->c, "POST", "/echo", 3000000, true);

	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->bytes, 3000000);
	assert_true(h2_answer(&f->c, id)->is_ended);
}

static void test_trailers_both_ways(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv trailer[] = { H2_FIELD("x-sum", "42") };
	int32_t id = h2_ask(&f->c, "POST", "/echo", 5, false);

	TURN_UNTIL(f, h2_answer(&f->c, id)->bytes == 5);
	assert_int_equal(nghttp2_submit_trailer(f->c.session, id, trailer, 1), 0);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_string_equal(f->o.requests[0]->trailer, "42");
	assert_string_equal(h2_answer(&f->c, id)->trailer, "42");
}

static void test_early_answer_asks_for_no_more_of_the_body(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_ask(&f->c, "POST", "/early", 100000, false), next;

	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_string_equal(h2_answer(&f->c, id)->text, "/early");
	assert_true(h2_answer(&f->c, id)->is_ended);
	assert_int_equal(h2_answer(&f->c, id)->error, NGHTTP2_NO_ERROR);
	next = h2_get(&f->c, "/next");
	TURN_UNTIL(f, h2_answer(&f->c, next)->is_closed);
	assert_string_equal(h2_answer(&f->c, next)->text, "/next");
}

static void test_continue_comes_with_the_first_credit(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "POST"), H2_FIELD(":scheme", "http"), H2_FIELD(":path", "/hold"),
				H2_FIELD(":authority", "x"), H2_FIELD("expect", "100-continue") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id = nghttp2_submit_request(f->c.session, NULL, fields, 5, &body, NULL);

	TURN_UNTIL(f, f->o.count == 1);
	turns(f, 5);
	assert_int_equal(h2_answer(&f->c, id)->interim, 0);
	http_stream_credit(f->o.requests[0]->st, 100);
	TURN_UNTIL(f, h2_answer(&f->c, id)->interim == 100);
	h2_more(&f->c, id, 4, true);
	TURN_UNTIL(f, f->o.requests[0]->is_ended);
	request_answer(f->o.requests[0]);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->status, 200);
}

static void test_answered_early_the_client_need_not_send(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "POST"), H2_FIELD(":scheme", "http"), H2_FIELD(":path", "/hold"),
				H2_FIELD(":authority", "x"), H2_FIELD("expect", "100-continue") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id = nghttp2_submit_request(f->c.session, NULL, fields, 5, &body, NULL);

	f->o.settings.body_idle_timeout_ms = 50;
	TURN_UNTIL(f, f->o.count == 1);
	request_head(f->o.requests[0], 200, BODY_CHUNKED, 0);
	http_stream_credit(f->o.requests[0]->st, 100);
	turns(f, 100);
	assert_int_equal(h2_answer(&f->c, id)->interim, 0); /* too late for that */
	assert_int_equal(f->o.fails, 0);
	h2_more(&f->c, id, 4, true);
	TURN_UNTIL(f, f->o.requests[0]->received == 4);
	http_stream_send_end(f->o.requests[0]->st, NULL);
	request_leave(f->o.requests[0], true);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
}

static void test_slow_body_fails_its_owner_only(void **state)
{
	struct fixture *f = *state;
	int32_t id, other;

	f->o.settings.body_idle_timeout_ms = 100;
	other = h2_get(&f->c, "/hold"); /* has nothing to send: nobody waits for it */
	id = h2_ask(&f->c, "POST", "/hold", 10, false);
	TURN_UNTIL(f, f->o.count == 2);
	turns(f, 100);
	assert_int_equal(f->o.fails, 0); /* no credit, no hurry */
	http_stream_credit(f->o.requests[1]->st, 100);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_BODY_TIMEOUT);
	assert_int_equal(f->o.fails, 1);
	assert_false(h2_answer(&f->c, other)->is_closed);
	request_answer(f->o.requests[0]);
	TURN_UNTIL(f, h2_answer(&f->c, other)->is_closed);
	assert_int_equal(h2_answer(&f->c, other)->status, 200);
}

/* ---- what a client does wrong ---- */

static void test_reset_by_the_client(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_get(&f->c, "/hold"), next;

	TURN_UNTIL(f, f->o.count == 1);
	nghttp2_submit_rst_stream(f->c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	TURN_UNTIL(f, f->o.fails == 1);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_RESET);
	next = h2_get(&f->c, "/next");
	TURN_UNTIL(f, h2_answer(&f->c, next)->is_closed);
	assert_int_equal(h2_answer(&f->c, next)->status, 200);
	assert_int_equal(f->o.host.h2_streams.used, 0);
	assert_int_equal(f->o.session_faults, 0);
}

static void test_sending_on_a_stream_that_was_reset(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_get(&f->c, "/hold"), next;

	f->o.keeps_broken = true;
	TURN_UNTIL(f, f->o.count == 1);
	nghttp2_submit_rst_stream(f->c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
	TURN_UNTIL(f, f->o.fails == 1);
	request_answer(f->o.requests[0]);
	next = h2_get(&f->c, "/next");
	TURN_UNTIL(f, h2_answer(&f->c, next)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->status, 0);
}

static void test_bad_head_is_answered_on_its_stream(void **state)
{
	struct fixture *f = *state;
	static char longpath[9000];
	int32_t held = h2_get(&f->c, "/hold"), bad, next;

	TURN_UNTIL(f, f->o.count == 1);
	memset(longpath, 'p', sizeof(longpath) - 1);
	longpath[0] = '/';
	bad = h2_get(&f->c, longpath);
	TURN_UNTIL(f, h2_answer(&f->c, bad)->is_closed);
	assert_int_equal(h2_answer(&f->c, bad)->status, 414);
	assert_string_equal(h2_answer(&f->c, bad)->text, "bad");
	assert_int_equal(f->o.bad_requests, 1);
	assert_int_equal(f->o.last_codec, CODEC_FAULT_URI_TOO_LONG);
	next = h2_get(&f->c, "/next");
	TURN_UNTIL(f, h2_answer(&f->c, next)->is_closed);
	assert_false(h2_answer(&f->c, held)->is_closed);
	request_answer(f->o.requests[0]);
	TURN_UNTIL(f, h2_answer(&f->c, held)->is_closed);
	assert_int_equal(f->c.goaways, 0);
}

/* No owner waits for the window of such an answer, and no idle time-out begins before it is gone. */
static void test_answer_to_a_bad_head_that_nobody_takes(void **state)
{
	struct fixture *f = *state;
	const nghttp2_settings_entry none = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
	int32_t id;

	f->o.settings.write_idle_timeout_ms = 100;
	f->o.settings.keep_alive_timeout_ms = 100;
	id = h2_get(&f->c, "/a"); /* looks the settings up */
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	nghttp2_submit_settings(f->c.session, NGHTTP2_FLAG_NONE, &none, 1);
	id = h2_get(&f->c, "no path");
	TURN_UNTIL(f, h2_answer(&f->c, id)->status == 400);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->error, NGHTTP2_CANCEL);
	TURN_UNTIL(f, f->c.is_eof);
	assert_int_equal(f->o.host.h2_streams.used, 0);
}

static void test_malformed_request_is_reset_and_counted(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "GET"), H2_FIELD(":scheme", "http"), H2_FIELD(":path", "/a"),
				H2_FIELD(":authority", "x"), H2_FIELD("connection", "close") };
	int32_t bad = nghttp2_submit_request(f->c.session, NULL, fields, 5, NULL, NULL), next;

	TURN_UNTIL(f, h2_answer(&f->c, bad)->is_closed);
	assert_int_equal(h2_answer(&f->c, bad)->error, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(f->o.count, 0);
	assert_int_equal(f->o.session_faults, 1);
	assert_int_equal(f->o.last_session_codec, CODEC_FAULT_CONNECTION_FIELD);
	next = h2_get(&f->c, "/next");
	TURN_UNTIL(f, h2_answer(&f->c, next)->is_closed);
	assert_int_equal(h2_answer(&f->c, next)->status, 200);
}

static void test_body_that_lies_about_its_length(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "POST"), H2_FIELD(":scheme", "http"), H2_FIELD(":path", "/echo"),
				H2_FIELD(":authority", "x"), H2_FIELD("content-length", "3") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id = nghttp2_submit_request(f->c.session, NULL, fields, 5, &body, NULL);

	h2_answer(&f->c, id)->to_send = 9;
	h2_answer(&f->c, id)->ends = true;
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed && f->o.fails == 1);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_MALFORMED);
	assert_int_equal(f->o.last_codec, CODEC_FAULT_BODY_LENGTH);
	assert_int_equal(f->c.goaways, 0);
}

static void test_flood_ends_the_connection_and_is_counted(void **state)
{
	struct fixture *f = *state;
	char ping[8] = { 0 };

	h2_get(&f->c, "/hold");
	h2_get(&f->c, "/hold");
	TURN_UNTIL(f, f->o.count == 2);
	for (int i = 0; i < 20000 && f->c.goaways == 0; i++) {
		h2_raw(&f->c, NGHTTP2_PING, 0, 0, ping, sizeof(ping));
		if (i % 50 == 0)
			turn(f);
	}
	TURN_UNTIL(f, is_closed(f));
	assert_int_equal(f->c.goaways, 1);
	assert_int_equal(f->c.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
	assert_int_equal(f->o.session_faults, 1);
	assert_int_equal(f->o.last_session_codec, CODEC_FAULT_H2_PING_FLOOD);
	assert_int_equal(f->o.fails, 2);
	assert_int_equal(f->o.sessions_ended, 1);
}

/* Owners that leave late: the GOAWAY does not wait for them, the session does. */
static void test_owners_may_leave_after_the_connection_broke(void **state)
{
	struct fixture *f = *state;

	f->o.keeps_broken = true;
	for (int i = 0; i < 3; i++)
		h2_get(&f->c, "/hold");
	TURN_UNTIL(f, f->o.count == 3);
	h2_raw(&f->c, NGHTTP2_DATA, 0, 0, "x", 1); /* DATA on no stream */
	TURN_UNTIL(f, f->c.goaways == 1);
	assert_int_equal(f->c.goaway_error, NGHTTP2_PROTOCOL_ERROR);
	assert_int_equal(f->o.fails, 3);
	turns(f, 10);
	assert_false(is_closed(f));
	request_answer(f->o.requests[0]);
	request_leave(f->o.requests[1], false);
	turns(f, 10);
	assert_false(is_closed(f));
	request_leave(f->o.requests[2], false);
	TURN_UNTIL(f, f->c.is_eof);
}

static void test_not_a_preface(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

	assert_int_equal(send(f->c.fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	for (int i = 0; i < 500 && f->o.session_faults == 0; i++)
		loop_turn(f->loop, 2);
	assert_int_equal(f->o.session_faults, 1);
	assert_int_equal(f->o.last_session_codec, CODEC_FAULT_H2_PREFACE);
	shutdown(f->c.fd, SHUT_WR);
	for (int i = 0; i < 500 && !is_closed(f); i++)
		loop_turn(f->loop, 2);
	assert_true(is_closed(f));
}

/* ---- silence ---- */

/* Throws away what came. */
static bool is_shut(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		;
	return n == 0;
}

static void test_client_without_preface_is_closed_without_a_report(void **state)
{
	struct fixture *f = *state;
	int pair[2];

	f->o.settings.head_timeout_ms = 50;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	owners_accept(&f->o, 1, &f->o.settings, pair[1]);
	for (int i = 0; i < 500 && !is_shut(pair[0]); i++)
		turn(f);
	assert_true(is_shut(pair[0]));
	assert_int_equal(f->o.session_faults, 0);
	close(pair[0]);
}

static void test_half_a_head_times_out(void **state)
{
	struct fixture *f = *state;

	f->o.settings.head_timeout_ms = 100;
	h2_get(&f->c, "/a");
	TURN_UNTIL(f, f->c.closed == 1);
	turns(f, 5);
	h2_raw(&f->c, NGHTTP2_HEADERS, 0, 3, "\x82", 1); /* no END_HEADERS */
	for (int i = 0; i < 500 && f->o.session_faults == 0; i++)
		loop_turn(f->loop, 2); /* another frame would not be allowed */
	assert_int_equal(f->o.last_session_fault, SESSION_FAULT_HEAD_TIMEOUT);
	TURN_UNTIL(f, f->c.is_eof);
	assert_int_equal(f->c.goaways, 1);
}

/* The client breaks off in the very turn in which half a head is too old; owners leave later, as the proxy does. */
static void test_half_a_head_times_out_as_the_client_vanishes(void **state)
{
	struct fixture *f = *state;

	f->o.keeps_broken = true;
	h2_get(&f->c, "/hold");
	TURN_UNTIL(f, f->o.count == 1);
	f->o.settings.head_timeout_ms = 1000;
	h2_raw(&f->c, NGHTTP2_HEADERS, 0, 3, "\x82", 1); /* no END_HEADERS */
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 1);
	steady_pass(2000);
	shutdown(f->c.fd, SHUT_RDWR);
	close(f->c.fd);
	f->c.fd = open("/dev/null", O_RDWR);
	f->c.is_eof = true;
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 1);
	assert_int_equal(f->o.fails, 1);
	request_leave(f->o.requests[0], false);
}

/* There is always half a head here, but never the same for long. */
static void test_each_head_has_its_own_time(void **state)
{
	struct fixture *f = *state;
	uint32_t id = 1;

	f->o.settings.head_timeout_ms = 100;
	turns(f, 5);
	h2_raw(&f->c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, "\x82\x86\x84", 3);
	for (int i = 0; i < 12; i++) {
		uint64_t since = loop_now_ms(f->loop);

		while (loop_now_ms(f->loop) - since < 30)
			loop_turn(f->loop, 5);
		h2_raw(&f->c, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, "\x41\x01x", 3);
		id += 2;
		h2_raw(&f->c, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, "\x82\x86\x84", 3);
	}
	for (int i = 0; i < 5; i++)
		loop_turn(f->loop, 2);
	assert_int_equal(f->o.count, 12);
	assert_int_equal(f->o.session_faults, 0);
	for (int i = 0; i < 200 && f->o.session_faults == 0; i++)
		loop_turn(f->loop, 2);
	assert_int_equal(f->o.last_session_fault, SESSION_FAULT_HEAD_TIMEOUT);
}

static void test_idle_connection_says_goodbye(void **state)
{
	struct fixture *f = *state;

	f->o.settings.keep_alive_timeout_ms = 100;
	h2_get(&f->c, "/a");
	TURN_UNTIL(f, f->c.is_eof);
	assert_int_equal(f->c.closed, 1);
	assert_int_equal(f->c.goaways, 1); /* for this client that is enough */
	assert_int_equal(f->c.goaway_last[0], INT32_MAX);
	assert_int_equal(f->c.goaway_error, 0);
	assert_int_equal(f->o.session_faults, 0);
}

static void test_ping_keeps_and_loses_a_client(void **state)
{
	struct fixture *f = *state;

	f->o.settings.h2_ping_interval_ms = 50;
	h2_get(&f->c, "/a");
	TURN_UNTIL(f, f->c.closed == 1);
	TURN_UNTIL(f, f->c.pings >= 3);
	assert_int_equal(f->o.session_faults, 0);
	for (int i = 0; i < 500 && !is_closed(f); i++) /* the client sleeps */
		loop_turn(f->loop, 2);
	assert_true(is_closed(f));
	assert_int_equal(f->o.last_session_fault, SESSION_FAULT_PING_TIMEOUT);
}

/* Its answer to the PING is behind much else, on a slow way; but it lives. */
static void test_client_that_is_heard_of_is_not_given_up(void **state)
{
	struct fixture *f = *state;
	uint64_t since;

	f->o.settings.h2_ping_interval_ms = 300;
	h2_get(&f->c, "/a");
	TURN_UNTIL(f, f->c.closed == 1);
	turns(f, 5);
	since = loop_now_ms(f->loop);
	while (loop_now_ms(f->loop) - since < 350) /* a PING is sent, and the client does not look */
		loop_turn(f->loop, 5);
	while (loop_now_ms(f->loop) - since < 1200) {
		h2_raw(&f->c, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
		for (int i = 0; i < 4; i++)
			loop_turn(f->loop, 5);
	}
	assert_int_equal(f->o.session_faults, 0);
	while (loop_now_ms(f->loop) - since < 5000 && f->o.session_faults == 0)
		loop_turn(f->loop, 5);
	assert_int_equal(f->o.last_session_fault, SESSION_FAULT_PING_TIMEOUT);
}

/* ---- the end ---- */

static void test_drain_lets_what_is_on_the_way_be_served(void **state)
{
	struct fixture *f = *state;
	int32_t held = h2_get(&f->c, "/hold"), late;

	TURN_UNTIL(f, f->o.count == 1);
	server_drain(&f->o.host, 0);
	/* Sent before the client has read the notice. */
	late = h2_get(&f->c, "/late");
	TURN_UNTIL(f, h2_answer(&f->c, late)->is_closed);
	assert_int_equal(h2_answer(&f->c, late)->status, 200);
	TURN_UNTIL(f, f->c.goaways == 2);
	assert_int_equal(f->c.goaway_last[0], INT32_MAX);
	assert_int_equal(f->c.goaway_last[1], late);
	turns(f, 10);
	assert_false(f->c.is_eof);
	request_answer(f->o.requests[0]);
	TURN_UNTIL(f, f->c.is_eof);
	assert_int_equal(h2_answer(&f->c, held)->status, 200);
	assert_int_equal(h2_answer(&f->c, held)->error, 0);
	assert_int_equal(f->o.fails, 0);
}

static void test_drain_does_not_wait_for_a_client_that_sleeps(void **state)
{
	struct fixture *f = *state;

	h2_get(&f->c, "/a");
	TURN_UNTIL(f, f->c.closed == 1);
	server_drain(&f->o.host, 7);
	turns(f, 10);
	assert_int_equal(f->c.goaways, 0); /* of another listener */
	server_drain(&f->o.host, 1);
	for (int i = 0; i < 1000 && !is_closed(f); i++)
		loop_turn(f->loop, 5); /* no PING is answered */
	assert_true(is_closed(f));
}

/* What an owner left behind is part of what is finished. */
static void test_drain_waits_for_bytes_that_were_left_behind(void **state)
{
	struct fixture *f = *state;
	int32_t slow = h2_get(&f->c, "/size/100000");

	h2_answer(&f->c, slow)->is_stuck = true;
	TURN_UNTIL(f, f->o.count == 1 && f->o.open == 0 && h2_answer(&f->c, slow)->bytes == 65535);
	server_drain(&f->o.host, 0);
	TURN_UNTIL(f, f->c.goaways == 2);
	turns(f, 50);
	assert_false(is_closed(f));
	h2_answer(&f->c, slow)->is_stuck = false;
	nghttp2_session_consume_stream(f->c.session, slow, 65535);
	TURN_UNTIL(f, h2_answer(&f->c, slow)->is_closed);
	assert_int_equal(h2_answer(&f->c, slow)->bytes, 100000);
	assert_int_equal(h2_answer(&f->c, slow)->error, 0);
	TURN_UNTIL(f, f->c.is_eof);
}

static void test_requests_of_a_connection_are_limited(void **state)
{
	struct fixture *f = *state;

	f->o.settings.keep_alive_requests_max = 3;
	for (int i = 0; i < 3; i++) {
		int32_t id = h2_get(&f->c, "/a");

		TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
		assert_int_equal(h2_answer(&f->c, id)->status, 200);
		assert_int_equal(f->c.goaways > 0, i == 2);
	}
	TURN_UNTIL(f, f->c.is_eof);
}

static void test_abort_tells_every_owner(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 20; i++)
		h2_get(&f->c, i % 2 ? "/hold" : "/size/1000000");
	TURN_UNTIL(f, f->o.count == 20);
	server_abort_all(&f->o.host);
	assert_int_equal(f->o.last_fault, SESSION_FAULT_SHUTDOWN);
	assert_int_equal(f->o.open, 0);
	TURN_UNTIL(f, is_closed(f));
	assert_true(f->o.fails >= 10);
}

static void test_client_that_vanishes(void **state)
{
	struct fixture *f = *state;

	h2_get(&f->c, "/hold");
	h2_ask(&f->c, "POST", "/hold", 10, false);
	TURN_UNTIL(f, f->o.count == 2);
	shutdown(f->c.fd, SHUT_RDWR);
	TURN_UNTIL(f, is_closed(f));
	assert_int_equal(f->o.fails, 2);
	assert_int_equal(f->o.requests[0]->fault, SESSION_FAULT_RESET);
	assert_int_equal(f->o.session_faults, 0);
}

static void test_connections_are_bounded_over_all_kinds(void **state)
{
	struct fixture *f = *state;
	struct server_settings plain = f->o.settings;
	int a[2];

	plain.protocol = SERVER_HTTP;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_false(server_is_full(&f->o.host));
	owners_accept(&f->o, 1, &plain, a[1]);
	assert_true(server_is_full(&f->o.host));
	close(a[0]);
}

/* ---- tunnels ---- */

static void test_websocket_tunnel(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "CONNECT"), H2_FIELD(":protocol", "websocket"),
				H2_FIELD(":scheme", "http"), H2_FIELD(":path", "/chat"), H2_FIELD(":authority", "x"),
				H2_FIELD("sec-websocket-version", "13") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id, other;

	TURN_UNTIL(f, nghttp2_session_get_remote_settings(f->c.session, 8) == 1);
	id = nghttp2_submit_request(f->c.session, NULL, fields, 6, &body, NULL);
	TURN_UNTIL(f, h2_answer(&f->c, id)->status == 200);
	assert_string_equal(f->o.requests[0]->method, "GET");
	assert_string_equal(f->o.requests[0]->path, "/chat");
	h2_more(&f->c, id, 100000, false);
	TURN_UNTIL(f, h2_answer(&f->c, id)->bytes == 100000);
	other = h2_get(&f->c, "/other");
	TURN_UNTIL(f, h2_answer(&f->c, other)->is_closed);
	assert_false(h2_answer(&f->c, id)->is_ended);
	h2_more(&f->c, id, 5, true);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_true(h2_answer(&f->c, id)->is_ended);
	assert_int_equal(h2_answer(&f->c, id)->bytes, 100005);
	assert_int_equal(h2_answer(&f->c, id)->error, 0);
}

static void test_connect_tunnel_that_breaks(void **state)
{
	struct fixture *f = *state;
	nghttp2_nv fields[] = { H2_FIELD(":method", "CONNECT"), H2_FIELD(":authority", "db:5432") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id = nghttp2_submit_request(f->c.session, NULL, fields, 2, &body, NULL);

	TURN_UNTIL(f, h2_answer(&f->c, id)->status == 200);
	assert_string_equal(f->o.requests[0]->authority, "db:5432");
	h2_more(&f->c, id, 10, false);
	TURN_UNTIL(f, h2_answer(&f->c, id)->bytes == 10);
	request_leave(f->o.requests[0], false);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->error, NGHTTP2_CANCEL);
}

static void test_answer_that_breaks_off(void **state)
{
	struct fixture *f = *state;
	int32_t id = h2_get(&f->c, "/hold");

	TURN_UNTIL(f, f->o.count == 1);
	request_head(f->o.requests[0], 200, BODY_LENGTH, 100);
	http_stream_send_body(f->o.requests[0]->st, slice_static("half", 4));
	TURN_UNTIL(f, h2_answer(&f->c, id)->bytes == 4);
	request_leave(f->o.requests[0], false);
	TURN_UNTIL(f, h2_answer(&f->c, id)->is_closed);
	assert_int_equal(h2_answer(&f->c, id)->error, NGHTTP2_INTERNAL_ERROR);
	assert_int_equal(f->c.goaways, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_one_after_another),
		T(test_many_at_once),
		T(test_answers_of_a_turn_leave_together),
		T(test_large_answer_is_sent_with_back_pressure),
		T(test_stuck_reader_holds_up_nobody_and_is_reset_alone),
		T(test_slow_reader_is_not_stuck),
		T(test_bytes_left_behind_are_given_up_too),
		T(test_stuck_readers_pin_no_receive_buffers),
		T(test_bodies_that_nobody_takes_pin_no_receive_buffers),
		T(test_end_behind_a_full_window_is_given_up_too),
		T(test_client_that_reads_nothing_is_cut_off),
		T(test_body_comes_only_with_credit),
		T(test_stream_without_credit_holds_up_no_other),
		T(test_large_body_flows_through),
		T(test_trailers_both_ways),
		T(test_early_answer_asks_for_no_more_of_the_body),
		T(test_continue_comes_with_the_first_credit),
		T(test_answered_early_the_client_need_not_send),
		T(test_slow_body_fails_its_owner_only),
		T(test_reset_by_the_client),
		T(test_sending_on_a_stream_that_was_reset),
		T(test_bad_head_is_answered_on_its_stream),
		T(test_answer_to_a_bad_head_that_nobody_takes),
		T(test_malformed_request_is_reset_and_counted),
		T(test_body_that_lies_about_its_length),
		T(test_flood_ends_the_connection_and_is_counted),
		T(test_owners_may_leave_after_the_connection_broke),
		T(test_not_a_preface),
		T(test_client_without_preface_is_closed_without_a_report),
		T(test_half_a_head_times_out),
		T(test_half_a_head_times_out_as_the_client_vanishes),
		T(test_each_head_has_its_own_time),
		T(test_idle_connection_says_goodbye),
		T(test_ping_keeps_and_loses_a_client),
		T(test_client_that_is_heard_of_is_not_given_up),
		T(test_drain_lets_what_is_on_the_way_be_served),
		T(test_drain_does_not_wait_for_a_client_that_sleeps),
		T(test_drain_waits_for_bytes_that_were_left_behind),
		T(test_requests_of_a_connection_are_limited),
		T(test_abort_tells_every_owner),
		T(test_client_that_vanishes),
		T(test_connections_are_bounded_over_all_kinds),
		T(test_websocket_tunnel),
		T(test_connect_tunnel_that_breaks),
		T(test_answer_that_breaks_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
