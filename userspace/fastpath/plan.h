/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plan.h - what the kernel's guard shall do: the desired state, without a word about how.
 *
 * app/ builds a plan from the configuration, fastpath_apply() compares it with the maps and interfaces and
 * changes what differs; rules_new() makes the table for accepted connections from the same plan.
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; a prefix of an IPv4 network has length 96 + n.
 * A plan is built and used by one thread.
 */
#ifndef SN_FASTPATH_PLAN_H
#define SN_FASTPATH_PLAN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "fastpath/geo_plan.h"
#include "sentinel/budget.h"

#define PLAN_INTERFACES_MAX 64
#define PLAN_BUDGET_MAX_NS (86400ull * 1000000000) /* a day until an empty bucket is full */

enum fastpath_mode {
	FASTPATH_MODE_AUTO, /* native XDP if the driver of a physical device has it, else tc */
	FASTPATH_MODE_XDP,  /* native XDP, else generic XDP */
	FASTPATH_MODE_TC,
	FASTPATH_MODE_OFF,
	FASTPATH_MODE_COUNT
};

struct fastpath_interface {
	char name[IF_NAMESIZE];
	enum fastpath_mode mode;
};

/*
 * A listening socket.  A zero (or IPv4-mapped zero) address is a wildcard: the host's own addresses, and those of IPv4
 * too if it is the zero of IPv6 (listeners are never for IPv6 alone).
 */
struct fastpath_vip {
	uint8_t ip[16];
	uint16_t port;	  /* host order */
	uint8_t proto;	  /* IPPROTO_TCP or IPPROTO_UDP */
	uint32_t listener; /* comes back in events */
};

struct fastpath_acl {
	uint8_t ip[16]; /* bits beyond len are 0 */
	uint8_t len;	/* 0..128 */
	uint8_t action; /* SN_ACL_DENY or SN_ACL_ALLOW */
	uint32_t rule;	/* comes back in verdicts and events; > 0 */
};

/* How fast a source may be: `count` in `period_ms`, and `burst` at once. */
struct fastpath_budget {
	bool is_packets; /* else connections */
	uint8_t per;	 /* SN_PER_* */
	uint64_t count, period_ms, burst;
	uint32_t rule; /* comes back in verdicts and events; > 0 */
};

struct fastpath_plan {
	struct fastpath_interface *interfaces; /* owned, as the other arrays */
	size_t interface_count;
	struct fastpath_vip *vips;
	size_t vip_count;
	struct fastpath_acl *acls;
	size_t acl_count;
	struct fastpath_budget budgets[SN_BUDGET_LEVELS];
	size_t budget_count;

	struct geo_plan geo;

	bool keep_on_stop; /* an orderly stop leaves the guard attached */
	bool is_monitor;   /* count and report, refuse nothing */
};

/* A zeroed plan is empty and valid. */
void plan_fini(struct fastpath_plan *p); /* NULL ok; p is empty afterwards */
void plan_copy(struct fastpath_plan *out_plan, const struct fastpath_plan *p);

/* -EINVAL: empty or too long a name.  -EEXIST: named twice.  -E2BIG: more than PLAN_INTERFACES_MAX. */
int plan_add_interface(struct fastpath_plan *p, const char *name, enum fastpath_mode mode);
/* 0, or -EINVAL (port 0, another protocol).  The same socket twice is allowed. */
int plan_add_vip(struct fastpath_plan *p, const struct fastpath_vip *v);
/* 0, or -EINVAL (length above 128, bits beyond it, another action, rule 0). */
int plan_add_acl(struct fastpath_plan *p, const struct fastpath_acl *a);

/*
 * 0; -EINVAL: something is 0, a family without such networks, or finer than a nanosecond; -ERANGE: such a burst lasts
 * longer than PLAN_BUDGET_MAX_NS; -EEXIST: there is one of this kind and length already.
 */
int plan_add_budget(struct fastpath_plan *p, const struct fastpath_budget *b);

/*
 * Will it fit into the maps?  0, or -E2BIG with one sentence in out_why.  To be called before a configuration
 * is published, because fastpath_apply() comes after that.
 */
int plan_check(const struct fastpath_plan *p, struct strbuf *out_why);

/* Is the prefix one of IPv4?  (Then it never matches an IPv6 source, and an IPv6 prefix never an IPv4 one.) */
bool plan_acl_is_v4(const struct fastpath_acl *a);
/*
 * Sort by length (longest first) and address, and leave one rule for each prefix: allow, if there is one.
 * Returns how many are left.
 */
size_t plan_acl_normalise(struct fastpath_acl *acls, size_t count);

/* "auto", "xdp", "tc", "off". */
const char *plan_mode_name(enum fastpath_mode mode);

#endif
