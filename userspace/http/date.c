/* SPDX-License-Identifier: GPL-2.0-only */
/* date.c - writes IMF-fixdate. */
#include "http/date.h"

#include <stdio.h>

#include "base/check.h"

#define SECONDS_MAX 253402300799ull /* 9999-12-31T23:59:59Z */

/* Civil date of a day number: years start in March, so that the leap day is the last of its year. */
static void date_of_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	uint64_t shifted = days + 719468, era = shifted / 146097;
	unsigned of_era = (unsigned)(shifted % 146097);
	unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned march_month = (5 * of_year + 2) / 153;

	*day = of_year - (153 * march_month + 2) / 5 + 1;
	*month = march_month < 10 ? march_month + 3 : march_month - 9;
	*year = (unsigned)(year_of_era + era * 400) + (*month <= 2);
}

void date_write(uint64_t second, char buf[DATE_LEN + 1])
{
	static const char days[7][4] = { "Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	unsigned year, month, day, of_day = (unsigned)(second % 86400);
	char text[64];
	int len;

	CHECK(second <= SECONDS_MAX);
	date_of_days(second / 86400, &year, &month, &day);
	len = snprintf(text, sizeof(text), "%s, %02u %s %04u %02u:%02u:%02u GMT", days[second / 86400 % 7], day,
		       months[month - 1], year, of_day / 3600, of_day / 60 % 60, of_day % 60);
	CHECK(len == DATE_LEN);
	memcpy(buf, text, DATE_LEN + 1);
}

struct span date_cached(struct date_cache *c, uint64_t wall_ns)
{
	uint64_t second = wall_ns / 1000000000;

	if (second != c->second || c->text[0] == 0) {
		date_write(second, c->text);
		c->second = second;
	}
	return span_of(c->text, DATE_LEN);
}
