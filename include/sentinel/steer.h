/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * steer.h - the maps by which new connections find the least-loaded worker (bpf/steer.bpf.c); none is pinned.
 *
 *   steer_workers  worker -> how busy it is (written by the worker, by mmap)
 *   steer_picks    worker -> connections it was chosen for, ever (written by the kernel)
 *   steer_groups   address of a listener -> its sockets by worker (written by control)
 */
#ifndef SN_STEER_H
#define SN_STEER_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define SN_STEER_WORKERS_MAX 64
#define SN_STEER_GROUPS_MAX 2048 /* twice the listeners, because additions come before deletions */

struct sn_steer_key {
	__u32 addr[4]; /* as the socket is bound, network order; IPv4: the last word */
	__u32 port;    /* host order */
	__u32 family;  /* AF_INET, AF_INET6 */
};
_Static_assert(sizeof(struct sn_steer_key) == 24, "map key layout");

/*
 * A worker's load is live + (picks - seen): what it had when it last published, and what was sent to it since.  So a
 * burst within one turn spreads, and connections that never come to be are forgotten with the next publication.
 */
struct sn_steer_worker {
	__u64 live;
	__u64 seen; /* picks at that time */
	__u64 pad[6]; /* a cache line for each writer */
};
_Static_assert(sizeof(struct sn_steer_worker) == 64, "map value layout");

#endif
