/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop.h - one io_uring a thread: SINGLE_ISSUER and DEFER_TASKRUN, created by the thread that runs it.
 *
 * A turn: submit what is queued and wait (one io_uring_enter) - reap completions by value - deliver urgent mail - run
 * the completions' callbacks - deliver other mail - expire timers - run deferred tasks.  Reaping never calls back;
 * running never reaps; nothing here re-enters.
 * Every function is for the loop's own thread unless it says otherwise.
 */
#ifndef SN_LOOP_LOOP_H
#define SN_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/iobuf.h"
#include "loop/op.h"
#include "loop/timer.h"

struct loop;

/* Two classes of receive buffers, each a provided-buffer ring shared by all streams of the loop. */
enum loop_buffers {
	LOOP_BUFFERS_SMALL, /* heads, and streams of short messages */
	LOOP_BUFFERS_LARGE, /* bodies and tunnels */
	LOOP_BUFFERS_COUNT,
};

/* Of one buffer. */
#define LOOP_SMALL_BYTES 4096
#define LOOP_LARGE_BYTES 65536

struct loop_config {
	unsigned entries;	/* submission queue; 0: 4096.  The completion queue is 4 times that. */
	unsigned buffer_count[LOOP_BUFFERS_COUNT]; /* powers of two; 0: 512 small, 64 large */
	bool is_one_shot; /* as on a kernel whose receives do not stand: for tests */
};

#define LOOP_SEND_SLICES 16 /* at most in one loop_sendv() */

/* A piece of work for later in this turn, or the next one.  Embed it.  Queued at most once. */
struct task {
	struct task *next;
	void (*run)(struct task *t);
	struct task **link; /* the pointer that points here; NULL: not queued */
};

/*
 * Create the ring on the calling thread.  On failure: -errno and *out_reason is one clear sentence that names the
 * cause (sysctl io_uring_disabled, seccomp, memlock, kernel too old).  *out_reason is static storage.
 */
int loop_new(struct loop **out_loop, const struct loop_config *config, const char **out_reason);
/* NULL ok; on the thread that made it.  CHECKs that nothing is in flight.  Mail that is not delivered stays so. */
void loop_free(struct loop *l);
/* Run turns until loop_stop().  Returns 0, or -errno when the ring itself fails. */
int loop_run(struct loop *l);
/* One turn that waits at most max_wait_ms (0: no wait).  For tests and for draining. */
int loop_turn(struct loop *l, uint64_t max_wait_ms);
void loop_stop(struct loop *l); /* after the current turn */

uint64_t loop_now_ms(const struct loop *l); /* monotonic, cached once a turn; never 0 */
uint64_t loop_now_ns(const struct loop *l); /* the same instant */
uint64_t loop_wall_ns(struct loop *l);	    /* wall clock, cached once a turn on first use */
/* Called once a turn with its busy time (work without the wait), for the loop_turn histogram; may be NULL. */
void loop_on_turn(struct loop *l, void (*fn)(void *ctx, uint64_t busy_ns), void *ctx);

/* Queue t once; it runs after the completions and timers of this turn (or of the next, from inside a task). */
void loop_defer(struct loop *l, struct task *t);
/*
 * The same, but after all tasks, just before the turn's submission: for what gathers (a stream's writes).  One that is
 * queued from inside of another still runs in this turn, four deep: HTTP/2 flushes into TLS, and that into the socket.
 */
void loop_defer_flush(struct loop *l, struct task *t);
void loop_undefer(struct loop *l, struct task *t); /* not queued: nothing */
static inline bool task_is_queued(const struct task *t)
{
	return t->link != NULL;
}

/*
 * Submissions.  They only queue; the kernel sees them at the turn's io_uring_enter (a full queue submits at once).
 * Each returns nothing: errors arrive as completions.
 */
