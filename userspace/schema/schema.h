/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * schema.h - tables that say what a user may write, and the engine that fills structs by them.
 *
 * One row is one thing a user may write: its spelling, type, place in the struct, bounds, default and manual
 * text.  The engine knows no directive; the tables live beside the code they configure.  A whole block:
 *
 *	struct pool_config {
 *		struct schema_meta meta;	// always the first member
 *		uint32_t idle_max;
 *		uint64_t idle_timeout_ms;
 *	};
 *	static const struct schema_row pool_rows[] = {
 *		ROW_UINT(struct pool_config, idle_max, "max-idle", 0, 100000, "20", "Idle connections kept."),
 *		ROW_DURATION(struct pool_config, idle_timeout_ms, "idle-timeout-secs", SCHEMA_SECONDS, 1,
 *			     SCHEMA_DAY, "60", "Close after this time without use.", .aliases = "idle-timeout"),
 *		ROW_END,
 *	};
 *	const struct schema_block pool_block =
 *		SCHEMA_BLOCK(struct pool_config, "connection-pool", pool_rows, pool_check, "Idle connections.");
 *
 * and in its parent: ROW_BLOCK(struct upstream_config, pool, "connection-pool", &pool_block, "...").
 *
 * How rows are written in a file: `key value` as a child node; also `key=value` on the block's node with
 * SCHEMA_PROP; also as an argument of the block's node with SCHEMA_ARG (in the order of the table).
 * Unknown, doubled, missing, ill-typed and out-of-bounds things are errors with a place and, if there is one,
 * a suggestion.  Parsing goes on after errors; a wrong row keeps its default.
 *
 * Memory: everything is allocated from the caller's arena and read-only afterwards.  Single thread for a run.
 */
#ifndef SN_SCHEMA_SCHEMA_H
#define SN_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/hmap.h"
#include "base/span.h"
#include "base/strbuf.h"
#include "schema/diag.h"
#include "schema/kdl.h"
#include "schema/member.h"
#include "schema/pos.h"
#include "schema/row.h"
#include "schema/table.h"
#include "schema/value.h"

struct schema {
	struct arena *arena; /* borrowed: what is parsed lives there */
	struct diag *diag;   /* borrowed */
	void *user;	     /* of the caller, for checks and custom rows */

	struct hmap ids; /* engine: ids seen, by list */
};

void schema_init(struct schema *s, struct arena *a, struct diag *d, void *user);
void schema_fini(struct schema *s); /* NULL ok; the results stay */

/*
 * Fill *config (a struct of `block`) from the children of a document: defaults, then what is written, then the
 * checks.  `nodes` is the first top-level node or NULL.  0, or -EINVAL if an error was recorded; *config can be
 * read in both cases.
 */
int schema_parse(struct schema *s, const struct schema_block *block, const struct kdl_node *nodes,
		 void *config);
/* The same for one node with its arguments, properties and children: for custom rows. */
int schema_parse_node(struct schema *s, const struct schema_block *block, const struct kdl_node *node,
		      void *config);
/* Only the defaults. */
int schema_defaults(struct schema *s, const struct schema_block *block, void *config);
/* For custom rows: read one value into `member` by the row's type (not for blocks, lists and custom). */
int schema_read_value(struct schema *s, const struct schema_row *row, const struct kdl_value *value,
		      void *member);

/* The row of that name or alias, or NULL. */
const struct schema_row *schema_row_find(const struct schema_row *rows, struct span name);
/* The word's main spelling for a value of an enumeration, or NULL. */
const char *schema_word_text(const struct schema_word *words, int value);
/* The word for a text as a user may write it, or NULL. */
const struct schema_word *schema_word_find(const struct schema_word *words, struct span text);

/*
 * One member as the user would write it ("30s", "a" "b"); a secret is ***.  Nothing for blocks, lists, groups
 * and custom rows.
 */
void schema_value_print(const struct schema_row *row, const void *config, struct strbuf *out);

#endif
