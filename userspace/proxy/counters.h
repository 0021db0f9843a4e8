/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * counters.h - the metrics of a finished request, with the cells kept at hand: the usual request costs a few
 * additions and no look-up of labels.
 * A worker's, in its pin of a snapshot: routes, and so their labels, belong to one snapshot.
 */
#ifndef SN_PROXY_COUNTERS_H
#define SN_PROXY_COUNTERS_H

#include <stdint.h>

#include "http/message.h"
#include "observe/metrics.h"
#include "proxy/snapshot.h"

#define COUNTERS_STATUSES_MAX 8 /* of one route and method that are kept; others are looked up */

struct counters_sample {
	enum http_method method; /* METHOD_OTHER is shown as "other": strangers make no series */
	unsigned status;
	uint64_t duration_us;
	uint64_t request_bytes, response_bytes; /* of the bodies */
};

/* route NULL: no route matched; shown as "none". */
void counters_record(struct metrics_shard *shard, struct pin *pin, const struct route *route,
		     const struct counters_sample *s);
/* A request is given to the route's upstream, again or for the first time. */
void counters_attempt(struct metrics_shard *shard, struct pin *pin, const struct route *route);

#endif
