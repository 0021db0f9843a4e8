/* SPDX-License-Identifier: GPL-2.0-only */
/* transfer.c - body bytes of one http_stream that go to another inside the kernel. */
#include "session/transfer.h"

static void on_moved(struct splice *sp, size_t bytes, enum splice_wait wait)
{
	struct transfer *t = splice_owner(sp);

	t->bytes += bytes;
	t->from->ops->lent(t->from, STREAM_IN, bytes, wait == SPLICE_WAITS_FROM);
	t->to->ops->lent(t->to, STREAM_OUT, bytes, wait == SPLICE_WAITS_TO);
	if (bytes > 0)
		t->on_moved(t, bytes);
}

static void take_back(struct transfer *t, int from_err, int to_err)
{
	t->splice = NULL;
	t->from->ops->take_back(t->from, STREAM_IN, from_err);
	t->to->ops->take_back(t->to, STREAM_OUT, to_err);
}

static void on_end(struct splice *sp, enum splice_end end, int err)
{
	struct transfer *t = splice_owner(sp);

	take_back(t, end == SPLICE_FROM_FAILED ? err : 0, end == SPLICE_TO_FAILED ? err : 0);
	t->on_end(t, end);
}

static const struct splice_events events = {
	.on_moved = on_moved,
	.on_end = on_end,
};

enum transfer_answer transfer_start(struct transfer *t, struct pipe_pool *pipes, struct http_stream *from,
				    struct http_stream *to)
{
	uint64_t bytes, room;

	CHECK(!t->splice && t->on_moved && t->on_end);
	bytes = from->ops->lend(from, STREAM_IN);
	if (bytes == LENDS_NEVER || bytes == LENDS_LATER)
		return bytes == LENDS_LATER ? TRANSFER_LATER : TRANSFER_NEVER;
	room = to->ops->lend(to, STREAM_OUT);
	if (room != bytes) {
		if (room != LENDS_NEVER && room != LENDS_LATER)
			to->ops->take_back(to, STREAM_OUT, 0);
		from->ops->take_back(from, STREAM_IN, 0);
		return room == LENDS_LATER ? TRANSFER_LATER : TRANSFER_NEVER; /* other lengths: copying finds it */
	}
	t->from = from;
	t->to = to;
	t->splice = splice_new(pipes, http_stream_transport(from), http_stream_transport(to), bytes, &events, t);
	return TRANSFER_RUNS;
}

bool transfer_stop(struct transfer *t)
{
	bool is_lossy;

	if (!t->splice)
		return false;
	is_lossy = splice_stop(t->splice) > 0;
	take_back(t, 0, 0);
	return is_lossy;
}
