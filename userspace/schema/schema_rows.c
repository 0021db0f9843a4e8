/* SPDX-License-Identifier: GPL-2.0-only */
/* schema_rows.c - looking things up in tables: spellings, words, where a member was written, its text. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "schema/schema_read.h"

bool schema_alias_next(const char **aliases, struct span *out_alias, bool *out_is_deprecated)
{
	const char *start = *aliases;
	size_t len;

	if (!start)
		return false;
	start += strspn(start, " ");
	*out_is_deprecated = *start == '!';
	start += *start == '!';
	len = strcspn(start, " ");
	*aliases = start + len;
	*out_alias = span_of(start, len);
	return len > 0;
}

bool schema_word_eq(struct span a, struct span b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		struct span x = span_of(a.ptr[i] == '_' ? "-" : a.ptr + i, 1);
		struct span y = span_of(b.ptr[i] == '_' ? "-" : b.ptr + i, 1);

		if (!span_eq_nocase(x, y))
			return false;
	}
	return true;
}

bool schema_row_is(const struct schema_row *row, struct span name, bool *out_is_deprecated)
{
	const char *aliases = row->aliases;
	struct span alias;
	bool is_deprecated;

	if (span_eq(name, span_str(row->name))) {
		*out_is_deprecated = false;
		return true;
	}
	while (schema_alias_next(&aliases, &alias, &is_deprecated)) {
		if (span_eq(name, alias)) {
			*out_is_deprecated = is_deprecated;
			return true;
		}
	}
	return false;
}

const struct schema_row *schema_row_find(const struct schema_row *rows, struct span name)
{
	bool is_deprecated;

	for (const struct schema_row *row = rows; row->name; row++) {
		if (schema_row_is(row, name, &is_deprecated))
			return row;
	}
	return NULL;
}

const struct schema_word *schema_word_find(const struct schema_word *words, struct span text)
{
	for (const struct schema_word *word = words; word && word->name; word++) {
		const char *aliases = word->aliases;
		struct span alias;
		bool is_deprecated;

		if (schema_word_eq(text, span_str(word->name)))
			return word;
		while (schema_alias_next(&aliases, &alias, &is_deprecated)) {
			if (schema_word_eq(text, alias))
				return word;
		}
	}
	return NULL;
}

const char *schema_word_text(const struct schema_word *words, int value)
{
	for (const struct schema_word *word = words; word && word->name; word++) {
		if (word->value == value)
			return word->name;
	}
	return NULL;
}

bool schema_type_is_multi(enum schema_type type)
{
	return type == SCHEMA_STRINGS || type == SCHEMA_UINTS || type == SCHEMA_CIDRS || type == SCHEMA_FLAGS;
}

bool schema_type_is_value(enum schema_type type)
{
	return type > SCHEMA_NONE && type < SCHEMA_MAP;
}

/* Where a member was written */

const struct schema_mark *schema_mark_find(const struct schema_meta *meta, size_t offset)
{
	for (const struct schema_marks *marks = meta->marks; marks; marks = marks->next) {
		for (size_t i = 0; marks->rows[i].name; i++) {
			enum schema_type type = marks->rows[i].type;

			if (type == SCHEMA_GROUP || type == SCHEMA_LATER || marks->rows[i].offset != offset)
				continue;
			if (schema_pos_is_set(marks->items[i].pos))
				return &marks->items[i];
		}
	}
	return NULL;
}

struct schema_pos schema_mark_pos(const struct schema_meta *meta, size_t offset)
{
	const struct schema_mark *mark = schema_mark_find(meta, offset);

	return mark ? mark->pos : meta->pos;
}

/* As the user would write it */

static uint64_t uint_load(const void *member, size_t size)
{
	switch (size) {
	case 1:
		return *(const uint8_t *)member;
	case 2:
		return *(const uint16_t *)member;
	case 4:
		return *(const uint32_t *)member;
	default:
		return *(const uint64_t *)member;
	}
}

static int64_t int_load(const void *member, size_t size)
{
	switch (size) {
	case 1:
		return *(const int8_t *)member;
	case 2:
		return *(const int16_t *)member;
	case 4:
		return *(const int32_t *)member;
	default:
		return *(const int64_t *)member;
	}
}

/* As KDL would read it again; control bytes never go to a terminal. */
static void quoted_print(const char *text, struct strbuf *out)
{
	strbuf_add_char(out, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			strbuf_printf(out, "\\%c", c);
		else if (c == '\n')
			strbuf_add_str(out, "\\n");
		else if (c < 0x20 || c == 0x7f)
			strbuf_printf(out, "\\u{%x}", c);
		else
			strbuf_add_char(out, *text);
	}
	strbuf_add_char(out, '"');
}

