/* SPDX-License-Identifier: GPL-2.0-only */
/* test_store_worker.c - questions to a store that the test plays: deadlines, breaker, probes, hostile replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "clients/store_worker.h"
#include "lib/port_hold.h"
#include "lib/steady_clock.h"

#define TIMEOUT_MS 60
#define ADMITTED   "*4\r\n:1\r\n:4\r\n:1000\r\n:0\r\n"
#define REFUSED	   "*4\r\n:0\r\n:0\r\n:5000\r\n:1000\r\n"
#define LONG_MS	   20000

struct question {
	struct store_check check;
	unsigned done;
	uint64_t done_ms;
};

struct fixture {
	struct loop *loop;
	struct stores stores;
	struct store *store;
	struct store_worker *side;
	int listener, peer; /* the store's */
	struct sockaddr_in addr;
	unsigned downs, ups;
	char heard[65536]; /* what the peer was sent */
	size_t heard_len;
};

static int next_addr(void *ctx, struct addr *out)
{
	struct fixture *f = ctx;

	*out = (struct addr){ .len = sizeof(f->addr), .in = f->addr };
	return 0;
}

static void on_change(void *ctx, struct store *s, bool is_down)
{
	struct fixture *f = ctx;

	(void)s;
	f->downs += is_down;
	f->ups += !is_down;
}

static const struct store_events events = { .on_change = on_change };

static void listen_at(struct fixture *f)
{
	socklen_t len = sizeof(f->addr);
	const int on = 1;

	f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(f->listener, (struct sockaddr *)&f->addr, sizeof(f->addr)), 0);
	assert_int_equal(listen(f->listener, 16), 0);
	assert_int_equal(getsockname(f->listener, (struct sockaddr *)&f->addr, &len), 0);
}

static struct fixture *begin(const char *url, enum store_kind kind)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct loop_config config = { .entries = 64, .buffer_count = { 16, 16 } };
	struct store_settings settings = { .pool_max = 2, .timeout_ms = LONG_MS, .next_addr = next_addr, .ctx = f };
	const char *reason;

	assert_int_equal(loop_new(&f->loop, &config, &reason), 0);
	assert_true(store_url_parse(&settings.url, kind, span_str(url), &reason));
	f->addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	f->peer = -1;
	listen_at(f);
	f->store = store_new(&f->stores, "x", &settings);
	f->side = store_worker_new(f->loop, f->store, &events, f);
	(void)loop_turn(f->loop, 0);
	return f;
}

static void end(struct fixture *f)
{
	store_worker_close(f->side);
	while (!store_worker_is_closed(f->side))
		(void)loop_turn(f->loop, 10);
	store_worker_free(f->side);
	store_put(f->store);
	stores_fini(&f->stores);
	for (unsigned i = 0; i < 3; i++)
		(void)loop_turn(f->loop, 1);
	loop_free(f->loop);
	if (f->peer >= 0)
		close(f->peer);
	if (f->listener >= 0)
		close(f->listener);
	free(f);
}

static void on_done(struct store_check *k)
{
	struct question *q = container_of(k, struct question, check);

	q->done++;
	q->done_ms = clock_mono_ns() / 1000000;
}

static enum store_failure ask(struct fixture *f, struct question *q)
{
	*q = (struct question){ .check = { .key = SPAN("key"), .interval_us = 1000, .tolerance_us = 4000,
					   .on_done = on_done } };
	return store_check_begin(f->side, &q->check);
}

static bool is_heard(const struct fixture *f, const char *text)
{
	return text && memmem(f->heard, f->heard_len, text, strlen(text));
}

/* Turns of the loop; takes connections, hears what comes.  Until `text` (or NULL) was heard, or `*flag` is not 0. */
static void turn_until(struct fixture *f, const char *text, const unsigned *flag)
{
	uint64_t give_up = clock_mono_ns() / 1000000 + 2 * LONG_MS;

	while (!is_heard(f, text) && !(flag && *flag)) {
		assert_true(clock_mono_ns() / 1000000 < give_up);
		(void)loop_turn(f->loop, 1);
		if (f->peer < 0 && f->listener >= 0) {
			f->peer = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			f->heard_len = 0;
		}
		if (f->peer >= 0) {
			ssize_t n = recv(f->peer, f->heard + f->heard_len, sizeof(f->heard) - f->heard_len, 0);

			f->heard_len += n > 0 ? (size_t)n : 0;
		}
	}
	if (text)
		f->heard_len = 0;
}

