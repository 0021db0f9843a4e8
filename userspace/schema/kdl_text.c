/* SPDX-License-Identifier: GPL-2.0-only */
/* kdl_text.c - strings, numbers and keywords of KDL. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "schema/kdl_scan.h"

/* What is left of a string is turned into its value in the arena. */
static void value_set_text(struct kdl_scan *s, struct kdl_value *v, struct span text)
{
	v->type = KDL_STRING;
	v->text = span_of(arena_strndup(s->arena, text.ptr, text.len), text.len);
}

/* Quoted strings */

static void add_utf8(struct strbuf *b, uint32_t c)
{
	char out[4];
	size_t n = 0;

	if (c < 0x80) {
		out[n++] = (char)c;
	} else if (c < 0x800) {
		out[n++] = (char)(0xc0 | c >> 6);
		out[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		out[n++] = (char)(0xe0 | c >> 12);
		out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		out[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		out[n++] = (char)(0xf0 | c >> 18);
		out[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		out[n++] = (char)(0x80 | (c & 0x3f));
	}
	strbuf_add(b, out, n);
}

/* The character that \c stands for, or 0. */
static char escape_char(unsigned version, char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case '\\':
	case '"':
		return c;
	case 's':
		return version == 2 ? ' ' : 0;
	case '/':
		return version == 1 ? '/' : 0;
	default:
		return 0;
	}
}

/* \u{1F600}: length of the escape from its backslash, 0 if it is wrong. */
static size_t unicode_escape(const char *ptr, size_t len, uint32_t *out_c)
{
	uint32_t c = 0;
	size_t i = 3;

	if (len < 5 || ptr[2] != '{')
		return 0;
	for (; i < len && i < 9 && ptr[i] != '}'; i++) {
		struct span digit = span_of(ptr + i, 1);
		uint64_t value;

		if (!span_hex_to_u64(digit, &value))
			return 0;
		c = c << 4 | (uint32_t)value;
	}
	if (i == 3 || i >= len || ptr[i] != '}' || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*out_c = c;
	return i + 1;
}

/* A backslash is next: check the escape and copy it as it is, drop one of white space. */
static void scan_escape(struct kdl_scan *s)
{
	struct schema_pos start = s->pos;
	size_t left = (size_t)(s->end - s->ptr);
	size_t n = 2;
	uint32_t c;

	if (s->version == 2 && left > 1) {
		kdl_skip_bytes(s, 1);
		c = kdl_peek(s);
		if (kdl_is_space(c) || kdl_is_newline(c)) {
			while (kdl_is_space(c) || kdl_is_newline(c)) {
				kdl_skip(s);
				c = kdl_peek(s);
			}
			return;
		}
		s->ptr--;
		s->pos = start;
	}
	start.width = 2;
	if (kdl_byte(s, 1) == 'u') {
		n = unicode_escape(s->ptr, left, &c);
		if (n == 0) {
			kdl_fail(s, start, "\\u{ } holds 1 to 6 hexadecimal digits of a Unicode character",
				 "wrong \\u escape");
			return;
		}
	} else if (!escape_char(s->version, kdl_byte(s, 1))) {
		kdl_fail(s, start, "write \\\\ for a backslash, or a raw string: #\"C:\\dir\"#",
			 "unknown escape in a string");
		return;
	}
	strbuf_add(&s->text, s->ptr, n);
	kdl_skip_bytes(s, n);
}

static bool is_closed(const struct kdl_scan *s, unsigned quotes, size_t hashes)
{
	for (unsigned i = 0; i < quotes; i++) {
		if (kdl_byte(s, i) != '"')
			return false;
	}
	for (size_t i = 0; i < hashes; i++) {
		if (kdl_byte(s, quotes + i) != '#')
			return false;
	}
	return true;
}

/*
 * Everything up to the closing quotes goes to s->text: white-space escapes resolved, newlines as LF where the
 * version says so, the other escapes checked but left.  Each byte is looked at a bounded number of times: the
 * hashes after a quote only as often as there are quotes right before them.
 */
static int scan_body(struct kdl_scan *s, struct schema_pos start, unsigned quotes, size_t hashes, bool is_raw)
{
	bool may_break = quotes == 3 || s->version == 1;

	while (!is_closed(s, quotes, hashes)) {
		const char *from = s->ptr;
		uint32_t c = kdl_peek(s);

		if (s->ptr == s->end)
			return kdl_fail(s, start, NULL, "this string has no end");
		if (c == '\\' && !is_raw) {
			scan_escape(s);
			if (s->status)
				return s->status;
			continue;
		}
		if (kdl_is_newline(c) && !may_break)
			return kdl_fail(s, start, "a string over several lines starts and ends with \"\"\"",
					"this string does not end on its line");
		kdl_skip(s);
		if (kdl_is_newline(c) && s->version == 2)
			strbuf_add_char(&s->text, '\n');
		else
			strbuf_add(&s->text, from, (size_t)(s->ptr - from));
	}
	kdl_skip_bytes(s, quotes + hashes);
	return 0;
}

/* Resolve the escapes in s->text, which scan_body() has checked. */
static void unescape(struct kdl_scan *s)
{
	struct span text = strbuf_span(&s->text);
	struct strbuf out = { 0 };

	if (span_find(text, '\\') == text.len)
		return;
	strbuf_init(&out);
	while (text.len > 0) {
		size_t plain = span_find(text, '\\');
		size_t n = 2;
		uint32_t c;

		strbuf_add(&out, text.ptr, plain);
		text = span_skip(text, plain);
		if (text.len == 0)
			break;
		if (text.ptr[1] == 'u') {
			n = unicode_escape(text.ptr, text.len, &c);
			add_utf8(&out, c);
		} else {
			strbuf_add_char(&out, escape_char(s->version, text.ptr[1]));
		}
		text = span_skip(text, n);
	}
	strbuf_fini(&s->text);
	s->text = out;
}

static bool is_blank(struct span line)
{
	struct kdl_scan probe = { .ptr = line.ptr, .end = line.ptr + line.len };

	while (probe.ptr < probe.end) {
		if (!kdl_is_space(kdl_peek(&probe)))
			return false;
		kdl_skip(&probe);
	}
	return true;
}

/* Line `number` (from 0) of a multi-line string; its start if escaped newlines make that unknown. */
static int indent_fail(struct kdl_scan *s, struct schema_pos start, uint32_t number, uint32_t lines)
{
	struct schema_pos pos = start;

	if (s->pos.line - start.line == lines) {
		pos.line += number + 1;
		pos.col = 1;
	}
	return kdl_fail(s, pos, "each line starts with the white space that is before the closing quotes",
			"this string is not indented as its last line is");
}

/*
 * KDL 2.0, "Multi-line Strings": the space before the closing quotes is taken off every line, a line of space
 * only becomes empty, and the first and last newline are not part of the value.
 */
static int dedent(struct kdl_scan *s, struct schema_pos start)
{
	struct span rest = strbuf_span(&s->text);
	struct span prefix = rest;
	struct strbuf out = { 0 };
	uint32_t lines = 0, number = 0;

	for (size_t n = span_find(prefix, '\n'); n < prefix.len; n = span_find(prefix, '\n')) {
		prefix = span_skip(prefix, n + 1);
		lines++;
	}
	if (!is_blank(prefix))
		return kdl_fail(s, start, NULL, "the closing quotes of this string need a line of their own");
	strbuf_init(&out);
	for (; number < lines; number++) {
		struct span line = span_of(rest.ptr, span_find(rest, '\n'));

		rest = span_skip(rest, line.len + 1);
		if (number > 0)
			strbuf_add_char(&out, '\n');
		if (is_blank(line))
			continue;
		if (!span_starts(line, prefix)) {
			strbuf_fini(&out);
			return indent_fail(s, start, number, lines + 1);
		}
		strbuf_add_span(&out, span_skip(line, prefix.len));
	}
	strbuf_fini(&s->text);
	s->text = out;
	return 0;
}

static int read_quoted(struct kdl_scan *s, struct kdl_value *v, size_t hashes, bool is_raw)
{
	struct schema_pos start = v->pos;
	unsigned quotes = s->version == 2 && is_closed(s, 3, 0) ? 3 : 1;

	v->form = is_raw ? KDL_FORM_RAW : KDL_FORM_QUOTED;
	strbuf_reset(&s->text);
	kdl_skip_bytes(s, quotes);
	if (quotes == 3) {
		if (!kdl_is_newline(kdl_peek(s)))
			return kdl_fail(s, start, "text starts on the line after the \"\"\"",
					"\"\"\" must end its line");
		kdl_skip(s);
	}
	if (scan_body(s, start, quotes, hashes, is_raw))
		return s->status;
	if (quotes == 3 && dedent(s, start))
		return s->status;
	if (!is_raw)
		unescape(s);
	value_set_text(s, v, strbuf_span(&s->text));
	return 0;
}

/* Words: identifiers, keywords, numbers */

static struct span scan_word(struct kdl_scan *s)
{
	const char *start = s->ptr;

	while (s->ptr < s->end && kdl_is_word(s, kdl_peek(s)))
		kdl_skip(s);
	return span_of(start, (size_t)(s->ptr - start));
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_sign(char c)
{
	return c == '+' || c == '-';
}

/* Does a number start here (or something that may only be one)? */
static bool is_number_start(const struct kdl_scan *s)
{
	return is_digit(kdl_byte(s, 0)) || (is_sign(kdl_byte(s, 0)) && is_digit(kdl_byte(s, 1)));
}

/* Words that look like keywords and therefore are no strings. */
static bool is_reserved(unsigned version, struct span word)
{
	static const struct span words[] = { SPAN("true"), SPAN("false"), SPAN("null"),
					     SPAN("inf"),  SPAN("-inf"),  SPAN("nan") };

	for (size_t i = 0; i < (version == 1 ? 3 : ARRAY_LEN(words)); i++) {
		if (span_eq(word, words[i]))
			return true;
	}
	return false;
}

static int read_identifier(struct kdl_scan *s, struct kdl_value *v)
{
	struct span word = scan_word(s);
	struct schema_pos pos = kdl_pos_since(s, v->pos);
	size_t sign = word.len > 0 && is_sign(word.ptr[0]);

	if (is_reserved(s->version, word))
		return kdl_fail(s, pos, s->version == 2 ? "keywords start with #: #true, #false, #null" : NULL,
				SPAN_FMT " must be quoted to be a string", SPAN_ARG(word));
	if (s->version == 2 && word.len > sign + 1 && word.ptr[sign] == '.' && is_digit(word.ptr[sign + 1]))
		return kdl_fail(s, pos, "a number starts with a digit: 0.5", "this is no number and no word");
	v->form = KDL_FORM_WORD;
	value_set_text(s, v, word);
	return 0;
}

bool kdl_is_string_start(const struct kdl_scan *s)
{
	char c = kdl_byte(s, 0);

	if (c == '"')
		return true;
	if (c == '#' && s->version == 2)
		return kdl_byte(s, 1) == '#' || kdl_byte(s, 1) == '"';
	return kdl_is_word(s, kdl_peek(s)) && !is_number_start(s);
}

int kdl_read_string(struct kdl_scan *s, struct kdl_value *v)
{
	struct schema_pos start = s->pos;
	size_t hashes = 0;
	size_t prefix = 0;

	v->pos = start;
	v->pos.width = 1;
	if (s->version == 1 && kdl_byte(s, 0) == 'r' && (kdl_byte(s, 1) == '"' || kdl_byte(s, 1) == '#'))
		prefix = 1;
	while ((s->version == 2 || prefix) && kdl_byte(s, prefix + hashes) == '#')
		hashes++;
	if (kdl_byte(s, prefix + hashes) == '"') {
		kdl_skip_bytes(s, prefix + hashes);
		read_quoted(s, v, hashes, prefix + hashes > 0);
	} else if (hashes > 0 && s->version == 2) {
		return kdl_fail(s, v->pos, NULL, "a quote is missing after #");
	} else {
		read_identifier(s, v);
	}
	v->pos = kdl_pos_since(s, start);
	return s->status;
}

/* Digits of one base, _ between and after them; the first is a digit.  Length, 0 if there is none. */
static size_t digits_len(struct span text, unsigned base)
{
	size_t i = 0;

	for (; i < text.len; i++) {
		struct span digit = span_of(text.ptr + i, 1);
		uint64_t value;

		if (text.ptr[i] == '_' && i > 0)
			continue;
		if (!span_hex_to_u64(digit, &value) || value >= base)
			break;
	}
	return i;
}

/* Saturates; also gives the rounded value, which decimals take from strtod() instead. */
static void set_integer(struct kdl_value *v, struct span digits, unsigned base, bool is_negative)
{
	uint64_t limit = is_negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	uint64_t sum = 0;
	bool is_over = false;

	v->number = 0;
	for (size_t i = 0; i < digits.len; i++) {
		uint64_t digit;

		if (!span_hex_to_u64(span_of(digits.ptr + i, 1), &digit))
			continue;
		v->number = v->number * base + (double)digit;
		is_over = is_over || sum > (limit - digit) / base;
		if (!is_over)
			sum = sum * base + digit;
	}
	if (is_over)
		sum = limit;
	v->type = KDL_INT;
	v->integer = is_negative ? (int64_t)(0 - sum) : (int64_t)sum;
	if (is_negative)
		v->number = -v->number;
}

static double decimal_value(struct span text)
{
	char plain[KDL_NUMBER_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '_')
			plain[n++] = text.ptr[i];
	}
	plain[n] = 0;
	return strtod(plain, NULL);
}

/* The whole word is a number, or false. */
static bool parse_number(struct span word, struct kdl_value *v)
{
	bool is_negative = word.ptr[0] == '-';
	struct span rest = span_skip(word, is_sign(word.ptr[0]));
	char mark = rest.len > 1 && rest.ptr[0] == '0' ? rest.ptr[1] : 0;
	unsigned base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
	struct span digits = base == 10 ? rest : span_skip(rest, 2);
	size_t n = digits_len(digits, base);

	if (n == 0)
		return false;
	rest = span_skip(digits, n);
	digits.len = n;
	set_integer(v, digits, base, is_negative);
	if (base != 10)
		return rest.len == 0;
	if (rest.len > 0 && rest.ptr[0] == '.') {
		n = digits_len(span_skip(rest, 1), 10);
		if (n == 0)
			return false;
		rest = span_skip(rest, n + 1);
		v->type = KDL_FLOAT;
	}
	if (rest.len > 0 && (rest.ptr[0] == 'e' || rest.ptr[0] == 'E')) {
		rest = span_skip(rest, 1);
		rest = span_skip(rest, rest.len > 0 && is_sign(rest.ptr[0]));
		n = digits_len(rest, 10);
		if (n == 0)
			return false;
		rest = span_skip(rest, n);
		v->type = KDL_FLOAT;
	}
	v->number = decimal_value(word);
	return rest.len == 0;
}

/* True if the word (without the # of KDL 2) is a keyword. */
static bool parse_keyword(struct span word, unsigned version, struct kdl_value *v)
{
	*v = (struct kdl_value){ .form = v->form, .annotation = v->annotation, .pos = v->pos };
	if (span_eq(word, SPAN("true")) || span_eq(word, SPAN("false"))) {
		v->type = KDL_BOOL;
		v->boolean = word.ptr[0] == 't';
		return true;
	}
	if (span_eq(word, SPAN("null"))) {
		v->type = KDL_NULL;
		return true;
	}
	v->type = KDL_FLOAT;
	if (span_eq(word, SPAN("nan")))
		v->number = (double)NAN;
	else if (span_eq(word, SPAN("inf")))
		v->number = (double)INFINITY;
	else if (span_eq(word, SPAN("-inf")))
		v->number = (double)-INFINITY;
	else
		return false;
	return version == 2;
}

int kdl_read_literal(struct kdl_scan *s, struct kdl_value *v)
{
	const char *spelling = s->ptr;
	bool is_keyword = kdl_byte(s, 0) == '#' || (s->version == 1 && !is_number_start(s));
	struct schema_pos start = s->pos;
	struct span word;
	bool is_right;

	v->pos = start;
	v->form = KDL_FORM_WORD;
	if (kdl_byte(s, 0) == '#')
		kdl_skip_bytes(s, 1);
	word = scan_word(s);
	v->pos = kdl_pos_since(s, start);
	if (word.len > KDL_NUMBER_MAX)
		return kdl_fail(s, v->pos, NULL, "a number of more than %d characters", KDL_NUMBER_MAX);
	is_right = is_keyword ? parse_keyword(word, s->version, v) : parse_number(word, v);
	if (!is_right)
		return kdl_fail(s, v->pos, is_keyword ? "keywords are #true #false #null #inf #-inf #nan" : NULL,
				is_keyword ? "unknown keyword" : "this is not a number");
	v->text.len = (size_t)(s->ptr - spelling);
	v->text.ptr = arena_strndup(s->arena, spelling, v->text.len);
	return 0;
}
