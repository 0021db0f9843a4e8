/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload_move.c - pairs that go on in another process while the kernel carries them: what this one knows is packed,
 * and believed there only as far as sockets and maps agree.
 *
 * What a row or a socket tells is read again there.  The parcel has what only the worker knew.
 */
#include <errno.h>

#include "base/check.h"
#include "fastpath/offload_private.h"

_Static_assert(OFFLOAD_FDS_MAX == FLOWS_FDS_MAX, "what goes with a parcel are the maps");

/* --- going --- */

int offload_freeze(struct offload_pair *p)
{
	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	if (p->state != PAIR_IN || p->is_refused || p->err || flows_age(p->flows) >= OFFLOAD_AGE_MAX)
		return -EOPNOTSUPP;
	if (p->dirs[0].held.count > 0 || p->dirs[1].held.count > 0) {
		p->holds_back = true;
		return -EAGAIN;
	}
	p->holds_back = false;
	p->state = PAIR_FREEZING;
	timer_disarm(p->offload->loop, &p->timer);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned kind = 0; kind < POLL_COUNT; kind++)
			pair_poll_cancel(p, i, (enum poll_kind)kind);
	pair_run_later(p);
	return 0;
}

static void rows_unclaim(struct offload_pair *p, unsigned count)
{
	while (count-- > 0)
		flows_row_unclaim(p->flows, p->dirs[count].slot);
}

static void parcel_pack(const struct offload_pair *p, struct offload_parcel *out)
{
	*out = (struct offload_parcel){ .user_active_ns = p->user_active_ns, .age = flows_age(p->flows) + 1 };
	for (unsigned i = 0; i < 2; i++) {
		const struct offload_dir *d = &p->dirs[i];

		out->dirs[i] = (struct offload_parcel_dir){
			.cookie = d->cookie,
			.base_written = d->base_written,
			.base_received = d->base_received,
			.user_bytes = d->user_bytes,
			.consumed = d->consumed,
			.slow_seen = d->slow_seen,
			.state = (uint8_t)d->state,
			.is_eof = d->is_eof,
			.is_slow = d->is_slow,
		};
	}
}

/* Each poll that ends comes here again. */
void pair_freeze_step(struct offload_pair *p)
{
	struct offload_parcel parcel;
	int fds[FLOWS_FDS_MAX];
	unsigned fd_count;

	if (p->inflight > 0)
		return;
	if (p->err) {
		p->state = PAIR_IN;
		pair_run(p);
		return;
	}
	p->state = PAIR_FROZEN;
	parcel_pack(p, &parcel);
	fd_count = flows_fds(p->flows, fds);
	p->events->on_frozen(p->owner, &parcel, fds, fd_count);
}

static void pair_watch(struct offload_pair *p)
{
	for (unsigned i = 0; i < 2; i++)
		pair_poll(p, i, POLL_END, 0);
	pair_run_later(p);
}

void offload_thaw(struct offload_pair *p)
{
	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	CHECK(p->state == PAIR_FROZEN);
	p->state = PAIR_IN;
	for (unsigned i = 0; i < 2; i++)
		p->dirs[i].drain_moved_ms = loop_now_ms(p->offload->loop);
	pair_watch(p);
}

void offload_release(struct offload_pair *p)
{
	struct offload *o = p->offload;

	OBJ_CHECK(p, TAG_OFFLOAD_PAIR);
	CHECK(p->state == PAIR_FROZEN);
	loop_undefer(o->loop, &p->task);
	rows_unclaim(p, 2);
	offload_pair_gone(o, p);
	o->counts.left[OFFLOAD_LEFT_MOVED]++;
	pair_free(p);
}

/* --- coming --- */

static bool dir_restore(struct offload_dir *d, const struct offload_parcel_dir *from)
{
	bool is_armed = from->state == DIR_ARMED;
	const struct flow_row *row = &d->row;

	if (from->state >= DIR_STATE_COUNT || from->is_eof > 1 || from->is_slow > 1 ||
	    (from->state == DIR_ENDED && !from->is_eof) || (from->is_eof && is_armed))
		return false;
	if (row->ctl->peer != d->pair->dirs[!d->index].cookie || row->ctl->limit != SN_FLOW_NEVER ||
	    row->ctl->armed_at != (is_armed ? from->consumed : SN_FLOW_NEVER) || row->ctl->wants_out ||
	    row->stat->is_out)
		return false;
	d->state = (enum dir_state)from->state;
	d->is_in_map = true;
	d->is_eof = from->is_eof;
	d->is_slow = from->is_slow;
	d->base_written = from->base_written;
	d->base_received = from->base_received;
	d->user_bytes = from->user_bytes;
	d->consumed = from->consumed;
	d->slow_seen = from->slow_seen;
	d->drain_since_ms = d->drain_moved_ms = loop_now_ms(d->pair->offload->loop);
	return true;
}

static bool pair_restore(struct offload_pair *p, const struct offload_parcel *parcel)
{
	unsigned claimed = 0;

	for (; claimed < 2; claimed++) {
		struct offload_dir *d = &p->dirs[claimed];

		if (d->cookie != parcel->dirs[claimed].cookie ||
		    flows_row_claim(p->flows, d->cookie, &d->slot) != 0)
			break;
		d->row = flows_row(p->flows, d->slot);
	}
	if (claimed == 2 && dir_restore(&p->dirs[0], &parcel->dirs[0]) && dir_restore(&p->dirs[1], &parcel->dirs[1])) {
		p->user_active_ns = MIN(parcel->user_active_ns, loop_now_ns(p->offload->loop));
		return true;
	}
	rows_unclaim(p, claimed);
	return false;
}

struct offload_pair *offload_adopt(struct offload *o, const int fd[2], const struct offload_arrival *a,
				   const struct offload_events *ev, void *owner)
{
	struct offload_pair *p = pair_new(o, a->flows, fd, ev, owner);

	OBJ_CHECK(o, TAG_OFFLOAD);
	CHECK(a->flows != o->flows);
	if (!pair_restore(p, a->parcel)) {
		pair_free(p);
		return NULL;
	}
	offload_pair_added(o, p);
	o->counts.adopted++;
	flows_ring_lead(p->flows, o->worker, flows_ring_fd(o->flows, o->worker));
	for (unsigned i = 0; i < 2; i++)
		__atomic_store_n(&p->dirs[i].row.ctl->worker, o->worker, __ATOMIC_RELAXED);
	pair_watch(p);
	return p;
}