static void number_print(const struct schema_row *row, const void *member, struct strbuf *out)
{
	char text[VALUE_TEXT_MAX];
	uint64_t value = uint_load(member, row->size);

	if (value == 0 && row->default_text && strcmp(row->default_text, "none") == 0)
		strbuf_add_str(out, "none");
	else if (row->type == SCHEMA_DURATION)
		strbuf_add_str(out, value_duration_text(text, value));
	else if (row->type == SCHEMA_SIZE)
		strbuf_add_str(out, value_size_text(text, value));
	else if (row->type == SCHEMA_INT)
		strbuf_printf(out, "%" PRId64, int_load(member, row->size));
	else
		strbuf_add_u64(out, value);
}

static void words_print(const struct schema_row *row, const void *member, struct strbuf *out)
{
	unsigned value = (unsigned)uint_load(member, row->size);
	const char *before = "";

	if (row->type == SCHEMA_ENUM) {
		const char *text = schema_word_text(row->words, (int)value);

		strbuf_add_str(out, text ? text : "none");
		return;
	}
	for (const struct schema_word *word = row->words; word->name; word++) {
		if (word->value == 0 || (value & (unsigned)word->value) != (unsigned)word->value)
			continue;
		strbuf_printf(out, "%s%s", before, word->name);
		before = " ";
	}
	if (!*before)
		strbuf_add_str(out, "none");
}

static void list_print(const struct schema_row *row, const void *member, struct strbuf *out)
{
	const struct schema_strings *strings = member;
	const struct schema_uints *uints = member;
	const struct schema_cidrs *cidrs = member;
	char text[VALUE_TEXT_MAX];

	for (size_t i = 0; i < strings->count; i++) {
		if (i > 0)
			strbuf_add_char(out, ' ');
		if (row->type == SCHEMA_STRINGS)
			quoted_print(strings->items[i].text, out);
		else if (row->type == SCHEMA_UINTS)
			strbuf_add_u64(out, uints->items[i]);
		else
			strbuf_add_str(out, value_cidr_text(text, &cidrs->items[i]));
	}
	if (strings->count == 0)
		strbuf_add_str(out, "none");
}

static void map_print(const struct schema_map *map, struct strbuf *out)
{
	strbuf_add_char(out, '{');
	for (size_t i = 0; i < map->count; i++) {
		strbuf_add_char(out, ' ');
		quoted_print(map->items[i].name.text, out);
		strbuf_add_char(out, ' ');
		quoted_print(map->items[i].value.text, out);
		strbuf_add_char(out, ';');
	}
	strbuf_add_str(out, " }");
}

static void endpoint_print(const struct value_endpoint *endpoint, struct strbuf *out)
{
	if (!endpoint->host)
		strbuf_add_str(out, "none");
	else
		strbuf_printf(out, strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u", endpoint->host,
			      endpoint->port);
}

void schema_value_print(const struct schema_row *row, const void *config, struct strbuf *out)
{
	const void *member = schema_member(row, config);
	char text[VALUE_TEXT_MAX];

	if (row->flags & SCHEMA_SECRET) {
		strbuf_add_str(out, "***");
		return;
	}
	switch (row->type) {
	case SCHEMA_BOOL:
		strbuf_add_str(out, *(const bool *)member ? "#true" : "#false");
		break;
	case SCHEMA_UINT:
	case SCHEMA_INT:
	case SCHEMA_DURATION:
	case SCHEMA_SIZE:
		number_print(row, member, out);
		break;
	case SCHEMA_FLOAT:
		strbuf_printf(out, "%g", *(const double *)member);
		break;
	case SCHEMA_STRING:
	case SCHEMA_PATH:
	case SCHEMA_FILE:
	case SCHEMA_REGEX:
		if (*(const char *const *)member)
			quoted_print(*(const char *const *)member, out);
		else
			strbuf_add_str(out, "none");
		break;
	case SCHEMA_ENUM:
	case SCHEMA_FLAGS:
		words_print(row, member, out);
		break;
	case SCHEMA_RATE:
		strbuf_add_str(out, value_rate_text(text, *(const struct value_rate *)member));
		break;
	case SCHEMA_ADDR:
		strbuf_add_str(out, value_addr_text(text, member));
		break;
	case SCHEMA_ENDPOINT:
		endpoint_print(member, out);
		break;
	case SCHEMA_STRINGS:
	case SCHEMA_UINTS:
	case SCHEMA_CIDRS:
		list_print(row, member, out);
		break;
	case SCHEMA_MAP:
		map_print(member, out);
		break;
	default:
		break;
	}
}
