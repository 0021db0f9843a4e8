/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ip2location.c - IP2Location's .BIN: tables of rows sorted by their first address.
 *
 * All numbers are little-endian.  A header of 64 bytes: type of the database, columns, year, month, day, then number
 * of rows and position of the first (counted from 1) for IPv4 and for IPv6; at 29 the product, at 31 the file's size in
 * files that have it.  A row: its first address (4 or 16 bytes), then 4 bytes a column: the position (from 0) of a
 * string that begins with its length.  The country is the first column.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/ip16.h"
#include "geo/readers.h"

#define HEADER_BYTES 64
#define COLUMNS_MAX 64
#define PRODUCT_AT 29
#define SIZE_AT 31

static uint32_t read32(const uint8_t *at)
{
	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t row_bytes(const struct ip2location *p, bool is_v4)
{
	return (is_v4 ? 4 : 16) + 4 * (size_t)(p->column_count - 1);
}

static const uint8_t *row_at(const struct ip2location *p, bool is_v4, uint32_t index)
{
	CHECK(index < (is_v4 ? p->v4_count : p->v6_count));
	return p->bytes + (is_v4 ? p->v4_at : p->v6_at) + row_bytes(p, is_v4) * index;
}

/* The row's first address against 16 bytes in network order, of which IPv4 has the last 4. */
static int row_compare(const uint8_t *row, bool is_v4, const uint8_t ip[16])
{
	unsigned bytes = is_v4 ? 4 : 16;

	for (unsigned i = 0; i < bytes; i++) {
		uint8_t a = row[bytes - 1 - i], b = ip[16 - bytes + i];

		if (a != b)
			return a < b ? -1 : 1;
	}
	return 0;
}

static int row_place(const struct ip2location *p, const uint8_t *row, bool is_v4, struct geo_place *out_place)
{
	uint32_t at = read32(row + (is_v4 ? 4 : 16));
	struct geo_place place = { 0 };
	struct span text;

	if (at >= p->len || p->bytes[at] > p->len - at - 1)
		return -EBADMSG;
	text = span_of((const char *)p->bytes + at + 1, p->bytes[at]);
	(void)geo_country_read(text, &place.country); /* "-" is nowhere */
	*out_place = place;
	return 0;
}

static bool table_fits(const struct ip2location *p, bool is_v4)
{
	uint64_t count = is_v4 ? p->v4_count : p->v6_count, at = is_v4 ? p->v4_at : p->v6_at;

	return count == 0 || (at >= HEADER_BYTES && at + count * row_bytes(p, is_v4) <= p->len);
}

/* Sorted, and every row leads to a string. */
static int table_check(const struct ip2location *p, bool is_v4, struct geo_seen *seen, struct strbuf *out_why)
{
	uint32_t count = is_v4 ? p->v4_count : p->v6_count;
	uint8_t before[16] = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *row = row_at(p, is_v4, i);
		struct geo_place place;

		if (row_compare(row, is_v4, before) < 0 || row_place(p, row, is_v4, &place) < 0) {
			strbuf_printf(out_why, "is damaged: row %u of IPv%u is wrong", i, is_v4 ? 4u : 6u);
			return -EBADMSG;
		}
		geo_seen_add(seen, &place);
		for (unsigned b = 0; b < (is_v4 ? 4u : 16u); b++)
			before[15 - b] = row[b];
	}
	return 0;
}

int ip2location_open(struct ip2location *p, const uint8_t *bytes, size_t len, struct geo_info *info,
		     struct geo_seen *seen, struct strbuf *out_why)
{
	int err;

	*p = (struct ip2location){ .bytes = bytes, .len = len };
	if (len < HEADER_BYTES || bytes[0] == 0 || bytes[1] < 2 || bytes[1] > COLUMNS_MAX || bytes[3] > 12 ||
	    bytes[4] > 31) {
		strbuf_add_str(out_why, "is not an IP2Location database");
		return -EBADMSG;
	}
	p->column_count = bytes[1];
	p->v4_count = read32(bytes + 5);
	p->v4_at = read32(bytes + 9) - 1;
	p->v6_count = read32(bytes + 13);
	p->v6_at = read32(bytes + 17) - 1;
	if (bytes[PRODUCT_AT] > 1) {
		strbuf_printf(out_why, "is of another product of IP2Location (%u)", bytes[PRODUCT_AT]);
		return -EBADMSG;
	}
	if (bytes[PRODUCT_AT] == 1 && read32(bytes + SIZE_AT) != len) {
		strbuf_printf(out_why, "was cut short: it should have %u bytes, and has %zu", read32(bytes + SIZE_AT),
			      len);
		return -EBADMSG;
	}
	if (!table_fits(p, true) || !table_fits(p, false) || p->v4_count + (uint64_t)p->v6_count == 0) {
		strbuf_add_str(out_why, "is damaged: its tables are not where it says");
		return -EBADMSG;
	}
	(void)snprintf(info->type, sizeof(info->type), "DB%u 20%02u-%02u-%02u", bytes[0], bytes[2] % 100u, bytes[3],
		       bytes[4]);
	info->ip_version = p->v6_count ? 6 : 4;
	info->node_count = p->v4_count + p->v6_count;
	err = table_check(p, true, seen, out_why);
	return err ? err : table_check(p, false, seen, out_why);
}

int ip2location_find(const struct ip2location *p, const uint8_t ip[16], struct geo_place *out_place)
{
	bool is_v4 = ip16_is_v4(ip);
	uint32_t low = 0, high = is_v4 ? p->v4_count : p->v6_count;

	/* The last row that does not begin after ip. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (row_compare(row_at(p, is_v4, middle), is_v4, ip) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	*out_place = (struct geo_place){ 0 };
	return low == 0 ? 0 : row_place(p, row_at(p, is_v4, low - 1), is_v4, out_place);
}
