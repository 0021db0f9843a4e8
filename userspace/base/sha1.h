/* SPDX-License-Identifier: GPL-2.0-only */
/* sha1.h - SHA-1 of a short text: for Sec-WebSocket-Accept (RFC 6455), never for security. */
#ifndef SN_BASE_SHA1_H
#define SN_BASE_SHA1_H

#include <stdint.h>

#include "base/span.h"

#define SHA1_LEN 20

void sha1(struct span text, uint8_t out[SHA1_LEN]);

#endif
