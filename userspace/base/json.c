/* SPDX-License-Identifier: GPL-2.0-only */
/* json.c - write JSON (RFC 8259) into a strbuf. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/utf8.h"

#define EACH_BYTE(x) ((uint64_t)(x) * 0x0101010101010101ull)

/* Nothing in these eight bytes needs care: no control, quote, backslash or byte above 0x7e. */
static bool is_plain8(const char *p)
{
	const uint64_t high = EACH_BYTE(0x80);
	uint64_t w, quote, backslash, del;

	memcpy(&w, p, sizeof(w));
	quote = w ^ EACH_BYTE('"');
	backslash = w ^ EACH_BYTE('\\');
	del = w ^ EACH_BYTE(0x7f);
	/* x - 1 borrows into bit 7 of a zero byte; a false hit only costs the slow way. */
	return !((w | (w - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) |
		  (backslash - EACH_BYTE(1)) | (del - EACH_BYTE(1))) & high);
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static size_t plain_run(struct span s)
{
	size_t n = 0;

	while (s.len - n >= 8 && is_plain8(s.ptr + n))
		n += 8;
	while (n < s.len && is_plain((unsigned char)s.ptr[n]))
		n++;
	return n;
}

static void escape_ascii(struct strbuf *out, unsigned char c)
{
	static const char short_forms[][2] = {
		{ '"', '"' },  { '\\', '\\' }, { '\b', 'b' }, { '\f', 'f' },
		{ '\n', 'n' }, { '\r', 'r' },  { '\t', 't' },
	};
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < ARRAY_LEN(short_forms); i++) {
		if (short_forms[i][0] == (char)c) {
			strbuf_add(out, (char[]){ '\\', short_forms[i][1] }, 2);
			return;
		}
	}
	strbuf_add(out, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
}

void json_escape(struct strbuf *out, struct span value)
{
	strbuf_reserve(out, value.len + 2);
	strbuf_add_char(out, '"');
	while (value.len) {
		size_t n = plain_run(value);
		unsigned char c;

		strbuf_add(out, value.ptr, n);
		value = span_skip(value, n);
		if (!value.len)
			break;
		c = (unsigned char)value.ptr[0];
		n = 1;
		if (c < 0x80) {
			escape_ascii(out, c);
		} else {
			n = utf8_sequence(value.ptr, value.len);
			if (n)
				strbuf_add(out, value.ptr, n);
			else
				strbuf_add_str(out, UTF8_REPLACEMENT);
			n = MAX(n, 1);
		}
		value = span_skip(value, n);
	}
	strbuf_add_char(out, '"');
}

void json_init(struct json *j, struct strbuf *out, bool is_pretty)
{
	*j = (struct json){ .out = out, .is_pretty = is_pretty };
}

static void line_start(struct json *j)
{
	if (!j->is_pretty)
		return;
	strbuf_add_char(j->out, '\n');
	for (unsigned i = 0; i < j->depth; i++)
		strbuf_add_str(j->out, "  ");
}

/* Everything that stands before a value. */
static void member_start(struct json *j, const char *key)
{
	if (j->depth == 0) {
		CHECK(!key);
		return;
	}
	CHECK(!key == (j->closing[j->depth - 1] == ']'));
	if (j->has_member[j->depth - 1])
		strbuf_add_char(j->out, ',');
	j->has_member[j->depth - 1] = true;
	line_start(j);
	if (!key)
		return;
	json_escape(j->out, span_str(key));
	strbuf_add_str(j->out, j->is_pretty ? ": " : ":");
}

static void nest(struct json *j, const char *key, const char brackets[2])
{
	CHECK(j->depth < JSON_DEPTH_MAX);
	member_start(j, key);
	strbuf_add_char(j->out, brackets[0]);
	j->closing[j->depth] = brackets[1];
	j->has_member[j->depth++] = false;
}

void json_object(struct json *j, const char *key)
{
	nest(j, key, "{}");
}

void json_array(struct json *j, const char *key)
{
	nest(j, key, "[]");
}

void json_end(struct json *j, char bracket)
{
	CHECK(j->depth > 0);
	j->depth--;
	CHECK(bracket == j->closing[j->depth]);
	if (j->has_member[j->depth])
		line_start(j);
	strbuf_add_char(j->out, bracket);
}

void json_span(struct json *j, const char *key, struct span value)
{
	member_start(j, key);
	json_escape(j->out, value);
}

void json_str(struct json *j, const char *key, const char *value)
{
	if (value)
		json_span(j, key, span_str(value));
	else
		json_null(j, key);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	member_start(j, key);
	strbuf_add_u64(j->out, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	member_start(j, key);
	if (value < 0)
		strbuf_add_char(j->out, '-');
	strbuf_add_u64(j->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_double(struct json *j, const char *key, double value)
{
	char text[32];

	if (!isfinite(value)) {
		json_null(j, key);
		return;
	}
	member_start(j, key);
	/* The shortest form that reads back as the same number. */
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	strbuf_add_str(j->out, text);
}

void json_bool(struct json *j, const char *key, bool value)
{
	member_start(j, key);
	strbuf_add_str(j->out, value ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
	member_start(j, key);
	strbuf_add_str(j->out, "null");
}
