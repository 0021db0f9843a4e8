/* SPDX-License-Identifier: GPL-2.0-only */
/* budgets.c - the budgets of a plan as the guard reads them, and the same decision for accepted connections. */
#include "fastpath/budgets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "base/rand.h"

#define SAMPLE_CELLS 1024
#define COARSE_NS 20000000ull /* two ticks of the slowest kernel */

_Static_assert(offsetof(struct sn_budgets, seed) == SN_BUDGET_LEVELS * sizeof(struct sn_budget), "levels are an array");

static struct sn_budget *level_of(struct sn_budgets *b, unsigned level)
{
	CHECK(level < SN_BUDGET_LEVELS);
	return &((struct sn_budget *)b)[level];
}

const struct sn_budget *budgets_level(const struct sn_budgets *b, unsigned level)
{
	return level_of((struct sn_budgets *)b, level);
}

/* Each level has its own part of the rows: cells of a slow one stay ahead for long, and would refuse a fast one. */
static uint32_t part_cells(size_t levels)
{
	uint32_t cells = SN_SKETCH_ROW;

	while (levels > SN_SKETCH_ROW / cells)
		cells /= 2;
	return cells;
}

/* In the order of levels, so that the order in the file does not move anybody's buckets. */
static void place(struct sn_budgets *b, size_t count)
{
	uint32_t cells = part_cells(count), next = 0;

	for (unsigned i = 0; i < SN_BUDGET_LEVELS; i++) {
		struct sn_budget *level = level_of(b, i);

		if (!level->interval_ns)
			continue;
		level->first_cell = next;
		level->cell_mask = cells - 1;
		next += cells;
	}
}

void budgets_keep_saturation(struct sn_budgets *b, const struct sn_budgets *old)
{
	for (unsigned i = 0; i < SN_BUDGET_LEVELS; i++)
		if (level_of(b, i)->interval_ns)
			level_of(b, i)->is_saturated = budgets_level(old, i)->is_saturated;
}

void budgets_compile(const struct fastpath_plan *p, const struct sn_budgets *from_old, struct sn_budgets *out)
{
	const struct sn_budgets nothing = { 0 }, old = from_old ? *from_old : nothing;
	uint32_t coarse = SN_BUDGETS_COARSE;

	*out = nothing;
	if (old.seed[0] || old.seed[1])
		memcpy(out->seed, old.seed, sizeof(out->seed));
	else
		rand_secure(out->seed, sizeof(out->seed));
	for (size_t i = 0; i < p->budget_count; i++) {
		const struct fastpath_budget *from = &p->budgets[i];
		unsigned number = (from->is_packets ? SN_PER_COUNT : 0) + from->per;
		struct sn_budget *level = level_of(out, number);

		level->interval_ns = (from->period_ms * 1000000 - 1) / from->count + 1; /* never more than the rate */
		level->tolerance_ns = (from->burst - 1) * level->interval_ns;
		level->rule = from->rule;
		out->flags |= from->is_packets ? SN_BUDGETS_PACKETS : SN_BUDGETS_CONNECTIONS;
		if (from->per == SN_PER_IP)
			out->flags |= SN_BUDGETS_BY_IP;
		if (level->tolerance_ns < COARSE_NS)
			coarse = 0;
	}
	budgets_keep_saturation(out, &old);
	if (out->flags)
		out->flags |= coarse;
	place(out, p->budget_count);
}

/* ---- saturation ---- */

bool budgets_sample(struct sn_budgets *b, const struct sn_cell *cells, uint64_t now_ns)
{
	bool has_changed = false;

	for (unsigned i = 0; i < SN_BUDGET_LEVELS; i++) {
		struct sn_budget *level = level_of(b, i);
		unsigned over = 0;
		uint32_t is_saturated;

		if (!level->interval_ns)
			continue;
		for (unsigned n = 0; n < SAMPLE_CELLS; n++) {
			uint32_t at = sn_budget_cell(level, rand_u64(), n % 2);

			over += sn_gcra_is_over(__atomic_load_n(&cells[at].full_at_ns, __ATOMIC_RELAXED), level,
						now_ns);
		}
		is_saturated = over > SAMPLE_CELLS / 2;
		has_changed |= is_saturated != level->is_saturated;
		level->is_saturated = is_saturated;
	}
	return has_changed;
}

