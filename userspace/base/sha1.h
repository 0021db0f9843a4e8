/* SPDX-License-Identifier: GPL-2.0-only */
/* sha1.h - SHA-1 of a short text: for Sec-WebSocket-Accept (RFC 6455) and keys of stores, never for security. */
#ifndef SN_BASE_SHA1_H
#define SN_BASE_SHA1_H

#include <stdint.h>

#include "base/span.h"

#define SHA1_LEN 20

void sha1(struct span text, uint8_t out[SHA1_LEN]);

/* The same, piece by piece.  A copy goes on where it was made. */
struct sha1 {
	uint32_t state[5];
	uint64_t len;	   /* of all that was added */
	uint8_t block[64]; /* the last len % 64 of it */
};

void sha1_begin(struct sha1 *s);
void sha1_add(struct sha1 *s, const void *data, size_t len);
void sha1_end(struct sha1 *s, uint8_t out[SHA1_LEN]); /* nothing can be added any more */

#endif
