/* SPDX-License-Identifier: GPL-2.0-only */
/* test_loop.c - turns, completions, tasks, receive buffers, and what happens where io_uring is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/internal.h"
#include "loop/signal.h"

static struct loop *loop;

static int setup_with(const struct loop_config *config)
{
	const char *reason = "";

	if (loop_new(&loop, config, &reason) != 0)
		fail_msg("%s", reason);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_with(NULL);
}

/* Two small buffers and two large ones; a submission queue that is full after four. */
static int setup_tiny(void **state)
{
	const struct loop_config config = { .entries = 4, .buffer_count = { 2, 2 } };

	(void)state;
	return setup_with(&config);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void turns(unsigned count)
{
	while (count--)
		assert_int_equal(loop_turn(loop, 5), 0);
}

/* --- completions --- */

struct record {
	const struct op *op;
	int res;
	unsigned flags;
};

static struct record records[512];
static unsigned record_count;

static void record_done(struct op *op, int res, unsigned flags)
{
	records[record_count++] = (struct record){ op, res, flags };
}

/*
 * A multishot accept and a receive complete in one reap, the accept twice.  The completion queue is one of our own
 * making, so that the kernel has no say in the order.
 */
static void test_one_reap_delivers_all_in_order_with_flags(void **state)
{
	static struct io_uring_cqe cqes[4];
	struct io_uring saved = loop->ring;
	unsigned head = 6, tail = 9; /* wraps */
	struct op accept_op = { record_done }, recv_op = { record_done };
	const struct io_uring_cqe want[] = {
		{ .user_data = (uintptr_t)&accept_op, .res = 7, .flags = IORING_CQE_F_MORE },
		{ .user_data = (uintptr_t)&recv_op, .res = 100, .flags = IORING_CQE_F_BUFFER | 5U << 16 },
		{ .user_data = (uintptr_t)&accept_op, .res = 8, .flags = IORING_CQE_F_MORE },
	};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		cqes[(head + i) & 3] = want[i];
	loop->ring.cq.khead = &head;
	loop->ring.cq.ktail = &tail;
	loop->ring.cq.ring_mask = 3;
	loop->ring.cq.cqes = cqes;
	loop->ops_inflight = 2;
	record_count = 0;

	loop_reap(loop);
	assert_int_equal(record_count, 0); /* reaping never calls back */
	assert_int_equal(head, tail);
	memset(cqes, 0xff, sizeof(cqes)); /* the queue is the kernel's again: nothing may be read from it */
	loop_run_done(loop);
	loop->ring = saved;

	assert_int_equal(record_count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(records[i].op, (void *)(uintptr_t)want[i].user_data);
		assert_int_equal(records[i].res, want[i].res);
		assert_int_equal(records[i].flags, want[i].flags);
	}
	assert_int_equal(loop->ops_inflight, 1); /* the receive ended, the accept goes on */
	loop->ops_inflight = 0;
}

static void test_cancel_ends_with_a_completion(void **state)
{
	struct op op = { record_done };
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	record_count = 0;
	loop_recv(loop, &op, fds[0], LOOP_BUFFERS_SMALL);
	turns(1);
	assert_int_equal(record_count, 0);
	assert_int_equal(loop->ops_inflight, 1);
	loop_cancel(loop, &op);
	turns(2);
	assert_int_equal(record_count, 1);
	assert_int_equal(records[0].res, -ECANCELED);
	assert_int_equal(records[0].flags & OP_MORE, 0);
	assert_int_equal(loop->ops_inflight, 0);
	loop_cancel(loop, &op); /* too late: nothing comes */
	turns(2);
	assert_int_equal(record_count, 1);
	loop_close_fd(loop, fds[0]);
	loop_close_fd(loop, fds[1]);
	turns(1);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
}

/* Four places in the submission queue, sixteen in the completion queue, and 200 operations in one turn. */
static void test_small_queues_lose_nothing(void **state)
{
	static struct op ops[200];
	int fd = eventfd(1, EFD_CLOEXEC);

	(void)state;
	record_count = 0;
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		ops[i].on_done = record_done;
		loop_poll(loop, &ops[i], fd, POLLIN);
	}
	for (unsigned i = 0; i < 100 && record_count < ARRAY_LEN(ops); i++)
		turns(1);
	assert_int_equal(record_count, ARRAY_LEN(ops));
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++)
		assert_true(records[i].res & POLLIN);
	close(fd);
}

