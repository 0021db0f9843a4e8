/* SPDX-License-Identifier: GPL-2.0-only */
/* sha1.c - SHA-1 (FIPS 180-4). */
#include "base/sha1.h"

#include <endian.h>

#define BLOCK 64

static uint32_t rotate(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void block_mix(uint32_t state[5], const uint8_t *block)
{
	uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];

	memcpy(w, block, BLOCK);
	for (unsigned i = 0; i < 16; i++)
		w[i] = be32toh(w[i]);
	for (unsigned i = 16; i < 80; i++)
		w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (unsigned i = 0; i < 80; i++) {
		uint32_t f, k, next;

		if (i < 20)
			f = (b & c) | (~b & d), k = 0x5a827999;
		else if (i < 40)
			f = b ^ c ^ d, k = 0x6ed9eba1;
		else if (i < 60)
			f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
		else
			f = b ^ c ^ d, k = 0xca62c1d6;
		next = rotate(a, 5) + f + e + k + w[i];
		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void sha1(struct span text, uint8_t out[SHA1_LEN])
{
	uint32_t state[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	uint64_t bits = htobe64((uint64_t)text.len * 8);
	uint8_t last[2 * BLOCK] = { 0 };
	size_t last_len;

	while (text.len >= BLOCK) {
		block_mix(state, (const uint8_t *)text.ptr);
		text = span_skip(text, BLOCK);
	}
	if (text.len)
		memcpy(last, text.ptr, text.len);
	last[text.len] = 0x80;
	last_len = text.len + 1 + sizeof(bits) > BLOCK ? 2 * BLOCK : BLOCK;
	memcpy(last + last_len - sizeof(bits), &bits, sizeof(bits));
	for (size_t at = 0; at < last_len; at += BLOCK)
		block_mix(state, last + at);
	for (unsigned i = 0; i < 5; i++)
		state[i] = htobe32(state[i]);
	memcpy(out, state, SHA1_LEN);
}
