/* SPDX-License-Identifier: GPL-2.0-only */
/* schema.c - walk the nodes of a file along the tables: which row a node is, what is missing, what is unknown. */
#include "schema/schema.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "schema/schema_read.h"

/* One table that is being filled. */
struct schema_frame {
	struct schema *s;
	const char *where; /* name of the block or group, for messages */
	const struct schema_row *rows;
	struct schema_meta *meta;  /* of the struct; = config */
	struct schema_mark *marks; /* of these rows */
	void *config;
	const char *selector; /* a key that was read already, or NULL */
	bool has_selector;    /* it was met again on the way */
	size_t args_taken;    /* likewise, leading arguments of the node */
};

static void node_fill(struct schema_frame *f, const struct kdl_node *node);
static void children_fill(struct schema_frame *f, const struct kdl_node *nodes);

void schema_init(struct schema *s, struct arena *a, struct diag *d, void *user)
{
	*s = (struct schema){ .arena = a, .diag = d, .user = user };
	hmap_init(&s->ids);
}

void schema_fini(struct schema *s)
{
	if (!s)
		return;
	hmap_fini(&s->ids);
	*s = (struct schema){ 0 };
}

/* Before anything is written: marks and defaults */

static void config_init(struct schema *s, const struct schema_block *block, void *config);

static void rows_init(struct schema *s, const struct schema_row *rows, struct schema_meta *meta)
{
	struct schema_marks *marks = arena_zalloc(s->arena, sizeof(*marks));
	struct schema_marks **tail = &meta->marks;
	size_t count = 0;

	while (rows[count].name)
		count++;
	marks->rows = rows;
	marks->items = arena_array(s->arena, count + 1, sizeof(*marks->items));
	while (*tail)
		tail = &(*tail)->next;
	*tail = marks;
	for (const struct schema_row *row = rows; row->name; row++) {
		if (row->type == SCHEMA_GROUP) {
			rows_init(s, row->rows, meta);
		} else if (row->type == SCHEMA_EMBEDDED) {
			CHECK(row->size == row->block->size);
			config_init(s, row->block, schema_member(row, meta));
		} else {
			(void)schema_default_set(s, row, schema_member(row, meta));
		}
	}
}

static void config_init(struct schema *s, const struct schema_block *block, void *config)
{
	memset(config, 0, block->size);
	rows_init(s, block->rows, config);
}

static struct schema_mark *marks_of(const struct schema_meta *meta, const struct schema_row *rows)
{
	struct schema_marks *marks = meta->marks;

	while (marks && marks->rows != rows)
		marks = marks->next;
	CHECK(marks);
	return marks->items;
}

static struct schema_frame frame_of(struct schema *s, const struct schema_block *block, void *config)
{
	return (struct schema_frame){
		.s = s,
		.where = block->name,
		.rows = block->rows,
		.meta = config,
		.marks = marks_of(config, block->rows),
		.config = config,
	};
}

/* After everything was written */

static void required_check(struct schema *s, const struct schema_meta *meta, const struct schema_row *rows,
			   const char *where, struct schema_pos pos)
{
	const struct schema_mark *marks = marks_of(meta, rows);

	for (size_t i = 0; rows[i].name; i++) {
		bool is_written = schema_pos_is_set(marks[i].pos);

		if ((rows[i].flags & SCHEMA_REQUIRED) && !is_written) {
			struct diag_item *item =
				diag_error(s->diag, pos, "\"%s\" is missing in %s", rows[i].name, where);

			if (rows[i].flags & SCHEMA_ARG_ONLY)
				diag_hint(s->diag, item, "it is a value on the line itself: %s \"...\"", where);
		}
		if (rows[i].type == SCHEMA_GROUP && is_written)
			required_check(s, meta, rows[i].rows, rows[i].name, marks[i].pos);
	}
}

