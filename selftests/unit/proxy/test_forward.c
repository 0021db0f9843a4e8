/* SPDX-License-Identifier: GPL-2.0-only */
/* test_forward.c - requests over real sockets through the forward handler, against origins that the test plays. */
#include "forward_fixture.h"

#define OK_EMPTY   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define GET	   "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

/* ---- the ordinary way ---- */

static void test_request_goes_through_and_the_connection_is_reused(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
	client_hears(f, c, "first");
	f->origins[0].got_len = 0;
	ask(c, GET);
	origin_hears(f, 0, "GET /x HTTP/1.1\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
	client_hears(f, c, "second");
	assert_int_equal(side_of(f, 0)->pool.connected, 1);
	assert_int_equal(side_of(f, 0)->pool.reused, 1);
}

/* By now, as the metric and as the line in the log have it. */
static void assert_attempts(struct fixture *f, unsigned counted, unsigned logged)
{
	const struct span labels[2] = { SPAN("u"), SPAN("r") };
	const struct metric_cell *c = metric_cell(f->worker.metrics, METRIC_UPSTREAM_ATTEMPTS_TOTAL, labels);

	assert_int_equal(atomic_load(&c->value), counted);
	assert_non_null(exchange_of(f));
	assert_int_equal(exchange_of(f)->attempts, logged);
}

/* ---- targets that fail, and other attempts ---- */

static void test_refused_connect_goes_to_another_target(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	unsigned counted = 0, attempts = 0;

	f->upstream.endpoint_count = 2;
	f->route.retry.attempts_max = 2;
	stop_listening(f, 0);
	begin(f);
	c = dial(f, 0);
	for (int i = 0; i < 4 && attempts < 2; i++) { /* either target may be the first choice */
		c->got_len = f->origins[1].got_len = 0;
		ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
		origin_hears(f, 1, "\r\n\r\nbody");
		attempts = exchange_of(f)->attempts;
		counted += attempts;
		assert_attempts(f, counted, attempts);
		origin_says(f, 1, OK_EMPTY);
		client_hears(f, c, "HTTP/1.1 200");
		f->origins[1].got[0] = c->got[0] = 0;
	}
	assert_int_equal(attempts, 2);
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_CONNECT), 1);
}

static void test_refused_address_of_a_name_gives_way_to_the_next(void **state)
{
	struct fixture *f = *state;
	const struct addr addrs[] = { f->origins[0].addr, f->origins[1].addr };
	struct client *c;

	endpoint_set_addrs(f->endpoints[0], addrs, 2, NULL);
	stop_listening(f, 0);
	begin(f);
	c = dial(f, 0);
	for (unsigned i = 0; i < 4; i++) { /* addresses take turns; no retry is allowed */
		ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
		origin_hears(f, 1, "\r\n\r\nbody");
		assert_attempts(f, i + 1, 1);
		origin_says(f, 1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
		client_hears(f, c, "HTTP/1.1 200");
		f->origins[1].got_len = c->got_len = 0;
		f->origins[1].got[0] = c->got[0] = 0;
		origin_closes(f, 1);
	}
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_CONNECT), 0);
}

static void test_all_addresses_of_a_name_refused_is_503(void **state)
{
	struct fixture *f = *state;
	const struct addr addrs[] = { f->origins[0].addr, f->origins[1].addr };
	struct client *c;

	endpoint_set_addrs(f->endpoints[0], addrs, 2, NULL);
	stop_listening(f, 0);
	stop_listening(f, 1);
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	client_hears(f, c, "HTTP/1.1 503");
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_CONNECT), 1);
}

static void test_refused_connect_without_retries_is_503(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	stop_listening(f, 0);
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	client_hears(f, c, "HTTP/1.1 503");
}

static void keep_one_idle(struct fixture *f, struct client *c)
{
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
	client_hears(f, c, "first");
	f->origins[0].got_len = 0;
	f->origins[0].got[0] = 0;
}