static void say(struct fixture *f, const char *text)
{
	assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void hang_up(struct fixture *f)
{
	close(f->peer);
	f->peer = -1;
}

static void test_answers_come_in_order(void **state)
{
	struct fixture *f = begin("redis://:pw@h/2", STORE_REDIS);
	struct question a, b;

	(void)state;
	assert_int_equal(ask(f, &a), STORE_ANSWERED);
	assert_int_equal(ask(f, &b), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, "+OK\r\n+OK\r\n" ADMITTED REFUSED);
	turn_until(f, NULL, &b.done);
	assert_int_equal(a.check.failure, STORE_ANSWERED);
	assert_true(a.check.is_admitted && a.check.remaining == 4 && a.check.full_us == 1000);
	assert_true(!b.check.is_admitted && b.check.wait_us == 1000);
	assert_int_equal(a.done + b.done, 2);
	end(f);
}

static void test_forgotten_script_is_sent_again(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
	turn_until(f, "redis.call('TIME')", NULL);
	say(f, "-NOSCRIPT No matching script. Please use EVAL.\r\n"); /* to EVAL: it makes fun of us */
	turn_until(f, NULL, &q.done);
	assert_int_equal(q.check.failure, STORE_REFUSED);
	end(f);
}

static void test_deadline_of_a_silent_store(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	uint64_t begin_ms = clock_mono_ns() / 1000000;
	struct question a, b;

	(void)state;
	f->store->settings.timeout_ms = TIMEOUT_MS;
	assert_int_equal(ask(f, &a), STORE_ANSWERED);
	turn_until(f, NULL, &a.done);
	assert_int_equal(a.check.failure, STORE_TIMEOUT);
	assert_true(a.done_ms - begin_ms >= TIMEOUT_MS - 1);
	/* its reply comes late: it is not taken for the answer to the next question */
	f->store->settings.timeout_ms = LONG_MS;
	assert_int_equal(ask(f, &b), STORE_ANSWERED);
	say(f, REFUSED ADMITTED);
	turn_until(f, NULL, &b.done);
	assert_int_equal(b.check.failure, STORE_ANSWERED);
	assert_true(b.check.is_admitted);
	assert_int_equal(a.done, 1);
	end(f);
}

static void test_breaker_opens_and_a_probe_closes_it(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question q[STORE_FAILURES_MAX], more;
	char why[STORE_WHY_MAX];

	(void)state;
	f->store->settings.timeout_ms = TIMEOUT_MS;
	for (unsigned i = 0; i < STORE_FAILURES_MAX; i++) {
		assert_int_equal(f->downs, 0);
		assert_int_equal(ask(f, &q[i]), STORE_ANSWERED);
		turn_until(f, NULL, &q[i].done);
		assert_int_equal(q[i].check.failure, STORE_TIMEOUT);
	}
	assert_int_equal(f->downs, 1);
	assert_int_equal(f->store->workers_down, 1);
	store_why(f->store, why);
	assert_string_equal(why, "it does not answer in time");
	assert_int_equal(ask(f, &more), STORE_DOWN); /* at once */
	hang_up(f);
	turn_until(f, "PING", NULL);
	assert_int_equal(ask(f, &more), STORE_DOWN); /* nobody but the probe is asked */
	hang_up(f);				     /* the probe fails: another one comes */
	turn_until(f, "PING", NULL);
	say(f, "+PONG\r\n");
	turn_until(f, NULL, &f->ups);
	assert_int_equal(f->store->workers_down, 0);
	f->store->settings.timeout_ms = LONG_MS;
	assert_int_equal(ask(f, &more), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, ADMITTED);
	turn_until(f, NULL, &more.done);
	assert_int_equal(more.check.failure, STORE_ANSWERED);
	assert_int_equal(f->downs, 1);
	end(f);
}

static void test_success_between_failures_counts_anew(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question q;

	(void)state;
	for (unsigned i = 0; i < 3 * STORE_FAILURES_MAX; i++) {
		assert_int_equal(ask(f, &q), STORE_ANSWERED);
		turn_until(f, "EVALSHA", NULL);
		say(f, i % STORE_FAILURES_MAX == 0 ? ADMITTED : "-OOM command not allowed\r\n");
		turn_until(f, NULL, &q.done);
		assert_int_equal(q.check.failure, i % STORE_FAILURES_MAX == 0 ? STORE_ANSWERED : STORE_REFUSED);
	}
	assert_int_equal(f->downs, 0);
	end(f);
}

static void test_garbage_ends_the_connection(void **state)
{
	static const char *const garbage[] = {
		"HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n", "*4\r\n:1\r\n:-4\r\n:0\r\n:0\r\n",
		"*4\r\n:2\r\n:0\r\n:0\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n", "*4\r\n:1\r\n:0\r\n:6000\r\n:0\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		struct fixture *f = begin("redis://h", STORE_REDIS);
		struct question a, b;

		assert_int_equal(ask(f, &a), STORE_ANSWERED);
		assert_int_equal(ask(f, &b), STORE_ANSWERED);
		turn_until(f, "EVALSHA", NULL);
		say(f, garbage[i]);
		turn_until(f, NULL, &b.done);
		assert_int_equal(a.check.failure, STORE_GARBAGE);
		assert_int_equal(b.check.failure, STORE_GARBAGE);
		end(f);
	}
}

static void test_reply_that_nobody_asked_for(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question a, b;

	(void)state;
	assert_int_equal(ask(f, &a), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, ADMITTED ADMITTED);
	turn_until(f, NULL, &a.done);
	assert_int_equal(a.check.failure, STORE_ANSWERED);
	hang_up(f);
	assert_int_equal(ask(f, &b), STORE_ANSWERED); /* on another connection */
	turn_until(f, "EVALSHA", NULL);
	say(f, ADMITTED);
	turn_until(f, NULL, &b.done);
	assert_int_equal(b.check.failure, STORE_ANSWERED);
	end(f);
}

static void test_half_a_reply_and_the_end(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, "*4\r\n:1\r\n:4");
	hang_up(f);
	turn_until(f, NULL, &q.done);
	assert_int_equal(q.check.failure, STORE_CLOSED);
	end(f);
}

