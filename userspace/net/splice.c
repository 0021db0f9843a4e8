/* SPDX-License-Identifier: GPL-2.0-only */
/* splice.c - splice(2) from socket to pipe to socket, and which bytes are worth it. */
#include "net/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/socket.h"

#define TAG_SPLICE TAG('s', 'p', 'l', 'c')

#define TURN_BYTES_MAX (4 * 1024 * 1024) /* then others have their turn */
#define ROOM_MIN       (16 * 1024)

struct splice {
	uint32_t tag;
	struct stream *from, *to; /* borrowed; NULL: stopped */
	const struct splice_events *events;
	void *owner;
	struct pipe_pool *pipes;

	uint64_t left;	/* bytes to take from `from` */
	size_t in_pipe;
	struct pipe_pair pipe; /* one of the pool's while there is something to move */
	bool is_polling, is_busy; /* busy: events are being told */
	bool waits_to; /* what the poll is for */
	bool is_writable, is_readable; /* what the last one said, until it was tried */
	bool has_ended; /* `from` has, with from_err */
	int from_err;
	struct op poll_op;
	struct task go_task;
};

const char *splice_engine_name(enum splice_engine e)
{
	static const char *const names[SPLICE_ENGINE_COUNT] = { "auto", "copy", "splice", "sockmap" };

	CHECK(e < SPLICE_ENGINE_COUNT);
	return names[e];
}

static enum splice_engine choose_for_tunnel(const struct splice_question *q)
{
	if (q->wanted == SPLICE_ENGINE_SPLICE)
		return SPLICE_ENGINE_SPLICE;
	if (q->wanted == SPLICE_ENGINE_SOCKMAP && q->has_sockmap)
		return SPLICE_ENGINE_SOCKMAP;
	if (q->is_bulk)
		return SPLICE_ENGINE_SPLICE;
	return q->is_busy && q->has_sockmap ? SPLICE_ENGINE_SOCKMAP : SPLICE_ENGINE_COPY;
}

enum splice_engine splice_choose(const struct splice_question *q)
{
	if (q->wanted == SPLICE_ENGINE_COPY || !q->is_plain || q->is_inspected)
		return SPLICE_ENGINE_COPY;
	if (q->bytes == SPLICE_UNTIL_EOF)
		return choose_for_tunnel(q);
	return q->bytes >= SPLICE_BYTES_MIN ? SPLICE_ENGINE_SPLICE : SPLICE_ENGINE_COPY;
}

/* ---- the pipe ---- */

static void pipe_return(struct splice *sp)
{
	if (sp->pipe.bytes_max)
		pipe_pool_give(sp->pipes, sp->pipe, sp->in_pipe == 0);
	sp->pipe = (struct pipe_pair){ 0 };
}

