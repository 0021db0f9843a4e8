/* SPDX-License-Identifier: GPL-2.0-only */
/* uri.c - request targets: split, normalise, decode (RFC 3986). */
#include "http/uri.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"

#define HOST_MAX 255 /* bytes of a name: RFC 1035 2.3.4 */

enum { /* classes of path bytes for the normalisation */
	PLAIN = 0,
	SLASH,
	PERCENT,
	REFUSED,
};

static const uint8_t path_class[256] = {
	['/'] = SLASH, ['%'] = PERCENT, ['\\'] = REFUSED, [0 ... 0x20] = REFUSED, [0x7f] = REFUSED,
};

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum { /* classes of bytes in names of hosts */
	UNRESERVED = 1, /* RFC 3986 2.3 */
	SUB_DELIM,	/* RFC 3986 2.2 */
};

static const uint8_t name_class[256] = {
	['a' ... 'z'] = UNRESERVED, ['A' ... 'Z'] = UNRESERVED, ['0' ... '9'] = UNRESERVED,
	['-'] = UNRESERVED, ['.'] = UNRESERVED, ['_'] = UNRESERVED, ['~'] = UNRESERVED,
	['!'] = SUB_DELIM, ['$'] = SUB_DELIM, ['&'] = SUB_DELIM, ['\''] = SUB_DELIM, ['('] = SUB_DELIM,
	[')'] = SUB_DELIM, ['*'] = SUB_DELIM, ['+'] = SUB_DELIM, [','] = SUB_DELIM, [';'] = SUB_DELIM,
	['='] = SUB_DELIM,
};

static bool byte_is_unreserved(uint8_t c)
{
	return name_class[c] == UNRESERVED;
}

/* The octet that the escape at s stands for, or -1. */
static int escape_value(struct span s)
{
	int high, low;

	if (s.len < 3 || (high = hex_value(s.ptr[1])) < 0 || (low = hex_value(s.ptr[2])) < 0)
		return -1;
	return high * 16 + low;
}

void uri_split(struct span target, struct span *out_path, struct span *out_query)
{
	size_t mark = span_find(target, '?');

	*out_path = span_of(target.ptr, mark);
	*out_query = mark < target.len ? span_skip(target, mark + 1) : span_of(NULL, 0);
}

/*
 * A path that needs nothing: no escape, no refused byte, no segment that starts with a dot (".well-known" takes the
 * long way, which finds that nothing changes).
 */
static bool path_is_normal(struct span path)
{
	unsigned seen = 0;
	uint8_t before = 0;

	for (size_t i = 0; i < path.len; i++) {
		uint8_t c = (uint8_t)path.ptr[i];

		seen |= path_class[c] & PERCENT; /* REFUSED has that bit too */
		seen |= (before == '/' && c == '.') ? PERCENT : 0u;
		before = c;
	}
	return !seen;
}

_Static_assert((REFUSED & PERCENT) && !(SLASH & PERCENT), "path_is_normal() tests one bit");

/* Decode unreserved octets and put the hex digits of the others in upper case: out has room for path.len bytes. */
static int escapes_normalise(struct span path, char *out, size_t *out_len)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t len = 0;

	for (size_t i = 0; i < path.len; i++) {
		uint8_t c = (uint8_t)path.ptr[i];
		int octet;

		if (path_class[c] == REFUSED)
			return -EINVAL;
		if (c != '%') {
			out[len++] = (char)c;
			continue;
		}
		octet = escape_value(span_skip(path, i));
		if (octet <= 0 || octet == '\\')
			return -EINVAL;
		i += 2;
		if (byte_is_unreserved((uint8_t)octet)) {
			out[len++] = (char)octet;
			continue;
		}
		out[len++] = '%';
		out[len++] = digits[octet >> 4];
		out[len++] = digits[octet & 15];
	}
	*out_len = len;
	return 0;
}

/* RFC 3986 5.2.4 in place, with two differences: climbing above the root is an error, and "//" stays. */
static int dots_remove(char *path, size_t *len, bool *out_removed)
{
	size_t from = 0, to = 0, n = *len;

	*out_removed = false;
	while (from < n) {
		/* path[from] is '/': a segment follows, up to the next one. */
		const char *slash = memchr(path + from + 1, '/', n - from - 1);
		size_t end = slash ? (size_t)(slash - path) : n;
		size_t segment = end - from - 1;

		if (segment == 1 && path[from + 1] == '.') {
			*out_removed = true;
			if (end == n)
				path[to++] = '/';
		} else if (segment == 2 && path[from + 1] == '.' && path[from + 2] == '.') {
			*out_removed = true;
			if (to == 0)
				return -EINVAL;
			while (path[--to] != '/')
				;
			if (end == n)
				path[to++] = '/';
		} else {
			memmove(path + to, path + from, end - from);
			to += end - from;
		}
		from = end;
	}
	*len = to;
	return 0;
}

