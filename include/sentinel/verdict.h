/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * verdict.h - the guard's decision about a source, compiled into the kernel programs and into the daemon.
 *
 * Both halves look the source up in their own tables and ask here, so that an accepted connection and a
 * packet can never be judged by two readings of the rules.
 */
#ifndef SN_VERDICT_H
#define SN_VERDICT_H

#include "sentinel/abi.h"

/* What the tables said about one source. */
struct sn_lookup {
	__u64 now_ns;
	__u64 heartbeat_ns;   /* the daemon's last sign of life */
	__u64 block_until_ns; /* 0: not banned */
	__u32 acl_action;     /* of the most specific prefix, SN_ACL_* */
};

/* A heartbeat from the future (another CPU was faster) is fresh. */
static inline int sn_heartbeat_is_fresh(__u64 heartbeat_ns, __u64 now_ns)
{
	return heartbeat_ns && (now_ns <= heartbeat_ns || now_ns - heartbeat_ns <= SN_HEARTBEAT_MAX_NS);
}

/*
 * SN_DROP_NONE or the reason to refuse.  Allow comes before bans and exempts from them; without a living
 * daemon nobody can lift a ban, so then only what an operator wrote holds.
 */
static inline __u32 sn_verdict(const struct sn_lookup *l)
{
	if (l->acl_action == SN_ACL_ALLOW)
		return SN_DROP_NONE;
	if (l->now_ns < l->block_until_ns && sn_heartbeat_is_fresh(l->heartbeat_ns, l->now_ns))
		return SN_DROP_BLOCK;
	return l->acl_action == SN_ACL_DENY ? SN_DROP_ACL : SN_DROP_NONE;
}

#endif
