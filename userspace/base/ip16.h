/* SPDX-License-Identifier: GPL-2.0-only */
/* ip16.h - an IP address in 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
#ifndef SN_BASE_IP16_H
#define SN_BASE_IP16_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool ip16_is_v4(const uint8_t ip[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(ip, mapped, sizeof(mapped)) == 0;
}

/* v4: 4 bytes, in network order. */
static inline void ip16_from_v4(uint8_t out_ip[16], const void *v4)
{
	memset(out_ip, 0, 10);
	memset(out_ip + 10, 0xff, 2);
	memcpy(out_ip + 12, v4, 4);
}

/* What is counted and banned as one client: the low half of an IPv6 address is the client's to choose. */
static inline void ip16_to_client(uint8_t ip[16])
{
	if (!ip16_is_v4(ip))
		memset(ip + 8, 0, 8);
}

#endif
