/* SPDX-License-Identifier: GPL-2.0-only */
/* turns.c - whether a worker is so busy that tunnels should not depend on it. */
#include "proxy/turns.h"

static bool is_p99_above(const struct turns *t, uint32_t above)
{
	return above > 1 && (uint64_t)above * 100 > t->count;
}

void turns_second(struct turns *t)
{
	if (is_p99_above(t, t->above_busy))
		t->is_busy = true;
	if (is_p99_above(t, t->above_calm))
		t->calm_seconds = 0;
	else if (++t->calm_seconds >= TURNS_CALM_SECONDS)
		t->is_busy = false;
	t->count = t->above_calm = t->above_busy = 0;
}
