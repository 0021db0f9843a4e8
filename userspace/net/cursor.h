/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cursor.h - reading a binary message from the front: big-endian numbers, vectors behind their length.
 * Every function checks, takes and returns true, or returns false and takes nothing.
 */
#ifndef SN_NET_CURSOR_H
#define SN_NET_CURSOR_H

#include "base/span.h"

struct cursor {
	const uint8_t *at;
	size_t left;
};

static inline struct span cursor_span(struct cursor c)
{
	return span_of((const char *)c.at, c.left);
}

static inline bool cursor_take(struct cursor *c, size_t count, struct cursor *out_taken)
{
	if (c->left < count)
		return false;
	*out_taken = (struct cursor){ c->at, count };
	c->at += count;
	c->left -= count;
	return true;
}

/* `width` bytes, at most 4, as a number. */
static inline bool cursor_number(struct cursor *c, size_t width, uint32_t *out_value)
{
	struct cursor digits;
	uint32_t value = 0;

	if (!cursor_take(c, width, &digits))
		return false;
	for (size_t i = 0; i < width; i++)
		value = value << 8 | digits.at[i];
	*out_value = value;
	return true;
}

/* The bytes behind a length of `width` bytes. */
static inline bool cursor_vector(struct cursor *c, size_t width, struct cursor *out_vector)
{
	struct cursor rest = *c;
	uint32_t len;

	if (!cursor_number(&rest, width, &len) || !cursor_take(&rest, len, out_vector))
		return false;
	*c = rest;
	return true;
}

#endif
