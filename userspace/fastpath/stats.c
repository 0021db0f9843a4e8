/* SPDX-License-Identifier: GPL-2.0-only */
/* stats.c - what the guard counted: sums over all CPUs of its per-CPU maps. */
#include "fastpath/stats.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/check.h"
#include "base/mem.h"
#include "fastpath/maps.h"

static const struct {
	const char *label;
	const char *text;
} counters[SN_COUNTER_COUNT] = {
#define X(NAME, label, text) [SN_COUNTER_##NAME] = { label, text },
#include "sentinel/counters.def"
#undef X
};

static int sum_cells(int map_fd, uint32_t count, struct sn_count *out, struct sn_count *cells, int cpus)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		int cpu, err = bpf_map_lookup_elem(map_fd, &i, cells);

		if (err)
			return err;
		for (cpu = 0; cpu < cpus; cpu++) {
			out[i].packets += cells[cpu].packets;
			out[i].bytes += cells[cpu].bytes;
		}
	}
	return 0;
}

int stats_read(const struct fastpath_maps *maps, struct fastpath_stats *out_stats)
{
	struct fastpath_stats s = { 0 };
	struct sn_count *cells;
	int err, cpus;

	if (!maps || !maps_are_open(maps)) {
		*out_stats = s;
		return 0;
	}
	cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return cpus;
	cells = mem_array((size_t)cpus, sizeof(*cells));
	err = sum_cells(maps->fd[MAP_DROPS], SN_DROP_COUNT, s.drops, cells, cpus);
	if (!err)
		err = sum_cells(maps->fd[MAP_MONITORED], SN_DROP_COUNT, s.monitored, cells, cpus);
	if (!err)
		err = sum_cells(maps->fd[MAP_COUNTERS], SN_COUNTER_COUNT, s.counters, cells, cpus);
	free(cells);
	if (!err)
		*out_stats = s;
	return err;
}

const char *stats_counter_label(unsigned counter)
{
	CHECK(counter < SN_COUNTER_COUNT);
	return counters[counter].label;
}

const char *stats_counter_text(unsigned counter)
{
	CHECK(counter < SN_COUNTER_COUNT);
	return counters[counter].text;
}
