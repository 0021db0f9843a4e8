/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * geo.h - countries in the kernel's guard: keys, values and limits of the maps, and the decision about a country;
 * rules of abi.h apply.
 *
 * Everything that one database and one plan say stands in one of two slots; geo_config names the one that holds, so
 * that tables, numbers of countries and policies are exchanged by one store.  All of it is written by control.
 *   geo_config    the slot that holds
 *   geo4          slot -> table of all /24: one byte each, the number of a country
 *   geo6          slot -> trie of /48 and shorter prefixes with the number of a country; not there: SN_GEO_OTHER
 *   geo_policies  (slot, listener) -> whom this listener refuses
 *   geo_codes     slot * 256 + number -> the country's two letters
 *   geo_counts    two letters -> what was dropped (written by the guard, one a CPU; rows are made by control)
 */
#ifndef SN_GEO_H
#define SN_GEO_H

#include "sentinel/abi.h"

#define SN_GEO_SLOTS 2
#define SN_GEO_OFF 0xffffffffu /* geo_config.slot: nothing holds */

#define SN_GEO_OTHER 0	 /* a country that no policy names, or none at all */
#define SN_GEO_MIXED 255 /* more than one country: passed, and decided when the connection is accepted */
#define SN_GEO_NUMBERS 256
#define SN_GEO_NAMED_MAX 254

#define SN_GEO4_WORDS (1u << 21) /* of eight /24 each: 16 MiB */
#define SN_GEO6_MAX 131072	 /* prefixes; with more of them IPv6 is decided when the connection is accepted */
#define SN_GEO_COUNTS_MAX 2048	 /* more than two letters or digits can name */

/* The one value of geo_config. */
struct sn_geo_config {
	__u32 slot; /* 0, 1 or SN_GEO_OFF */
	__u32 pad;
};
_Static_assert(sizeof(struct sn_geo_config) == 8, "map value layout");

/* Key of a trie in geo6: the first 64 bits of an address are enough for a /48. */
struct sn_geo6_key {
	__u32 plen; /* 0..48, host order */
	__u32 addr[2];
};
_Static_assert(sizeof(struct sn_geo6_key) == 12, "map key layout");

struct sn_geo_policy_key {
	__u32 slot;
	__u32 listener; /* sn_vip.listener */
};
_Static_assert(sizeof(struct sn_geo_policy_key) == 8, "map key layout");

/* A listener without a row has no rule. */
struct sn_geo_policy {
	__u64 refused[4]; /* a bit a number; never that of SN_GEO_MIXED */
	__u32 flags;	  /* SN_GEO_POLICY_* */
	__u32 rule;	  /* number of the rule in the plan; comes back in events */
};
_Static_assert(sizeof(struct sn_geo_policy) == 40, "map value layout");

#define SN_GEO_POLICY_MONITOR 1u /* count and report, and pass */
#define SN_GEO_POLICY_V4_ONLY 2u /* there is no trie: IPv6 is decided when the connection is accepted */

/* Value of geo_codes and key of geo_counts. */
struct sn_geo_code {
	char text[2]; /* "--": SN_GEO_OTHER */
	__u16 pad;
};
_Static_assert(sizeof(struct sn_geo_code) == 4, "map key layout");

struct sn_geo_count {
	__u64 packets;
	__u64 monitored;
};
_Static_assert(sizeof(struct sn_geo_count) == 16, "map value layout");

/* Of a country's number.  Both halves ask here; userspace never has a mixed one. */
static inline int sn_geo_is_refused(const struct sn_geo_policy *p, __u8 number)
{
	return number != SN_GEO_MIXED && p->refused[number / 64] >> number % 64 & 1;
}

/* Loopback is in no country: never judged. */
static inline int sn_geo_is_exempt(const __u32 addr[4])
{
	const __u8 *b = (const __u8 *)addr;

	if (addr[0] || addr[1])
		return 0;
	if (!addr[2])
		return b[12] == 0 && b[13] == 0 && b[14] == 0 && b[15] == 1;
	return b[8] == 0 && b[9] == 0 && b[10] == 0xff && b[11] == 0xff && b[12] == 127;
}

#endif
