/* SPDX-License-Identifier: GPL-2.0-only */
/* internal.h - struct loop, shared by the files of loop/ and their tests; nobody else includes this. */
#ifndef SN_LOOP_INTERNAL_H
#define SN_LOOP_INTERNAL_H

#include <liburing.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/check.h"
#include "loop/bufring.h"
#include "loop/loop.h"
#include "loop/mailbox.h"
#include "loop/wheel.h"

#define TAG_LOOP TAG('l', 'o', 'o', 'p')

/* In user_data beside the pointer to the op: the loop's own operation, not counted as in flight. */
#define USER_INTERNAL 1ULL

struct completion {
	uint64_t user_data; /* struct op, | USER_INTERNAL; 0: nobody waits */
	int res;
	unsigned flags; /* IORING_CQE_F_*: buffer id, MORE */
};

/*
 * What a submission points at, until the kernel has taken the submission: from then on it has its own copy (an
 * operation that has to wait copies header, vector and address before io_uring_enter() returns).
 */
struct scratch {
	struct msghdr msg;
	union {
		struct iovec iov[LOOP_SEND_SLICES];
		struct sockaddr_storage addr;
	};
};

#define SCRATCH_COUNT 256

/* FIFO of tasks. */
struct task_queue {
	struct task *first;
	struct task **end;
	struct task mark; /* where this turn's tasks end */
};

struct loop {
	uint32_t tag;
	bool is_stopping;
	bool can_stand; /* receives that stand */
	struct io_uring ring;

	struct completion *done; /* owned; as large as the completion queue */
	unsigned done_count, done_max;
	uint64_t ops_inflight;
	uint64_t enters;

	uint64_t now_ns, now_ms; /* monotonic, of this turn */
	uint64_t wall_ns;	 /* 0: not read in this turn */
	struct wheel wheel;
	struct task_queue tasks, flushes;

	struct bufring buffers[LOOP_BUFFERS_COUNT];
	struct scratch *scratch; /* owned; SCRATCH_COUNT */
	unsigned scratch_used;

	void (*on_turn)(void *ctx, uint64_t busy_ns);
	void *on_turn_ctx;

	/* The mailbox: any thread pushes, this one takes all. */
	struct mail *_Atomic mails; /* newest first */
	struct mail *later;	    /* taken, for after the completions of this turn */
	struct op wake_op;    /* completes here when a MSG_RING came */
	struct op refused_op; /* completes on a sender whose MSG_RING failed */
	struct op event_op;   /* the read of event_fd */
	int event_fd;	      /* owned */
	uint64_t event_count;
	bool is_event_armed;
	bool is_ending; /* it is not armed again */
};

/* The next free submission, submitting what is queued if there is none. */
struct io_uring_sqe *loop_sqe(struct loop *l);
/* trial.c: whether the kernel has receives that stand.  With nothing else submitted. */
bool loop_try_standing(struct loop *l);
/* Tell the kernel of everything queued, now.  Frees the scratch. */
void loop_submit(struct loop *l);
/* Copy every completion out of the ring, then run the callbacks: two steps, neither calls the other. */
void loop_reap(struct loop *l);
void loop_run_done(struct loop *l);

void timers_run(struct loop *l);

int mailbox_open(struct loop *l);
void mailbox_drain_urgent(struct loop *l); /* before the turn's completions */
void mailbox_drain(struct loop *l);	   /* all else, after them */
void mailbox_cancel(struct loop *l); /* end the read of event_fd */
static inline bool mailbox_is_empty(struct loop *l)
{
	return atomic_load_explicit(&l->mails, memory_order_relaxed) == NULL;
}

#endif
