/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hash.h - SipHash-1-3 keyed by a per-process random secret: for tables whose keys come from outside.
 * Any thread.
 */
#ifndef SN_BASE_HASH_H
#define SN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Draw the key.  Runs by itself before main(); any later call is ignored. */
void hash_init(void);
uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_span(struct span s);
uint64_t hash_span_nocase(struct span s); /* ASCII letters fold to lower case */
uint64_t hash_u64(uint64_t v);		  /* cheap mixer, not keyed: for trusted keys */
uint64_t hash_siphash13(const uint64_t key[2], const void *data, size_t len);
/* 128 bits, of which nobody finds two equal ones.  out may be key. */
void hash_siphash13_128(const uint64_t key[2], const void *data, size_t len, uint64_t out[2]);

#endif
