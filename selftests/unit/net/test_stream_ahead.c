/* SPDX-License-Identifier: GPL-2.0-only */
/* test_stream_ahead.c - a receive that stands shows in nothing but speed: every test runs with and without. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/loop_turns.h"
#include "listen_any.h"
#include "net/stream_tcp_private.h"

/* The stream under test, the raw socket at its other end, and what happened. */
struct end {
	struct stream *s;
	int peer;
	unsigned connected, events, eof, failed, closed, paused, hangup;
	int err;
	size_t received, sent;
	uint64_t sum; /* of received bytes, by position */
	bool reads, closes_on_data;
	uint64_t data_ns, end_ns; /* in which turn */
};

static uint64_t sum_add(uint64_t sum, const void *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 1099511628211ULL + ((const uint8_t *)bytes)[i];
	return sum;
}

static void on_connected(struct stream *s)
{
	((struct end *)s->owner)->connected++;
}

static void on_data(struct stream *s, struct slice data)
{
	struct end *e = s->owner;

	e->events++;
	e->data_ns = loop_now_ns(loop);
	e->received += data.len;
	e->sum = sum_add(e->sum, data.ptr, data.len);
	slice_put(&data);
	if (e->closes_on_data)
		stream_close(s);
	else if (e->reads)
		stream_read(s, LOOP_BUFFERS_SMALL);
}

static void on_eof(struct stream *s)
{
	struct end *e = s->owner;

	e->eof++;
	e->end_ns = loop_now_ns(loop);
}

static void on_sent(struct stream *s, size_t bytes)
{
	((struct end *)s->owner)->sent += bytes;
}

static void on_fail(struct stream *s, int err)
{
	struct end *e = s->owner;

	e->failed++;
	e->err = err;
	e->end_ns = loop_now_ns(loop);
}

static void on_hangup(struct stream *s)
{
	((struct end *)s->owner)->hangup++;
}

static void on_closed(struct stream *s)
{
	((struct end *)s->owner)->closed++;
}

static void on_paused(struct stream *s)
{
	((struct end *)s->owner)->paused++;
}

static const struct stream_events events = { on_connected, on_data,	on_eof,	   on_sent,
					     on_fail,	   on_hangup, on_closed, on_paused };

static void say(struct end *e, const char *text)
{
	assert_int_equal(write(e->peer, text, strlen(text)), strlen(text));
}

/* Two short messages, each asked for: from now on a receive stands where the kernel can, and nobody asks. */
static void talk(struct end *e)
{
	for (unsigned i = 1; i <= 2; i++) {
		stream_read(e->s, LOOP_BUFFERS_SMALL);
		turns(1);
		say(e, "hello");
		wait_until(e->received == i * 5);
	}
	e->events = 0;
	e->received = 0;
	e->sum = 0;
}

/* A stream that connected (outgoing), or that was accepted. */
static void open_talking(struct end *e, bool is_outgoing)
{
	struct addr addr;
	int listener = listen_any(&addr), err;

	*e = (struct end){ 0 };
	if (is_outgoing) {
		e->s = stream_connect(loop, &addr, &events, e, &err);
		assert_non_null(e->s);
		wait_until(e->connected);
		e->peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	} else {
		e->peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(e->peer, &addr.sa, sizeof(addr.in)), 0);
		e->s = stream_open(loop, accept4(listener, NULL, NULL, SOCK_CLOEXEC), NULL, &events, e);
	}
	assert_true(e->peer >= 0);
	close(listener);
	talk(e);
}

static void end_close(struct end *e)
{
	if (!e->closed) {
		stream_close(e->s);
		wait_until(e->closed);
	}
	turns(1);
	assert_int_equal(e->closed, 1);
}

static void test_nothing_is_given_unasked(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	say(&e, "one ");
	turns(2);
	say(&e, "two ");
	turns(2);
	assert_int_equal(e.events, 0);
	assert_int_equal(e.s->bytes_in, 10);
	stream_read(e.s, LOOP_BUFFERS_SMALL);
	assert_int_equal(e.events, 0); /* never from inside of a call */
	wait_until(e.received == 8);
	assert_int_equal(e.events, 1);
	say(&e, "three");
	turns(3);
	assert_int_equal(e.received, 8);
	stream_read(e.s, LOOP_BUFFERS_LARGE);
	wait_until(e.received == 13);
	assert_int_equal(e.sum, sum_add(0, "one two three", 13));
	assert_int_equal(e.s->bytes_in, 23);
	close(e.peer);
	end_close(&e);
}

