/* SPDX-License-Identifier: GPL-2.0-only */
/* memory.c - how much memory the process has, and the mark above which requests are refused. */
#include "app/memory.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "loop/small_file.h"
#include "observe/log.h"
#include "proxy/worker.h"

#define GROUP_ROOT "/sys/fs/cgroup"

uint64_t memory_resident(void)
{
	char text[128];
	unsigned long resident;

	if (!small_file_read("/proc/self/statm", text, sizeof(text)) || sscanf(text, "%*u %lu", &resident) != 1)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool has_word(struct span words, struct span word)
{
	struct span item;

	while (span_next(&words, ',', &item))
		if (span_eq(item, word))
			return true;
	return false;
}

/* "4:cpu,memory:/a/b" (version 1) or "0::/a/b" (version 2). */
static bool line_find(struct span line, char *path, const char **out_file)
{
	struct span number, controllers;
	const char *root;

	if (!span_next(&line, ':', &number) || !span_next(&line, ':', &controllers) || line.len == 0)
		return false;
	if (has_word(controllers, SPAN("memory"))) {
		root = GROUP_ROOT "/memory";
		*out_file = "memory.limit_in_bytes";
	} else if (span_eq(number, SPAN("0")) && controllers.len == 0) {
		root = GROUP_ROOT;
		*out_file = "memory.max";
	} else {
		return false;
	}
	return snprintf(path, PATH_MAX, "%s" SPAN_FMT, root, SPAN_ARG(line)) < PATH_MAX;
}

bool memory_group_find(struct span text, char *path, const char **out_file)
{
	struct span line;

	/* Where both versions are mounted the line of version 2 is the last one, and its group has no limits. */
	while (span_next(&text, '\n', &line))
		if (line_find(line, path, out_file))
			return true;
	return false;
}

/* The least limit of the group and of those above it. */
static uint64_t group_limit(void)
{
	char text[4096], path[PATH_MAX], file[PATH_MAX + 32];
	const char *name;
	uint64_t least = UINT64_MAX;
	size_t len = small_file_read("/proc/self/cgroup", text, sizeof(text));

	if (!memory_group_find(span_of(text, len), path, &name))
		return UINT64_MAX;
	for (char *end; strlen(path) >= strlen(GROUP_ROOT); *end = '\0') {
		(void)snprintf(file, sizeof(file), "%s/%s", path, name);
		if (small_file_read(file, text, sizeof(text)) && text[0] >= '0' && text[0] <= '9')
			least = MIN(least, (uint64_t)strtoull(text, NULL, 10));
		end = strrchr(path, '/');
		if (!end)
			break;
	}
	return least;
}

uint64_t memory_allowed(void)
{
	return MIN((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), group_limit());
}

uint64_t memory_mark(const struct client_limits *limits, uint64_t allowed)
{
	uint64_t mark = UINT64_MAX;

	if (limits->memory_bytes)
		mark = limits->memory_bytes;
	if (limits->memory_percent)
		mark = MIN(mark, allowed / 100 * limits->memory_percent);
	return mark;
}

void memory_tick(struct proxy_shared *shared, const struct client_limits *limits)
{
	bool was_above = atomic_load_explicit(&shared->is_short_of_memory, memory_order_relaxed), is_above = false;
	uint64_t resident = 0, mark = UINT64_MAX;

	if (limits->memory_bytes || limits->memory_percent) {
		mark = memory_mark(limits, limits->memory_percent ? memory_allowed() : 0);
		resident = memory_resident();
		if (resident > mark && malloc_trim(0))
			resident = memory_resident();
		is_above = resident > mark;
	}
	if (is_above == was_above)
		return;
	atomic_store_explicit(&shared->is_short_of_memory, is_above, memory_order_relaxed);
	if (is_above)
		log_warn("memory: %lu MiB in use, the mark is %lu MiB: requests are refused (503) until it is less",
			 (unsigned long)(resident >> 20), (unsigned long)(mark >> 20));
	else
		log_info("memory: below the mark, requests are served again");
}
