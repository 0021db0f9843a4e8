/* SPDX-License-Identifier: GPL-2.0-only */
/* kdl.c - nodes of KDL, and which version of the language a document is in. */
#include "schema/kdl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "schema/kdl_scan.h"

static int nodes_read(struct kdl_scan *s, unsigned depth, struct kdl_node **out_first);

/* Every node and value costs memory that outlives the text, so there is a limit. */
static int count_item(struct kdl_scan *s)
{
	if (++s->item_count <= KDL_ITEMS_MAX)
		return 0;
	kdl_fail(s, s->pos, NULL, "more than %d nodes and values in one file", KDL_ITEMS_MAX);
	s->status = -E2BIG;
	return s->status;
}

static struct kdl_value *args_add(struct kdl_scan *s, struct kdl_value v)
{
	if (s->arg_count == s->arg_size) {
		s->arg_size = s->arg_size ? s->arg_size * 2 : 16;
		s->args = mem_resize(s->args, s->arg_size, sizeof(*s->args));
	}
	s->args[s->arg_count] = v;
	return &s->args[s->arg_count++];
}

static void props_add(struct kdl_scan *s, struct kdl_prop p)
{
	if (s->prop_count == s->prop_size) {
		s->prop_size = s->prop_size ? s->prop_size * 2 : 16;
		s->props = mem_resize(s->props, s->prop_size, sizeof(*s->props));
	}
	s->props[s->prop_count++] = p;
}

/* What was collected belongs to the node now; its children may use the scratch space. */
static void entries_move(struct kdl_scan *s, struct kdl_node *node)
{
	if (s->arg_count > 0) {
		node->args = arena_array(s->arena, s->arg_count, sizeof(*node->args));
		memcpy(node->args, s->args, s->arg_count * sizeof(*node->args));
		node->arg_count = s->arg_count;
	}
	if (s->prop_count > 0) {
		node->props = arena_array(s->arena, s->prop_count, sizeof(*node->props));
		memcpy(node->props, s->props, s->prop_count * sizeof(*node->props));
		node->prop_count = s->prop_count;
	}
	s->arg_count = 0;
	s->prop_count = 0;
}

/* (type), if one is there. */
static int annotation_read(struct kdl_scan *s, struct span *out)
{
	struct kdl_value v = { 0 };

	if (kdl_byte(s, 0) != '(')
		return 0;
	kdl_skip_bytes(s, 1);
	if (s->version == 2)
		kdl_skip_space(s);
	if (!s->status && !kdl_is_string_start(s))
		return kdl_fail(s, s->pos, NULL, "a type annotation holds a word: (u8)");
	if (s->status || kdl_read_string(s, &v))
		return s->status;
	if (s->version == 2)
		kdl_skip_space(s);
	if (kdl_byte(s, 0) != ')')
		return kdl_fail(s, s->pos, NULL, "this type annotation is not closed by )");
	kdl_skip_bytes(s, 1);
	if (s->version == 2)
		kdl_skip_space(s);
	*out = v.text;
	return s->status;
}

static int unexpected(struct kdl_scan *s)
{
	uint32_t c = kdl_peek(s);
	struct schema_pos pos = s->pos;

	if (s->ptr == s->end)
		return kdl_fail(s, pos, NULL, "the file ends where a value is expected");
	if (kdl_is_newline(c))
		return kdl_fail(s, pos, NULL, "the line ends where a value is expected");
	if (c > 0x20 && c < 0x7f)
		return kdl_fail(s, pos, NULL, "%c is not expected here", (int)c);
	return kdl_fail(s, pos, NULL, "U+%04X is not expected here", c);
}

static bool is_keyword_v1(const struct kdl_scan *s)
{
	static const struct span words[] = { SPAN("true"), SPAN("false"), SPAN("null") };
	struct span rest = span_of(s->ptr, (size_t)(s->end - s->ptr));

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct kdl_scan after = { .version = 1, .ptr = s->ptr + words[i].len, .end = s->end };

		if (span_starts(rest, words[i]) && !kdl_is_word(&after, kdl_peek(&after)))
			return true;
	}
	return false;
}

/* A value after its annotation. */
static int value_read(struct kdl_scan *s, struct kdl_value *v)
{
	char c = kdl_byte(s, 0);

	if (s->version == 1 && is_keyword_v1(s))
		return kdl_read_literal(s, v);
	if (kdl_is_string_start(s))
		return kdl_read_string(s, v);
	if ((c == '#' && s->version == 2) || kdl_is_word(s, kdl_peek(s)))
		return kdl_read_literal(s, v);
	return unexpected(s);
}

