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

static const struct offload_events events = {
	.on_left = on_left,
	.on_fail = on_fail,
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

int offloaded_start(struct offloaded *o, const struct offload_hook *hook, struct http_stream *const streams[2])
{
	const int fd[2] = { stream_fd(http_stream_transport(streams[0])),
			    stream_fd(http_stream_transport(streams[1])) };
	bool is_quiet[2];
	int err;

	CHECK(!o->pair && hook->join && o->on_moved && o->on_left && o->on_fail);
	for (unsigned i = 0; i < 2; i++)
		is_quiet[i] = http_stream_pause(streams[i]);
	if (!is_quiet[0] || !is_quiet[1])
		return OFFLOADED_LATER;
	err = lend_all(streams);
	if (err)
		return err;
	o->hook = hook;
	for (unsigned i = 0; i < 2; i++) {
		o->streams[i] = streams[i];
		o->kernel_seen[i] = o->user_seen[i] = 0;
		socket_limit_unsent(fd[i], false);
	}
	err = hook->join(hook->ctx, fd, &events, o, &o->pair);
	if (err)
		take_back(o);
	return err;
}

uint64_t offloaded_update(struct offloaded *o)
{
	struct offload_progress p;

	o->hook->progress(o->pair, &p);
	for (unsigned i = 0; i < 2; i++)
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
