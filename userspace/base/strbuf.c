/* SPDX-License-Identifier: GPL-2.0-only */
/* strbuf.c - a growing byte buffer. */
#include "base/strbuf.h"

#include "base/check.h"
#include "base/decimal.h"
#include "base/mem.h"

#define STRBUF_SIZE_MIN 64

/* What `ptr` is before the first byte: read as "", never written, because size is 0. */
static char empty[1];

void strbuf_init(struct strbuf *b)
{
	*b = (struct strbuf){ .ptr = empty };
}

void strbuf_fini(struct strbuf *b)
{
	if (!b)
		return;
	if (b->size)
		free(b->ptr);
	strbuf_init(b);
}

void strbuf_reset(struct strbuf *b)
{
	b->len = 0;
	if (b->size)
		b->ptr[0] = '\0';
	else
		b->ptr = empty;
}

void strbuf_reserve(struct strbuf *b, size_t extra)
{
	size_t need, size;

	CHECK(!__builtin_add_overflow(b->len, extra, &need) && need < SIZE_MAX / 4);
	need++; /* the terminating 0 */
	if (need <= b->size)
		return;
	size = MAX(b->size + b->size / 2, STRBUF_SIZE_MIN);
	size = MAX(size, need);
	b->ptr = mem_resize(b->size ? b->ptr : NULL, size, 1);
	b->size = size;
	b->ptr[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const void *data, size_t len)
{
	strbuf_reserve(b, len);
	if (len)
		memcpy(b->ptr + b->len, data, len);
	b->len += len;
	b->ptr[b->len] = '\0';
}

void strbuf_add_span(struct strbuf *b, struct span s)
{
	strbuf_add(b, s.ptr, s.len);
}

void strbuf_add_str(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}

void strbuf_add_char(struct strbuf *b, char c)
{
	strbuf_add(b, &c, 1);
}

void strbuf_add_u64(struct strbuf *b, uint64_t v)
{
	char digits[DECIMAL_MAX], *end = digits + sizeof(digits), *begin = decimal_before(end, v);

	strbuf_add(b, begin, (size_t)(end - begin));
}

void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	strbuf_reserve(b, STRBUF_SIZE_MIN);
	len = vsnprintf(b->ptr + b->len, b->size - b->len, fmt, ap);
	CHECK(len >= 0);
	if ((size_t)len >= b->size - b->len) {
		strbuf_reserve(b, (size_t)len);
		len = vsnprintf(b->ptr + b->len, b->size - b->len, fmt, again);
		CHECK(len >= 0 && (size_t)len < b->size - b->len);
	}
	b->len += (size_t)len;
	va_end(again);
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(b, fmt, ap);
	va_end(ap);
}

char *strbuf_detach(struct strbuf *b)
{
	char *s = b->size ? b->ptr : mem_strdup("");

	strbuf_init(b);
	return s;
}
