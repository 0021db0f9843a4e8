/* SPDX-License-Identifier: GPL-2.0-only */
/* levels.c - the budgets that are in the kernel, and the memory of maps that goes with them. */
#include "fastpath/levels.h"

#include <errno.h>
#include <sys/mman.h>

#include "fastpath/budgets.h"

#define HITS_BYTES (SN_BLOCK_MAX * sizeof(struct sn_hits))
#define CELLS_BYTES (2 * SN_SKETCH_ROW * sizeof(struct sn_cell))

void levels_close(struct levels *l)
{
	if (l->hits)
		(void)munmap(l->hits, HITS_BYTES);
	if (l->cells)
		(void)munmap(l->cells, CELLS_BYTES);
	l->hits = NULL;
	l->cells = NULL;
}

int levels_open(struct levels *l, const struct fastpath_maps *m)
{
	void *hits = mmap(NULL, HITS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[MAP_BLOCK_HITS], 0);
	void *cells = mmap(NULL, CELLS_BYTES, PROT_READ, MAP_SHARED, m->fd[MAP_RL_SKETCH], 0);
	int err = hits == MAP_FAILED || cells == MAP_FAILED ? -errno : 0;

	l->hits = hits == MAP_FAILED ? NULL : hits;
	l->cells = cells == MAP_FAILED ? NULL : cells;
	return err;
}

void levels_tick(struct levels *l, const struct fastpath_maps *m, uint64_t now_ns)
{
	if (l->cells && budgets_sample(&l->now, l->cells, now_ns))
		(void)maps_budgets_set(m, &l->now); /* tried again with the next change */
}

void levels_add_source(struct levels *l, const struct fastpath_maps *m, const uint8_t ip[16], uint64_t now_ns)
{
	struct sn_source used;

	if (!l->cells)
		return;
	/* What it used while it was unknown: who becomes known gets no second burst. */
	budgets_sketched(&l->now, l->cells, ip, &used);
	(void)sources_add(&l->sources, m->fd[MAP_RL_SRC], ip, &used, now_ns); /* else it stays unknown */
}

bool levels_are_saturated(const struct levels *l)
{
	for (unsigned i = 0; i < SN_BUDGET_LEVELS; i++)
		if (budgets_level(&l->now, i)->is_saturated)
			return true;
	return false;
}
