/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rate_report.h - what the limits of a route together say about one request: each use of the filter `rate-limit` adds
 * what it found, one of them tells the client.  In the exchange's arena.
 */
#ifndef SN_PROXY_RATE_REPORT_H
#define SN_PROXY_RATE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct rate_charge;

struct rate_report {
	struct rate_charge *charges; /* tokens that were taken; they go back if a later limit refuses */
	struct span limit_text;	     /* burst of the tightest one; empty: none that binds was asked */
	uint64_t remaining;
	uint64_t full_ns; /* from at_ns until it is full */
	uint64_t wait_ns; /* refused: until one would be admitted */
	uint64_t at_ns; /* the loop's time */
	bool is_refused, is_told;
};

#endif
