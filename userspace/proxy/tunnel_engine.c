/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel_engine.c - what moves the bytes of a tunnel: us, splice(2) for a busy direction, or sockmap for both. */
#include <errno.h>

#include "proxy/tunnel_private.h"

/* A direction that moved so much in a window is bulk; one that moves a quarter of it in ten is no longer. */
#define BULK_BYTES	(2 * 1024 * 1024)
#define BULK_WINDOW_MS	100

#define JOIN_WAIT_MS	 100 /* to become quiet: meanwhile nothing is read */
#define JOIN_AGAIN_MS	 1000 /* after it left */
#define JOIN_BACKOFF_MS	 10 /* after a refusal, then twice as long */
#define JOIN_BACKOFF_MAX 30000

/* ---- counting ---- */

void tunnel_count(struct tunnel *t, enum side from, enum splice_engine engine, size_t bytes)
{
	struct rate *r = &t->rates[from];
	uint64_t now = loop_now_ms(t->worker->loop);

	t->flows[from].received += bytes;
	metric_cell_add(t->worker->tunnel_bytes[from], bytes);
	metric_cell_add(t->worker->engine_bytes[engine][from], bytes);
	if (t->place == TUNNEL_HERE && engine == SPLICE_ENGINE_COPY && now - r->since_ms >= BULK_WINDOW_MS)
		*r = (struct rate){ .since_ms = now };
	r->bytes += bytes;
}

static void rate_restart(struct tunnel *t, enum side from, uint64_t bytes)
{
	t->rates[from] = (struct rate){ .since_ms = loop_now_ms(t->worker->loop), .bytes = bytes };
}

enum splice_engine tunnel_engine_now(const struct tunnel *t, enum side from)
{
	if (offloaded_is_running(&t->offloaded))
		return SPLICE_ENGINE_SOCKMAP;
	return transfer_is_running(&t->transfers[from]) ? SPLICE_ENGINE_SPLICE : SPLICE_ENGINE_COPY;
}

static bool has_sockmap(const struct tunnel *t)
{
	return t->worker->offload.join && !t->worker->mover && !t->is_refused && !t->flows[CLIENT].is_ended &&
	       !t->flows[ORIGIN].is_ended;
}

/* To another process, as soon as it is quiet. */
static bool is_moving(const struct tunnel *t)
{
	return t->worker->mover && !t->is_refused && t->is_plain && !t->flows[CLIENT].is_ended &&
	       !t->flows[ORIGIN].is_ended;
}

static enum splice_engine choose(const struct tunnel *t, bool is_bulk)
{
	const struct splice_question q = {
		.wanted = t->engine,
		.is_plain = t->is_plain,
		.is_bulk = is_bulk,
		.has_sockmap = has_sockmap(t),
		.is_busy = t->worker->turns.is_busy,
		.bytes = SPLICE_UNTIL_EOF,
	};

	return splice_choose(&q);
}

/* ---- splice(2) ---- */

/* Only what is in userspace may still come. */
static void hold(struct tunnel *t, enum side from)
{
	t->flows[from].credited = t->flows[from].received + http_stream_hold(t->streams[from]);
	http_stream_credit(t->streams[from], 0);
}

static void transfer_try(struct tunnel *t, enum side from)
{
	enum transfer_answer answer;

	if (transfer_is_running(&t->transfers[from]))
		return;
	answer = transfer_start(&t->transfers[from], &t->worker->shared->pipes, t->streams[from],
				t->streams[other(from)]);
	if (answer == TRANSFER_LATER) {
		hold(t, from);
	} else if (answer == TRANSFER_NEVER) {
		t->is_wanted[from] = false;
		t->flows[from].credited = t->flows[from].received;
	}
}

/* Whether splice(2) should have this direction, or has. */
static bool is_spliced(struct tunnel *t, enum side from)
{
	if (!t->is_wanted[from] && !t->flows[from].is_ended && !is_moving(t) &&
	    choose(t, t->rates[from].bytes >= BULK_BYTES) == SPLICE_ENGINE_SPLICE) {
		t->is_wanted[from] = true;
		hold(t, from);
	}
	if (t->is_wanted[from])
		transfer_try(t, from);
	return t->is_wanted[from];
}

static enum side side_of(const struct transfer *transfer)
{
	const struct tunnel *t = transfer->owner;

	return transfer == &t->transfers[CLIENT] ? CLIENT : ORIGIN;
}

/* Nothing is in the pipe: userspace may have it. */
static void transfer_recall(struct tunnel *t, enum side from)
{
	(void)transfer_stop(&t->transfers[from]);
	t->is_wanted[from] = false;
	t->flows[from].credited = t->flows[from].received;
	rate_restart(t, from, 0);
}

