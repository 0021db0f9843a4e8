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
#include "schema/pos.h"
#include "schema/value.h"

struct schema;
struct schema_row;
struct schema_block;

/* ---- where settings came from ------------------------------------------------------------------------------ */

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

/* ---- members that are more than a number ------------------------------------------------------------------- */

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

/* ---- tables ------------------------------------------------------------------------------------------------- */

/* A word of an enumeration.  Case does not count, - and _ are equal.  The list ends with a NULL name. */
struct schema_word {
	const char *name;
	int value;
	const char *aliases; /* "b c !d"; ! marks one that is deprecated */
	const char *help;    /* or NULL */
	bool is_later;	     /* not in this version: using it is an error that says so */
};

enum schema_type {
	SCHEMA_NONE, /* end of a table */
	SCHEMA_BOOL,
	SCHEMA_UINT,
	SCHEMA_INT,
	SCHEMA_FLOAT,
	SCHEMA_STRING,
	SCHEMA_PATH,
	SCHEMA_FILE,
	SCHEMA_REGEX,
	SCHEMA_ENUM,
	SCHEMA_FLAGS,
	SCHEMA_DURATION,
	SCHEMA_SIZE,
	SCHEMA_RATE,
	SCHEMA_ADDR,
	SCHEMA_ENDPOINT,
	SCHEMA_STRINGS,
	SCHEMA_UINTS,
	SCHEMA_CIDRS,
	SCHEMA_MAP,
	SCHEMA_EMBEDDED,
	SCHEMA_OPTIONAL,
	SCHEMA_LIST,
	SCHEMA_VARIANTS,
	SCHEMA_GROUP,
	SCHEMA_CUSTOM,
	SCHEMA_LATER,
	SCHEMA_TYPE_COUNT,
};

enum schema_flag {
	SCHEMA_REQUIRED = 1 << 0, /* error at the block if it is not written (list: at least one) */
	SCHEMA_PROP = 1 << 1,	  /* may be written as key=value on the block's node */
	SCHEMA_ARG = 1 << 2,	  /* may be written as argument of the block's node */
	SCHEMA_ARG_ONLY = 1 << 3, /* may be written in no other way (with SCHEMA_ARG) */
	SCHEMA_ID = 1 << 4,	  /* unique within its list */
	SCHEMA_SECRET = 1 << 5,	  /* never printed, neither the value nor its line */
	SCHEMA_REPEAT = 1 << 6,	  /* group or custom: may be written several times */
	SCHEMA_MULTI = 1 << 7,	  /* map: the same name may occur several times */
	SCHEMA_PORT_ZERO = 1 << 8, /* address: port 0 is allowed */
	SCHEMA_EMPTY = 1 << 9,	  /* string: may be "" */
	SCHEMA_HIDDEN = 1 << 10,  /* not in the manual */
};

/* Milliseconds; units and bounds of durations. */
#define SCHEMA_MILLIS 1
#define SCHEMA_SECONDS 1000
#define SCHEMA_HOUR 3600000LL
#define SCHEMA_DAY 86400000LL

/* Is the text right?  NULL if so, else why not, in the arena or static: `is not a pattern: missing )`. */
typedef const char *schema_verify_fn(const char *text, struct arena *a);
/*
 * Read a node that no type fits: reports its errors itself, to s->diag.  `member` is the row's member of
 * `config`, the block's struct.  Not called for a default: the member stays zero unless default_text is parsed
 * by the block's check.
 */
typedef void schema_custom_fn(struct schema *s, const struct kdl_node *node, void *member, void *config);

struct schema_row {
	const char *name;    /* NULL: end of the table */
	const char *aliases; /* "b c !d": other spellings; ! marks a deprecated one */
	enum schema_type type;
	unsigned flags;
	size_t offset;	     /* of the member */
	size_t size;	     /* of the member, or of a list's element */
	size_t count_offset; /* LIST and VARIANTS: of the element count */

	int64_t min, max;	/* numbers, durations (ms), sizes; string: bytes; list: count */
	double float_min, float_max;
	uint32_t unit_ms; /* DURATION: of a bare number.  A key ending in -ms, -secs overrides it */
	const char *default_text; /* "none": zero, and the user may write "none" for numbers and addresses */
	const char *help;	  /* full sentences */

	const struct schema_word *words; /* ENUM, FLAGS; UINT, INT, DURATION, SIZE: words beside numbers, or NULL */
	const struct schema_block *block;	/* EMBEDDED, OPTIONAL, LIST */
	const struct schema_row *rows;		/* GROUP: rows of the same struct */
	const struct schema_variants *variants; /* VARIANTS */
	schema_verify_fn *verify;		/* strings, paths, regexes, and each of STRINGS; or NULL */
	schema_custom_fn *custom;		/* CUSTOM */
	const char *value_text;			/* manual: the form of a CUSTOM value */
};

struct schema_block {
	const char *name;
	size_t size; /* of its struct, which begins with struct schema_meta */
	const struct schema_row *rows;
	/*
	 * Rules across rows, or NULL.  Runs after all rows of the block, also if some were wrong; reports to
	 * s->diag.  Elements of lists move while their list grows: keep no pointer to `config` itself.
	 */
	void (*check)(struct schema *s, void *config);
	const char *help;
	bool is_later; /* of a variant: known, but not in this version */
};

/* The blocks that a key of the node chooses from: filter "a" { type "headers" ... } */
struct schema_variants {
	const char *selector;			   /* the key: "type" */
	const struct schema_block *const *blocks; /* by their names; NULL at the end */
};

/* ---- how rows are made -------------------------------------------------------------------------------------- */

/*
 * S is the struct, m its member, key the spelling, dflt the default as the user would write it ("none": zero;
 * NULL: zero and nothing is said of a default), help the manual text.  Further fields may follow as designated
 * initialisers: .flags = SCHEMA_REQUIRED, .aliases = "b !c".  A member of the wrong type does not compile.
 */
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

/* ---- a run --------------------------------------------------------------------------------------------------- */

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
 * and custom rows.  Used by `explain` and by the description of changes at a reload.
 */
void schema_value_print(const struct schema_row *row, const void *config, struct strbuf *out);

#endif
