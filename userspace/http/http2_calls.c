/* SPDX-License-Identifier: GPL-2.0-only */
/* http2_calls.c - what the owners of streams ask for beside sending. */
#include "base/check.h"
#include "http/http2_private.h"

/* An owner's stream: not to be there is a bug of the caller, unless the connection is dead. */
static struct http2_stream *owned(struct http2 *h, uint32_t stream)
{
	struct http2_stream *s = http2_stream_find(h, stream);

	OBJ_CHECK(h, TAG_HTTP2);
	CHECK(s && s->is_owned);
	return s;
}

bool http2_is_exhausted(const struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return h->is_exhausted || h->fault || h->is_eof || h->next_handle > INT32_MAX - 2;
}

bool http2_can_open(const struct http2 *h)
{
	return !http2_is_exhausted(h) &&
	       h->active < MIN(http2_peer_streams_max(h), h->settings.max_concurrent_streams);
}

uint32_t http2_open(struct http2 *h, struct arena *a)
{
	struct http2_stream *s;

	OBJ_CHECK(h, TAG_HTTP2);
	CHECK(!h->is_server && a);
	if (!http2_can_open(h))
		return 0;
	s = http2_stream_add(h, 0);
	s->arena = a;
	s->is_owned = true;
	return s->id;
}

void http2_set_owner(struct http2 *h, uint32_t stream, void *owner)
{
	owned(h, stream)->owner = owner;
}

/* What was sent is complete and may leave without its owner. */
static bool may_linger(const struct http2 *h, const struct http2_stream *s)
{
	return s->out_half == HALF_END && (h->is_server || s->in_half == HALF_END);
}

void http2_forget(struct http2 *h, uint32_t stream)
{
	struct http2_stream *s = owned(h, stream);

	s->is_owned = s->is_reset_due = false;
	s->owner = NULL;
	s->arena = NULL;
	s->trailers = NULL;
	s->message = NULL;
	s->is_head_due = s->is_first_end_due = false;
	list_remove(&s->ready_node);
	http2_stream_drop_in(h, s);
	if (h->block.stream == s)
		h->block.arena = NULL; /* trailers on the way: decoded for nobody */
	if (!h->fault && !s->is_dead && !s->is_wire_closed) {
		if (!may_linger(h, s))
			http2_stream_fail(h, s, CODEC_FAULT_NONE, HTTP2_CANCEL);
		else if (h->is_server && s->is_out_ended)
			http2_stream_fail(h, s, CODEC_FAULT_NONE, HTTP2_NO_ERROR);
		http2_control_drain(h);
		/* The wire may have let go of it, and nobody has it any more: it is gone. */
		return;
	}
	http2_stream_release(h, s);
}

void http2_credit(struct http2 *h, uint32_t stream, size_t bytes)
{
	struct http2_stream *s = owned(h, stream);

	if (s->is_dead)
		return;
	s->credit = bytes > SIZE_MAX - s->credit ? SIZE_MAX : s->credit + bytes;
	if (s->in.count)
		http2_stream_ready(h, s);
}

void http2_keep(struct http2 *h, void (*fn)(struct slice *s, void *arg), void *arg)
{
	struct list *n;

	OBJ_CHECK(h, TAG_HTTP2);
	while ((n = list_pop(&h->kept))) {
		struct http2_stream *s = container_of(n, struct http2_stream, keep_node);

		for (uint32_t i = s->in_kept; i < s->in.count; i++)
			fn(slice_queue_at(&s->in, i), arg);
		s->in_kept = s->in.count;
		s->in_tail = NULL; /* fn may have put another in its place */
	}
	for (uint32_t i = 0; i < h->in.count; i++)
		fn(slice_queue_at(&h->in, i), arg);
}

bool http2_holds_arena(const struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return h->is_arena_used;
}

size_t http2_queued(const struct http2 *h, uint32_t stream)
{
	const struct http2_stream *s = http2_stream_find(h, stream);

	OBJ_CHECK(h, TAG_HTTP2);
	return s ? s->out.bytes : 0;
}

struct slice_queue *http2_unsent(struct http2 *h, uint32_t stream)
{
	struct http2_stream *s = http2_stream_find(h, stream);

	OBJ_CHECK(h, TAG_HTTP2);
	return s && s->out.count ? &s->out : NULL;
}
