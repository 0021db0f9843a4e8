/* SPDX-License-Identifier: GPL-2.0-only */
/* loop.c - the ring, the turn, deferred tasks and receive buffers. */
#include "loop/loop.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/internal.h"
#include "loop/small_file.h"

#define ENTRIES_DEFAULT	     4096
#define BUFFERS_SMALL	     512
#define BUFFERS_LARGE	     64
#define COMPLETIONS_PER_SUBMISSION 4
#define FLUSH_LAYERS	     4 /* HTTP/2, TLS, the socket, and one more; the rest waits for the next turn */
#define NS_PER_MS	     1000000ULL
#define NS_PER_S	     1000000000ULL

static char sysctl_disabled(void)
{
	char value[2];

	/* Else a kernel without the sysctl. */
	return small_file_read("/proc/sys/kernel/io_uring_disabled", value, sizeof(value)) ? value[0] : '0';
}

static const char *refusal_reason(int err)
{
	switch (-err) {
	case EPERM:
		switch (sysctl_disabled()) {
		case '2':
			return "io_uring is switched off: sysctl kernel.io_uring_disabled is 2, set it to 0";
		case '1':
			return "io_uring is for privileged users only: sysctl kernel.io_uring_disabled is 1, "
			       "set it to 0 or join the group of kernel.io_uring_group";
		default:
			return "io_uring is forbidden here: a seccomp profile (of a container?) refuses io_uring_setup";
		}
	case EACCES:
		return "io_uring is forbidden here: a security module refuses io_uring_setup";
	case ENOSYS:
		return "io_uring is missing: the kernel is built without it, or a seccomp profile hides it";
	case EINVAL:
		return "this kernel is too old: io_uring with SINGLE_ISSUER, DEFER_TASKRUN and buffer rings "
		       "needs Linux 6.1";
	case ENOMEM:
		return "no memory for io_uring: raise the limit of locked memory (ulimit -l)";
	case EMFILE:
	case ENFILE:
		return "no file descriptor left for io_uring: raise the limit of open files (ulimit -n)";
	default:
		return "io_uring cannot be set up";
	}
}

static void clock_update(struct loop *l)
{
	l->now_ns = clock_mono_ns();
	l->now_ms = MAX(l->now_ns / NS_PER_MS, 1);
	l->wall_ns = 0;
}

static void task_queue_init(struct task_queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static int ring_open(struct loop *l, unsigned entries)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
			 IORING_SETUP_SUBMIT_ALL,
		.cq_entries = entries * COMPLETIONS_PER_SUBMISSION,
	};
	int err = io_uring_queue_init_params(entries, &l->ring, &params);

	if (err)
		return err;
	/* Saves a descriptor look-up an enter; a refusal costs nothing else. */
	(void)io_uring_register_ring_fd(&l->ring);
	l->done_max = params.cq_entries;
	l->done = mem_array(l->done_max, sizeof(*l->done));
	return 0;
}

static int buffers_open(struct loop *l, const struct loop_config *config)
{
	static const unsigned counts[] = { BUFFERS_SMALL, BUFFERS_LARGE };
	static const unsigned bytes[] = { LOOP_SMALL_BYTES, LOOP_LARGE_BYTES };

	for (unsigned i = 0; i < LOOP_BUFFERS_COUNT; i++) {
		unsigned count = config && config->buffer_count[i] ? config->buffer_count[i] : counts[i];
		int err = bufring_init(&l->buffers[i], &l->ring, i, count, bytes[i]);

		if (err)
			return err;
	}
	return 0;
}

static void loop_release(struct loop *l)
{
	for (unsigned i = 0; i < LOOP_BUFFERS_COUNT; i++)
		bufring_fini(&l->buffers[i], &l->ring);
	io_uring_queue_exit(&l->ring);
	free(l->done);
	free(l->scratch);
	l->tag = 0;
	free(l);
}

int loop_new(struct loop **out_loop, const struct loop_config *config, const char **out_reason)
{
	struct loop *l = mem_zalloc(sizeof(*l));
	int err;

	l->tag = TAG_LOOP;
	l->event_fd = -1;
	task_queue_init(&l->tasks);
	task_queue_init(&l->flushes);
	clock_update(l);
	wheel_init(&l->wheel, l->now_ms);

	err = ring_open(l, config && config->entries ? config->entries : ENTRIES_DEFAULT);
	if (err) {
		*out_reason = refusal_reason(err);
		free(l);
		return err;
	}
	l->scratch = mem_array(SCRATCH_COUNT, sizeof(*l->scratch));
	err = buffers_open(l, config);
	if (!err)
		l->can_stand = !(config && config->is_one_shot) && loop_try_standing(l);
	if (!err)
		err = mailbox_open(l);
	if (err) {
		*out_reason = refusal_reason(err);
		loop_release(l);
		return err;
	}
	*out_loop = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	OBJ_CHECK(l, TAG_LOOP);
	CHECK(l->ops_inflight == 0);
	mailbox_cancel(l);
	while (l->is_event_armed) {
		l->enters++;
		(void)io_uring_submit_and_wait(&l->ring, 1);
		loop_reap(l);
		loop_run_done(l);
	}
	(void)close(l->event_fd);
	loop_release(l);
}

