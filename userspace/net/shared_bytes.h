/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shared_bytes.h - a short run of bytes that one thread replaces and any thread copies, without a lock.
 * Two buffers take turns, so a reader never waits for a writer; it copies again only if two writes pass it.
 */
#ifndef SN_NET_SHARED_BYTES_H
#define SN_NET_SHARED_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct shared_bytes {
	size_t words; /* of one buffer */
	_Atomic uint64_t version; /* buffer `version & 1` is the newest */
	_Atomic uint64_t lengths[2];
	_Atomic uint64_t *buffers; /* owned; one after the other */
};

/* Zero-initialised it is empty and can be read.  bytes_max is the most that set() will ever take. */
void shared_bytes_init(struct shared_bytes *b, size_t bytes_max);
void shared_bytes_fini(struct shared_bytes *b); /* overwrites; NULL ok */
/* One writer at a time.  len <= bytes_max. */
void shared_bytes_set(struct shared_bytes *b, const void *data, size_t len);
/* Copy at most `size` bytes; the whole length is returned (0: never set, or set to nothing). */
size_t shared_bytes_get(const struct shared_bytes *b, void *out, size_t size);

#endif
