/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_xdp.bpf.c - the guard at XDP, before the kernel has made anything of the packet. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <xdp/xdp_helpers.h>

#include "guard.bpf.h"

/* Behind filters that operators put at the dispatcher's default of 50; what we pass goes on to the next. */
struct {
	__uint(priority, 60);
	__uint(XDP_PASS, 1);
} XDP_RUN_CONFIG(sn_guard_xdp);

/* Of what is behind VLAN tags the length is always asked for. */
static __always_inline int xdp_has_more(const struct cursor *c)
{
	struct ethhdr *eth = c->pos;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);

	if ((void *)(eth + 1) <= c->end && eth->h_proto == bpf_htons(ETH_P_IP) && (void *)(ip + 1) <= c->end)
		return sizeof(*eth) + bpf_ntohs(ip->tot_len) > (__u64)(c->end - c->pos);
	if ((void *)(eth + 1) <= c->end && eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ip6 + 1) <= c->end)
		return sizeof(*eth) + sizeof(*ip6) + bpf_ntohs(ip6->payload_len) > (__u64)(c->end - c->pos);
	return 1;
}

/*
 * frags: jumbo frames are no reason to lose the driver's mode.  Headers are in the first fragment; only a frame whose
 * IP header tells of more than that has others, and only then the whole length costs a call.
 */
SEC("xdp.frags")
int sn_guard_xdp(struct xdp_md *ctx)
{
	struct cursor c = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	struct scene s = {
		.bytes = c.end - c.pos,
		.ifindex = ctx->ingress_ifindex,
		.hook = SN_HOOK_XDP,
	};

	if (xdp_has_more(&c))
		s.bytes = bpf_xdp_get_buff_len(ctx);
	return guard_run(&c, &s) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
