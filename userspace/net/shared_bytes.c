/* SPDX-License-Identifier: GPL-2.0-only */
/* shared_bytes.c - bytes of one writer for many readers: two buffers and a version. */
#include "net/shared_bytes.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void shared_bytes_init(struct shared_bytes *b, size_t bytes_max)
{
	*b = (struct shared_bytes){ .words = (bytes_max + 7) / 8 };
	b->buffers = mem_array(2 * b->words, sizeof(*b->buffers));
}

void shared_bytes_fini(struct shared_bytes *b)
{
	if (!b)
		return;
	if (b->buffers)
		OPENSSL_cleanse((void *)b->buffers, 2 * b->words * sizeof(*b->buffers));
	free((void *)b->buffers);
	*b = (struct shared_bytes){ 0 };
}

/*
 * A word that a reader sees from write v + 2 was stored after version v + 1 was: the release below and the reader's
 * acquire make it see that version too, and so that its copy of v is not whole.
 */
void shared_bytes_set(struct shared_bytes *b, const void *data, size_t len)
{
	uint64_t version = atomic_load_explicit(&b->version, memory_order_relaxed) + 1;
	_Atomic uint64_t *to = b->buffers + (version & 1) * b->words;

	CHECK(len <= b->words * 8);
	atomic_store_explicit(&b->lengths[version & 1], len, memory_order_release);
	for (size_t i = 0; i < b->words; i++) {
		size_t rest = len > i * 8 ? MIN(len - i * 8, (size_t)8) : 0;
		uint64_t word = 0;

		if (rest)
			memcpy(&word, (const char *)data + i * 8, rest);
		atomic_store_explicit(&to[i], word, memory_order_release);
	}
	atomic_store_explicit(&b->version, version, memory_order_release);
}

size_t shared_bytes_get(const struct shared_bytes *b, void *out, size_t size)
{
	uint64_t version = atomic_load_explicit(&b->version, memory_order_acquire), again;
	size_t len;

	for (;; version = again) {
		const _Atomic uint64_t *from = b->buffers + (version & 1) * b->words;
		size_t end;

		len = atomic_load_explicit(&b->lengths[version & 1], memory_order_acquire);
		end = MIN(MIN(len, size), b->words * 8);
		for (size_t i = 0; i * 8 < end; i++) {
			uint64_t word = atomic_load_explicit(&from[i], memory_order_acquire);

			memcpy((char *)out + i * 8, &word, MIN(end - i * 8, (size_t)8));
		}
		again = atomic_load_explicit(&b->version, memory_order_acquire);
		if (again == version)
			return len;
	}
}