/* Whoever talks on while nobody asks finds the socket full, and pins no buffer; nothing is lost. */
static void flood(struct end *e, size_t piece)
{
	static uint8_t bytes[65536];
	struct loop_gauges gauges;
	const struct stream_tcp *s = container_of(e->s, struct stream_tcp, face);
	size_t written = 0;
	uint64_t sum = 0;
	ssize_t n = 0;

	assert_int_equal(fcntl(e->peer, F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 20000 && n >= 0; i++) {
		for (size_t k = 0; k < piece; k++)
			bytes[k] = (uint8_t)(written + k * 7);
		n = write(e->peer, bytes, piece);
		if (n > 0)
			sum = sum_add(sum, bytes, (size_t)n);
		written += n > 0 ? (size_t)n : 0;
		assert_int_equal(loop_turn(loop, 0), 0);
	}
	turns(3);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_SMALL], 0);
	assert_int_equal(e->events, 0);
	if (s->ahead)
		assert_true(s->ahead->len <= LOOP_STANDING_MAX && s->ahead->buf->size == LOOP_STANDING_MAX);
	e->reads = true;
	stream_read(e->s, LOOP_BUFFERS_SMALL);
	wait_until(e->received == written);
	assert_int_equal(e->sum, sum);
	turns(2);
	assert_int_equal(e->received, written);
}

static void test_a_flood_stays_in_the_socket(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	flood(&e, 65536);
	close(e.peer);
	wait_until(e.eof);
	end_close(&e);
}

static void test_a_drizzle_stays_in_the_socket(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, true);
	flood(&e, 1);
	assert_int_equal(e.received, 20000);
	close(e.peer);
	wait_until(e.eof);
	end_close(&e);
}

static void test_an_end_is_told_when_asked(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end e;

		(void)state;
		open_talking(&e, i == 1);
		say(&e, "bye");
		close(e.peer);
		turns(3);
		assert_int_equal(e.events + e.eof + e.failed, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		wait_until(e.received == 3);
		turns(2);
		assert_int_equal(e.eof, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		wait_until(e.eof);
		assert_int_equal(e.failed, 0);
		end_close(&e);
	}
}

/* Both are there at once: what the owner does with the bytes is done before it hears of the end. */
static void test_an_end_has_a_turn_of_its_own(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct end e;

		(void)state;
		open_talking(&e, i & 1);
		e.reads = true;
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		turns(1);
		say(&e, "bye");
		if (i & 2)
			reset(e.peer);
		else
			close(e.peer);
		wait_until(e.eof + e.failed);
		assert_int_equal(e.received, 3);
		assert_int_equal(e.eof, i & 2 ? 0 : 1);
		assert_int_equal(e.err, i & 2 ? -ECONNRESET : 0);
		assert_true(e.end_ns > e.data_ns);
		end_close(&e);
	}
}

static void test_a_watcher_hears_of_the_end(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	stream_watch(e.s, true);
	say(&e, "bye");
	turns(2);
	assert_int_equal(shutdown(e.peer, SHUT_WR), 0);
	wait_until(e.hangup);
	assert_int_equal(e.events + e.eof, 0);
	stream_watch(e.s, true);
	turns(2);
	reset(e.peer);
	wait_until(e.failed);
	assert_int_equal(e.hangup, 1);
	end_close(&e);
}

/* What came before a reset is for whoever asks; then comes the reset. */
static void test_a_reset_waits_for_the_reader(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end e;

		(void)state;
		open_talking(&e, i == 1);
		say(&e, "bye");
		turns(2);
		reset(e.peer);
		turns(2);
		assert_int_equal(e.events + e.failed, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		wait_until(e.received == 3);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		wait_until(e.failed);
		assert_int_equal(e.err, -ECONNRESET);
		assert_int_equal(e.eof, 0);
		end_close(&e);
	}
}

/* It was asked for, so it is given; nobody asks on, but writes. */
static void test_a_reset_after_bytes_is_told_to_who_writes(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end e;

		(void)state;
		open_talking(&e, false);
		say(&e, "bye");
		turns(2);
		reset(e.peer);
		turns(2);
		if (i == 1) {
			stream_read(e.s, LOOP_BUFFERS_SMALL);
			wait_until(e.received == 3);
		}
		for (unsigned k = 0; k < 500 && !e.failed; k++) {
			stream_write(e.s, slice_static("x", 1));
			turns(2);
		}
		assert_int_equal(e.failed, 1);
		assert_int_equal(e.sent, 0);
		end_close(&e);
	}
}

static void test_a_reset_after_bytes_is_told_to_who_watches(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	say(&e, "bye");
	turns(2);
	reset(e.peer);
	turns(2);
	stream_watch(e.s, true);
	wait_until(e.failed);
	assert_int_equal(e.events + e.hangup, 0);
	end_close(&e);
}

static void test_a_reset_of_who_was_asked_nothing(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end e;

		(void)state;
		open_talking(&e, i == 1);
		reset(e.peer);
		turns(2);
		for (unsigned k = 0; k < (i == 0 ? 500 : 3) && !e.failed; k++) {
			stream_write(e.s, slice_static("x", 1));
			turns(2);
		}
		assert_int_equal(e.failed, i == 0); /* an origin may have answered: its reader is told */
		if (i == 1)
			stream_read(e.s, LOOP_BUFFERS_SMALL);
		wait_until(e.failed);
		end_close(&e);
	}
}

