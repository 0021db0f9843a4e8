/* SPDX-License-Identifier: GPL-2.0-only */
/* utf8.c - the table of RFC 3629 section 4 as code. */
#include "base/utf8.h"

#include <stdbool.h>

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t utf8_sequence(const char *ptr, size_t len)
{
	const unsigned char *p = (const unsigned char *)ptr;
	unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
	size_t need;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	need = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (len < need)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (p[0] == 0xf4)
		high = 0x8f; /* above U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++) {
		if (!is_continuation(p[i]))
			return 0;
	}
	return need;
}
