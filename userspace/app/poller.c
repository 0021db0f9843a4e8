/* SPDX-License-Identifier: GPL-2.0-only */
/* poller.c - one-shot polls, armed again after each event, so that a level that stays high is seen again. */
#include "app/poller.h"

#include <poll.h>

#include "base/check.h"

static void arm(struct poller *p)
{
	if (p->fd < 0 || p->is_armed)
		return;
	p->is_armed = true;
	p->is_stale = false;
	loop_poll(p->loop, &p->op, p->fd, POLLIN);
}

static void on_done(struct op *op, int res, unsigned flags)
{
	struct poller *p = container_of(op, struct poller, op);
	bool is_ours = !p->is_stale;

	if (flags & OP_MORE)
		return;
	p->is_armed = false;
	if (is_ours && res > 0 && p->fd >= 0)
		p->on_ready(p);
	if (is_ours && res < 0)
		p->fd = -1; /* closed under us: the owner sets the next one */
	arm(p);
}

void poller_init(struct poller *p, struct loop *l, void (*on_ready)(struct poller *p))
{
	*p = (struct poller){ .loop = l, .fd = -1, .on_ready = on_ready };
	p->op.on_done = on_done;
}

void poller_set(struct poller *p, int fd)
{
	if (p->fd == fd && !p->is_stale)
		return;
	if (p->is_armed && !p->is_stale) {
		p->is_stale = true;
		loop_cancel(p->loop, &p->op);
	}
	p->fd = fd;
	arm(p);
}
