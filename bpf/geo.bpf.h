/* SPDX-License-Identifier: GPL-2.0-only */
/* geo.bpf.h - refuses new connections by the country of their source. */
#ifndef SN_GEO_BPF_H
#define SN_GEO_BPF_H

#include "count.bpf.h"
#include "geo_maps.bpf.h"

/* What is not there yet, or no more, is for accept to decide. */
static __always_inline __u8 geo_number4(__u32 source, __u32 slot)
{
	__u32 block = bpf_ntohl(source) >> 8;
	__u32 index = block / 8;
	void *table = bpf_map_lookup_elem(&geo4, &slot);
	__u8 *numbers = table ? bpf_map_lookup_elem(table, &index) : NULL;

	return numbers ? numbers[block % 8] : SN_GEO_MIXED;
}

static __always_inline __u8 geo_number6(const __u32 source[4], __u32 slot)
{
	struct sn_geo6_key key = { .plen = 48, .addr = { source[0], source[1] } };
	void *trie = bpf_map_lookup_elem(&geo6, &slot);
	__u8 *number = trie ? bpf_map_lookup_elem(trie, &key) : NULL;

	if (!trie)
		return SN_GEO_MIXED;
	return number ? *number : SN_GEO_OTHER;
}

static __always_inline void geo_count(__u32 slot, __u8 number, int is_monitored)
{
	__u32 index = slot * SN_GEO_NUMBERS + number;
	struct sn_geo_code *code = bpf_map_lookup_elem(&geo_codes, &index);
	struct sn_geo_count *count = code ? bpf_map_lookup_elem(&geo_counts, code) : NULL;

	if (!count)
		return;
	if (is_monitored)
		count->monitored++;
	else
		count->packets++;
}

/* Reported as what the guard drops, and passed all the same: the rules behind go on. */
static __always_inline void geo_report(const struct scene *s, __u32 rule)
{
	count_add(&monitored, SN_DROP_GEO, s->bytes);
	count_event(s, SN_DROP_GEO, rule, SN_EVENT_MONITORED);
}

/* True: drop a SYN to one of our listeners. */
static __always_inline int geo_judge(const struct scene *s)
{
	struct sn_geo_policy_key key = { .listener = s->listener };
	struct sn_geo_policy *policy;
	struct sn_geo_config *now;
	__u32 zero = 0;
	__u8 number;

	if (!s->packet.is_syn)
		return 0;
	now = bpf_map_lookup_elem(&geo_config, &zero);
	if (!now || now->slot >= SN_GEO_SLOTS)
		return 0;
	key.slot = now->slot;
	policy = bpf_map_lookup_elem(&geo_policies, &key);
	if (!policy || sn_geo_is_exempt(s->packet.source))
		return 0;
	if (addr_is_v4(s->packet.source))
		number = geo_number4(s->packet.source[3], key.slot);
	else
		number = policy->flags & SN_GEO_POLICY_V4_ONLY ? SN_GEO_MIXED :
								 geo_number6(s->packet.source, key.slot);
	if (!sn_geo_is_refused(policy, number))
		return 0;
	if (policy->flags & SN_GEO_POLICY_MONITOR) {
		geo_count(key.slot, number, 1);
		geo_report(s, policy->rule);
		return 0;
	}
	if (count_drop(s, SN_DROP_GEO, policy->rule)) {
		geo_count(key.slot, number, 0);
		return 1;
	}
	geo_count(key.slot, number, 1);
	return 0;
}

#endif
