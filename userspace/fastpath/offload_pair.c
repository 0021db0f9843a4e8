/* SPDX-License-Identifier: GPL-2.0-only */
/* offload_pair.c - a pair's life: join, run, leave, close. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/mem.h"
#include "fastpath/offload_private.h"
#include "fastpath/tcp_memory.h"
#include "net/socket.h"

#define STEPS_MAX 32
#define GATE_BYTES (512 * 1024)
#define GATE_OPEN_MS 50
#define MEMORY_SEEN_MS 1000
#define BUSY_MS 5 /* not quiet for so long: the iterator is to meet it at a good moment */
#define NARROW_MS 40 /* and still not: its senders are to wait */

/* --- what a pair waits for --- */

static int socket_error_of(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return err ? -err : -EPIPE;
}

static void pair_saw_end(struct offload_pair *p, unsigned index, int events)
{
	struct offload_dir *d = &p->dirs[index];

	if (events & POLLERR) {
		pair_fail(p, socket_error_of(d->source));
		return;
	}
	d->has_hangup = true;
}

/* A receiver that is full and has ended its own sending: a poll for room says the latter, at once and for ever. */
static bool poll_is_old_news(const struct offload_poll *poll, int res)
{
	return poll->kind == POLL_WRITE && res > 0 && !(res & (POLLOUT | POLLERR | POLLHUP)) &&
	       poll->pair->state <= PAIR_LEAVING;
}

/* True: that was all. */
static bool poll_goes_on(struct offload_poll *poll, int res, unsigned flags)
{
	struct offload_pair *p = poll->pair;

	if (poll_is_old_news(poll, res)) {
		if (!(flags & OP_MORE))
			loop_poll_changes(p->offload->loop, &poll->op, p->dirs[poll->index].source, POLLOUT);
		return true;
	}
	if (flags & OP_MORE) {
		if (poll->kind == POLL_WRITE)
			pair_poll_cancel(p, poll->index, POLL_WRITE);
		return false;
	}
	poll->is_armed = poll->is_cancelled = false;
	p->inflight--;
	return false;
}

static void on_poll(struct op *op, int res, unsigned flags)
{
	struct offload_poll *poll = container_of(op, struct offload_poll, op);
	struct offload_pair *p = poll->pair;

	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	if (poll_goes_on(poll, res, flags))
		return;
	if (p->state == PAIR_CLOSING) {
		pair_run_later(p);
		return;
	}
	if (res < 0 && res != -ECANCELED)
		pair_fail(p, res);
	else if (poll->kind == POLL_END && res > 0)
		pair_saw_end(p, poll->index, res);
	else if (poll->kind == POLL_READ && res > 0)
		p->dirs[poll->index].is_readable = true;
	if (p->state == PAIR_FREEZING) {
		pair_run_later(p);
		return;
	}
	if (poll->kind == POLL_END)
		pair_poll(p, poll->index, POLL_END, 0); /* the ring may be full, and end it */
	pair_run(p);
}

void pair_poll(struct offload_pair *p, unsigned index, enum poll_kind kind, unsigned events)
{
	struct offload_poll *poll = &p->polls[index][kind];

	/* A cancelled one completes, runs the pair, and is asked for again. */
	if (poll->is_armed)
		return;
	poll->is_armed = true;
	p->inflight++;
	if (kind == POLL_END)
		loop_poll_changes(p->offload->loop, &poll->op, p->dirs[index].source, POLLRDHUP);
	else
		loop_poll(p->offload->loop, &poll->op, p->dirs[index].source, events);
}

void pair_poll_cancel(struct offload_pair *p, unsigned index, enum poll_kind kind)
{
	struct offload_poll *poll = &p->polls[index][kind];

	if (!poll->is_armed || poll->is_cancelled)
		return;
	poll->is_cancelled = true;
	loop_cancel(p->offload->loop, &poll->op);
}

static void on_timer(struct timer *timer)
{
	pair_run(container_of(timer, struct offload_pair, timer));
}

void pair_wake_in(struct offload_pair *p, uint64_t ms)
{
	struct loop *l = p->offload->loop;

	if (!timer_is_armed(&p->timer) || p->timer.deadline_ms > loop_now_ms(l) + ms)
		timer_arm(l, &p->timer, ms);
}

void pair_run_later(struct offload_pair *p)
{
	loop_defer(p->offload->loop, &p->task);
}

/* --- the end --- */