static void test_stale_connection_costs_no_attempt(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	keep_one_idle(f, c);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_closes(f, 0);
	origin_hears(f, 0, "GET /x");
	assert_attempts(f, 2, 1);
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_STALE), 0);
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
	client_hears(f, c, "second");
}

static void test_attempts_are_left_after_a_stale_connection(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 2;
	begin(f);
	c = dial(f, 0);
	keep_one_idle(f, c);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_closes(f, 0); /* the kept one */
	origin_hears(f, 0, "GET /x");
	origin_closes(f, 0); /* the first attempt */
	origin_hears(f, 0, "GET /x");
	assert_attempts(f, 3, 2);
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_EOF), 1);
	origin_closes(f, 0);
	client_hears(f, c, "HTTP/1.1 502");
	assert_int_equal(failures_of(f, FAIL_UPSTREAM_EOF), 2);
}

static void test_stale_connection_does_not_repeat_what_is_not_idempotent(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 3;
	begin(f);
	c = dial(f, 0);
	keep_one_idle(f, c);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	origin_hears(f, 0, "body");
	origin_closes(f, 0);
	client_hears(f, c, "HTTP/1.1 502");
}

static void test_status_is_retried_with_the_body(void **state)
{
	struct fixture *f = *state;
	struct client *c;
	unsigned first;

	f->upstream.endpoint_count = 2;
	f->route.retry.attempts_max = 2;
	f->route.retry.statuses[503 / 64] |= UINT64_C(1) << (503 % 64);
	begin(f);
	c = dial(f, 0);
	ask(c, "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	first = accept_anywhere(f);
	origin_hears(f, first, "3\r\none\r\n");
	ask(c, "3\r\ntwo\r\n0\r\nX-T: v\r\n\r\n");
	origin_hears(f, first, "X-T: v");
	origin_says(f, first, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	origin_hears(f, 1 - first, "3\r\none\r\n3\r\ntwo\r\n0\r\nX-T: v\r\n\r\n");
	origin_says(f, 1 - first, OK_EMPTY);
	client_hears(f, c, "HTTP/1.1 200");
	assert_null(strstr(c->got, "busy"));
}

static void test_last_attempt_passes_its_status_on(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.statuses[503 / 64] |= UINT64_C(1) << (503 % 64);
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	client_hears(f, c, "busy");
}

static void test_used_up_budget_stops_retries(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 2;
	f->route.retry.statuses[503 / 64] |= UINT64_C(1) << (503 % 64);
	begin(f);
	for (unsigned i = 0; i < RETRY_MIN; i++)
		assert_true(retry_budget_take(&f->shared.retry_budget, 20, loop_now_ms(f->loop)));
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	client_hears(f, c, "busy");
}

static void test_body_beyond_the_replay_buffer_is_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 2;
	f->route.retry.replay_buffer_max = 8;
	begin(f);
	c = dial(f, 0);
	ask(c, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123456789");
	origin_hears(f, 0, "123456789");
	origin_closes(f, 0);
	client_hears(f, c, "HTTP/1.1 502");
}

static void test_garbage_is_502_and_not_retried(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.retry.attempts_max = 3;
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "SSH-2.0-OpenSSH\r\n\r\n");
	client_hears(f, c, "HTTP/1.1 502");
	origin_sees_the_end(f, 0);
}

/* ---- waiting ---- */

static void test_silent_origin_is_504(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->upstream.timeouts.first_byte_ms = 30;
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	client_hears(f, c, "HTTP/1.1 504");
	origin_sees_the_end(f, 0);
}

/* The end of a counted body is no byte of its own, so it is not the sending of one that starts the wait. */
static void test_silent_origin_is_504_when_the_end_came_alone(void **state)
{
	struct fixture *f = *state;
	static char body[256 * 1024];
	struct client *c;
	size_t sent = 0;

	f->upstream.timeouts.first_byte_ms = 30;
	begin(f);
	c = dial(f, 0);
	memset(body, 'b', sizeof(body));
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 262144\r\n\r\n");
	origin_hears(f, 0, "\r\n\r\n");
	for (int i = 0; i < TURNS_MAX && f->origins[0].got_len < sizeof(body); i++) {
		ssize_t n = send(c->fd, body + sent, sizeof(body) - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		(void)origin_receive(&f->origins[0]);
		turn(f);
	}
	assert_int_equal(sent, sizeof(body));
	client_hears(f, c, "HTTP/1.1 504");
}

static void test_request_waits_for_a_connection_and_gets_it(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;

	f->upstream.pool.max_connections = 1;
	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET);
	origin_hears(f, 0, "\r\n\r\n");
	ask(b, "GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
	turns(f, 5);
	assert_int_equal(side_of(f, 0)->waiter_count, 1);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, a, "HTTP/1.1 200");
	origin_hears(f, 0, "GET /second");
	assert_attempts(f, 2, 1);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, b, "HTTP/1.1 200");
	assert_int_equal(side_of(f, 0)->pool.connected, 1);
}

