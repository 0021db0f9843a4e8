/* SPDX-License-Identifier: GPL-2.0-only */
/* steer.bpf.c - a new connection goes to the least-loaded worker among the sockets of its listener. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sentinel/steer.h"

#define FAMILY_INET 2 /* AF_INET */
/* One load at a fixed offset: the verifier wants no arithmetic on sockets, which clang likes to share. */
#define READ(field) (*(const volatile __u32 *)&(field))

const volatile __u32 sn_steer_workers = 1;

struct steer_socks {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, SN_STEER_WORKERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, SN_STEER_GROUPS_MAX);
	__type(key, struct sn_steer_key);
	__array(values, struct steer_socks);
} steer_groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SN_STEER_WORKERS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sn_steer_worker);
} steer_workers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SN_STEER_WORKERS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} steer_picks SEC(".maps");

/* Among equals the hash decides where to begin, so that nobody is always the first. */
static __u32 least_loaded(__u32 hash)
{
	__u32 count = sn_steer_workers, best = 0;
	__u64 best_load = ~(__u64)0;

	if (count == 0 || count > SN_STEER_WORKERS_MAX)
		return 0;
	for (__u32 i = 0; i < SN_STEER_WORKERS_MAX; i++) {
		const struct sn_steer_worker *w;
		const __u64 *picks;
		__u64 load;
		__u32 at;

		if (i >= count)
			break;
		at = (hash + i) % count;
		w = bpf_map_lookup_elem(&steer_workers, &at);
		picks = bpf_map_lookup_elem(&steer_picks, &at);
		if (!w || !picks)
			continue;
		load = w->live + (*picks - w->seen);
		if (load < best_load) {
			best_load = load;
			best = at;
		}
	}
	return best;
}

SEC("sk_reuseport")
int sn_steer(struct sk_reuseport_md *md)
{
	struct sn_steer_key key = {};
	struct bpf_sock *sk = md->sk;
	__u32 worker, ip4 = READ(sk->src_ip4);
	__u64 *picks;
	void *socks;

	key.family = sk->family;
	key.port = sk->src_port;
	if (key.family == FAMILY_INET) {
		key.addr[3] = ip4;
	} else {
		key.addr[0] = READ(sk->src_ip6[0]);
		key.addr[1] = READ(sk->src_ip6[1]);
		key.addr[2] = READ(sk->src_ip6[2]);
		key.addr[3] = READ(sk->src_ip6[3]);
	}
	socks = bpf_map_lookup_elem(&steer_groups, &key);
	if (!socks)
		return SK_PASS;
	worker = least_loaded(md->hash);
	/* No such socket (it is closing): the kernel's hash chooses. */
	if (bpf_sk_select_reuseport(md, socks, &worker, 0))
		return SK_PASS;
	picks = bpf_map_lookup_elem(&steer_picks, &worker);
	if (picks)
		__sync_fetch_and_add(picks, 1);
	return SK_PASS;
}

char _license[] SEC("license") = "GPL";