static void block_finish(struct schema *s, const struct schema_block *block, void *config,
			 struct schema_pos pos)
{
	required_check(s, config, block->rows, block->name, pos);
	if (block->check)
		block->check(s, config);
}

/* Unknown names */

static size_t names_collect(const struct schema_row *rows, unsigned flag, const char **out_names)
{
	size_t count = 0;

	for (const struct schema_row *row = rows; row->name; row++) {
		if ((row->flags & SCHEMA_ARG_ONLY) || row->type == SCHEMA_LATER || (flag && !(row->flags & flag)))
			continue;
		if (count < SCHEMA_NAMES_MAX)
			out_names[count++] = row->name;
	}
	return count;
}

/* The group in which the name would be right, or NULL. */
static const char *group_find(const struct schema_row *rows, struct span name)
{
	for (const struct schema_row *row = rows; row->name; row++) {
		if (row->type == SCHEMA_GROUP && schema_row_find(row->rows, name))
			return row->name;
	}
	return NULL;
}

static void unknown_key(struct schema_frame *f, struct span name, struct schema_pos pos, unsigned flag)
{
	const char *names[SCHEMA_NAMES_MAX];
	size_t count = names_collect(f->rows, flag, names);
	const char *group = flag ? NULL : group_find(f->rows, name);
	struct diag_item *item = diag_error(f->s->diag, pos, "unknown key \"" SPAN_FMT "\" in %s",
					    SPAN_ARG(name), f->where);

	if (group)
		diag_hint(f->s->diag, item, "write it inside \"%s\"", group);
	else
		diag_suggest(f->s->diag, item, name, names, count);
}

static void later_key(struct schema_frame *f, struct span name, struct schema_pos pos)
{
	diag_error(f->s->diag, pos, "\"" SPAN_FMT "\" is not in this version of Sentinel", SPAN_ARG(name));
}

/* The row of a key, or NULL with the error reported.  flag: 0 for a child, SCHEMA_PROP for a property. */
static const struct schema_row *row_of(struct schema_frame *f, struct span name, struct schema_pos pos,
				       unsigned flag)
{
	const struct schema_row *row = f->rows;
	bool is_deprecated = false;

	while (row->name && ((row->flags & SCHEMA_ARG_ONLY) || !schema_row_is(row, name, &is_deprecated)))
		row++;
	if (!row->name) {
		unknown_key(f, name, pos, flag);
		return NULL;
	}
	if (row->type == SCHEMA_LATER) {
		later_key(f, name, pos);
		return NULL;
	}
	if (flag && !(row->flags & flag)) {
		diag_hint(f->s->diag,
			  diag_error(f->s->diag, pos, "\"" SPAN_FMT "\" cannot be written as a property of %s",
				     SPAN_ARG(name), f->where),
			  "write it inside the block: %s { " SPAN_FMT " ... }", f->where, SPAN_ARG(name));
		return NULL;
	}
	if (is_deprecated)
		diag_warning(f->s->diag, pos, "\"" SPAN_FMT "\" is deprecated, write \"%s\"", SPAN_ARG(name),
			     row->name);
	return row;
}

/* Marks */

static bool may_repeat(const struct schema_row *row)
{
	return row->type == SCHEMA_STRINGS || row->type == SCHEMA_UINTS || row->type == SCHEMA_CIDRS ||
	       row->type == SCHEMA_LIST || row->type == SCHEMA_VARIANTS || (row->flags & SCHEMA_REPEAT);
}

/* Note that the row is written here.  NULL if it was before and may not be twice (reported). */
static struct schema_mark *mark_set(struct schema_frame *f, const struct schema_row *row, struct schema_pos pos)
{
	struct schema_mark *mark = &f->marks[row - f->rows];
	struct diag_item *item;

	if (!schema_pos_is_set(mark->pos)) {
		mark->pos = pos;
		return mark;
	}
	if (may_repeat(row))
		return mark;
	item = diag_error(f->s->diag, pos, "\"%s\" is written twice in %s", row->name, f->where);
	diag_note(f->s->diag, item, mark->pos, "it was first written here");
	return NULL;
}

