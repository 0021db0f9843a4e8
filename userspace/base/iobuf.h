/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * iobuf.h - counted byte buffers, and slices of them.
 * A buffer belongs to one worker (one thread) for its whole life: the count is a plain integer.
 * A slice holds one reference; copying the struct does not take one - slice_ref() does.
 * Whoever drops the last reference gives the buffer back to where it came from (malloc, or the loop's
 * provided-buffer ring) through `release`.
 */
#ifndef SN_BASE_IOBUF_H
#define SN_BASE_IOBUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/span.h"

struct iobuf {
	uint32_t refs;
	uint32_t size;	/* bytes at data */
	uint8_t *data;
	void (*release)(struct iobuf *b); /* refs fell to 0 */
	void *owner;	/* for release: the ring, or NULL */
	uint32_t id;	/* for release: buffer id in the ring */
	uint32_t is_ring; /* 1: pins a buffer of the receive ring */
};

struct slice {
	struct iobuf *buf; /* owned reference; NULL: static bytes that outlive everything, or empty */
	uint8_t *ptr;
	uint32_t len;
	uint32_t record; /* 0: bytes.  Else type of a TLS record that the kernel makes of them, which is sent alone */
};

/* A malloc'd buffer with one reference, which the caller owns. */
struct iobuf *iobuf_new(uint32_t size);

static inline struct iobuf *iobuf_ref(struct iobuf *b)
{
	CHECK(b->refs > 0);
	b->refs++;
	return b;
}

/* NULL ok. */
static inline void iobuf_put(struct iobuf *b)
{
	if (!b)
		return;
	CHECK(b->refs > 0);
	if (--b->refs == 0)
		b->release(b);
}

/* A second slice of the same bytes, with a reference of its own. */
static inline struct slice slice_ref(struct slice s)
{
	if (s.buf)
		iobuf_ref(s.buf);
	return s;
}

/* A part of s, with a reference of its own.  from + len <= s.len. */
static inline struct slice slice_part(struct slice s, uint32_t from, uint32_t len)
{
	CHECK(from <= s.len && len <= s.len - from);
	if (s.buf)
		iobuf_ref(s.buf);
	return (struct slice){ s.buf, s.ptr + from, len };
}

static inline void slice_put(struct slice *s)
{
	iobuf_put(s->buf);
	*s = (struct slice){ 0 };
}

static inline struct slice slice_static(const char *bytes, uint32_t len)
{
	return (struct slice){ NULL, (uint8_t *)(uintptr_t)bytes, len };
}

static inline struct span slice_span(struct slice s)
{
	return (struct span){ (const char *)s.ptr, s.len };
}

/* A malloc'd copy of the bytes. */
struct slice slice_copy(const void *bytes, uint32_t len);

/*
 * A queue of slices: FIFO, grows by doubling, bounded by the caller through `bytes`.
 * Zero is a valid empty queue.
 */
struct slice_queue {
	uint32_t count;
	uint32_t cap; /* of the ring, a power of two; 0: there is none, and `one` is all */
	size_t bytes; /* sum of len */
	union {
		struct slice one; /* most queues never hold two: those cost no allocation */
		struct {
			struct slice *items; /* owned */
			uint32_t head;
		};
	};
};

void slice_queue_clear(struct slice_queue *q); /* puts every slice, keeps memory */
void slice_queue_drop(struct slice_queue *q); /* puts every slice and frees the ring */
/* The same for the many queues that hold nothing; NULL ok. */
static inline void slice_queue_fini(struct slice_queue *q)
{
	if (q && (q->count || q->cap))
		slice_queue_drop(q);
}

/* Takes s's reference; an empty slice is put, one that continues the last one's bytes is merged with it. */
void slice_queue_push(struct slice_queue *q, struct slice s);
void slice_queue_push_front(struct slice_queue *q, struct slice s);
struct slice slice_queue_pop(struct slice_queue *q); /* reference goes to the caller; CHECKs count > 0 */
/* Borrowed, until the queue changes.  No pointer to `one` is kept inside, so that a queue may be copied. */
static inline struct slice *slice_queue_at(struct slice_queue *q, uint32_t index)
{
	CHECK(index < q->count);
	return q->cap ? &q->items[(q->head + index) & (q->cap - 1)] : &q->one;
}

void slice_queue_consume(struct slice_queue *q, size_t bytes); /* drop from the front; bytes <= q->bytes */
void slice_queue_move(struct slice_queue *to, struct slice_queue *from); /* append all */

#endif
