/* SPDX-License-Identifier: GPL-2.0-only */
/* offload.c - a worker's part: events and sweep find pairs with work, the iterator takes them out of the map. */
#include "fastpath/offload.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "fastpath/offload_private.h"

#define SWEEP_MS 100
#define SWEEP_PAIRS 500 /* a turn: 1,000 rows */
#define STALL_MS 30000
#define ITERATE_SYNC_MAX_NS 500000ull /* longer than that, and a thread of the kernel does it */
#define ITERATE_RETRY_MS 10
#define LEAVE_WAIT_MAX_MS 10u

/* --- pairs with work: by a hint of the kernel, else within a sweep --- */

static struct span cookie_span(const void *cookie)
{
	return span_of(cookie, sizeof(uint64_t));
}

/* Slots of maps that were adopted have other numbers, which may be the same as one of ours. */
static struct offload_pair *pair_of_event(struct offload *o, const struct sn_splice_event *e)
{
	uint32_t index = e->slot - o->worker * flows_rows_per_worker(o->flows);
	struct offload_pair *p = index < o->slot_count ? o->by_slot[index] : NULL;

	if (p && (p->dirs[0].cookie == e->cookie || p->dirs[1].cookie == e->cookie))
		return p;
	return hmap_get(&o->adopted, cookie_span(&e->cookie));
}

static int ring_sample(void *ctx, void *data, size_t len)
{
	struct offload *o = ctx;
	struct offload_pair *p;

	if (len < sizeof(struct sn_splice_event))
		return 0;
	o->counts.events++;
	p = pair_of_event(o, data);
	if (p)
		pair_run_later(p);
	return 0;
}

static void ring_watch(struct offload *o)
{
	if (o->is_deaf || o->is_closing)
		return;
	o->is_ring_armed = true;
	loop_poll(o->loop, &o->ring_op, ring_buffer__epoll_fd(o->ring), POLLIN);
}

static void on_ring(struct op *op, int res, unsigned flags)
{
	struct offload *o = container_of(op, struct offload, ring_op);

	(void)flags;
	o->is_ring_armed = false;
	if (o->is_closing) {
		loop_defer(o->loop, &o->close_task);
		return;
	}
	if (res > 0)
		(void)ring_buffer__consume(o->ring);
	/* A poll that fails is the sweep's to make up for. */
	if (res >= 0)
		ring_watch(o);
}

static void on_sweep(struct timer *timer)
{
	struct offload *o = container_of(timer, struct offload, sweep_timer);
	unsigned count;

	if (o->sweep_left == 0 || o->sweep_left > o->pair_count)
		o->sweep_left = o->pair_count;
	count = MIN(o->sweep_left, SWEEP_PAIRS);
	o->sweep_left -= count;
	while (count-- > 0) {
		struct list *n = list_pop(&o->pairs);
		struct offload_pair *p = list_entry(n, struct offload_pair, node);

		list_append(&o->pairs, n);
		if (p->state <= PAIR_LEAVING && (dir_needs_run(&p->dirs[0]) || dir_needs_run(&p->dirs[1])))
			pair_run_later(p);
	}
	if (o->pair_count > 0)
		timer_arm(o->loop, timer, o->sweep_left > 0 ? 1 : SWEEP_MS);
}

void offload_pair_added(struct offload *o, struct offload_pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		if (p->flows != o->flows) {
			(void)hmap_set(&o->adopted, cookie_span(&d->cookie), p);
			continue;
		}
		o->free_count--;
		o->by_slot[d->slot - o->worker * flows_rows_per_worker(o->flows)] = p;
	}
	list_append(&o->pairs, &p->node);
	o->pair_count++;
	if (!timer_is_armed(&o->sweep_timer))
		timer_arm(o->loop, &o->sweep_timer, SWEEP_MS);
}