static uint64_t sketched(const struct sn_budgets *b, unsigned number, const struct sn_cell *cells,
			 const uint32_t addr[4])
{
	const struct sn_budget *level = budgets_level(b, number);
	uint64_t hash = sn_budget_hash(addr, SN_PER_IP, b->seed, number), at[2];

	if (!level->interval_ns || level->is_saturated)
		return 0;
	for (uint32_t row = 0; row < 2; row++)
		at[row] = __atomic_load_n(&cells[sn_budget_cell(level, hash, row)].full_at_ns, __ATOMIC_RELAXED);
	return MIN(at[0], at[1]);
}

void budgets_sketched(const struct sn_budgets *b, const struct sn_cell *cells, const uint8_t ip[16],
		      struct sn_source *out)
{
	uint32_t addr[4];

	memcpy(addr, ip, sizeof(addr));
	out->connections_full_at_ns = sketched(b, SN_PER_IP, cells, addr);
	out->packets_full_at_ns = sketched(b, SN_PER_COUNT + SN_PER_IP, cells, addr);
}

/* ---- for accepted connections ---- */

struct budgets {
	pthread_rwlock_t lock;	  /* guards levels; control writes */
	struct sn_budgets levels; /* in force here */
	struct sn_cell *cells;	  /* owned; made when first needed, 4 MiB */
	_Atomic bool is_active, wants_sources;
};

struct budgets *budgets_new(void)
{
	struct budgets *b = mem_zalloc(sizeof(*b));

	CHECK(pthread_rwlock_init(&b->lock, NULL) == 0);
	return b;
}

void budgets_free(struct budgets *b)
{
	if (!b)
		return;
	pthread_rwlock_destroy(&b->lock);
	free(b->cells);
	free(b);
}

void budgets_set(struct budgets *b, const struct sn_budgets *levels, bool is_guarded)
{
	bool is_active = !is_guarded && levels->flags & SN_BUDGETS_CONNECTIONS;

	pthread_rwlock_wrlock(&b->lock);
	if (is_active && !b->cells)
		b->cells = mem_array(2 * SN_SKETCH_ROW, sizeof(*b->cells));
	b->levels = *levels;
	pthread_rwlock_unlock(&b->lock);
	atomic_store(&b->is_active, is_active);
	atomic_store(&b->wants_sources, is_guarded && levels->flags & SN_BUDGETS_BY_IP);
}

bool budgets_want_sources(const struct budgets *b)
{
	return atomic_load_explicit(&b->wants_sources, memory_order_relaxed);
}

bool budgets_are_active(const struct budgets *b)
{
	return atomic_load_explicit(&b->is_active, memory_order_relaxed);
}

/* As budget_sketch() in the kernel. */
static bool admits(struct budgets *b, unsigned number, uint32_t per, const uint32_t addr[4], uint64_t now_ns)
{
	const struct sn_budget *level = budgets_level(&b->levels, number);
	uint64_t hash = sn_budget_hash(addr, per, b->levels.seed, number);
	uint32_t is_admitted = 0;

	for (uint32_t row = 0; row < 2; row++)
		is_admitted |= sn_gcra_charge(&b->cells[sn_budget_cell(level, hash, row)].full_at_ns, level, now_ns);
	return is_admitted || level->is_saturated;
}

bool budgets_admit(struct budgets *b, const uint8_t ip[16], uint64_t now_ns, uint32_t *out_rule)
{
	bool is_v4 = ip16_is_v4(ip), is_admitted = true;
	uint32_t addr[4];

	memcpy(addr, ip, sizeof(addr));
	pthread_rwlock_rdlock(&b->lock);
	for (unsigned per = 0; b->cells && per < SN_PER_COUNT; per++) {
		const struct sn_budget *level = budgets_level(&b->levels, per);

		if (!level->interval_ns || (per == SN_PER_24 && !is_v4) || (per > SN_PER_24 && is_v4))
			continue;
		if (admits(b, per, per, addr, now_ns))
			continue;
		if (is_admitted)
			*out_rule = level->rule;
		is_admitted = false;
	}
	pthread_rwlock_unlock(&b->lock);
	return is_admitted;
}

void budgets_tick(struct budgets *b, uint64_t now_ns)
{
	if (!budgets_are_active(b))
		return;
	pthread_rwlock_wrlock(&b->lock);
	(void)budgets_sample(&b->levels, b->cells, now_ns);
	pthread_rwlock_unlock(&b->lock);
}
