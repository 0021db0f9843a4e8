/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_geo.c - geo databases from strangers: the first byte chooses the format.
 *
 * What opens was checked as a whole: an address has an answer (only a tree with cycles, which the check does not look
 * for, may have none), and the kernel's tables say the same or that the database has to be asked.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "geo/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t addresses[][16] = {
	{ [10] = 0xff, [11] = 0xff },
	{ [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1, [14] = 2, [15] = 3 },
	{ [10] = 0xff, [11] = 0xff, [12] = 0xff, [13] = 0xff, [14] = 0xff, [15] = 0xff },
	{ 0 },
	{ 0x20, 0x01, 0x0d, 0xb8, [15] = 1 },
	{ 0x20, 0x02, 10, 1, 2, 3 },
	{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
};

static geo_country countries[2] = { 'D' << 8 | 'E', 'F' << 8 | 'R' };

static int find(const struct geo_database *d, const uint8_t ip[16], struct geo_place *out_place)
{
	int err = geo_database_find(d, ip, out_place);

	CHECK(err == 0 || err == -EBADMSG);
	CHECK(err == 0 || (out_place->country == 0 && out_place->asn == 0));
	return err;
}

static void compare(const struct geo_database *d, const struct geo_tables *t, const uint8_t ip[16])
{
	struct geo_place place = { 0 };
	uint8_t number = geo_tables_find(t, ip);
	uint8_t wanted;

	if (find(d, ip, &place) < 0) {
		CHECK(number == SN_GEO_MIXED || t->is_v6_left_out);
		return;
	}
	wanted = place.country == countries[0] ? 1 : place.country == countries[1] ? 2 : 0;
	CHECK(number == SN_GEO_MIXED || number == wanted || t->is_v6_left_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum geo_format format = size && data[0] & 1 ? GEO_FORMAT_IP2LOCATION : GEO_FORMAT_MAXMIND;
	struct strbuf why = { 0 };
	struct geo_place place;
	struct geo_tables tables;
	struct geo_database *d;

	if (size == 0 || size > 65536)
		return 0;
	strbuf_init(&why);
	d = geo_database_open_bytes(data + 1, size - 1, format, &why);
	CHECK(d || why.len > 0);
	for (size_t i = 0; d && i < ARRAY_LEN(addresses); i++)
		(void)find(d, addresses[i], &place);
	if (d && format == GEO_FORMAT_MAXMIND && geo_compile(&tables, d, countries, 2, &why) == 0) {
		for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
			compare(d, &tables, addresses[i]);
		geo_tables_fini(&tables);
	}
	geo_database_put(d);
	strbuf_fini(&why);
	return 0;
}
