/* SPDX-License-Identifier: GPL-2.0-only */
/* clock.c - time, and the one format in which we print it. */
#include "base/clock.h"

#include <time.h>

#include "base/check.h"

#define NS_PER_SEC 1000000000ull

static uint64_t now_ns(clockid_t id)
{
	struct timespec t;

	CHECK(clock_gettime(id, &t) == 0);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

uint64_t clock_boot_ns(void)
{
	return now_ns(CLOCK_BOOTTIME);
}

uint64_t clock_thread_cpu_ns(void)
{
	return now_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void put_digits(char *at, unsigned count, uint64_t v)
{
	while (count--) {
		at[count] = (char)('0' + v % 10);
		v /= 10;
	}
}

/* Days since 1970-01-01 to a date; a year starts in March, so that the leap day is its last. */
static void put_date(char *at, uint64_t days)
{
	uint64_t d = days + 719468; /* since 0000-03-01 */
	uint64_t era = d / 146097, of_era = d % 146097;
	uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	uint64_t march_month = (5 * of_year + 2) / 153;
	uint64_t month = march_month < 10 ? march_month + 3 : march_month - 9;

	put_digits(at, 4, year + era * 400 + (month <= 2));
	put_digits(at + 5, 2, month);
	put_digits(at + 8, 2, of_year - (153 * march_month + 2) / 5 + 1);
}

size_t clock_rfc3339(uint64_t wall_ns, char *buf)
{
	static _Thread_local char text[] = "1970-01-01T00:00:00.000Z";
	static _Thread_local uint64_t text_sec;
	uint64_t sec = wall_ns / NS_PER_SEC;

	if (sec != text_sec) {
		uint64_t of_day = sec % 86400;

		put_date(text, sec / 86400);
		put_digits(text + 11, 2, of_day / 3600);
		put_digits(text + 14, 2, of_day / 60 % 60);
		put_digits(text + 17, 2, of_day % 60);
		text_sec = sec;
	}
	memcpy(buf, text, sizeof(text));
	put_digits(buf + 20, 3, wall_ns % NS_PER_SEC / 1000000);
	return sizeof(text) - 1;
}
