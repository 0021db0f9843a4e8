/* SPDX-License-Identifier: GPL-2.0-only */
/* hex.h - bytes as lower-case hexadecimal text. */
#ifndef SN_BASE_HEX_H
#define SN_BASE_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len characters, no NUL. */
static inline void hex_write(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

#endif
