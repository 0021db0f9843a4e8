/* SPDX-License-Identifier: GPL-2.0-only */
/* schema_read.h - between the parts of the engine: spellings, values, defaults.  Inside schema/ only. */
#ifndef SN_SCHEMA_SCHEMA_READ_H
#define SN_SCHEMA_SCHEMA_READ_H

#include "schema/schema.h"

#define SCHEMA_NAMES_MAX 512 /* spellings looked at for one suggestion */

/* schema_rows.c: spellings */

/* Take the next spelling off an alias list; false at the end. */
bool schema_alias_next(const char **aliases, struct span *out_alias, bool *out_is_deprecated);
/* Equal but for case and - against _. */
bool schema_word_eq(struct span a, struct span b);
/* Does the row go by that name?  *out_is_deprecated only if so. */
bool schema_row_is(const struct schema_row *row, struct span name, bool *out_is_deprecated);
/* All values of a type come as the arguments of a node, any number of them. */
bool schema_type_is_multi(enum schema_type type);
/* One value makes it: not a block, list, group, map or custom row. */
bool schema_type_is_value(enum schema_type type);

static inline void *schema_member(const struct schema_row *row, const void *config)
{
	return (char *)config + row->offset;
}

/* schema_read.c: values */

struct schema_reading {
	struct schema *s;
	const struct schema_row *row;
	struct span key; /* as it was written: its suffix is a duration's unit */
	const struct kdl_value *value;
	void *member;
};

/* 0, or -EINVAL with the error reported; the member is written only on success.  Multi types append. */
int schema_reading_run(const struct schema_reading *r);
/* The row's default, into a zeroed member. */
int schema_default_set(struct schema *s, const struct schema_row *row, void *member);
/* Room for one more element at the end of an array in the arena: its address.  *items may move. */
void *schema_array_add(struct arena *a, void **items, size_t *count, size_t size);
/* The text of a value as a string; NULL with the error reported. */
const char *schema_string_read(const struct schema_reading *r);

#endif