/* One has the connection, two wait for it in this order: its client has sent `first`, theirs /second and /third. */
static void two_wait(struct fixture *f, struct client *of[3], const char *first)
{
	f->upstream.pool.max_connections = 1;
	begin(f);
	for (unsigned i = 0; i < 3; i++)
		of[i] = dial(f, i);
	ask(of[0], first);
	origin_hears(f, 0, "\r\n\r\n");
	ask(of[1], "GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
	turns(f, 3);
	ask(of[2], "GET /third HTTP/1.1\r\nHost: h\r\n\r\n");
	turns(f, 3);
	assert_int_equal(side_of(f, 0)->waiter_count, 2);
}

/* Not even by a request that is there when the connection becomes free: who waited is told a turn later. */
static void test_request_that_waits_is_not_overtaken(void **state)
{
	struct fixture *f = *state;
	struct client *of[3];

	two_wait(f, of, GET "GET /fourth HTTP/1.1\r\nHost: h\r\n\r\n");
	origin_says(f, 0, OK_EMPTY);
	origin_hears(f, 0, "GET /second");
	origin_says(f, 0, OK_EMPTY);
	origin_hears(f, 0, "GET /third");
	origin_says(f, 0, OK_EMPTY);
	origin_hears(f, 0, "GET /fourth");
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, of[2], "HTTP/1.1 200");
	assert_int_equal(side_of(f, 0)->pool.connected, 1);
	assert_int_equal(side_of(f, 0)->waiter_count, 0);
}

/* Of two connections that become free one is for who waits, the other for who comes now: nobody waits for nothing. */
static void test_free_connection_is_used_behind_who_waits(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;
	int first, second;

	f->upstream.pool.max_connections = 2;
	f->snapshot->worker_count = 1;
	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET GET);
	origin_hears(f, 0, "\r\n\r\n");
	first = f->origins[0].fd;
	ask(b, GET);
	accept_at(f, 0);
	second = f->origins[0].fd;
	ask(dial(f, 2), GET);
	for (int i = 0; i < TURNS_MAX && side_of(f, 0)->waiter_count < 1; i++)
		turn(f);
	send_all(first, OK_EMPTY, strlen(OK_EMPTY));
	send_all(second, OK_EMPTY, strlen(OK_EMPTY));
	client_hears(f, a, "HTTP/1.1 200");
	client_hears(f, b, "HTTP/1.1 200");
	turns(f, 20);
	assert_int_equal(side_of(f, 0)->pool.connected, 2);
	assert_int_equal(side_of(f, 0)->pool.idle_count, 0);
	assert_int_equal(side_of(f, 0)->waiter_count + side_of(f, 0)->told_count, 0);
	close(first);
	close(second);
}

