/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kdl_scan.h - the cursor of the KDL reader: characters, white space, comments.  Inside schema/ only.
 * The text was checked first (kdl_scan_check), so that decoding cannot fail.
 */
#ifndef SN_SCHEMA_KDL_SCAN_H
#define SN_SCHEMA_KDL_SCAN_H

#include "base/strbuf.h"
#include "schema/kdl.h"

#define KDL_NUMBER_MAX 1024 /* bytes of one number's spelling */

struct kdl_scan {
	struct arena *arena;
	unsigned version; /* 1 or 2: the grammar in use */

	const char *ptr, *end;
	struct schema_pos pos; /* of ptr; width unused */

	struct strbuf text;	/* a string while it is read */
	struct kdl_value *args; /* those of the node that is read; its children come later */
	size_t arg_count, arg_size;
	struct kdl_prop *props;
	size_t prop_count, prop_size;
	size_t item_count;

	int status; /* 0 or what kdl_fail() was told */
	struct kdl_error error;
};

/* Well-formed UTF-8, no disallowed code point; else *out_error and -EINVAL.  A leading BOM is skipped in *text. */
int kdl_scan_check(struct span *text, uint32_t file, struct kdl_error *out_error);

/* Record the error (the first stays) and return status. */
int kdl_fail(struct kdl_scan *s, struct schema_pos pos, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

bool kdl_is_newline(uint32_t c);
bool kdl_is_space(uint32_t c);
/* May it stand in an identifier or a number? */
bool kdl_is_word(const struct kdl_scan *s, uint32_t c);

uint32_t kdl_peek(const struct kdl_scan *s);	    /* 0 at the end */
char kdl_byte(const struct kdl_scan *s, size_t at); /* raw look-ahead; 0 after the end */
void kdl_skip(struct kdl_scan *s);		    /* one character; CR LF is one */
void kdl_skip_bytes(struct kdl_scan *s, size_t n);  /* n ASCII bytes, none of them a newline */
/* Position of start with the width up to here. */
struct schema_pos kdl_pos_since(const struct kdl_scan *s, struct schema_pos start);

/* White space, block comments, line continuations.  False if there was none. */
bool kdl_skip_space(struct kdl_scan *s);
/* The same, and newlines and line comments. */
void kdl_skip_lines(struct kdl_scan *s);

/* kdl_text.c: one string, number or keyword; v->pos and v->annotation are set by the caller. */
bool kdl_is_string_start(const struct kdl_scan *s);
int kdl_read_string(struct kdl_scan *s, struct kdl_value *v);
int kdl_read_literal(struct kdl_scan *s, struct kdl_value *v);

#endif
