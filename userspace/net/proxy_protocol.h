/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * proxy_protocol.h - the PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): what a proxy in front says of
 * the client's connection, before its first byte.  Pure functions over bytes, any thread.
 *
 * Only who is trusted may say it: the caller asks for the peer's address first.
 */
#ifndef SN_NET_PROXY_PROTOCOL_H
#define SN_NET_PROXY_PROTOCOL_H

#include "net/addr.h"

#define PROXY_PROTOCOL_V1_MAX 107	  /* with CR LF; the specification's own bound */
#define PROXY_PROTOCOL_V2_MAX (16 + 4096) /* the format allows 16 + 65,535, nobody sends it */

#define PROXY_PROTOCOL_UNIQUE_ID_MAX 128
#define PROXY_PROTOCOL_NAME_MAX 255

enum proxy_protocol_result {
	PROXY_PROTOCOL_MORE,	  /* a beginning: come back with more bytes */
	PROXY_PROTOCOL_DONE,
	PROXY_PROTOCOL_MALFORMED, /* claims to be a header and is none, or is too long */
	PROXY_PROTOCOL_ABSENT,	  /* the bytes are something else */
};

/* Bits of proxy_header_tls.client. */
#define PROXY_TLS_USED 0x01		/* the client speaks TLS */
#define PROXY_TLS_CERT_CONNECTION 0x02 /* and showed a certificate on this connection */
#define PROXY_TLS_CERT_SESSION 0x04	/* and showed one in this TLS session */

/* What is absent is empty. */
struct proxy_header_tls {
	uint8_t client;
	uint32_t verify; /* 0: a certificate was shown and verified */
	struct span version, cn, cipher, sig_alg, key_alg;
};

struct proxy_header {
	unsigned version;   /* 1 or 2 */
	bool has_addresses; /* false: the socket's addresses are the client's (LOCAL, UNKNOWN, UNSPEC) */
	struct addr source, destination; /* the client's and the one it connected to; IPv4-mapped ones become IPv4 */

	/* Version 2 with addresses only.  What is absent is empty. */
	bool has_crc32c;
	bool has_tls; /* what `tls` holds was said */
	struct span alpn, authority, unique_id, netns;
	struct proxy_header_tls tls;
};

/*
 * Read the header at the front of a connection; bytes may be a prefix of it and len 0.  After DONE *out is set, its
 * spans point into bytes, and *out_used bytes are the header; otherwise neither is touched.  MORE is never said of
 * PROXY_PROTOCOL_V2_MAX bytes or more.
 *
 * Version 1 is read to the letter: one space, canonical addresses of the family that is named, ports without leading
 * zeros, CR LF.  In version 2 the UDP families count as addresses: they tell of a client that reached the proxy in
 * front by datagrams.  Of a Unix socket the path is kept; an abstract name reads as no path.
 *
 * After LOCAL, UNKNOWN and UNSPEC the rest of the header is skipped unread, as the specification asks.  Unknown TLVs
 * are skipped, a known one may come once, texts must be UTF-8 without control characters, and a checksum must be right.
 */
enum proxy_protocol_result proxy_protocol_read(const void *bytes, size_t len, struct proxy_header *out,
					       size_t *out_used);

/*
 * Write h as what h->version says; proxy_protocol_read() gives the same back.  Two IPv4 addresses, mapped or not, are
 * TCP4, other IP addresses TCP6, two Unix sockets UNIX (version 1: UNKNOWN), a mixture UNSPEC or UNKNOWN; no addresses
 * are LOCAL or UNKNOWN.  TLVs are written to version 2 with addresses; has_crc32c adds a checksum.
 *
 * 0, -ENOSPC (longer than size, or than the maximum above), -EINVAL (a text that reading would refuse).
 */
int proxy_protocol_write(const struct proxy_header *h, void *buf, size_t size, size_t *out_len);

#endif