static void transfer_moved(struct transfer *transfer, size_t bytes)
{
	struct tunnel *t = transfer->owner;
	enum side from = side_of(transfer);
	struct rate *r = &t->rates[from];
	uint64_t now = loop_now_ms(t->worker->loop);

	t->last_ms = now;
	tunnel_count(t, from, SPLICE_ENGINE_SPLICE, bytes);
	if (is_moving(t) && http_stream_queued(t->streams[other(from)]) == 0) {
		transfer_recall(t, from);
		tunnel_top_up(t, from);
		return;
	}
	if (t->engine == SPLICE_ENGINE_SPLICE || now - r->since_ms < 10 * BULK_WINDOW_MS)
		return;
	if (r->bytes < BULK_BYTES / 4 && http_stream_queued(t->streams[other(from)]) == 0) {
		transfer_recall(t, from);
		tunnel_top_up(t, from);
		return;
	}
	rate_restart(t, from, 0);
}

/* An end, or that no pipe is to be had: what follows is read the usual way. */
static void transfer_ended(struct transfer *transfer, enum splice_end why)
{
	struct tunnel *t = transfer->owner;
	enum side from = side_of(transfer);
	size_t credit;

	(void)why;
	t->is_wanted[from] = false;
	rate_restart(t, from, 0);
	t->flows[from].credited = t->flows[from].received;
	credit = body_flow_top_up(&t->flows[from], http_stream_queued(t->streams[other(from)]));
	http_stream_credit(t->streams[from], credit); /* not tunnel_top_up(): its end comes by reading */
}

/* ---- into the kernel ---- */

/* We move its bytes again, all of them. */
static void come_home(struct tunnel *t)
{
	t->place = TUNNEL_HERE;
	for (unsigned i = 0; i < SIDES; i++)
		t->flows[i].credited = t->flows[i].received;
	for (unsigned i = 0; i < SIDES; i++)
		if (t->place == TUNNEL_HERE)
			tunnel_top_up(t, (enum side)i);
}

static void try_again_in(struct tunnel *t, uint64_t ms)
{
	t->join_at_ms = loop_now_ms(t->worker->loop) + ms;
	timer_arm(t->worker->loop, &t->join_timer, ms);
}

static void back_off(struct tunnel *t)
{
	t->backoff_ms = MIN(MAX(2 * t->backoff_ms, (uint64_t)JOIN_BACKOFF_MS), (uint64_t)JOIN_BACKOFF_MAX);
	try_again_in(t, t->backoff_ms);
}

static const struct stay {
	int err;
	const char *label;
	bool is_for_good;
} stays[] = {
	{ -EAGAIN, "not_quiet", false },
	{ -ENOBUFS, "no_room", false },
	{ -E2BIG, "no_room", false },
	{ -ENOMEM, "no_room", false },
	{ -EOPNOTSUPP, "not_established", true },
	{ -ESHUTDOWN, "not_established", true },
	{ -EINVAL, "has_ulp", true },
	{ -EBUSY, "in_another_map", true },
	{ -EEXIST, "in_another_map", true },
	{ -ECANCELED, "half_way", true }, /* the kernel took one of the sockets only */
	{ 0, "failed", true },
};

static struct metric_cell *stayed_cell(struct proxy_worker *w, const struct stay *r)
{
	const struct span label = span_str(r->label);

	return metric_cell(w->metrics, METRIC_SOCKMAP_STAYED_TOTAL, &label);
}

static struct metric_cell *recalled_cell(struct proxy_worker *w, bool is_bulk)
{
	const struct span label = span_str(is_bulk ? "bulk" : "calm");

	return metric_cell(w->metrics, METRIC_SOCKMAP_RECALLED_TOTAL, &label);
}

void tunnel_engine_metrics(struct proxy_worker *w)
{
	for (size_t i = 0; i < ARRAY_LEN(stays); i++)
		(void)stayed_cell(w, &stays[i]);
	(void)recalled_cell(w, false);
	(void)recalled_cell(w, true);
}

/* True: there is no use in trying again. */
static bool note_refusal(struct tunnel *t, int err)
{
	const struct stay *r = stays;

	while (r->err && r->err != err)
		r++;
	if (!t->worker->mover) /* or it was another process that did not get it, not the kernel */
		metric_cell_add(stayed_cell(t->worker, r), 1);
	return r->is_for_good;
}

static void join_refused(struct tunnel *t, int err)
{
	timer_disarm(t->worker->loop, &t->join_timer);
	t->is_refused = note_refusal(t, err);
	if (!t->is_refused)
		back_off(t);
	come_home(t);
}

