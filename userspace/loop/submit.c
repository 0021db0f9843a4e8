/* SPDX-License-Identifier: GPL-2.0-only */
/* submit.c - one function an operation: fill a submission, count it. */
#include <errno.h>
#include <sched.h>

#include "loop/internal.h"

/* The kernel takes nothing only while it has no memory at all: then waiting forever helps nobody. */
#define SUBMIT_TRIES_MAX 10000

void loop_submit(struct loop *l)
{
	l->enters++;
	(void)io_uring_submit(&l->ring); /* what was refused stays queued */
	if (io_uring_sq_ready(&l->ring) == 0)
		l->scratch_used = 0;
}

struct io_uring_sqe *loop_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe;

	OBJ_CHECK(l, TAG_LOOP);
	sqe = io_uring_get_sqe(&l->ring);
	for (unsigned tries = 0; unlikely(!sqe); tries++) {
		CHECK(tries < SUBMIT_TRIES_MAX);
		if (tries)
			sched_yield();
		loop_submit(l);
		sqe = io_uring_get_sqe(&l->ring);
	}
	return sqe;
}

static struct scratch *scratch_take(struct loop *l)
{
	for (unsigned tries = 0; unlikely(l->scratch_used == SCRATCH_COUNT); tries++) {
		CHECK(tries < SUBMIT_TRIES_MAX);
		if (tries)
			sched_yield();
		loop_submit(l);
	}
	return &l->scratch[l->scratch_used++];
}

static void sqe_own(struct loop *l, struct io_uring_sqe *sqe, struct op *op)
{
	CHECK(op && op->on_done);
	io_uring_sqe_set_data(sqe, op);
	l->ops_inflight++;
}

void loop_accept_multishot(struct loop *l, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	sqe_own(l, sqe, op);
}

void loop_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *addr, socklen_t len)
{
	/* Both before the submission is begun: taking scratch may submit. */
	struct scratch *scratch = scratch_take(l);
	struct io_uring_sqe *sqe = loop_sqe(l);

	CHECK(len <= sizeof(scratch->addr));
	memcpy(&scratch->addr, addr, len);
	io_uring_prep_connect(sqe, fd, (struct sockaddr *)&scratch->addr, len);
	sqe_own(l, sqe, op);
}

static struct io_uring_sqe *recv_sqe(struct loop *l, struct op *op, int fd, enum loop_buffers class)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	CHECK(class < LOOP_BUFFERS_COUNT);
	io_uring_prep_recv(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)l->buffers[class].group;
	sqe_own(l, sqe, op);
	return sqe;
}

void loop_recv(struct loop *l, struct op *op, int fd, enum loop_buffers class)
{
	recv_sqe(l, op, fd, class);
}

void loop_recv_later(struct loop *l, struct op *op, int fd, enum loop_buffers class)
{
	recv_sqe(l, op, fd, class)->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

void loop_recv_standing(struct loop *l, struct op *op, int fd)
{
	struct io_uring_sqe *sqe;

	if (!l->can_stand) {
		loop_recv_later(l, op, fd, LOOP_BUFFERS_SMALL);
		return;
	}
	/*
	 * It tries first, once for all the pieces: what waits first takes bytes that lie before a reset when it looks,
	 * and is woken by nothing after that.
	 */
	sqe = recv_sqe(l, op, fd, LOOP_BUFFERS_SMALL);
	sqe->ioprio |= IORING_RECV_MULTISHOT;
	sqe->file_index = LOOP_STANDING_BYTES; /* is `optlen`, which is younger than liburing 2.3 */
}

void loop_send(struct loop *l, struct op *op, int fd, const void *data, size_t len, int msg_flags)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_send(sqe, fd, data, len, msg_flags);
	sqe_own(l, sqe, op);
}

void loop_sendmsg(struct loop *l, struct op *op, int fd, const struct msghdr *msg, int msg_flags)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_sendmsg(sqe, fd, msg, (unsigned)msg_flags);
	sqe_own(l, sqe, op);
}

void loop_send_control(struct loop *l, struct op *op, int fd, const struct iovec *iov, const void *control,
		       size_t control_len, int msg_flags)
{
	struct scratch *scratch = scratch_take(l);

	scratch->iov[0] = *iov;
	scratch->msg = (struct msghdr){
		.msg_iov = scratch->iov,
		.msg_iovlen = 1,
		.msg_control = (void *)(uintptr_t)control,
		.msg_controllen = control_len,
	};
	loop_sendmsg(l, op, fd, &scratch->msg, msg_flags);
}

void loop_sendv(struct loop *l, struct op *op, int fd, const struct iovec *iov, unsigned count, int msg_flags)
{
	struct scratch *scratch;

	CHECK(count > 0 && count <= LOOP_SEND_SLICES);
	if (count == 1) {
		loop_send(l, op, fd, iov->iov_base, iov->iov_len, msg_flags);
		return;
	}
	scratch = scratch_take(l);
	memcpy(scratch->iov, iov, count * sizeof(*iov));
	scratch->msg = (struct msghdr){ .msg_iov = scratch->iov, .msg_iovlen = count };
	loop_sendmsg(l, op, fd, &scratch->msg, msg_flags);
}

void loop_poll(struct loop *l, struct op *op, int fd, unsigned events)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_poll_add(sqe, fd, events);
	sqe_own(l, sqe, op);
}

void loop_poll_changes(struct loop *l, struct op *op, int fd, unsigned events)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_poll_multishot(sqe, fd, events);
	sqe_own(l, sqe, op);
}

void loop_read(struct loop *l, struct op *op, int fd, void *buf, unsigned len)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_read(sqe, fd, buf, len, (uint64_t)-1);
	sqe_own(l, sqe, op);
}

void loop_close_fd(struct loop *l, int fd)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	CHECK(fd >= 0);
	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, 0);
}

void loop_cancel(struct loop *l, struct op *target)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_cancel(sqe, target, 0);
	/* That it was too late is no news: the target's own completion tells. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, 0);
}
