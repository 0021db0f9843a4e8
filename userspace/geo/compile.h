/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compile.h - a database and the countries that somebody names, as the tables of include/sentinel/geo.h.
 *
 * A /24 (and a /48) that lies in one country gets that country's number, one of which parts are in different ones
 * SN_GEO_MIXED.  The IPv4 tree that databases show once more inside IPv6 (6to4, Teredo) is not walked again: mixed.
 */
#ifndef SN_GEO_COMPILE_H
#define SN_GEO_COMPILE_H

#include "geo/database.h"
#include "sentinel/geo.h"

#define GEO_TABLE4_BYTES ((size_t)SN_GEO4_WORDS * 8)

struct geo_prefix6 {
	uint8_t ip[8]; /* bits beyond len are 0 */
	uint8_t len;   /* 0..48 */
	uint8_t number;
};

struct geo_tables {
	uint8_t *v4; /* owned: the number of each /24 */
	struct geo_prefix6 *v6; /* owned; no two overlap */
	size_t v6_count;
	bool is_v6_left_out; /* there would be more than SN_GEO6_MAX: then there are none */
	uint32_t v4_mixed; /* how many /24 */
	uint32_t v6_mixed; /* how many rows of v6 */
};

/*
 * named[i] gets number i + 1.  Of MaxMind's format.  0; -E2BIG: more than SN_GEO_NAMED_MAX; -EBADMSG: the tree is
 * malformed.  Then a sentence is in out_why.  Any thread; takes some 100 ms.
 */
int geo_compile(struct geo_tables *out_tables, const struct geo_database *d, const geo_country *named, size_t count,
		struct strbuf *out_why);
void geo_tables_fini(struct geo_tables *t); /* NULL ok */

/* What the kernel finds in such tables. */
uint8_t geo_tables_find(const struct geo_tables *t, const uint8_t ip[16]);

#endif