/* The kernel's queue is the place for a backlog: what does not fit is left there for the next turn. */
void loop_reap(struct loop *l)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&l->ring, head, cqe) {
		if (l->done_count == l->done_max)
			break;
		l->done[l->done_count++] = (struct completion){
			.user_data = io_uring_cqe_get_data64(cqe),
			.res = cqe->res,
			.flags = cqe->flags,
		};
		count++;
	}
	io_uring_cq_advance(&l->ring, count);
}

void loop_run_done(struct loop *l)
{
	for (unsigned i = 0; i < l->done_count; i++) {
		struct completion c = l->done[i];
		struct op *op = (struct op *)(uintptr_t)(c.user_data & ~USER_INTERNAL);

		if (!op)
			continue;
		if (!(c.user_data & USER_INTERNAL) && !(c.flags & IORING_CQE_F_MORE)) {
			CHECK(l->ops_inflight > 0);
			l->ops_inflight--;
		}
		op->on_done(op, c.res, c.flags);
	}
	l->done_count = 0;
}

static void task_append(struct task_queue *q, struct task *t)
{
	CHECK(t->run);
	if (t->link)
		return;
	t->next = NULL;
	t->link = q->end;
	*q->end = t;
	q->end = &t->next;
}

static void task_remove(struct task_queue *q, struct task *t)
{
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	else
		q->end = t->link;
	t->link = NULL;
}

void loop_defer(struct loop *l, struct task *t)
{
	OBJ_CHECK(l, TAG_LOOP);
	task_append(&l->tasks, t);
}

void loop_defer_flush(struct loop *l, struct task *t)
{
	OBJ_CHECK(l, TAG_LOOP);
	task_append(&l->flushes, t);
}

void loop_undefer(struct loop *l, struct task *t)
{
	OBJ_CHECK(l, TAG_LOOP);
	if (t->link)
		task_remove(l->flushes.end == &t->next ? &l->flushes : &l->tasks, t);
}

static void mark_run(struct task *t)
{
	(void)t;
}

/*
 * Runs what is queued now; what that queues is for the next turn.  A task may undefer one behind it, so tasks are
 * taken off one at a time, and a mark says where today ends.
 */
static void tasks_run(struct task_queue *q)
{
	if (!q->first)
		return;
	q->mark.run = mark_run;
	task_append(q, &q->mark);
	for (;;) {
		struct task *t = q->first;

		task_remove(q, t);
		if (t == &q->mark)
			break;
		t->run(t);
	}
}

/*
 * Depth first: what a flush hands to the layer below is encrypted and sent while it is in the processor's cache, before
 * the next connection's.  A mark is the last of those at hand, so that each of them may be undeferred.
 */
static void flushes_run(struct loop *l, unsigned layers)
{
	struct task mark = { .run = mark_run };
	struct task *first;

	if (layers == 0 || !l->flushes.first)
		return;
	task_append(&l->flushes, &mark);
	first = l->flushes.first;
	first->link = &first;
	task_queue_init(&l->flushes);
	while (first != &mark) {
		struct task *t = first;

		first = t->next;
		first->link = &first;
		t->link = NULL;
		t->run(t);
		flushes_run(l, layers - 1);
	}
}

static void waiters_run(struct bufring *b)
{
	unsigned count = b->provided;
	struct list *n;

	while (count-- && (n = list_pop(&b->waiters))) {
		struct buffer_waiter *w = list_entry(n, struct buffer_waiter, node);

		w->on_buffer(w);
	}
}

static bool has_work(struct loop *l)
{
	if (l->tasks.first || l->flushes.first || !mailbox_is_empty(l))
		return true;
	return io_uring_cq_ready(&l->ring) > 0 || io_uring_cq_has_overflow(&l->ring);
}

/* Relative to the turn's cached time: late by at most what the turn took. */
static uint64_t wait_ns(struct loop *l, uint64_t max_wait_ms)
{
	uint64_t next, max = max_wait_ms > UINT64_MAX / NS_PER_MS ? UINT64_MAX : max_wait_ms * NS_PER_MS;

	if (max == 0 || has_work(l))
		return 0;
	next = wheel_next(&l->wheel);
	if (next == WHEEL_NONE)
		return max;
	if (next * NS_PER_MS <= l->now_ns)
		return 0;
	return MIN(max, next * NS_PER_MS - l->now_ns);
}

