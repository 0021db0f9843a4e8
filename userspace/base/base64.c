/* SPDX-License-Identifier: GPL-2.0-only */
/* base64.c - three bytes into four characters. */
#include "base/base64.h"

#include <stdint.h>

void base64_encode(const void *data, size_t len, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = data;

	for (; len > 0; in += 3, out += 4) {
		uint32_t v = (uint32_t)in[0] << 16 | (len > 1 ? (uint32_t)in[1] << 8 : 0) | (len > 2 ? in[2] : 0);

		out[0] = digits[v >> 18];
		out[1] = digits[v >> 12 & 63];
		out[2] = len > 1 ? digits[v >> 6 & 63] : '=';
		out[3] = len > 2 ? digits[v & 63] : '=';
		if (len <= 3)
			return;
		len -= 3;
	}
}
