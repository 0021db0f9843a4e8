/* SPDX-License-Identifier: GPL-2.0-only */
/* count.bpf.h - counters, drop accounting and sampled events. */
#ifndef SN_COUNT_BPF_H
#define SN_COUNT_BPF_H

#include "clock.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "sentinel/events.h"

#define COUNT_SECOND_NS 1000000000ull

/* Events a second on each CPU; 0: none. */
const volatile __u32 sn_events_per_second = SN_EVENTS_PER_SECOND;

/* One packet at one hook: what the guard hands around. */
struct scene {
	struct packet packet;
	const struct sn_config *config;
	__u32 bytes;
	__u32 ifindex;
	__u32 listener;
	__u8 hook; /* SN_HOOK_* */
};

static __always_inline void count_add(void *map, __u32 index, __u32 bytes)
{
	struct sn_count *c = bpf_map_lookup_elem(map, &index);

	if (!c)
		return;
	c->packets++;
	c->bytes += bytes;
}

/* May this CPU send one more event in its running second? */
static __always_inline int count_event_allowed(__u64 now_ns)
{
	__u32 zero = 0;
	struct sn_event_budget *b = bpf_map_lookup_elem(&event_budget, &zero);

	if (!b)
		return 0;
	if (now_ns - b->since_ns >= COUNT_SECOND_NS) {
		b->since_ns = now_ns;
		b->sent = 0;
	}
	if (b->sent >= sn_events_per_second)
		return 0;
	b->sent++;
	return 1;
}

static __always_inline void count_event(const struct scene *s, __u32 reason, __u32 rule, __u8 flags)
{
	struct sn_drop_event *e;

	if (!count_event_allowed(clock_coarse_ns(s->config))) {
		count_add(&counters, SN_COUNTER_EVENT_LIMITED, s->bytes);
		return;
	}
	e = bpf_ringbuf_reserve(&drop_events, sizeof(*e), 0);
	if (!e) {
		count_add(&counters, SN_COUNTER_EVENT_LOST, s->bytes);
		return;
	}
	e->at_ns = bpf_ktime_get_boot_ns();
	__builtin_memcpy(e->source, s->packet.source, sizeof(e->source));
	__builtin_memcpy(e->destination, s->packet.destination, sizeof(e->destination));
	e->rule = rule;
	e->listener = s->listener;
	e->ifindex = s->ifindex;
	e->bytes = s->bytes;
	e->source_port = s->packet.source_port;
	e->destination_port = s->packet.destination_port;
	e->proto = s->packet.proto;
	e->reason = reason;
	e->hook = s->hook;
	e->flags = flags;
	bpf_ringbuf_submit(e, 0);
}

/* Account for a packet that is to be dropped.  True: drop it; false: monitor mode, pass it. */
static __always_inline int count_drop(const struct scene *s, __u32 reason, __u32 rule)
{
	int is_monitor = s->config->flags & SN_CONFIG_MONITOR;

	if (is_monitor)
		count_add(&monitored, reason, s->bytes);
	else
		count_add(&drops, reason, s->bytes);
	count_event(s, reason, rule, is_monitor ? SN_EVENT_MONITORED : 0);
	return !is_monitor;
}

#endif
