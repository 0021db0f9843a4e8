/* SPDX-License-Identifier: GPL-2.0-only */
/* test_stream.c - two streams that talk over loopback, and raw sockets that misbehave. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/loop_turns.h"
#include "listen_any.h"
#include "net/stream.h"

/* One end under test: what happened to it. */
struct end {
	struct stream *s;
	unsigned connected, eof, hangup, failed, closed, paused;
	int err;
	size_t received, sent;
	uint64_t sum; /* of received bytes, by position */
	bool reads;   /* asks again after each on_data */
	bool closes_on_data, echoes, keeps, keeps_all; /* all: not copied */
	struct stream *forwards;
	struct slice kept[64];
	unsigned kept_count;
	enum loop_buffers class;
};

static int connect_err;

static uint64_t sum_add(uint64_t sum, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 1099511628211ULL + bytes[i];
	return sum;
}

static void on_connected(struct stream *s)
{
	((struct end *)s->owner)->connected++;
}

static void on_data(struct stream *s, struct slice data)
{
	struct end *e = s->owner;

	e->received += data.len;
	e->sum = sum_add(e->sum, data.ptr, data.len);
	if (e->echoes)
		stream_write(s, data);
	else if (e->forwards)
		stream_write(e->forwards, data);
	else if (e->keeps)
		e->kept[e->kept_count++] = loop_keep(loop, data);
	else if (e->keeps_all)
		e->kept[e->kept_count++] = data;
	else
		slice_put(&data);
	if (e->closes_on_data)
		stream_close(s);
	else if (e->reads)
		stream_read(s, e->class);
}

