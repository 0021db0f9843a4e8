/* SPDX-License-Identifier: GPL-2.0-only */
/* levels.h - the budgets that are in the kernel, and the memory of maps that goes with them.  Control thread. */
#ifndef SN_FASTPATH_LEVELS_H
#define SN_FASTPATH_LEVELS_H

#include <stdbool.h>

#include "fastpath/maps.h"
#include "fastpath/sources.h"

/* Zero-initialised. */
struct levels {
	struct sn_budgets now; /* of the plan, as the kernel has them if a guard is loaded */
	struct sources sources;
	struct sn_hits *hits;  /* of bans; mapped while loaded, as the next */
	struct sn_cell *cells; /* of the sketch */
};

/* Map the maps' memory.  0 or -errno; what could be mapped is. */
int levels_open(struct levels *l, const struct fastpath_maps *m);
void levels_close(struct levels *l);
/* Is the sketch saturated?  Tells the guard. */
void levels_tick(struct levels *l, const struct fastpath_maps *m, uint64_t now_ns);
/* A source completed a handshake. */
void levels_add_source(struct levels *l, const struct fastpath_maps *m, const uint8_t ip[16], uint64_t now_ns);
bool levels_are_saturated(const struct levels *l);

#endif