static void join_try(struct tunnel *t)
{
	const struct offload_hook *to = is_moving(t) ? &t->worker->mover->hook : &t->worker->offload;
	int err = offloaded_start(&t->offloaded, to, t->streams);

	if (err == OFFLOADED_LATER) {
		if (!timer_is_armed(&t->join_timer))
			timer_arm(t->worker->loop, &t->join_timer, JOIN_WAIT_MS);
	} else if (err == 0) {
		timer_disarm(t->worker->loop, &t->join_timer);
		t->place = TUNNEL_IN;
		t->joins++;
		t->backoff_ms = 0;
		memset(t->stalls, 0, sizeof(t->stalls));
		rate_restart(t, CLIENT, 0);
		rate_restart(t, ORIGIN, 0);
	} else {
		join_refused(t, err);
	}
}

/* A slow receiver must not keep the other direction waiting: joining begins when both have taken everything. */
static bool may_join(const struct tunnel *t)
{
	if (t->place != TUNNEL_HERE || !(is_moving(t) || has_sockmap(t)))
		return false;
	if (loop_now_ms(t->worker->loop) < t->join_at_ms)
		return false;
	for (unsigned i = 0; i < SIDES; i++)
		if (t->is_wanted[i] || http_stream_queued(t->streams[i]) > 0)
			return false;
	return is_moving(t) || choose(t, t->rates[CLIENT].bytes >= BULK_BYTES ||
						 t->rates[ORIGIN].bytes >= BULK_BYTES) == SPLICE_ENGINE_SOCKMAP;
}

static void join_begin(struct tunnel *t)
{
	timer_disarm(t->worker->loop, &t->join_timer);
	t->place = TUNNEL_JOINING;
	join_try(t);
}

static void on_join_timer(struct timer *timer)
{
	struct tunnel *t = container_of(timer, struct tunnel, join_timer);

	if (t->broken_by)
		return;
	if (t->place == TUNNEL_JOINING)
		join_refused(t, -EAGAIN);
	else if (may_join(t))
		join_begin(t);
}

void tunnel_paused(struct tunnel *t)
{
	if (t->place == TUNNEL_JOINING)
		join_try(t);
	for (unsigned i = 0; i < SIDES && t->place == TUNNEL_HERE; i++)
		if (t->is_wanted[i])
			tunnel_top_up(t, (enum side)i);
}

void tunnel_side_ended(struct tunnel *t, enum side from)
{
	t->is_wanted[from] = false;
	if (t->place == TUNNEL_JOINING)
		join_refused(t, -ESHUTDOWN);
}

/* ---- in the kernel, and back ---- */

static void offloaded_moved(struct offloaded *o, unsigned i, uint64_t kernel_bytes, uint64_t user_bytes)
{
	struct tunnel *t = o->owner;

	t->kernel_bytes[i] += kernel_bytes;
	tunnel_count(t, (enum side)i, SPLICE_ENGINE_SOCKMAP, kernel_bytes);
	tunnel_count(t, (enum side)i, SPLICE_ENGINE_COPY, user_bytes);
}

static void send_held(struct tunnel *t, enum side from, struct slice_queue *held)
{
	while (held->count > 0) {
		struct slice data = slice_queue_pop(held);

		tunnel_count(t, from, SPLICE_ENGINE_COPY, data.len);
		http_stream_send_body(t->streams[other(from)], data);
	}
}

static void offloaded_left(struct offloaded *o, enum offload_why why, struct slice_queue *held[2])
{
	struct tunnel *t = o->owner;

	if (t->broken_by) {
		t->place = TUNNEL_HERE;
		t->undelivered += held[CLIENT]->bytes + held[ORIGIN]->bytes;
		tunnel_end_later(t);
		return;
	}
	for (unsigned i = 0; i < SIDES; i++)
		send_held(t, (enum side)i, held[i]);
	t->join_at_ms = t->worker->mover ? 0 : loop_now_ms(t->worker->loop) + JOIN_AGAIN_MS;
	if (why == OFFLOAD_LEFT_REFUSED)
		t->is_refused = note_refusal(t, -ECANCELED);
	come_home(t);
}

static void offloaded_failed(struct offloaded *o, int err, uint64_t undelivered)
{
	struct tunnel *t = o->owner;

	t->place = TUNNEL_HERE;
	t->undelivered += undelivered;
	tunnel_break(t, err == -EIO ? "kernel" : err == -ETIMEDOUT ? "timeout" : "reset");
}

void tunnel_update(struct tunnel *t)
{
	t->last_ms = MAX(t->last_ms, offloaded_update(&t->offloaded));
}

static bool is_rate_bulk(const struct rate *r, uint64_t now_ms)
{
	return r->bytes / BULK_BYTES >= (now_ms - r->since_ms) / BULK_WINDOW_MS;
}

static void leave(struct tunnel *t, bool is_bulk)
{
	metric_cell_add(recalled_cell(t->worker, is_bulk), 1);
	t->place = TUNNEL_LEAVING;
	offloaded_leave(&t->offloaded);
}

