/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel_types.bpf.h - the few fields of the kernel's own structs that the splice reads.
 *
 * Offsets are relocated when the program is loaded (CO-RE), so only names and types must be the kernel's.
 */
#ifndef SN_KERNEL_TYPES_BPF_H
#define SN_KERNEL_TYPES_BPF_H

#include <linux/types.h>

#define CORE_STRUCT __attribute__((preserve_access_index))

struct sock_common;

struct sock {
	void *sk_user_data; /* the psock; the low three bits are flags */
	struct {
		struct {
			int counter;
		} rmem_alloc;
	} sk_backlog;
	int sk_rcvbuf;
	int sk_sndbuf;
	int sk_wmem_queued;
} CORE_STRUCT;

struct tcp_sock {
	__u32 copied_seq;
	__u32 write_seq;
} CORE_STRUCT;

struct sk_buff_head {
	__u32 qlen;
} CORE_STRUCT;

struct sk_buff {
	struct sock *sk;
	char cb[48];
} CORE_STRUCT;

struct tcp_skb_cb {
	__u32 seq;
} CORE_STRUCT;

struct sk_psock {
	struct sk_buff_head ingress_skb;
} CORE_STRUCT;

struct bpf_iter__tcp {
	struct sock_common *sk_common;
} CORE_STRUCT;

#endif
