/* SPDX-License-Identifier: GPL-2.0-only */
/* clock.h - time.  The loop caches the first two once a turn; code in a loop reads those. */
#ifndef SN_BASE_CLOCK_H
#define SN_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t clock_mono_ns(void); /* CLOCK_MONOTONIC */
uint64_t clock_wall_ns(void); /* CLOCK_REALTIME, since the epoch */
uint64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: what BPF's bpf_ktime_get_boot_ns() reads */
uint64_t clock_thread_cpu_ns(void);
/* "2026-11-24T16:05:15.123Z"; buf holds at least 25 bytes.  Returns the length written (24). */
size_t clock_rfc3339(uint64_t wall_ns, char *buf);

#endif
