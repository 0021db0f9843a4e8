/* SPDX-License-Identifier: GPL-2.0-only */
/* signal.c - signals as events of a loop. */
#include "loop/signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"

#define TAG_SIGNALS TAG('s', 'i', 'g', 's')

static void signals_read(struct signals *s)
{
	s->is_reading = true;
	loop_read(s->loop, &s->op, s->fd, &s->info, sizeof(s->info));
}

static void read_done(struct op *op, int res, unsigned flags)
{
	struct signals *s = container_of(op, struct signals, op);

	(void)flags;
	s->is_reading = false;
	if (s->is_closing) {
		loop_defer(s->loop, &s->task);
		return;
	}
	if (res == (int)sizeof(s->info))
		s->on_signal(s, (int)s->info.ssi_signo);
	if (!s->is_closing)
		signals_read(s);
}

static void close_run(struct task *t)
{
	struct signals *s = container_of(t, struct signals, task);

	(void)close(s->fd);
	s->fd = -1;
	s->tag = 0;
	if (s->on_closed)
		s->on_closed(s);
}

int signals_open(struct signals *s, struct loop *l, const int *signos)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	for (; *signos; signos++)
		sigaddset(&set, *signos);
	err = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (err)
		return -err;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	s->tag = TAG_SIGNALS;
	s->loop = l;
	s->is_closing = false;
	s->op.on_done = read_done;
	s->task = (struct task){ .run = close_run };
	signals_read(s);
	return 0;
}

void signals_close(struct signals *s)
{
	OBJ_CHECK(s, TAG_SIGNALS);
	if (s->is_closing)
		return;
	s->is_closing = true;
	if (s->is_reading)
		loop_cancel(s->loop, &s->op);
	else
		loop_defer(s->loop, &s->task);
}
