/* SPDX-License-Identifier: GPL-2.0-only */
/* sha1.c - SHA-1 (FIPS 180-4). */
#include "base/sha1.h"

#include <endian.h>

#include "base/check.h"

#define BLOCK 64

static uint32_t rotate(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

/* Five rounds bring the five words back to their places: unrolled so, none is moved. */
#define ROUNDS(from, f, k) \
	_Pragma("GCC unroll 20") for (unsigned i = from; i < (from) + 20; i++) { \
		uint32_t next = rotate(a, 5) + (f) + e + (k) + w[i]; \
		e = d; \
		d = c; \
		c = rotate(b, 30); \
		b = a; \
		a = next; \
	}

static void block_mix(uint32_t state[5], const uint8_t *block)
{
	uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

	memcpy(w, block, BLOCK);
	for (unsigned i = 0; i < 16; i++)
		w[i] = be32toh(w[i]);
	_Pragma("GCC unroll 4") for (unsigned i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	ROUNDS(0, d ^ (b & (c ^ d)), 0x5a827999)
	ROUNDS(20, b ^ c ^ d, 0x6ed9eba1)
	ROUNDS(40, (b & c) | (d & (b | c)), 0x8f1bbcdc)
	ROUNDS(60, b ^ c ^ d, 0xca62c1d6)
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void sha1_begin(struct sha1 *s)
{
	*s = (struct sha1){ .state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 } };
}

void sha1_add(struct sha1 *s, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	size_t used = s->len % BLOCK, some = MIN(BLOCK - used, len);

	if (len == 0)
		return; /* it may have no address */
	s->len += len;
	memcpy(s->block + used, bytes, some);
	if (used + some < BLOCK)
		return;
	block_mix(s->state, s->block);
	for (bytes += some, len -= some; len >= BLOCK; bytes += BLOCK, len -= BLOCK)
		block_mix(s->state, bytes);
	memcpy(s->block, bytes, len);
}

void sha1_end(struct sha1 *s, uint8_t out[SHA1_LEN])
{
	uint64_t bits = htobe64(s->len * 8);
	size_t used = s->len % BLOCK;

	s->block[used++] = 0x80;
	if (used + sizeof(bits) > BLOCK) {
		memset(s->block + used, 0, BLOCK - used);
		block_mix(s->state, s->block);
		used = 0;
	}
	memset(s->block + used, 0, BLOCK - sizeof(bits) - used);
	memcpy(s->block + BLOCK - sizeof(bits), &bits, sizeof(bits));
	block_mix(s->state, s->block);
	for (unsigned i = 0; i < 5; i++)
		s->state[i] = htobe32(s->state[i]);
	memcpy(out, s->state, SHA1_LEN);
}

void sha1(struct span text, uint8_t out[SHA1_LEN])
{
	struct sha1 s;

	sha1_begin(&s);
	sha1_add(&s, text.ptr, text.len);
	sha1_end(&s, out);
}