/* The vectors are copied: more of them in one turn than there is scratch. */
static void test_vectors_are_copied(void **state)
{
	static struct op ops[SCRATCH_COUNT + 50];
	char got[2 * ARRAY_LEN(ops)];
	size_t total = 0;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	record_count = 0;
	for (unsigned i = 0; i < ARRAY_LEN(ops); i++) {
		struct iovec iov[2] = { { (char *)"a", 1 }, { (char *)"b", 1 } };

		ops[i].on_done = record_done;
		loop_sendv(loop, &ops[i], fds[0], iov, 2, MSG_NOSIGNAL);
		memset(iov, 0xff, sizeof(iov));
	}
	/* The socket takes some 270 of them: the rest waits, with the kernel's copy. */
	for (unsigned i = 0; i < 200 && total < sizeof(got); i++) {
		ssize_t n;

		turns(1);
		n = recv(fds[1], got + total, sizeof(got) - total, MSG_DONTWAIT);
		total += n > 0 ? (size_t)n : 0;
	}
	assert_int_equal(total, sizeof(got));
	assert_int_equal(record_count, ARRAY_LEN(ops));
	for (unsigned i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], i % 2 ? 'b' : 'a');
	close(fds[0]);
	close(fds[1]);
}

static void test_one_enter_a_turn(void **state)
{
	struct loop_gauges before, after;
	struct op op = { record_done };
	int fd = eventfd(1, EFD_CLOEXEC);

	(void)state;
	turns(2);
	loop_gauges(loop, &before);
	for (unsigned i = 0; i < 100; i++) {
		record_count = 0;
		loop_poll(loop, &op, fd, POLLIN);
		turns(1);
		assert_int_equal(record_count, 1);
	}
	loop_gauges(loop, &after);
	assert_int_equal(after.enters - before.enters, 100);
	close(fd);
}

static int ends_seen;
static unsigned ends_flags;

static void note_ends(struct op *op, int res, unsigned flags)
{
	(void)op;
	record_count++;
	ends_seen = res;
	ends_flags = flags;
}

/* Once for what is so, and again when it changes: not over and over. */
static void test_ends_are_told_once(void **state)
{
	struct op op = { note_ends };
	unsigned more;
	int fds[2];
	uint64_t began;

	(void)state;
	record_count = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	loop_poll_changes(loop, &op, fds[0], POLLRDHUP);
	turns(2);
	assert_int_equal(record_count, 0);
	assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
	turns(2);
	assert_true(record_count >= 1 && (ends_seen & POLLRDHUP) && (ends_flags & OP_MORE));
	more = record_count;
	began = clock_mono_ns();
	turns(10);
	assert_true(clock_mono_ns() - began >= 10 * 4 * 1000000ull);
	assert_int_equal(record_count, more);
	close(fds[1]);
	turns(2);
	assert_true(record_count > more && (ends_seen & POLLHUP));
	loop_cancel(loop, &op);
	turns(2);
	assert_int_equal(ends_seen, -ECANCELED);
	assert_false(ends_flags & OP_MORE);
	close(fds[0]);
}

/* --- tasks --- */

struct step {
	struct task task;
	char name;
	struct task *defers, *undefers, *flushes;
};

static char order[64];

static void step_run(struct task *t)
{
	struct step *s = container_of(t, struct step, task);
	size_t len = strlen(order);

	order[len] = s->name;
	order[len + 1] = '\0';
	if (s->defers)
		loop_defer(loop, s->defers);
	if (s->undefers)
		loop_undefer(loop, s->undefers);
	if (s->flushes)
		loop_defer_flush(loop, s->flushes);
}

