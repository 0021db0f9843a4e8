/* SPDX-License-Identifier: GPL-2.0-only */
/* upgrade_tunnels.c - tunnels that move to the new process of a binary upgrade. */
#include "app/upgrade_tunnels.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/control.h"
#include "app/upgrade_message.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/mailbox.h"
#include "observe/log.h"

#define AGAIN_MS 5 /* the channel is full: the other side is busy */

/* A tunnel on its way: worker to control, then back with the answer. */
struct passing {
	struct mail mail;
	struct passing *next;
	struct upgrade_tunnels *owner;
	struct loop *worker; /* whose loop it is */
	struct tunnel_moving *what;
	int fd[2];
	bool is_gone;
	struct tunnel_parcel parcel;
};

struct upgrade_tunnels {
	struct control *control;
	int channel; /* borrowed; -1: nobody reads it */
	struct tunnel_mover *movers; /* owned; one a worker, touched by its thread */
	struct passing *first, **tail; /* what waits for room in the channel */
	struct timer again;
	unsigned count;
};

/* ---- the answer, on the worker ---- */

static void answer_deliver(struct mail *m)
{
	struct passing *p = container_of(m, struct passing, mail);

	tunnel_moved(p->what, p->is_gone);
	free(p);
}

/* The worker lives: its tunnel waits for this. */
static void answer_give(struct passing *p, bool is_gone)
{
	struct loop *control = p->owner->control->loop;

	p->is_gone = is_gone;
	p->mail.on_deliver = answer_deliver;
	mailbox_give(p->worker, control, &p->mail);
}

/* ---- sending, on control ---- */

static int passing_send(struct upgrade_tunnels *u, const struct passing *p)
{
	struct upgrade_message m = { .kind = UPGRADE_TUNNEL };

	if (u->channel < 0)
		return -EPIPE;
	m.tunnel = p->parcel;
	return upgrade_send(u->channel, &m, p->fd, 2);
}

static void queue_send(struct upgrade_tunnels *u)
{
	while (u->first) {
		struct passing *p = u->first;
		int err = passing_send(u, p);

		if (err == -EAGAIN || err == -ETOOMANYREFS) {
			timer_arm(u->control->loop, &u->again, AGAIN_MS);
			return;
		}
		u->first = p->next;
		if (!u->first)
			u->tail = &u->first;
		u->count += err == 0;
		answer_give(p, err == 0);
	}
}

static void on_again(struct timer *t)
{
	queue_send(container_of(t, struct upgrade_tunnels, again));
}

static void passing_deliver(struct mail *m)
{
	struct passing *p = container_of(m, struct passing, mail);
	struct upgrade_tunnels *u = p->owner;

	p->next = NULL;
	*u->tail = p;
	u->tail = &p->next;
	if (!timer_is_armed(&u->again))
		queue_send(u);
}

/* ---- beginning, on the worker ---- */

static void pass(struct tunnel_mover *m, const struct tunnel_parcel *parcel, const int fd[2],
		 struct tunnel_moving *what)
{
	struct upgrade_tunnels *u = m->ctx;
	struct passing *p = mem_zalloc(sizeof(*p));

	p->owner = u;
	p->worker = m->worker->loop;
	p->what = what;
	p->fd[0] = fd[0];
	p->fd[1] = fd[1];
	p->parcel = *parcel;
	p->mail.on_deliver = passing_deliver;
	mailbox_give(u->control->loop, p->worker, &p->mail);
}

static void move_run(void *ctx, struct proxy_worker *w)
{
	struct upgrade_tunnels *u = ctx;

	tunnels_move(w, &u->movers[w->index]);
}

static void move_done(void *ctx)
{
	(void)ctx;
}

struct upgrade_tunnels *upgrade_tunnels_start(struct control *c, int channel)
{
	struct upgrade_tunnels *u = mem_zalloc(sizeof(*u));

	u->control = c;
	u->channel = channel;
	u->tail = &u->first;
	u->movers = mem_array(c->worker_count, sizeof(*u->movers));
	timer_init(&u->again, on_again);
	for (unsigned i = 0; i < c->worker_count; i++) {
		u->movers[i].pass = pass;
		u->movers[i].ctx = u;
		worker_ask(c->workers[i], move_run, move_done, u);
	}
	return u;
}

void upgrade_tunnels_end(struct upgrade_tunnels *u)
{
	u->channel = -1;
	timer_disarm(u->control->loop, &u->again);
	queue_send(u);
}

unsigned upgrade_tunnels_count(const struct upgrade_tunnels *u)
{
	return u->count;
}

/* ---- the new side ---- */

struct arrival {
	struct tunnel_parcel parcel;
	int fd[2];
};

static void arrival_run(void *ctx, struct proxy_worker *w)
{
	struct arrival *a = ctx;

	if (tunnel_adopt(w, &a->parcel, a->fd) < 0)
		log_warn("upgrade: a tunnel of route \"%s\" is lost: max-connections are open", a->parcel.route);
}

static void arrival_done(void *ctx)
{
	free(ctx);
}

void upgrade_tunnels_take(struct control *c, const struct tunnel_parcel *p, const int fd[2])
{
	struct arrival *a;

	if (c->state != CONTROL_RUNNING && c->state != CONTROL_LEAVING) {
		upgrade_close_fds(fd, 2);
		return;
	}
	a = mem_zalloc(sizeof(*a));
	a->parcel = *p;
	a->fd[0] = fd[0];
	a->fd[1] = fd[1];
	worker_ask(c->workers[c->next_arrival++ % c->worker_count], arrival_run, arrival_done, a);
}
