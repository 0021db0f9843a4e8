/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hints.h - the listener of a port where there is only one, so that the guard needs no hash for most packets.
 *
 * Hints say what vips says.  While vips is edited those that will change are cleared, and set when it is done.
 */
#ifndef SN_FASTPATH_HINTS_H
#define SN_FASTPATH_HINTS_H

#include "fastpath/maps.h"

/* SN_PORTS hints for these rows of vips: malloc'd. */
struct sn_port_hint *hints_new(const struct rows *vips);
/* Clear in the map what is not as wanted / set what is wanted.  0 or -errno. */
int hints_clear(const struct fastpath_maps *m, const struct sn_port_hint *wanted);
int hints_set(const struct fastpath_maps *m, const struct sn_port_hint *wanted);

#endif
