/* SPDX-License-Identifier: GPL-2.0-only */
/* describe.c - the tables as JSON and as plain text. */
#include "schema/describe.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "schema/describe_text.h"
#include "schema/schema_read.h"

const char *describe_type(enum schema_type type)
{
	static const char *const names[SCHEMA_TYPE_COUNT] = {
		[SCHEMA_NONE] = "none",		[SCHEMA_BOOL] = "bool",		[SCHEMA_UINT] = "number",
		[SCHEMA_INT] = "number",	[SCHEMA_FLOAT] = "decimal",	[SCHEMA_STRING] = "string",
		[SCHEMA_PATH] = "path",		[SCHEMA_FILE] = "file",		[SCHEMA_REGEX] = "regex",
		[SCHEMA_ENUM] = "word",		[SCHEMA_FLAGS] = "words",	[SCHEMA_DURATION] = "duration",
		[SCHEMA_SIZE] = "size",		[SCHEMA_RATE] = "rate",		[SCHEMA_ADDR] = "address",
		[SCHEMA_ENDPOINT] = "endpoint", [SCHEMA_STRINGS] = "strings",	[SCHEMA_UINTS] = "numbers",
		[SCHEMA_CIDRS] = "networks",	[SCHEMA_MAP] = "map",		[SCHEMA_EMBEDDED] = "block",
		[SCHEMA_OPTIONAL] = "block",	[SCHEMA_LIST] = "blocks",	[SCHEMA_VARIANTS] = "blocks",
		[SCHEMA_GROUP] = "block",	[SCHEMA_CUSTOM] = "custom",	[SCHEMA_LATER] = "later",
	};

	return names[type];
}

const struct schema_row *describe_rows_below(const struct schema_row *row)
{
	if (row->flags & SCHEMA_ELSEWHERE)
		return NULL;
	switch (row->type) {
	case SCHEMA_EMBEDDED:
	case SCHEMA_OPTIONAL:
	case SCHEMA_LIST:
		return row->block->rows;
	case SCHEMA_GROUP:
		return row->rows;
	default:
		return NULL;
	}
}

bool describe_is_skipped(const struct schema_row *row)
{
	return (row->flags & SCHEMA_HIDDEN) || row->type == SCHEMA_LATER;
}

/* Phrases */

static void words_form(const struct schema_word *words, struct strbuf *out)
{
	const char *before = "";

	for (const struct schema_word *word = words; word && word->name; word++) {
		if (word->is_later)
			continue;
		strbuf_printf(out, "%s%s", before, word->name);
		before = " | ";
	}
}

static void block_form(const struct schema_row *rows, struct strbuf *out)
{
	for (const struct schema_row *row = rows; row && row->name; row++) {
		if (row->flags & SCHEMA_ARG)
			strbuf_printf(out, (row->flags & SCHEMA_REQUIRED) ? "\"%s\" " : "[\"%s\"] ", row->name);
	}
	strbuf_add_str(out, "{ ... }");
}

void describe_form(const struct schema_row *row, struct strbuf *out)
{
	switch (row->type) {
	case SCHEMA_BOOL:
		strbuf_add_str(out, "#true | #false");
		break;
	case SCHEMA_ENUM:
		words_form(row->words, out);
		break;
	case SCHEMA_FLAGS:
		strbuf_add_str(out, "any of ");
		words_form(row->words, out);
		break;
	case SCHEMA_UINT:
	case SCHEMA_INT:
	case SCHEMA_DURATION:
	case SCHEMA_SIZE:
		strbuf_add_str(out, describe_type(row->type));
		if (row->words) {
			strbuf_add_str(out, " | ");
			words_form(row->words, out);
		}
		break;
	case SCHEMA_ADDR:
		strbuf_add_str(out, "\"ip:port\"");
		break;
	case SCHEMA_ENDPOINT:
		strbuf_add_str(out, "\"host:port\"");
		break;
	case SCHEMA_STRINGS:
		strbuf_add_str(out, "\"string\" ...");
		break;
	case SCHEMA_UINTS:
		strbuf_add_str(out, "number ...");
		break;
	case SCHEMA_CIDRS:
		strbuf_add_str(out, "\"network\" ...");
		break;
	case SCHEMA_MAP:
		strbuf_add_str(out, "{ name \"value\"; ... }");
		break;
	case SCHEMA_VARIANTS:
		strbuf_printf(out, "\"id\" { %s ...; ... }", row->variants->selector);
		break;
	case SCHEMA_EMBEDDED:
	case SCHEMA_OPTIONAL:
	case SCHEMA_LIST:
	case SCHEMA_GROUP:
		block_form(describe_rows_below(row), out);
		break;
	case SCHEMA_CUSTOM:
		strbuf_add_str(out, row->value_text);
		break;
	default:
		strbuf_printf(out, "\"%s\"", describe_type(row->type));
		break;
	}
}