static void test_tasks_run_in_order_and_those_of_tasks_next_turn(void **state)
{
	struct step d = { { .run = step_run }, 'd', NULL, NULL };
	struct step c = { { .run = step_run }, 'c', NULL, NULL };
	struct step flush = { { .run = step_run }, 'f', NULL, NULL };
	struct step b = { { .run = step_run }, 'b', &d.task, &c.task };
	struct step a = { { .run = step_run }, 'a', &a.task, NULL };

	(void)state;
	order[0] = '\0';
	loop_defer_flush(loop, &flush.task);
	loop_defer(loop, &a.task);
	loop_defer(loop, &b.task);
	loop_defer(loop, &c.task);
	loop_defer(loop, &b.task); /* queued already */
	assert_int_equal(loop_turn(loop, UINT64_MAX), 0);
	assert_string_equal(order, "abf"); /* b took c out; a again and d are for the next turn */
	a.defers = NULL;
	assert_int_equal(loop_turn(loop, UINT64_MAX), 0);
	assert_string_equal(order, "abfad");
	loop_defer(loop, &c.task);
	loop_undefer(loop, &c.task);
	loop_undefer(loop, &c.task);
	turns(1);
	assert_string_equal(order, "abfad");
}

static void test_layers_flush_into_each_other_in_one_turn(void **state)
{
	struct step socket = { { .run = step_run }, 's', NULL, NULL, NULL };
	struct step tls = { { .run = step_run }, 't', NULL, NULL, &socket.task };
	struct step http = { { .run = step_run }, 'h', NULL, NULL, &tls.task };
	struct step endless = { { .run = step_run }, 'e', NULL, NULL, &endless.task };

	(void)state;
	order[0] = '\0';
	loop_defer_flush(loop, &http.task);
	turns(1);
	assert_string_equal(order, "hts");
	order[0] = '\0';
	loop_defer_flush(loop, &endless.task);
	turns(1);
	assert_string_equal(order, "eeee"); /* no turn lasts forever */
	loop_undefer(loop, &endless.task);
}

/* What a connection has to say is sent before the next one's is made. */
static void test_a_flush_goes_down_before_the_next_begins(void **state)
{
	struct step victim = { { .run = step_run }, 'v', NULL, NULL, NULL };
	struct step sockets[2] = { { { .run = step_run }, 's' }, { { .run = step_run }, 'S' } };
	struct step tls[2] = { { { .run = step_run }, 't', NULL, &victim.task, &sockets[0].task },
			       { { .run = step_run }, 'T', NULL, NULL, &sockets[1].task } };

	(void)state;
	order[0] = '\0';
	loop_defer_flush(loop, &tls[0].task);
	loop_defer_flush(loop, &tls[1].task);
	loop_defer_flush(loop, &victim.task);
	turns(1);
	assert_string_equal(order, "tsTS");
	loop_defer_flush(loop, &victim.task);
	turns(1);
	assert_string_equal(order, "tsTSv");
}

/* --- timers --- */

struct alarm_clock {
	struct timer timer;
	uint64_t armed_ns, fired_ns;
	struct timer *disarms;
	uint64_t again_ms;
	unsigned fired;
};

static void alarm_fired(struct timer *t)
{
	struct alarm_clock *a = container_of(t, struct alarm_clock, timer);

	a->fired_ns = clock_mono_ns();
	a->fired++;
	if (a->disarms)
		timer_disarm(loop, a->disarms);
	if (a->again_ms != UINT64_MAX)
		timer_arm(loop, t, a->again_ms);
}

static void alarm_init(struct alarm_clock *a)
{
	*a = (struct alarm_clock){ .again_ms = UINT64_MAX };
	timer_init(&a->timer, alarm_fired);
}

