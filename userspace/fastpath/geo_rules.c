/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_rules.c - the decision about a country for accepted connections. */
#include "fastpath/geo_rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct listener_policy {
	uint32_t listener;
	struct sn_geo_policy policy;
};

struct geo_rules {
	struct geo_file *file;		/* one reference */
	struct listener_policy *items;	/* owned; by listener */
	size_t count;
	uint8_t numbers[65536]; /* by country */
	bool is_monitor; /* of the whole guard */
};

static int listener_compare(const void *a, const void *b)
{
	uint32_t left = ((const struct listener_policy *)a)->listener;
	uint32_t right = ((const struct listener_policy *)b)->listener;

	return left < right ? -1 : left > right;
}

struct geo_rules *geo_rules_new(const struct fastpath_plan *p)
{
	const struct geo_plan *geo = &p->geo;
	struct geo_rules *r;

	if (!geo->file || geo->choice_count == 0)
		return NULL;
	r = mem_zalloc(sizeof(*r));
	r->file = geo->file;
	geo_file_hold(r->file);
	r->is_monitor = p->is_monitor;
	r->items = mem_array(geo->choice_count, sizeof(*r->items));
	for (size_t i = 0; i < geo->choice_count; i++)
		r->items[r->count++] = (struct listener_policy){
			.listener = geo->choices[i].listener,
			.policy = geo_plan_policy(geo, &geo->choices[i]),
		};
	qsort(r->items, r->count, sizeof(*r->items), listener_compare);
	for (size_t i = 0; i < geo->named_count; i++)
		r->numbers[geo->named[i]] = (uint8_t)(i + 1);
	return r;
}

void geo_rules_free(struct geo_rules *r)
{
	if (!r)
		return;
	geo_file_put(r->file);
	free(r->items);
	free(r);
}

static bool is_exempt(const uint8_t ip[16])
{
	__u32 addr[4];

	memcpy(addr, ip, sizeof(addr));
	return sn_geo_is_exempt(addr);
}

struct geo_verdict geo_rules_judge(const struct geo_rules *r, uint32_t listener, const uint8_t ip[16])
{
	const struct listener_policy key = { .listener = listener }, *found;
	struct geo_verdict v = { 0 };
	struct geo_place place;

	if (!r || is_exempt(ip))
		return v;
	found = bsearch(&key, r->items, r->count, sizeof(*r->items), listener_compare);
	if (!found || geo_file_find(r->file, ip, &place) < 0)
		place = (struct geo_place){ 0 };
	v.country = place.country;
	if (!found || !sn_geo_is_refused(&found->policy, r->numbers[place.country]))
		return v;
	v.rules = (struct rules_verdict){
		.reason = SN_DROP_GEO,
		.is_refused = !r->is_monitor && !(found->policy.flags & SN_GEO_POLICY_MONITOR),
		.rule = found->policy.rule,
	};
	return v;
}