static void test_question_that_is_given_up(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question a, b;

	(void)state;
	assert_int_equal(ask(f, &a), STORE_ANSWERED);
	assert_int_equal(ask(f, &b), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	store_check_cancel(&a.check);
	memset(&a, 0xee, sizeof(a)); /* its exchange is gone */
	say(f, REFUSED ADMITTED);
	turn_until(f, NULL, &b.done);
	assert_true(b.check.is_admitted);
	assert_true(store_worker_is_idle(f->side));
	end(f);
}

static void test_wrong_password(void **state)
{
	struct fixture *f = begin("redis://:pw@h", STORE_REDIS);
	struct question q;
	char why[STORE_WHY_MAX];

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "EVALSHA", NULL);
	say(f, "-WRONGPASS invalid\r\n");
	turn_until(f, NULL, &q.done);
	assert_int_equal(q.check.failure, STORE_REFUSED);
	store_why(f->store, why);
	assert_string_equal(why, "WRONGPASS invalid");
	end(f);
}

static void test_nobody_listens(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	struct question q;

	(void)state;
	f->listener = port_hold(f->listener);
	for (unsigned i = 0; i < STORE_FAILURES_MAX; i++) {
		enum store_failure first = ask(f, &q);

		if (first == STORE_ANSWERED) {
			turn_until(f, NULL, &q.done);
			first = q.check.failure;
		}
		assert_int_equal(first, STORE_CONNECT);
	}
	assert_int_equal(ask(f, &q), STORE_DOWN);
	assert_int_equal(listen(f->listener, 16), 0);
	turn_until(f, "PING", NULL);
	say(f, "+PONG\r\n");
	turn_until(f, NULL, &f->ups);
	end(f);
}

static void test_too_many_questions(void **state)
{
	struct fixture *f = begin("redis://h", STORE_REDIS);
	static struct question q[2 * STORE_IN_FLIGHT_MAX + 1];
	unsigned taken = 0;

	(void)state;
	while (taken < ARRAY_LEN(q) && ask(f, &q[taken]) == STORE_ANSWERED) {
		taken++;
		if (taken % 64 == 0)
			(void)loop_turn(f->loop, 0);
	}
	assert_in_range(taken, STORE_IN_FLIGHT_MAX, 2 * STORE_IN_FLIGHT_MAX);
	assert_int_equal(f->downs, 0);
	for (unsigned i = 0; i < taken; i++)
		store_check_cancel(&q[i].check);
	end(f);
}

