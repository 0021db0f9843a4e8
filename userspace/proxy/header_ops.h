/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * header_ops.h - rename, set, add and remove header fields: how the file says it, and what the data path reads.
 *
 * A block that has them embeds `struct config_header_ops` and lists its rows with ROWS_HEADER_OPS():
 *
 *	struct headers_config { struct schema_meta meta; struct config_header_ops ops; };
 *	static const struct schema_row rows[] = { ROWS_HEADER_OPS(struct headers_config, ops), ROW_END };
 *
 * Its check calls header_ops_check().  header_ops_build() makes the set for a snapshot; header_ops_apply()
 * changes a message.
 */
#ifndef SN_PROXY_HEADER_OPS_H
#define SN_PROXY_HEADER_OPS_H

#include "http/headers.h"
#include "proxy/settings.h"
#include "schema/schema.h"

struct config_header_ops {
	struct schema_map rename, set, add;
	struct schema_strings remove;
};

#define ROWS_HEADER_OPS(S, m) \
	ROW_MAP(S, m.rename, "rename", "Fields that get another name: `rename { X-Old \"X-New\" }`."), \
	ROW_MAP(S, m.set, "set", "Fields that are replaced, or added if they are not there."), \
	ROW_MAP(S, m.add, "add", "Fields that are added beside those that are there.", \
		.flags = SCHEMA_MULTI), \
	ROW_STRINGS(S, m.remove, "remove", NULL, "Names of fields that are removed.")

/* Names and values must be those of HTTP, and no field may be one that frames messages. */
void header_ops_check(struct schema *s, const struct config_header_ops *ops);
/* Spans point into the strings of `from`, arrays live in a. */
void header_ops_build(struct header_op_set *out, const struct config_header_ops *from, struct arena *a);
/* In the order rename, set, add, remove. */
void header_ops_apply(const struct header_op_set *ops, struct headers *h);

#endif