/* A list that is written replaces its default. */
static void default_drop(const struct schema_row *row, void *member)
{
	if (row->type == SCHEMA_FLAGS) {
		*(unsigned *)member = 0;
	} else if (schema_type_is_multi(row->type)) {
		/* All list types are {pointer, count}. */
		memset(member, 0, sizeof(struct schema_strings));
	}
}

/* Rows with values */

/* The values of one row, from one node or one property. */
static void values_read(struct schema_frame *f, const struct schema_row *row, struct span key,
			struct schema_pos pos, const struct kdl_value *values, size_t count)
{
	bool is_first = !schema_pos_is_set(f->marks[row - f->rows].pos);
	struct schema_mark *mark = mark_set(f, row, pos);
	void *member = schema_member(row, f->config);

	if (!mark)
		return;
	if (is_first)
		default_drop(row, member);
	for (size_t i = 0; i < count; i++) {
		struct schema_reading r = { f->s, row, key, &values[i], member };

		if (schema_reading_run(&r))
			mark->is_wrong = true;
	}
}

static bool has_shape(struct schema_frame *f, const struct kdl_node *node, bool is_right, const char *shape)
{
	if (!is_right)
		diag_error(f->s->diag, node->pos, "\"" SPAN_FMT "\" takes %s", SPAN_ARG(node->name), shape);
	return is_right;
}

static void value_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	bool is_multi = schema_type_is_multi(row->type);
	bool is_plain = node->prop_count == 0 && !node->has_children;
	bool is_right = is_plain && (is_multi ? node->arg_count > 0 : node->arg_count == 1);

	if (!has_shape(f, node, is_right, is_multi ? "one or more values" : "one value")) {
		struct schema_mark *mark = mark_set(f, row, node->pos);

		if (mark)
			mark->is_wrong = true;
		return;
	}
	values_read(f, row, node->name, node->pos, node->args, node->arg_count);
}

static int pair_add(struct schema_frame *f, const struct schema_row *row, struct span name,
		    struct schema_pos pos, const struct kdl_value *value)
{
	struct schema_map *map = schema_member(row, f->config);
	struct schema_row text = { .name = row->name, .type = SCHEMA_STRING, .verify = row->verify,
				   .flags = row->flags | SCHEMA_EMPTY };
	struct schema_reading r = { f->s, &text, name, value, NULL };
	const char *content;
	struct schema_pair *pair;
	void *items = map->items;

	if (name.len == 0 || memchr(name.ptr, 0, name.len)) {
		diag_error(f->s->diag, pos, "a name in \"%s\" must not be empty or contain NUL", row->name);
		return -EINVAL;
	}
	for (size_t i = 0; i < map->count && !(row->flags & SCHEMA_MULTI); i++) {
		if (!span_eq(name, span_of(map->items[i].name.text, map->items[i].name.len)))
			continue;
		diag_note(f->s->diag,
			  diag_error(f->s->diag, pos, "\"" SPAN_FMT "\" is written twice in %s", SPAN_ARG(name),
				     row->name),
			  map->items[i].name.pos, "it was first written here");
		return -EINVAL;
	}
	content = schema_string_read(&r);
	if (!content)
		return -EINVAL;
	pair = schema_array_add(f->s->arena, &items, &map->count, sizeof(*pair));
	map->items = items;
	pair->name = (struct schema_string){ arena_strndup(f->s->arena, name.ptr, name.len), name.len, pos };
	pair->value = (struct schema_string){ content, value->text.len, value->pos };
	return 0;
}

