/* SPDX-License-Identifier: GPL-2.0-only */
/* describe_text.h - what is said of a row in every form of the manual.  Inside schema/ only. */
#ifndef SN_SCHEMA_DESCRIBE_TEXT_H
#define SN_SCHEMA_DESCRIBE_TEXT_H

#include "schema/describe.h"
#include "schema/schema.h"

#define DESCRIBE_DEPTH_MAX 5 /* of tables inside each other: JSON_DEPTH_MAX bounds it */

/* "duration", "list" ...: one word for the type. */
const char *describe_type(enum schema_type type);
/* How the value is written: "number", "red | green", "\"id\" { ... }". */
void describe_form(const struct schema_row *row, struct strbuf *out);
/* Sentences: default, bounds, required, other spellings; nothing for a plain row. */
void describe_facts(const struct schema_row *row, struct strbuf *out);
/* The rows below a row: those of its block or group, else NULL. */
const struct schema_row *describe_rows_below(const struct schema_row *row);
/* Not for the manual: hidden, or of a later version. */
bool describe_is_skipped(const struct schema_row *row);

#endif
