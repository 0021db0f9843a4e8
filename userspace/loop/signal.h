/* SPDX-License-Identifier: GPL-2.0-only */
/* signal.h - signals as events of a loop (signalfd).  For the control thread. */
#ifndef SN_LOOP_SIGNAL_H
#define SN_LOOP_SIGNAL_H

#include <stdint.h>
#include <sys/signalfd.h>

#include "loop/loop.h"

struct signals {
	uint32_t tag;
	struct loop *loop; /* borrowed */
	int fd;		   /* owned */
	void (*on_signal)(struct signals *s, int signo);
	void (*on_closed)(struct signals *s); /* after signals_close(); the last call */

	struct op op;
	struct task task;
	struct signalfd_siginfo info;
	bool is_reading, is_closing;
};

/*
 * Block the signals of signos (ended by 0) in the calling thread and report them from the loop.  Call it before
 * any thread is started: threads inherit the mask, and a thread without it would take the signal the old way.
 * Set on_signal and on_closed first.  0 or -errno.
 */
int signals_open(struct signals *s, struct loop *l, const int *signos);
/* Stop; the signals stay blocked.  on_closed() follows from the loop. */
void signals_close(struct signals *s);

#endif
