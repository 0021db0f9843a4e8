/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_maps.bpf.h - the guard's maps of countries; include/sentinel/geo.h says what they mean and who writes them. */
#ifndef SN_GEO_MAPS_BPF_H
#define SN_GEO_MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sentinel/geo.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sn_geo_config);
} geo_config SEC(".maps");

/* A pattern without memory of its own: real tables have SN_GEO4_WORDS entries, which BPF_F_INNER_MAP allows. */
struct geo_table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SN_GEO_SLOTS);
	__type(key, __u32);
	__array(values, struct geo_table);
} geo4 SEC(".maps");

/* By sizes: of a struct that only an inner map names, clang writes no more than that there is one. */
struct geo_trie {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, SN_GEO6_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, sizeof(struct sn_geo6_key));
	__uint(value_size, sizeof(__u8));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SN_GEO_SLOTS);
	__type(key, __u32);
	__array(values, struct geo_trie);
} geo6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SN_GEO_SLOTS * 2 * SN_VIPS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sn_geo_policy_key);
	__type(value, struct sn_geo_policy);
} geo_policies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SN_GEO_SLOTS * SN_GEO_NUMBERS);
	__type(key, __u32);
	__type(value, struct sn_geo_code);
} geo_codes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, SN_GEO_COUNTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct sn_geo_code);
	__type(value, struct sn_geo_count);
} geo_counts SEC(".maps");

#endif