static ssize_t move(int from, int to, size_t bytes, unsigned flags)
{
	ssize_t n;

	do
		n = splice(from, NULL, to, NULL, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* From the source into the pipe.  0: it has nothing now. */
static size_t fill(struct splice *sp, size_t bytes)
{
	ssize_t n = move(stream_fd(sp->from), sp->pipe.in, bytes, 0);

	if (n > 0) {
		sp->in_pipe += (size_t)n;
		sp->left -= (size_t)n;
		sp->from->bytes_in += (size_t)n;
		sp->to->queued += (size_t)n;
		return (size_t)n;
	}
	if (n != -EAGAIN) {
		sp->has_ended = true;
		sp->from_err = (int)n;
	}
	return 0;
}

/* A stream that failed has dropped what was queued. */
static void unqueue(struct splice *sp, size_t bytes)
{
	sp->to->queued -= MIN(sp->to->queued, bytes);
}

/* From the pipe to the destination.  0: it is full; below: it failed. */
static ssize_t drain(struct splice *sp, bool has_more)
{
	ssize_t n = move(sp->pipe.out, stream_fd(sp->to), sp->in_pipe, has_more ? SPLICE_F_MORE : 0);

	if (n > 0) {
		sp->in_pipe -= (size_t)n;
		unqueue(sp, (size_t)n);
		sp->to->bytes_out += (size_t)n;
	}
	return n == -EAGAIN ? 0 : n;
}

/* ---- the end ---- */

static void free_if_idle(struct splice *sp)
{
	if (sp->from || sp->is_polling || sp->is_busy)
		return;
	sp->tag = 0;
	free(sp);
}

/* Nothing is left that could call back, but for the completion of the poll. */
static void let_go(struct splice *sp)
{
	struct loop *l = sp->from->loop;

	loop_undefer(l, &sp->go_task);
	if (sp->is_polling)
		loop_cancel(l, &sp->poll_op);
	unqueue(sp, sp->in_pipe);
	pipe_return(sp);
	sp->from = sp->to = NULL;
}

static void finish(struct splice *sp, enum splice_end end, int err)
{
	let_go(sp);
	sp->events->on_end(sp, end, err);
}

size_t splice_stop(struct splice *sp)
{
	size_t lost;

	OBJ_CHECK(sp, TAG_SPLICE);
	CHECK(sp->from);
	lost = sp->in_pipe;
	let_go(sp);
	free_if_idle(sp);
	return lost;
}

/* ---- moving ---- */

static void wait_for(struct splice *sp, struct stream *s, unsigned events)
{
	sp->is_polling = true;
	sp->waits_to = s == sp->to;
	loop_poll(s->loop, &sp->poll_op, stream_fd(s), events);
}

/* What one round came to. */
struct round {
	size_t in, out;
	enum splice_wait wait;
	bool is_over;
	enum splice_end end;
	int err;
};

static struct round over(struct round r, enum splice_end end, int err)
{
	r.is_over = true;
	r.end = end;
	r.err = err;
	return r;
}

/* How many bytes to take now: no more than the destination takes at once, so that a slow one keeps no pipe. */
static size_t fill_size(struct splice *sp)
{
	size_t room;

	if (sp->in_pipe > 0 || sp->left == 0 || sp->has_ended)
		return 0;
	room = MIN(socket_room(stream_fd(sp->to)), (size_t)sp->pipe.bytes_max);
	if (sp->is_writable) /* so POLLOUT said, whatever we think */
		room = MAX(room, (size_t)ROOM_MIN);
	sp->is_writable = false;
	return (size_t)MIN(sp->left, (uint64_t)room);
}

/* The pipe is empty. */
static void nothing_came(struct splice *sp, struct round *r, size_t want)
{
	if (sp->has_ended)
		*r = over(*r, sp->from_err ? SPLICE_FROM_FAILED : SPLICE_FROM_ENDED, sp->from_err);
	else if (want == 0)
		r->wait = SPLICE_WAITS_TO;
	else if (sp->is_readable) /* so POLLIN said, and would say again and again */
		*r = over(*r, SPLICE_STUCK, 0);
	else
		r->wait = SPLICE_WAITS_FROM;
}

/* One pipe full.  True: go on. */
static bool move_some(struct splice *sp, struct round *r)
{
	size_t want = fill_size(sp), got = 0;
	ssize_t n;

	if (want > 0)
		got = fill(sp, want);
	r->in += got;
	if (sp->in_pipe == 0) {
		nothing_came(sp, r, want);
		return false;
	}
	sp->is_readable = false;
	/* The kernel's TLS would keep a record that is promised more for as long as none comes. */
	n = drain(sp, sp->left > 0 && got > 0 && got == want && !stream_tls(sp->to));
	if (n < 0) {
		*r = over(*r, SPLICE_TO_FAILED, (int)n);
		return false;
	}
	r->out += (size_t)n;
	if (sp->in_pipe > 0) {
		r->wait = SPLICE_WAITS_TO;
		return false;
	}
	if (sp->left == 0)
		*r = over(*r, SPLICE_DONE, 0);
	return !r->is_over && r->in < TURN_BYTES_MAX;
}

/*
 * For sockets splice(2) goes by O_NONBLOCK alone, and io_uring would not wait on a socket that has it.  So it is set
 * just here: between the two calls nothing is submitted.
 */
static void set_nonblocking(const struct splice *sp, bool on)
{
	(void)fcntl(stream_fd(sp->from), F_SETFL, on ? O_NONBLOCK : 0);
	(void)fcntl(stream_fd(sp->to), F_SETFL, on ? O_NONBLOCK : 0);
}

static struct round move_round(struct splice *sp)
{
	struct round r = { 0 };

	if (!sp->pipe.bytes_max && !pipe_pool_take(sp->pipes, loop_now_ms(sp->from->loop), &sp->pipe))
		return over(r, SPLICE_NO_PIPE, 0);
	set_nonblocking(sp, true);
	while (move_some(sp, &r))
		;
	set_nonblocking(sp, false);
	if (sp->in_pipe == 0)
		pipe_return(sp);
	return r;
}

static void wait_on(struct splice *sp, const struct round *r)
{
	if (r->is_over)
		return;
	if (r->wait == SPLICE_WAITS_NOT)
		loop_defer(sp->to->loop, &sp->go_task);
	else if (r->wait == SPLICE_WAITS_FROM)
		wait_for(sp, sp->from, POLLIN | POLLRDHUP);
	else
		wait_for(sp, sp->to, POLLOUT);
}

static void go(struct splice *sp)
{
	struct round r = move_round(sp);

	wait_on(sp, &r);
	sp->is_busy = true; /* the owners may stop it in an event */
	if (r.out > 0)
		sp->to->events->on_sent(sp->to, r.out);
	if (sp->from)
		sp->events->on_moved(sp, r.in, r.wait);
	if (sp->from && r.is_over)
		finish(sp, r.end, r.err);
	sp->is_busy = false;
	free_if_idle(sp);
}

static void run_go(struct task *t)
{
	go(container_of(t, struct splice, go_task));
}

/* A receiver that is full and has ended its own sending: a poll for room says the latter, at once and for ever. */
static bool is_old_news(const struct splice *sp, int res)
{
	return sp->from && sp->waits_to && res > 0 && !(res & (POLLOUT | POLLERR | POLLHUP));
}

static void poll_done(struct op *op, int res, unsigned flags)
{
	struct splice *sp = container_of(op, struct splice, poll_op);

	OBJ_CHECK(sp, TAG_SPLICE);
	if (flags & OP_MORE) {
		if (sp->from && !is_old_news(sp, res))
			loop_cancel(sp->from->loop, op); /* and go on when that is done */
		return;
	}
	if (is_old_news(sp, res)) {
		loop_poll_changes(sp->to->loop, op, stream_fd(sp->to), POLLOUT);
		return;
	}
	sp->is_polling = false;
	sp->is_writable = sp->waits_to; /* an error is found by the call that meets it */
	sp->is_readable = !sp->waits_to && res > 0 && (res & POLLIN);
	if (sp->from)
		go(sp);
	else
		free_if_idle(sp);
}

void *splice_owner(const struct splice *sp)
{
	return sp->owner;
}

struct splice *splice_new(struct pipe_pool *pipes, struct stream *from, struct stream *to, uint64_t bytes,
			  const struct splice_events *events, void *owner)
{
	struct splice *sp = mem_alloc(sizeof(*sp));

	CHECK(bytes > 0 && from->loop == to->loop && to->queued == 0);
	*sp = (struct splice){
		.tag = TAG_SPLICE,
		.from = from,
		.to = to,
		.events = events,
		.owner = owner,
		.pipes = pipes,
		.left = bytes,
		.poll_op.on_done = poll_done,
		.go_task.run = run_go,
	};
	loop_defer(from->loop, &sp->go_task);
	return sp;
}
