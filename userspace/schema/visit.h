/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * visit.h - a parsed configuration read back through its tables: every setting, and what differs between two.
 * A path is the keys from the top with / between them, an element of a list with its id or number:
 * `listeners/listener "web"/address`, `upstreams/upstream "a"/target 0/weight`.
 * Custom rows take part if they have a `print`; keys of a later version never.  Any thread, nothing is changed.
 */
#ifndef SN_SCHEMA_VISIT_H
#define SN_SCHEMA_VISIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "schema/pos.h"
#include "schema/table.h"

struct visit_setting {
	const char *path; /* valid during the call */
	const char *text; /* as the user would write it; a secret is *** */
	struct schema_pos pos; /* where it was written; not set: it is the default */
};

typedef void visit_fn(const struct visit_setting *setting, void *user);

/* Call fn for every value of a struct that schema_parse() filled, in the order of the tables. */
void visit_run(const struct schema_block *block, const void *config, visit_fn *fn, void *user);

/*
 * What differs, one line each: `~ path: old -> new`, `+ path value`, `- path value`; of added and removed
 * elements only what was written.  Secrets are compared, not shown.  Returns the number of lines.  The order of
 * elements with ids is not compared.
 */
size_t visit_diff(const struct schema_block *block, const void *before, const void *after, struct strbuf *out);

#endif
