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

/* frags: jumbo frames are no reason to lose the driver's mode.  Headers are in the first fragment. */
SEC("xdp.frags")
int sn_guard_xdp(struct xdp_md *ctx)
{
	struct cursor c = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	struct scene s = {
		.bytes = bpf_xdp_get_buff_len(ctx),
		.ifindex = ctx->ingress_ifindex,
		.hook = SN_HOOK_XDP,
	};

	return guard_run(&c, &s) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
