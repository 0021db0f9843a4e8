/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tcp_ahead.c - bytes of a receive that stands, which came before the owner asked for them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/stream_tcp_private.h"

/* Copied, however short the pieces: what one peer may leave here has one size. */
void stream_tcp_ahead_add(struct stream_tcp *s, struct slice data)
{
	struct slice *all = s->ahead;

	if (!all) {
		all = s->ahead = mem_zalloc(sizeof(*all));
		all->buf = iobuf_new(LOOP_STANDING_MAX);
		all->ptr = all->buf->data;
	}
	CHECK(data.len <= all->buf->size - all->len);
	memcpy(all->ptr + all->len, data.ptr, data.len);
	all->len += data.len;
	slice_put(&data);
}

struct slice stream_tcp_ahead_take(struct stream_tcp *s)
{
	struct slice all;

	CHECK(s->ahead);
	all = *s->ahead;
	free(s->ahead);
	s->ahead = NULL;
	return all;
}

void stream_tcp_ahead_drop(struct stream_tcp *s)
{
	struct slice all;

	if (!s->ahead)
		return;
	all = stream_tcp_ahead_take(s);
	slice_put(&all);
}

void stream_tcp_unasked_end(struct stream_tcp *s, int res)
{
	if (res == 0 || stream_tcp_is_nothing(res))
		return;
	s->send_err = (int16_t)res;
	if (is(s, WANTS_WATCH) || !(s->ahead || is(s, IS_OUTGOING))) {
		set(s, FAILS_SOON); /* what is done with bytes of this turn comes before it */
		flush_later(s);
	} else if (!is(s, IS_SENDING)) {
		stream_tcp_drop_queued(s);
	}
}

void stream_tcp_broken_check(struct stream_tcp *s)
{
	if (s->face.state != STREAM_OPEN || !s->send_err || is(s, IS_READING | IS_OUTGOING))
		return;
	set(s, FAILS_SOON);
	flush_later(s);
}