/* `=` follows the name that v is: true and the cursor after it.  KDL 2 allows space around it. */
static bool is_property(struct kdl_scan *s, const struct kdl_value *v)
{
	const char *ptr = s->ptr;
	struct schema_pos pos = s->pos;

	if (v->type != KDL_STRING)
		return false;
	if (s->version == 2)
		kdl_skip_space(s);
	if (!s->status && kdl_byte(s, 0) == '=') {
		kdl_skip_bytes(s, 1);
		if (s->version == 2)
			kdl_skip_space(s);
		return true;
	}
	s->ptr = ptr;
	s->pos = pos;
	return false;
}

static bool is_bare_v1(const struct kdl_scan *s, const struct kdl_value *v)
{
	return s->version == 1 && v->type == KDL_STRING && v->form == KDL_FORM_WORD;
}

/* One argument or property. */
static int entry_read(struct kdl_scan *s, bool is_dropped)
{
	struct kdl_value v = { 0 };
	struct kdl_prop prop;

	if (count_item(s) || annotation_read(s, &v.annotation) || value_read(s, &v))
		return s->status;
	if (v.annotation.ptr || !is_property(s, &v)) {
		if (!s->status && is_bare_v1(s, &v))
			return kdl_fail(s, v.pos, NULL, "a string must be quoted in KDL 1");
		if (!s->status && !is_dropped)
			args_add(s, v);
		return s->status;
	}
	prop = (struct kdl_prop){ .name = v.text, .pos = v.pos };
	if (annotation_read(s, &prop.value.annotation) || value_read(s, &prop.value))
		return s->status;
	if (is_bare_v1(s, &prop.value))
		return kdl_fail(s, prop.value.pos, NULL, "a string must be quoted in KDL 1");
	if (!is_dropped)
		props_add(s, prop);
	return 0;
}

/* { ... }: the cursor is on the brace. */
static int children_read(struct kdl_scan *s, unsigned depth, struct kdl_node *node, bool is_dropped)
{
	struct schema_pos brace = s->pos;
	struct kdl_node *first = NULL;

	if (node->has_children && !is_dropped)
		return kdl_fail(s, brace, NULL, "a node has one block of children only");
	if (depth >= KDL_DEPTH_MAX) {
		kdl_fail(s, brace, NULL, "blocks inside each other deeper than %d", KDL_DEPTH_MAX);
		s->status = -E2BIG;
		return s->status;
	}
	kdl_skip_bytes(s, 1);
	if (nodes_read(s, depth + 1, &first))
		return s->status;
	if (s->ptr == s->end)
		return kdl_fail(s, brace, NULL, "this { is never closed");
	kdl_skip_bytes(s, 1);
	if (!is_dropped) {
		node->children = first;
		node->has_children = true;
	}
	return 0;
}

static bool is_node_end(const struct kdl_scan *s)
{
	uint32_t c = kdl_peek(s);

	return s->ptr == s->end || c == ';' || c == '}' || kdl_is_newline(c) ||
	       (c == '/' && kdl_byte(s, 1) == '/');
}

static bool slashdash_read(struct kdl_scan *s)
{
	if (kdl_byte(s, 0) != '/' || kdl_byte(s, 1) != '-')
		return false;
	kdl_skip_bytes(s, 2);
	if (s->version == 2)
		kdl_skip_lines(s);
	else
		kdl_skip_space(s);
	return true;
}

/* What follows the name of a node, up to but not including its terminator. */
static int node_rest_read(struct kdl_scan *s, unsigned depth, struct kdl_node *node)
{
	bool has_block = false; /* after a block, kept or dropped, only blocks may follow */

	while (!s->status) {
		bool has_space = kdl_skip_space(s);
		bool is_dropped;

		if (s->status || is_node_end(s))
			break;
		is_dropped = slashdash_read(s);
		if (s->status)
			break;
		if (kdl_byte(s, 0) == '{') {
			if (!has_block)
				entries_move(s, node);
			has_block = true;
			children_read(s, depth, node, is_dropped);
		} else if (has_block) {
			kdl_fail(s, s->pos, NULL, "nothing but the end of the node may follow its block");
		} else if (!has_space && !is_dropped) {
			kdl_fail(s, s->pos, NULL, "space is missing before this");
		} else {
			entry_read(s, is_dropped);
		}
	}
	if (!has_block)
		entries_move(s, node);
	return s->status;
}

static int node_read(struct kdl_scan *s, unsigned depth, struct kdl_node **out_node)
{
	struct kdl_node *node = arena_zalloc(s->arena, sizeof(*node));
	struct kdl_value name = { 0 };

	if (count_item(s) || annotation_read(s, &node->annotation))
		return s->status;
	if (!kdl_is_string_start(s)) {
		if (kdl_is_word(s, kdl_peek(s)))
			return kdl_fail(s, s->pos, NULL, "the name of a node must not start like a number");
		return unexpected(s);
	}
	if (kdl_read_string(s, &name))
		return s->status;
	node->name = name.text;
	node->pos = name.pos;
	*out_node = node;
	return node_rest_read(s, depth, node);
}

