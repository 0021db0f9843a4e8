/* SPDX-License-Identifier: GPL-2.0-only */
/* date.h - the Date field: IMF-fixdate (RFC 9110 5.6.7), written at most once a second. */
#ifndef SN_HTTP_DATE_H
#define SN_HTTP_DATE_H

#include <stdint.h>

#include "base/span.h"

#define DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* One a thread.  Zero is valid. */
struct date_cache {
	uint64_t second; /* that `text` stands for */
	char text[DATE_LEN + 1];
};

/* Seconds since the epoch, up to the year 9999; buf gets DATE_LEN bytes and a NUL. */
void date_write(uint64_t second, char buf[DATE_LEN + 1]);
/* Borrowed from the cache until the next call. */
struct span date_cached(struct date_cache *c, uint64_t wall_ns);

#endif