static void map_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	struct schema_mark *mark = mark_set(f, row, node->pos);

	if (!mark || !has_shape(f, node, node->arg_count == 0, "a block of names and values"))
		return;
	for (size_t i = 0; i < node->prop_count; i++) {
		if (pair_add(f, row, node->props[i].name, node->props[i].pos, &node->props[i].value))
			mark->is_wrong = true;
	}
	for (const struct kdl_node *child = node->children; child; child = child->next) {
		bool is_right = child->arg_count == 1 && child->prop_count == 0 && !child->has_children;

		if (!has_shape(f, child, is_right, "one value") ||
		    pair_add(f, row, child->name, child->pos, &child->args[0]))
			mark->is_wrong = true;
	}
}

/* Rows with blocks */

static void block_fill(struct schema *s, const struct schema_block *block, void *config,
		       const struct kdl_node *node)
{
	struct schema_frame f = frame_of(s, block, config);

	f.meta->pos = node->pos;
	node_fill(&f, node);
	block_finish(s, block, config, node->pos);
}

/* Two elements of the list at `list` must not share an id. */
static void id_check(struct schema *s, const void *list, const char *what, const char *id, struct schema_pos pos)
{
	char *key = arena_printf(s->arena, "%p %s", list, id);
	struct schema_pos *first = hmap_get(&s->ids, span_str(key));

	if (first) {
		diag_note(s->diag, diag_error(s->diag, pos, "%s \"%s\" is defined twice", what, id), *first,
			  "it was first defined here");
		return;
	}
	first = arena_alloc(s->arena, sizeof(*first));
	*first = pos;
	hmap_set(&s->ids, span_str(key), first);
}

static void list_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	void **items = schema_member(row, f->config);
	size_t *count = (size_t *)((char *)f->config + row->count_offset);
	const struct schema_block *block = row->block;
	void *element;

	CHECK(row->size == block->size);
	if (row->max > 0 && *count >= (uint64_t)row->max) {
		diag_error(f->s->diag, node->pos, "more than %lld of \"%s\" in %s", (long long)row->max, row->name,
			   f->where);
		return;
	}
	(void)mark_set(f, row, node->pos);
	element = schema_array_add(f->s->arena, items, count, row->size);
	config_init(f->s, block, element);
	block_fill(f->s, block, element, node);
	for (const struct schema_row *r = block->rows; r->name; r++) {
		const char *id = r->flags & SCHEMA_ID ? *(const char **)schema_member(r, element) : NULL;

		if (id)
			id_check(f->s, items, row->name, id, schema_mark_pos(element, r->offset));
	}
}

static void optional_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	void **member = schema_member(row, f->config);

	CHECK(row->size == row->block->size);
	if (!mark_set(f, row, node->pos))
		return;
	*member = arena_zalloc(f->s->arena, row->size);
	config_init(f->s, row->block, *member);
	block_fill(f->s, row->block, *member, node);
}

static void group_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	struct schema_frame inner = *f;

	if (!mark_set(f, row, node->pos) ||
	    !has_shape(f, node, node->arg_count == 0 && node->prop_count == 0, "a block: { ... }"))
		return;
	inner.where = row->name;
	inner.rows = row->rows;
	inner.marks = marks_of(f->meta, row->rows);
	inner.selector = NULL;
	children_fill(&inner, node->children);
}

static void custom_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	struct schema_mark *mark = mark_set(f, row, node->pos);
	unsigned errors = f->s->diag->error_count;

	if (!mark)
		return;
	row->custom(f->s, node, schema_member(row, f->config), f->config);
	if (f->s->diag->error_count > errors)
		mark->is_wrong = true;
}

/* Variants */

/* The value of the selecting key, wherever it is written. */
static const struct kdl_value *selector_find(const struct schema_variants *variants,
					     const struct kdl_node *node)
{
	const struct kdl_prop *prop = kdl_node_prop(node, span_str(variants->selector));

	if (prop)
		return &prop->value;
	for (const struct kdl_node *child = node->children; child; child = child->next) {
		if (span_eq(child->name, span_str(variants->selector)) && child->arg_count > 0)
			return &child->args[0];
	}
	return NULL;
}