static void on_eof(struct stream *s)
{
	((struct end *)s->owner)->eof++;
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

/* `e` connects; the descriptor of the other end is returned, connected. */
static int connect_raw(struct end *e)
{
	struct addr addr;
	int listener = listen_any(&addr), fd;

	*e = (struct end){ 0 };
	e->s = stream_connect(loop, &addr, &events, e, &connect_err);
	assert_non_null(e->s);
	wait_until(e->connected);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	close(listener);
	return fd;
}

static void connect_pair(struct end *client, struct end *server)
{
	int fd = connect_raw(client);

	*server = (struct end){ 0 };
	server->s = stream_open(loop, fd, NULL, &events, server);
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

static struct slice pattern(size_t len, uint64_t *sum)
{
	struct iobuf *b = iobuf_new((uint32_t)len);

	for (size_t i = 0; i < len; i++)
		b->data[i] = (uint8_t)(i * 7 + i / 251);
	*sum = sum_add(*sum, b->data, len);
	return (struct slice){ b, b->data, (uint32_t)len };
}

static void test_echo(void **state)
{
	struct end client, server;
	struct addr local;
	char text[ADDR_TEXT_MAX], mine[ADDR_TEXT_MAX];

	(void)state;
	connect_pair(&client, &server);
	server.reads = server.echoes = client.reads = true;
	stream_read(server.s, LOOP_BUFFERS_SMALL);
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	stream_write(client.s, slice_static("hello ", 6));
	stream_write(client.s, slice_static("world", 5));
	assert_int_equal(client.s->queued, 11);
	wait_until(client.received == 11);
	assert_int_equal(client.sum, sum_add(0, (const uint8_t *)"hello world", 11));
	assert_int_equal(client.sent, 11);
	assert_int_equal(client.s->queued, 0);

	addr_format(stream_peer(server.s), text);
	assert_int_equal(stream_local(client.s, &local), 0);
	addr_format(&local, mine);
	assert_string_equal(text, mine);
	end_close(&client);
	wait_until(server.eof);
	end_close(&server);
}

static void test_one_read_is_one_event(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	assert_int_equal(write(fd, "abc", 3), 3);
	wait_until(client.received == 3);
	assert_int_equal(write(fd, "def", 3), 3);
	turns(5);
	assert_int_equal(client.received, 3);
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	wait_until(client.received == 6);
	close(fd);
	end_close(&client);
}

/* One write of len bytes by the peer: the size of the buffer that it was received into. */
static uint32_t buffer_of_read(struct end *e, int fd, size_t len)
{
	static uint8_t bytes[LOOP_LARGE_BYTES];
	size_t before = e->received;
	uint32_t size;

	stream_read(e->s, LOOP_BUFFERS_LARGE);
	assert_int_equal(write(fd, bytes, len), len);
	wait_until(e->received > before);
	size = e->kept[0].buf->size;
	slice_put(&e->kept[0]);
	e->kept_count = 0;
	return size;
}

static void test_short_messages_take_small_buffers(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	client.keeps_all = true;
	assert_int_equal(buffer_of_read(&client, fd, 100), LOOP_LARGE_BYTES);
	assert_int_equal(buffer_of_read(&client, fd, 100), LOOP_SMALL_BYTES);
	assert_int_equal(buffer_of_read(&client, fd, LOOP_SMALL_BYTES), LOOP_SMALL_BYTES);
	/* It filled the small one: a large one is tried again. */
	assert_int_equal(buffer_of_read(&client, fd, 20000), LOOP_LARGE_BYTES);
	assert_int_equal(buffer_of_read(&client, fd, 100), LOOP_LARGE_BYTES);
	assert_int_equal(buffer_of_read(&client, fd, 100), LOOP_SMALL_BYTES);
	close(fd);
	end_close(&client);
}

static void test_half_close_keeps_the_other_direction(void **state)
{
	struct end client, server;

	(void)state;
	connect_pair(&client, &server);
	client.reads = server.reads = true;
	stream_read(server.s, LOOP_BUFFERS_SMALL);
	stream_write(client.s, slice_static("ask", 3));
	stream_shutdown(client.s);
	wait_until(server.eof);
	assert_int_equal(server.received, 3);
	stream_write(server.s, slice_static("answer", 6));
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	wait_until(client.received == 6);
	assert_int_equal(client.eof, 0);
	stream_shutdown(server.s);
	wait_until(client.eof);
	assert_int_equal(client.failed + server.failed, 0);
	end_close(&client);
	end_close(&server);
}

static void test_reset_fails_once(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	client.reads = true;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	stream_watch(client.s, true);
	turns(1);
	reset(fd);
	wait_until(client.failed);
	turns(3);
	assert_int_equal(client.failed, 1);
	assert_int_equal(client.err, -ECONNRESET);
	assert_int_equal(client.eof + client.hangup, 0);
	stream_write(client.s, slice_static("x", 1));
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	turns(3);
	assert_int_equal(client.failed, 1);
	assert_int_equal(client.sent, 0);
	end_close(&client);
}

static void test_abort_resets_the_peer(void **state)
{
	struct end client, server;

	(void)state;
	connect_pair(&client, &server);
	stream_read(server.s, LOOP_BUFFERS_SMALL);
	turns(1);
	stream_abort(client.s);
	wait_until(client.closed && server.failed);
	assert_int_equal(server.err, -ECONNRESET);
	end_close(&server);
}

static void test_watch_sees_the_end_without_reading(void **state)
{
	struct end client;
	int fd = connect_raw(&client);
	uint64_t began;

	(void)state;
	stream_watch(client.s, true);
	assert_int_equal(write(fd, "data", 4), 4);
	turns(3);
	assert_int_equal(client.hangup, 0);
	shutdown(fd, SHUT_WR);
	wait_until(client.hangup);
	turns(2);
	assert_int_equal(client.hangup, 1);
	assert_int_equal(client.received, 0);
	/* The bytes are still there, then the end. */
	client.reads = true;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	wait_until(client.eof);
	assert_int_equal(client.received, 4);
	/* Watched again after the FIN, only a reset is news, and waiting for it costs nothing. */
	stream_watch(client.s, true);
	turns(2);
	assert_int_equal(client.hangup, 1);
	began = clock_mono_ns();
	turns(20);
	assert_true(clock_mono_ns() - began >= 20 * 4 * 1000000ull);
	stream_watch(client.s, false);
	turns(2);
	stream_watch(client.s, true);
	turns(2);
	reset(fd);
	wait_until(client.failed);
	assert_int_equal(client.err, -EPIPE); /* what the kernel calls a reset after a FIN */
	end_close(&client);
}

/* A reset that comes while nobody wants to know, after a FIN that is known. */
static void test_reset_while_the_watch_is_off_is_told_later(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	stream_watch(client.s, true);
	shutdown(fd, SHUT_WR);
	wait_until(client.hangup);
	stream_watch(client.s, true);
	turns(2);
	stream_watch(client.s, false);
	reset(fd);
	turns(3);
	assert_int_equal(client.failed, 0);
	stream_watch(client.s, true);
	wait_until(client.failed);
	end_close(&client);
}

static void test_watch_off_is_silent_and_on_again_tells(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	stream_watch(client.s, true);
	turns(1);
	stream_watch(client.s, false);
	shutdown(fd, SHUT_WR);
	turns(3);
	assert_int_equal(client.hangup, 0);
	stream_watch(client.s, true);
	wait_until(client.hangup);
	close(fd);
	end_close(&client);
}

/* The origin answers early and resets: the answer is delivered first. */
static void test_answer_before_reset_is_delivered(void **state)
{
	struct end client;
	int fd = connect_raw(&client);
	uint64_t sum = 0;

	(void)state;
	stream_write(client.s, pattern(1000, &sum));
	wait_until(client.sent == 1000);
	assert_int_equal(write(fd, "413 early", 9), 9);
	close(fd); /* with unread bytes: the kernel resets */
	turns(2);
	stream_write(client.s, pattern(1000, &sum));
	client.reads = true;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	wait_until(client.failed);
	assert_int_equal(client.received, 9);
	assert_int_equal(client.failed, 1);
	end_close(&client);
}

/* The same while nobody reads: the owner of a slow client asks for the rest later. */
static void test_answer_before_reset_waits_for_the_reader(void **state)
{
	struct end client;
	int fd = connect_raw(&client);
	uint64_t sum = 0;

	(void)state;
	stream_write(client.s, pattern(1000, &sum));
	wait_until(client.sent == 1000);
	assert_int_equal(write(fd, "413 early", 9), 9);
	close(fd);
	turns(2);
	for (unsigned i = 0; i < 3; i++) { /* at least one of them fails */
		stream_write(client.s, pattern(1000, &sum));
		turns(2);
	}
	assert_int_equal(client.failed, 0);
	assert_int_equal(client.s->queued, 0);
	client.reads = true;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	wait_until(client.failed);
	assert_int_equal(client.received, 9);
	end_close(&client);
}

/* What a client sent before its reset is of no use: the server is told at once. */
static void test_reset_of_an_accepted_stream_is_told_at_once(void **state)
{
	struct end client, server;
	uint64_t sum = 0;

	(void)state;
	connect_pair(&client, &server);
	stream_abort(client.s);
	wait_until(client.closed);
	for (unsigned i = 0; i < 500 && !server.failed; i++) {
		stream_write(server.s, pattern(1000, &sum));
		turns(2);
	}
	assert_int_equal(server.failed, 1);
	end_close(&server);
}

static void test_connect_refused(void **state)
{
	struct addr addr;
	struct end client = { 0 };
	int held;

	(void)state;
	held = hold_any(&addr);
	client.s = stream_connect(loop, &addr, &events, &client, &connect_err);
	assert_non_null(client.s);
	stream_write(client.s, slice_static("never", 5));
	wait_until(client.failed);
	assert_int_equal(client.err, -ECONNREFUSED);
	assert_int_equal(client.connected, 0);
	end_close(&client);
	close(held);
}

static void test_close_while_connecting(void **state)
{
	struct addr addr;
	struct end client = { 0 };
	int listener = listen_any(&addr);

	(void)state;
	client.s = stream_connect(loop, &addr, &events, &client, &connect_err);
	assert_non_null(client.s);
	stream_write(client.s, slice_static("never", 5));
	stream_close(client.s);
	wait_until(client.closed);
	assert_int_equal(client.connected + client.failed, 0);
	close(listener);
}

static void test_bytes_written_while_connecting_are_sent(void **state)
{
	struct addr addr;
	struct end client = { 0 };
	int listener = listen_any(&addr), fd;
	char buf[16];

	(void)state;
	client.s = stream_connect(loop, &addr, &events, &client, &connect_err);
	assert_non_null(client.s);
	stream_write(client.s, slice_static("early", 5));
	stream_shutdown(client.s);
	wait_until(client.sent == 5);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(read(fd, buf, sizeof(buf)), 5);
	turns(2);
	assert_int_equal(read(fd, buf, sizeof(buf)), 0);
	close(fd);
	close(listener);
	end_close(&client);
}

#define BULK (10U << 20)

static void test_ten_megabytes_both_ways_with_a_slow_reader(void **state)
{
	struct end ends[2];
	uint64_t sums[2] = { 0 };
	uint64_t until;

	(void)state;
	connect_pair(&ends[0], &ends[1]);
	for (int i = 0; i < 2; i++) {
		struct slice_queue q = { 0 };

		/* Many small and some large: more than one vector of slices. */
		for (size_t left = BULK, n = 1; left; n++) {
			size_t len = MIN(left, n % 5 ? 1000 + n : 300000);

			slice_queue_push(&q, pattern(len, &sums[i]));
			left -= len;
		}
		stream_write_queue(ends[i].s, &q);
		slice_queue_fini(&q);
		assert_int_equal(ends[i].s->queued, BULK);
	}
	/* Nobody reads: both stop with the sockets full, nothing fails. */
	until = loop_now_ms(loop) + 100;
	while (loop_now_ms(loop) < until)
		turns(1);
	assert_true(ends[0].sent < BULK && ends[1].sent < BULK);

	ends[0].class = ends[1].class = LOOP_BUFFERS_LARGE;
	ends[0].reads = true;
	stream_read(ends[0].s, LOOP_BUFFERS_LARGE);
	wait_until(ends[0].received == BULK);
	while (ends[1].received < BULK / 4) {
		stream_read(ends[1].s, LOOP_BUFFERS_LARGE);
		turns(2);
	}
	ends[1].reads = true;
	stream_read(ends[1].s, LOOP_BUFFERS_LARGE);
	wait_until(ends[1].received == BULK && ends[0].sent == BULK && ends[1].sent == BULK);
	assert_true(ends[0].sum == sums[1]);
	assert_true(ends[1].sum == sums[0]);
	assert_int_equal(ends[0].s->queued, 0);
	end_close(&ends[0]);
	end_close(&ends[1]);
}

/*
 * The vector of a send that has to wait is the kernel's copy: the loop's scratch is used again by others meanwhile.
 * Sixteen slices, more than the kernel keeps inline.
 */
static void test_waiting_send_does_not_use_the_scratch(void **state)
{
	struct end client, other, other_peer;
	uint8_t got[65536];
	size_t total = 0;
	int fd = connect_raw(&client);
	uint64_t sum = 0, want = 0;

	(void)state;
	connect_pair(&other, &other_peer);
	for (unsigned i = 0; i < LOOP_SEND_SLICES * 40; i++)
		stream_write(client.s, pattern(20000 + i, &want));
	turns(5);
	assert_true(client.sent > 0 && client.s->queued > 0); /* the socket is full, a sendmsg waits */
	for (unsigned i = 0; i < 300; i++) {
		stream_write(other.s, slice_static("a", 1));
		stream_write(other.s, slice_static("b", 1));
		turns(1);
	}
	while (total < client.sent + client.s->queued) {
		ssize_t n;

		assert_int_equal(loop_turn(loop, 0), 0);
		n = recv(fd, got, sizeof(got), MSG_DONTWAIT);
		if (n <= 0)
			continue;
		sum = sum_add(sum, got, (size_t)n);
		total += (size_t)n;
	}
	assert_true(sum == want);
	close(fd);
	end_close(&client);
	end_close(&other);
	end_close(&other_peer);
}

static void test_close_with_everything_in_flight(void **state)
{
	struct end client, server;
	uint64_t sum = 0;

	(void)state;
	connect_pair(&client, &server);
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	stream_watch(client.s, true);
	stream_write(client.s, pattern(16 << 20, &sum));
	turns(3);
	assert_true(client.s->queued > 0);
	stream_write(server.s, slice_static("late", 4)); /* may complete the read after the close */
	stream_close(client.s);
	stream_close(client.s); /* again: nothing */
	wait_until(client.closed);
	assert_int_equal(client.received + client.failed + client.eof, 0);
	end_close(&server);
}

static void test_close_from_inside_an_event(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	client.closes_on_data = true;
	stream_read(client.s, LOOP_BUFFERS_SMALL);
	stream_write(client.s, slice_static("pending", 7));
	assert_int_equal(write(fd, "x", 1), 1);
	wait_until(client.closed);
	close(fd);
}

/* More streams with bytes than buffers: all get their turn, and what a slow owner keeps is copied out. */
static void test_more_streams_than_buffers(void **state)
{
	enum { COUNT = 40, EACH = 200000 };
	const struct loop_config config = { .entries = 64, .buffer_count = { 8, 4 } };
	static struct end ends[COUNT];
	struct loop_gauges gauges;
	const char *reason;
	int fds[COUNT];
	size_t kept = 0;

	(void)state;
	loop_free(loop);
	assert_int_equal(loop_new(&loop, &config, &reason), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		uint64_t sum = 0;
		struct slice data = pattern(EACH, &sum);

		fds[i] = connect_raw(&ends[i]);
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
		ends[i].keeps = true;
		assert_true(write(fds[i], data.ptr, data.len) > 0);
		slice_put(&data);
	}
	for (unsigned i = 0; i < COUNT; i++)
		stream_read(ends[i].s, LOOP_BUFFERS_LARGE);
	for (unsigned i = 0; i < COUNT; i++)
		wait_until(ends[i].received);
	loop_gauges(loop, &gauges);
	assert_true(gauges.buffers_missing > 0);
	assert_true(gauges.buffers_pinned[LOOP_BUFFERS_LARGE] <= 2);
	for (unsigned i = 0; i < COUNT; i++) {
		kept += ends[i].kept_count;
		while (ends[i].kept_count)
			slice_put(&ends[i].kept[--ends[i].kept_count]);
		close(fds[i]);
		end_close(&ends[i]);
	}
	assert_int_equal(kept, COUNT);
}

/*
 * Readers that are stuck while bytes from receive buffers are queued for them pin at most half of a ring: everybody
 * else goes on.
 */
static void test_stuck_readers_do_not_stop_others(void **state)
{
	enum { COUNT = 100 };
	static struct end stuck[COUNT], peers[COUNT];
	struct end source, client, server;
	struct loop_gauges gauges;
	static char bytes[512 << 10];
	const int little = 16384;
	size_t queued = 0;
	uint64_t begin;
	int fd;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++) {
		connect_pair(&stuck[i], &peers[i]);
		assert_int_equal(setsockopt(stream_fd(stuck[i].s), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
		assert_int_equal(setsockopt(stream_fd(peers[i].s), SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	}
	fd = connect_raw(&source);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	/* A proxy that sends what it receives to each of the stuck readers, until their sockets are full. */
	for (unsigned round = 0; round < COUNT * 16; round++) {
		struct stream *to = stuck[round % COUNT].s;

		while (write(fd, bytes, sizeof(bytes)) > 0)
			;
		if (to->queued > 256 << 10)
			continue;
		source.forwards = to;
		source.received = 0;
		stream_read(source.s, LOOP_BUFFERS_LARGE);
		wait_until(source.received);
	}
	turns(2);
	for (unsigned i = 0; i < COUNT; i++)
		queued += stuck[i].s->queued;
	assert_true(queued > COUNT * 200000); /* many times what the ring holds */
	loop_gauges(loop, &gauges);
	assert_true(gauges.buffers_pinned[LOOP_BUFFERS_LARGE] <= 33);

	connect_pair(&client, &server);
	server.reads = server.echoes = client.reads = true;
	server.class = LOOP_BUFFERS_LARGE;
	stream_read(server.s, LOOP_BUFFERS_LARGE);
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	begin = clock_mono_ns();
	stream_write(client.s, slice_static("ping", 4));
	wait_until(client.received == 4);
	assert_true(clock_mono_ns() - begin < 500000000);

	close(fd);
	end_close(&source);
	end_close(&client);
	end_close(&server);
	for (unsigned i = 0; i < COUNT; i++) {
		end_close(&stuck[i]);
		end_close(&peers[i]);
	}
}

/* The socket is full before the first try: bytes in a receive buffer are copied out before they wait. */
static void test_a_full_socket_pins_no_buffer(void **state)
{
	struct end source, to;
	struct loop_gauges gauges;
	static char filler[65536];
	int from_fd = connect_raw(&source), to_fd = connect_raw(&to);

	(void)state;
	for (unsigned quiet = 0; quiet < 5; quiet++) { /* what the peer's kernel takes, it may take later */
		while (send(stream_fd(to.s), filler, sizeof(filler), MSG_DONTWAIT) > 0)
			quiet = 0;
		turns(1);
	}
	source.forwards = to.s;
	stream_read(source.s, LOOP_BUFFERS_LARGE);
	assert_int_equal(write(from_fd, "small", 5), 5);
	wait_until(source.received == 5);
	turns(3);
	assert_int_equal(to.s->queued, 5);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_LARGE], 0);
	fcntl(to_fd, F_SETFL, O_NONBLOCK);
	while (to.sent < 5) {
		turns(1);
		while (read(to_fd, filler, sizeof(filler)) > 0)
			;
	}
	close(from_fd);
	close(to_fd);
	end_close(&source);
	end_close(&to);
}

static void test_pause_takes_a_read_back(void **state)
{
	struct end client;
	struct loop_gauges gauges;
	int fd = connect_raw(&client);

	(void)state;
	assert_true(stream_pause(client.s)); /* nothing was asked for */
	client.reads = true;
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	stream_watch(client.s, true);
	turns(2);
	assert_false(stream_pause(client.s));
	assert_false(stream_pause(client.s));
	wait_until(client.paused);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.ops_inflight, 0);
	assert_true(stream_pause(client.s));
	assert_int_equal(stream_lend(client.s, STREAM_IN), 0);
	stream_take_back(client.s, STREAM_IN, 0);
	assert_int_equal(write(fd, "abc", 3), 3);
	shutdown(fd, SHUT_WR);
	turns(5);
	assert_int_equal(client.received + client.eof + client.hangup, 0);
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	wait_until(client.received == 3);
	assert_int_equal(client.paused, 1);
	close(fd);
	end_close(&client);
}

/* Bytes, or an end, that come with the cancellation are told before the pause, or by the next read. */
static void test_pause_loses_nothing(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	for (unsigned i = 1; i <= 50; i++) {
		stream_read(client.s, LOOP_BUFFERS_LARGE);
		turns(i % 3);
		assert_int_equal(write(fd, "abc", 3), 3);
		if (!stream_pause(client.s))
			wait_until(client.paused == i);
		if (client.received < i * 3)
			stream_read(client.s, LOOP_BUFFERS_LARGE);
		wait_until(client.received == i * 3);
		client.paused = i;
	}
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	turns(2);
	shutdown(fd, SHUT_WR);
	assert_false(stream_pause(client.s));
	wait_until(client.paused == 51);
	if (!client.eof)
		stream_read(client.s, LOOP_BUFFERS_LARGE);
	wait_until(client.eof);
	close(fd);
	end_close(&client);
}

static void test_reading_again_ends_a_pause(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	for (unsigned i = 1; i <= 50; i++) {
		stream_read(client.s, LOOP_BUFFERS_LARGE);
		turns(1);
		(void)stream_pause(client.s);
		stream_read(client.s, LOOP_BUFFERS_LARGE);
		if (i % 2)
			turns(1);
		assert_int_equal(write(fd, "x", 1), 1);
		wait_until(client.received == i);
	}
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	turns(1);
	assert_false(stream_pause(client.s));
	stream_watch(client.s, true); /* asked for while the first is being cancelled */
	turns(3);
	reset(fd);
	wait_until(client.failed || client.hangup);
	end_close(&client);
}

static void test_close_of_a_paused_stream(void **state)
{
	struct end client;
	int fd = connect_raw(&client);

	(void)state;
	stream_read(client.s, LOOP_BUFFERS_LARGE);
	stream_watch(client.s, true);
	turns(2);
	assert_false(stream_pause(client.s));
	end_close(&client);
	assert_int_equal(client.paused, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)
		TEST(test_echo),
		TEST(test_one_read_is_one_event),
		TEST(test_short_messages_take_small_buffers),
		TEST(test_half_close_keeps_the_other_direction),
		TEST(test_reset_fails_once),
		TEST(test_abort_resets_the_peer),
		TEST(test_watch_sees_the_end_without_reading),
		TEST(test_reset_while_the_watch_is_off_is_told_later),
		TEST(test_watch_off_is_silent_and_on_again_tells),
		TEST(test_answer_before_reset_is_delivered),
		TEST(test_answer_before_reset_waits_for_the_reader),
		TEST(test_reset_of_an_accepted_stream_is_told_at_once),
		TEST(test_connect_refused),
		TEST(test_close_while_connecting),
		TEST(test_bytes_written_while_connecting_are_sent),
		TEST(test_ten_megabytes_both_ways_with_a_slow_reader),
		TEST(test_waiting_send_does_not_use_the_scratch),
		TEST(test_close_with_everything_in_flight),
		TEST(test_close_from_inside_an_event),
		TEST(test_more_streams_than_buffers),
		TEST(test_stuck_readers_do_not_stop_others),
		TEST(test_a_full_socket_pins_no_buffer),
		TEST(test_pause_takes_a_read_back),
		TEST(test_pause_loses_nothing),
		TEST(test_reading_again_ends_a_pause),
		TEST(test_close_of_a_paused_stream),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