int uri_normalise(struct span path, struct arena *a, struct span *out_path, bool *out_had_dots)
{
	size_t len;
	bool had_dots;
	char *copy;

	if (path.len == 0 || path.ptr[0] != '/')
		return -EINVAL;
	if (path_is_normal(path)) {
		*out_path = path;
		*out_had_dots = false;
		return 0;
	}
	copy = arena_alloc(a, path.len);
	if (escapes_normalise(path, copy, &len) < 0 || dots_remove(copy, &len, &had_dots) < 0)
		return -EINVAL;
	*out_path = span_eq(span_of(copy, len), path) ? path : span_of(copy, len);
	*out_had_dots = had_dots;
	return 0;
}

struct span uri_decode(struct span s, struct arena *a, bool is_form)
{
	size_t len = 0;
	char *out;

	if (s.len == 0 || (!memchr(s.ptr, '%', s.len) && !(is_form && memchr(s.ptr, '+', s.len))))
		return s;
	out = arena_alloc(a, s.len);
	for (size_t i = 0; i < s.len; i++) {
		int octet = s.ptr[i] == '%' ? escape_value(span_skip(s, i)) : -1;

		if (octet >= 0) {
			out[len++] = (char)octet;
			i += 2;
		} else {
			out[len++] = is_form && s.ptr[i] == '+' ? ' ' : s.ptr[i];
		}
	}
	return span_of(out, len);
}

bool uri_query_next(struct span *rest, struct span *out_name, struct span *out_value)
{
	struct span pair;
	size_t end, equals;

	do {
		if (rest->len == 0)
			return false;
		end = span_find(*rest, '&');
		pair = span_of(rest->ptr, end);
		*rest = span_skip(*rest, end + 1);
	} while (pair.len == 0);
	equals = span_find(pair, '=');
	*out_name = span_of(pair.ptr, equals);
	*out_value = equals < pair.len ? span_skip(pair, equals + 1) : span_of(NULL, 0);
	return true;
}

/* RFC 3986 3.2.2: unreserved, escapes and sub-delims. */
static bool reg_name_is_valid(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = (uint8_t)s.ptr[i];

		if (name_class[c])
			continue;
		if (c == '%') {
			/* Control bytes and DEL in a name of a host are nobody's honest wish. */
			int octet = escape_value(span_skip(s, i));

			if (octet <= 0x20 || octet == 0x7f)
				return false;
			i += 2;
		} else {
			return false;
		}
	}
	return s.len > 0 && s.len <= HOST_MAX;
}

/* Four numbers up to 255 without leading zeros. */
static bool ipv4_is_valid(struct span s)
{
	unsigned count = 0;
	struct span number;
	uint64_t value;

	while (span_next(&s, '.', &number)) {
		if (number.len == 0 || number.len > 3 || (number.len > 1 && number.ptr[0] == '0') ||
		    !span_to_u64(number, &value) || value > 255)
			return false;
		count++;
	}
	return count == 4;
}

/* Eight groups of up to four digits, one run of zero groups as "::", an IPv4 address as the last two. */
static bool ipv6_is_valid(struct span s)
{
	bool has_gap = span_starts(s, SPAN("::"));
	unsigned groups = 0;
	size_t i = has_gap ? 2 : 0, start;

	while (i < s.len) {
		for (start = i; i < s.len && hex_value(s.ptr[i]) >= 0; i++)
			;
		if (i < s.len && s.ptr[i] == '.') {
			if (!ipv4_is_valid(span_skip(s, start)))
				return false;
			groups += 2;
			break;
		}
		if (i == start || i - start > 4)
			return false;
		groups++;
		if (i == s.len)
			break;
		if (s.ptr[i++] != ':' || i == s.len)
			return false;
		if (s.ptr[i] == ':') {
			if (has_gap)
				return false;
			has_gap = true;
			i++;
		}
	}
	return has_gap ? groups <= 7 : groups == 8;
}

/* "[v6]": zone identifiers and addresses of the future are refused. */
static bool ip_literal_is_valid(struct span s)
{
	return s.len > 2 && s.ptr[s.len - 1] == ']' && ipv6_is_valid(span_of(s.ptr + 1, s.len - 2));
}

bool uri_split_authority(struct span authority, struct span *out_host, unsigned *out_port)
{
	struct span host, digits;
	uint64_t port = 0;
	bool is_literal = authority.len && authority.ptr[0] == '[';
	size_t colon;

	if (is_literal) {
		size_t bracket = span_find(authority, ']');

		colon = MIN(bracket + 1, authority.len);
		if (colon < authority.len && authority.ptr[colon] != ':')
			return false;
	} else {
		colon = span_find(authority, ':');
	}
	host = span_of(authority.ptr, colon);
	digits = span_skip(authority, colon + 1);
	/* An empty port is allowed and means the default one (RFC 3986 3.2.3). */
	if (digits.len && (digits.len > 5 || !span_to_u64(digits, &port) || port == 0 || port > 65535))
		return false;
	if (is_literal ? !ip_literal_is_valid(host) : !reg_name_is_valid(host))
		return false;
	*out_host = host;
	*out_port = (unsigned)port;
	return true;
}