static void test_request_that_waits_too_long_is_503(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;

	f->upstream.pool.max_connections = 1;
	f->upstream.timeouts.connect_ms = 100;
	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET);
	origin_hears(f, 0, "\r\n\r\n");
	ask(b, GET);
	client_hears(f, b, "HTTP/1.1 503");
	assert_attempts(f, 2, 1);
	assert_int_equal(failures_of(f, FAIL_POOL_FULL), 1);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, a, "HTTP/1.1 200");
}

/* The queue has a bound; who comes then is told at once, not after the time-out. */
static void test_request_beyond_the_queue_is_503(void **state)
{
	struct fixture *f = *state;
	struct client *a, *b;

	f->upstream.pool.max_connections = 1;
	begin(f);
	a = dial(f, 0);
	b = dial(f, 1);
	ask(a, GET);
	origin_hears(f, 0, "\r\n\r\n");
	side_of(f, 0)->waiter_count += 1000;
	ask(b, GET);
	client_hears(f, b, "HTTP/1.1 503");
	side_of(f, 0)->waiter_count -= 1000;
	assert_int_equal(failures_of(f, FAIL_POOL_FULL), 1);
	assert_attempts(f, 2, 1);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, a, "HTTP/1.1 200");
}

static void test_client_that_leaves_the_queue_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct client *of[3];

	two_wait(f, of, GET);
	client_resets(of[1]);
	for (int i = 0; i < TURNS_MAX && side_of(f, 0)->waiter_count > 1; i++)
		turn(f);
	assert_int_equal(side_of(f, 0)->waiter_count, 1);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, of[0], "HTTP/1.1 200");
	origin_hears(f, 0, "GET /third");
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, of[2], "HTTP/1.1 200");
}

static void test_two_connections_that_become_free_serve_two(void **state)
{
	struct fixture *f = *state;
	int first, second;

	f->upstream.pool.max_connections = 1;
	f->snapshot->worker_count = 1;
	begin(f);
	for (unsigned i = 0; i < 3; i++)
		ask(dial(f, i), GET);
	origin_hears(f, 0, "\r\n\r\n");
	for (int i = 0; i < TURNS_MAX && side_of(f, 0)->waiter_count < 2; i++)
		turn(f);
	assert_int_equal(side_of(f, 0)->waiter_count, 2);
	f->upstream.pool.max_connections = 3;
	side_of(f, 0)->pool.on_release(&side_of(f, 0)->pool, 2);
	first = f->origins[0].fd;
	accept_at(f, 0);
	second = f->origins[0].fd;
	accept_at(f, 0);
	close(first);
	close(second);
}

/* Connects hang when the origin's queue of connections is full. */
static void fill_backlog(struct fixture *f, unsigned i, int fds[4])
{
	assert_int_equal(listen(f->origins[i].listen_fd, 0), 0);
	for (int n = 0; n < 4; n++) {
		fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fds[n], &f->origins[i].addr.sa, f->origins[i].addr.len);
	}
}

