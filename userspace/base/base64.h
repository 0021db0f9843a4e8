/* SPDX-License-Identifier: GPL-2.0-only */
/* base64.h - base64 (RFC 4648 4) with padding, encoding only. */
#ifndef SN_BASE_BASE64_H
#define SN_BASE_BASE64_H

#include <stddef.h>

#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4)

/* Writes BASE64_LEN(len) characters, no NUL. */
void base64_encode(const void *data, size_t len, char *out);

#endif
