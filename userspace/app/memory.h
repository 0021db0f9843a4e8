/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * memory.h - how much memory the process has and how much it may have, and the mark above which requests are refused
 * (`max-memory-bytes` and `max-memory-percent` of `limits`).
 *
 * It is looked at once a second.  What was freed stays in the process for the next request, so above the mark it is
 * given back to the kernel: the mark is about what is in use.  Control thread.
 */
#ifndef SN_APP_MEMORY_H
#define SN_APP_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct client_limits;
struct proxy_shared;

/* Resident bytes of this process; 0: /proc is not there. */
uint64_t memory_resident(void);
/* Of the machine; or less, where this process's control group (version 2 or 1) or one above it may have less. */
uint64_t memory_allowed(void);
/*
 * The folder of the memory controller in the text of /proc/self/cgroup, as a path below /sys/fs/cgroup, in path (of
 * PATH_MAX bytes); *out_file is the limit's name in it.  False: there is none.
 */
bool memory_group_find(struct span text, char *path, const char **out_file);
/* The mark in bytes: the smaller one of both limits; UINT64_MAX: there is none. */
uint64_t memory_mark(const struct client_limits *limits, uint64_t allowed);
/* Every second: whether requests are refused from now on, which is logged when it changes. */
void memory_tick(struct proxy_shared *shared, const struct client_limits *limits);

#endif
