/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * offload_selftest.h - does this kernel splice without a wrong byte?  Asked at every start, with the real programs and
 * pairs on loopback sockets: safer than a table of versions, and vendors' kernels are covered as well.
 *
 * Control thread, before the workers start: it borrows the rows and the ring of worker 0.
 */
#ifndef SN_FASTPATH_OFFLOAD_SELFTEST_H
#define SN_FASTPATH_OFFLOAD_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "fastpath/flows.h"

#define OFFLOAD_SELFTEST_WHY_MAX 160

struct offload_selftest {
	bool has_passed;
	const char *failed_case; /* static; "" if none: "integrity", "half-read data", … */
	char why[OFFLOAD_SELFTEST_WHY_MAX]; /* one sentence, "" if it passed */
	unsigned cases;			    /* that were run */
	uint64_t took_ns;
};

/* Takes about 50 ms; a busy machine makes it longer, up to 20 s, and no case fail. */
void offload_selftest(struct flows *f, struct offload_selftest *out);

#endif
