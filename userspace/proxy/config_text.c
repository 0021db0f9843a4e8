/* SPDX-License-Identifier: GPL-2.0-only */
/* config_text.c - a configuration as text: JSON for people and tools, and what a reload changed. */
#include "proxy/config.h"

#include "base/check.h"
#include "base/json.h"

static const void *member_of(const struct schema_row *row, const void *config)
{
	return (const char *)config + row->offset;
}

static const char *match_name(enum match_kind kind)
{
	static const char *const names[] = {
		[MATCH_PATH] = "path",
		[MATCH_PATH_PREFIX] = "path-prefix",
		[MATCH_PATH_REGEX] = "path-regex",
		[MATCH_HOST] = "host",
		[MATCH_HEADER] = "header",
		[MATCH_METHOD] = "method",
		[MATCH_QUERY_PARAM] = "query-param",
	};

	return names[kind];
}

/* ---- JSON: the rows say what there is ---- */

static void rows_json(struct json *j, const struct schema_row *rows, const void *config);

static void value_json(struct json *j, const struct schema_row *row, const void *config)
{
	const void *member = member_of(row, config);
	struct strbuf text = { 0 };

	if (row->flags & SCHEMA_SECRET)
		return;
	if (!row->default_text && (row->type == SCHEMA_SIZE || row->type == SCHEMA_DURATION) &&
	    !schema_mark_find(config, row->offset))
		return; /* not written, and there is no default */
	if (row->type == SCHEMA_BOOL) {
		json_bool(j, row->name, *(const bool *)member);
		return;
	}
	if (row->type == SCHEMA_STRINGS) {
		const struct schema_strings *list = member;

		json_array(j, row->name);
		for (size_t i = 0; i < list->count; i++)
			json_str(j, NULL, list->items[i].text);
		json_end(j, ']');
		return;
	}
	if (row->type == SCHEMA_STRING || row->type == SCHEMA_PATH || row->type == SCHEMA_FILE ||
	    row->type == SCHEMA_REGEX) {
		json_str(j, row->name, *(const char *const *)member);
		return;
	}
	schema_value_print(row, config, &text);
	json_str(j, row->name, text.ptr ? text.ptr : "");
	strbuf_fini(&text);
}

static void matches_json(struct json *j, const struct config_matches *matches)
{
	for (const struct config_match *m = matches->first; m; m = m->next) {
		json_object(j, NULL);
		if (m->name)
			json_str(j, "name", m->name);
		if (m->value)
			json_str(j, match_name(m->kind), m->value);
		else
			json_str(j, "kind", match_name(m->kind));
		json_end(j, '}');
	}
}

