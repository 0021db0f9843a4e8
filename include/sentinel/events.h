/* SPDX-License-Identifier: GPL-2.0-only */
/* events.h - records that the kernel's programs write into ring buffers; rules of abi.h apply. */
#ifndef SN_EVENTS_H
#define SN_EVENTS_H

#include "sentinel/abi.h"

#define SN_EVENT_MONITORED 1 /* reported only: the packet was passed */

#define SN_HOOK_XDP 1
#define SN_HOOK_TC 2

/* A sample of the drops: at most SN_EVENTS_PER_SECOND on each CPU. */
struct sn_drop_event {
	__u64 at_ns;
	__u32 source[4];
	__u32 destination[4];
	__u32 rule;	/* number of the rule of the plan, 0 for a ban */
	__u32 listener; /* sn_vip.listener */
	__u32 ifindex;
	__u32 bytes;
	__u16 source_port;	/* network order */
	__u16 destination_port; /* network order */
	__u8 proto;
	__u8 reason; /* SN_DROP_* */
	__u8 hook;   /* SN_HOOK_* */
	__u8 flags;  /* SN_EVENT_* */
};
_Static_assert(sizeof(struct sn_drop_event) == 64, "record layout");

#define SN_EVENTS_PER_SECOND 100

/*
 * A splice stopped redirecting.  Only a hint, so that the worker need not wait for its next look at flow_stat: it
 * may be missing, late, or about a tunnel that has left.
 */
struct sn_splice_event {
	__u64 cookie; /* of the source */
	__u32 slot;
	__u32 pad;
};
_Static_assert(sizeof(struct sn_splice_event) == 16, "record layout");

#endif
