/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * database.h - one geo database: checked as a whole when it is opened, then immutable.
 *
 * The file is copied into memory of our own (a sealed memfd, which is then mapped): somebody who truncates or rewrites
 * it in place harms neither look-ups nor the process.  Opening reads every node and every record once, so that a
 * damaged file is refused then and not by the client that happens to meet the damage.
 */
#ifndef SN_GEO_DATABASE_H
#define SN_GEO_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/strbuf.h"
#include "geo/place.h"

#define GEO_FILE_BYTES_MAX (1u << 30)

enum geo_format {
	GEO_FORMAT_MAXMIND,	/* .mmdb: country and city layouts, and those of autonomous systems */
	GEO_FORMAT_IP2LOCATION, /* .BIN */
	GEO_FORMAT_COUNT
};

struct geo_info {
	enum geo_format format;
	char type[64];	       /* as the file calls itself, "GeoLite2-Country"; printable */
	uint64_t build_secs;   /* since the epoch; 0: it does not say */
	uint64_t bytes;
	unsigned ip_version;   /* 4, or 6 for both */
	uint32_t node_count;   /* nodes or rows */
	unsigned country_count; /* distinct ones */
	bool has_asn;
};

struct geo_database;

/* Any thread; takes some 100 ms for a large file.  NULL, with one sentence in out_why.  One reference. */
struct geo_database *geo_database_open(const char *path, enum geo_format format, struct strbuf *out_why);
/* The same for bytes in memory, which are copied. */
struct geo_database *geo_database_open_bytes(const void *bytes, size_t len, enum geo_format format,
					     struct strbuf *out_why);
struct geo_database *geo_database_get(struct geo_database *d); /* any thread */
void geo_database_put(struct geo_database *d);		       /* NULL ok; any thread */

const struct geo_info *geo_database_info(const struct geo_database *d);
/* What the file was when it was read (of geo_database_open()). */
const struct stat *geo_database_stat(const struct geo_database *d);

/*
 * 16 bytes, IPv4 as ::ffff:a.b.c.d.  0, also when nothing is known of the address (then the place is zero); -EBADMSG:
 * the database is malformed there.  Any thread, about a microsecond.
 */
int geo_database_find(const struct geo_database *d, const uint8_t ip[16], struct geo_place *out_place);

const char *geo_format_name(enum geo_format format); /* "maxmind", "ip2location" */

#endif
