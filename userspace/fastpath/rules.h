/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rules.h - the guard's decision for accepted connections, by the same code as in the kernel.
 *
 * A client may come in by an interface without a guard, so every accepted connection is asked about here.
 * `struct rules` is immutable: built by control from a plan, part of a snapshot, read by any thread.
 */
#ifndef SN_FASTPATH_RULES_H
#define SN_FASTPATH_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/bans.h"
#include "fastpath/plan.h"

struct rules;

struct rules_verdict {
	uint8_t reason;	 /* SN_DROP_NONE or why the source is not wanted */
	bool is_refused; /* close it; false in monitor mode even with a reason */
	uint32_t rule;	 /* number of the rule that decided, 0: none (or a ban) */
};

struct rules *rules_new(const struct fastpath_plan *p); /* keeps nothing of p */
void rules_free(struct rules *r);			/* NULL ok */

/*
 * Judge a source address (16 bytes, IPv4-mapped).  bans may be NULL.  now_ns is CLOCK_BOOTTIME
 * (clock_boot_ns()).  A few ten nanoseconds a rule length that occurs; any thread.
 */
struct rules_verdict rules_judge(const struct rules *r, struct bans *b, const uint8_t ip[16], uint64_t now_ns);

/* "acl", "block"; "none" for SN_DROP_NONE.  The same words as the metric's labels. */
const char *rules_reason_label(uint8_t reason);
/* One sentence for people. */
const char *rules_reason_text(uint8_t reason);

#endif