static void test_memcached_idle_counter_is_moved_by_swap(void **state)
{
	struct fixture *f = begin("memcache://h", STORE_MEMCACHED);
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "ma key v c D1000", NULL);
	say(f, "VA 4 c77\r\n5000\r\n");
	turn_until(f, "C77", NULL);
	say(f, "EX\r\n"); /* somebody else added something */
	turn_until(f, "mg key v c", NULL);
	say(f, "VA 4 c78\r\n6000\r\n");
	turn_until(f, "C78", NULL);
	say(f, "EX\r\n"); /* somebody else moved it */
	turn_until(f, "mg key v c", NULL);
	say(f, "VA 16 c79\r\n9000000000000000\r\n");
	turn_until(f, "ma key v c D1000", NULL);
	say(f, "VA 4 c80\r\n7000\r\n");
	turn_until(f, "C80", NULL);
	say(f, "HD\r\n");
	turn_until(f, NULL, &q.done);
	assert_true(q.check.failure == STORE_ANSWERED && q.check.is_admitted && q.check.remaining == 4);
	end(f);
}

/* Idle, and gone whenever it is moved: a question costs so many commands and no more. */
static void test_memcached_counter_that_comes_and_goes(void **state)
{
	struct fixture *f = begin("memcache://h", STORE_MEMCACHED);
	unsigned commands = 0;
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	for (;;) {
		bool is_swap = commands % 2;

		turn_until(f, is_swap ? "ms key 16 C7" : "ma key v c D1000", &q.done);
		if (q.done)
			break;
		assert_in_range(++commands, 1, 16);
		say(f, is_swap ? "NF\r\n" : "VA 4 c7\r\n5000\r\n");
	}
	assert_int_equal(q.check.failure, STORE_BUSY);
	assert_int_equal(commands, 16);
	end(f);
}

static void test_memcached_refusal_is_taken_back(void **state)
{
	struct fixture *f = begin("memcache://h", STORE_MEMCACHED);
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "ma key", NULL);
	say(f, "VA 16 c1\r\n9000000000000000\r\n");
	turn_until(f, "MD D1000", NULL);
	assert_int_equal(q.done, 1);
	assert_true(q.check.failure == STORE_ANSWERED && !q.check.is_admitted);
	say(f, "HD\r\n");
	end(f);
}

/* Its clock goes by whole seconds, two at once when a tick is late: what ends in two may be over now. */
static void test_memcached_counter_outlives_a_late_tick(void **state)
{
	struct fixture *f = begin("memcache://h", STORE_MEMCACHED);
	struct question q;

	(void)state;
	q = (struct question){ .check = { .key = SPAN("key"), .interval_us = 1000, .tolerance_us = 90000000,
					  .on_done = on_done } };
	assert_int_equal(store_check_begin(f->side, &q.check), STORE_ANSWERED);
	turn_until(f, "ma key v c D1000 N94 J", NULL);
	say(f, "VA 4 c77\r\n5000\r\n");
	turn_until(f, "C77 T94\r\n", NULL);
	say(f, "HD\r\n");
	turn_until(f, NULL, &q.done);
	end(f);
}

static void test_memcached_without_swap(void **state)
{
	struct fixture *f = begin("memcache://h", STORE_MEMCACHED);
	struct question q;

	(void)state;
	assert_int_equal(ask(f, &q), STORE_ANSWERED);
	turn_until(f, "ma key", NULL);
	say(f, "VA 4 c0\r\n5000\r\n");
	turn_until(f, NULL, &q.done);
	assert_int_equal(q.check.failure, STORE_REFUSED);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_come_in_order),
		cmocka_unit_test(test_forgotten_script_is_sent_again),
		cmocka_unit_test(test_deadline_of_a_silent_store),
		cmocka_unit_test(test_breaker_opens_and_a_probe_closes_it),
		cmocka_unit_test(test_success_between_failures_counts_anew),
		cmocka_unit_test(test_garbage_ends_the_connection),
		cmocka_unit_test(test_reply_that_nobody_asked_for),
		cmocka_unit_test(test_half_a_reply_and_the_end),
		cmocka_unit_test(test_question_that_is_given_up),
		cmocka_unit_test(test_wrong_password),
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_too_many_questions),
		cmocka_unit_test(test_memcached_idle_counter_is_moved_by_swap),
		cmocka_unit_test(test_memcached_counter_that_comes_and_goes),
		cmocka_unit_test(test_memcached_refusal_is_taken_back),
		cmocka_unit_test(test_memcached_counter_outlives_a_late_tick),
		cmocka_unit_test(test_memcached_without_swap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
