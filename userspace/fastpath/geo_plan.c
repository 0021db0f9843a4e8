/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_plan.c - which countries may come in by which listener: the part of a plan that needs a database. */
#include "fastpath/geo_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

void geo_plan_fini(struct geo_plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->choice_count; i++)
		free(p->choices[i].countries);
	free(p->choices);
	geo_file_put(p->file);
	*p = (struct geo_plan){ 0 };
}

static void choice_append(struct geo_plan *p, const struct geo_choice *c)
{
	struct geo_choice *added;

	p->choices = mem_resize(p->choices, p->choice_count + 1, sizeof(*p->choices));
	added = &p->choices[p->choice_count++];
	*added = *c;
	added->countries = mem_array(c->count + 1, sizeof(*added->countries));
	if (c->count)
		memcpy(added->countries, c->countries, c->count * sizeof(*c->countries));
}

void geo_plan_copy(struct geo_plan *out_plan, const struct geo_plan *p)
{
	*out_plan = *p;
	out_plan->choices = NULL;
	out_plan->choice_count = 0;
	for (size_t i = 0; i < p->choice_count; i++)
		choice_append(out_plan, &p->choices[i]);
	if (p->file)
		geo_file_hold(p->file);
}

void geo_plan_use(struct geo_plan *p, struct geo_file *f)
{
	CHECK(!p->file && f);
	p->file = f;
}

static void name_add(struct geo_plan *p, geo_country country)
{
	size_t i = 0;

	while (i < p->named_count && p->named[i] < country)
		i++;
	if (i < p->named_count && p->named[i] == country)
		return;
	if (p->named_count == SN_GEO_NAMED_MAX) {
		p->has_too_many = true;
		return;
	}
	memmove(&p->named[i + 1], &p->named[i], (p->named_count - i) * sizeof(*p->named));
	p->named[i] = country;
	p->named_count++;
}

void geo_plan_add(struct geo_plan *p, const struct geo_choice *c)
{
	CHECK(p->file && c->rule);
	choice_append(p, c);
	for (size_t i = 0; i < c->count; i++)
		name_add(p, c->countries[i]);
}

int geo_plan_check(const struct geo_plan *p, struct strbuf *out_why)
{
	if (p->has_too_many)
		strbuf_printf(out_why, "more than %d countries are named in geo", SN_GEO_NAMED_MAX);
	else if (p->choice_count > SN_VIPS_MAX)
		strbuf_printf(out_why, "geo is for %zu listening sockets, at most %d fit", p->choice_count,
			      SN_VIPS_MAX);
	else
		return 0;
	return -E2BIG;
}

static int country_compare(const void *a, const void *b)
{
	return *(const geo_country *)a - *(const geo_country *)b;
}

static uint8_t number_of(geo_country country, const geo_country *named, size_t count)
{
	const geo_country *found = bsearch(&country, named, count, sizeof(*named), country_compare);

	return found ? (uint8_t)(found - named + 1) : SN_GEO_OTHER;
}

uint8_t geo_plan_number(const struct geo_plan *p, geo_country country)
{
	return number_of(country, p->named, p->named_count);
}

struct sn_geo_policy geo_choice_policy(const struct geo_choice *c, const geo_country *named, size_t count)
{
	struct sn_geo_policy policy = { .flags = c->is_monitor ? SN_GEO_POLICY_MONITOR : 0, .rule = c->rule };

	for (size_t i = 0; i < c->count; i++) {
		unsigned number = number_of(c->countries[i], named, count);

		/* One among others: with `deny` they would be refused with it, with `allow` all of them pass. */
		if (number == SN_GEO_OTHER && !c->is_allow)
			continue;
		policy.refused[number / 64] |= 1ull << number % 64;
	}
	for (size_t i = 0; c->is_allow && i < ARRAY_LEN(policy.refused); i++)
		policy.refused[i] = ~policy.refused[i];
	policy.refused[SN_GEO_MIXED / 64] &= ~(1ull << SN_GEO_MIXED % 64);
	return policy;
}

struct sn_geo_policy geo_plan_policy(const struct geo_plan *p, const struct geo_choice *c)
{
	return geo_choice_policy(c, p->named, p->named_count);
}

bool geo_plan_names_same(const struct geo_plan *a, const geo_country *named, size_t count)
{
	return a->named_count == count && memcmp(a->named, named, count * sizeof(*named)) == 0;
}