static void test_body_is_held_back_while_the_connect_hangs(void **state)
{
	struct fixture *f = *state;
	static char block[65536];
	struct client *c;
	int fds[4];

	f->upstream.timeouts.connect_ms = 300;
	fill_backlog(f, 0, fds);
	begin(f);
	c = dial(f, 0);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
	for (int i = 0; i < 100; i++) {
		while (send(c->fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
			;
		turn(f);
		if (!exchange_of(f))
			break;
		assert_in_range(exchange_of(f)->up.received, 0, BODY_WINDOW + 65536);
	}
	client_hears(f, c, "HTTP/1.1 504");
	for (int n = 0; n < 4; n++)
		close(fds[n]);
}

/* Small chunks would keep many times their own size for a repetition. */
static void test_many_tiny_chunks_are_not_repeated(void **state)
{
	struct fixture *f = *state;
	static char chunks[6 * 2000 + 1];
	struct client *c;

	f->route.retry.attempts_max = 2;
	begin(f);
	c = dial(f, 0);
	for (int i = 0; i < 2000; i++)
		memcpy(chunks + 6 * i, "1\r\nx\r\n", 6);
	ask(c, "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
	ask(c, chunks);
	ask(c, "0\r\n\r\n");
	origin_hears(f, 0, "0\r\n\r\n");
	origin_closes(f, 0);
	client_hears(f, c, "HTTP/1.1 502");
}

/* ---- answers that cannot be passed on ---- */

static enum filter_verdict split_response(struct exchange *x, const struct filter_use *u)
{
	(void)u;
	if (!x->is_answered)
		headers_add_name(&x->response.headers, SPAN("X-A"), SPAN("a\r\n\r\nevil"));
	return FILTER_NEXT;
}

static void test_field_of_a_filter_that_would_break_the_head_gives_502(void **state)
{
	static const struct filter filter = { .name = "split", .on_response = split_response };
	const struct filter_use use = { .filter = &filter, .id = "f" };
	struct fixture *f = *state;
	struct client *c;

	f->route.filters = &use;
	f->route.filter_count = 1;
	f->route.changes_fields = true;
	begin(f);
	c = dial(f, 0);
	for (unsigned i = 0; i < 2; i++) { /* the connection is kept */
		ask(c, GET);
		origin_hears(f, 0, "\r\n\r\n");
		origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
		client_hears(f, c, "HTTP/1.1 502");
		client_hears(f, c, "Bad Gateway");
		assert_null(strstr(c->got, "evil"));
		c->got_len = f->origins[0].got_len = 0;
		c->got[0] = f->origins[0].got[0] = 0;
		origin_closes(f, 0);
	}
	client_leaves(c);
	for (int i = 0; i < TURNS_MAX && exchange_of(f); i++)
		turn(f);
}

/* ---- answers out of order ---- */

static void test_early_answer_ends_the_request(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome");
	origin_hears(f, 0, "some");
	origin_says(f, 0, "HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge");
	client_hears(f, c, "large");
	origin_sees_the_end(f, 0);
	assert_int_equal(side_of(f, 0)->pool.idle_count, 0);
}

/* The reset that follows an answer of an origin that did not read takes nothing of the answer away. */
static void test_early_answer_before_a_reset_is_delivered(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nsome");
	accept_at(f, 0);
	turns(f, 3);
	origin_says(f, 0, "HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge");
	loop_turn(f->loop, 2);
	origin_resets(f, 0);
	client_hears(f, c, "large");
	turns(f, 5);
	assert_false(c->is_reset);
}

/* A client that stops sending as it should, while the early answer still comes, is not too slow. */
static void test_early_answer_may_take_longer_than_the_body_may_pause(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->listener.server.body_idle_timeout_ms = 200;
	begin(f);
	c = dial(f, 0);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome");
	origin_hears(f, 0, "some");
	origin_says(f, 0, "HTTP/1.1 403 No\r\nContent-Length: 8\r\n\r\nhalf");
	client_hears(f, c, "half");
	steady_pass(300);
	turns(f, 5);
	origin_says(f, 0, "full");
	client_hears(f, c, "halffull");
	assert_false(c->is_reset);
}

static void test_slow_body_is_408(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->listener.server.body_idle_timeout_ms = 100;
	begin(f);
	c = dial(f, 0);
	ask(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nsome");
	origin_hears(f, 0, "some");
	client_hears(f, c, "HTTP/1.1 408");
	origin_sees_the_end(f, 0);
}

static void test_interim_answers_pass_and_a_flood_does_not(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK_EMPTY);
	client_hears(f, c, "HTTP/1.1 200");
	assert_non_null(strstr(c->got, "HTTP/1.1 103 Early Hints\r\nLink: </a>"));
	assert_null(strstr(c->got, "100 Continue"));
	f->origins[0].got_len = 0;
	f->origins[0].got[0] = 0;
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	for (int i = 0; i < 100; i++)
		origin_says(f, 0, "HTTP/1.1 102 Processing\r\n\r\n");
	client_hears(f, c, "HTTP/1.1 502");
}

static void test_body_after_an_answer_to_head_is_not_the_next_answer(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	client_hears(f, c, "Content-Length: 4\r\n");
	origin_sees_the_end(f, 0);
	assert_null(strstr(c->got, "evil"));
	assert_int_equal(side_of(f, 0)->pool.idle_count, 0);
}

static void test_truncated_answer_resets_the_client(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
	client_hears(f, c, "half");
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_true(c->is_reset);
}

static void test_client_reset_cancels_the_origin(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	client_resets(c);
	origin_sees_the_end(f, 0);
}

static void test_half_closed_client_gets_its_answer(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	origin_hears(f, 0, "\r\n\r\n");
	turns(f, 3);
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, c, "HTTP/1.1 200");
	client_sees_the_end(f, c);
	assert_false(c->is_reset);
}

static void test_half_closed_client_gets_all_its_answers(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
	       "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	origin_hears(f, 0, "GET /1");
	turns(f, 60); /* the client is watched by now */
	origin_says(f, 0, OK_EMPTY);
	origin_hears(f, 0, "GET /2");
	origin_says(f, 0, OK_EMPTY);
	origin_hears(f, 0, "GET /3");
	origin_says(f, 0, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
	client_hears(f, c, "last");
	client_sees_the_end(f, c);
	assert_false(c->is_reset);
}

static void test_connection_of_a_listener_that_just_left_is_served_once(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->listener.is_removed = true;
	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, OK_EMPTY);
	client_hears(f, c, "Connection: close");
	client_sees_the_end(f, c);
	assert_false(c->is_reset);
}

/* ---- tunnels ---- */

#define UPGRADE                                                                                                  \
	"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void test_tunnel_carries_both_ways_and_each_end_alone(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, UPGRADE);
	origin_hears(f, 0, "Upgrade: websocket");
	origin_says(f, 0, SWITCHING);
	client_hears(f, c, "HTTP/1.1 101");
	ask(c, "ping");
	origin_hears(f, 0, "ping");
	assert_int_equal(f->worker.tunnel_count, 1);
	assert_int_equal(f->worker.current->exchanges, 0);
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	origin_sees_the_end(f, 0);
	origin_says(f, 0, "pong");
	client_hears(f, c, "pong");
	origin_closes(f, 0);
	client_sees_the_end(f, c);
	assert_false(c->is_reset);
}

static void test_bytes_right_behind_the_switch_are_not_lost(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, UPGRADE "early");
	origin_hears(f, 0, "Upgrade: websocket");
	assert_null(strstr(f->origins[0].got, "early"));
	origin_says(f, 0, SWITCHING "greeting");
	client_hears(f, c, "greeting");
	origin_hears(f, 0, "early");
}

