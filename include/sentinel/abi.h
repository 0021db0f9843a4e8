/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * abi.h - layout and limits of every map that the kernel's guard and the daemon share.
 *
 * Rules: only fixed-width integers, no implicit padding, explicit padding is always 0 (keys are compared as
 * bytes).  An address is 16 bytes in network order; IPv4 is written as ::ffff:a.b.c.d.  Times are
 * CLOCK_BOOTTIME in nanoseconds.  Each map has one writer, named here.
 *
 * How a packet meets the maps (bpf/guard.bpf.h):
 *   ports        is any listener on this destination port?      no: pass
 *   port_hints   the only listener on it, if it is alone: spares the next
 *   vips         (address, port, protocol), then (any, port, protocol) if host_addrs has the address
 *                                                                no: pass
 *   acl4, acl6   most specific prefix of the source; allow: pass
 *   block        source banned until later than now, and the daemon's heartbeat fresh: drop
 *   acl          deny: drop
 *   geo_…        a SYN from a country that may not come in (geo.h): drop
 *   budgets      the heartbeat fresh, the source not loopback: connections for a SYN, packets for everything; over one
 *                of them: drop;  nothing: pass
 */
#ifndef SN_ABI_H
#define SN_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SN_ABI_VERSION 2 /* part of the pin path; bump on any change of a layout or a meaning */

/* What a plan may hold.  The maps are twice as large, because additions come before deletions. */
#define SN_VIPS_MAX 1024
#define SN_ACL_MAX 16384 /* each family */
#define SN_HOST_ADDRS_MAX 4096
#define SN_BLOCK_MAX 65536
#define SN_EVENTS_BYTES (256 * 1024)
#define SN_PORT_WORDS 1024 /* 65536 bits */

#define SN_V4_MAPPED 0xffff /* third word of an IPv4 address, in host order */

/* An address.  Key of host_addrs (written by control, from netlink) and of block. */
struct sn_addr {
	__u32 addr[4];
};
_Static_assert(sizeof(struct sn_addr) == 16, "map key layout");

/*
 * Key of vips (written by control).  A wildcard has addr :: for IPv6 and ::ffff:0.0.0.0 for IPv4; a
 * dual-stack listener on [::] is both.
 */
struct sn_vip_key {
	__u32 addr[4];
	__u16 port; /* network order */
	__u8 proto; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad;
};
_Static_assert(sizeof(struct sn_vip_key) == 20, "map key layout");

struct sn_vip {
	__u32 listener; /* number of the listener in the plan; comes back in events */
};
_Static_assert(sizeof(struct sn_vip) == 4, "map value layout");

/*
 * Value of port_hints (index: port in host order; written by control, 0 while vips changes).  With SN_HINT_EXACT addr
 * and listener are those of the only row of vips with this port; with SN_HINT_ANY all rows are listener's wildcards.
 */
struct sn_port_hint {
	__u32 addr[4];
	__u32 listener;
	__u8 kind;  /* SN_HINT_* */
	__u8 proto; /* as in the rows */
	__u8 has_v4, has_v6; /* SN_HINT_ANY: for these */
};
_Static_assert(sizeof(struct sn_port_hint) == 24, "map value layout");

#define SN_PORTS 65536
#define SN_HINT_NONE 0 /* look in vips */
#define SN_HINT_EXACT 1
#define SN_HINT_ANY 2

/* Value of host_addrs. */
struct sn_host_addr {
	__u32 ifindex; /* the interface that has the address */
};
_Static_assert(sizeof(struct sn_host_addr) == 4, "map value layout");

/* Keys of the longest-prefix tries (written by control).  Bits beyond plen are 0. */
struct sn_acl4_key {
	__u32 plen; /* 0..32, host order */
	__u32 addr;
};
_Static_assert(sizeof(struct sn_acl4_key) == 8, "map key layout");

struct sn_acl6_key {
	__u32 plen; /* 0..128, host order */
	__u32 addr[4];
};
_Static_assert(sizeof(struct sn_acl6_key) == 20, "map key layout");

#define SN_ACL_NONE 0 /* never stored: no prefix matched */
#define SN_ACL_DENY 1
#define SN_ACL_ALLOW 2

struct sn_acl {
	__u32 action; /* SN_ACL_DENY or SN_ACL_ALLOW */
	__u32 rule;   /* number of the rule in the plan; comes back in events */
};
_Static_assert(sizeof(struct sn_acl) == 8, "map value layout");

/*
 * Value of block (written by control).  The key is the whole IPv4 address, or the first 64 bits of an IPv6
 * address with the rest 0.  Outlives the daemon with its pin, and the program: in every version the key is this, and a
 * value begins with these first four.
 */
struct sn_block {
	__u64 since_ns;
	__u64 until_ns; /* the ban holds while now < until; SN_FOREVER never ends */
	__u16 why;	/* SN_BAN_* */
	__u16 strikes;	/* how often this source was banned without a pause between */
	__u32 slot;	/* of block_hits; no two rows have the same */
};
_Static_assert(sizeof(struct sn_block) == 24, "map value layout");