void offload_pair_gone(struct offload *o, struct offload_pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		if (p->flows != o->flows) {
			(void)hmap_remove(&o->adopted, cookie_span(&d->cookie));
			continue;
		}
		/* One that is frozen goes on in another process, in its row. */
		if (p->state != PAIR_FROZEN)
			o->free_slots[o->free_count++] = d->slot;
		o->by_slot[d->slot - o->worker * flows_rows_per_worker(o->flows)] = NULL;
	}
	list_remove(&p->node);
	list_remove(&p->leave_node);
	o->pair_count--;
}

/* --- the iterator: one run for all pairs that are ready --- */

static void iterate_ask(struct offload_pair *p, bool wants_out)
{
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		if (!d->is_in_map)
			continue;
		d->row.ctl->consumed = d->consumed;
		__atomic_store_n(&d->row.ctl->wants_out, wants_out, __ATOMIC_RELEASE);
	}
}

/* What became of it.  Another worker's iterator may have been the one that took it out. */
static void iterate_look(struct offload_pair *p)
{
	bool has_left = true, has_more = false;

	iterate_ask(p, false);
	for (unsigned i = 0; i < 2; i++) {
		struct offload_dir *d = &p->dirs[i];

		if (!d->is_in_map)
			continue;
		sock_lock_once(d->source);
		if (__atomic_load_n(&d->row.stat->is_out, __ATOMIC_ACQUIRE))
			dir_out(d);
		has_left = has_left && !d->is_in_map;
		has_more = has_more || dir_passed(d) != d->consumed;
	}
	p->is_iterating = false;
	if (!has_left) {
		p->offload->counts.leave_retries++;
		p->is_busy = true;
		p->leave_tries++;
		p->leave_at_ms = loop_now_ms(p->offload->loop) + MIN(p->leave_tries, LEAVE_WAIT_MAX_MS);
	}
	if (has_left || has_more || p->err)
		pair_run_later(p);
	else
		pair_wake_in(p, 1);
}

static void iterate_done(struct offload *o)
{
	struct list *n;

	(void)close(o->iterate_fd);
	o->iterate_fd = -1;
	o->iterate_took_ns = clock_mono_ns() - o->iterate_began_ns;
	o->counts.iterations++;
	while ((n = list_pop(&o->iterated)) != NULL)
		iterate_look(list_entry(n, struct offload_pair, leave_node));
	if (!list_is_empty(&o->leavers))
		loop_defer(o->loop, &o->iterate_task);
}

static void on_iterate(struct op *op, int res, unsigned flags)
{
	struct offload *o = container_of(op, struct offload, iterate_op);

	(void)flags;
	/* It has no output: 0 is the end, and -EAGAIN a pause in a long table. */
	if (res > 0 || res == -EAGAIN || res == -EINTR)
		loop_read(o->loop, op, o->iterate_fd, o->iterate_buf, sizeof(o->iterate_buf));
	else
		iterate_done(o);
}

static void iterate_read(struct offload *o)
{
	ssize_t n;

	do
		n = read(o->iterate_fd, o->iterate_buf, sizeof(o->iterate_buf));
	while (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)));
	iterate_done(o);
}

/* An iterator knows one set of maps: all that are in the first one's.  The others follow. */
static bool iterate_gather(struct offload *o, const struct flows *f)
{
	bool is_busy = false;
	struct list rest, *n;

	list_init(&rest);
	while ((n = list_pop(&o->leavers)) != NULL) {
		struct offload_pair *p = list_entry(n, struct offload_pair, leave_node);

		list_append(p->flows == f ? &o->iterated : &rest, n);
		if (p->flows != f)
			continue;
		is_busy = is_busy || p->is_busy;
		iterate_ask(p, true);
	}
	list_splice(&o->leavers, &rest);
	return is_busy;
}

