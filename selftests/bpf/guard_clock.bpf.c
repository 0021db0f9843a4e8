/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_clock.bpf.c - the guard with a clock that the test sets, for what depends on time to the nanosecond. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} test_clock SEC(".maps");

static __always_inline __u64 test_now(void)
{
	__u32 zero = 0;
	__u64 *now = bpf_map_lookup_elem(&test_clock, &zero);

	return now ? *now : 0;
}

#define CLOCK_NS() test_now()
#define CLOCK_JIFFIES() test_now()

#include "guard.bpf.h"

SEC("xdp")
int guard_clock(struct xdp_md *ctx)
{
	struct cursor c = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	struct scene s = {
		.bytes = ctx->data_end - ctx->data,
		.ifindex = ctx->ingress_ifindex,
		.hook = SN_HOOK_XDP,
	};

	return guard_run(&c, &s) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