void pair_free(struct offload_pair *p)
{
	for (unsigned i = 0; i < 2; i++)
		slice_queue_fini(&p->dirs[i].held);
	flows_put(p->flows);
	p->tag = 0;
	free(p);
}

static void pair_finish(struct offload_pair *p)
{
	struct offload *o = p->offload;

	offload_pair_gone(o, p);
	if (p->err) {
		o->counts.failed++;
		p->events->on_fail(p->owner, p->err, &p->report);
	} else {
		o->counts.left[p->why]++;
		p->events->on_left(p->owner, &p->report);
	}
	pair_free(p);
}

static void pair_report(struct offload_pair *p)
{
	struct offload *o = p->offload;

	p->report.why = p->why;
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		p->report.sides[i] = (struct offload_side){
			.kernel_bytes = d->row.stat->redirected,
			.user_bytes = d->user_bytes,
			.held = &d->held,
			.undelivered = p->err ? dir_undelivered(d) : 0,
			.is_eof = d->is_eof,
			.is_shut = d->state == DIR_ENDED,
		};
		o->counts.kernel_bytes += d->row.stat->redirected;
		o->counts.user_bytes += d->user_bytes;
		o->counts.slow += d->row.stat->slow;
		o->counts.undelivered += p->report.sides[i].undelivered;
	}
}

/*
 * Connections that failed end here and now, under their lock, and leave the map by that.  Taken out alive, with passed
 * bytes unread, a socket has a gap between what was read and what it queues next; if its receive buffer is full the
 * kernel packs that queue together, and stops the machine over the gap (tcp_collapse(), seen in 6.1).
 */
static void pair_break(struct offload_pair *p)
{
	pair_report(p);
	for (unsigned i = 0; i < 2; i++) {
		socket_reset_on_close(p->dirs[i].source);
		sock_abort(p->dirs[i].source);
	}
}

/* Out of the map, rows away, polls cancelled; the event comes when these have completed. */
static void pair_close(struct offload_pair *p)
{
	struct offload *o = p->offload;
	struct flows *f = p->flows;

	p->state = PAIR_CLOSING;
	timer_disarm(o->loop, &p->timer);
	timer_disarm(o->loop, &p->gate_timer);
	for (unsigned i = 0; i < 2; i++)
		dir_disarm(&p->dirs[i]);
	if (p->err)
		pair_break(p);
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		if (d->is_in_map)
			(void)flows_delete(f, d->cookie);
		d->is_in_map = false;
		dir_widen(d);
		if (!flows_can_iterate(f))
			sock_set_rcvlowat(d->source, 1);
		sock_lock_once(d->source);
	}
	if (!p->err)
		pair_report(p);
	for (unsigned i = 0; i < 2; i++) {
		flows_row_drop(f, p->dirs[i].cookie);
		flows_row_unclaim(f, p->dirs[i].slot);
		for (unsigned kind = 0; kind < POLL_COUNT; kind++)
			pair_poll_cancel(p, i, kind);
	}
	pair_run_later(p);
}

void pair_fail(struct offload_pair *p, int err)
{
	if (!p->err)
		p->err = err;
}

/* --- leaving --- */

static void pair_out(struct offload_pair *p)
{
	if (p->dirs[0].state == DIR_ENDED && p->dirs[1].state == DIR_ENDED)
		p->why = OFFLOAD_LEFT_ENDED;
	for (unsigned i = 0; i < 2; i++) {
		sock_lock_once(p->dirs[i].source);
		if (dir_adds_up(&p->dirs[i]))
			continue;
		p->offload->counts.lost_races++;
		pair_fail(p, -EIO);
		return;
	}
	pair_close(p);
}

/*
 * Senders that we cannot keep up with wait, but not one whose peer owes it room: an echo reads again only when its own
 * bytes are taken, and what is held here waits for it.
 */
static void pair_throttle(struct offload_pair *p)
{
	if (!p->is_busy || loop_now_ms(p->offload->loop) < p->busy_at_ms + NARROW_MS)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (p->dirs[!i].held.bytes <= OFFLOAD_HELD_MAX)
			dir_narrow(&p->dirs[i]);
		else
			dir_widen(&p->dirs[i]);
	}
}

/*
 * One that is quiet, at once.  Under traffic without a pause both directions never are together, and none is for as
 * long as the iterator takes to find it: then we go on reading meanwhile, and it takes out whom it meets quiet.
 */
