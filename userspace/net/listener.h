/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * listener.h - listening sockets (opened by control) and the accepting side of one of them (on a worker).
 */
#ifndef SN_NET_LISTENER_H
#define SN_NET_LISTENER_H

#include <stdbool.h>

#include "loop/loop.h"
#include "net/addr.h"

/*
 * Open a listening SO_REUSEPORT socket with TCP_NODELAY, which accepted ones inherit (dual-stack for [::]).  With
 * is_first a probe bind without SO_REUSEPORT must succeed before, so that a second daemon on the port is told
 * (-EADDRINUSE).  Returns the descriptor or -errno.  Any thread.
 * A Unix socket exists once: is_first is needed (else -EOPNOTSUPP), workers share it by dup(2).  A socket file that
 * nobody listens on is replaced; another file is not (-EEXIST).  Removing the file at the end is the caller's.
 */
int listener_socket(const struct addr *addr, int backlog, bool is_first);

/*
 * Let no new handshake begin; those that have begun go on.  acceptor_close() does it too, but some kernels (6.18) want
 * CAP_NET_ADMIN, which a worker has not: then the thread that has it calls this right before.  TCP only (else
 * -EOPNOTSUPP).  0 or -errno.  Any thread.
 */
int listener_refuse_new(int fd);

/* Set the three callbacks, then acceptor_start() sets the rest. */
struct acceptor {
	uint32_t tag;
	struct loop *loop; /* borrowed */
	int fd; /* owned */
	/* A connection: fd is the callee's. */
	void (*on_accept)(struct acceptor *a, int fd);
	/*
	 * accept failed, mostly for want of descriptors or memory (-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM); it pauses
	 * 100 ms and goes on.
	 */
	void (*on_refused)(struct acceptor *a, int err);
	void (*on_closed)(struct acceptor *a); /* after acceptor_close(): drained, nothing in flight */

	struct op accept_op;
	struct timer pause_timer; /* also of the last 100 ms */
	struct task task;
	unsigned inflight, leave_rounds;
	bool is_closing, is_leaving;
};

void acceptor_start(struct acceptor *a, struct loop *l, int fd);
/*
 * Stop without resetting anybody who was told that he is connected: new SYNs are dropped (the client sends them again
 * and finds another listener, or none), handshakes that had begun have 100 ms to end and are accepted; then the accept
 * is cancelled, its remaining completions are delivered, the queue is accepted until it is empty, the descriptor is
 * closed, and on_closed() is called.
 */
void acceptor_close(struct acceptor *a);
/*
 * Stop, and leave the socket to another process that accepts from it too: the accept is cancelled, its remaining
 * completions are delivered, a connection of which only we were told is accepted, our descriptor is closed, and
 * on_closed() is called.  Nothing is done to the socket itself.
 */
void acceptor_leave(struct acceptor *a);

#endif