void loop_accept_multishot(struct loop *l, struct op *op, int fd); /* res = new fd, SOCK_CLOEXEC */
/* addr is copied. */
void loop_connect(struct loop *l, struct op *op, int fd, const struct sockaddr *addr, socklen_t len);
/* One receive into a buffer of the class, picked by the kernel when bytes arrive.  -ENOBUFS: see loop_wait_buffer. */
void loop_recv(struct loop *l, struct op *op, int fd, enum loop_buffers class);
#define LOOP_RECV_LEFT (1U << 2) /* IORING_CQE_F_SOCK_NONEMPTY of a receive: more bytes are there already */
/* The same where most likely no bytes are there yet: the kernel waits first and saves a try. */
void loop_recv_later(struct loop *l, struct op *op, int fd, enum loop_buffers class);
/*
 * The same, into small buffers, where short messages are awaited one after the other.  Where the kernel can (6.18), the
 * receive stands: it completes with OP_MORE for each piece that comes, and ends when LOOP_STANDING_BYTES have come, so
 * that a sender in a hurry gets two buffers and not all.  Elsewhere it is loop_recv_later().
 */
void loop_recv_standing(struct loop *l, struct op *op, int fd);
#define LOOP_STANDING_BYTES LOOP_SMALL_BYTES
#define LOOP_STANDING_MAX   (LOOP_STANDING_BYTES - 1 + LOOP_SMALL_BYTES) /* the last piece may go beyond */
void loop_send(struct loop *l, struct op *op, int fd, const void *data, size_t len, int msg_flags);
void loop_sendmsg(struct loop *l, struct op *op, int fd, const struct msghdr *msg, int msg_flags);
/* With a control message, which lives until on_done(). */
void loop_send_control(struct loop *l, struct op *op, int fd, const struct iovec *iov, const void *control,
		       size_t control_len, int msg_flags);
/* iov itself is copied, so only the bytes must stay; count 1..LOOP_SEND_SLICES. */
void loop_sendv(struct loop *l, struct op *op, int fd, const struct iovec *iov, unsigned count, int msg_flags);
/*
 * One-shot; res = revents.  It also tells POLLERR, POLLHUP and POLLRDHUP, which are not asked for: of an end that is
 * known it would do so at once, again and again.
 */
void loop_poll(struct loop *l, struct op *op, int fd, unsigned events);
/* The same with OP_MORE, until it is cancelled: what is so at first, once, and again at each change. */
void loop_poll_changes(struct loop *l, struct op *op, int fd, unsigned events);
void loop_read(struct loop *l, struct op *op, int fd, void *buf, unsigned len); /* at the current offset */
void loop_close_fd(struct loop *l, int fd); /* nobody waits for it */
/* Ask the kernel to end `target`; its own completion still comes (-ECANCELED, or a result that was faster). */
void loop_cancel(struct loop *l, struct op *target);

/*
 * Receive buffers.  A receive completion with OP_BUFFER carries one: take it exactly once, also when the owner is
 * dead, then slice_put() it.  The buffer returns to its ring with the last reference.
 */
struct slice loop_take_buffer(struct loop *l, enum loop_buffers class, int res, unsigned flags);
/*
 * What a slice that will be kept beyond this turn should be: itself when it fills at least half of its buffer (or all
 * slices of the buffer would, were they as long) and at most half of the ring is pinned, else a malloc'd copy (the ring
 * buffer goes back at once).  Takes s.
 */
struct slice loop_keep(struct loop *l, struct slice s);

/* An owner whose receive ended with -ENOBUFS queues here in order; on_buffer runs when one has come back. */
struct buffer_waiter {
	struct list node; /* list_init() it first */
	void (*on_buffer)(struct buffer_waiter *w);
};
void loop_wait_buffer(struct loop *l, enum loop_buffers class, struct buffer_waiter *w);
void loop_unwait_buffer(struct loop *l, struct buffer_waiter *w);

/* Gauges. */
struct loop_gauges {
	uint64_t ops_inflight;
	uint64_t buffers_pinned[LOOP_BUFFERS_COUNT];
	uint64_t buffers_missing; /* -ENOBUFS seen since the start */
	uint64_t enters;	  /* io_uring_enter calls since the start */
};
void loop_gauges(const struct loop *l, struct loop_gauges *out);

#endif