static const struct schema_block *variant_find(struct schema *s, const struct schema_variants *variants,
					       const struct kdl_value *v)
{
	const char *names[SCHEMA_NAMES_MAX];
	struct diag_item *item;
	struct strbuf all;
	size_t count = 0;

	if (v->type != KDL_STRING) {
		diag_error(s->diag, v->pos, "\"%s\" takes a word, not %s", variants->selector,
			   kdl_type_text(v->type));
		return NULL;
	}
	for (const struct schema_block *const *b = variants->blocks; *b; b++) {
		if (!schema_word_eq(v->text, span_str((*b)->name)))
			continue;
		if (!(*b)->is_later)
			return *b;
		diag_error(s->diag, v->pos, "\"%s\" is not in this version of Sentinel", (*b)->name);
		return NULL;
	}
	item = diag_error(s->diag, v->pos, "\"" SPAN_FMT "\" is not a value of \"%s\"", SPAN_ARG(v->text),
			  variants->selector);
	strbuf_init(&all);
	for (const struct schema_block *const *b = variants->blocks; *b && count < SCHEMA_NAMES_MAX; b++) {
		if ((*b)->is_later)
			continue;
		strbuf_printf(&all, "%s\"%s\"", count ? ", " : "", (*b)->name);
		names[count++] = (*b)->name;
	}
	diag_hint(s->diag, item, "one of %s", all.ptr);
	diag_suggest(s->diag, item, v->text, names, count);
	strbuf_fini(&all);
	return NULL;
}

static const char *variant_id(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	const struct schema_row id = { .name = "id", .type = SCHEMA_STRING, .max = 255, .verify = row->verify };
	const char *text = NULL;

	if (node->arg_count == 0)
		diag_error(f->s->diag, node->pos, "\"id\" is missing in %s", row->name);
	else if (schema_read_value(f->s, &id, &node->args[0], &text) == 0)
		return text;
	return "";
}

static void variant_node(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	void **items = schema_member(row, f->config);
	size_t *count = (size_t *)((char *)f->config + row->count_offset);
	const struct kdl_value *selected = selector_find(row->variants, node);
	struct schema_variant *v = schema_array_add(f->s->arena, items, count, sizeof(*v));
	const struct schema_block *block;
	struct schema_frame inner;
	void *config;

	(void)mark_set(f, row, node->pos);
	*v = (struct schema_variant){ .meta.pos = node->pos, .id = variant_id(f, row, node) };
	if (*v->id)
		id_check(f->s, items, row->name, v->id, node->args[0].pos);
	if (!selected) {
		diag_error(f->s->diag, node->pos, "\"%s\" is missing in %s", row->variants->selector, row->name);
		return;
	}
	block = variant_find(f->s, row->variants, selected);
	if (!block)
		return;
	config = arena_zalloc(f->s->arena, block->size);
	v->block = block;
	v->config = config;
	config_init(f->s, block, config);
	inner = frame_of(f->s, block, config);
	inner.meta->pos = node->pos;
	inner.selector = row->variants->selector;
	inner.args_taken = MIN(node->arg_count, 1);
	node_fill(&inner, node);
	block_finish(f->s, block, config, node->pos);
}

/* A node and its parts */

static void child_fill(struct schema_frame *f, const struct schema_row *row, const struct kdl_node *node)
{
	switch (row->type) {
	case SCHEMA_MAP:
		map_node(f, row, node);
		break;
	case SCHEMA_EMBEDDED:
		if (mark_set(f, row, node->pos))
			block_fill(f->s, row->block, schema_member(row, f->config), node);
		break;
	case SCHEMA_OPTIONAL:
		optional_node(f, row, node);
		break;
	case SCHEMA_LIST:
		list_node(f, row, node);
		break;
	case SCHEMA_VARIANTS:
		variant_node(f, row, node);
		break;
	case SCHEMA_GROUP:
		group_node(f, row, node);
		break;
	case SCHEMA_CUSTOM:
		custom_node(f, row, node);
		break;
	default:
		value_node(f, row, node);
		break;
	}
}

