/* SPDX-License-Identifier: GPL-2.0-only */
/* rules.c - the guard's decision for accepted connections, by the same code as in the kernel. */
#include "fastpath/rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "sentinel/verdict.h"

/* All rules of one prefix length, sorted by address. */
struct group {
	const struct fastpath_acl *acls; /* borrowed from family.acls */
	size_t count;
	uint8_t len;
};

/* IPv4 and IPv6 are two worlds, as the two tries in the kernel. */
struct family {
	struct fastpath_acl *acls; /* owned */
	struct group *groups;	   /* owned; longest first */
	size_t group_count;
};

struct rules {
	struct family v4;
	struct family v6;
	bool is_monitor;
};

static const struct {
	const char *label;
	const char *text;
} reasons[SN_DROP_COUNT] = {
	[SN_DROP_NONE] = { "none", "not refused" },
#define X(NAME, label, text) [SN_DROP_##NAME] = { label, text },
#include "sentinel/drop_reasons.def"
#undef X
};

static void family_init(struct family *f, const struct fastpath_plan *p, bool is_v4)
{
	size_t i, count = 0;

	f->acls = mem_array(p->acl_count + 1, sizeof(*f->acls));
	for (i = 0; i < p->acl_count; i++)
		if (plan_acl_is_v4(&p->acls[i]) == is_v4)
			f->acls[count++] = p->acls[i];
	count = plan_acl_normalise(f->acls, count);
	f->groups = mem_array(129, sizeof(*f->groups));
	for (i = 0; i < count; i++) {
		if (i == 0 || f->acls[i].len != f->acls[i - 1].len)
			f->groups[f->group_count++] = (struct group){
				.acls = &f->acls[i],
				.len = f->acls[i].len,
			};
		f->groups[f->group_count - 1].count++;
	}
}

static void family_fini(struct family *f)
{
	free(f->acls);
	free(f->groups);
}

struct rules *rules_new(const struct fastpath_plan *p)
{
	struct rules *r = mem_zalloc(sizeof(*r));

	family_init(&r->v4, p, true);
	family_init(&r->v6, p, false);
	r->is_monitor = p->is_monitor;
	return r;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	family_fini(&r->v4);
	family_fini(&r->v6);
	free(r);
}

static void mask_to(uint8_t out_ip[16], const uint8_t ip[16], unsigned len)
{
	unsigned whole = len / 8;

	memset(out_ip, 0, 16);
	memcpy(out_ip, ip, whole);
	if (len % 8)
		out_ip[whole] = ip[whole] & (uint8_t)(0xff00 >> len % 8);
}

static int ip_compare(const void *key, const void *item)
{
	return memcmp(key, ((const struct fastpath_acl *)item)->ip, 16);
}

static const struct fastpath_acl *family_find(const struct family *f, const uint8_t ip[16])
{
	size_t i;

	for (i = 0; i < f->group_count; i++) {
		const struct group *g = &f->groups[i];
		const struct fastpath_acl *found;
		uint8_t masked[16];

		mask_to(masked, ip, g->len);
		found = bsearch(masked, g->acls, g->count, sizeof(*g->acls), ip_compare);
		if (found)
			return found;
	}
	return NULL;
}

struct rules_verdict rules_judge(const struct rules *r, struct bans *b, const uint8_t ip[16], uint64_t now_ns)
{
	struct fastpath_acl probe = { .len = 128 };
	const struct fastpath_acl *acl;
	struct sn_lookup l = { .now_ns = now_ns, .heartbeat_ns = now_ns };
	struct rules_verdict v = { 0 };

	memcpy(probe.ip, ip, sizeof(probe.ip));
	acl = family_find(plan_acl_is_v4(&probe) ? &r->v4 : &r->v6, ip);
	l.acl_action = acl ? acl->action : SN_ACL_NONE;
	l.block_until_ns = b ? bans_until(b, ip) : 0;
	v.reason = (uint8_t)sn_verdict(&l);
	v.is_refused = v.reason != SN_DROP_NONE && !r->is_monitor;
	if (acl && v.reason != SN_DROP_BLOCK)
		v.rule = acl->rule;
	return v;
}

const char *rules_reason_label(uint8_t reason)
{
	CHECK(reason < SN_DROP_COUNT);
	return reasons[reason].label;
}

const char *rules_reason_text(uint8_t reason)
{
	CHECK(reason < SN_DROP_COUNT);
	return reasons[reason].text;
}
