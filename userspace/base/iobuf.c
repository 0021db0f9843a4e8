/* SPDX-License-Identifier: GPL-2.0-only */
/* iobuf.c - malloc'd buffers, and the queue of slices. */
#include "base/iobuf.h"

#include <stdbool.h>

#include "base/mem.h"

#define QUEUE_CAP_MIN 4

static void release_malloc(struct iobuf *b)
{
	free(b);
}

struct iobuf *iobuf_new(uint32_t size)
{
	/* One allocation: the bytes follow the header. */
	struct iobuf *b = mem_alloc(sizeof(*b) + size);

	*b = (struct iobuf){
		.refs = 1,
		.size = size,
		.data = (uint8_t *)(b + 1),
		.release = release_malloc,
	};
	return b;
}

struct slice slice_copy(const void *bytes, uint32_t len)
{
	struct iobuf *b;

	if (len == 0)
		return (struct slice){ 0 };
	b = iobuf_new(len);
	memcpy(b->data, bytes, len);
	return (struct slice){ b, b->data, len };
}

static void head_move(struct slice_queue *q, uint32_t by)
{
	if (q->cap)
		q->head = (q->head + by) & (q->cap - 1);
}

void slice_queue_clear(struct slice_queue *q)
{
	while (q->count) {
		slice_put(slice_queue_at(q, 0));
		head_move(q, 1);
		q->count--;
	}
	if (q->cap)
		q->head = 0;
	q->bytes = 0;
}

void slice_queue_drop(struct slice_queue *q)
{
	slice_queue_clear(q);
	if (q->cap)
		free(q->items);
	*q = (struct slice_queue){ 0 };
}

static void queue_grow(struct slice_queue *q)
{
	uint32_t cap = MAX(q->cap * 2, QUEUE_CAP_MIN);
	struct slice *items;

	CHECK(q->cap <= UINT32_MAX / 4);
	items = mem_alloc(cap * sizeof(*items)); /* not zeroed: calloc would pass by malloc's per-thread cache */
	if (q->cap) {
		uint32_t until_end = MIN(q->count, q->cap - q->head);

		memcpy(items, q->items + q->head, until_end * sizeof(*items));
		memcpy(items + until_end, q->items, (q->count - until_end) * sizeof(*items));
		free(q->items);
	} else if (q->count) {
		items[0] = q->one;
	}
	q->items = items;
	q->cap = cap;
	q->head = 0;
}

/* Bytes that follow each other in one buffer become one slice: a head and its small body leave by one plain send. */
static bool slice_extend(struct slice *last, struct slice s)
{
	if (!s.buf || last->buf != s.buf || last->ptr + last->len != s.ptr || last->record != s.record)
		return false;
	last->len += s.len;
	return true;
}

void slice_queue_push(struct slice_queue *q, struct slice s)
{
	if (s.len == 0) {
		slice_put(&s);
		return;
	}
	if (q->count > 0 && slice_extend(slice_queue_at(q, q->count - 1), s)) {
		q->bytes += s.len;
		iobuf_put(s.buf);
		return;
	}
	if (q->count == MAX(q->cap, 1U))
		queue_grow(q);
	q->count++;
	*slice_queue_at(q, q->count - 1) = s;
	q->bytes += s.len;
}

void slice_queue_push_front(struct slice_queue *q, struct slice s)
{
	if (s.len == 0) {
		slice_put(&s);
		return;
	}
	if (q->count == MAX(q->cap, 1U))
		queue_grow(q);
	head_move(q, UINT32_MAX);
	q->count++;
	*slice_queue_at(q, 0) = s;
	q->bytes += s.len;
}

struct slice slice_queue_pop(struct slice_queue *q)
{
	struct slice s = *slice_queue_at(q, 0);

	head_move(q, 1);
	q->count--;
	q->bytes -= s.len;
	return s;
}

void slice_queue_consume(struct slice_queue *q, size_t bytes)
{
	CHECK(bytes <= q->bytes);
	while (bytes) {
		struct slice *first = slice_queue_at(q, 0);

		if (bytes < first->len) {
			first->ptr += bytes;
			first->len -= (uint32_t)bytes;
			q->bytes -= bytes;
			return;
		}
		bytes -= first->len;
		q->bytes -= first->len;
		slice_put(first);
		head_move(q, 1);
		q->count--;
	}
}

void slice_queue_move(struct slice_queue *to, struct slice_queue *from)
{
	CHECK(to != from);
	if (from->count == 0)
		return;
	if (to->count == 0 && from->cap) {
		struct slice_queue empty = *to;

		*to = *from;
		*from = empty;
		return;
	}
	while (from->count)
		slice_queue_push(to, slice_queue_pop(from));
}
