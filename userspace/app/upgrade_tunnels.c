/* SPDX-License-Identifier: GPL-2.0-only */
/* upgrade_tunnels.c - tunnels that move to the new process of a binary upgrade. */
#include "app/upgrade_tunnels.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/control.h"
#include "app/kernel_tunnels.h"
#include "app/upgrade_message.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/mailbox.h"
#include "net/socket.h"
#include "observe/log.h"

#define AGAIN_MS 5 /* the channel is full: the other side is busy */
#define PAIRS_MS 1500 /* then no tunnel goes that is in the kernel: whoever reads the channel next may not take it so */

/* A tunnel on its way: worker to control, then back with the answer. */
struct passing {
	struct mail mail;
	struct passing *next;
	struct upgrade_tunnels *owner;
	struct loop *worker; /* whose loop it is */
	struct tunnel_moving *what;
	int fds[TUNNEL_FDS_MAX]; /* borrowed until the answer */
	unsigned fd_count;
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
	uint64_t pairs_until_ms;
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
	if (p->parcel.is_in_kernel && upgrade_tunnels_pairs_are_over(u))
		return -ETIMEDOUT;
	m.tunnel = p->parcel;
	return upgrade_send(u->channel, &m, p->fds, p->fd_count);
}

/* The other side does not read.  What the kernel has need not wait for that. */
static void pairs_take_back(struct upgrade_tunnels *u)
{
	struct passing **at = &u->first;

	while (*at) {
		struct passing *p = *at;

		if (!p->parcel.is_in_kernel) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		answer_give(p, false);
	}
	u->tail = at;
}

static void queue_send(struct upgrade_tunnels *u)
{
	while (u->first) {
		struct passing *p = u->first;
		int err = passing_send(u, p);

		if (err == -EAGAIN || err == -ETOOMANYREFS) {
			if (upgrade_tunnels_pairs_are_over(u))
				pairs_take_back(u);
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

static void pass(struct tunnel_mover *m, const struct tunnel_parcel *parcel, const int *fds, unsigned fd_count,
		 struct tunnel_moving *what)
{
	struct upgrade_tunnels *u = m->ctx;
	struct passing *p = mem_zalloc(sizeof(*p));

	p->owner = u;
	p->worker = m->worker->loop;
	p->what = what;
	CHECK(fd_count <= TUNNEL_FDS_MAX);
	memcpy(p->fds, fds, fd_count * sizeof(*fds));
	p->fd_count = fd_count;
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

/* Said once: it is no fault, but tunnels are copied for a moment. */
static bool pairs_may_move(struct control *c, uint32_t kernel_abi)
{
	struct strbuf why = { 0 };
	bool may_move;

	strbuf_init(&why);
	may_move = kernel_tunnels_may_move(c->kernel_tunnels, kernel_abi, &why);
	if (why.len)
		log_info("upgrade: tunnels leave the kernel before they move to the new process: %s", why.ptr);
	strbuf_fini(&why);
	return may_move;
}

struct upgrade_tunnels *upgrade_tunnels_start(struct control *c, int channel, uint32_t kernel_abi)
{
	struct upgrade_tunnels *u = mem_zalloc(sizeof(*u));
	bool takes_pairs = pairs_may_move(c, kernel_abi);

	u->control = c;
	u->channel = channel;
	u->pairs_until_ms = loop_now_ms(c->loop) + (takes_pairs ? PAIRS_MS : 0);
	u->tail = &u->first;
	u->movers = mem_array(c->worker_count, sizeof(*u->movers));
	timer_init(&u->again, on_again);
	for (unsigned i = 0; i < c->worker_count; i++) {
		u->movers[i].pass = pass;
		u->movers[i].ctx = u;
		u->movers[i].takes_pairs = takes_pairs;
		worker_ask(c->workers[i], move_run, move_done, u);
	}
	return u;
}

bool upgrade_tunnels_pairs_are_over(const struct upgrade_tunnels *u)
{
	return loop_now_ms(u->control->loop) >= u->pairs_until_ms;
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
	struct flows *flows; /* a reference; NULL: it is not in the kernel */
};

static void arrival_run(void *ctx, struct proxy_worker *w)
{
	struct arrival *a = ctx;

	if (tunnel_adopt(w, &a->parcel, a->fd, a->flows) < 0)
		log_warn("upgrade: a tunnel of route \"%s\" is lost: max-connections are open", a->parcel.route);
}

static void arrival_done(void *ctx)
{
	struct arrival *a = ctx;

	flows_put(a->flows);
	free(a);
}

/* False: it is lost, and both peers see a reset. */
static bool arrival_inherit(struct control *c, struct arrival *a, const int *fds, unsigned fd_count)
{
	a->flows = kernel_tunnels_inherit(c->kernel_tunnels, &a->parcel.pair, fds, fd_count);
	if (a->flows)
		return true;
	log_error("upgrade: a tunnel of route \"%s\" is lost: its maps in the kernel make no sense", a->parcel.route);
	for (unsigned i = 0; i < 2; i++)
		socket_close_reset(a->fd[i]);
	return false;
}

void upgrade_tunnels_take(struct control *c, const struct tunnel_parcel *p, const int *fds, unsigned fd_count)
{
	unsigned workers = c->worker_count;
	struct arrival *a;

	if (c->state != CONTROL_RUNNING && c->state != CONTROL_LEAVING) {
		upgrade_close_fds(fds, fd_count);
		return;
	}
	a = mem_zalloc(sizeof(*a));
	a->parcel = *p;
	a->fd[0] = fds[0];
	a->fd[1] = fds[1];
	if (p->is_in_kernel) {
		workers = kernel_tunnels_workers(c->kernel_tunnels);
		if (!arrival_inherit(c, a, fds + 2, fd_count - 2)) {
			free(a);
			return;
		}
	}
	worker_ask(c->workers[c->next_arrival++ % workers], arrival_run, arrival_done, a);
}
