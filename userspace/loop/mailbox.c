/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mailbox.c - messages from any thread to a loop.
 *
 * The pointer travels in an atomic list, so the hand-over is a happens-before of the C memory model and a thread
 * sanitizer sees it as it is.  MSG_RING and the eventfd only wake: who finds the list empty wakes, who finds
 * something in it knows that a wake-up is on its way.  The receiver takes the whole list with one exchange.
 */
#include "loop/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop/internal.h"

static void event_write(struct loop *to)
{
	const uint64_t one = 1;

	/* -EAGAIN would mean 2^64 - 2 wake-ups unread: it is readable then, which is all that is wanted. */
	if (write(to->event_fd, &one, sizeof(one)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
}

static void wake_done(struct op *op, int res, unsigned flags)
{
	/* The turn looks at the mailbox anyway. */
	(void)op;
	(void)res;
	(void)flags;
}

/* Runs on the sender: the target could not take the message (its queue overflowed, or it is being set up). */
static void refused_done(struct op *op, int res, unsigned flags)
{
	(void)res;
	(void)flags;
	event_write(container_of(op, struct loop, refused_op));
}

static void event_arm(struct loop *l)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	io_uring_prep_read(sqe, l->event_fd, &l->event_count, sizeof(l->event_count), 0);
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)&l->event_op | USER_INTERNAL);
	l->is_event_armed = true;
}

static void event_done(struct op *op, int res, unsigned flags)
{
	struct loop *l = container_of(op, struct loop, event_op);

	(void)flags;
	l->is_event_armed = false;
	if (res != -ECANCELED && !l->is_ending)
		event_arm(l);
}

int mailbox_open(struct loop *l)
{
	l->wake_op.on_done = wake_done;
	l->refused_op.on_done = refused_done;
	l->event_op.on_done = event_done;
	atomic_init(&l->mails, NULL);
	/* Not O_NONBLOCK: io_uring would answer -EAGAIN at once instead of waiting. */
	l->event_fd = eventfd(0, EFD_CLOEXEC);
	if (l->event_fd < 0)
		return -errno;
	event_arm(l);
	return 0;
}

void mailbox_cancel(struct loop *l)
{
	struct io_uring_sqe *sqe = loop_sqe(l);

	l->is_ending = true; /* the read may be faster */
	io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)&l->event_op | USER_INTERNAL, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, 0);
}

void mailbox_give(struct loop *to, struct loop *from, struct mail *m)
{
	struct mail *head = atomic_load_explicit(&to->mails, memory_order_relaxed);
	struct io_uring_sqe *sqe;

	CHECK(m->on_deliver);
	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&to->mails, &head, m, memory_order_release,
							memory_order_relaxed));
	if (head || from == to)
		return;
	if (!from) {
		event_write(to);
		return;
	}
	sqe = loop_sqe(from);
	io_uring_prep_msg_ring(sqe, to->ring.ring_fd, 0, (uint64_t)(uintptr_t)&to->wake_op | USER_INTERNAL, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)&to->refused_op | USER_INTERNAL);
}

/* All that was given so far, in its order. */
static struct mail *mails_take(struct loop *l)
{
	struct mail *newest, *oldest = NULL;

	if (mailbox_is_empty(l))
		return NULL;
	newest = atomic_exchange_explicit(&l->mails, NULL, memory_order_acquire);
	while (newest) {
		struct mail *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

/* m is the receiver's afterwards. */
static struct mail *mail_deliver(struct mail *m)
{
	struct mail *next = m->next;

	m->next = NULL;
	m->on_deliver(m);
	return next;
}

void mailbox_drain_urgent(struct loop *l)
{
	struct mail *m = mails_take(l), **end = &l->later;

	CHECK(!l->later);
	while (m) {
		if (m->is_urgent) {
			m = mail_deliver(m);
			continue;
		}
		*end = m;
		end = &m->next;
		m = m->next;
		*end = NULL;
	}
}

void mailbox_drain(struct loop *l)
{
	struct mail *m = l->later;

	l->later = NULL;
	while (m)
		m = mail_deliver(m);
}
