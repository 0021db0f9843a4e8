/* SPDX-License-Identifier: GPL-2.0-only */
/* splice_maps.bpf.h - every map of the splice; include/sentinel/abi.h says what they mean and who writes them. */
#ifndef SN_SPLICE_MAPS_BPF_H
#define SN_SPLICE_MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sentinel/abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, SN_FLOWS_MAX);
	__type(key, __u64);
	__type(value, __u64);
} flow_socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SN_FLOWS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} flow_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SN_FLOWS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sn_flow_ctl);
} flow_ctl SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SN_FLOWS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct sn_flow_stat);
} flow_stat SEC(".maps");

struct splice_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SN_SPLICE_RING_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SN_SPLICE_WORKERS_MAX);
	__type(key, __u32);
	__array(values, struct splice_ring);
} splice_rings SEC(".maps");

#endif
