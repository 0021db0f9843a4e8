/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * member.h - what a parsed struct consists of beside numbers: where it came from, strings, lists, maps.
 * All of it is allocated from the arena of the run and read-only afterwards.
 */
#ifndef SN_SCHEMA_MEMBER_H
#define SN_SCHEMA_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/pos.h"
#include "schema/value.h"

struct schema_row;
struct schema_block;

/* First member of every struct that a block fills. */
struct schema_meta {
	struct schema_pos pos;	    /* of the block's node; not set: the block was not written */
	struct schema_marks *marks; /* where each row was written */
};

struct schema_mark {
	struct schema_pos pos; /* of the key, or the argument */
	bool is_wrong;	       /* it was an error; the member has its default */
};

struct schema_marks {
	const struct schema_row *rows;
	struct schema_mark *items; /* one for each row */
	struct schema_marks *next; /* those of groups in this block */
};

static inline bool schema_is_present(const struct schema_meta *meta)
{
	return schema_pos_is_set(meta->pos);
}

/* The mark of the row that fills `offset`, or NULL if it was not written. */
const struct schema_mark *schema_mark_find(const struct schema_meta *meta, size_t offset);
/* Where it was written; for a default the place of the block. */
struct schema_pos schema_mark_pos(const struct schema_meta *meta, size_t offset);

/* Was this member written by the user (rightly or wrongly)?  c is a pointer to a block's struct. */
#define SCHEMA_HAS(c, member) \
	(schema_mark_find(&(c)->meta, offsetof(__typeof__(*(c)), member)) != NULL)
/* Was it written rightly? */
#define SCHEMA_HAS_VALID(c, member) schema_has_valid(&(c)->meta, offsetof(__typeof__(*(c)), member))
#define SCHEMA_POS(c, member) schema_mark_pos(&(c)->meta, offsetof(__typeof__(*(c)), member))

static inline bool schema_has_valid(const struct schema_meta *meta, size_t offset)
{
	const struct schema_mark *mark = schema_mark_find(meta, offset);

	return mark && !mark->is_wrong;
}

/* What members hold that are more than a number. */

struct schema_string {
	const char *text; /* NUL-terminated, no NUL inside */
	size_t len;
	struct schema_pos pos;
};

struct schema_strings {
	struct schema_string *items;
	size_t count;
};

struct schema_uints {
	uint64_t *items;
	size_t count;
};

struct schema_pair {
	struct schema_string name;
	struct schema_string value;
};

struct schema_map {
	struct schema_pair *items; /* in the order written */
	size_t count;
};

struct schema_cidrs {
	struct value_cidr *items;
	size_t count;
};

/* One element of ROW_VARIANTS: which block it turned out to be, and that block's struct. */
struct schema_variant {
	struct schema_meta meta;	  /* place of the node */
	const char *id;			  /* "" if it was missing (an error then) */
	const struct schema_block *block; /* NULL if the type was wrong (an error then) */
	void *config;			  /* struct of that block; NULL with it */
};

#endif
