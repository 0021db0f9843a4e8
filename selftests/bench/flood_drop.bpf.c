/* SPDX-License-Identifier: GPL-2.0-only */
/* flood_drop.bpf.c - throws every frame away: what a frame costs that nobody looks at. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp/drop")
int flood_drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