/* The cursor is after a node: step over ; or leave the rest to the caller, who skips lines. */
static void terminator_read(struct kdl_scan *s)
{
	if (kdl_byte(s, 0) == ';')
		kdl_skip_bytes(s, 1);
}

static int nodes_read(struct kdl_scan *s, unsigned depth, struct kdl_node **out_first)
{
	struct kdl_node **tail = out_first;

	for (;;) {
		struct kdl_node *node = NULL;
		bool is_dropped;

		kdl_skip_lines(s);
		if (s->status || s->ptr == s->end)
			return s->status;
		if (kdl_byte(s, 0) == '}') {
			if (depth > 0)
				return 0;
			return kdl_fail(s, s->pos, NULL, "this } closes nothing");
		}
		is_dropped = slashdash_read(s);
		if (s->status || node_read(s, depth, &node))
			return s->status;
		terminator_read(s);
		if (!is_dropped) {
			*tail = node;
			tail = &node->next;
		}
	}
}

/* `/- kdl-version N` on the first line: N, or 0 if there is none (KDL 2.0, "Version"). */
static unsigned version_marker(struct span text)
{
	struct kdl_scan s = { .ptr = text.ptr, .end = text.ptr + text.len, .version = 2 };
	struct span name = SPAN("kdl-version");
	unsigned version;

	if (!span_starts(text, SPAN("/-")))
		return 0;
	kdl_skip_bytes(&s, 2);
	while (kdl_is_space(kdl_peek(&s)))
		kdl_skip(&s);
	if (!span_starts(span_of(s.ptr, (size_t)(s.end - s.ptr)), name))
		return 0;
	kdl_skip_bytes(&s, name.len);
	if (!kdl_is_space(kdl_peek(&s)))
		return 0;
	while (kdl_is_space(kdl_peek(&s)))
		kdl_skip(&s);
	if (kdl_byte(&s, 0) != '1' && kdl_byte(&s, 0) != '2')
		return 0;
	version = kdl_byte(&s, 0) == '1' ? 1 : 2;
	kdl_skip_bytes(&s, 1);
	while (kdl_is_space(kdl_peek(&s)))
		kdl_skip(&s);
	return s.ptr == s.end || kdl_is_newline(kdl_peek(&s)) ? version : 0;
}

static int parse_as(struct arena *a, unsigned version, uint32_t file, struct span text,
		    struct kdl_document *out_document, struct kdl_error *out_error)
{
	struct kdl_scan s = {
		.arena = a,
		.version = version,
		.ptr = text.ptr,
		.end = text.ptr + text.len,
		.pos = { .file = file, .line = 1, .col = 1 },
	};
	struct kdl_node *first = NULL;

	strbuf_init(&s.text);
	nodes_read(&s, 0, &first);
	if (s.status)
		*out_error = s.error;
	else
		*out_document = (struct kdl_document){ first, version, s.item_count };
	strbuf_fini(&s.text);
	free(s.args);
	free(s.props);
	return s.status;
}

int kdl_parse(struct arena *a, uint32_t file, struct span text, struct kdl_document *out_document,
	      struct kdl_error *out_error)
{
	struct kdl_error error_v1;
	unsigned marker;
	int err;

	if (text.len > KDL_BYTES_MAX) {
		*out_error = (struct kdl_error){ .pos = { file, 1, 1, 1 }, .message = "more than 16 MiB in one file" };
		return -E2BIG;
	}
	if (text.len == 0)
		text = SPAN("");
	err = kdl_scan_check(&text, file, out_error);
	if (err)
		return err;
	marker = version_marker(text);
	if (marker == 1)
		return parse_as(a, 1, file, text, out_document, out_error);
	err = parse_as(a, 2, file, text, out_document, out_error);
	if (err == -EINVAL && marker == 0 && parse_as(a, 1, file, text, out_document, &error_v1) == 0)
		return 0;
	return err;
}

const struct kdl_prop *kdl_node_prop(const struct kdl_node *node, struct span name)
{
	for (size_t i = node->prop_count; i > 0; i--) {
		if (span_eq(node->props[i - 1].name, name))
			return &node->props[i - 1];
	}
	return NULL;
}

const char *kdl_type_text(enum kdl_type type)
{
	switch (type) {
	case KDL_NULL:
		return "null";
	case KDL_BOOL:
		return "a boolean";
	case KDL_INT:
		return "a whole number";
	case KDL_FLOAT:
		return "a number";
	case KDL_STRING:
		return "a string";
	}
	return "nothing";
}