static bool is_selector(const struct schema_frame *f, struct span name)
{
	return f->selector && span_eq(name, span_str(f->selector));
}

static void selector_once(struct schema_frame *f, struct schema_pos pos)
{
	if (f->has_selector)
		diag_error(f->s->diag, pos, "\"%s\" is written twice in %s", f->selector, f->where);
	f->has_selector = true;
}

static void children_fill(struct schema_frame *f, const struct kdl_node *nodes)
{
	for (const struct kdl_node *node = nodes; node; node = node->next) {
		const struct schema_row *row;

		if (is_selector(f, node->name)) {
			bool is_plain = node->arg_count == 1 && node->prop_count == 0 && !node->has_children;

			(void)has_shape(f, node, is_plain, "one value");
			selector_once(f, node->pos);
			continue;
		}
		row = row_of(f, node->name, node->pos, 0);
		if (row)
			child_fill(f, row, node);
	}
}

static const struct schema_row *arg_row_next(const struct schema_row *row)
{
	while (row->name && !(row->flags & SCHEMA_ARG))
		row++;
	return row;
}

static void args_fill(struct schema_frame *f, const struct kdl_node *node)
{
	const struct schema_row *row = arg_row_next(f->rows);

	for (size_t i = f->args_taken; i < node->arg_count; i++) {
		const struct kdl_value *v = &node->args[i];

		if (!row->name) {
			diag_error(f->s->diag, v->pos, "%s takes no %svalue here", f->where, i ? "further " : "");
			return;
		}
		if (schema_type_is_multi(row->type)) {
			values_read(f, row, span_str(row->name), v->pos, v, node->arg_count - i);
			return;
		}
		values_read(f, row, span_str(row->name), v->pos, v, 1);
		row = arg_row_next(row + 1);
	}
}

static void node_fill(struct schema_frame *f, const struct kdl_node *node)
{
	args_fill(f, node);
	for (size_t i = 0; i < node->prop_count; i++) {
		const struct kdl_prop *prop = &node->props[i];
		const struct schema_row *row;

		if (is_selector(f, prop->name)) {
			selector_once(f, prop->pos);
			continue;
		}
		row = row_of(f, prop->name, prop->pos, SCHEMA_PROP);
		if (row)
			values_read(f, row, prop->name, prop->pos, &prop->value, 1);
	}
	children_fill(f, node->children);
}

/* Entry points */

int schema_parse(struct schema *s, const struct schema_block *block, const struct kdl_node *nodes,
		 void *config)
{
	struct schema_pos whole = { .file = 1 }; /* no line: the file as such */
	unsigned errors = s->diag->error_count;
	struct schema_frame f;

	hmap_fini(&s->ids);
	hmap_init(&s->ids);
	config_init(s, block, config);
	f = frame_of(s, block, config);
	f.meta->pos = (struct schema_pos){ .file = 1, .line = 1, .col = 1, .width = 1 };
	children_fill(&f, nodes);
	block_finish(s, block, config, whole);
	return s->diag->error_count > errors ? -EINVAL : 0;
}

int schema_parse_node(struct schema *s, const struct schema_block *block, const struct kdl_node *node,
		      void *config)
{
	unsigned errors = s->diag->error_count;

	config_init(s, block, config);
	block_fill(s, block, config, node);
	return s->diag->error_count > errors ? -EINVAL : 0;
}

int schema_defaults(struct schema *s, const struct schema_block *block, void *config)
{
	unsigned errors = s->diag->error_count;

	config_init(s, block, config);
	return s->diag->error_count > errors ? -EINVAL : 0;
}
