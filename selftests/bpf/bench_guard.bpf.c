/* SPDX-License-Identifier: GPL-2.0-only */
/* bench_guard.bpf.c - what the guard is measured against: an empty program, and the guard with drawn sources. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "guard.bpf.h"

SEC("xdp")
int bench_empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The source of an IPv4 frame without tags becomes one of 2^sn_random_bits in 10.0.0.0/8 and above. */
const volatile __u32 sn_random_mask = ~0u;

static __always_inline void draw_source(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) <= (void *)(long)ctx->data_end)
		ip->saddr = bpf_htonl(0x0a000000 + (bpf_get_prandom_u32() & sn_random_mask));
}

SEC("xdp")
int bench_random(struct xdp_md *ctx)
{
	draw_source(ctx);
	return XDP_PASS;
}

SEC("xdp")
int bench_guard_random(struct xdp_md *ctx)
{
	struct scene s = { .bytes = ctx->data_end - ctx->data, .ifindex = ctx->ingress_ifindex, .hook = SN_HOOK_XDP };
	struct cursor c;

	draw_source(ctx);
	c.pos = (void *)(long)ctx->data;
	c.end = (void *)(long)ctx->data_end;
	return guard_run(&c, &s) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