/* Bytes that came ahead are given before the pause, and a receive that stands is no quiet. */
static void test_a_pause_loses_nothing(void **state)
{
	struct end e;
	char byte[8];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		open_talking(&e, false);
		if (i == 1)
			say(&e, "ahead");
		turns(2);
		if (!stream_pause(e.s)) {
			assert_int_not_equal(stream_lend(e.s, STREAM_IN), 0);
			wait_until(e.paused);
		}
		assert_int_equal(e.failed + e.eof, 0);
		assert_false(stream_is_busy(e.s, STREAM_IN));
		say(&e, "+");
		turns(2);
		assert_int_equal(stream_lend(e.s, STREAM_IN), 0);
		assert_int_equal(recv(stream_fd(e.s), byte, sizeof(byte), 0), i == 1 && e.received == 0 ? 6 : 1);
		stream_take_back(e.s, STREAM_IN, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		say(&e, "more");
		wait_until(e.received == 4 || e.received == 9);
		close(e.peer);
		end_close(&e);
	}
}

/* Who wants to move the input otherwise is told when it can, or gets first what came ahead. */
static void test_lending_waits_for_the_receive(void **state)
{
	for (unsigned i = 0; i < 3; i++) {
		struct end e;
		int err;

		(void)state;
		open_talking(&e, i == 1);
		turns(1);
		err = stream_lend(e.s, STREAM_IN);
		if (err) {
			assert_int_equal(err, -EAGAIN);
			assert_int_equal(stream_lend(e.s, STREAM_IN), -EAGAIN);
			assert_false(stream_is_busy(e.s, STREAM_IN));
			if (i == 2)
				say(&e, "ahead");
			wait_until(e.paused);
			turns(2);
			assert_int_equal(e.paused, 1);
			err = stream_lend(e.s, STREAM_IN);
		}
		assert_int_equal(err, i == 2 && stream_is_busy(e.s, STREAM_IN) ? -EBUSY : 0);
		if (err == 0)
			stream_take_back(e.s, STREAM_IN, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		say(&e, "more");
		wait_until(e.received >= 4);
		close(e.peer);
		end_close(&e);
	}
}

/* Then nobody waits for the pause; and the next time it is lent as if nothing had been. */
static void test_reading_instead_of_lending(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	for (unsigned i = 1; i <= 20; i++) {
		if (stream_lend(e.s, STREAM_IN) == 0)
			stream_take_back(e.s, STREAM_IN, 0);
		stream_read(e.s, LOOP_BUFFERS_SMALL);
		if (i % 2)
			turns(1);
		say(&e, "x");
		wait_until(e.received == i);
	}
	assert_int_equal(e.paused, 0);
	if (stream_lend(e.s, STREAM_IN) != 0) {
		wait_until(e.paused);
		assert_int_equal(stream_lend(e.s, STREAM_IN), 0);
	}
	stream_take_back(e.s, STREAM_IN, 0);
	close(e.peer);
	end_close(&e);
}

static void test_reading_again_ends_a_pause(void **state)
{
	struct end e;

	(void)state;
	open_talking(&e, false);
	for (unsigned i = 1; i <= 50; i++) {
		(void)stream_pause(e.s);
		stream_read(e.s, i % 3 ? LOOP_BUFFERS_SMALL : LOOP_BUFFERS_LARGE);
		if (i % 2)
			turns(1);
		say(&e, "x");
		wait_until(e.received == i);
	}
	close(e.peer);
	end_close(&e);
}

static void test_close_at_any_time(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		struct end e;

		(void)state;
		open_talking(&e, i & 1);
		say(&e, "ahead");
		if (i & 2)
			turns(2);
		e.closes_on_data = true;
		if (i & 4) {
			stream_read(e.s, LOOP_BUFFERS_SMALL);
			wait_until(e.closed);
			assert_int_equal(e.received, 5);
		}
		end_close(&e);
		close(e.peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown), \
		cmocka_unit_test_setup_teardown(name, loop_setup_one_shot, loop_teardown)
		TEST(test_nothing_is_given_unasked),
		TEST(test_a_flood_stays_in_the_socket),
		TEST(test_a_drizzle_stays_in_the_socket),
		TEST(test_an_end_is_told_when_asked),
		TEST(test_an_end_has_a_turn_of_its_own),
		TEST(test_a_watcher_hears_of_the_end),
		TEST(test_a_reset_waits_for_the_reader),
		TEST(test_a_reset_after_bytes_is_told_to_who_writes),
		TEST(test_a_reset_after_bytes_is_told_to_who_watches),
		TEST(test_a_reset_of_who_was_asked_nothing),
		TEST(test_a_pause_loses_nothing),
		TEST(test_lending_waits_for_the_receive),
		TEST(test_reading_instead_of_lending),
		TEST(test_reading_again_ends_a_pause),
		TEST(test_close_at_any_time),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
