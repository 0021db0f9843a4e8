/* SPDX-License-Identifier: GPL-2.0-only */
/* test_splice.c - bytes from one socket to another inside the kernel, and the pipes for it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/splice.h"

#define MIB	    (1024 * 1024)
#define DEADLINE_MS 60000

/* A peer whose bytes come by `from`, and one that gets them by `to`. */
struct fixture {
	struct loop *loop;
	struct pipe_pool pipes;
	struct stream *from, *to;
	int source, sink; /* the peers' ends */
	struct splice *splice; /* NULL: ended */
	enum splice_end end;
	int err;
	uint64_t moved, sent, got;
	unsigned ends, waits_to, fails;
	int fail_err;
	bool is_wrong; /* a byte was not the one that was sent */
	bool stops; /* in the next on_moved() */
};

static uint8_t byte_at(uint64_t position)
{
	return (uint8_t)(position * 31 + position / 4096);
}

static void on_sent(struct stream *s, size_t bytes)
{
	((struct fixture *)s->owner)->sent += bytes;
}

static void on_fail(struct stream *s, int err)
{
	struct fixture *f = s->owner;

	f->fails++;
	f->fail_err = err;
}

static void on_closed(struct stream *s)
{
	struct fixture *f = s->owner;

	if (s == f->from)
		f->from = NULL;
	else
		f->to = NULL;
}

static const struct stream_events stream_events = {
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

static void on_moved(struct splice *sp, size_t bytes, enum splice_wait wait)
{
	struct fixture *f = splice_owner(sp);

	f->moved += bytes;
	f->waits_to += wait == SPLICE_WAITS_TO;
	if (f->stops) {
		(void)splice_stop(sp);
		f->splice = NULL;
		stream_take_back(f->from, STREAM_IN, 0);
		stream_take_back(f->to, STREAM_OUT, 0);
	}
}

static void on_end(struct splice *sp, enum splice_end end, int err)
{
	struct fixture *f = splice_owner(sp);

	f->splice = NULL;
	f->end = end;
	f->err = err;
	f->ends++;
	stream_take_back(f->from, STREAM_IN, end == SPLICE_FROM_FAILED ? err : 0);
	stream_take_back(f->to, STREAM_OUT, end == SPLICE_TO_FAILED ? err : 0);
}

static const struct splice_events splice_events = {
	.on_moved = on_moved,
	.on_end = on_end,
};

/* A connection; *out_peer does not block. */
static int tcp_pair(int *out_peer)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), fd;
	socklen_t len = sizeof(a);

	assert_int_equal(bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&a, &len), 0);
	*out_peer = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*out_peer, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(fcntl(*out_peer, F_SETFL, O_NONBLOCK), 0);
	fd = accept(l, NULL, NULL);
	assert_true(fd >= 0);
	(void)close(l);
	return fd;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *reason = "";

	assert_int_equal(loop_new(&f->loop, NULL, &reason), 0);
	pipe_pool_init_with(&f->pipes, 0, 0, 0);
	f->from = stream_open(f->loop, tcp_pair(&f->source), NULL, &stream_events, f);
	f->to = stream_open(f->loop, tcp_pair(&f->sink), NULL, &stream_events, f);
	*state = f;
	return 0;
}

static void start(struct fixture *f, uint64_t bytes)
{
	assert_int_equal(stream_lend(f->from, STREAM_IN), 0);
	assert_int_equal(stream_lend(f->to, STREAM_OUT), 0);
	f->splice = splice_new(&f->pipes, f->from, f->to, bytes, &splice_events, f);
}

static unsigned pipes_busy(struct fixture *f)
{
	struct pipe_pool_gauges g;

	pipe_pool_gauges(&f->pipes, &g);
	return g.open - g.idle;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	uint64_t deadline = clock_mono_ns() + DEADLINE_MS * 1000000ull;

	if (f->splice) {
		(void)splice_stop(f->splice);
		stream_take_back(f->from, STREAM_IN, 0);
		stream_take_back(f->to, STREAM_OUT, 0);
	}
	stream_close(f->from);
	stream_close(f->to);
	while ((f->from || f->to) && clock_mono_ns() < deadline)
		(void)loop_turn(f->loop, 10);
	for (unsigned i = 0; i < 10; i++) /* a cancelled poll */
		(void)loop_turn(f->loop, 1);
	assert_int_equal(pipes_busy(f), 0);
	loop_free(f->loop); /* CHECKs that nothing is in flight */
	pipe_pool_fini(&f->pipes);
	(void)close(f->source);
	(void)close(f->sink);
	free(f);
	return 0;
}

