/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * source.h - the files of one configuration: read, parsed, joined.
 *
 * `include "glob"` may stand wherever a node may.  It is replaced by the nodes of the files that match, in byte
 * order of their names; the pattern is relative to the file that it stands in.  A pattern that matches nothing is
 * a warning, a plain name that does not exist an error, and so is a file that includes itself over any number of
 * steps (the message shows the chain).  The same file may be included in two places.
 *
 * In the values of nodes (not in names and not in raw strings) `${NAME}` is the environment variable and
 * `${NAME:-text}` the same with a default for one that is unset or empty; `$${` is a literal `${`.  An unset
 * variable without default is an error.  A NAME is letters, digits and _.
 *
 * The texts stay in the arena, for the lines of diagnostics and for the file names of positions.
 */
#ifndef SN_SCHEMA_SOURCE_H
#define SN_SCHEMA_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "schema/diag.h"
#include "schema/kdl.h"
#include "schema/pos.h"

#define SOURCE_DEPTH_MAX 16	    /* files that include each other */
#define SOURCE_FILES_MAX 1024	    /* of one configuration */
#define SOURCE_BYTES_MAX (64u << 20) /* of all its files together */

struct source_file {
	const char *path; /* as it is shown: the name given, or that of the including directory and the match */
	struct span text;
	struct schema_pos included_at; /* not set for the first one */
};

struct source_set {
	struct arena *arena; /* borrowed; texts, trees and this table live there */
	const char *(*env)(const char *name, void *user); /* getenv() unless a test sets another */
	void *env_user;

	struct source_file *files; /* files[pos.file - 1] */
	uint32_t file_count;
	size_t bytes;
};

void source_init(struct source_set *s, struct arena *a);
/*
 * Read a configuration with all that it includes.  *out_nodes is the first top-level node (NULL: none).  0, or
 * -errno with at least one error in d; then *out_nodes is not written.  All files with errors are reported.
 */
int source_load(struct source_set *s, const char *path, struct diag *d, struct kdl_node **out_nodes);
/* The same from memory; `name` is shown and its directory is where includes start.  The text is copied. */
int source_load_text(struct source_set *s, const char *name, struct span text, struct diag *d,
		     struct kdl_node **out_nodes);

/* Name of a file, "-" for a place that is not set. */
const char *source_path(const struct source_set *s, uint32_t file);
/* The line of that place without its end; empty if there is none.  Linear in the file. */
struct span source_line(const struct source_set *s, struct schema_pos pos);

#endif