static bool has_bounds(const struct schema_row *row)
{
	return row->type == SCHEMA_UINT || row->type == SCHEMA_INT || row->type == SCHEMA_UINTS ||
	       row->type == SCHEMA_DURATION || row->type == SCHEMA_SIZE;
}

static void bound_add(const struct schema_row *row, int64_t bound, struct strbuf *out)
{
	char text[VALUE_TEXT_MAX];

	if (row->type == SCHEMA_DURATION)
		strbuf_add_str(out, value_duration_text(text, (uint64_t)bound));
	else if (row->type == SCHEMA_SIZE)
		strbuf_add_str(out, value_size_text(text, (uint64_t)bound));
	else
		strbuf_printf(out, "%" PRId64, bound);
}

static void aliases_add(const struct schema_row *row, struct strbuf *out)
{
	const char *aliases = row->aliases;
	const char *before = "Also written ";
	struct span alias;
	bool is_deprecated;

	while (schema_alias_next(&aliases, &alias, &is_deprecated)) {
		strbuf_printf(out, "%s" SPAN_FMT "%s", before, SPAN_ARG(alias), is_deprecated ? " (deprecated)" : "");
		before = ", ";
	}
	if (*before == ',')
		strbuf_add_str(out, ". ");
}

void describe_facts(const struct schema_row *row, struct strbuf *out)
{
	if (row->default_text)
		strbuf_printf(out, "Default: %s. ", row->default_text);
	if (has_bounds(row)) {
		strbuf_add_str(out, "From ");
		bound_add(row, row->min, out);
		strbuf_add_str(out, " to ");
		bound_add(row, row->max, out);
		strbuf_add_str(out, ". ");
	} else if (row->type == SCHEMA_FLOAT) {
		strbuf_printf(out, "From %g to %g. ", row->float_min, row->float_max);
	}
	if (row->type == SCHEMA_DURATION && row->unit_ms == SCHEMA_SECONDS)
		strbuf_add_str(out, "A bare number is in seconds. ");
	else if (row->type == SCHEMA_DURATION)
		strbuf_add_str(out, "A bare number is in milliseconds. ");
	if (row->flags & SCHEMA_REQUIRED)
		strbuf_add_str(out, "Required. ");
	if (row->flags & SCHEMA_ARG_ONLY)
		strbuf_add_str(out, "Written as a value on the line of the block. ");
	else if (row->flags & SCHEMA_ARG)
		strbuf_add_str(out, "May also be a value on the line of the block. ");
	if (row->flags & SCHEMA_PROP)
		strbuf_printf(out, "May also be written %s=value. ", row->name);
	if (row->type == SCHEMA_LIST || row->type == SCHEMA_VARIANTS || (row->flags & SCHEMA_REPEAT))
		strbuf_add_str(out, "May be repeated. ");
	if (row->flags & SCHEMA_SECRET)
		strbuf_add_str(out, "A secret: never printed. ");
	aliases_add(row, out);
	if (out->len > 0 && out->ptr[out->len - 1] == ' ')
		out->ptr[--out->len] = 0;
}

/* JSON */

static void rows_json(struct json *j, const struct schema_row *rows, const char *path, unsigned depth);

