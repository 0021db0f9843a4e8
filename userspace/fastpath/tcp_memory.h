/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tcp_memory.h - how much memory the kernel believes TCP to use, and from how much on it cares.
 *
 * Kernels lose count of pages where a socket in a map has bytes passed to userspace while others wait in its psock
 * (docs/design/0006-splice.md).  No memory is lost, but TCP's counter stays too high until the next boot, and at the
 * system's limit all connections would be the slower.  Hence no tunnel joins above the first number of tcp_mem.
 */
#ifndef SN_FASTPATH_TCP_MEMORY_H
#define SN_FASTPATH_TCP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Pages, of the text of /proc/net/sockstat; the first number of that of tcp_mem; -1: it is not in there. */
int64_t tcp_memory_used(const char *sockstat);
int64_t tcp_memory_low(const char *tcp_mem);

/* Two reads of /proc.  False as well where they cannot be read: only the first network namespace has the limit. */
bool tcp_memory_is_short(void);

#endif