static bool pair_may_leave(struct offload_pair *p)
{
	uint64_t now = loop_now_ms(p->offload->loop);

	pair_throttle(p);
	if (now < p->leave_at_ms) {
		pair_wake_in(p, p->leave_at_ms - now);
		return false;
	}
	if (dir_is_quiet(&p->dirs[0]) && dir_is_quiet(&p->dirs[1]))
		return true;
	if (!flows_can_iterate(p->flows) || !dir_follows(&p->dirs[0]) || !dir_follows(&p->dirs[1]))
		return false;
	p->is_busy = p->is_busy || now >= p->busy_at_ms;
	return p->is_busy;
}

/* Out of the map, if nothing is on its way in either direction, or may not be when the iterator comes. */
static void pair_try_out(struct offload_pair *p)
{
	struct offload *o = p->offload;
	bool has_left = true;

	if (p->dirs[0].state == DIR_ENDED && p->dirs[1].state == DIR_ENDED)
		p->state = PAIR_LEAVING;
	if (p->state != PAIR_LEAVING || !pair_may_leave(p))
		return;
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		/* After its FIN nothing can come; and the iterator does not show what is closed on both sides. */
		if (d->is_in_map && (d->is_eof || !flows_can_iterate(p->flows))) {
			(void)flows_delete(p->flows, d->cookie);
			d->is_in_map = false;
		}
		has_left = has_left && !d->is_in_map;
	}
	if (has_left)
		pair_out(p);
	else
		offload_iterate(o, p);
}

/*
 * Without the iterator: new bytes stay in the ordinary queue, where the kernel's receive path does not call the verdict
 * below the low-water mark.  If passed bytes wait behind them, the gate is opened for a moment.
 */
static void pair_gate(struct offload_pair *p, int bytes)
{
	if (flows_can_iterate(p->flows))
		return;
	for (unsigned i = 0; i < 2; i++)
		if (p->dirs[i].is_in_map)
			sock_set_rcvlowat(p->dirs[i].source, bytes);
}

static void on_gate_timer(struct timer *timer)
{
	struct offload_pair *p = container_of(timer, struct offload_pair, gate_timer);

	if (p->state != PAIR_LEAVING)
		return;
	pair_gate(p, 1);
	pair_run(p);
}

static void pair_start_leaving(struct offload_pair *p, enum offload_why why)
{
	p->state = PAIR_LEAVING;
	p->holds_back = false;
	p->why = why;
	p->busy_at_ms = loop_now_ms(p->offload->loop) + BUSY_MS;
	for (unsigned i = 0; i < 2; i++)
		dir_disarm(&p->dirs[i]);
	if (!flows_can_iterate(p->flows)) {
		pair_gate(p, GATE_BYTES);
		timer_arm(p->offload->loop, &p->gate_timer, GATE_OPEN_MS);
	}
	pair_run_later(p);
}

void pair_run(struct offload_pair *p)
{
	bool has_moved = true;

	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	if (p->state > PAIR_LEAVING)
		return;
	for (unsigned i = 0; i < STEPS_MAX && has_moved && !p->err; i++) {
		has_moved = dir_step(&p->dirs[0]);
		has_moved = dir_step(&p->dirs[1]) || has_moved;
	}
	if (!p->err && !p->is_iterating)
		pair_try_out(p);
	if (p->err && p->state != PAIR_CLOSING && !p->is_iterating)
		pair_close(p);
	else if (!p->err && has_moved)
		pair_run_later(p);
}

static void on_task(struct task *task)
{
	struct offload_pair *p = container_of(task, struct offload_pair, task);

	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	if (p->state == PAIR_FREEZING)
		pair_freeze_step(p);
	else if (p->state != PAIR_CLOSING)
		pair_run(p);
	else if (p->inflight == 0)
		pair_finish(p);
}

/* --- joining --- */

/* What the sockets were at when the kernel got them. */
static int pair_measure(struct offload_pair *p)
{
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++) {
		struct offload_dir *d = &p->dirs[i];
		bool has_fin;

		err = sock_written_exactly(d->destination, &d->base_written);
		if (!err)
			err = sock_read_exactly(d->source, &d->base_received, &has_fin);
	}
	return err;
}

