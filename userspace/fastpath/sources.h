/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sources.h - tells the guard which sources completed a handshake: those have buckets of their own (map rl_src), which
 * no flood of invented addresses reaches.
 *
 * Entries are made one by one and only if there is none, because the guard writes them; and only so many a second, so
 * that nobody with many addresses turns the table over.  Control thread.
 */
#ifndef SN_FASTPATH_SOURCES_H
#define SN_FASTPATH_SOURCES_H

#include <stddef.h>
#include <stdint.h>

#include "sentinel/budget.h"

#define SOURCES_A_SECOND 10000
#define SOURCES_A_SECOND_48 1000 /* of one IPv6 /48 */
#define SOURCES_CELLS 4096

/* What was made in the running second.  Zero-initialised. */
struct sources {
	uint64_t since_ns;
	uint32_t count;
	uint16_t by_48[SOURCES_CELLS]; /* by hash: two networks may share one, which only makes it stricter */
	uint64_t limited;	       /* since the start: not made, because there were too many */
};

/*
 * An address (16 bytes, IPv4-mapped) completed a handshake; `used` is what its buckets shall say.  0 (also if it is
 * known), -EAGAIN: too many, or what the map says.
 */
int sources_add(struct sources *s, int map_fd, const uint8_t ip[16], const struct sn_source *used, uint64_t now_ns);

#endif
