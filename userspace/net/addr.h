/* SPDX-License-Identifier: GPL-2.0-only */
/* addr.h - socket addresses: IPv4, IPv6 and Unix, parse, print, compare, prefixes. */
#ifndef SN_NET_ADDR_H
#define SN_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/ip16.h"
#include "base/span.h"
#include "base/strbuf.h"

#define ADDR_TEXT_MAX 128 /* enough for "unix:/…" (108) and "[v6%scope]:port" */

struct addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

/* An address in a fourth of the room: of a Unix socket only that it is one.  sa_family AF_UNSPEC: none. */
struct addr_short {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	};
};

void addr_short_set(struct addr_short *s, const struct addr *a);
void addr_short_get(const struct addr_short *s, struct addr *out_addr);

/* "IP:PORT", "[v6]:PORT", "unix:/path".  Numeric only.  0 or -EINVAL. */
int addr_parse(struct span text, struct addr *out_addr);
/* An IP without a port (port 0). */
int addr_parse_ip(struct span text, struct addr *out_addr);
/* "ip:port" / "[v6]:port" / "unix:/path"; returns the length; buf holds ADDR_TEXT_MAX. */
size_t addr_format(const struct addr *a, char *buf);
/* The IP alone ("unix" for a Unix socket); v4-mapped v6 prints as v4. */
size_t addr_format_ip(const struct addr *a, char *buf);
uint16_t addr_port(const struct addr *a); /* host order; 0 for Unix */
void addr_set_port(struct addr *a, uint16_t port);
bool addr_eq(const struct addr *a, const struct addr *b); /* with port */
bool addr_is_loopback(const struct addr *a); /* also Unix and v4-mapped */
bool addr_is_any(const struct addr *a);
/* As base/ip16.h has them; false for Unix. */
bool addr_to_ip16(const struct addr *a, uint8_t out_ip[16]);
void addr_from_ip16(const uint8_t ip[16], uint16_t port, struct addr *out_addr); /* v4-mapped becomes AF_INET */

struct prefix {
	uint8_t ip[16]; /* v4-mapped for IPv4; bits beyond len are 0 */
	uint8_t len;	/* 0..128, an IPv4 /n is 96 + n */
};

/* "10.0.0.0/8", "2001:db8::/32", or an IP alone (whole length).  Host bits set: -EINVAL. */
int prefix_parse(struct span text, struct prefix *out_prefix);
bool prefix_contains(const struct prefix *p, const uint8_t ip[16]);

#endif
