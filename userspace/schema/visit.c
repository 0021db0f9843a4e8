/* SPDX-License-Identifier: GPL-2.0-only */
/* visit.c - a parsed configuration read back: its settings, and the difference of two. */
#include "schema/visit.h"

#include <string.h>

#include "base/arena.h"
#include "base/hmap.h"
#include "schema/schema_read.h"

/* A setting before its secret is hidden. */
struct visit_value {
	const char *path, *text;
	struct schema_pos pos;
	bool is_secret;
	bool is_met; /* diff: also in the other configuration */
	struct visit_value *next;
};

struct visit {
	void (*on_value)(const struct visit_value *value, void *user);
	void *user;
	struct strbuf path, text;
};

static void rows_visit(struct visit *v, const struct schema_row *rows, const void *config);

static void value_visit(struct visit *v, const struct schema_row *row, const void *config)
{
	const struct schema_mark *mark = schema_mark_find(config, row->offset);
	struct visit_value value = { .is_secret = row->flags & SCHEMA_SECRET };

	strbuf_reset(&v->text);
	if (row->type == SCHEMA_CUSTOM)
		row->print(schema_member(row, config), &v->text);
	else
		schema_value_reveal(row, config, &v->text);
	if (mark)
		value.pos = mark->pos;
	value.path = v->path.ptr;
	value.text = v->text.ptr;
	v->on_value(&value, v->user);
}

/* ` "web"`, or ` 0` for an element that has no id. */
static void element_name(struct strbuf *out, const struct schema_row *rows, const void *element, size_t number)
{
	for (const struct schema_row *row = rows; row->name; row++) {
		const char *id = row->flags & SCHEMA_ID ? *(char *const *)schema_member(row, element) : NULL;

		if (!id)
			continue;
		strbuf_printf(out, " \"%s\"", id);
		return;
	}
	strbuf_printf(out, " %zu", number);
}

static void list_visit(struct visit *v, const struct schema_row *row, const void *config)
{
	const char *items = *(char *const *)schema_member(row, config);
	size_t count = *(const size_t *)((const char *)config + row->count_offset);
	size_t len = v->path.len;

	for (size_t i = 0; i < count; i++) {
		const void *element = items + i * row->size;
		const struct schema_variant *variant = element;

		if (row->type == SCHEMA_LIST) {
			element_name(&v->path, row->block->rows, element, i);
			rows_visit(v, row->block->rows, element);
		} else if (variant->block) {
			strbuf_printf(&v->path, " \"%s\" (%s)", variant->id, variant->block->name);
			rows_visit(v, variant->block->rows, variant->config);
		}
		v->path.ptr[v->path.len = len] = 0;
	}
}

static void row_visit(struct visit *v, const struct schema_row *row, const void *config)
{
	const void *member = schema_member(row, config);

	switch (row->type) {
	case SCHEMA_GROUP:
		rows_visit(v, row->rows, config);
		break;
	case SCHEMA_EMBEDDED:
		rows_visit(v, row->block->rows, member);
		break;
	case SCHEMA_OPTIONAL:
		if (*(void *const *)member)
			rows_visit(v, row->block->rows, *(void *const *)member);
		break;
	case SCHEMA_LIST:
	case SCHEMA_VARIANTS:
		list_visit(v, row, config);
		break;
	case SCHEMA_LATER:
		break;
	case SCHEMA_CUSTOM:
		if (row->print)
			value_visit(v, row, config);
		break;
	default:
		value_visit(v, row, config);
		break;
	}
}

static void rows_visit(struct visit *v, const struct schema_row *rows, const void *config)
{
	size_t len = v->path.len;

	for (const struct schema_row *row = rows; row->name; row++) {
		strbuf_printf(&v->path, "%s%s", len ? "/" : "", row->name);
		row_visit(v, row, config);
		v->path.ptr[v->path.len = len] = 0;
	}
}

static void block_visit(const struct schema_block *block, const void *config,
			void (*on_value)(const struct visit_value *value, void *user), void *user)
{
	struct visit v = { .on_value = on_value, .user = user };

	strbuf_init(&v.path);
	strbuf_init(&v.text);
	rows_visit(&v, block->rows, config);
	strbuf_fini(&v.path);
	strbuf_fini(&v.text);
}

struct setting_call {
	visit_fn *fn;
	void *user;
};

static const char *shown(const struct visit_value *value)
{
	return value->is_secret ? "***" : value->text;
}

static void setting_pass(const struct visit_value *value, void *user)
{
	struct setting_call *call = user;
	struct visit_setting setting = { value->path, shown(value), value->pos };

	call->fn(&setting, call->user);
}

void visit_run(const struct schema_block *block, const void *config, visit_fn *fn, void *user)
{
	struct setting_call call = { fn, user };

	block_visit(block, config, setting_pass, &call);
}

/* The difference of two */

struct diff {
	struct arena arena;
	struct hmap before; /* path -> struct visit_value */
	struct visit_value *first, **tail;
	struct strbuf *out;
	size_t count;
};

static void before_keep(const struct visit_value *value, void *user)
{
	struct diff *d = user;
	struct visit_value *kept = arena_alloc(&d->arena, sizeof(*kept));

	*kept = *value;
	kept->path = arena_strdup(&d->arena, value->path);
	kept->text = arena_strdup(&d->arena, value->text);
	kept->next = NULL;
	*d->tail = kept;
	d->tail = &kept->next;
	hmap_set(&d->before, span_str(kept->path), kept);
}

static void after_compare(const struct visit_value *value, void *user)
{
	struct diff *d = user;
	struct visit_value *old = hmap_get(&d->before, span_str(value->path));

	if (old) {
		old->is_met = true;
		if (strcmp(old->text, value->text) == 0)
			return;
		strbuf_printf(d->out, "~ %s: %s -> %s\n", value->path, shown(old), shown(value));
	} else {
		if (!schema_pos_is_set(value->pos))
			return;
		strbuf_printf(d->out, "+ %s %s\n", value->path, shown(value));
	}
	d->count++;
}

size_t visit_diff(const struct schema_block *block, const void *before, const void *after, struct strbuf *out)
{
	struct diff d = { .out = out };

	arena_init(&d.arena, 16384);
	hmap_init(&d.before);
	d.tail = &d.first;
	block_visit(block, before, before_keep, &d);
	block_visit(block, after, after_compare, &d);
	for (const struct visit_value *old = d.first; old; old = old->next) {
		if (old->is_met || !schema_pos_is_set(old->pos))
			continue;
		strbuf_printf(out, "- %s %s\n", old->path, shown(old));
		d.count++;
	}
	hmap_fini(&d.before);
	arena_fini(&d.arena);
	return d.count;
}