/* The one io_uring_enter of a turn. */
static int enter(struct loop *l, uint64_t wait)
{
	struct __kernel_timespec ts = { .tv_sec = (int64_t)(wait / NS_PER_S), .tv_nsec = (int64_t)(wait % NS_PER_S) };
	struct io_uring_cqe *cqe;
	int err;

	l->enters++;
	if (wait == 0)
		err = io_uring_submit_and_get_events(&l->ring);
	else if (wait == UINT64_MAX)
		err = io_uring_submit_and_wait(&l->ring, 1);
	else
		err = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1, &ts, NULL);
	if (io_uring_sq_ready(&l->ring) == 0)
		l->scratch_used = 0;
	switch (err) {
	case -ETIME:
	case -EINTR:
	case -EAGAIN: /* no memory for a request, or a queue that is full: reap, and the next turn tries again */
	case -EBUSY:
		return 0;
	default:
		return err < 0 ? err : 0;
	}
}

int loop_turn(struct loop *l, uint64_t max_wait_ms)
{
	int err;

	OBJ_CHECK(l, TAG_LOOP);
	for (unsigned i = 0; i < LOOP_BUFFERS_COUNT; i++) {
		bufring_provide(&l->buffers[i]);
		waiters_run(&l->buffers[i]);
	}
	err = enter(l, wait_ns(l, max_wait_ms));
	if (err)
		return err;
	clock_update(l);
	loop_reap(l);
	mailbox_drain_urgent(l);
	loop_run_done(l);
	mailbox_drain(l);
	timers_run(l);
	tasks_run(&l->tasks);
	flushes_run(l, FLUSH_LAYERS);
	if (l->on_turn)
		l->on_turn(l->on_turn_ctx, clock_mono_ns() - l->now_ns);
	return 0;
}

int loop_run(struct loop *l)
{
	int err = 0;

	OBJ_CHECK(l, TAG_LOOP);
	l->is_stopping = false;
	while (!err && !l->is_stopping)
		err = loop_turn(l, UINT64_MAX);
	/* Mail to other loops and closes that the last turn queued. */
	loop_submit(l);
	return err;
}

void loop_stop(struct loop *l)
{
	OBJ_CHECK(l, TAG_LOOP);
	l->is_stopping = true;
}

uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ms;
}

uint64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

uint64_t loop_wall_ns(struct loop *l)
{
	if (!l->wall_ns)
		l->wall_ns = clock_wall_ns();
	return l->wall_ns;
}

void loop_on_turn(struct loop *l, void (*fn)(void *ctx, uint64_t busy_ns), void *ctx)
{
	OBJ_CHECK(l, TAG_LOOP);
	l->on_turn = fn;
	l->on_turn_ctx = ctx;
}

struct slice loop_take_buffer(struct loop *l, enum loop_buffers class, int res, unsigned flags)
{
	OBJ_CHECK(l, TAG_LOOP);
	CHECK(class < LOOP_BUFFERS_COUNT && (flags & OP_BUFFER));
	return bufring_take(&l->buffers[class], flags >> IORING_CQE_BUFFER_SHIFT, res > 0 ? (uint32_t)res : 0);
}

struct slice loop_keep(struct loop *l, struct slice s)
{
	struct bufring *b;
	struct slice copy;

	OBJ_CHECK(l, TAG_LOOP);
	if (!s.buf || !s.buf->is_ring)
		return s;
	b = s.buf->owner;
	/* Frames of HTTP/2 cut a buffer into pieces, which are kept together. */
	if ((uint64_t)s.len * s.buf->refs >= b->buffer_bytes / 2 && b->pinned <= b->count / 2)
		return s;
	copy = slice_copy(s.ptr, s.len);
	slice_put(&s);
	return copy;
}

void loop_wait_buffer(struct loop *l, enum loop_buffers class, struct buffer_waiter *w)
{
	struct bufring *b = &l->buffers[class];

	OBJ_CHECK(l, TAG_LOOP);
	CHECK(w->on_buffer && list_is_empty(&w->node));
	bufring_missed(b);
	list_append(&b->waiters, &w->node);
}

void loop_unwait_buffer(struct loop *l, struct buffer_waiter *w)
{
	OBJ_CHECK(l, TAG_LOOP);
	list_remove(&w->node);
}

void loop_gauges(const struct loop *l, struct loop_gauges *out)
{
	*out = (struct loop_gauges){ .ops_inflight = l->ops_inflight, .enters = l->enters };
	for (unsigned i = 0; i < LOOP_BUFFERS_COUNT; i++) {
		out->buffers_pinned[i] = l->buffers[i].pinned;
		out->buffers_missing += l->buffers[i].missing;
	}
}
