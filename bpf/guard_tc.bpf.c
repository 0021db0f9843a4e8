/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_tc.bpf.c - the same guard at tc ingress, for devices on which XDP costs more than it saves. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "guard.bpf.h"

/* Longest headers that are looked at; more than a driver leaves in the linear part only with extensions. */
#define GUARD_TC_HEADERS 256

SEC("tc")
int sn_guard_tc(struct __sk_buff *skb)
{
	struct scene s = {
		.bytes = skb->len,
		.ifindex = skb->ifindex,
		.hook = SN_HOOK_TC,
	};
	struct cursor c;
	__u32 wanted = skb->len < GUARD_TC_HEADERS ? skb->len : GUARD_TC_HEADERS;

	/* A failed pull leaves fewer bytes, which the parsers see. */
	if ((void *)(long)skb->data + wanted > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, wanted);
	c.pos = (void *)(long)skb->data;
	c.end = (void *)(long)skb->data_end;
	/* Passing leaves the word to the programs behind us. */
	return guard_run(&c, &s) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
