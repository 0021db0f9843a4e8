/* SPDX-License-Identifier: GPL-2.0-only */
/* offload_selftest.c - does this kernel splice without a wrong byte? */
#include "fastpath/offload_selftest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "fastpath/offload.h"

/*
 * So long and so many turns without a byte: the case has failed.  Turns, because a process that stood still, or a
 * machine that did, is no broken kernel.
 */
#define CASE_NS 5000000000ull
#define CASE_TURNS 2000
#define ALL_NS 20000000000ull /* the whole: the start waits no longer, whatever the machine is busy with */
/* A receiver that reads nothing: so long and so many turns without a byte, and it is full. */
#define FULL_NS 3000000ull
#define FULL_TURNS 50
#define PIECE_BYTES 16384
#define PATTERN_BYTES 65521 /* prime, so that no piece of the kernel's is a multiple of it */
#define RECEIVE_BYTES (256 * 1024)
#define WINDOW_BYTES (64 * 1024)
#define BOUND_BYTES (16 * 1024 * 1024)
#define STREAM_BYTES (512 * 1024)
#define CYCLES 3 /* each takes a run of the iterator: 5 ms where the table of connections is large */
#define NAP_NS 20000

/* Bytes from one peer to the other, each of which says where it belongs. */
struct lane {
	int from, to;
	const uint8_t *pattern;
	unsigned seed;
	uint64_t goal, sent, received;
	bool is_wrong, is_shut, is_eof;
};

/* peer[0] <-> fd[0] | fd[1] <-> peer[1] */
struct trial {
	struct loop *loop;
	struct offload *offload;
	struct offload_selftest *out;
	uint64_t until_ns, end_ns, moved;
	unsigned idle_turns;
	uint8_t pattern[PATTERN_BYTES + PIECE_BYTES]; /* its head again at its end */

	int peer[2], fd[2];
	struct lane lanes[2];
	struct offload_pair *pair;
	bool has_left;
	int err;
	enum offload_why left_why;
	struct slice_queue held[2];
};

/* PIECE_BYTES of the stream. */
static const uint8_t *lane_bytes(const struct lane *l, uint64_t at)
{
	return l->pattern + (at + l->seed) % PATTERN_BYTES;
}

/* False, and why, for the first thing that went wrong. */
__attribute__((format(printf, 2, 3))) static bool trial_says(struct trial *t, const char *fmt, ...)
{
	va_list ap;

	if (t->out->why[0] != '\0')
		return false;
	va_start(ap, fmt);
	(void)vsnprintf(t->out->why, sizeof(t->out->why), fmt, ap);
	va_end(ap);
	return false;
}

/* One piece, if the socket takes it.  How many bytes. */
static size_t lane_push(struct lane *l, uint64_t max)
{
	size_t n = MIN(MIN(l->goal - l->sent, max), PIECE_BYTES);
	ssize_t done = n > 0 ? send(l->from, lane_bytes(l, l->sent), n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	if (done <= 0)
		return 0;
	l->sent += (uint64_t)done;
	return (size_t)done;
}

static void lane_pull(struct lane *l)
{
	uint8_t piece[PIECE_BYTES];
	ssize_t n = recv(l->to, piece, sizeof(piece), MSG_DONTWAIT);

	if (n > 0) {
		l->is_wrong = l->is_wrong || memcmp(piece, lane_bytes(l, l->received), (size_t)n) != 0;
		l->received += (uint64_t)n;
	}
	l->is_eof = l->is_eof || n == 0;
}

static void on_left(void *owner, struct offload_report *r)
{
	struct trial *t = owner;

	t->has_left = true;
	t->left_why = r->why;
	for (int i = 0; i < 2; i++)
		slice_queue_move(&t->held[i], r->sides[i].held);
}

static void on_fail(void *owner, int err, struct offload_report *r)
{
	struct trial *t = owner;

	t->err = err;
	on_left(owner, r);
}

static const struct offload_events events = { on_left, on_fail };

/* The time that a case has begins anew with every byte: a busy machine is no broken kernel. */
static void trial_look(struct trial *t)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	uint64_t moved = t->lanes[0].sent + t->lanes[0].received + t->lanes[1].sent + t->lanes[1].received;

	if (moved != t->moved) {
		t->moved = moved;
		t->until_ns = clock_mono_ns() + CASE_NS;
		t->idle_turns = 0;
	} else {
		t->idle_turns++;
		(void)nanosleep(&nap, NULL); /* the kernel's worker needs the CPU as well */
	}
}

static bool trial_turn(struct trial *t)
{
	int err = loop_turn(t->loop, 0);

	trial_look(t);
	if (err)
		return trial_says(t, "the loop: %s", err_name(err));
	if (t->err)
		return trial_says(t, "the pair failed: %s", err_name(t->err));
	if (t->lanes[0].is_wrong || t->lanes[1].is_wrong)
		return trial_says(t, "a wrong byte came");
	if (clock_mono_ns() > t->end_ns)
		return trial_says(t, "the machine was too busy to test it in %llu s", ALL_NS / 1000000000);
	if (t->idle_turns < CASE_TURNS || clock_mono_ns() < t->until_ns)
		return true;
	return trial_says(t, "%llu of %llu and %llu of %llu bytes came in time",
			  (unsigned long long)t->lanes[0].received, (unsigned long long)t->lanes[0].sent,
			  (unsigned long long)t->lanes[1].received, (unsigned long long)t->lanes[1].sent);
}