static void list_json(struct json *j, const char *key, const struct schema_row *row, const void *config)
{
	const char *items = *(const char *const *)member_of(row, config);
	size_t count = *(const size_t *)((const char *)config + row->count_offset);

	json_array(j, key);
	for (size_t i = 0; i < count; i++) {
		json_object(j, NULL);
		if (row->type == SCHEMA_LIST) {
			rows_json(j, row->block->rows, items + i * row->size);
		} else {
			const struct schema_variant *v =
				(const struct schema_variant *)(const void *)items + i;

			json_str(j, "id", v->id);
			json_str(j, row->variants->selector, v->block ? v->block->name : NULL);
			if (v->block && v->config)
				rows_json(j, v->block->rows, v->config);
		}
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void row_json(struct json *j, const struct schema_row *row, const void *config)
{
	const void *member = member_of(row, config);

	switch (row->type) {
	case SCHEMA_LATER:
	case SCHEMA_CUSTOM: /* shown by the group that holds them */
		break;
	case SCHEMA_EMBEDDED:
		json_object(j, row->name);
		rows_json(j, row->block->rows, member);
		json_end(j, '}');
		break;
	case SCHEMA_OPTIONAL:
		if (!*(const void *const *)member)
			break;
		json_object(j, row->name);
		rows_json(j, row->block->rows, *(const void *const *)member);
		json_end(j, '}');
		break;
	case SCHEMA_LIST:
	case SCHEMA_VARIANTS:
		list_json(j, row->name, row, config);
		break;
	case SCHEMA_GROUP:
		if (row->rows[0].type == SCHEMA_CUSTOM) { /* matches: the rows share one member */
			json_array(j, row->name);
			matches_json(j, member_of(&row->rows[0], config));
			json_end(j, ']');
		} else if (!(row->flags & SCHEMA_ELSEWHERE)) { /* listeners, routes ...: a list each */
			list_json(j, row->name, &row->rows[0], config);
		} /* what was in a namespace is in the lists of the file */
		break;
	default:
		value_json(j, row, config);
		break;
	}
}

static void rows_json(struct json *j, const struct schema_row *rows, const void *config)
{
	for (const struct schema_row *row = rows; row->name; row++) {
		/* `targets { target }` fills the list that `target` fills: once is enough */
		if (row->type == SCHEMA_GROUP && row != rows && row->rows[0].type == SCHEMA_LIST &&
		    schema_row_find(rows, span_str(row->rows[0].name)))
			continue;
		row_json(j, row, config);
	}
}

struct span config_json(const struct config *c, struct arena *a)
{
	struct strbuf text = { 0 };
	struct json j;
	struct span copy;

	json_init(&j, &text, true);
	json_object(&j, NULL);
	rows_json(&j, config_block()->rows, c);
	json_end(&j, '}');
	strbuf_add_char(&text, '\n');
	copy = arena_span(a, strbuf_span(&text));
	strbuf_fini(&text);
	return copy;
}

/* ---- what changed ---- */

static void block_text(const struct schema_block *block, const void *config, struct strbuf *out)
{
	struct json j;

	strbuf_reset(out);
	json_init(&j, out, false);
	json_object(&j, NULL);
	rows_json(&j, block->rows, config);
	json_end(&j, '}');
}

struct named {
	const char *id;
	const struct schema_block *block; /* NULL: there is nothing to compare */
	const void *config;
};

static struct named element_at(const struct schema_row *row, const struct config *c, size_t index)
{
	const char *items = *(const char *const *)member_of(row, c);

	if (row->type == SCHEMA_VARIANTS) {
		const struct schema_variant *v = (const struct schema_variant *)(const void *)items + index;

		return (struct named){ v->id, v->config ? v->block : NULL, v->config };
	}
	/* every element of these lists has its id right after its meta (config.h) */
	return (struct named){ *(const char *const *)(const void *)(items + index * row->size +
								    sizeof(struct schema_meta)),
			       row->block, items + index * row->size };
}

static bool element_find(const struct schema_row *row, const struct config *c, const char *id,
			 struct named *out)
{
	size_t count = *(const size_t *)((const char *)c + row->count_offset);

	for (size_t i = 0; i < count; i++) {
		struct named n = element_at(row, c, i);

		if (n.id && strcmp(n.id, id) == 0) {
			*out = n;
			return true;
		}
	}
	return false;
}

static bool named_eq(const struct named *a, const struct named *b)
{
	struct strbuf x = { 0 }, y = { 0 };
	bool is_equal = a->block == b->block;

	if (is_equal && a->block) {
		block_text(a->block, a->config, &x);
		block_text(b->block, b->config, &y);
		is_equal = span_eq(strbuf_span(&x), strbuf_span(&y));
	}
	strbuf_fini(&x);
	strbuf_fini(&y);
	return is_equal;
}

static unsigned list_changes(const struct schema_row *row, const struct config *from, const struct config *to,
			     struct strbuf *out)
{
	size_t old_count = *(const size_t *)((const char *)from + row->count_offset);
	size_t new_count = *(const size_t *)((const char *)to + row->count_offset);
	unsigned n = 0;
	struct named other;

	for (size_t i = 0; i < new_count; i++) {
		struct named now = element_at(row, to, i);

		if (!element_find(row, from, now.id, &other))
			strbuf_printf(out, "%s \"%s\" added\n", row->name, now.id);
		else if (!named_eq(&now, &other))
			strbuf_printf(out, "%s \"%s\" changed\n", row->name, now.id);
		else
			continue;
		n++;
	}
	for (size_t i = 0; i < old_count; i++) {
		struct named was = element_at(row, from, i);

		if (element_find(row, to, was.id, &other))
			continue;
		strbuf_printf(out, "%s \"%s\" removed\n", row->name, was.id);
		n++;
	}
	return n;
}

unsigned config_changes(const struct config *from, const struct config *to, struct strbuf *out)
{
	unsigned n = 0;

	for (const struct schema_row *row = config_block()->rows; row->name; row++) {
		struct named was = { .block = row->block }, now = { .block = row->block };

		if (row->type == SCHEMA_GROUP || row->type == SCHEMA_LIST) {
			n += list_changes(row->type == SCHEMA_GROUP ? &row->rows[0] : row, from, to, out);
			continue;
		}
		if (row->type != SCHEMA_EMBEDDED)
			continue;
		was.config = member_of(row, from);
		now.config = member_of(row, to);
		if (named_eq(&was, &now))
			continue;
		strbuf_printf(out, "%s changed\n", row->name);
		n++;
	}
	return n;
}

static bool text_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

const char *config_needs_restart(const struct config *from, const struct config *to)
{
	const struct config_system *a = &from->system, *b = &to->system;

	if (a->worker_count != b->worker_count)
		return "worker-threads";
	if (!text_eq(a->user, b->user))
		return "user";
	if (!text_eq(a->group, b->group))
		return "group";
	if (!text_eq(a->pid_file, b->pid_file))
		return "pid-file";
	if (!text_eq(a->working_directory, b->working_directory))
		return "working-directory";
	if (!text_eq(a->state_directory, b->state_directory))
		return "state-directory";
	if (!text_eq(a->instance, b->instance))
		return "instance";
	if (!text_eq(a->admin.socket, b->admin.socket))
		return "admin/socket";
	return NULL;
}
