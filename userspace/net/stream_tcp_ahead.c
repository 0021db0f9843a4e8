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