static uint64_t alarm_takes_ns(uint64_t ms)
{
	struct alarm_clock a;

	alarm_init(&a);
	turns(1); /* a fresh now */
	a.armed_ns = loop_now_ns(loop);
	timer_arm(loop, &a.timer, ms);
	while (!a.fired)
		assert_int_equal(loop_turn(loop, UINT64_MAX), 0);
	assert_false(timer_is_armed(&a.timer));
	return a.fired_ns - a.armed_ns;
}

static uint64_t turn_takes_ns(uint64_t ms)
{
	uint64_t begin = clock_mono_ns();

	assert_int_equal(loop_turn(loop, ms), 0);
	return clock_mono_ns() - begin;
}

#define TRIES 50

/*
 * Never early, and late by how much the best of many tries was: the machine may stand still at any time, but what is
 * late by itself always is.
 */
static uint64_t late_ns(uint64_t (*takes_ns)(uint64_t ms), uint64_t ms, uint64_t bound_ns)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < TRIES && best >= bound_ns; i++) {
		uint64_t took = takes_ns(ms);

		assert_true(took >= ms * 1000000);
		best = MIN(best, took - ms * 1000000);
	}
	return best;
}

static void test_a_timer_is_never_early_and_not_late(void **state)
{
	const uint64_t bound_ns = 20000000;

	(void)state;
	for (uint64_t ms = 1; ms < 60; ms += 7)
		assert_in_range(late_ns(alarm_takes_ns, ms, bound_ns), 0, bound_ns);
}

static void test_timers_of_callbacks(void **state)
{
	struct alarm_clock a, b, c;

	(void)state;
	alarm_init(&a);
	alarm_init(&b);
	alarm_init(&c);
	a.disarms = &b.timer; /* due in the same turn, behind it */
	c.again_ms = 0;
	timer_arm(loop, &a.timer, 0);
	timer_arm(loop, &b.timer, 0);
	timer_arm(loop, &c.timer, 0);
	assert_int_equal(loop_turn(loop, UINT64_MAX), 0);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	assert_int_equal(c.fired, 1); /* armed with 0 inside its own callback: next turn */
	assert_int_equal(loop_turn(loop, UINT64_MAX), 0);
	assert_int_equal(c.fired, 2);
	timer_disarm(loop, &c.timer);
	timer_arm(loop, &a.timer, 1);
	timer_arm(loop, &a.timer, 100000); /* moved */
	for (unsigned i = 0; i < 3; i++)
		turns(1);
	assert_int_equal(a.fired, 1);
	timer_disarm(loop, &a.timer);
	timer_disarm(loop, &a.timer);
}

static void test_a_turn_waits_no_longer_than_told(void **state)
{
	const uint64_t bound_ns = 20000000;

	(void)state;
	assert_in_range(late_ns(turn_takes_ns, 30, bound_ns), 0, bound_ns);
	assert_in_range(late_ns(turn_takes_ns, 0, bound_ns), 0, bound_ns);
}

/* --- receive buffers --- */

struct reader {
	struct op op;
	struct buffer_waiter waiter;
	struct slice got;
	int fds[2];
	unsigned missed, woken_at;
};

static unsigned wake_count;

static void reader_done(struct op *op, int res, unsigned flags)
{
	struct reader *r = container_of(op, struct reader, op);

	if (res == -ENOBUFS) {
		r->missed++;
		loop_wait_buffer(loop, LOOP_BUFFERS_SMALL, &r->waiter);
		return;
	}
	assert_true(res > 0 && (flags & OP_BUFFER));
	r->got = loop_take_buffer(loop, LOOP_BUFFERS_SMALL, res, flags);
}

static void reader_woken(struct buffer_waiter *w)
{
	struct reader *r = container_of(w, struct reader, waiter);

	r->woken_at = ++wake_count;
	loop_recv(loop, &r->op, r->fds[0], LOOP_BUFFERS_SMALL);
}