struct offload_pair *pair_new(struct offload *o, struct flows *f, const int fd[2], const struct offload_events *ev,
			      void *owner)
{
	struct offload_pair *p = mem_zalloc(sizeof(*p));

	p->tag = TAG_OFFLOAD_PAIR;
	p->offload = o;
	p->flows = flows_get(f);
	p->events = ev;
	p->owner = owner;
	p->task.run = on_task;
	timer_init(&p->timer, on_timer);
	timer_init(&p->gate_timer, on_gate_timer);
	list_init(&p->node);
	list_init(&p->leave_node);
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		d->pair = p;
		d->index = i;
		d->source = fd[i];
		d->destination = fd[!i];
		d->cookie = sock_cookie(fd[i]);
		for (unsigned kind = 0; kind < POLL_COUNT; kind++)
			p->polls[i][kind] = (struct offload_poll){ { on_poll }, p, (uint8_t)i, (uint8_t)kind };
	}
	return p;
}

static int pair_rows_take(struct offload_pair *p)
{
	struct offload *o = p->offload;
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++) {
		struct offload_dir *d = &p->dirs[i];

		d->slot = o->free_slots[o->free_count - 1 - i];
		d->row = flows_row(o->flows, d->slot);
		err = flows_row_take(o->flows, d->slot, d->cookie, p->dirs[!i].cookie, o->worker);
		if (err && i == 1)
			flows_row_drop(o->flows, p->dirs[0].cookie);
	}
	return err;
}

static int pair_insert(struct offload_pair *p)
{
	struct offload *o = p->offload;
	int err = pair_rows_take(p);

	if (err)
		return err;
	err = flows_insert(o->flows, p->dirs[0].cookie, p->dirs[0].source);
	if (err) {
		flows_row_drop(o->flows, p->dirs[0].cookie);
		flows_row_drop(o->flows, p->dirs[1].cookie);
		return err;
	}
	p->dirs[0].is_in_map = true;
	/* Too late to say no: bytes may have been passed already. */
	p->is_refused = flows_insert(o->flows, p->dirs[1].cookie, p->dirs[1].source) != 0;
	p->dirs[1].is_in_map = !p->is_refused;
	return 0;
}

static bool memory_is_short(struct offload *o)
{
	uint64_t now = loop_now_ms(o->loop);

	if (o->memory_seen_ms == 0 || now - o->memory_seen_ms >= MEMORY_SEEN_MS) {
		o->memory_seen_ms = now;
		o->is_memory_short = tcp_memory_is_short();
	}
	return o->is_memory_short;
}

int offload_join(struct offload *o, const int fd[2], const struct offload_events *ev, void *owner,
		 struct offload_pair **out_pair)
{
	struct offload_pair *p;
	int err = 0;

	OBJ_CHECK(o, TAG_OFFLOAD);
	if (o->free_count < 2)
		err = -ENOBUFS;
	else if (!sock_is_established(fd[0]) || !sock_is_established(fd[1]))
		err = -EOPNOTSUPP;
	else if (memory_is_short(o))
		err = -ENOMEM;
	if (err) {
		o->counts.refused++;
		return err;
	}
	p = pair_new(o, o->flows, fd, ev, owner);
	err = pair_measure(p);
	if (!err)
		err = pair_insert(p);
	if (err) {
		o->counts.refused++;
		pair_free(p);
		return err;
	}
	offload_pair_added(o, p);
	o->counts.joins++;
	for (unsigned i = 0; i < 2; i++) {
		sock_fix_sndbuf(fd[i]);
		pair_poll(p, i, POLL_END, 0);
	}
	if (p->is_refused) {
		o->counts.refused++;
		pair_start_leaving(p, OFFLOAD_LEFT_REFUSED);
	} else {
		/* At once: what is passed before it is armed has to be caught up with. */
		pair_run(p);
	}
	*out_pair = p;
	return 0;
}

void offload_leave(struct offload_pair *p)
{
	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	if (p->state == PAIR_IN)
		pair_start_leaving(p, OFFLOAD_LEFT_ASKED);
}

void offload_abort(struct offload_pair *p, int err)
{
	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	CHECK(err < 0);
	if (p->state == PAIR_CLOSING)
		return;
	pair_fail(p, err);
	/* One that waits for an iterator that cannot be opened need not. */
	if (p->is_iterating && p->offload->iterate_fd < 0) {
		list_remove(&p->leave_node);
		p->is_iterating = false;
	}
	pair_run_later(p);
}

void offload_progress(const struct offload_pair *p, struct offload_progress *out)
{
	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	out->active_ns = p->user_active_ns;
	for (unsigned i = 0; i < 2; i++) {
		const struct sn_flow_stat *stat = p->dirs[i].row.stat;

		out->kernel_bytes[i] = stat->redirected;
		out->user_bytes[i] = p->dirs[i].user_bytes;
		out->active_ns = MAX(out->active_ns, stat->active_ns);
	}
}
