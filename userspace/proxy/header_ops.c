/* SPDX-License-Identifier: GPL-2.0-only */
/* header_ops.c - changes of header fields that a route or a filter asks for. */
#include "proxy/header_ops.h"

#include "base/check.h"

/* Fields that say where a message ends or how hops talk: the codec alone writes them. */
static bool name_is_framing(struct span name)
{
	static const enum header_token framing[] = {
		TOKEN_CONTENT_LENGTH, TOKEN_TRANSFER_ENCODING, TOKEN_CONNECTION, TOKEN_UPGRADE, TOKEN_TE,
		TOKEN_TRAILER,
	};
	enum header_token token = header_token_of(name);

	for (size_t i = 0; token != TOKEN_OTHER && i < ARRAY_LEN(framing); i++)
		if (token == framing[i])
			return true;
	return false;
}

static void name_check(struct schema *s, const struct schema_string *name)
{
	struct span text = span_of(name->text, name->len);

	if (!header_name_is_valid(text))
		diag_error(s->diag, name->pos, "\"%s\" cannot be the name of a header field", name->text);
	else if (name_is_framing(text))
		diag_hint(s->diag,
			  diag_error(s->diag, name->pos, "\"%s\" cannot be changed", name->text),
			  "it says where a message ends; the proxy writes it");
}

static void map_check(struct schema *s, const struct schema_map *map, bool is_rename)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct schema_pair *pair = &map->items[i];

		name_check(s, &pair->name);
		if (is_rename)
			name_check(s, &pair->value);
		else if (!header_value_is_valid(span_of(pair->value.text, pair->value.len)))
			diag_error(s->diag, pair->value.pos,
				   "this cannot be the value of a header field: it has control characters");
	}
}

void header_ops_check(struct schema *s, const struct config_header_ops *ops)
{
	map_check(s, &ops->rename, true);
	map_check(s, &ops->set, false);
	map_check(s, &ops->add, false);
	for (size_t i = 0; i < ops->remove.count; i++)
		name_check(s, &ops->remove.items[i]);
}

static unsigned map_build(struct span **names, struct span **values, const struct schema_map *map,
			  struct arena *a)
{
	*names = arena_array(a, map->count, sizeof(**names));
	*values = arena_array(a, map->count, sizeof(**values));
	for (size_t i = 0; i < map->count; i++) {
		(*names)[i] = span_of(map->items[i].name.text, map->items[i].name.len);
		(*values)[i] = span_of(map->items[i].value.text, map->items[i].value.len);
	}
	return (unsigned)map->count;
}

void header_ops_build(struct header_op_set *out, const struct config_header_ops *from, struct arena *a)
{
	*out = (struct header_op_set){ 0 };
	out->rename_count = map_build(&out->rename_from, &out->rename_to, &from->rename, a);
	out->set_count = map_build(&out->set_name, &out->set_value, &from->set, a);
	out->add_count = map_build(&out->add_name, &out->add_value, &from->add, a);
	out->remove_count = (unsigned)from->remove.count;
	out->remove = arena_array(a, from->remove.count, sizeof(*out->remove));
	for (size_t i = 0; i < from->remove.count; i++)
		out->remove[i] = span_of(from->remove.items[i].text, from->remove.items[i].len);
}

void header_ops_apply(const struct header_op_set *ops, struct headers *h)
{
	for (unsigned i = 0; i < ops->rename_count; i++)
		headers_rename(h, ops->rename_from[i], ops->rename_to[i]);
	for (unsigned i = 0; i < ops->set_count; i++)
		headers_set_name(h, ops->set_name[i], ops->set_value[i]);
	for (unsigned i = 0; i < ops->add_count; i++)
		headers_add_name(h, ops->add_name[i], ops->add_value[i]);
	for (unsigned i = 0; i < ops->remove_count; i++)
		headers_remove_name(h, ops->remove[i]);
}
