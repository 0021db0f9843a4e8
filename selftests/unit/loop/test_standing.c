/* SPDX-License-Identifier: GPL-2.0-only */
/* test_standing.c - receives that stand: pieces, limit, ends; and what they are where the kernel has none. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "lib/loop_turns.h"
#include "loop/internal.h"

/* One receive, and all that it told. */
struct reader {
	struct op op;
	unsigned pieces, ends;
	size_t received;
	char text[64]; /* the first of it */
	int res; /* the last one's */
	bool was_more; /* since the last end */
};

static void reader_done(struct op *op, int res, unsigned flags)
{
	struct reader *r = container_of(op, struct reader, op);

	r->res = res;
	r->was_more |= (flags & OP_MORE) != 0;
	r->ends += !(flags & OP_MORE);
	if (flags & OP_BUFFER) {
		struct slice data = loop_take_buffer(loop, LOOP_BUFFERS_SMALL, res, flags);

		if (r->received + data.len <= sizeof(r->text))
			memcpy(r->text + r->received, data.ptr, data.len);
		r->received += data.len;
		r->pieces += data.len > 0;
		slice_put(&data);
	}
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(loop->ops_inflight, 0);
	loop_free(loop);
	return 0;
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(to);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&to, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &len), 0);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[1], (struct sockaddr *)&to, len), 0);
	fds[0] = accept(listener, NULL, NULL);
	assert_true(fds[0] >= 0);
	close(listener);
}

static void read_more(struct reader *r, int fd)
{
	if (r->ends)
		assert_int_equal(r->ends, 1);
	r->ends = 0;
	r->was_more = false;
	loop_recv_standing(loop, &r->op, fd);
	turns(1);
}

/* Short messages: one submission does for all, or each has its own. */
static void test_pieces_come_one_by_one(void **state)
{
	struct reader r = { .op.on_done = reader_done };
	int fds[2];

	(void)state;
	tcp_pair(fds);
	read_more(&r, fds[0]);
	for (unsigned i = 1; i <= 8; i++) {
		assert_int_equal(r.ends, 0);
		assert_int_equal(write(fds[1], &"abcdefgh"[i - 1], 1), 1);
		wait_until(r.pieces == i);
		assert_int_equal(r.was_more, loop->can_stand);
		if (!loop->can_stand)
			read_more(&r, fds[0]);
	}
	assert_memory_equal(r.text, "abcdefgh", 8);
	close(fds[1]);
	wait_until(r.ends);
	assert_int_equal(r.ends, 1);
	assert_int_equal(r.res, 0);
	close(fds[0]);
}

/* A sender in a hurry fills two buffers at most, whether it comes before the receive or after it. */
static void test_the_limit_ends_it(void **state)
{
	static char bytes[8 * LOOP_SMALL_BYTES];
	struct reader r = { .op.on_done = reader_done };
	int fds[2];

	(void)state;
	tcp_pair(fds);
	assert_int_equal(write(fds[1], bytes, 100), 100);
	read_more(&r, fds[0]);
	wait_until(r.received == 100);
	if (!loop->can_stand)
		read_more(&r, fds[0]);
	assert_int_equal(write(fds[1], bytes, sizeof(bytes)), sizeof(bytes));
	wait_until(r.ends);
	turns(2);
	assert_int_equal(r.ends, 1);
	assert_int_equal(r.pieces, 2);
	assert_true(r.received <= LOOP_STANDING_MAX);
	for (unsigned i = 0; i < 10 && r.received < 100 + sizeof(bytes); i++) {
		unsigned before = r.pieces;

		read_more(&r, fds[0]);
		wait_until(r.pieces > before);
		turns(1);
		assert_true(r.pieces - before <= 2);
	}
	assert_int_equal(r.received, 100 + sizeof(bytes));
	if (r.ends == 0) {
		loop_cancel(loop, &r.op);
		turns(2);
	}
	assert_int_equal(r.ends, 1);
	close(fds[0]);
	close(fds[1]);
}

/* Reads until the end, which must come although nothing wakes the socket after it. */
static int end_after_bytes(int fd, struct reader *r)
{
	for (unsigned i = 0; i < 3 && (!r->ends || r->res > 0); i++) {
		if (r->ends)
			read_more(r, fd);
		wait_until(r->ends);
	}
	assert_int_equal(r->ends, 1);
	assert_memory_equal(r->text, "last", 4);
	close(fd);
	return r->res;
}

static void test_an_end_that_comes_with_the_last_bytes(void **state)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		struct reader r = { .op.on_done = reader_done };
		int fds[2];

		(void)state;
		if (kind == 0)
			tcp_pair(fds);
		else
			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		read_more(&r, fds[0]);
		assert_int_equal(write(fds[1], "last", 4), 4);
		close(fds[1]);
		assert_int_equal(end_after_bytes(fds[0], &r), 0);
	}
}

static void test_a_reset_that_comes_with_the_last_bytes(void **state)
{
	struct reader r = { .op.on_done = reader_done };
	int fds[2];

	(void)state;
	tcp_pair(fds);
	read_more(&r, fds[0]);
	assert_int_equal(write(fds[1], "last", 4), 4);
	reset(fds[1]);
	assert_int_equal(end_after_bytes(fds[0], &r), -ECONNRESET);
}

static void test_a_reset_that_was_there_before(void **state)
{
	struct reader r = { .op.on_done = reader_done };
	int fds[2];

	(void)state;
	tcp_pair(fds);
	assert_int_equal(write(fds[1], "last", 4), 4);
	reset(fds[1]);
	read_more(&r, fds[0]);
	assert_int_equal(end_after_bytes(fds[0], &r), -ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, loop_setup, teardown), \
		cmocka_unit_test_setup_teardown(name, loop_setup_one_shot, teardown)
		TEST(test_pieces_come_one_by_one),
		TEST(test_the_limit_ends_it),
		TEST(test_an_end_that_comes_with_the_last_bytes),
		TEST(test_a_reset_that_comes_with_the_last_bytes),
		TEST(test_a_reset_that_was_there_before),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