static void test_end_right_behind_the_switch_ends_the_tunnel(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, UPGRADE);
	origin_hears(f, 0, "Upgrade: websocket");
	origin_says(f, 0, SWITCHING "bye");
	origin_closes(f, 0);
	client_hears(f, c, "bye");
	client_sees_the_end(f, c);
}

static void test_switch_nobody_asked_for_is_502(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, GET);
	origin_hears(f, 0, "\r\n\r\n");
	origin_says(f, 0, SWITCHING);
	client_hears(f, c, "HTTP/1.1 502");
}

static void test_switch_before_the_end_of_the_request_is_502(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, "POST /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5");
	origin_hears(f, 0, "abc");
	origin_says(f, 0, SWITCHING);
	client_hears(f, c, "HTTP/1.1 502");
}

static void test_reset_of_one_side_ends_the_tunnel(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	begin(f);
	c = dial(f, 0);
	ask(c, UPGRADE);
	origin_hears(f, 0, "Upgrade: websocket");
	origin_says(f, 0, SWITCHING);
	client_hears(f, c, "HTTP/1.1 101");
	origin_resets(f, 0);
	client_sees_the_end(f, c);
}

static void test_idle_tunnel_ends(void **state)
{
	struct fixture *f = *state;
	struct client *c;

	f->route.tunnel_idle_ms = 30;
	begin(f);
	c = dial(f, 0);
	ask(c, UPGRADE);
	origin_hears(f, 0, "Upgrade: websocket");
	origin_says(f, 0, SWITCHING);
	client_hears(f, c, "HTTP/1.1 101");
	client_sees_the_end(f, c);
	origin_sees_the_end(f, 0);
}

