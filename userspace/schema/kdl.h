/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kdl.h - reader for KDL documents: text in, a tree of nodes with exact positions out.
 *
 * KDL 2.0 (kdl.dev/spec), and KDL 1.0 for a document that is not valid as 2.0 but is as 1.0; a version marker
 * (`/- kdl-version 1`) allows that one version only.  Both refuse invalid UTF-8 and the code points that
 * KDL 2.0 disallows (control bytes, direction overrides, a byte order mark anywhere but at the start).
 *
 * Time is linear in the text, recursion is bounded by KDL_DEPTH_MAX, memory by the limits below.  The tree and
 * its strings live in the caller's arena and copy nothing twice; the text may be freed afterwards.  Any thread.
 */
#ifndef SN_SCHEMA_KDL_H
#define SN_SCHEMA_KDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "schema/pos.h"

#define KDL_DEPTH_MAX 64	   /* children blocks inside each other */
#define KDL_BYTES_MAX (16u << 20)  /* of one document */
#define KDL_ITEMS_MAX 1000000	   /* nodes and values of one document */

enum kdl_type {
	KDL_NULL,
	KDL_BOOL,
	KDL_INT,
	KDL_FLOAT,
	KDL_STRING,
};

enum kdl_form {
	KDL_FORM_WORD,	 /* identifier, number or keyword */
	KDL_FORM_QUOTED, /* "..." or """...""" */
	KDL_FORM_RAW,	 /* #"..."#, and r"..." of KDL 1 */
};

struct kdl_value {
	enum kdl_type type;
	enum kdl_form form;
	bool boolean;
	bool is_substituted; /* a ${NAME} was replaced in it (source.h): may also spell a number or a boolean */
	int64_t integer;     /* KDL_INT; one that does not fit is INT64_MIN or INT64_MAX */
	double number;	     /* KDL_INT and KDL_FLOAT */
	struct span text;    /* KDL_STRING: the content.  Otherwise the spelling.  A NUL follows. */
	struct span annotation; /* (type); ptr NULL if none */
	struct schema_pos pos;	/* of the value, after its annotation */
};

struct kdl_prop {
	struct span name;
	struct schema_pos pos; /* of the name */
	struct kdl_value value;
};

struct kdl_node {
	struct span name;	/* a NUL follows */
	struct span annotation; /* ptr NULL if none */
	struct schema_pos pos;	/* of the name */
	struct kdl_value *args;
	size_t arg_count;
	struct kdl_prop *props; /* all of them, as written; in KDL the last of equal names wins */
	size_t prop_count;
	struct kdl_node *children; /* the first, or NULL */
	bool has_children;	   /* a block is there, be it empty */
	struct kdl_node *next;	   /* sibling */
};

struct kdl_document {
	struct kdl_node *nodes; /* the first, or NULL */
	unsigned version;	/* 1 or 2 */
	size_t item_count;	/* nodes and values */
};

struct kdl_error {
	struct schema_pos pos;
	char message[128];
	char hint[128]; /* "" if there is none */
};

/*
 * `file` only goes into the positions.  0, -EINVAL (not KDL) or -E2BIG (a limit); then *out_error says what
 * and where.  If both versions fail, the error is that of KDL 2.0.
 */
int kdl_parse(struct arena *a, uint32_t file, struct span text, struct kdl_document *out_document,
	      struct kdl_error *out_error);

/* The last property of this name, or NULL. */
const struct kdl_prop *kdl_node_prop(const struct kdl_node *node, struct span name);
/* "a string", "a number" …: what the value is, for messages.  Static storage. */
const char *kdl_type_text(enum kdl_type type);

#endif
