/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mmdb_build.h - makes a MaxMind database in memory: what tests put in is what they must find.
 *
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d and prefixes of it 96 + n; in the file it is at ::/96, as MaxMind has
 * it.  What is added later replaces what was there.
 */
#ifndef SN_SELFTESTS_LIB_MMDB_BUILD_H
#define SN_SELFTESTS_LIB_MMDB_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define MMDB_BUILD_DATA_MAX 1024

struct mmdb_build_data {
	char country[3]; /* "": none */
	uint32_t asn;	 /* 0: none */
	bool is_flat;	 /* country_code instead of country.iso_code */
};

struct mmdb_build {
	int (*nodes)[2]; /* owned; an index, -1: nothing, -2 - i: data i */
	size_t count, size;
	struct mmdb_build_data data[MMDB_BUILD_DATA_MAX];
	int data_count;
	unsigned record_bits; /* 24, 28 or 32 */
	unsigned ip_version;
	const char *type;
};

void mmdb_build_init(struct mmdb_build *b, unsigned ip_version, unsigned record_bits);
void mmdb_build_fini(struct mmdb_build *b);
void mmdb_build_add(struct mmdb_build *b, const uint8_t ip[16], unsigned len, struct mmdb_build_data data);
/* "10.0.0.0/8" or "2001:db8::/32". */
void mmdb_build_add_text(struct mmdb_build *b, const char *prefix, const char *country, uint32_t asn);
/* The IPv4 tree once more at 2002::/16, 2001::/32 and ::ffff:0:0/96, as MaxMind has it.  After the last add. */
void mmdb_build_alias(struct mmdb_build *b);
void mmdb_build_write(const struct mmdb_build *b, struct strbuf *out);

#endif
