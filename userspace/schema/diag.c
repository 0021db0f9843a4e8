/* SPDX-License-Identifier: GPL-2.0-only */
/* diag.c - what is wrong with a configuration: collecting it, and finding what was meant. */
#include "schema/diag.h"

#include <stdarg.h>
#include <string.h>

#include "base/check.h"
#include "schema/diag_line.h"

#define WORD_MAX 64 /* longer words get no suggestion */

void diag_init(struct diag *d, const struct source_set *sources)
{
	*d = (struct diag){ .sources = sources };
	arena_init(&d->arena, 4096);
	d->tail = &d->items;
}

void diag_fini(struct diag *d)
{
	if (!d)
		return;
	arena_fini(&d->arena);
	*d = (struct diag){ 0 };
}

static const char *text_format(struct diag *d, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static const char *text_format(struct diag *d, const char *fmt, va_list ap)
{
	struct strbuf b;
	char *text;

	strbuf_init(&b);
	strbuf_vprintf(&b, fmt, ap);
	text = arena_strndup(&d->arena, b.ptr, b.len);
	strbuf_fini(&b);
	return text;
}

static struct diag_item *item_add(struct diag *d, enum diag_severity severity, struct schema_pos pos)
{
	unsigned *count = severity == DIAG_ERROR ? &d->error_count : &d->warning_count;
	struct diag_item *item;

	if (++*count > DIAG_ERRORS_MAX)
		return NULL;
	item = arena_zalloc(&d->arena, sizeof(*item));
	item->severity = severity;
	item->pos = pos;
	*d->tail = item;
	d->tail = &item->next;
	return item;
}

struct diag_item *diag_error(struct diag *d, struct schema_pos pos, const char *fmt, ...)
{
	struct diag_item *item = item_add(d, DIAG_ERROR, pos);
	va_list ap;

	if (!item)
		return NULL;
	va_start(ap, fmt);
	item->message = text_format(d, fmt, ap);
	va_end(ap);
	return item;
}

struct diag_item *diag_warning(struct diag *d, struct schema_pos pos, const char *fmt, ...)
{
	struct diag_item *item = item_add(d, DIAG_WARNING, pos);
	va_list ap;

	if (!item)
		return NULL;
	va_start(ap, fmt);
	item->message = text_format(d, fmt, ap);
	va_end(ap);
	return item;
}

void diag_hint(struct diag *d, struct diag_item *item, const char *fmt, ...)
{
	va_list ap;

	if (!item)
		return;
	va_start(ap, fmt);
	item->hint = text_format(d, fmt, ap);
	va_end(ap);
}

void diag_note(struct diag *d, struct diag_item *item, struct schema_pos pos, const char *fmt, ...)
{
	va_list ap;

	if (!item)
		return;
	va_start(ap, fmt);
	item->note = text_format(d, fmt, ap);
	va_end(ap);
	item->note_pos = pos;
}

void diag_suggest(struct diag *d, struct diag_item *item, struct span word,
		  const char *const *candidates, size_t count)
{
	const char *closest = item ? diag_closest(word, candidates, count) : NULL;

	if (closest)
		diag_hint(d, item, "did you mean \"%s\"?", closest);
}

void diag_hide(struct diag *d, struct schema_pos pos)
{
	struct diag_line *line = arena_zalloc(&d->arena, sizeof(*line));

	line->file = pos.file;
	line->line = pos.line;
	line->next = d->hidden;
	d->hidden = line;
}

static unsigned char fold(char c)
{
	if (c == '_')
		return '-';
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Insertions, deletions, replacements and swaps of neighbours; both at most WORD_MAX bytes. */
static unsigned edit_distance(struct span a, struct span b)
{
	unsigned rows[3][WORD_MAX + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		above[j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b.len; j++) {
			bool is_same = fold(a.ptr[i - 1]) == fold(b.ptr[j - 1]);
			unsigned cost = above[j - 1] + !is_same;

			cost = MIN(cost, MIN(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && fold(a.ptr[i - 1]) == fold(b.ptr[j - 2]) &&
			    fold(a.ptr[i - 2]) == fold(b.ptr[j - 1]))
				cost = MIN(cost, before[j - 2] + 1);
			row[j] = cost;
		}
		before = above;
		above = row;
		row = spare;
	}
	return above[b.len];
}

const char *diag_closest(struct span word, const char *const *candidates, size_t count)
{
	unsigned best = (unsigned)(word.len + 2) / 3; /* a third of the word may be wrong */
	const char *closest = NULL;

	if (word.len == 0 || word.len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		struct span candidate = span_str(candidates[i]);
		unsigned distance;

		if (candidate.len == 0 || candidate.len > WORD_MAX)
			continue;
		distance = edit_distance(word, candidate);
		if (distance < best || (distance == best && !closest)) {
			best = distance;
			closest = candidates[i];
		}
	}
	/* "a" and "b" have nothing in common. */
	return closest && best < word.len ? closest : NULL;
}
