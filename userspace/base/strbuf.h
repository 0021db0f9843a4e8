/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * strbuf.h - a growing byte buffer.
 * Invariant: after init, `ptr` is never NULL and ptr[len] == 0.  Zero-initialise, or strbuf_init().
 * Appending never fails (out of memory aborts); the caller bounds what it appends.
 */
#ifndef SN_BASE_STRBUF_H
#define SN_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>

#include "base/span.h"

struct strbuf {
	char *ptr;  /* owned */
	size_t len; /* without the terminating 0 */
	size_t size;
};

void strbuf_init(struct strbuf *b);
void strbuf_fini(struct strbuf *b); /* NULL ok */
void strbuf_reset(struct strbuf *b); /* len = 0, memory kept */
void strbuf_reserve(struct strbuf *b, size_t extra);
void strbuf_add(struct strbuf *b, const void *data, size_t len);
void strbuf_add_span(struct strbuf *b, struct span s);
void strbuf_add_str(struct strbuf *b, const char *s);
void strbuf_add_char(struct strbuf *b, char c);
void strbuf_add_u64(struct strbuf *b, uint64_t v);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* The bytes as a malloc'd string now owned by the caller; b is empty afterwards. */
char *strbuf_detach(struct strbuf *b);
static inline struct span strbuf_span(const struct strbuf *b)
{
	return (struct span){ b->ptr, b->len };
}

#endif