static void readers_open(struct reader *readers, unsigned count)
{
	wake_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct reader *r = &readers[i];

		*r = (struct reader){ .op = { reader_done }, .waiter.on_buffer = reader_woken };
		list_init(&r->waiter.node);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, r->fds), 0);
		assert_int_equal(write(r->fds[1], "0123456789", 10), 10);
		loop_recv(loop, &r->op, r->fds[0], LOOP_BUFFERS_SMALL);
	}
}

static void readers_close(struct reader *readers, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		slice_put(&readers[i].got);
		close(readers[i].fds[0]);
		close(readers[i].fds[1]);
	}
}

static void test_who_finds_no_buffer_waits_in_order(void **state)
{
	struct reader readers[6];
	struct loop_gauges gauges;

	(void)state;
	readers_open(readers, 6);
	turns(3);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_SMALL], 2);
	assert_int_equal(gauges.buffers_missing, 4);
	assert_int_equal(wake_count, 0); /* none came back: nobody is woken for nothing */
	loop_unwait_buffer(loop, &readers[3].waiter);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned from[] = { 0, 1, 2 }, to[] = { 2, 4, 5 };

		slice_put(&readers[from[i]].got);
		turns(2);
		assert_int_equal(readers[to[i]].woken_at, i + 1);
		assert_int_equal(readers[to[i]].got.len, 10);
	}
	assert_int_equal(readers[3].woken_at, 0);
	readers_close(readers, 6);
}

static void test_bursts_get_more_buffers(void **state)
{
	struct reader readers[100];
	struct loop_gauges gauges;

	(void)state;
	readers_open(readers, 100);
	turns(12);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(readers[i].got.len, 10);
		assert_memory_equal(readers[i].got.ptr, "0123456789", 10);
	}
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_SMALL], 100);
	readers_close(readers, 100);
	loop_gauges(loop, &gauges);
	assert_int_equal(gauges.buffers_pinned[LOOP_BUFFERS_SMALL], 0);
}

static void test_kept_bytes_pin_at_most_half_of_the_ring(void **state)
{
	struct bufring *b = &loop->buffers[LOOP_BUFFERS_SMALL];
	struct slice kept[3];
	unsigned own = 0;

	(void)state;
	/* A full buffer stays, one that is filled by less than half is copied. */
	turns(1);
	kept[0] = loop_keep(loop, bufring_take(b, 0, b->buffer_bytes));
	assert_int_equal(kept[0].buf->is_ring, 1);
	kept[1] = loop_keep(loop, bufring_take(b, 1, b->buffer_bytes / 2 - 1));
	assert_int_equal(kept[1].buf->is_ring, 0);
	assert_int_equal(b->pinned, 1);
	/* One of two is pinned: the next is copied although it is full. */
	turns(1);
	kept[2] = loop_keep(loop, bufring_take(b, 1, b->buffer_bytes));
	for (unsigned i = 0; i < 3; i++) {
		own += kept[i].buf->is_ring;
		slice_put(&kept[i]);
	}
	assert_int_equal(own, 1);
	assert_int_equal(b->pinned, 0);
}

static void test_pieces_that_fill_a_buffer_together_are_kept_together(void **state)
{
	struct bufring *b = &loop->buffers[LOOP_BUFFERS_SMALL];
	struct slice whole, pieces[4], tiny;

	(void)state;
	turns(1);
	whole = bufring_take(b, 0, b->buffer_bytes);
	for (uint32_t i = 0; i < 4; i++)
		pieces[i] = slice_part(whole, i * whole.len / 4, whole.len / 4);
	slice_put(&whole);
	for (unsigned i = 0; i < 4; i++) {
		pieces[i] = loop_keep(loop, pieces[i]);
		assert_int_equal(pieces[i].buf->is_ring, 1);
	}
	tiny = loop_keep(loop, slice_part(pieces[0], 0, 1));
	assert_int_equal(tiny.buf->is_ring, 0);
	slice_put(&tiny);
	for (unsigned i = 0; i < 3; i++)
		slice_put(&pieces[i]);
	/* What is left of it fills a quarter. */
	pieces[3] = loop_keep(loop, pieces[3]);
	assert_int_equal(pieces[3].buf->is_ring, 0);
	slice_put(&pieces[3]);
	assert_int_equal(b->pinned, 0);
}

