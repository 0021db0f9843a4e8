/* SPDX-License-Identifier: GPL-2.0-only */
/* test_bulk.c - long bodies that move inside the kernel: real sessions on both sides, raw peers that misbehave. */
#include <signal.h>

#include "forward_fixture.h"

#define BODY_BYTES 200000

static char body[BODY_BYTES + 1];

static int set_up_pipes(void **state)
{
	struct fixture *f;

	for (size_t i = 0; i < BODY_BYTES; i++)
		body[i] = (char)('a' + i * 31 % 26 - (i / 1000 % 2 ? 32 : 0));
	(void)signal(SIGPIPE, SIG_IGN);
	if (set_up(state) != 0)
		return -1;
	f = *state;
	pipe_pool_init_with(&f->shared.pipes, 0, 0, 0);
	return 0;
}

static int tear_down_pipes(void **state)
{
	struct fixture *f = *state;
	struct pipe_pool_gauges g;

	for (unsigned i = 0; i < 3; i++)
		if (f->clients[i].fd >= 0)
			client_leaves(&f->clients[i]);
	for (int i = 0; i < TURNS_MAX && !proxy_worker_is_idle(&f->worker); i++)
		loop_turn(f->loop, 5);
	pipe_pool_trim(&f->shared.pipes);
	pipe_pool_trim(&f->shared.pipes);
	pipe_pool_gauges(&f->shared.pipes, &g);
	assert_int_equal(g.open, 0); /* none is lost, none is in use */
	return tear_down(state);
}

static uint64_t spliced(const struct fixture *f, unsigned direction)
{
	return atomic_load(&f->worker.engine_bytes[SPLICE_ENGINE_SPLICE][direction]->value);
}

/* Sends while the proxy goes on; as much as it takes. */
static size_t push(struct fixture *f, int fd, const char *bytes, size_t len)
{
	size_t done = 0;

	for (int i = 0; i < TURNS_MAX && done < len; i++) {
		ssize_t n = send(fd, bytes + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

		done += n > 0 ? (size_t)n : 0;
		turn(f);
		if (f->origins[0].fd >= 0 && fd != f->origins[0].fd)
			(void)origin_receive(&f->origins[0]);
	}
	return done;
}

/* `got` ends with the whole body behind a head. */
static void hears_body(struct fixture *f, char *got, const size_t *got_len)
{
	for (int i = 0; i < TURNS_MAX && (!strstr(got, "\r\n\r\n") ||
					  *got_len < (size_t)(strstr(got, "\r\n\r\n") - got) + 4 + BODY_BYTES); i++) {
		turn(f);
		if (f->origins[0].fd >= 0)
			(void)origin_receive(&f->origins[0]);
	}
	assert_non_null(strstr(got, "\r\n\r\n"));
	assert_string_equal(strstr(got, "\r\n\r\n") + 4, body);
}

static void forget(char *got, size_t *got_len)
{
	*got_len = 0;
	got[0] = 0;
}

static struct client *asks(struct fixture *f, const char *head)
{
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, head);
	origin_hears(f, 0, "\r\n\r\n");
	return c;
}

#define GET_BULK "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST_BULK "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"
#define PUT_BULK "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"
#define OK_BULK "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"

static void test_response_moves_and_the_connections_are_kept(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, GET_BULK);

	for (int round = 0; round < 3; round++) {
		if (round > 0) {
			forget(f->origins[0].got, &f->origins[0].got_len);
			ask(c, GET_BULK);
			origin_hears(f, 0, "\r\n\r\n");
		}
		forget(c->got, &c->got_len);
		origin_says(f, 0, OK_BULK);
		assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES), BODY_BYTES);
		hears_body(f, c->got, &c->got_len);
	}
	turns(f, 3);
	assert_true(spliced(f, 1) >= 3 * BODY_BYTES * 9 / 10);
	assert_int_equal(spliced(f, 0), 0);
}

static void test_request_moves_and_the_connections_are_kept(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, POST_BULK);

	for (int round = 0; round < 3; round++) {
		if (round > 0) {
			forget(f->origins[0].got, &f->origins[0].got_len);
			ask(c, POST_BULK);
			origin_hears(f, 0, "\r\n\r\n");
		}
		assert_int_equal(push(f, c->fd, body, BODY_BYTES), BODY_BYTES);
		hears_body(f, f->origins[0].got, &f->origins[0].got_len);
		forget(c->got, &c->got_len);
		origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
		client_hears(f, c, "done");
	}
	turns(f, 3);
	assert_true(spliced(f, 0) >= 3 * BODY_BYTES * 9 / 10);
}

