/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ticks.h - how the kernel's jiffies and CLOCK_MONOTONIC go together, so that the guard need not ask a clock.
 *
 * Both count the same ticks, also over a suspend; what differs is where they began.
 */
#ifndef SN_FASTPATH_TICKS_H
#define SN_FASTPATH_TICKS_H

#include "sentinel/abi.h"

/* Fills tick_ns and tick_offset_ns; 0 if the kernel does not tell.  Takes 15 ms, once a process.  Control thread. */
void ticks_fill(struct sn_config *c);

#endif
