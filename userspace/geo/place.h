/* SPDX-License-Identifier: GPL-2.0-only */
/* place.h - what a database says of an address, and how countries are written. */
#ifndef SN_GEO_PLACE_H
#define SN_GEO_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/* The two capital letters (or digits) of a country, the first in the high byte; 0: unknown. */
typedef uint16_t geo_country;

struct geo_place {
	geo_country country; /* ISO 3166-1 alpha-2 */
	uint32_t asn;	     /* of the autonomous system; 0: unknown, or the database has none */
};

/* "de" or "DE"; false if it is not two letters or digits. */
bool geo_country_read(struct span text, geo_country *out_country);
/* "DE"; "--" for an unknown one.  Returns text. */
const char *geo_country_text(geo_country country, char text[3]);

#endif
