/* SPDX-License-Identifier: GPL-2.0-only */
/* offloaded.c - a tunnel between two http_streams whose bytes the kernel carries. */
#include "session/offloaded.h"

#include <errno.h>

#include "net/socket.h"

static void moved(struct offloaded *o, unsigned i, uint64_t kernel_bytes, uint64_t user_bytes)
{
	uint64_t kernel = kernel_bytes - o->kernel_seen[i], user = user_bytes - o->user_seen[i];
	struct http_stream *from = o->streams[i], *to = o->streams[!i];

	if (kernel + user == 0)
		return;
	o->kernel_seen[i] = kernel_bytes;
	o->user_seen[i] = user_bytes;
	http_stream_transport(from)->bytes_in += kernel + user;
	http_stream_transport(to)->bytes_out += kernel + user;
	o->on_moved(o, i, kernel, user);
}

static void take_back(struct offloaded *o)
{
	o->pair = NULL;
	for (unsigned i = 0; i < 2; i++) {
		o->streams[i]->ops->take_back(o->streams[i], STREAM_IN, 0);
		o->streams[i]->ops->take_back(o->streams[i], STREAM_OUT, 0);
		socket_limit_unsent(stream_fd(http_stream_transport(o->streams[i])), true);
	}
}

static void on_left(void *owner, struct offload_report *r)
{
	struct offloaded *o = owner;
	struct slice_queue *held[2] = { r->sides[0].held, r->sides[1].held };

	for (unsigned i = 0; i < 2; i++) {
		moved(o, i, r->sides[i].kernel_bytes, r->sides[i].user_bytes);
		http_stream_transport(o->streams[i])->bytes_in += held[i]->bytes;
	}
	take_back(o);
	o->on_left(o, r->why, held);
}

static void on_fail(void *owner, int err, struct offload_report *r)
{
	struct offloaded *o = owner;

	for (unsigned i = 0; i < 2; i++)
		moved(o, i, r->sides[i].kernel_bytes, r->sides[i].user_bytes);
	take_back(o);
	o->on_fail(o, err, r->sides[0].undelivered + r->sides[1].undelivered);
}

static void on_frozen(void *owner, const struct offload_parcel *parcel, const int *fds, unsigned fd_count)
{
	struct offloaded *o = owner;

	(void)offloaded_update(o);
	o->is_frozen = true;
	o->on_frozen(o, parcel, fds, fd_count);
}

static const struct offload_events events = {
	.on_left = on_left,
	.on_fail = on_fail,
	.on_frozen = on_frozen,
};

/* All four directions, or none. */
static int lend_all(struct http_stream *const streams[2])
{
	uint64_t answer = UINT64_MAX;
	unsigned count = 0;

	for (; count < 4 && answer == UINT64_MAX; count++)
		answer = streams[count / 2]->ops->lend(streams[count / 2], count % 2 ? STREAM_OUT : STREAM_IN);
	if (answer == UINT64_MAX)
		return 0;
	count--; /* the last one was not lent, unless for some bytes only */
	if (answer != LENDS_NEVER && answer != LENDS_LATER)
		count++;
	while (count-- > 0)
		streams[count / 2]->ops->take_back(streams[count / 2], count % 2 ? STREAM_OUT : STREAM_IN, 0);
	return answer == LENDS_LATER ? OFFLOADED_LATER : -ESHUTDOWN;
}

/* Quiet and lent; then the hook may have them. */
static int borrow(struct http_stream *const streams[2])
{
	bool is_quiet[2];
	int err;

	for (unsigned i = 0; i < 2; i++)
		is_quiet[i] = http_stream_pause(streams[i]);
	if (!is_quiet[0] || !is_quiet[1])
		return OFFLOADED_LATER;
	err = lend_all(streams);
	if (err)
		return err;
	for (unsigned i = 0; i < 2; i++)
		socket_limit_unsent(stream_fd(http_stream_transport(streams[i])), false);
	return 0;
}

static void begin(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2])
{
	o->hook = hook;
	o->is_frozen = false;
	for (unsigned i = 0; i < 2; i++) {
		o->streams[i] = streams[i];
		o->kernel_seen[i] = o->user_seen[i] = 0;
	}
}

int offloaded_start(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2])
{
	const int fd[2] = { stream_fd(http_stream_transport(streams[0])),
			    stream_fd(http_stream_transport(streams[1])) };
	int err;

	CHECK(!o->pair && hook->join && o->on_moved && o->on_left && o->on_fail);
	err = borrow(streams);
	if (err)
		return err;
	begin(o, hook, streams);
	err = hook->join(hook->ctx, fd, &events, o, &o->pair);
	if (err)
		take_back(o);
	return err;
}

int offloaded_adopt(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2],
		    const struct offload_arrival *a, const uint64_t kernel_seen[2])
{
	const int fd[2] = { stream_fd(http_stream_transport(streams[0])),
			    stream_fd(http_stream_transport(streams[1])) };
	struct offload_progress p;
	int err;

	CHECK(!o->pair && o->on_moved && o->on_left && o->on_fail);
	if (!hook->adopt)
		return -EOPNOTSUPP;
	err = borrow(streams);
	if (err)
		return err == OFFLOADED_LATER ? -EAGAIN : err;
	begin(o, hook, streams);
	o->pair = hook->adopt(hook->ctx, fd, a, &events, o);
	if (!o->pair) {
		take_back(o);
		return -EINVAL;
	}
	hook->progress(o->pair, &p);
	for (unsigned i = 0; i < 2; i++) {
		o->kernel_seen[i] = MIN(kernel_seen[i], p.kernel_bytes[i]);
		o->user_seen[i] = p.user_bytes[i];
	}
	return 0;
}

uint64_t offloaded_update(struct offloaded *o)
{
	struct offload_progress p;

	o->hook->progress(o->pair, &p);
	for (unsigned i = 0; i < 2 && !o->is_frozen; i++)
		moved(o, i, p.kernel_bytes[i], p.user_bytes[i]);
	return p.active_ns / 1000000;
}

void offloaded_leave(struct offloaded *o)
{
	o->hook->leave(o->pair);
}

void offloaded_abort(struct offloaded *o, int err)
{
	o->hook->abort(o->pair, err);
}

int offloaded_freeze(struct offloaded *o)
{
	return o->hook->freeze && o->on_frozen ? o->hook->freeze(o->pair) : -EOPNOTSUPP;
}

void offloaded_thaw(struct offloaded *o)
{
	CHECK(o->is_frozen);
	o->is_frozen = false;
	o->hook->thaw(o->pair);
}

void offloaded_release(struct offloaded *o)
{
	CHECK(o->is_frozen);
	o->hook->release(o->pair);
	take_back(o);
}
