/* SPDX-License-Identifier: GPL-2.0-only */
/* jiffies.bpf.c - jiffies and CLOCK_MONOTONIC at one moment, for the daemon to tell the guard how they go together. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct jiffies_now {
	__u64 jiffies;
	__u64 monotonic_ns;
};

SEC("syscall")
int sn_jiffies(struct jiffies_now *now)
{
	now->jiffies = bpf_jiffies64();
	now->monotonic_ns = bpf_ktime_get_ns();
	return 0;
}

char _license[] SEC("license") = "GPL";