/* As much of `bytes` as the source takes, from that position of the stream. */
static uint64_t feed(struct fixture *f, uint64_t position, uint64_t bytes)
{
	static uint8_t piece[65536];
	uint64_t done = 0;

	while (done < bytes) {
		size_t want = (size_t)MIN(bytes - done, (uint64_t)sizeof(piece));
		ssize_t n;

		for (size_t i = 0; i < want; i++)
			piece[i] = byte_at(position + done + i);
		n = send(f->source, piece, want, MSG_NOSIGNAL);
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	return done;
}

static void drink(struct fixture *f)
{
	static uint8_t piece[65536];
	ssize_t n;

	while ((n = recv(f->sink, piece, sizeof(piece), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			f->is_wrong |= piece[i] != byte_at(f->got++);
}

/* The source, which has written `fed`, writes all, the sink reads, until the splice ended or nothing moves. */
static void run_on(struct fixture *f, uint64_t fed, uint64_t bytes, bool reads)
{
	uint64_t last = clock_mono_ns();

	while (f->splice && clock_mono_ns() - last < DEADLINE_MS * 1000000ull) {
		uint64_t before = fed + f->moved + f->got;

		fed += feed(f, fed, bytes - fed);
		(void)loop_turn(f->loop, 1);
		if (reads)
			drink(f);
		if (fed + f->moved + f->got != before)
			last = clock_mono_ns();
	}
	assert_null(f->splice);
	/* what left last may still be on its way */
	while (reads && f->got < f->sent && clock_mono_ns() - last < DEADLINE_MS * 1000000ull) {
		drink(f);
		(void)loop_turn(f->loop, 1);
	}
	(void)loop_turn(f->loop, 0);
}

static void run(struct fixture *f, uint64_t bytes, bool reads)
{
	run_on(f, 0, bytes, reads);
}

/* So many bytes that were left in the socket, the last of which may still be on their way. */
static ssize_t take_rest(const struct stream *from, size_t bytes)
{
	const struct timeval patience = { .tv_sec = 30 };
	uint8_t rest[16];

	assert_true(bytes <= sizeof(rest));
	(void)setsockopt(stream_fd(from), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return recv(stream_fd(from), rest, bytes, MSG_WAITALL);
}

static void test_exactly_so_many_bytes_are_moved(void **state)
{
	struct fixture *f = *state;

	start(f, 10 * MIB + 7);
	run(f, 10 * MIB + 12, true);
	assert_int_equal(f->end, SPLICE_DONE);
	assert_int_equal(f->moved, 10 * MIB + 7);
	assert_int_equal(f->sent, 10 * MIB + 7);
	assert_int_equal(f->got, 10 * MIB + 7);
	assert_false(f->is_wrong);
	assert_int_equal(f->to->queued, 0);
	assert_int_equal(f->from->bytes_in, 10 * MIB + 7);
	assert_int_equal(f->to->bytes_out, 10 * MIB + 7);
	assert_int_equal(take_rest(f->from, 5), 5);
}

static void test_one_byte_is_moved(void **state)
{
	struct fixture *f = *state;

	start(f, 1);
	run(f, 1, true);
	assert_int_equal(f->end, SPLICE_DONE);
	assert_int_equal(f->got, 1);
}

/* Sockets block; a splice of an empty one may not. */
static void test_loop_goes_on_while_nothing_comes(void **state)
{
	struct fixture *f = *state;
	uint64_t began = clock_mono_ns();

	start(f, MIB);
	for (unsigned i = 0; i < 20; i++)
		(void)loop_turn(f->loop, 1);
	assert_true(clock_mono_ns() - began < 30000000000ull); /* it would for ever */
	assert_non_null(f->splice);
	assert_int_equal(pipes_busy(f), 0); /* who waits needs none */
	assert_int_equal(fcntl(stream_fd(f->from), F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(stream_fd(f->to), F_GETFL) & O_NONBLOCK, 0);
}

static void test_reader_that_stops_bounds_what_is_taken(void **state)
{
	struct fixture *f = *state;
	const int small = 131072; /* with less room than a segment some kernels open the window each 200 ms only */
	uint64_t fed = 0, began = clock_mono_ns();

	(void)setsockopt(f->sink, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	start(f, 16 * MIB);
	for (unsigned i = 0; i < 200; i++) {
		fed += feed(f, fed, 16 * MIB - fed);
		(void)loop_turn(f->loop, 1);
	}
	assert_true(clock_mono_ns() - began < 30000000000ull);
	assert_non_null(f->splice);
	assert_true(f->waits_to > 0);
	assert_true(f->to->queued <= PIPE_BYTES);
	assert_true(f->moved < 8 * MIB);
	run_on(f, fed, 16 * MIB, true);
	assert_int_equal(f->end, SPLICE_DONE);
	assert_int_equal(f->got, 16 * MIB);
	assert_false(f->is_wrong);
}

/*
 * A poll for room says at once, and for ever, that the receiver's own sending has ended.  Whoever heeds that has no
 * turn that waits.  The kernel finds room a few times more, late: its probe of the window may let the send buffer grow.
 */
static void test_waiting_for_a_half_closed_reader_costs_nothing(void **state)
{
	struct fixture *f = *state;
	const int small = 131072;
	uint64_t fed = 0, began = clock_mono_ns();
	unsigned waited = 0; /* turns in a row */

	(void)setsockopt(f->sink, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(shutdown(f->sink, SHUT_WR), 0);
	start(f, 16 * MIB);
	while (waited < 60) {
		uint64_t moved = f->moved, before;

		fed += feed(f, fed, 16 * MIB - fed);
		before = clock_mono_ns();
		(void)loop_turn(f->loop, 5);
		waited = clock_mono_ns() - before >= 4 * 1000000ull && f->moved == moved ? waited + 1 : 0;
		assert_true(before - began < DEADLINE_MS * 1000000ull);
	}
	assert_true(f->waits_to > 0);
	run_on(f, fed, 16 * MIB, true);
	assert_int_equal(f->end, SPLICE_DONE);
	assert_int_equal(f->got, 16 * MIB);
	assert_false(f->is_wrong);
}

static void test_end_of_the_source_comes_after_its_bytes(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(feed(f, 0, 100000), 100000);
	(void)shutdown(f->source, SHUT_WR);
	start(f, SPLICE_UNTIL_EOF);
	run(f, 0, true);
	assert_int_equal(f->end, SPLICE_FROM_ENDED);
	assert_int_equal(f->err, 0);
	assert_int_equal(f->got, 100000);
	assert_int_equal(f->fails, 0);
}

static void test_reset_of_the_source_fails_its_stream(void **state)
{
	struct fixture *f = *state;
	const struct linger reset = { 1, 0 };

	start(f, MIB);
	for (unsigned i = 0; i < 5; i++)
		(void)loop_turn(f->loop, 1);
	(void)setsockopt(f->source, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(f->source);
	f->source = -1;
	run(f, 0, true);
	assert_int_equal(f->end, SPLICE_FROM_FAILED);
	assert_int_equal(f->err, -ECONNRESET);
	assert_int_equal(f->fails, 1);
	assert_int_equal(f->fail_err, -ECONNRESET);
	assert_int_equal(f->from->state, STREAM_FAILED);
}

static void test_reset_of_the_destination_fails_its_stream(void **state)
{
	struct fixture *f = *state;
	const struct linger reset = { 1, 0 };

	start(f, 64 * MIB);
	for (unsigned i = 0; i < 20; i++) {
		(void)feed(f, 0, MIB);
		(void)loop_turn(f->loop, 1);
	}
	(void)setsockopt(f->sink, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	(void)close(f->sink);
	f->sink = -1;
	run(f, 64 * MIB, false);
	assert_int_equal(f->end, SPLICE_TO_FAILED);
	assert_true(f->err == -ECONNRESET || f->err == -EPIPE);
	assert_int_equal(f->to->state, STREAM_FAILED);
	assert_int_equal(f->to->queued, 0);
}

static void test_without_pipes_the_bytes_stay(void **state)
{
	struct fixture *f = *state;
	struct pipe_pool_gauges g;

	pipe_pool_init_with(&f->pipes, 2, 0, 0); /* half of two pages: none */
	assert_int_equal(feed(f, 0, 10), 10);
	start(f, MIB);
	run(f, 0, false);
	assert_int_equal(f->end, SPLICE_NO_PIPE);
	assert_int_equal(f->moved, 0);
	assert_int_equal(take_rest(f->from, 10), 10);
	pipe_pool_gauges(&f->pipes, &g);
	assert_int_equal(g.refused, 1);
}

/* splice(2) does not get past such a byte, and poll(2) says all the time that there is something. */
static void test_urgent_byte_is_left_to_copying(void **state)
{
	struct fixture *f = *state;

	start(f, MIB);
	assert_int_equal(send(f->source, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
	assert_int_equal(feed(f, 0, 10), 10);
	run(f, 0, false);
	assert_int_equal(f->ends, 1);
	assert_int_equal(f->end, SPLICE_STUCK);
	assert_int_equal(f->moved, 0);
	assert_int_equal(take_rest(f->from, 10), 10);
}

static void test_urgent_byte_behind_others(void **state)
{
	struct fixture *f = *state;

	start(f, MIB);
	assert_int_equal(feed(f, 0, 1000), 1000);
	assert_int_equal(send(f->source, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
	assert_int_equal(feed(f, 1000, 10), 10);
	run(f, 0, true);
	assert_int_equal(f->end, SPLICE_STUCK);
	assert_int_equal(f->moved, 1000);
	assert_int_equal(f->got, 1000);
	assert_false(f->is_wrong);
	assert_int_equal(take_rest(f->from, 10), 10);
}

static void test_stopped_inside_of_an_event(void **state)
{
	struct fixture *f = *state;

	f->stops = true;
	start(f, MIB);
	(void)feed(f, 0, MIB);
	for (unsigned i = 0; i < 10 || (i < 5000 && f->splice); i++)
		(void)loop_turn(f->loop, 1);
	assert_null(f->splice);
	assert_int_equal(f->ends, 0);
}

static void test_stopped_with_bytes_in_the_pipe(void **state)
{
	struct fixture *f = *state;
	struct pipe_pool_gauges g;
	size_t queued;

	start(f, 64 * MIB);
	for (unsigned i = 0; i < 100; i++) {
		(void)feed(f, 0, MIB);
		(void)loop_turn(f->loop, 1);
	}
	queued = f->to->queued;
	assert_int_equal(splice_stop(f->splice), queued);
	f->splice = NULL;
	assert_int_equal(f->to->queued, 0);
	assert_int_equal(pipes_busy(f), 0);
	pipe_pool_gauges(&f->pipes, &g);
	assert_int_equal(g.idle, queued > 0 ? 0 : 1); /* a pipe that holds bytes is not used again */
	stream_take_back(f->from, STREAM_IN, 0);
	stream_take_back(f->to, STREAM_OUT, 0);
}

static void test_what_is_busy_is_not_lent(void **state)
{
	struct fixture *f = *state;

	stream_read(f->from, LOOP_BUFFERS_SMALL);
	assert_true(stream_is_busy(f->from, STREAM_IN));
	assert_int_not_equal(stream_lend(f->from, STREAM_IN), 0);
	stream_write(f->to, slice_static("abc", 3));
	assert_true(stream_is_busy(f->to, STREAM_OUT));
	assert_int_not_equal(stream_lend(f->to, STREAM_OUT), 0);
	assert_int_equal(stream_lend(f->to, STREAM_IN), 0); /* the other direction is free */
	assert_int_not_equal(stream_lend(f->to, STREAM_IN), 0); /* once */
	stream_take_back(f->to, STREAM_IN, 0);
}

/* ---- pipes ---- */

static void test_pool_leaves_half_of_the_pages(void **state)
{
	struct pipe_pool p;

	(void)state;
	pipe_pool_init_with(&p, 16384, 0, MIB);
	assert_int_equal(p.open_max, 32);
	pipe_pool_init_with(&p, 16384, 1024, MIB);
	assert_int_equal(p.open_max, 2);
	pipe_pool_init_with(&p, 0, 0, 4 * MIB);
	assert_int_equal(p.open_max, PIPES_MAX);
	assert_int_equal(p.bytes, PIPE_BYTES);
	pipe_pool_init_with(&p, 16384, 0, 65536);
	assert_int_equal(p.bytes, 0);
}

static void test_pool_keeps_empty_pipes_only(void **state)
{
	struct pipe_pool p;
	struct pipe_pair one, two, three;
	struct pipe_pool_gauges g;

	(void)state;
	pipe_pool_init_with(&p, 1024, 0, MIB); /* two pipes */
	assert_true(pipe_pool_take(&p, 1, &one));
	assert_true(pipe_pool_take(&p, 1, &two));
	assert_true(one.bytes_max >= PIPE_BYTES_MIN);
	assert_int_equal(fcntl(one.in, F_GETPIPE_SZ), one.bytes_max);
	assert_false(pipe_pool_take(&p, 1, &three));
	assert_int_equal(write(one.in, "x", 1), 1);
	pipe_pool_give(&p, one, false);
	pipe_pool_give(&p, two, true);
	pipe_pool_gauges(&p, &g);
	assert_int_equal(g.open, 1);
	assert_int_equal(g.idle, 1);
	assert_int_equal(g.refused, 1);
	assert_true(pipe_pool_take(&p, 1, &three));
	assert_int_equal(three.in, two.in);
	pipe_pool_give(&p, three, true);
	pipe_pool_trim(&p); /* one was in use since the beginning */
	pipe_pool_trim(&p);
	pipe_pool_gauges(&p, &g);
	assert_int_equal(g.open, 0);
	pipe_pool_fini(&p);
}

static void test_who_copies(void **state)
{
	static const struct {
		struct splice_question q;
		enum splice_engine answer;
	} rows[] = {
		{ { .is_plain = true, .bytes = 65536 }, SPLICE_ENGINE_SPLICE },
		{ { .is_plain = true, .bytes = 65535 }, SPLICE_ENGINE_COPY },
		{ { .is_plain = true, .bytes = 0 }, SPLICE_ENGINE_COPY },
		{ { .is_plain = false, .bytes = MIB }, SPLICE_ENGINE_COPY },
		{ { .is_plain = true, .is_inspected = true, .bytes = MIB }, SPLICE_ENGINE_COPY },
		{ { .wanted = SPLICE_ENGINE_COPY, .is_plain = true, .bytes = MIB }, SPLICE_ENGINE_COPY },
		{ { .wanted = SPLICE_ENGINE_SPLICE, .is_plain = true, .bytes = 100 }, SPLICE_ENGINE_COPY },
		{ { .is_plain = true, .bytes = SPLICE_UNTIL_EOF }, SPLICE_ENGINE_COPY },
		{ { .is_plain = true, .is_bulk = true, .bytes = SPLICE_UNTIL_EOF }, SPLICE_ENGINE_SPLICE },
		{ { .wanted = SPLICE_ENGINE_SPLICE, .is_plain = true, .bytes = SPLICE_UNTIL_EOF },
		  SPLICE_ENGINE_SPLICE },
		{ { .wanted = SPLICE_ENGINE_SPLICE, .bytes = SPLICE_UNTIL_EOF }, SPLICE_ENGINE_COPY },
		{ { .wanted = SPLICE_ENGINE_SOCKMAP, .is_plain = true, .bytes = MIB }, SPLICE_ENGINE_SPLICE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(splice_choose(&rows[i].q), rows[i].answer);
}

static void test_who_carries_a_tunnel(void **state)
{
	enum { AUTO = SPLICE_ENGINE_AUTO, COPY = SPLICE_ENGINE_COPY, SPL = SPLICE_ENGINE_SPLICE,
	       MAP = SPLICE_ENGINE_SOCKMAP };
	static const struct {
		int wanted;
		bool is_plain, has_sockmap, is_busy, is_bulk;
		int answer;
	} rows[] = {
		{ AUTO, true, true, false, false, COPY },
		{ AUTO, true, true, true, false, MAP },
		{ AUTO, true, false, true, false, COPY },
		{ AUTO, true, true, true, true, SPL },
		{ AUTO, true, true, false, true, SPL },
		{ AUTO, false, true, true, true, COPY },
		{ MAP, true, true, false, false, MAP },
		{ MAP, true, true, true, true, MAP }, /* forced means it stays */
		{ MAP, true, false, true, false, COPY },
		{ MAP, true, false, true, true, SPL },
		{ MAP, false, true, true, true, COPY },
		{ SPL, true, true, true, false, SPL },
		{ COPY, true, true, true, true, COPY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct splice_question q = {
			.wanted = (enum splice_engine)rows[i].wanted,
			.is_plain = rows[i].is_plain,
			.has_sockmap = rows[i].has_sockmap,
			.is_busy = rows[i].is_busy,
			.is_bulk = rows[i].is_bulk,
			.bytes = SPLICE_UNTIL_EOF,
		};

		assert_int_equal(splice_choose(&q), rows[i].answer);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_exactly_so_many_bytes_are_moved),
		TEST(test_one_byte_is_moved),
		TEST(test_loop_goes_on_while_nothing_comes),
		TEST(test_reader_that_stops_bounds_what_is_taken),
		TEST(test_waiting_for_a_half_closed_reader_costs_nothing),
		TEST(test_end_of_the_source_comes_after_its_bytes),
		TEST(test_reset_of_the_source_fails_its_stream),
		TEST(test_reset_of_the_destination_fails_its_stream),
		TEST(test_without_pipes_the_bytes_stay),
		TEST(test_urgent_byte_is_left_to_copying),
		TEST(test_urgent_byte_behind_others),
		TEST(test_stopped_inside_of_an_event),
		TEST(test_stopped_with_bytes_in_the_pipe),
		TEST(test_what_is_busy_is_not_lent),
		cmocka_unit_test(test_pool_leaves_half_of_the_pages),
		cmocka_unit_test(test_pool_keeps_empty_pipes_only),
		cmocka_unit_test(test_who_copies),
		cmocka_unit_test(test_who_carries_a_tunnel),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does: splice(2) has no flag for it */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
