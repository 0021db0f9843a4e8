/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mailbox.h - messages from any thread to a loop.  A pointer crosses threads here (or in a snapshot), nowhere else.
 * Giving moves ownership.  From a thread with a loop of its own the wake-up is IORING_OP_MSG_RING; from another
 * thread it is an eventfd.  Order is kept per sender, except that urgent mail overtakes.  The hand-over is a
 * happens-before: an atomic list, which TSan sees as it is.
 */
#ifndef SN_LOOP_MAILBOX_H
#define SN_LOOP_MAILBOX_H

#include "loop/loop.h"

/* Embed in the message. */
struct mail {
	struct mail *next;
	/* Runs on the receiving thread, which owns the message from then on. */
	void (*on_deliver)(struct mail *m);
	/*
	 * Comes before the completions of the turn: what the sender caused after it gave, a request for example that
	 * was sent once a reload was answered, meets what this brought.  Other mail comes after them: what it asks for
	 * has all that happened before it was given.
	 */
	bool is_urgent;
};

/*
 * Give m to loop `to`.  `from` is the caller's own loop, or NULL from a thread without one.  Never fails, any thread.
 * `to` must outlive the last turn of `from`.
 */
void mailbox_give(struct loop *to, struct loop *from, struct mail *m);

#endif
