/* SPDX-License-Identifier: GPL-2.0-only */
/* readers.h - the two formats, as database.c and compile.c use them. */
#ifndef SN_GEO_READERS_H
#define SN_GEO_READERS_H

#include "geo/database.h"

#define GEO_COUNTRY_BITS_WORDS (65536 / 64)

/* Countries that were seen while a file was checked. */
struct geo_seen {
	uint64_t bits[GEO_COUNTRY_BITS_WORDS];
	bool has_asn;
};

void geo_seen_add(struct geo_seen *s, const struct geo_place *p);

/* ---- MaxMind ---- */

struct mmdb;

const struct mmdb *geo_database_mmdb(const struct geo_database *d); /* NULL: of the other format */
/* fd is a regular file or memfd that does not change.  NULL with a sentence in out_why. */
struct mmdb *mmdb_open(int fd, struct strbuf *out_why);
void mmdb_close(struct mmdb *m); /* NULL ok */
/* Every node and record: 0, or -EBADMSG and what is wrong.  Fills in what it learns. */
int mmdb_check(struct mmdb *m, struct geo_info *info, struct geo_seen *seen, struct strbuf *out_why);
int mmdb_find(const struct mmdb *m, const uint8_t ip[16], struct geo_place *out_place);

/* One end of an edge of the tree. */
struct mmdb_end {
	enum { MMDB_END_NODE, MMDB_END_DATA, MMDB_END_NOTHING } kind;
	uint32_t value; /* number of the node; offset of the data */
};

unsigned mmdb_ip_version(const struct mmdb *m);
/* 0, or -EBADMSG. */
int mmdb_children(const struct mmdb *m, uint32_t node, struct mmdb_end out_ends[2]);
int mmdb_data(const struct mmdb *m, uint32_t offset, struct geo_place *out_place);

/* ---- IP2Location ---- */

/* bytes is borrowed, and outlives the reader. */
struct ip2location {
	const uint8_t *bytes;
	size_t len;
	uint32_t column_count;
	uint32_t v4_count, v4_at; /* rows, and the offset of the first */
	uint32_t v6_count, v6_at;
};

/* 0, or -EBADMSG with a sentence in out_why.  Every row is looked at. */
int ip2location_open(struct ip2location *p, const uint8_t *bytes, size_t len, struct geo_info *info,
		     struct geo_seen *seen, struct strbuf *out_why);
int ip2location_find(const struct ip2location *p, const uint8_t ip[16], struct geo_place *out_place);

#endif
