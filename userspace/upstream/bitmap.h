/* SPDX-License-Identifier: GPL-2.0-only */
/* bitmap.h - sets of endpoints: bit i is endpoint i of an upstream.  Bits beyond `count` are 0. */
#ifndef SN_UPSTREAM_BITMAP_H
#define SN_UPSTREAM_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define BITMAP_NONE UINT32_MAX

static inline unsigned bitmap_words(unsigned count)
{
	return (count + 63) / 64;
}

static inline bool bitmap_test(const uint64_t *bits, unsigned i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static inline void bitmap_set(uint64_t *bits, unsigned i)
{
	bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static inline void bitmap_clear(uint64_t *bits, unsigned i)
{
	bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static inline bool bitmap_is_empty(const uint64_t *bits, unsigned count)
{
	for (unsigned w = 0; w < bitmap_words(count); w++)
		if (bits[w])
			return false;
	return true;
}

/* The first bit at or after `from`; BITMAP_NONE: there is none. */
static inline unsigned bitmap_next(const uint64_t *bits, unsigned count, unsigned from)
{
	uint64_t word;

	if (from >= count)
		return BITMAP_NONE;
	word = bits[from / 64] & (~UINT64_C(0) << (from % 64));
	for (unsigned w = from / 64; !word;) {
		if (++w >= bitmap_words(count))
			return BITMAP_NONE;
		word = bits[w];
		from = w * 64;
	}
	return from / 64 * 64 + (unsigned)__builtin_ctzll(word);
}

/* The same, going on at 0.  At least one bit is set. */
static inline unsigned bitmap_next_wrap(const uint64_t *bits, unsigned count, unsigned from)
{
	unsigned i = bitmap_next(bits, count, from);

	return i == BITMAP_NONE ? bitmap_next(bits, count, 0) : i;
}

#define bitmap_for_each(i, bits, count)                                                                      \
	for ((i) = bitmap_next((bits), (count), 0); (i) != BITMAP_NONE;                                      \
	     (i) = bitmap_next((bits), (count), (i) + 1))

#endif
