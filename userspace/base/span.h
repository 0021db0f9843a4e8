/* SPDX-License-Identifier: GPL-2.0-only */
/* span.h - a borrowed run of bytes: pointer and length, never NUL-terminated, never owned. */
#ifndef SN_BASE_SPAN_H
#define SN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr; /* may be NULL only if len is 0 */
	size_t len;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define SPAN_FMT "%.*s"
#define SPAN_ARG(s) (int)(s).len, (s).ptr

static inline struct span span_of(const char *ptr, size_t len)
{
	return (struct span){ ptr, len };
}

/* s may be NULL: an empty span. */
static inline struct span span_str(const char *s)
{
	return (struct span){ s, s ? strlen(s) : 0 };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool span_starts(struct span s, struct span prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline struct span span_skip(struct span s, size_t n)
{
	return n >= s.len ? (struct span){ s.ptr + s.len, 0 } : (struct span){ s.ptr + n, s.len - n };
}

bool span_eq_nocase(struct span a, struct span b); /* ASCII case only */
bool span_ends(struct span s, struct span suffix);
static inline bool byte_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* SP and HTAB at both ends */
static inline struct span span_trim(struct span s)
{
	while (s.len && byte_is_blank(s.ptr[0]))
		s = (struct span){ s.ptr + 1, s.len - 1 };
	while (s.len && byte_is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Without the line ends at its end */
static inline struct span span_chomp(struct span s)
{
	while (s.len && s.ptr[s.len - 1] == '\n')
		s.len--;
	return s;
}

/* Index of the first c, or s.len. */
size_t span_find(struct span s, char c);
/*
 * Take the next element of a list separated by `sep` off the front of *rest, trimmed.  False at the end.
 * Empty elements are returned (len 0): "a," is two elements and "" is one.  The end is rest->ptr == NULL.
 */
bool span_next(struct span *rest, char sep, struct span *out_item);
/* Decimal digits only, whole span, no sign, no space; false on anything else or overflow. */
bool span_to_u64(struct span s, uint64_t *out_value);
bool span_hex_to_u64(struct span s, uint64_t *out_value);

#endif