/* --- refused --- */

/* Runs check in a child with a filter that answers io_uring_setup with err; the child's exit status is returned. */
static int with_refusal(int err, int (*check)(void))
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_LEN(code), code };
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
			_exit(99);
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int refusal(int err, const char *word)
{
	struct loop *l = NULL;
	const char *reason = "";

	if (loop_new(&l, NULL, &reason) != err || l)
		return 1;
	return strstr(reason, word) ? 0 : 2;
}

static int check_eperm(void)
{
	return refusal(-EPERM, "seccomp");
}

static int check_enosys(void)
{
	return refusal(-ENOSYS, "seccomp");
}

static int check_einval(void)
{
	return refusal(-EINVAL, "Linux 6.1");
}

static int check_enomem(void)
{
	return refusal(-ENOMEM, "locked memory");
}

static void test_a_refused_ring_names_the_cause(void **state)
{
	(void)state;
	assert_int_equal(with_refusal(EPERM, check_eperm), 0);
	assert_int_equal(with_refusal(ENOSYS, check_enosys), 0);
	assert_int_equal(with_refusal(EINVAL, check_einval), 0);
	assert_int_equal(with_refusal(ENOMEM, check_enomem), 0);
}

static void test_no_descriptor_left_for_the_ring(void **state)
{
	struct rlimit limit, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 3, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(refusal(-EMFILE, "descriptor"), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* --- signals --- */

static int signal_got, signals_closed;

static void on_signal(struct signals *s, int signo)
{
	(void)s;
	signal_got = signo;
}

static void on_signals_closed(struct signals *s)
{
	(void)s;
	signals_closed++;
}

static void test_signals_are_events(void **state)
{
	const int signos[] = { SIGUSR1, SIGHUP, 0 };
	struct signals s = { .on_signal = on_signal, .on_closed = on_signals_closed };

	(void)state;
	assert_int_equal(signals_open(&s, loop, signos), 0);
	turns(1);
	assert_int_equal(kill(getpid(), SIGUSR1), 0);
	turns(2);
	assert_int_equal(signal_got, SIGUSR1);
	assert_int_equal(kill(getpid(), SIGHUP), 0);
	turns(2);
	assert_int_equal(signal_got, SIGHUP);
	signals_close(&s);
	turns(3);
	assert_int_equal(signals_closed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TINY(name) cmocka_unit_test_setup_teardown(name, setup_tiny, teardown)
		TEST(test_one_reap_delivers_all_in_order_with_flags),
		TEST(test_cancel_ends_with_a_completion),
		TINY(test_small_queues_lose_nothing),
		TEST(test_vectors_are_copied),
		TEST(test_one_enter_a_turn),
		TEST(test_ends_are_told_once),
		TEST(test_tasks_run_in_order_and_those_of_tasks_next_turn),
		TEST(test_layers_flush_into_each_other_in_one_turn),
		TEST(test_a_flush_goes_down_before_the_next_begins),
		TEST(test_a_timer_is_never_early_and_not_late),
		TEST(test_timers_of_callbacks),
		TEST(test_a_turn_waits_no_longer_than_told),
		TINY(test_who_finds_no_buffer_waits_in_order),
		TEST(test_bursts_get_more_buffers),
		TINY(test_kept_bytes_pin_at_most_half_of_the_ring),
		TEST(test_pieces_that_fill_a_buffer_together_are_kept_together),
		cmocka_unit_test(test_a_refused_ring_names_the_cause),
		cmocka_unit_test(test_no_descriptor_left_for_the_ring),
		TEST(test_signals_are_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
