/* SPDX-License-Identifier: GPL-2.0-only */
/* plan.c - what the kernel's guard shall do: the desired state, without a word about how. */
#include "fastpath/plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "sentinel/budget.h"

static const char *const mode_names[FASTPATH_MODE_COUNT] = {
	[FASTPATH_MODE_AUTO] = "auto",
	[FASTPATH_MODE_XDP] = "xdp",
	[FASTPATH_MODE_TC] = "tc",
	[FASTPATH_MODE_OFF] = "off",
};

void plan_fini(struct fastpath_plan *p)
{
	if (!p)
		return;
	free(p->interfaces);
	free(p->vips);
	free(p->acls);
	geo_plan_fini(&p->geo);
	*p = (struct fastpath_plan){ 0 };
}

static void *copy_array(const void *from, size_t count, size_t size)
{
	void *to;

	if (count == 0)
		return NULL;
	to = mem_array(count, size);
	memcpy(to, from, count * size);
	return to;
}

void plan_copy(struct fastpath_plan *out_plan, const struct fastpath_plan *p)
{
	*out_plan = *p;
	out_plan->interfaces = copy_array(p->interfaces, p->interface_count, sizeof(*p->interfaces));
	out_plan->vips = copy_array(p->vips, p->vip_count, sizeof(*p->vips));
	out_plan->acls = copy_array(p->acls, p->acl_count, sizeof(*p->acls));
	geo_plan_copy(&out_plan->geo, &p->geo);
}

int plan_add_budget(struct fastpath_plan *p, const struct fastpath_budget *b)
{
	uint64_t period_ns;
	size_t i;

	if (!b->count || !b->period_ms || !b->burst || !b->rule || b->per >= SN_PER_COUNT ||
	    b->period_ms > PLAN_BUDGET_MAX_NS / 1000000)
		return -EINVAL;
	period_ns = b->period_ms * 1000000;
	if (b->count > period_ns)
		return -EINVAL;
	if (b->burst > PLAN_BUDGET_MAX_NS / (period_ns / b->count))
		return -ERANGE;
	for (i = 0; i < p->budget_count; i++)
		if (p->budgets[i].is_packets == b->is_packets && p->budgets[i].per == b->per)
			return -EEXIST;
	CHECK(p->budget_count < SN_BUDGET_LEVELS);
	p->budgets[p->budget_count++] = *b;
	return 0;
}

int plan_add_interface(struct fastpath_plan *p, const char *name, enum fastpath_mode mode)
{
	struct fastpath_interface *added;
	size_t i, len = strlen(name);

	CHECK(mode < FASTPATH_MODE_COUNT);
	if (len == 0 || len >= sizeof(added->name) || strchr(name, '/'))
		return -EINVAL;
	for (i = 0; i < p->interface_count; i++)
		if (strcmp(p->interfaces[i].name, name) == 0)
			return -EEXIST;
	if (p->interface_count == PLAN_INTERFACES_MAX)
		return -E2BIG;
	p->interfaces = mem_resize(p->interfaces, p->interface_count + 1, sizeof(*p->interfaces));
	added = &p->interfaces[p->interface_count++];
	*added = (struct fastpath_interface){ .mode = mode };
	memcpy(added->name, name, len);
	return 0;
}

int plan_add_vip(struct fastpath_plan *p, const struct fastpath_vip *v)
{
	if (v->port == 0 || (v->proto != IPPROTO_TCP && v->proto != IPPROTO_UDP))
		return -EINVAL;
	p->vips = mem_resize(p->vips, p->vip_count + 1, sizeof(*p->vips));
	p->vips[p->vip_count++] = *v;
	return 0;
}

static bool acl_is_valid(const struct fastpath_acl *a)
{
	unsigned bit;

	if (a->len > 128 || a->rule == 0 || (a->action != SN_ACL_DENY && a->action != SN_ACL_ALLOW))
		return false;
	for (bit = a->len; bit < 128; bit++)
		if (a->ip[bit / 8] & 0x80 >> bit % 8)
			return false;
	return true;
}

int plan_add_acl(struct fastpath_plan *p, const struct fastpath_acl *a)
{
	if (!acl_is_valid(a))
		return -EINVAL;
	p->acls = mem_resize(p->acls, p->acl_count + 1, sizeof(*p->acls));
	p->acls[p->acl_count++] = *a;
	return 0;
}

bool plan_acl_is_v4(const struct fastpath_acl *a)
{
	return a->len >= 96 && ip16_is_v4(a->ip);
}

/* Longest first; of one prefix the rule that holds comes first: allow, then the lowest number. */
static int acl_compare(const void *left, const void *right)
{
	const struct fastpath_acl *a = left, *b = right;
	int order = memcmp(a->ip, b->ip, sizeof(a->ip));

	if (a->len != b->len)
		return a->len > b->len ? -1 : 1;
	if (order)
		return order;
	if (a->action != b->action)
		return a->action == SN_ACL_ALLOW ? -1 : 1;
	return a->rule < b->rule ? -1 : a->rule > b->rule;
}

size_t plan_acl_normalise(struct fastpath_acl *acls, size_t count)
{
	size_t i, kept = 0;

	if (count == 0)
		return 0;
	qsort(acls, count, sizeof(*acls), acl_compare);
	for (i = 0; i < count; i++) {
		if (kept && acls[kept - 1].len == acls[i].len &&
		    memcmp(acls[kept - 1].ip, acls[i].ip, sizeof(acls[i].ip)) == 0)
			continue;
		acls[kept++] = acls[i];
	}
	return kept;
}

int plan_check(const struct fastpath_plan *p, struct strbuf *out_why)
{
	struct fastpath_acl *acls = copy_array(p->acls, p->acl_count, sizeof(*acls));
	size_t i, v4 = 0, count = plan_acl_normalise(acls, p->acl_count);

	for (i = 0; i < count; i++)
		v4 += plan_acl_is_v4(&acls[i]);
	free(acls);
	if (v4 > SN_ACL_MAX || count - v4 > SN_ACL_MAX) {
		strbuf_printf(out_why, "%zu IPv4 and %zu IPv6 networks in acl, at most %d of each fit",
			      v4, count - v4, SN_ACL_MAX);
		return -E2BIG;
	}
	/* A wildcard of IPv6 takes two places. */
	if (2 * p->vip_count > SN_VIPS_MAX) {
		strbuf_printf(out_why, "%zu listening sockets, at most %d fit", p->vip_count,
			      SN_VIPS_MAX / 2);
		return -E2BIG;
	}
	return geo_plan_check(&p->geo, out_why);
}

const char *plan_mode_name(enum fastpath_mode mode)
{
	CHECK(mode < FASTPATH_MODE_COUNT);
	return mode_names[mode];
}
