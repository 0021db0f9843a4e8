/* SPDX-License-Identifier: GPL-2.0-only */
/* bufring.c - one class of receive buffers. */
#include "loop/bufring.h"

#include <errno.h>
#include <liburing.h>
#include <sys/mman.h>

#include "base/mem.h"

#define COUNT_MAX    32768U /* of the kernel: 15 bits of ids */
#define PROVIDED_MIN 8U
#define CALM_TAKES   8192 /* without a shortage: fewer will do */

static void release(struct iobuf *buf)
{
	struct bufring *b = buf->owner;

	CHECK(b->pinned > 0);
	b->pinned--;
	b->spare[b->spare_count++] = (uint16_t)buf->id;
}

static void *map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_buffers(struct bufring *b)
{
	b->bufs = mem_array(b->count, sizeof(*b->bufs));
	b->spare = mem_array(b->count, sizeof(*b->spare));
	for (unsigned i = 0; i < b->count; i++) {
		b->bufs[i] = (struct iobuf){
			.size = b->buffer_bytes,
			.data = b->memory + (size_t)i * b->buffer_bytes,
			.release = release,
			.owner = b,
			.id = i,
			.is_ring = 1,
		};
		b->spare[i] = (uint16_t)(b->count - 1 - i);
	}
	b->spare_count = b->count;
}

int bufring_init(struct bufring *b, struct io_uring *ring, unsigned group, unsigned count, unsigned bytes)
{
	struct io_uring_buf_reg reg = { .ring_entries = count, .bgid = (uint16_t)group };
	int err;

	CHECK(count > 0 && count <= COUNT_MAX && (count & (count - 1)) == 0);
	*b = (struct bufring){ .count = count, .buffer_bytes = bytes, .group = group };
	list_init(&b->waiters);
	b->provided_max = MIN(count, PROVIDED_MIN);

	b->ring = map(count * sizeof(struct io_uring_buf));
	if (b->ring == MAP_FAILED)
		return -errno;
	b->memory = map((size_t)count * bytes);
	if (b->memory == MAP_FAILED) {
		err = -errno;
		goto fail_ring;
	}
	io_uring_buf_ring_init(b->ring);
	reg.ring_addr = (uint64_t)(uintptr_t)b->ring;
	err = io_uring_register_buf_ring(ring, &reg, 0);
	if (err)
		goto fail_memory;
	make_buffers(b);
	bufring_provide(b); /* a full submission queue may be submitted before the first turn */
	return 0;

fail_memory:
	munmap(b->memory, (size_t)count * bytes);
fail_ring:
	munmap(b->ring, count * sizeof(struct io_uring_buf));
	b->ring = NULL;
	return err;
}

void bufring_fini(struct bufring *b, struct io_uring *ring)
{
	if (!b || !b->bufs)
		return;
	CHECK(b->pinned == 0);
	CHECK(list_is_empty(&b->waiters));
	(void)io_uring_unregister_buf_ring(ring, (int)b->group);
	munmap(b->memory, (size_t)b->count * b->buffer_bytes);
	munmap(b->ring, b->count * sizeof(struct io_uring_buf));
	free(b->bufs);
	free(b->spare);
	*b = (struct bufring){ 0 };
}

void bufring_provide(struct bufring *b)
{
	int mask = (int)b->count - 1;
	int added = 0;

	/* With nothing spare the buffers are pinned, not held back: providing more is not possible. */
	if (b->was_short && b->provided + b->spare_count > b->provided_max)
		b->provided_max = MIN(b->provided_max * 2, b->count);
	b->was_short = false;
	while (b->provided < b->provided_max && b->spare_count) {
		uint16_t id = b->spare[--b->spare_count];

		io_uring_buf_ring_add(b->ring, b->bufs[id].data, b->buffer_bytes, id, mask, added++);
		b->provided++;
	}
	if (added)
		io_uring_buf_ring_advance(b->ring, added);
}

struct slice bufring_take(struct bufring *b, unsigned id, uint32_t len)
{
	struct iobuf *buf;

	CHECK(id < b->count && b->provided > 0 && len <= b->buffer_bytes);
	buf = &b->bufs[id];
	CHECK(buf->refs == 0);
	buf->refs = 1;
	b->provided--;
	b->pinned++;
	if (++b->calm_takes == CALM_TAKES) {
		b->calm_takes = 0;
		b->provided_max = MAX(b->provided_max / 2, MIN(b->count, PROVIDED_MIN));
	}
	return (struct slice){ buf, buf->data, len };
}

void bufring_missed(struct bufring *b)
{
	b->missing++;
	b->was_short = true;
	b->calm_takes = 0;
}
