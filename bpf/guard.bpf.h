/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guard.bpf.h - the guard's rules, one source for every hook: which packets are ours, and whose are unwanted.
 *
 * Only what is addressed to one of our listeners is ever judged, so no rule can cut an operator off from
 * the machine.
 */
#ifndef SN_GUARD_BPF_H
#define SN_GUARD_BPF_H

#include "budget.bpf.h"
#include "clock.bpf.h"
#include "count.bpf.h"
#include "geo.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "sentinel/verdict.h"

static __always_inline int guard_port_is_ours(__u16 port)
{
	__u32 number = bpf_ntohs(port);
	__u32 index = number / 64;
	__u64 *word = bpf_map_lookup_elem(&ports, &index);

	return word && *word >> (number % 64) & 1;
}

/* 1: the listener is in *out; 0: not ours; -1: the tables know. */
static __always_inline int guard_hint(const struct packet *p, __u32 *out_listener)
{
	__u32 number = bpf_ntohs(p->destination_port);
	struct sn_port_hint *hint = bpf_map_lookup_elem(&port_hints, &number);

	if (!hint || hint->kind == SN_HINT_NONE)
		return -1;
	*out_listener = hint->listener;
	if (hint->proto != p->proto)
		return 0;
	if (hint->kind == SN_HINT_EXACT)
		return hint->addr[0] == p->destination[0] && hint->addr[1] == p->destination[1] &&
		       hint->addr[2] == p->destination[2] && hint->addr[3] == p->destination[3];
	if (!(addr_is_v4(p->destination) ? hint->has_v4 : hint->has_v6))
		return 0;
	return bpf_map_lookup_elem(&host_addrs, p->destination) ? 1 : 0;
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
	if (!addr_is_v4(p->destination))
		key.addr[0] = key.addr[1] = key.addr[2] = 0;
	vip = bpf_map_lookup_elem(&vips, &key);
	if (!vip || !bpf_map_lookup_elem(&host_addrs, p->destination))
		return NULL;
	return vip;
}

/* Asking an empty trie or table costs as much as asking a full one, so flags tell which are empty. */
static __always_inline struct sn_acl *guard_acl(const struct sn_config *c, const __u32 source[4])
{
	struct sn_acl4_key key4 = { .plen = 32, .addr = source[3] };
	struct sn_acl6_key key6 = { .plen = 128 };

	if (addr_is_v4(source))
		return c->flags & SN_CONFIG_ACL4 ? bpf_map_lookup_elem(&acl4, &key4) : NULL;
	if (!(c->flags & SN_CONFIG_ACL6))
		return NULL;
	__builtin_memcpy(key6.addr, source, sizeof(key6.addr));
	return bpf_map_lookup_elem(&acl6, &key6);
}

static __always_inline struct sn_block *guard_block(const __u32 source[4])
{
	struct sn_addr key;

	__builtin_memcpy(key.addr, source, sizeof(key.addr));
	if (!addr_is_v4(source))
		key.addr[2] = key.addr[3] = 0; /* a host chooses these freely */
	return bpf_map_lookup_elem(&block, &key);
}

static __always_inline void guard_hit(const struct sn_block *ban)
{
	__u32 slot = ban->slot;
	struct sn_hits *hits = bpf_map_lookup_elem(&block_hits, &slot);

	if (hits)
		__sync_fetch_and_add(&hits->packets, 1);
}

/* True: drop a packet that is addressed to one of our listeners. */
static __always_inline int guard_judge(const struct scene *s)
{
	struct sn_acl *acl = guard_acl(s->config, s->packet.source);
	struct sn_lookup l = { .acl_action = acl ? acl->action : SN_ACL_NONE };
	struct sn_block *ban = NULL;
	struct sn_heartbeat *h;
	__u32 reason, rule = 0, zero = 0;

	/* sn_verdict() says so too; known this early, it saves the look at the bans. */
	if (l.acl_action == SN_ACL_ALLOW) {
		count_add(&counters, SN_COUNTER_ALLOWED, s->bytes);
		return 0;
	}
	h = bpf_map_lookup_elem(&heartbeat, &zero);
	if (h && h->has_bans)
		ban = guard_block(s->packet.source);
	if (h && ban) {
		l.now_ns = clock_coarse_ns(s->config) + h->offset_ns;
		l.heartbeat_ns = h->at_ns;
		l.block_until_ns = ban->until_ns;
	}
	reason = sn_verdict(&l);
	if (reason == SN_DROP_BLOCK && ban)
		guard_hit(ban);
	if (reason != SN_DROP_NONE)
		return count_drop(s, reason, reason == SN_DROP_ACL && acl ? acl->rule : 0);
	if (geo_judge(s))
		return 1;
	reason = budget_judge(s, &rule);
	if (reason != SN_DROP_NONE)
		return count_drop(s, reason, rule);
	if (l.now_ns < l.block_until_ns)
		count_add(&counters, SN_COUNTER_STALE, s->bytes);
	else
		count_add(&counters, SN_COUNTER_CLEAN, s->bytes);
	return 0;
}

/* The whole guard.  The caller has filled bytes, ifindex and hook.  True: drop. */
static __always_inline int guard_run(struct cursor *c, struct scene *s)
{
	int is_ours, err = parse_packet(c, &s->packet);
	struct sn_vip *vip;
	__u32 zero = 0;

	s->config = bpf_map_lookup_elem(&config, &zero);
	if (err || !s->config) {
		count_add(&counters, err == PARSE_FRAGMENT ? SN_COUNTER_FRAGMENT : SN_COUNTER_UNPARSED,
			  s->bytes);
		return 0;
	}
	is_ours = guard_port_is_ours(s->packet.destination_port) ? guard_hint(&s->packet, &s->listener) : 0;
	if (is_ours < 0) {
		vip = guard_vip(&s->packet);
		is_ours = vip != NULL;
		s->listener = vip ? vip->listener : 0;
	}
	if (!is_ours) {
		count_add(&counters, SN_COUNTER_NOT_OURS, s->bytes);
		return 0;
	}
	return guard_judge(s);
}

#endif