/* A connection over loopback with small buffers, to be full soon: out[0] is the connecting end. */
static int connection(int out[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int err, bytes = RECEIVE_BYTES, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	out[0] = out[1] = -1;
	if (listener < 0)
		return -errno;
	(void)setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(listener, (struct sockaddr *)&a, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0)
		goto fail;
	out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (out[0] < 0 || connect(out[0], (struct sockaddr *)&a, sizeof(a)) < 0)
		goto fail;
	out[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (out[1] < 0)
		goto fail;
	(void)close(listener);
	return 0;
fail:
	err = -errno;
	(void)close(listener);
	return err;
}

static bool trial_open(struct trial *t)
{
	int left[2], right[2], err = connection(left);

	t->peer[0] = left[0];
	t->fd[0] = left[1];
	t->peer[1] = t->fd[1] = -1;
	if (!err) {
		err = connection(right);
		t->fd[1] = right[0];
		t->peer[1] = right[1];
	}
	for (int i = 0; i < 2; i++)
		t->lanes[i] = (struct lane){
			.from = t->peer[i],
			.to = t->peer[!i],
			.pattern = t->pattern,
			.seed = (unsigned)i * 30011,
		};
	return err ? trial_says(t, "sockets on loopback: %s", err_name(err)) : true;
}

static bool trial_join(struct trial *t)
{
	int err;

	t->has_left = false;
	err = offload_join(t->offload, t->fd, &events, t, &t->pair);
	return err ? trial_says(t, "joining: %s", err_name(err)) : true;
}

/* Whatever happened: the pair is gone, the sockets closed. */
static void trial_close(struct trial *t)
{
	if (t->pair && !t->has_left)
		offload_abort(t->pair, -ECANCELED);
	while (t->pair && !t->has_left && loop_turn(t->loop, 10) == 0)
		continue;
	t->pair = NULL;
	t->err = 0;
	for (int i = 0; i < 2; i++) {
		slice_queue_clear(&t->held[i]);
		if (t->peer[i] >= 0)
			(void)close(t->peer[i]);
		if (t->fd[i] >= 0)
			(void)close(t->fd[i]);
	}
}

/* Both lanes to their goals; with_end: and their ends behind them. */
static bool trial_move(struct trial *t, bool with_end)
{
	bool is_done = false;

	while (!is_done) {
		is_done = true;
		for (int i = 0; i < 2; i++) {
			struct lane *l = &t->lanes[i];

			if (l->sent - l->received < WINDOW_BYTES)
				(void)lane_push(l, UINT64_MAX);
			if (with_end && l->sent == l->goal && !l->is_shut)
				l->is_shut = shutdown(l->from, SHUT_WR) == 0;
			lane_pull(l);
			is_done = is_done && l->received == l->goal && (!with_end || l->is_eof);
		}
		if (!trial_turn(t))
			return false;
	}
	return true;
}

static bool case_integrity(struct trial *t)
{
	t->lanes[0].goal = t->lanes[1].goal = STREAM_BYTES;
	return trial_join(t) && trial_move(t, false);
}

static bool case_queued(struct trial *t)
{
	for (int i = 0; i < 2; i++) {
		t->lanes[i].goal = 5000;
		(void)lane_push(&t->lanes[i], UINT64_MAX);
	}
	return trial_join(t) && trial_move(t, false);
}

static bool case_half_read(struct trial *t)
{
	uint8_t head[1000];
	struct lane *l = &t->lanes[0];

	l->goal = STREAM_BYTES;
	if (lane_push(l, PIECE_BYTES) == 0 || recv(t->fd[0], head, sizeof(head), 0) != sizeof(head) ||
	    send(t->fd[1], head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
		return trial_says(t, "sockets on loopback do not work");
	return trial_join(t) && trial_move(t, false);
}

/* One side ends first, and the other goes on. */
static bool case_end(struct trial *t)
{
	t->lanes[0].goal = 3000;
	t->lanes[1].goal = STREAM_BYTES;
	if (!trial_join(t) || !trial_move(t, true))
		return false;
	while (!t->has_left)
		if (!trial_turn(t))
			return false;
	return t->left_why == OFFLOAD_LEFT_ENDED ? true : trial_says(t, "the ends were not passed on");
}

/* A receiver that reads nothing: the sender is stopped in time, and nothing is lost. */
static bool case_bound(struct trial *t)
{
	struct lane *l = &t->lanes[0];
	uint64_t last_ns = clock_mono_ns();

	if (!trial_join(t))
		return false;
	l->goal = BOUND_BYTES;
	for (unsigned turns = 0; turns < FULL_TURNS || clock_mono_ns() - last_ns < FULL_NS; turns++) {
		if (lane_push(l, UINT64_MAX) > 0) {
			last_ns = clock_mono_ns();
			turns = 0;
		}
		if (!trial_turn(t))
			return false;
	}
	if (l->sent == l->goal)
		return trial_says(t, "a receiver that does not read does not stop its sender");
	l->goal = l->sent;
	return trial_move(t, false);
}

/* The end comes while everything is still on its way: it may not overtake. */
static bool case_drain(struct trial *t)
{
	struct lane *l = &t->lanes[0];

	if (!trial_join(t))
		return false;
	l->goal = STREAM_BYTES;
	while (l->sent < l->goal) {
		(void)lane_push(l, UINT64_MAX);
		if (!trial_turn(t))
			return false;
	}
	return trial_move(t, true);
}

/* What the pair gave back goes first; then a little by hand, as a tunnel does it. */
static bool trial_copy(struct trial *t)
{
	uint8_t piece[PIECE_BYTES];

	for (int i = 0; i < 2; i++) {
		struct slice_queue *q = &t->held[i];
		ssize_t n;

		if (q->count == 0) {
			n = recv(t->fd[i], piece, 1 + (size_t)t->lanes[i].received % 5000, MSG_DONTWAIT);
			if (n > 0)
				slice_queue_push(q, slice_copy(piece, (uint32_t)n));
		}
		while (q->count > 0) {
			struct slice *s = slice_queue_at(q, 0);

			n = send(t->fd[!i], s->ptr, s->len, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n > 0)
				slice_queue_consume(q, (size_t)n);
			lane_pull(&t->lanes[i]);
			if (!trial_turn(t))
				return false;
		}
	}
	return true;
}

/* In and out, while both sides send. */
static bool case_leave(struct trial *t)
{
	for (unsigned cycle = 0; cycle < CYCLES; cycle++) {
		bool has_asked = false;

		t->lanes[0].goal += 40000 + cycle * 1111;
		t->lanes[1].goal += 30000 + cycle * 777;
		if (!trial_copy(t) || !trial_join(t))
			return false;
		for (unsigned turn = 0; !t->has_left; turn++) {
			for (int i = 0; i < 2; i++) {
				(void)lane_push(&t->lanes[i], 3000);
				lane_pull(&t->lanes[i]);
			}
			if (!has_asked && turn >= cycle) {
				offload_leave(t->pair);
				has_asked = true;
			}
			if (!trial_turn(t))
				return false;
		}
		t->pair = NULL;
	}
	if (!trial_copy(t))
		return false;
	return trial_join(t) && trial_move(t, true);
}

static const struct {
	const char *name;
	bool (*run)(struct trial *t);
} cases[] = {
	{ "integrity", case_integrity }, { "queued data", case_queued },	   { "half-read data", case_half_read },
	{ "end of a stream", case_end }, { "backpressure bound", case_bound }, { "drain", case_drain },
	{ "join and leave", case_leave },
};

static void on_closed(void *ctx)
{
	*(bool *)ctx = true;
}

static void selftest_run(struct trial *t)
{
	for (size_t i = 0; i < ARRAY_LEN(cases) && t->out->failed_case[0] == '\0'; i++) {
		t->until_ns = clock_mono_ns() + CASE_NS;
		t->idle_turns = 0;
		t->out->cases++;
		if (!trial_open(t) || !cases[i].run(t))
			t->out->failed_case = cases[i].name;
		trial_close(t);
	}
}

static void pattern_fill(struct trial *t)
{
	uint32_t x = 1;

	for (size_t i = 0; i < PATTERN_BYTES; i++) {
		x = x * 1664525 + 1013904223; /* Numerical Recipes' generator: any will do */
		t->pattern[i] = (uint8_t)(x >> 24);
	}
	memcpy(t->pattern + PATTERN_BYTES, t->pattern, PIECE_BYTES);
}

void offload_selftest(struct flows *f, struct offload_selftest *out)
{
	const struct loop_config config = { .entries = 64, .buffer_count = { 1, 1 } };
	uint64_t began = clock_mono_ns();
	struct trial t = { .out = out, .end_ns = began + ALL_NS };
	const char *reason = "";
	bool is_closed = false;
	int err;

	*out = (struct offload_selftest){ .failed_case = "" };
	pattern_fill(&t);
	if (loop_new(&t.loop, &config, &reason) < 0) {
		out->failed_case = "start";
		(void)trial_says(&t, "%s", reason);
		return;
	}
	t.offload = offload_new(t.loop, f, 0, NULL, &err);
	if (t.offload) {
		selftest_run(&t);
		offload_close(t.offload, on_closed, &is_closed);
		while (!is_closed && loop_turn(t.loop, 10) == 0)
			continue;
	} else {
		out->failed_case = "start";
		(void)trial_says(&t, "no ring for events: %s", err_name(err));
	}
	for (int i = 0; i < 2; i++)
		slice_queue_fini(&t.held[i]);
	loop_free(t.loop);
	out->has_passed = out->failed_case[0] == '\0';
	out->took_ns = clock_mono_ns() - began;
}
