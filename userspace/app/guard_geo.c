/* SPDX-License-Identifier: GPL-2.0-only */
/* guard_geo.c - the part of the guard's plan that is about countries. */
#include "app/guard.h"
#include "proxy/config.h"

void guard_geo_plan(struct fastpath_plan *p, const struct snapshot *s)
{
	const struct config_geo *g = s->config->kernel.geo;

	if (!g || !g->file)
		return;
	geo_file_hold(g->file);
	geo_plan_use(&p->geo, g->file);
	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listener *l = &s->listeners[i];
		const struct config_geo_policy *policy = config_geo_policy(g, l->id);

		if (policy && !l->is_removed)
			geo_plan_add(&p->geo, &(struct geo_choice){
						      .listener = l->number,
						      .rule = policy->line ? policy->line : 1,
						      .is_allow = policy->is_allow,
						      .is_monitor = policy->mode == CONFIG_GEO_MONITOR,
						      .countries = policy->countries,
						      .count = policy->country_count,
					      });
	}
}

void guard_geo_apply(struct guard *g)
{
	(void)fastpath_geo_apply(g->fastpath); /* what failed is in the status */
	guard_report(g);
}

const char *guard_geo_country(const struct guard *g, const uint8_t ip[16], char text[3])
{
	struct geo_place place;

	if (!g->plan.geo.file || geo_file_find(g->plan.geo.file, ip, &place) < 0)
		place = (struct geo_place){ 0 };
	return geo_country_text(place.country, text);
}
