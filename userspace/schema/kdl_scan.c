/* SPDX-License-Identifier: GPL-2.0-only */
/* kdl_scan.c - the cursor of the KDL reader: characters, white space, comments. */
#include "schema/kdl_scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"

/* The bytes must be well-formed; returns the length of the sequence. */
static size_t code_point(const char *ptr, uint32_t *out_c)
{
	const unsigned char *u = (const unsigned char *)ptr;

	if (u[0] < 0x80) {
		*out_c = u[0];
		return 1;
	}
	if (u[0] < 0xe0) {
		*out_c = (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
		return 2;
	}
	if (u[0] < 0xf0) {
		*out_c = (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
		return 3;
	}
	*out_c = (u[0] & 0x07u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
	return 4;
}

/* KDL 2.0, "Disallowed Literal Code Points". */
static bool is_disallowed(uint32_t c)
{
	return c <= 0x08 || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x200e || c == 0x200f ||
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

bool kdl_is_newline(uint32_t c)
{
	return (c >= 0x0a && c <= 0x0d) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool kdl_is_space(uint32_t c)
{
	if (c < 0x80)
		return c == ' ' || c == '\t';
	return c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f ||
	       c == 0x3000;
}

bool kdl_is_word(const struct kdl_scan *s, uint32_t c)
{
	if (c == 0 || kdl_is_space(c) || kdl_is_newline(c))
		return false;
	if (c >= 0x80)
		return true;
	return !strchr(s->version == 1 ? "\\/(){}<>;[]=,\"" : "\\/(){};[]\"#=", (int)c);
}

static void pos_advance(struct schema_pos *pos, uint32_t c)
{
	if (kdl_is_newline(c)) {
		pos->line++;
		pos->col = 1;
	} else {
		pos->col++;
	}
}

int kdl_scan_check(struct span *text, uint32_t file, struct kdl_error *out_error)
{
	struct schema_pos pos = { .file = file, .line = 1, .col = 1, .width = 1 };

	if (span_starts(*text, SPAN("\xef\xbb\xbf")))
		*text = span_skip(*text, 3);
	for (size_t i = 0; i < text->len;) {
		size_t n = utf8_sequence(text->ptr + i, text->len - i);
		uint32_t c = 0;

		if (n != 0)
			n = code_point(text->ptr + i, &c);
		if (n == 0 || is_disallowed(c)) {
			*out_error = (struct kdl_error){ .pos = pos };
			if (n == 0)
				snprintf(out_error->message, sizeof(out_error->message),
					 "byte 0x%02x is not UTF-8", (unsigned char)text->ptr[i]);
			else
				snprintf(out_error->message, sizeof(out_error->message),
					 "character U+%04X is not allowed", c);
			return -EINVAL;
		}
		if (c == '\r' && i + 1 < text->len && text->ptr[i + 1] == '\n')
			n = 2;
		pos_advance(&pos, c);
		i += n;
	}
	return 0;
}

int kdl_fail(struct kdl_scan *s, struct schema_pos pos, const char *hint, const char *fmt, ...)
{
	va_list ap;

	if (s->status)
		return s->status;
	s->status = -EINVAL;
	s->error.pos = pos;
	if (s->error.pos.width == 0)
		s->error.pos.width = 1;
	va_start(ap, fmt);
	vsnprintf(s->error.message, sizeof(s->error.message), fmt, ap);
	va_end(ap);
	snprintf(s->error.hint, sizeof(s->error.hint), "%s", hint ? hint : "");
	return s->status;
}

uint32_t kdl_peek(const struct kdl_scan *s)
{
	uint32_t c;

	if (s->ptr == s->end)
		return 0;
	code_point(s->ptr, &c);
	return c;
}

char kdl_byte(const struct kdl_scan *s, size_t at)
{
	return at < (size_t)(s->end - s->ptr) ? s->ptr[at] : 0;
}

void kdl_skip(struct kdl_scan *s)
{
	uint32_t c;
	size_t n;

	CHECK(s->ptr < s->end);
	n = code_point(s->ptr, &c);
	if (c == '\r' && kdl_byte(s, 1) == '\n')
		n = 2;
	pos_advance(&s->pos, c);
	s->ptr += n;
}

void kdl_skip_bytes(struct kdl_scan *s, size_t n)
{
	CHECK(n <= (size_t)(s->end - s->ptr));
	s->ptr += n;
	s->pos.col += (uint32_t)n;
}

struct schema_pos kdl_pos_since(const struct kdl_scan *s, struct schema_pos start)
{
	start.width = 1;
	if (s->pos.line == start.line && s->pos.col > start.col)
		start.width = s->pos.col - start.col;
	return start;
}

/* They nest; a counter is enough. */
static void skip_block_comment(struct kdl_scan *s)
{
	struct schema_pos start = s->pos;
	size_t depth = 0;

	start.width = 2;
	do {
		if (s->ptr == s->end) {
			kdl_fail(s, start, NULL, "this comment has no end");
			return;
		}
		if (kdl_byte(s, 0) == '/' && kdl_byte(s, 1) == '*') {
			depth++;
			kdl_skip_bytes(s, 2);
		} else if (kdl_byte(s, 0) == '*' && kdl_byte(s, 1) == '/') {
			depth--;
			kdl_skip_bytes(s, 2);
		} else {
			kdl_skip(s);
		}
	} while (depth > 0);
}

/* To the end of the line, not over it. */
static void skip_line_comment(struct kdl_scan *s)
{
	while (s->ptr < s->end && !kdl_is_newline(kdl_peek(s)))
		kdl_skip(s);
}

static bool skip_plain_space(struct kdl_scan *s)
{
	const char *start = s->ptr;

	while (!s->status && s->ptr < s->end) {
		if (kdl_is_space(kdl_peek(s)))
			kdl_skip(s);
		else if (kdl_byte(s, 0) == '/' && kdl_byte(s, 1) == '*')
			skip_block_comment(s);
		else
			break;
	}
	return s->ptr != start;
}

/* A backslash that continues the line: only space and a comment may follow it. */
static void skip_continuation(struct kdl_scan *s)
{
	struct schema_pos start = s->pos;

	kdl_skip_bytes(s, 1);
	skip_plain_space(s);
	if (kdl_byte(s, 0) == '/' && kdl_byte(s, 1) == '/')
		skip_line_comment(s);
	if (s->ptr == s->end && s->version == 2)
		return;
	if (!kdl_is_newline(kdl_peek(s)))
		kdl_fail(s, start, NULL, "a backslash outside of a string must end its line");
	else
		kdl_skip(s);
}

bool kdl_skip_space(struct kdl_scan *s)
{
	const char *start = s->ptr;

	do {
		skip_plain_space(s);
		if (s->status || kdl_byte(s, 0) != '\\')
			break;
		skip_continuation(s);
	} while (!s->status);
	return s->ptr != start;
}

void kdl_skip_lines(struct kdl_scan *s)
{
	while (!s->status && s->ptr < s->end) {
		if (kdl_skip_space(s))
			continue;
		if (kdl_is_newline(kdl_peek(s)))
			kdl_skip(s);
		else if (kdl_byte(s, 0) == '/' && kdl_byte(s, 1) == '/')
			skip_line_comment(s);
		else
			break;
	}
}
