/* SPDX-License-Identifier: GPL-2.0-only */
/* table.h - the types of the tables: words, rows, blocks.  Rows are made by the macros of row.h. */
#ifndef SN_SCHEMA_TABLE_H
#define SN_SCHEMA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "schema/kdl.h"

struct schema;
struct schema_row;
struct schema_block;

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
	SCHEMA_ELSEWHERE = 1 << 11, /* what is below it is in the manual at another place */
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
	schema_verify_fn *verify;		/* strings, paths, regexes, each of STRINGS, ids of VARIANTS; or NULL */
	schema_custom_fn *custom;		/* CUSTOM */
	const char *value_text; /* CUSTOM: the form of the value, for the manual */
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

#endif