/* An origin that answers between two turns, as soon as the last byte is there, has seen a whole request. */
static void test_hasty_origin_keeps_its_connection(void **state)
{
	struct fixture *f = *state;
	struct origin *o = &f->origins[0];
	struct client *c = asks(f, POST_BULK);

	for (int round = 0; round < 5; round++) {
		if (round > 0) {
			forget(o->got, &o->got_len);
			ask(c, POST_BULK);
			origin_hears(f, 0, "\r\n\r\n");
		}
		assert_int_equal(send(c->fd, body, BODY_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT), BODY_BYTES);
		forget(c->got, &c->got_len);
		for (int i = 0; i < TURNS_MAX && !strstr(o->got, body); i++) {
			turn(f);
			(void)origin_receive(o);
		}
		assert_non_null(strstr(o->got, body));
		origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
		client_hears(f, c, "done");
	}
	assert_true(spliced(f, 0) >= 5 * BODY_BYTES * 8 / 10);
}

static void test_route_can_forbid_it(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.splice = SPLICE_ENGINE_COPY;
	c = asks(f, GET_BULK);
	origin_says(f, 0, OK_BULK);
	assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES), BODY_BYTES);
	hears_body(f, c->got, &c->got_len);
	turns(f, 3);
	assert_int_equal(spliced(f, 1), 0);
}

static void test_without_pipes_it_is_copied(void **state)
{
	struct fixture *f = *state;
	struct pipe_pool_gauges g;
	struct client *c;

	pipe_pool_init_with(&f->shared.pipes, 2, 0, 0);
	c = asks(f, GET_BULK);
	origin_says(f, 0, OK_BULK);
	assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES), BODY_BYTES);
	hears_body(f, c->got, &c->got_len);
	pipe_pool_gauges(&f->shared.pipes, &g);
	assert_int_equal(g.refused, 1);
	assert_int_equal(spliced(f, 1), 0);
}

/* A head without a body, and one whose body is here already, do not wait for something to move. */
static void test_nothing_to_move_does_not_hang(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");

	origin_says(f, 0, OK_BULK);
	client_hears(f, c, "Content-Length: 200000\r\n");
	forget(c->got, &c->got_len);
	forget(f->origins[0].got, &f->origins[0].got_len);
	ask(c, GET_BULK);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext");
	client_hears(f, c, "next");
}

static void test_origin_that_ends_in_the_body_resets_the_client(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, GET_BULK);

	origin_says(f, 0, OK_BULK);
	assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES / 2), BODY_BYTES / 2);
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_true(c->is_reset);
}

static void test_origin_that_stops_is_given_up(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, GET_BULK);

	origin_says(f, 0, OK_BULK);
	assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES / 2), BODY_BYTES / 2);
	client_sees_the_end(f, c); /* 500 ms */
	assert_true(c->is_reset);
	assert_true(spliced(f, 1) > 0);
}

static void test_client_that_resets_ends_the_exchange(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, GET_BULK);

	origin_says(f, 0, OK_BULK);
	assert_int_equal(push(f, f->origins[0].fd, body, BODY_BYTES / 2), BODY_BYTES / 2);
	client_resets(c);
	for (int i = 0; i < TURNS_MAX && origin_receive(&f->origins[0]); i++)
		turn(f);
	assert_false(origin_receive(&f->origins[0]));
}

static void test_early_answer_stops_the_request(void **state)
{
	struct fixture *f = *state;
	struct client *c = asks(f, POST_BULK);

	assert_int_equal(push(f, c->fd, body, BODY_BYTES / 2), BODY_BYTES / 2);
	assert_true(f->origins[0].got_len > BODY_BYTES / 4);
	origin_says(f, 0, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
	client_hears(f, c, "\r\n\r\nno");
	assert_true(strstr(c->got, "HTTP/1.1 403") != NULL);
}

/* What may have to be sent again is not given away before the buffer is full. */
static void test_request_is_replayed_while_it_can_be(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 2;
	f->upstream.endpoint_count = 1;
	c = asks(f, PUT_BULK);
	assert_int_equal(push(f, c->fd, body, 20000), 20000);
	assert_int_equal(spliced(f, 0), 0);
	origin_resets(f, 0);
	accept_at(f, 0);
	assert_int_equal(push(f, c->fd, body + 20000, BODY_BYTES - 20000), BODY_BYTES - 20000);
	hears_body(f, f->origins[0].got, &f->origins[0].got_len);
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
	client_hears(f, c, "done");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_pipes, tear_down_pipes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_response_moves_and_the_connections_are_kept),
		TEST(test_request_moves_and_the_connections_are_kept),
		TEST(test_hasty_origin_keeps_its_connection),
		TEST(test_route_can_forbid_it),
		TEST(test_without_pipes_it_is_copied),
		TEST(test_nothing_to_move_does_not_hang),
		TEST(test_origin_that_ends_in_the_body_resets_the_client),
		TEST(test_origin_that_stops_is_given_up),
		TEST(test_client_that_resets_ends_the_exchange),
		TEST(test_early_answer_stops_the_request),
		TEST(test_request_is_replayed_while_it_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
