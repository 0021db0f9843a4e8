/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * row.h - how rows are made.
 *
 * S is the struct, m its member, key the spelling, dflt the default as the user would write it ("none": zero;
 * NULL: zero and nothing is said of a default), help the manual text.  Further fields may follow as designated
 * initialisers: .flags = SCHEMA_REQUIRED, .aliases = "b !c".  A member of the wrong type does not compile.
 */
#ifndef SN_SCHEMA_ROW_H
#define SN_SCHEMA_ROW_H

#include "schema/member.h"
#include "schema/table.h"
#include "schema/value.h"

#define SCHEMA_MEMBER(S, m, T) \
	(offsetof(S, m) + \
	 0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((S *)0)->m), T) ? 1 : -1]))
#define SCHEMA_SIZEOF(S, m) sizeof(((S *)0)->m)
#define SCHEMA_STR_(S, m) SCHEMA_MEMBER(S, m, const char *)

#define ROW_BOOL(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_BOOL, .offset = SCHEMA_MEMBER(S, m, bool), .default_text = dflt, \
	  .help = text, __VA_ARGS__ }
/* m is an unsigned integer of any width that holds hi; .words adds words ("auto") beside the numbers. */
#define ROW_UINT(S, m, key, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_UINT, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), .min = lo, \
	  .max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_INT(S, m, key, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_INT, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), .min = lo, \
	  .max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_FLOAT(S, m, key, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_FLOAT, .offset = SCHEMA_MEMBER(S, m, double), .float_min = lo, \
	  .float_max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
/* const char *; NULL if there is no default.  Not empty unless SCHEMA_EMPTY; at most .max bytes (0: no bound). */
#define ROW_STRING(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_STRING, .offset = SCHEMA_STR_(S, m), .default_text = dflt, .help = text, \
	  __VA_ARGS__ }
/* The argument that names an element of a list: required, unique within the list. */
#define ROW_ID(S, m, text, ...) \
	{ .name = "id", .type = SCHEMA_STRING, .offset = SCHEMA_STR_(S, m), \
	  .flags = SCHEMA_ARG | SCHEMA_ARG_ONLY | SCHEMA_ID | SCHEMA_REQUIRED, .max = 255, .help = text, \
	  __VA_ARGS__ }
/* const char *: a path that need not exist / a regular file that can be read now. */
#define ROW_PATH(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_PATH, .offset = SCHEMA_STR_(S, m), .default_text = dflt, .help = text, \
	  __VA_ARGS__ }
#define ROW_FILE(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_FILE, .offset = SCHEMA_STR_(S, m), .default_text = dflt, .help = text, \
	  __VA_ARGS__ }
/* const char *: verify_fn compiles it. */
#define ROW_REGEX(S, m, key, verify_fn, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_REGEX, .offset = SCHEMA_STR_(S, m), .verify = verify_fn, \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
/* m is an enum, int or unsigned.  FLAGS: the args' values are or-ed into it. */
#define ROW_ENUM(S, m, key, word_list, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_ENUM, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), \
	  .words = word_list, .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_FLAGS(S, m, key, word_list, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_FLAGS, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), \
	  .words = word_list, .default_text = dflt, .help = text, __VA_ARGS__ }
/* m is an unsigned integer in milliseconds; bounds are milliseconds. */
#define ROW_DURATION(S, m, key, unit, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_DURATION, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), \
	  .unit_ms = unit, .min = lo, .max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
/* m is an unsigned integer in bytes. */
#define ROW_SIZE(S, m, key, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_SIZE, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), .min = lo, \
	  .max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_RATE(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_RATE, .offset = SCHEMA_MEMBER(S, m, struct value_rate), \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_ADDR(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_ADDR, .offset = SCHEMA_MEMBER(S, m, union value_addr), \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_ENDPOINT(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_ENDPOINT, .offset = SCHEMA_MEMBER(S, m, struct value_endpoint), \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
/* All arguments of the node; several nodes add up.  A written list replaces the default ("a b c"). */
#define ROW_STRINGS(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_STRINGS, .offset = SCHEMA_MEMBER(S, m, struct schema_strings), \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_UINTS(S, m, key, lo, hi, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_UINTS, .offset = SCHEMA_MEMBER(S, m, struct schema_uints), .min = lo, \
	  .max = hi, .default_text = dflt, .help = text, __VA_ARGS__ }
#define ROW_CIDRS(S, m, key, dflt, text, ...) \
	{ .name = key, .type = SCHEMA_CIDRS, .offset = SCHEMA_MEMBER(S, m, struct schema_cidrs), \
	  .default_text = dflt, .help = text, __VA_ARGS__ }
/* key { name "value"; ... } */
#define ROW_MAP(S, m, key, text, ...) \
	{ .name = key, .type = SCHEMA_MAP, .offset = SCHEMA_MEMBER(S, m, struct schema_map), .help = text, \
	  __VA_ARGS__ }
/* m is the block's struct itself: there with its defaults even if not written. */
#define ROW_BLOCK(S, m, key, blk, text, ...) \
	{ .name = key, .type = SCHEMA_EMBEDDED, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), \
	  .block = blk, .help = text, __VA_ARGS__ }
/* m is a pointer to the block's struct: NULL if not written. */
#define ROW_OPTIONAL(S, m, key, blk, text, ...) \
	{ .name = key, .type = SCHEMA_OPTIONAL, .offset = offsetof(S, m), .size = sizeof(*((S *)0)->m), \
	  .block = blk, .help = text, __VA_ARGS__ }
/* m points to an array of the block's struct, n (size_t) counts it; each node of this name adds one. */
#define ROW_LIST(S, m, n, key, blk, text, ...) \
	{ .name = key, .type = SCHEMA_LIST, .offset = offsetof(S, m), .size = sizeof(*((S *)0)->m), \
	  .count_offset = SCHEMA_MEMBER(S, n, size_t), .block = blk, .help = text, __VA_ARGS__ }
/* The same for struct schema_variant: key "id" { <selector> "word"; rows of that block }. */
#define ROW_VARIANTS(S, m, n, key, var, text, ...) \
	{ .name = key, .type = SCHEMA_VARIANTS, .offset = SCHEMA_MEMBER(S, m, struct schema_variant *), \
	  .size = sizeof(struct schema_variant), .count_offset = SCHEMA_MEMBER(S, n, size_t), .variants = var, \
	  .help = text, __VA_ARGS__ }
/* A node whose children fill members of the same struct: listeners { listener "a" { } }. */
#define ROW_GROUP(key, row_table, text, ...) \
	{ .name = key, .type = SCHEMA_GROUP, .rows = row_table, .help = text, __VA_ARGS__ }
#define ROW_CUSTOM(S, m, key, fn, form, text, ...) \
	{ .name = key, .type = SCHEMA_CUSTOM, .offset = offsetof(S, m), .size = SCHEMA_SIZEOF(S, m), \
	  .custom = fn, .value_text = form, .help = text, __VA_ARGS__ }
/* Known, but not in this version: an error that says so. */
#define ROW_LATER(key, ...) { .name = key, .type = SCHEMA_LATER, __VA_ARGS__ }
#define ROW_END { .name = NULL }

#define SCHEMA_BLOCK(S, key, row_table, check_fn, text) \
	{ .name = key, .rows = row_table, .check = check_fn, .help = text, \
	  .size = sizeof(S) + SCHEMA_MEMBER(S, meta, struct schema_meta) * \
				      sizeof(char[offsetof(S, meta) == 0 ? 1 : -1]) }

#endif