static void words_json(struct json *j, const struct schema_word *words)
{
	json_array(j, "words");
	for (const struct schema_word *word = words; word->name; word++) {
		const char *aliases = word->aliases;
		struct span alias;
		bool is_deprecated;

		if (word->is_later)
			continue;
		json_object(j, NULL);
		json_str(j, "name", word->name);
		if (aliases) {
			json_array(j, "aliases");
			while (schema_alias_next(&aliases, &alias, &is_deprecated))
				json_span(j, NULL, alias);
			json_end(j, ']');
		}
		if (word->help)
			json_str(j, "help", word->help);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void spellings_json(struct json *j, const struct schema_row *row)
{
	struct span alias;
	bool is_deprecated;

	for (int pass = 0; pass < 2; pass++) {
		const char *aliases = row->aliases;

		json_array(j, pass == 0 ? "aliases" : "deprecated");
		while (schema_alias_next(&aliases, &alias, &is_deprecated)) {
			if (is_deprecated == (pass == 1))
				json_span(j, NULL, alias);
		}
		json_end(j, ']');
	}
}

static void bounds_json(struct json *j, const struct schema_row *row)
{
	if (has_bounds(row)) {
		json_i64(j, "min", row->min);
		json_i64(j, "max", row->max);
	} else if (row->type == SCHEMA_FLOAT) {
		json_double(j, "min", row->float_min);
		json_double(j, "max", row->float_max);
	}
	if (row->type == SCHEMA_DURATION)
		json_str(j, "unit", row->unit_ms == SCHEMA_SECONDS ? "s" : "ms");
}

static void variants_json(struct json *j, const struct schema_row *row, const char *path, unsigned depth)
{
	json_str(j, "selector", row->variants->selector);
	json_array(j, "variants");
	for (const struct schema_block *const *b = row->variants->blocks; *b; b++) {
		if ((*b)->is_later)
			continue;
		json_object(j, NULL);
		json_str(j, "name", (*b)->name);
		json_str(j, "help", (*b)->help);
		json_array(j, "keys");
		rows_json(j, (*b)->rows, path, depth + 2);
		json_end(j, ']');
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void row_json(struct json *j, const struct schema_row *row, const char *path, unsigned depth)
{
	const struct schema_row *below = describe_rows_below(row);
	struct strbuf form;

	strbuf_init(&form);
	describe_form(row, &form);
	json_object(j, NULL);
	json_str(j, "path", path);
	json_str(j, "name", row->name);
	spellings_json(j, row);
	json_str(j, "type", describe_type(row->type));
	json_span(j, "form", strbuf_span(&form));
	json_str(j, "default", row->default_text);
	bounds_json(j, row);
	json_bool(j, "required", row->flags & SCHEMA_REQUIRED);
	json_bool(j, "secret", row->flags & SCHEMA_SECRET);
	json_str(j, "help", row->help);
	if (row->words)
		words_json(j, row->words);
	if (row->type == SCHEMA_VARIANTS)
		variants_json(j, row, path, depth);
	if (below) {
		json_array(j, "keys");
		rows_json(j, below, path, depth + 1);
		json_end(j, ']');
	}
	json_end(j, '}');
	strbuf_fini(&form);
}

static void rows_json(struct json *j, const struct schema_row *rows, const char *path, unsigned depth)
{
	CHECK(depth <= DESCRIBE_DEPTH_MAX);
	for (const struct schema_row *row = rows; row->name; row++) {
		struct strbuf inner;

		if (describe_is_skipped(row))
			continue;
		strbuf_init(&inner);
		strbuf_printf(&inner, "%s%s%s", path, *path ? "/" : "", row->name);
		row_json(j, row, inner.ptr, depth);
		strbuf_fini(&inner);
	}
}

void describe_json(const struct schema_block *root, struct strbuf *out)
{
	struct json j;

	json_init(&j, out, true);
	json_object(&j, NULL);
	json_array(&j, "keys");
	rows_json(&j, root->rows, "", 0);
	json_end(&j, ']');
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

/* Plain text */

/* Calls `visit` for every row, parents first. */
struct walk {
	void (*visit)(struct walk *w, const struct schema_row *row, struct span path);
	struct span key; /* what is looked for */
	struct strbuf *out;
	const char **names;
	size_t max, count;
};

static void rows_walk(struct walk *w, const struct schema_row *rows, struct strbuf *path, unsigned depth)
{
	CHECK(depth <= DESCRIBE_DEPTH_MAX);
	for (const struct schema_row *row = rows; row->name; row++) {
		const struct schema_row *below = describe_rows_below(row);
		size_t len = path->len;

		if (describe_is_skipped(row))
			continue;
		strbuf_printf(path, "%s%s", len ? "/" : "", row->name);
		w->visit(w, row, strbuf_span(path));
		if (below)
			rows_walk(w, below, path, depth + 1);
		for (size_t i = 0; row->type == SCHEMA_VARIANTS && row->variants->blocks[i]; i++) {
			const struct schema_block *block = row->variants->blocks[i];
			size_t inner = path->len;

			if (block->is_later)
				continue;
			strbuf_printf(path, "(%s)", block->name);
			rows_walk(w, block->rows, path, depth + 1);
			path->ptr[path->len = inner] = 0;
		}
		path->ptr[path->len = len] = 0;
	}
}

static void walk_run(struct walk *w, const struct schema_block *root)
{
	struct strbuf path;

	strbuf_init(&path);
	rows_walk(w, root->rows, &path, 0);
	strbuf_fini(&path);
}

static void line_visit(struct walk *w, const struct schema_row *row, struct span path)
{
	strbuf_add_span(w->out, path);
	strbuf_add_char(w->out, ' ');
	describe_form(row, w->out);
	strbuf_add_char(w->out, '\n');
	w->count++;
}

/* The path's last parts are the key's, with / or . between them. */
static bool is_path_end(struct span path, struct span key)
{
	if (key.len > path.len)
		return false;
	for (size_t i = 0; i < key.len; i++) {
		char k = key.ptr[i] == '.' ? '/' : key.ptr[i];

		if (path.ptr[path.len - key.len + i] != k)
			return false;
	}
	return key.len == path.len || path.ptr[path.len - key.len - 1] == '/';
}

static void words_text(const struct schema_word *words, struct strbuf *out)
{
	for (const struct schema_word *word = words; word && word->name; word++) {
		if (!word->is_later && word->help)
			strbuf_printf(out, "    %s: %s\n", word->name, word->help);
	}
}

static void key_visit(struct walk *w, const struct schema_row *row, struct span path)
{
	const struct schema_row *below = describe_rows_below(row);
	struct strbuf facts;
	bool is_deprecated;

	if (!is_path_end(path, w->key) && !schema_row_is(row, w->key, &is_deprecated))
		return;
	if (w->count++)
		strbuf_add_char(w->out, '\n');
	strbuf_init(&facts);
	strbuf_add_span(w->out, path);
	strbuf_add_char(w->out, ' ');
	describe_form(row, w->out);
	strbuf_printf(w->out, "\n    %s\n", row->help ? row->help : "");
	describe_facts(row, &facts);
	if (facts.len > 0)
		strbuf_printf(w->out, "    %s\n", facts.ptr);
	words_text(row->words, w->out);
	for (; below && below->name; below++) {
		if (describe_is_skipped(below))
			continue;
		strbuf_printf(w->out, "    %s ", below->name);
		describe_form(below, w->out);
		strbuf_add_char(w->out, '\n');
	}
	strbuf_fini(&facts);
}

size_t describe_text(const struct schema_block *root, struct span key, struct strbuf *out)
{
	struct walk w = { .visit = key.len > 0 ? key_visit : line_visit, .key = key, .out = out };

	walk_run(&w, root);
	return w.count;
}

static void name_visit(struct walk *w, const struct schema_row *row, struct span path)
{
	(void)path;
	if (w->count < w->max)
		w->names[w->count] = row->name;
	w->count++;
}

size_t describe_names(const struct schema_block *root, const char **out_names, size_t max)
{
	struct walk w = { .visit = name_visit, .names = out_names, .max = max };

	walk_run(&w, root);
	return w.count;
}
