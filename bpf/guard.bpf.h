/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guard.bpf.h - the guard's rules, one source for every hook: which packets are ours, and whose are unwanted.
 *
 * Only what is addressed to one of our listeners is ever judged, so no rule can cut an operator off from
 * the machine.
 */
#ifndef SN_GUARD_BPF_H
#define SN_GUARD_BPF_H

#include "count.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "sentinel/verdict.h"

static __always_inline int guard_is_v4(const __u32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(SN_V4_MAPPED);
}

static __always_inline int guard_port_is_ours(__u16 port)
{
	__u32 number = bpf_ntohs(port);
	__u32 index = number / 64;
	__u64 *word = bpf_map_lookup_elem(&ports, &index);

	return word && *word >> (number % 64) & 1;
}

/* A wildcard listener has the host's own addresses, not every address that is routed through here. */
static __always_inline struct sn_vip *guard_vip(const struct packet *p)
{
	struct sn_vip_key key = { .port = p->destination_port, .proto = p->proto };
	struct sn_vip *vip;

	__builtin_memcpy(key.addr, p->destination, sizeof(key.addr));
	vip = bpf_map_lookup_elem(&vips, &key);
	if (vip)
		return vip;
	key.addr[3] = 0;
	if (!guard_is_v4(p->destination))
		key.addr[0] = key.addr[1] = key.addr[2] = 0;
	vip = bpf_map_lookup_elem(&vips, &key);
	if (!vip || !bpf_map_lookup_elem(&host_addrs, p->destination))
		return NULL;
	return vip;
}

static __always_inline struct sn_acl *guard_acl(const __u32 source[4])
{
	struct sn_acl4_key key4 = { .plen = 32, .addr = source[3] };
	struct sn_acl6_key key6 = { .plen = 128 };

	if (guard_is_v4(source))
		return bpf_map_lookup_elem(&acl4, &key4);
	__builtin_memcpy(key6.addr, source, sizeof(key6.addr));
	return bpf_map_lookup_elem(&acl6, &key6);
}

static __always_inline struct sn_block *guard_block(const __u32 source[4])
{
	struct sn_addr key;

	__builtin_memcpy(key.addr, source, sizeof(key.addr));
	if (!guard_is_v4(source))
		key.addr[2] = key.addr[3] = 0; /* a host chooses these freely */
	return bpf_map_lookup_elem(&block, &key);
}

/* True: drop a packet that is addressed to one of our listeners. */
static __always_inline int guard_judge(const struct scene *s)
{
	struct sn_acl *acl = guard_acl(s->packet.source);
	struct sn_lookup l = { .acl_action = acl ? acl->action : SN_ACL_NONE };
	struct sn_block *ban;
	__u32 reason, zero = 0;

	/* sn_verdict() says so too; known this early, it saves the look at the bans. */
	if (l.acl_action == SN_ACL_ALLOW) {
		count_add(&counters, SN_COUNTER_ALLOWED, s->bytes);
		return 0;
	}
	ban = guard_block(s->packet.source);
	if (ban) {
		struct sn_heartbeat *h = bpf_map_lookup_elem(&heartbeat, &zero);

		l.now_ns = bpf_ktime_get_boot_ns();
		l.heartbeat_ns = h ? h->at_ns : 0;
		l.block_until_ns = ban->until_ns;
	}
	reason = sn_verdict(&l);
	if (reason != SN_DROP_NONE)
		return count_drop(s, reason, reason == SN_DROP_ACL && acl ? acl->rule : 0);
	if (l.now_ns < l.block_until_ns)
		count_add(&counters, SN_COUNTER_STALE, s->bytes);
	else
		count_add(&counters, SN_COUNTER_CLEAN, s->bytes);
	return 0;
}

/* The whole guard.  The caller has filled bytes, ifindex and hook.  True: drop. */
static __always_inline int guard_run(struct cursor *c, struct scene *s)
{
	struct sn_vip *vip;
	int err = parse_packet(c, &s->packet);

	if (err) {
		count_add(&counters, err == PARSE_FRAGMENT ? SN_COUNTER_FRAGMENT : SN_COUNTER_UNPARSED,
			  s->bytes);
		return 0;
	}
	vip = guard_port_is_ours(s->packet.destination_port) ? guard_vip(&s->packet) : NULL;
	if (!vip) {
		count_add(&counters, SN_COUNTER_NOT_OURS, s->bytes);
		return 0;
	}
	s->listener = vip->listener;
	return guard_judge(s);
}

#endif
