/* SPDX-License-Identifier: GPL-2.0-only */
/* regex.c - PCRE2 behind four functions. */
#include "proxy/regex.h"

#include <errno.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "base/mem.h"

struct regex {
	pcre2_code *code;
	struct span literal_prefix; /* in the arena */
};

struct regex_scratch {
	pcre2_match_data *data;
	pcre2_match_context *context;
	uint64_t limit_hits;
};

static void regex_free(void *ptr)
{
	struct regex *re = ptr;

	pcre2_code_free(re->code);
}

static bool is_metachar(char c)
{
	return c && strchr("^$.[|()?*+{\\", c);
}

static bool is_punctuation(char c)
{
	return c > ' ' && c < 0x7f && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9');
}

/* Past the class that starts at p[i] == '[': its ']'.  The end: it holds a '[', and is not understood. */
static size_t class_skip(struct span p, size_t i)
{
	i += i + 1 < p.len && p.ptr[i + 1] == '^';
	i += i + 1 < p.len && p.ptr[i + 1] == ']'; /* the first one is a member */
	for (i++; i < p.len && p.ptr[i] != ']'; i++) {
		if (p.ptr[i] == '[')
			return p.len;
		i += p.ptr[i] == '\\';
	}
	return i;
}

/* Things whose text may hold brackets that are none: "\Q", "\c", "(*VERB", "(?#", "(?x". */
static bool is_opaque(struct span p, size_t i)
{
	char next = i + 1 < p.len ? p.ptr[i + 1] : 0;

	if (p.ptr[i] == '\\')
		return next == 'Q' || next == 'c';
	if (next == '?')
		return i + 2 >= p.len || !memchr(":=!<>P", p.ptr[i + 2], 6);
	return next == '*';
}

/* Maybe a '|' that is in no group and no class: then '^' speaks only for the first alternative. */
static bool may_have_alternatives(struct span p)
{
	unsigned depth = 0;

	for (size_t i = 0; i < p.len; i++) {
		char c = p.ptr[i];

		if ((c == '\\' || c == '(') && is_opaque(p, i))
			return true;
		if (c == '|' && !depth)
			return true;
		if (c == '\\') {
			i++;
		} else if (c == '[') {
			i = class_skip(p, i);
			if (i >= p.len)
				return true;
		} else if (c == '(') {
			depth++;
		} else if (c == ')') {
			depth -= depth > 0;
		}
	}
	return memmem(p.ptr, p.len, "\\Q", 2) != NULL; /* also in a class */
}

static struct span literal_prefix_of(struct span p, struct arena *a)
{
	char *text;
	size_t len = 0;

	if (!p.len || p.ptr[0] != '^' || may_have_alternatives(p))
		return (struct span){ 0 };
	text = arena_alloc(a, p.len);
	for (size_t i = 1; i < p.len; i++) {
		char c = p.ptr[i];

		if (c == '\\') {
			/* An escaped letter or digit has a meaning; escaped punctuation is itself. */
			if (i + 1 == p.len || !is_punctuation(p.ptr[i + 1]))
				break;
			c = p.ptr[++i];
		} else if (is_metachar(c)) {
			break;
		}
		/* What follows may make it optional or repeat it. */
		if (i + 1 < p.len && memchr("?*{", p.ptr[i + 1], 3))
			break;
		text[len++] = c;
	}
	return span_of(text, len);
}

int regex_compile(struct regex **out, struct span pattern, struct arena *a, const char **out_error)
{
	const uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C;
	struct regex *re;
	pcre2_code *code;
	PCRE2_SIZE at;
	int err;

	if (pattern.len > REGEX_PATTERN_MAX) {
		*out_error = arena_printf(a, "longer than %d bytes", REGEX_PATTERN_MAX);
		return -EINVAL;
	}
	code = pcre2_compile((PCRE2_SPTR)(pattern.len ? pattern.ptr : ""), pattern.len, options, &err, &at,
			     NULL);
	if (!code) {
		PCRE2_UCHAR text[128];

		pcre2_get_error_message(err, text, sizeof(text));
		*out_error = arena_printf(a, "%s at offset %zu", (const char *)text, (size_t)at);
		return -EINVAL;
	}
	/* Refused where memory may not be both written and executed: then it is interpreted. */
	(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	re = arena_alloc(a, sizeof(*re));
	re->code = code;
	re->literal_prefix = literal_prefix_of(pattern, a);
	arena_on_reset(a, regex_free, re);
	*out = re;
	return 0;
}

struct span regex_literal_prefix(const struct regex *re)
{
	return re->literal_prefix;
}

struct regex_scratch *regex_scratch_new(void)
{
	struct regex_scratch *s = mem_zalloc(sizeof(*s));

	s->data = pcre2_match_data_create(1, NULL);
	s->context = pcre2_match_context_create(NULL);
	CHECK(s->data && s->context);
	pcre2_set_match_limit(s->context, REGEX_MATCH_LIMIT);
	pcre2_set_depth_limit(s->context, REGEX_DEPTH_LIMIT);
	pcre2_set_heap_limit(s->context, REGEX_HEAP_LIMIT_KIB);
	return s;
}

void regex_scratch_free(struct regex_scratch *s)
{
	if (!s)
		return;
	pcre2_match_data_free(s->data);
	pcre2_match_context_free(s->context);
	free(s);
}

uint64_t regex_scratch_limit_hits(const struct regex_scratch *s)
{
	return s->limit_hits;
}

bool regex_matches(const struct regex *re, struct regex_scratch *s, struct span subject)
{
	int found;

	if (!span_starts(subject, re->literal_prefix))
		return false;
	found = pcre2_match(re->code, (PCRE2_SPTR)(subject.len ? subject.ptr : ""), subject.len, 0, 0,
			    s->data, s->context);
	if (found < 0 && found != PCRE2_ERROR_NOMATCH)
		s->limit_hits++;
	return found >= 0;
}
