/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload_dir.c - one direction of a pair: passing, armed, draining, ended.
 *
 * Arming is a compare: "redirect while you have passed exactly what I have consumed".  If a byte was passed meanwhile
 * the numbers differ, and the kernel goes on passing: the order cannot be broken.  It is done only with nothing
 * unwritten, so that the destination's write_seq is the base of what will be redirected.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "fastpath/offload_private.h"

#define RETRY_MS 1
#define SLOW_RETRY_MS 4
#define SLOW_PART 8
#define WINDOW_BYTES 1152 /* the kernel takes no less */

static uint64_t row_load(const __u64 *cell)
{
	return __atomic_load_n(cell, __ATOMIC_ACQUIRE);
}

uint64_t dir_passed(const struct offload_dir *d)
{
	return row_load(&d->row.stat->passed);
}

static bool dir_is_lost(const struct offload_dir *d)
{
	return row_load(&d->row.stat->lost) > 0;
}

bool dir_needs_run(const struct offload_dir *d)
{
	return dir_is_lost(d) || (d->state == DIR_ARMED && dir_passed(d) != d->consumed);
}

static void dir_arm(struct offload_dir *d)
{
	d->slow_seen = row_load(&d->row.stat->slow);
	d->state = DIR_ARMED;
	d->pair->offload->counts.arms++;
	pair_poll_cancel(d->pair, d->index, POLL_READ);
	__atomic_store_n(&d->row.ctl->armed_at, d->consumed, __ATOMIC_RELEASE);
	/* Runs the verdict on what is queued.  Not by recv(): that would put copied_seq back. */
	sock_set_rcvlowat(d->source, 1);
}

void dir_disarm(struct offload_dir *d)
{
	if (d->state != DIR_ARMED)
		return;
	__atomic_store_n(&d->row.ctl->armed_at, SN_FLOW_NEVER, __ATOMIC_SEQ_CST);
	sock_lock_once(d->source); /* a verdict in flight is over after it */
	d->state = DIR_DRAINING;
	d->is_slow = row_load(&d->row.stat->slow) != d->slow_seen;
	d->drain_written = 0;
	d->drain_since_ms = d->drain_moved_ms = loop_now_ms(d->pair->offload->loop);
	d->pair->offload->counts.disarms++;
}

/* What userspace and the kernel have moved, less what is in the destination's queue or beyond. */
static uint64_t dir_backlog(const struct offload_dir *d, uint64_t written)
{
	return offload_backlog(d->user_bytes + row_load(&d->row.stat->redirected), d->base_written, written);
}

static bool dir_drain(struct offload_dir *d)
{
	struct offload *o = d->pair->offload;
	uint64_t now = loop_now_ms(o->loop), written = sock_written(d->destination);

	if (dir_backlog(d, written) == 0) {
		o->counts.drain_max_ms = MAX(o->counts.drain_max_ms, now - d->drain_since_ms);
		d->state = DIR_PASSING;
		return true;
	}
	if (written != d->drain_written) {
		d->drain_written = written;
		d->drain_moved_ms = now;
	} else if (now - d->drain_moved_ms >= o->stall_ms) {
		pair_fail(d->pair, -ETIMEDOUT);
		return false;
	}
	pair_wake_in(d->pair, RETRY_MS);
	return false;
}

/* One send.  How many bytes, 0: not now, or -1 after a failure. */
static ssize_t dir_send(struct offload_dir *d, const void *data, size_t len)
{
	ssize_t n = send(d->destination, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return 0;
		pair_fail(d->pair, -errno);
		return -1;
	}
	d->user_bytes += (uint64_t)n;
	d->pair->user_active_ns = loop_now_ns(d->pair->offload->loop);
	return n;
}

/* Write what is held.  True: something was written. */
static bool dir_flush(struct offload_dir *d)
{
	bool moved = false;

	while (d->held.count > 0) {
		struct slice *s = slice_queue_at(&d->held, 0);
		uint32_t len = s->len;
		ssize_t n = dir_send(d, s->ptr, len);

		if (n <= 0)
			break;
		slice_queue_consume(&d->held, (size_t)n);
		moved = true;
		if ((uint32_t)n < len)
			break;
	}
	if (d->held.count > 0)
		pair_poll(d->pair, !d->index, POLL_WRITE, POLLOUT);
	return moved;
}

static bool dir_may_read(const struct offload_dir *d)
{
	if (d->is_eof || d->pair->holds_back)
		return false;
	/* Out already, while the other direction is not: bytes go on, or two peers could wait for each other. */
	if (!d->is_in_map)
		return d->held.count == 0;
	if (dir_passed(d) == d->consumed && !d->has_hangup)
		return false;
	return d->held.count == 0 || (d->pair->state == PAIR_LEAVING && d->held.bytes < OFFLOAD_HELD_LEAVING_MAX);
}

static bool dir_read_end(struct offload_dir *d)
{
	/* The kernel says 0 as well while passed bytes are still in its queue. */
	if (dir_passed(d) != d->consumed) {
		pair_wake_in(d->pair, RETRY_MS);
		return false;
	}
	d->is_eof = true;
	return true;
}

static void dir_count_read(struct offload_dir *d, uint64_t bytes)
{
	if (!d->is_in_map) {
		d->base_received += bytes;
		return;
	}
	d->consumed += bytes;
	/* The iterator may be on its way: it compares at the moment at which it has the socket. */
	__atomic_store_n(&d->row.ctl->consumed, d->consumed, __ATOMIC_RELEASE);
}

