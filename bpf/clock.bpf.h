/* SPDX-License-Identifier: GPL-2.0-only */
/* clock.bpf.h - the guard's clocks: cheap ones, and in tests one that stands still. */
#ifndef SN_CLOCK_BPF_H
#define SN_CLOCK_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "sentinel/abi.h"

#ifndef CLOCK_NS
#define CLOCK_NS() bpf_ktime_get_ns()
#define CLOCK_JIFFIES() bpf_jiffies64()
#endif

/* CLOCK_MONOTONIC as of the last tick, at most ten milliseconds old.  Jiffies are one load; a call costs ten. */
static __always_inline __u64 clock_coarse_ns(const struct sn_config *c)
{
	return c->tick_ns ? CLOCK_JIFFIES() * c->tick_ns + c->tick_offset_ns : CLOCK_NS();
}

#endif
