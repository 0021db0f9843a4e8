/* SPDX-License-Identifier: GPL-2.0-only */
/* trial.c - what this kernel can beyond Linux 6.1, found by trying it. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/internal.h"

struct trial {
	struct op op;
	struct loop *loop;
	size_t received;
	bool is_ended;
	int err;
};

static void trial_done(struct op *op, int res, unsigned flags)
{
	struct trial *t = container_of(op, struct trial, op);

	if (flags & OP_BUFFER) {
		struct slice data = loop_take_buffer(t->loop, LOOP_BUFFERS_SMALL, res, flags);

		t->received += data.len;
		slice_put(&data);
	}
	t->err = MIN(res, 0);
	t->is_ended = !(flags & OP_MORE);
}

static void trial_turn(struct loop *l, unsigned waits_for)
{
	l->enters++;
	if (waits_for)
		(void)io_uring_submit_and_wait(&l->ring, waits_for);
	else
		(void)io_uring_submit_and_get_events(&l->ring);
	loop_reap(l);
	loop_run_done(l);
	bufring_provide(&l->buffers[LOOP_BUFFERS_SMALL]);
}

/*
 * An older kernel (6.12) refuses the limit.  A newer one may forget an end that comes together with the bytes before
 * it, when both wake one poll: there the receive never ends, and is not for us.
 */
bool loop_try_standing(struct loop *l)
{
	struct trial t = { .op.on_done = trial_done, .loop = l };
	bool can;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return false;
	l->can_stand = true;
	loop_recv_standing(l, &t.op, fds[0]);
	trial_turn(l, 0);
	can = !t.is_ended && write(fds[1], "x", 1) == 1 && shutdown(fds[1], SHUT_WR) == 0;
	trial_turn(l, 0);
	can = can && t.is_ended && t.err == 0 && t.received == 1;
	if (!t.is_ended)
		loop_cancel(l, &t.op);
	while (!t.is_ended)
		trial_turn(l, 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return can;
}
