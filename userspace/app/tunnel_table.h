/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnel_table.h - the rows of `sentinel flows`: of all tunnels that were added those with the most bytes, as a table
 * for people or as JSON.  Holds copies: a worker fills one, control puts them together.
 */
#ifndef SN_APP_TUNNEL_TABLE_H
#define SN_APP_TUNNEL_TABLE_H

#include "base/strbuf.h"
#include "proxy/tunnels.h"

#define TUNNEL_TABLE_ROWS_MAX 10000

struct tunnel_row;

struct tunnel_table {
	struct tunnel_row *rows; /* owned, as heap */
	unsigned *heap;		 /* places in rows, that of the fewest bytes first */
	unsigned count, cap, rows_max;
	uint64_t seen; /* with those that are not in rows */
};

/* rows_max: 1..TUNNEL_TABLE_ROWS_MAX. */
void tunnel_table_init(struct tunnel_table *t, unsigned rows_max);
void tunnel_table_fini(struct tunnel_table *t);

/* For tunnels_each(): ctx is the table. */
void tunnel_table_add(void *ctx, const struct tunnel_facts *f);
/* As if everything that was added to `from` had been added to t. */
void tunnel_table_merge(struct tunnel_table *t, const struct tunnel_table *from);

/* Most bytes first.  Sorts the rows: nothing can be added afterwards. */
void tunnel_table_text(struct tunnel_table *t, struct strbuf *out);
void tunnel_table_json(struct tunnel_table *t, struct strbuf *out);

#endif