static void iterate_start(struct offload *o)
{
	struct flows *f;
	bool is_busy;

	if (o->iterate_fd >= 0 || list_is_empty(&o->leavers))
		return;
	f = list_entry(o->leavers.next, struct offload_pair, leave_node)->flows;
	o->iterate_fd = flows_iterator_open(f);
	if (o->iterate_fd < 0) {
		list_append(&o->leavers, list_pop(&o->leavers)); /* those in other maps need not wait for it */
		timer_arm(o->loop, &o->iterate_timer, ITERATE_RETRY_MS);
		return;
	}
	is_busy = iterate_gather(o, f);
	o->iterate_began_ns = clock_mono_ns();
	if (o->iterate_took_ns <= ITERATE_SYNC_MAX_NS && !is_busy)
		iterate_read(o);
	else
		loop_read(o->loop, &o->iterate_op, o->iterate_fd, o->iterate_buf, sizeof(o->iterate_buf));
}

static void on_iterate_task(struct task *task)
{
	iterate_start(container_of(task, struct offload, iterate_task));
}

static void on_iterate_timer(struct timer *timer)
{
	iterate_start(container_of(timer, struct offload, iterate_timer));
}

void offload_iterate(struct offload *o, struct offload_pair *p)
{
	p->is_iterating = true;
	list_append(&o->leavers, &p->leave_node);
	loop_defer(o->loop, &o->iterate_task);
}

/* --- life --- */

static void on_close_task(struct task *task)
{
	struct offload *o = container_of(task, struct offload, close_task);
	void (*on_closed)(void *ctx) = o->on_closed;
	void *ctx = o->closed_ctx;

	ring_buffer__free(o->ring);
	hmap_fini(&o->adopted);
	free(o->by_slot);
	free(o->free_slots);
	o->tag = 0;
	free(o);
	on_closed(ctx);
}

struct offload *offload_new(struct loop *l, struct flows *f, unsigned worker, const struct offload_options *options,
			    int *out_err)
{
	struct offload *o = mem_zalloc(sizeof(*o));

	o->tag = TAG_OFFLOAD;
	o->loop = l;
	o->flows = f;
	o->worker = worker;
	o->stall_ms = options && options->stall_ms ? options->stall_ms : STALL_MS;
	o->is_deaf = options && options->is_deaf;
	o->ring = ring_buffer__new(flows_ring_fd(f, worker), ring_sample, o, NULL);
	if (!o->ring) {
		*out_err = -errno;
		free(o);
		return NULL;
	}
	o->slot_count = o->free_count = flows_rows_per_worker(f);
	o->by_slot = mem_array(o->slot_count, sizeof(*o->by_slot));
	o->free_slots = mem_array(o->slot_count, sizeof(*o->free_slots));
	for (unsigned i = 0; i < o->slot_count; i++)
		o->free_slots[i] = (worker + 1) * o->slot_count - 1 - i;
	o->ring_op.on_done = on_ring;
	o->iterate_op.on_done = on_iterate;
	o->iterate_task.run = on_iterate_task;
	o->iterate_fd = -1;
	o->iterate_took_ns = UINT64_MAX;
	o->close_task.run = on_close_task;
	timer_init(&o->sweep_timer, on_sweep);
	timer_init(&o->iterate_timer, on_iterate_timer);
	list_init(&o->pairs);
	list_init(&o->leavers);
	list_init(&o->iterated);
	ring_watch(o);
	return o;
}

void offload_close(struct offload *o, void (*on_closed)(void *ctx), void *ctx)
{
	OBJ_CHECK(o, TAG_OFFLOAD);
	CHECK(o->pair_count == 0 && o->iterate_fd < 0 && !o->is_closing);
	o->is_closing = true;
	o->on_closed = on_closed;
	o->closed_ctx = ctx;
	timer_disarm(o->loop, &o->sweep_timer);
	timer_disarm(o->loop, &o->iterate_timer);
	loop_undefer(o->loop, &o->iterate_task);
	if (o->is_ring_armed)
		loop_cancel(o->loop, &o->ring_op);
	else
		loop_defer(o->loop, &o->close_task);
}

const struct offload_counts *offload_counts(const struct offload *o)
{
	OBJ_CHECK(o, TAG_OFFLOAD);
	return &o->counts;
}

unsigned offload_pair_count(const struct offload *o)
{
	OBJ_CHECK(o, TAG_OFFLOAD);
	return o->pair_count;
}