/* One receive, and its sending. */
static bool dir_read(struct offload_dir *d)
{
	struct offload *o = d->pair->offload;
	ssize_t sent, n = recv(d->source, o->scratch, sizeof(o->scratch), MSG_DONTWAIT);

	if (n == 0)
		return dir_read_end(d);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		pair_fail(d->pair, -errno);
		return false;
	}
	if (n < 0) {
		/*
		 * Passed, and not to be had yet: the kernel's worker brings it.  A poll may call it readable all the
		 * same, which would keep that worker from the CPU; or may not wake us.  Out of the map a poll tells
		 * the truth, and nothing else would wake us.
		 */
		if (!d->is_readable || !d->is_in_map)
			pair_poll(d->pair, d->index, POLL_READ, POLLIN);
		d->is_readable = false;
		if (d->is_in_map)
			pair_wake_in(d->pair, RETRY_MS);
		return false;
	}
	d->is_readable = false;
	dir_count_read(d, (uint64_t)n);
	sent = d->held.count > 0 ? 0 : dir_send(d, o->scratch, (size_t)n);
	if (sent < 0)
		return false;
	if (sent < n) {
		slice_queue_push(&d->held, slice_copy(o->scratch + sent, (uint32_t)(n - sent)));
		pair_poll(d->pair, !d->index, POLL_WRITE, POLLOUT);
	}
	return true;
}

static bool dir_end(struct offload_dir *d)
{
	/* ENOTCONN: the peer has reset meanwhile, which the watch tells. */
	if (shutdown(d->destination, SHUT_WR) < 0 && errno != ENOTCONN) {
		pair_fail(d->pair, -errno);
		return false;
	}
	d->state = DIR_ENDED;
	return true;
}

/* After a slow receiver: until it has taken most, so that arming is worth its while. */
static bool dir_is_still_slow(struct offload_dir *d)
{
	if (d->is_slow)
		d->is_slow = sock_unacked(d->destination) > sock_sndbuf(d->destination) / SLOW_PART;
	return d->is_slow;
}

static bool dir_pass(struct offload_dir *d)
{
	struct offload_pair *p = d->pair;
	bool moved = dir_flush(d);

	if (p->err)
		return false;
	if (dir_may_read(d))
		return dir_read(d) || moved;
	if (d->held.count > 0)
		return moved;
	if (p->holds_back)
		return moved; /* not armed either: there may be something to read */
	if (d->is_eof)
		return dir_end(d);
	if (d->is_in_map && __atomic_load_n(&d->row.stat->is_out, __ATOMIC_ACQUIRE))
		pair_wake_in(p, RETRY_MS); /* until the iterator is through; a poll would say so for ever */
	else if (p->state != PAIR_IN || p->is_refused)
		pair_poll(p, d->index, POLL_READ, POLLIN);
	else if (dir_is_still_slow(d)) {
		pair_poll(p, d->index, POLL_READ, POLLIN);
		pair_wake_in(p, SLOW_RETRY_MS);
	} else {
		dir_arm(d);
		return true;
	}
	return moved;
}

bool dir_step(struct offload_dir *d)
{
	if (d->pair->err)
		return false;
	if (dir_is_lost(d)) {
		pair_fail(d->pair, -EIO);
		return false;
	}
	switch (d->state) {
	case DIR_PASSING:
		return dir_pass(d);
	case DIR_ARMED:
		if (d->pair->state == PAIR_IN && !d->has_hangup && dir_passed(d) == d->consumed)
			return false;
		dir_disarm(d);
		return true;
	case DIR_DRAINING:
		return dir_drain(d);
	default:
		return false;
	}
}

bool dir_is_quiet(const struct offload_dir *d)
{
	if (!d->is_in_map || d->state == DIR_ENDED)
		return true;
	return d->state == DIR_PASSING && dir_passed(d) == d->consumed && (!d->has_hangup || d->is_eof);
}

bool dir_follows(const struct offload_dir *d)
{
	return dir_is_quiet(d) ||
	       (d->state == DIR_PASSING && !d->has_hangup && d->held.bytes < OFFLOAD_HELD_LEAVING_MAX);
}

/*
 * A sender that is as fast as we are fills the buffer again while we read it.  With a window below its segment size it
 * waits, and probes (after 200 ms first).  Asked again and again: the kernel widens the window of who reads much.
 */
void dir_narrow(struct offload_dir *d)
{
	int now = d->is_in_map && !dir_is_quiet(d) ? sock_window(d->source) : 0;

	if (now <= WINDOW_BYTES)
		return;
	d->window = MAX(d->window, now);
	sock_set_window(d->source, WINDOW_BYTES);
}

void dir_widen(struct offload_dir *d)
{
	if (d->window)
		sock_set_window(d->source, d->window);
	d->window = 0;
}

/* Then everything that was passed had been read: what was read beyond it came the plain way. */
void dir_out(struct offload_dir *d)
{
	uint64_t passed = dir_passed(d);

	d->is_in_map = false;
	dir_widen(d);
	if (d->consumed > passed) {
		d->base_received += d->consumed - passed;
		d->consumed = passed;
	}
}

/* Everything that ever arrived was read by somebody, redirected, or is in the queue. */
bool dir_adds_up(const struct offload_dir *d)
{
	uint64_t known = d->base_received + d->consumed + row_load(&d->row.stat->redirected);
	bool has_fin;
	uint64_t seen;

	if (sock_read_exactly(d->source, &seen, &has_fin) < 0)
		return false;
	/* A FIN counts as a byte that arrived; it is not read before the data. */
	return dir_passed(d) == d->consumed && !dir_is_lost(d) && (seen == known || (has_fin && seen == known + 1));
}

uint64_t dir_undelivered(const struct offload_dir *d)
{
	uint64_t passed = dir_passed(d);

	if (d->state == DIR_ENDED)
		return 0;
	return dir_backlog(d, sock_written(d->destination)) + (passed > d->consumed ? passed - d->consumed : 0) +
	       d->held.bytes;
}
