/* SPDX-License-Identifier: GPL-2.0-only */
/* budget.bpf.h - holds sources to their budgets: connections when a SYN comes, packets always. */
#ifndef SN_BUDGET_BPF_H
#define SN_BUDGET_BPF_H

#include "clock.bpf.h"
#include "count.bpf.h"
#include "maps.bpf.h"
#include "sentinel/budget.h"
#include "sentinel/verdict.h"

/* One packet on its way through the levels. */
struct budget_walk {
	const struct sn_budgets *budgets;
	const __u32 *source;
	__u64 now_ns;
	__u32 rule;	 /* of the first level that refused */
	__u32 is_refused;
	__u32 has_saturated;
};

/*
 * Both cells are charged, whatever the first one said: else every budget would be twice as large.  A global function,
 * as the next one.
 */
__noinline __u32 sn_budget_sketch(const struct sn_budget *b, __u64 hash, __u64 now_ns)
{
	__u32 one, two, is_admitted = 0;
	struct sn_cell *first, *second;

	if (!b)
		return 1;
	one = sn_budget_cell(b, hash, 0);
	two = sn_budget_cell(b, hash, 1);
	first = bpf_map_lookup_elem(&rl_sketch, &one);
	second = bpf_map_lookup_elem(&rl_sketch, &two);
	if (first)
		is_admitted |= sn_gcra_charge(&first->full_at_ns, b, now_ns);
	if (second)
		is_admitted |= sn_gcra_charge(&second->full_at_ns, b, now_ns);
	return is_admitted;
}

static __always_inline void budget_level(struct budget_walk *w, const struct sn_budget *b, __u64 *own, __u32 number,
					 __u32 per)
{
	__u32 is_admitted;

	if (!b->interval_ns)
		return;
	if (own)
		is_admitted = sn_gcra_charge(own, b, w->now_ns);
	else
		is_admitted = sn_budget_sketch(b, sn_budget_hash(w->source, per, w->budgets->seed, number), w->now_ns);
	if (is_admitted)
		return;
	if (!own && b->is_saturated) {
		w->has_saturated = 1;
		return;
	}
	if (!w->is_refused)
		w->rule = b->rule;
	w->is_refused = 1;
}

static __always_inline int budget_is_loopback(const __u32 addr[4])
{
	if (addr_is_v4(addr))
		return (addr[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !addr[0] && !addr[1] && !addr[2] && addr[3] == bpf_htonl(1);
}

/* The source's own buckets, if it ever completed a handshake. */
static __always_inline struct sn_source *budget_source(const __u32 source[4])
{
	struct sn_addr key;

	__builtin_memcpy(key.addr, source, sizeof(key.addr));
	if (!addr_is_v4(source))
		key.addr[2] = key.addr[3] = 0;
	return bpf_map_lookup_elem(&rl_src, &key);
}

static __always_inline void budget_connections(struct budget_walk *w, struct sn_source *own)
{
	const struct sn_budgets *b = w->budgets;

	budget_level(w, &b->connections_ip, own ? &own->connections_full_at_ns : NULL, 0, SN_PER_IP);
	if (addr_is_v4(w->source)) {
		budget_level(w, &b->connections_24, NULL, 1, SN_PER_24);
		return;
	}
	budget_level(w, &b->connections_64, NULL, 2, SN_PER_64);
	budget_level(w, &b->connections_48, NULL, 3, SN_PER_48);
}

static __always_inline void budget_packets(struct budget_walk *w, struct sn_source *own)
{
	const struct sn_budgets *b = w->budgets;

	budget_level(w, &b->packets_ip, own ? &own->packets_full_at_ns : NULL, 4, SN_PER_IP);
	if (addr_is_v4(w->source)) {
		budget_level(w, &b->packets_24, NULL, 5, SN_PER_24);
		return;
	}
	budget_level(w, &b->packets_64, NULL, 6, SN_PER_64);
	budget_level(w, &b->packets_48, NULL, 7, SN_PER_48);
}

#define BUDGET_REASON_SHIFT 24 /* of what sn_budget_judge() returns; below it is the rule */

/*
 * SN_DROP_NONE, or the budget that a packet of this source is over, with the rule.  A global function: the verifier
 * looks at it once, and not once for each way through the parsers.
 */
__noinline __u32 sn_budget_judge(const struct sn_addr *source, __u32 is_syn, __u32 bytes)
{
	__u32 zero = 0, reason = SN_DROP_NONE;
	const struct sn_budgets *b = bpf_map_lookup_elem(&budgets, &zero);
	const struct sn_heartbeat *h = bpf_map_lookup_elem(&heartbeat, &zero);
	const struct sn_config *c = bpf_map_lookup_elem(&config, &zero);
	struct budget_walk w = { .budgets = b };
	struct sn_source *own;

	if (!source || !b || !h || !c)
		return SN_DROP_NONE;
	w.source = source->addr;
	w.now_ns = b->flags & SN_BUDGETS_COARSE ? clock_coarse_ns(c) : CLOCK_NS();
	/* Nobody would see that the sketch is saturated. */
	if (!sn_heartbeat_is_fresh(h->at_ns, w.now_ns + h->offset_ns))
		return SN_DROP_NONE;
	own = b->flags & SN_BUDGETS_BY_IP ? budget_source(w.source) : NULL;
	if (b->flags & SN_BUDGETS_PACKETS)
		budget_packets(&w, own);
	if (w.is_refused)
		reason = SN_DROP_PACKET_BUDGET;
	if (is_syn && b->flags & SN_BUDGETS_CONNECTIONS)
		budget_connections(&w, own);
	if (w.is_refused && reason == SN_DROP_NONE)
		reason = SN_DROP_CONNECTION_BUDGET;
	if (w.has_saturated && reason == SN_DROP_NONE)
		count_add(&counters, SN_COUNTER_SKETCH_SATURATED, bytes);
	return reason << BUDGET_REASON_SHIFT | (w.rule & ((1u << BUDGET_REASON_SHIFT) - 1));
}

static __always_inline __u32 budget_judge(const struct scene *s, __u32 *out_rule)
{
	__u32 zero = 0, verdict, wanted = SN_BUDGETS_PACKETS | (s->packet.is_syn ? SN_BUDGETS_CONNECTIONS : 0);
	const struct sn_budgets *b = bpf_map_lookup_elem(&budgets, &zero);
	struct sn_addr source;

	if (!b || !(b->flags & wanted) || budget_is_loopback(s->packet.source))
		return SN_DROP_NONE;
	__builtin_memcpy(source.addr, s->packet.source, sizeof(source.addr));
	verdict = sn_budget_judge(&source, s->packet.is_syn, s->bytes);
	*out_rule = verdict & ((1u << BUDGET_REASON_SHIFT) - 1);
	return verdict >> BUDGET_REASON_SHIFT;
}

#endif
