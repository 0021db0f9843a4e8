/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * poller.h - call back whenever a descriptor is readable.  The descriptor may be changed or taken away at any time,
 * also by itself being closed and opened anew.  Thread of the loop only.
 */
#ifndef SN_APP_POLLER_H
#define SN_APP_POLLER_H

#include "loop/loop.h"

struct poller {
	struct loop *loop; /* borrowed */
	int fd;		   /* borrowed; -1: none */
	void (*on_ready)(struct poller *p);

	struct op op;
	bool is_armed;
	bool is_stale; /* armed for another descriptor: its end is awaited */
};

void poller_init(struct poller *p, struct loop *l, void (*on_ready)(struct poller *p));
/* Watch fd from now on (-1: nothing).  The old one may be closed right after. */
void poller_set(struct poller *p, int fd);

#endif
