/* SPDX-License-Identifier: GPL-2.0-only */
/* utf8.h - which bytes are well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, up to U+10FFFF). */
#ifndef SN_BASE_UTF8_H
#define SN_BASE_UTF8_H

#include <stddef.h>

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/*
 * Length (1 to 4) of the well-formed sequence that starts at ptr, or 0 if none does.
 * Reads at most len bytes; len 0 gives 0.
 */
size_t utf8_sequence(const char *ptr, size_t len);

#endif
