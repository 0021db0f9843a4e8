/* SPDX-License-Identifier: GPL-2.0-only */
/* decimal.h - numbers as decimal text, without locale, sign or NUL. */
#ifndef SN_BASE_DECIMAL_H
#define SN_BASE_DECIMAL_H

#include <stdint.h>
#include <string.h>

#define DECIMAL_MAX 20 /* digits of the largest */

extern const char decimal_pairs[200]; /* "00" to "99" */

/* Writes the digits of n so that they end before `end`; where they begin.  Needs up to DECIMAL_MAX bytes there. */
static inline char *decimal_before(char *end, uint64_t n)
{
	for (; n >= 100; n /= 100)
		memcpy(end -= 2, decimal_pairs + 2 * (n % 100), 2);
	if (n >= 10)
		memcpy(end -= 2, decimal_pairs + 2 * n, 2);
	else
		*--end = (char)('0' + n);
	return end;
}

/* Writes them at `at`; where they end. */
static inline char *decimal_put(char *at, uint64_t n)
{
	char digits[DECIMAL_MAX], *end = digits + sizeof(digits), *begin = decimal_before(end, n);

	memcpy(at, begin, (size_t)(end - begin));
	return at + (end - begin);
}

#endif
