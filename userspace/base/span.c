/* SPDX-License-Identifier: GPL-2.0-only */
/* span.c - comparing, cutting and reading borrowed bytes. */
#include "base/span.h"

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool span_eq_nocase(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool span_ends(struct span s, struct span suffix)
{
	if (s.len < suffix.len)
		return false;
	return suffix.len == 0 ||
	       memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

size_t span_find(struct span s, char c)
{
	const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return at ? (size_t)(at - s.ptr) : s.len;
}

bool span_next(struct span *rest, char sep, struct span *out_item)
{
	size_t at;

	if (!rest->ptr)
		return false;
	at = span_find(*rest, sep);
	*out_item = span_trim(span_of(rest->ptr, at));
	/* After "a," one more, empty element follows; after "a" none does. */
	*rest = at < rest->len ? span_skip(*rest, at + 1) : span_of(NULL, 0);
	return true;
}

bool span_to_u64(struct span s, uint64_t *out_value)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.ptr[i] - (unsigned)'0';

		if (digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*out_value = v;
	return true;
}

static int hex_digit(char c)
{
	c = lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool span_hex_to_u64(struct span s, uint64_t *out_value)
{
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		int digit = hex_digit(s.ptr[i]);

		if (digit < 0 || v >> 60)
			return false;
		v = v << 4 | (unsigned)digit;
	}
	*out_value = v;
	return true;
}