/* ---- an origin that dies, at each step ---- */

static void test_origin_that_dies_at_each_step(void **state)
{
	static const char *const said[] = {
		"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: ",
	};
	struct fixture *f = *state;

	begin(f);
	for (size_t i = 0; i < 2 * (sizeof(said) / sizeof(said[0])); i++) {
		struct client *c = &f->clients[0];

		memset(c, 0, sizeof(*c));
		c = dial(f, 0);
		ask(c, GET);
		origin_hears(f, 0, "\r\n\r\n");
		origin_says(f, 0, said[i / 2]);
		turns(f, 2);
		if (i % 2)
			origin_resets(f, 0);
		else
			origin_closes(f, 0);
		if (i / 2 < 3)
			client_hears(f, c, "HTTP/1.1 502");
		else
			client_sees_the_end(f, c);
		client_leaves(c);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_request_goes_through_and_the_connection_is_reused),
		T(test_refused_connect_goes_to_another_target),
		T(test_refused_address_of_a_name_gives_way_to_the_next),
		T(test_all_addresses_of_a_name_refused_is_503),
		T(test_refused_connect_without_retries_is_503),
		T(test_stale_connection_costs_no_attempt),
		T(test_attempts_are_left_after_a_stale_connection),
		T(test_stale_connection_does_not_repeat_what_is_not_idempotent),
		T(test_status_is_retried_with_the_body),
		T(test_last_attempt_passes_its_status_on),
		T(test_used_up_budget_stops_retries),
		T(test_body_beyond_the_replay_buffer_is_not_repeated),
		T(test_garbage_is_502_and_not_retried),
		T(test_silent_origin_is_504),
		T(test_silent_origin_is_504_when_the_end_came_alone),
		T(test_request_waits_for_a_connection_and_gets_it),
		T(test_request_that_waits_too_long_is_503),
		T(test_request_beyond_the_queue_is_503),
		T(test_client_that_leaves_the_queue_is_forgotten),
		T(test_request_that_waits_is_not_overtaken),
		T(test_free_connection_is_used_behind_who_waits),
		T(test_two_connections_that_become_free_serve_two),
		T(test_body_is_held_back_while_the_connect_hangs),
		T(test_many_tiny_chunks_are_not_repeated),
		T(test_field_of_a_filter_that_would_break_the_head_gives_502),
		T(test_early_answer_ends_the_request),
		T(test_early_answer_before_a_reset_is_delivered),
		T(test_early_answer_may_take_longer_than_the_body_may_pause),
		T(test_slow_body_is_408),
		T(test_interim_answers_pass_and_a_flood_does_not),
		T(test_body_after_an_answer_to_head_is_not_the_next_answer),
		T(test_truncated_answer_resets_the_client),
		T(test_client_reset_cancels_the_origin),
		T(test_half_closed_client_gets_its_answer),
		T(test_half_closed_client_gets_all_its_answers),
		T(test_connection_of_a_listener_that_just_left_is_served_once),
		T(test_tunnel_carries_both_ways_and_each_end_alone),
		T(test_bytes_right_behind_the_switch_are_not_lost),
		T(test_end_right_behind_the_switch_ends_the_tunnel),
		T(test_switch_nobody_asked_for_is_502),
		T(test_switch_before_the_end_of_the_request_is_502),
		T(test_reset_of_one_side_ends_the_tunnel),
		T(test_idle_tunnel_ends),
		T(test_origin_that_dies_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
