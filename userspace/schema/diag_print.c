/* SPDX-License-Identifier: GPL-2.0-only */
/* diag_print.c - diagnostics as text for a terminal and as JSON. */
#include <stdlib.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "schema/diag.h"
#include "schema/diag_line.h"
#include "schema/source.h"

#define LINE_BEFORE 60 /* code points of a long line shown before the caret ... */
#define LINE_AFTER 80  /* ... and from it on */

struct ordered {
	const struct diag_item *item;
	unsigned number; /* of arrival */
};

static int pos_compare(struct schema_pos a, struct schema_pos b)
{
	if (a.file != b.file)
		return a.file < b.file ? -1 : 1;
	if (a.line != b.line)
		return a.line < b.line ? -1 : 1;
	if (a.col != b.col)
		return a.col < b.col ? -1 : 1;
	return 0;
}

static int item_compare(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int order = pos_compare(x->item->pos, y->item->pos);

	if (order)
		return order;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Kept items by place; the caller frees the array. */
static struct ordered *items_sort(const struct diag *d, size_t *out_count)
{
	struct ordered *list;
	size_t count = 0, n = 0;

	for (const struct diag_item *item = d->items; item; item = item->next)
		count++;
	list = mem_array(count ? count : 1, sizeof(*list));
	for (const struct diag_item *item = d->items; item; item = item->next, n++)
		list[n] = (struct ordered){ item, (unsigned)n };
	qsort(list, count, sizeof(*list), item_compare);
	*out_count = count;
	return list;
}

/* One character to a terminal: nothing that moves the cursor or changes its state. */
static size_t add_char(struct strbuf *out, struct span text)
{
	unsigned char c = (unsigned char)text.ptr[0];
	size_t n = utf8_sequence(text.ptr, text.len);
	bool is_c1 = n == 2 && c == 0xc2 && (unsigned char)text.ptr[1] < 0xa0;

	if (c == '\t')
		strbuf_add_char(out, ' ');
	else if (n == 0 || c < 0x20 || c == 0x7f || is_c1)
		strbuf_add_char(out, '?');
	else
		strbuf_add(out, text.ptr, n);
	return n ? n : 1;
}

static void add_clean(struct strbuf *out, const char *text)
{
	struct span rest = span_str(text);

	while (rest.len > 0)
		rest = span_skip(rest, add_char(out, rest));
}

static bool is_hidden(const struct diag *d, struct schema_pos pos)
{
	for (const struct diag_line *line = d->hidden; line; line = line->next) {
		if (line->file == pos.file && line->line == pos.line)
			return true;
	}
	return false;
}

static void add_place(const struct diag *d, struct schema_pos pos, struct strbuf *out)
{
	if (!d->sources || pos.file == 0)
		return;
	add_clean(out, source_path(d->sources, pos.file));
	if (pos.line > 0)
		strbuf_printf(out, ":%u:%u", pos.line, pos.col);
	strbuf_add_str(out, ": ");
}

/* The line and a caret under the place; of a long line only what is around it. */
static void add_excerpt(const struct diag *d, struct schema_pos pos, struct strbuf *out)
{
	uint32_t first = pos.col > LINE_BEFORE ? pos.col - LINE_BEFORE : 1;
	uint32_t last = pos.col + LINE_AFTER;
	uint32_t col = 1, width = 0;
	struct span rest;

	if (!d->sources || pos.line == 0 || is_hidden(d, pos))
		return;
	rest = source_line(d->sources, pos);
	if (rest.len == 0)
		return;
	strbuf_add_str(out, "    ");
	for (; rest.len > 0 && col < last; col++) {
		size_t n = utf8_sequence(rest.ptr, rest.len);

		if (col >= first)
			add_char(out, rest);
		rest = span_skip(rest, n ? n : 1);
	}
	strbuf_add_str(out, "\n    ");
	for (uint32_t i = first; i < pos.col; i++)
		strbuf_add_char(out, ' ');
	strbuf_add_char(out, '^');
	width = MIN(pos.width, MAX(col, pos.col + 1) - pos.col);
	for (uint32_t i = 1; i < width; i++)
		strbuf_add_char(out, '~');
	strbuf_add_char(out, '\n');
}

static void item_print(const struct diag *d, const struct diag_item *item, struct strbuf *out)
{
	add_place(d, item->pos, out);
	strbuf_add_str(out, item->severity == DIAG_ERROR ? "error: " : "warning: ");
	add_clean(out, item->message);
	strbuf_add_char(out, '\n');
	add_excerpt(d, item->pos, out);
	if (item->hint) {
		strbuf_add_str(out, "  hint: ");
		add_clean(out, item->hint);
		strbuf_add_char(out, '\n');
	}
	if (item->note) {
		strbuf_add_str(out, "  ");
		add_place(d, item->note_pos, out);
		strbuf_add_str(out, "note: ");
		add_clean(out, item->note);
		strbuf_add_char(out, '\n');
	}
}

static void add_rest(unsigned count, const char *what, struct strbuf *out)
{
	if (count > DIAG_ERRORS_MAX)
		strbuf_printf(out, "... and %u more %s%s\n", count - DIAG_ERRORS_MAX, what,
			      count - DIAG_ERRORS_MAX == 1 ? "" : "s");
}

void diag_print(const struct diag *d, struct strbuf *out)
{
	size_t count;
	struct ordered *list = items_sort(d, &count);

	for (size_t i = 0; i < count; i++)
		item_print(d, list[i].item, out);
	add_rest(d->error_count, "error", out);
	add_rest(d->warning_count, "warning", out);
	free(list);
}

static void json_place(const struct diag *d, struct json *j, struct schema_pos pos)
{
	json_str(j, "file", d->sources && pos.file ? source_path(d->sources, pos.file) : NULL);
	json_u64(j, "line", pos.line);
	json_u64(j, "col", pos.col);
	json_u64(j, "width", pos.width);
}

/* The first one by place. */
static void json_error(const struct diag *d, struct json *j, const struct ordered *list)
{
	struct strbuf text = { 0 };

	while (list->item->severity != DIAG_ERROR)
		list++;
	strbuf_init(&text);
	add_place(d, list->item->pos, &text);
	strbuf_add_str(&text, list->item->message);
	json_span(j, "error", strbuf_span(&text));
	strbuf_fini(&text);
}

void diag_print_json(const struct diag *d, struct strbuf *out)
{
	size_t count;
	struct ordered *list = items_sort(d, &count);
	struct json j;

	json_init(&j, out, false);
	json_object(&j, NULL);
	json_u64(&j, "errors", d->error_count);
	json_u64(&j, "warnings", d->warning_count);
	if (d->error_count)
		json_error(d, &j, list);
	json_array(&j, "diagnostics");
	for (size_t i = 0; i < count; i++) {
		const struct diag_item *item = list[i].item;

		json_object(&j, NULL);
		json_str(&j, "severity", item->severity == DIAG_ERROR ? "error" : "warning");
		json_place(d, &j, item->pos);
		json_str(&j, "message", item->message);
		if (item->hint)
			json_str(&j, "hint", item->hint);
		if (item->note) {
			json_object(&j, "note");
			json_place(d, &j, item->note_pos);
			json_str(&j, "message", item->note);
			json_end(&j, '}');
		}
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_end(&j, '}');
	free(list);
}
