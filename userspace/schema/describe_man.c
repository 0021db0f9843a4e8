/* SPDX-License-Identifier: GPL-2.0-only */
/* describe_man.c - the tables as a man page in mdoc(7). */
#include <ctype.h>
#include <string.h>

#include "base/check.h"
#include "schema/describe_text.h"

#define LINE_MAX_BYTES 76

/* One word of running text: what roff would interpret is escaped. */
static void word_add(struct strbuf *out, struct span word, bool is_line_start)
{
	if (is_line_start && (word.ptr[0] == '.' || word.ptr[0] == '\''))
		strbuf_add_str(out, "\\&");
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] == '\\')
			strbuf_add_str(out, "\\e");
		else
			strbuf_add_char(out, word.ptr[i]);
	}
}

static bool is_sentence_end(struct span word)
{
	char last = word.ptr[word.len - 1];

	return last == '.' || last == '!' || last == '?';
}

/* Running text: a line for each sentence, none too long.  Ends with a newline if there was a word. */
static void text_add(struct strbuf *out, const char *text)
{
	struct span rest = span_str(text);
	struct span word;
	size_t used = 0;

	while (span_next(&rest, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (used > 0 && used + word.len + 1 > LINE_MAX_BYTES) {
			strbuf_add_char(out, '\n');
			used = 0;
		}
		if (used > 0)
			strbuf_add_char(out, ' ');
		word_add(out, word, used == 0);
		used += word.len + 1;
		if (is_sentence_end(word)) {
			strbuf_add_char(out, '\n');
			used = 0;
		}
	}
	if (used > 0)
		strbuf_add_char(out, '\n');
}

/* An argument of a macro: quoted, and no macro name or delimiter itself. */
static void argument_add(struct strbuf *out, const char *text)
{
	strbuf_add_str(out, "\"\\&");
	for (; *text; text++) {
		if (*text == '"')
			strbuf_add_str(out, "\\(dq");
		else if (*text == '\\')
			strbuf_add_str(out, "\\e");
		else if (*text == '-')
			strbuf_add_str(out, "\\-");
		else
			strbuf_add_char(out, *text);
	}
	strbuf_add_char(out, '"');
}

static void words_man(struct strbuf *out, const struct schema_word *words)
{
	bool has_help = false;

	for (const struct schema_word *word = words; word && word->name; word++)
		has_help = has_help || (word->help && !word->is_later);
	if (!has_help)
		return;
	strbuf_add_str(out, ".Bl -tag -width Ds -compact\n");
	for (const struct schema_word *word = words; word->name; word++) {
		if (word->is_later)
			continue;
		strbuf_add_str(out, ".It Cm ");
		argument_add(out, word->name);
		strbuf_add_char(out, '\n');
		text_add(out, word->help ? word->help : "");
	}
	strbuf_add_str(out, ".El\n");
}

static void row_man(struct strbuf *out, const struct schema_row *row)
{
	struct strbuf form, facts;

	strbuf_init(&form);
	strbuf_init(&facts);
	describe_form(row, &form);
	describe_facts(row, &facts);
	strbuf_add_str(out, ".It Ic ");
	argument_add(out, row->name);
	strbuf_add_str(out, " No ");
	argument_add(out, form.ptr);
	strbuf_add_char(out, '\n');
	text_add(out, row->help ? row->help : "");
	text_add(out, facts.ptr);
	words_man(out, row->words);
	strbuf_fini(&form);
	strbuf_fini(&facts);
}

static bool has_rows(const struct schema_row *rows)
{
	for (; rows->name; rows++) {
		if (!describe_is_skipped(rows))
			return true;
	}
	return false;
}

static void section_man(struct strbuf *out, const struct schema_row *rows, struct span path, const char *help,
			unsigned depth);

/* A section for every block below these rows. */
static void below_man(struct strbuf *out, const struct schema_row *rows, struct span path, unsigned depth)
{
	for (const struct schema_row *row = rows; row->name; row++) {
		const struct schema_row *below = describe_rows_below(row);
		struct strbuf inner;
		size_t len;

		if (describe_is_skipped(row) || (!below && row->type != SCHEMA_VARIANTS))
			continue;
		strbuf_init(&inner);
		strbuf_printf(&inner, SPAN_FMT "%s%s", SPAN_ARG(path), path.len ? " / " : "", row->name);
		len = inner.len;
		if (below)
			section_man(out, below, strbuf_span(&inner), row->help, depth + 1);
		for (size_t i = 0; !below && row->variants->blocks[i]; i++) {
			const struct schema_block *block = row->variants->blocks[i];

			inner.ptr[inner.len = len] = 0;
			strbuf_printf(&inner, " (%s %s)", row->variants->selector, block->name);
			if (!block->is_later)
				section_man(out, block->rows, strbuf_span(&inner), block->help, depth + 1);
		}
		strbuf_fini(&inner);
	}
}

static void section_man(struct strbuf *out, const struct schema_row *rows, struct span path, const char *help,
			unsigned depth)
{
	CHECK(depth <= DESCRIBE_DEPTH_MAX);
	if (path.len > 0) {
		struct strbuf title;

		strbuf_init(&title);
		strbuf_add_span(&title, path);
		strbuf_add_str(out, ".Ss ");
		argument_add(out, title.ptr);
		strbuf_add_char(out, '\n');
		strbuf_fini(&title);
		text_add(out, help ? help : "");
	}
	if (has_rows(rows)) {
		strbuf_add_str(out, ".Bl -tag -width Ds\n");
		for (const struct schema_row *row = rows; row->name; row++) {
			if (!describe_is_skipped(row))
				row_man(out, row);
		}
		strbuf_add_str(out, ".El\n");
	}
	below_man(out, rows, path, depth);
}

void describe_man(const struct describe_page *page, const struct schema_block *root, struct strbuf *out)
{
	strbuf_printf(out, ".\\\" Generated from the tables of the program; do not edit.\n.Dd %s\n.Dt ", page->date);
	for (const char *c = page->name; *c; c++)
		strbuf_add_char(out, (char)toupper((unsigned char)*c));
	strbuf_printf(out, " %s\n.Os\n.Sh NAME\n.Nm %s\n.Nd %s\n.Sh DESCRIPTION\n", page->section, page->name,
		      page->summary);
	strbuf_add_str(out, page->intro ? page->intro : "");
	strbuf_add_str(out, ".Sh KEYS\n");
	section_man(out, root->rows, SPAN(""), NULL, 0);
	strbuf_add_str(out, page->outro ? page->outro : "");
}