#define SN_FOREVER (~(__u64)0)
#define SN_BAN_MANUAL 1 /* an operator's command */
#define SN_BAN_RATE_LIMIT 2 /* the others: refused too often by that */
#define SN_BAN_GEO 3
#define SN_BAN_AGENT 4
#define SN_BAN_OTHER 5
#define SN_BAN_NAMED 0x8000 /* with one of the others: a header named the source, its packets have another */

/* Value of block_hits (index sn_block.slot; counted by the guard, zeroed by control for another source). */
struct sn_hits {
	__u64 packets; /* of this source, dropped since it was banned */
};
_Static_assert(sizeof(struct sn_hits) == 8, "map value layout");

/* The one value of config (written by control). */
struct sn_config {
	__u32 flags; /* SN_CONFIG_* */
	__u32 pad;
	__u64 tick_ns;	       /* of jiffies, which cost nothing to read; 0: not known, read a clock */
	__u64 tick_offset_ns; /* CLOCK_MONOTONIC when jiffies were 0 */
};
_Static_assert(sizeof(struct sn_config) == 24, "map value layout");

#define SN_CONFIG_MONITOR 1u /* count and report what would be dropped, and pass it */
#define SN_CONFIG_ACL4 2u    /* acl4 has rows */
#define SN_CONFIG_ACL6 4u

/* The one value of heartbeat (written by the daemon through mmap, at least once a second). */
struct sn_heartbeat {
	__u64 at_ns; /* 0: never */
	__u64 offset_ns; /* what CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC: the guard reads the cheap clock */
	__u64 has_bans;	 /* block has rows */
};
_Static_assert(sizeof(struct sn_heartbeat) == 24, "map value layout");

#define SN_HEARTBEAT_MAX_NS (10ull * 1000 * 1000 * 1000) /* older: only operator rules hold */

/* Value of drops and monitored (index SN_DROP_*) and of counters (index SN_COUNTER_*); one writer per CPU. */
struct sn_count {
	__u64 packets;
	__u64 bytes; /* whole frames as the hook saw them */
};
_Static_assert(sizeof(struct sn_count) == 16, "map value layout");

/* The one value, per CPU, of event_budget: how many events this CPU sent in its running second. */
struct sn_event_budget {
	__u64 since_ns;
	__u64 sent;
};
_Static_assert(sizeof(struct sn_event_budget) == 16, "map value layout");

/*
 * The maps of spliced tunnels (bpf/splice.bpf.c).  None is pinned: they end with the last process that holds them.
 *   flow_slots   socket cookie -> slot of a row (written by the worker that owns the tunnel)
 *   flow_socks   socket cookie -> socket (put in by the worker, taken out by the worker or by the tcp iterator)
 *   flow_ctl     what the worker tells the kernel about the bytes that arrive on one socket
 *   flow_stat    what the kernel did with them; zeroed by the worker while no socket leads to the slot
 *   splice_rings a ring of sn_splice_event for each worker
 */
#define SN_FLOWS_MAX 32768 /* sockets, two a tunnel, over all workers */
#define SN_SPLICE_WORKERS_MAX 64
#define SN_SPLICE_RING_BYTES (64 * 1024)

#define SN_FLOW_NEVER (~(__u64)0)

/* Value of flow_ctl: one writer, the worker. */
struct sn_flow_ctl {
	__u64 peer;	/* cookie of the destination */
	__u64 armed_at; /* redirect only while sn_flow_stat.passed is exactly this; SN_FLOW_NEVER: not at all */
	__u64 limit;	/* redirect only up to so many bytes in all; SN_FLOW_NEVER: no limit */
	__u64 consumed; /* passed bytes that userspace has read, for the iterator */
	__u32 worker;	/* whose ring hears of it */
	__u32 wants_out; /* the iterator takes the socket out once nothing is queued and passed == consumed */
};
_Static_assert(sizeof(struct sn_flow_ctl) == 40, "map value layout");

/* Value of flow_stat: one writer, whoever holds the source's socket lock in the kernel. */
struct sn_flow_stat {
	__u64 redirected; /* bytes moved to the destination */
	__u64 passed;	  /* bytes left to userspace */
	__u64 active_ns;  /* CLOCK_MONOTONIC, coarse: the last bytes */
	__u64 skbs;
	__u64 fins;
	__u64 lost;	  /* skbs that came to nothing: the tunnel must be reset */
	__u64 absent;	  /* passed: the destination was not in the map */
	__u64 slow;	  /* passed: no room in the destination's send buffer */
	__u64 bounded;	  /* passed: the limit was reached */
	__u64 trimmed;	  /* bytes cut off that userspace had read before the join */
	__u64 overlapped; /* bytes cut off that had come twice */
	__u64 based_at;	  /* armed_at for which wseq_base holds */
	__u32 wseq_base;  /* write_seq of the destination, less redirected */
	__u32 next_seq;	  /* where the next skb must begin */
	__u32 has_next;
	__u32 is_out; /* the iterator took the socket out */
};
_Static_assert(sizeof(struct sn_flow_stat) == 112, "map value layout");

enum sn_drop {
	SN_DROP_NONE, /* passed */
#define X(NAME, label, text) SN_DROP_##NAME,
#include "sentinel/drop_reasons.def"
#undef X
	SN_DROP_COUNT
};

enum sn_counter {
#define X(NAME, label, text) SN_COUNTER_##NAME,
#include "sentinel/counters.def"
#undef X
	SN_COUNTER_COUNT
};

#endif
