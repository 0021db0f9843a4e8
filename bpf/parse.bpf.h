/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * parse.bpf.h - cursor parsers: each checks against the end, moves the cursor behind what it read, and
 * returns the next protocol, or a PARSE_* that is negative.
 */
#ifndef SN_PARSE_BPF_H
#define SN_PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sentinel/abi.h"

#define PARSE_UNKNOWN (-1)  /* truncated, too deep, or a protocol that is not ours to judge */
#define PARSE_FRAGMENT (-2) /* a later fragment: no ports in it */

#define PARSE_VLANS_MAX 2
#define PARSE_EXTENSIONS_MAX 8

#define PARSE_IP_OFFSET_MASK 0x1fff /* RFC 791 3.1: the offset without the flags */
#define PARSE_IP6_OFFSET_MASK 0xfff8 /* RFC 8200 4.5 */

/* IPv4, in an address of abi.h. */
static __always_inline int addr_is_v4(const __u32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(SN_V4_MAPPED);
}

struct cursor {
	void *pos;
	void *end;
};

/* What the guard needs to know of a packet; addresses as in abi.h. */
struct packet {
	__u32 source[4];
	__u32 destination[4];
	__u16 source_port; /* network order, as the next */
	__u16 destination_port;
	__u8 proto;
	__u8 is_syn; /* TCP, and asks for a connection (or hides its flags in a later fragment) */
};

struct vlan_header {
	__be16 tci;
	__be16 proto;
};

struct ports_header {
	__be16 source;
	__be16 destination;
};

struct tcp_start {
	struct ports_header ports;
	__be32 seq;
	__be32 ack;
	__u8 offset;
	__u8 flags;
};

#define PARSE_TCP_SYN 0x02
#define PARSE_TCP_RST 0x04
#define PARSE_TCP_ACK 0x10

/* RFC 8200 4.2: hop-by-hop, routing and destination options share this start; so does AH but for its unit. */
struct extension_header {
	__u8 next;
	__u8 len;
};

struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Returns the EtherType behind up to two tags, in network order. */
static __always_inline int parse_ethernet(struct cursor *c)
{
	struct ethhdr *eth = c->pos;
	__be16 proto;
	int i;

	if ((void *)(eth + 1) > c->end)
		return PARSE_UNKNOWN;
	c->pos = eth + 1;
	proto = eth->h_proto;
	for (i = 0; i < PARSE_VLANS_MAX; i++) {
		struct vlan_header *tag = c->pos;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > c->end)
			return PARSE_UNKNOWN;
		c->pos = tag + 1;
		proto = tag->proto;
	}
	return proto;
}

static __always_inline int parse_ip(struct cursor *c, struct packet *p)
{
	struct iphdr *ip = c->pos;
	__u32 len;

	if ((void *)(ip + 1) > c->end || ip->version != 4)
		return PARSE_UNKNOWN;
	len = ip->ihl * 4;
	if (len < sizeof(*ip) || c->pos + len > c->end)
		return PARSE_UNKNOWN;
	c->pos += len;
	p->source[0] = p->source[1] = 0;
	p->source[2] = bpf_htonl(SN_V4_MAPPED);
	p->source[3] = ip->saddr;
	p->destination[0] = p->destination[1] = 0;
	p->destination[2] = bpf_htonl(SN_V4_MAPPED);
	p->destination[3] = ip->daddr;
	return ip->frag_off & bpf_htons(PARSE_IP_OFFSET_MASK) ? PARSE_FRAGMENT : ip->protocol;
}

/* One extension header.  Returns what follows, or the protocol itself if it is none of them. */
static __always_inline int parse_extension(struct cursor *c, int proto, int *is_last)
{
	struct fragment_header *fragment = c->pos;
	struct extension_header *extension = c->pos;
	__u32 len;

	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_AH:
		if ((void *)(extension + 1) > c->end)
			return PARSE_UNKNOWN;
		/* RFC 4302 2.2: AH counts words of four bytes, less two. */
		len = proto == IPPROTO_AH ? (extension->len + 2) * 4 : (extension->len + 1) * 8;
		if (c->pos + len > c->end)
			return PARSE_UNKNOWN;
		c->pos += len;
		return extension->next;
	case IPPROTO_FRAGMENT:
		if ((void *)(fragment + 1) > c->end)
			return PARSE_UNKNOWN;
		c->pos = fragment + 1;
		if (fragment->offset & bpf_htons(PARSE_IP6_OFFSET_MASK))
			return PARSE_FRAGMENT;
		return fragment->next;
	default:
		*is_last = 1;
		return proto;
	}
}

static __always_inline int parse_ip6(struct cursor *c, struct packet *p)
{
	struct ipv6hdr *ip6 = c->pos;
	int i, is_last = 0;
	int proto;

	if ((void *)(ip6 + 1) > c->end || ip6->version != 6)
		return PARSE_UNKNOWN;
	c->pos = ip6 + 1;
	__builtin_memcpy(p->source, &ip6->saddr, sizeof(p->source));
	__builtin_memcpy(p->destination, &ip6->daddr, sizeof(p->destination));
	proto = ip6->nexthdr;
	/* The last round only sees that the chain has ended. */
	for (i = 0; i <= PARSE_EXTENSIONS_MAX; i++) {
		proto = parse_extension(c, proto, &is_last);
		if (proto < 0 || is_last)
			return proto;
	}
	return PARSE_UNKNOWN;
}

static __always_inline int parse_is_syn(const struct cursor *c)
{
	struct tcp_start *tcp = c->pos;

	if ((void *)(tcp + 1) > c->end)
		return 1;
	return (tcp->flags & (PARSE_TCP_SYN | PARSE_TCP_RST | PARSE_TCP_ACK)) == PARSE_TCP_SYN;
}

/* Everything up to the ports.  0, or PARSE_* (then *p may be half filled). */
static __always_inline int parse_packet(struct cursor *c, struct packet *p)
{
	struct ports_header *l4;
	int proto = parse_ethernet(c);

	if (proto == bpf_htons(ETH_P_IP))
		proto = parse_ip(c, p);
	else if (proto == bpf_htons(ETH_P_IPV6))
		proto = parse_ip6(c, p);
	else
		return PARSE_UNKNOWN;
	if (proto < 0)
		return proto;
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return PARSE_UNKNOWN;
	l4 = c->pos;
	if ((void *)(l4 + 1) > c->end)
		return PARSE_UNKNOWN;
	p->source_port = l4->source;
	p->destination_port = l4->destination;
	p->proto = proto;
	p->is_syn = proto == IPPROTO_TCP && parse_is_syn(c);
	return 0;
}

#endif
