/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * drop_top.h - whose packets the guard drops most, from its samples: a bounded table of sources and one of networks.
 *
 * Samples are at most 100 a second and CPU, so counts are shares, not sums; they fade by half every ten seconds.  A new
 * source replaces the one with the least, and inherits its count ("space-saving"), so that no flood of invented sources
 * keeps a real one out.  Control thread.
 */
#ifndef SN_APP_DROP_TOP_H
#define SN_APP_DROP_TOP_H

#include <stdint.h>

#include "sentinel/events.h"

#define DROP_TOP_ROWS 256
#define DROP_TOP_SHOWN 10
#define DROP_TOP_SAMPLE 1024 /* of a count */

struct drop_top_row {
	uint8_t ip[16];
	uint8_t len; /* of the network; 128: a source */
	uint8_t reason; /* of its last sample, SN_DROP_* */
	uint64_t count; /* in 1/DROP_TOP_SAMPLE; 0: free */
};

/* Zero-initialised. */
struct drop_top {
	struct drop_top_row sources[DROP_TOP_ROWS];
	struct drop_top_row networks[DROP_TOP_ROWS]; /* IPv4 /24, IPv6 /48 */
	unsigned seconds;
};

void drop_top_add(struct drop_top *t, const struct sn_drop_event *e);
/* Once a second. */
void drop_top_tick(struct drop_top *t);
/* The DROP_TOP_SHOWN with the most, most first.  How many there are. */
unsigned drop_top_sources(const struct drop_top *t, const struct drop_top_row *out[DROP_TOP_SHOWN]);
unsigned drop_top_networks(const struct drop_top *t, const struct drop_top_row *out[DROP_TOP_SHOWN]);

#endif
