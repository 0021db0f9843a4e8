/* SPDX-License-Identifier: GPL-2.0-only */
/* flood_send.bpf.c - paces live frames: so many a second go out, in bursts, each from the next source. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Written by the sender before it loads this. */
const volatile __u32 send_ifindex;
const volatile __u32 send_burst;
const volatile __u64 send_burst_ns;
const volatile __u32 send_sources;
const volatile __u32 send_skip; /* this one is somebody else's */
const volatile __u16 send_source, send_id, send_port; /* of the frame that was given; host order */

__u64 next_ns;
__u64 sent;

#define LOOKS_MAX 100000 /* at the clock: some milliseconds */

static int wait_until_due(__u32 index, void *unused)
{
	return bpf_ktime_get_ns() >= next_ns;
}

/* The first of a burst waits here: to throw frames away meanwhile would keep the lock of their pool busy. */
SEC("xdp")
int flood_send(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	__u16 number;

	if ((void *)(tcp + 1) > end)
		return XDP_DROP;
	if (sent % send_burst == 0) {
		bpf_loop(LOOKS_MAX, wait_until_due, NULL, 0);
		next_ns = bpf_ktime_get_ns() + send_burst_ns;
	}
	number = sent % send_sources;
	number += number >= send_skip;
	/* What the source gains another word of the same checksum loses: the sums stay right. */
	((__be16 *)&ip->saddr)[1] = bpf_htons(send_source + number);
	ip->id = bpf_htons(send_id - number);
	tcp->source = bpf_htons(send_port - number);
	sent++;
	return bpf_redirect(send_ifindex, 0);
}

char _license[] SEC("license") = "GPL";