static bool has_stuck_receiver(struct tunnel *t)
{
	uint64_t now = loop_now_ms(t->worker->loop);
	bool is_stuck = false;

	for (unsigned to = 0; to < SIDES; to++)
		if (stall_look(&t->stalls[to], stream_fd(http_stream_transport(t->streams[to])),
			       t->flows[other((enum side)to)].received, now, t->record->tunnel_write_ms[to]))
			is_stuck = true;
	return is_stuck;
}

/* As it is in the kernel; else out of it, and out of the pipes, and then it may join the mover. */
static bool move_look(struct tunnel *t)
{
	if (t->place == TUNNEL_IN && t->offloaded.hook != &t->worker->mover->hook) {
		if (!tunnel_move_as_it_is(t))
			leave(t, false);
		return true;
	}
	for (unsigned i = 0; i < SIDES && t->place == TUNNEL_HERE; i++)
		if (transfer_is_running(&t->transfers[i]) && http_stream_queued(t->streams[!i]) == 0)
			transfer_recall(t, (enum side)i);
	if (!may_join(t))
		return false;
	join_begin(t);
	return true;
}

bool tunnel_look(struct tunnel *t)
{
	uint64_t now = loop_now_ms(t->worker->loop);
	bool is_bulk[SIDES] = { false };

	if (offloaded_is_running(&t->offloaded))
		tunnel_update(t);
	if (!t->broken_by && is_moving(t))
		return move_look(t);
	if (t->broken_by || (t->place != TUNNEL_IN && !may_join(t)))
		return false;
	if (t->place == TUNNEL_HERE) {
		join_begin(t);
		return true;
	}
	if (has_stuck_receiver(t)) {
		tunnel_break(t, session_fault_name(SESSION_FAULT_WRITE_TIMEOUT));
		return true;
	}
	for (unsigned i = 0; i < SIDES; i++) {
		if (now - t->rates[i].since_ms < 10 * BULK_WINDOW_MS)
			continue;
		is_bulk[i] = is_rate_bulk(&t->rates[i], now);
		rate_restart(t, (enum side)i, is_bulk[i] ? BULK_BYTES : 0);
	}
	if (choose(t, is_bulk[CLIENT] || is_bulk[ORIGIN]) == SPLICE_ENGINE_SOCKMAP)
		return false;
	leave(t, is_bulk[CLIENT] || is_bulk[ORIGIN]);
	return true;
}

/* ---- both ---- */

void tunnel_top_up(struct tunnel *t, enum side from)
{
	size_t credit;

	if (t->place == TUNNEL_JOINING) {
		join_try(t);
		return;
	}
	if (t->place != TUNNEL_HERE)
		return;
	if (may_join(t)) {
		join_begin(t);
		return;
	}
	if (is_spliced(t, from))
		return;
	credit = body_flow_top_up(&t->flows[from], http_stream_queued(t->streams[other(from)]));
	if (credit > 0)
		http_stream_credit(t->streams[from], credit);
}

void tunnel_engine_init(struct tunnel *t)
{
	t->is_plain = transfer_is_possible(t->streams[CLIENT], t->streams[ORIGIN]) &&
		      transfer_is_possible(t->streams[ORIGIN], t->streams[CLIENT]);
	for (unsigned i = 0; i < SIDES; i++) {
		t->transfers[i].owner = t;
		t->transfers[i].on_moved = transfer_moved;
		t->transfers[i].on_end = transfer_ended;
		rate_restart(t, (enum side)i, 0);
	}
	t->offloaded.owner = t;
	t->offloaded.on_moved = offloaded_moved;
	t->offloaded.on_left = offloaded_left;
	t->offloaded.on_fail = offloaded_failed;
	t->offloaded.on_frozen = tunnel_frozen;
	timer_init(&t->join_timer, on_join_timer);
}

void tunnel_engine_adopt(struct tunnel *t, const struct tunnel_parcel *p, struct flows *flows)
{
	const struct offload_arrival a = { .parcel = &p->pair, .flows = flows };
	int err = offloaded_adopt(&t->offloaded, &t->worker->offload, t->streams, &a, p->kernel_seen);

	if (err) {
		tunnel_break(t, "kernel");
		return;
	}
	t->place = TUNNEL_IN;
	if (t->engine == SPLICE_ENGINE_AUTO)
		turns_assume_busy(&t->worker->turns);
}

bool tunnel_engine_stop(struct tunnel *t)
{
	timer_disarm(t->worker->loop, &t->join_timer);
	for (unsigned i = 0; i < SIDES; i++)
		(void)transfer_stop(&t->transfers[i]);
	if (!offloaded_is_running(&t->offloaded))
		return true;
	if (t->place != TUNNEL_ABORTING)
		offloaded_abort(&t->offloaded, -ECANCELED);
	t->place = TUNNEL_ABORTING;
	return false;
}
