/* SPDX-License-Identifier: GPL-2.0-only */
/* place.c - how countries are written. */
#include "geo/place.h"

static int capital(char c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 'A';
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : -1;
}

bool geo_country_read(struct span text, geo_country *out_country)
{
	int first, second;

	if (text.len != 2)
		return false;
	first = capital(text.ptr[0]);
	second = capital(text.ptr[1]);
	if (first < 0 || second < 0)
		return false;
	*out_country = (geo_country)(first << 8 | second);
	return true;
}

const char *geo_country_text(geo_country country, char text[3])
{
	text[0] = country ? (char)(country >> 8) : '-';
	text[1] = country ? (char)(country & 0xff) : '-';
	text[2] = '\0';
	return text;
}
