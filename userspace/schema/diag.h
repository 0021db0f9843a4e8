/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * diag.h - everything that is wrong with a configuration, collected, then shown at once.
 *
 * Printed, sorted by place, as
 *
 *	sentinel.kdl:12:3: error: unknown key "adress" in listener
 *	    adress "0.0.0.0:80"
 *	    ^~~~~~
 *	  hint: did you mean "address"?
 *
 * At most DIAG_ERRORS_MAX errors and as many warnings are kept; the rest is counted ("... and 7 more errors").
 * A line that hide() named is never shown.  Control bytes in file text and messages are never printed raw.
 * Single thread.
 */
#ifndef SN_SCHEMA_DIAG_H
#define SN_SCHEMA_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/span.h"
#include "base/strbuf.h"
#include "schema/pos.h"

#define DIAG_ERRORS_MAX 100

struct source_set;

enum diag_severity {
	DIAG_ERROR,
	DIAG_WARNING,
};

struct diag_item {
	enum diag_severity severity;
	struct schema_pos pos; /* not set: about the whole configuration */
	const char *message;
	const char *hint;	    /* or NULL */
	struct schema_pos note_pos; /* a second place, with its text */
	const char *note;	    /* or NULL */
	struct diag_item *next;
};

struct diag {
	const struct source_set *sources; /* borrowed; where lines come from; may be NULL */
	struct arena arena;		  /* owned: items and their texts */
	struct diag_item *items;	  /* in the order they came */
	struct diag_item **tail;
	struct diag_line *hidden;

	unsigned error_count; /* all, also those that were not kept */
	unsigned warning_count;
};

void diag_init(struct diag *d, const struct source_set *sources);
void diag_fini(struct diag *d); /* NULL ok */

/* Record one.  The item, or NULL if it was only counted; everything below takes that NULL. */
struct diag_item *diag_error(struct diag *d, struct schema_pos pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
struct diag_item *diag_warning(struct diag *d, struct schema_pos pos, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One sentence that helps; the last one stays. */
void diag_hint(struct diag *d, struct diag_item *item, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A second place, for instance "first defined here". */
void diag_note(struct diag *d, struct diag_item *item, struct schema_pos pos, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* `did you mean "x"?` as the hint, if one of the candidates is close to the word. */
void diag_suggest(struct diag *d, struct diag_item *item, struct span word,
		  const char *const *candidates, size_t count);

/* The line of pos holds a secret: never print it. */
void diag_hide(struct diag *d, struct schema_pos pos);

/* The candidate closest to word by edit distance (- and _ are equal), or NULL if none is close. */
const char *diag_closest(struct span word, const char *const *candidates, size_t count);

/* Text for a terminal; nothing if nothing was recorded.  Ends with a newline. */
void diag_print(const struct diag *d, struct strbuf *out);
/*
 * {"errors":N,"warnings":N,"error"?,"diagnostics":[{severity,file,line,col,width,message,hint?,note?}]}: "error" is the
 * first one in words, with its place.
 */
void diag_print_json(const struct diag *d, struct strbuf *out);

#endif
