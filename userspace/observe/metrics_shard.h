/* SPDX-License-Identifier: GPL-2.0-only */
/* metrics_shard.h - what metrics.c and metrics_text.c share; nobody else includes it. */
#ifndef SN_OBSERVE_METRICS_SHARD_H
#define SN_OBSERVE_METRICS_SHARD_H

#include "base/hmap.h"
#include "observe/metrics.h"

#define METRIC_KEY_LENGTH_BYTES 2

struct metric_desc {
	enum metric_kind kind;
	const char *name;   /* with the prefix */
	const char *labels; /* "a,b" or "" */
	const char *help;
};

extern const struct metric_desc metric_descs[METRIC_COUNT];

/* Upper bounds, in the unit that is kept (microseconds or bytes); count 0: no histogram. */
struct metric_buckets {
	const uint64_t *bounds;
	size_t count;
};

struct metrics_shard {
	struct metrics_shard *next; /* const once published */

	struct metric_cell *plain[METRIC_COUNT];	  /* borrowed; NULL for metrics with labels */
	_Atomic(struct metric_cell *) cells[METRIC_COUNT]; /* owned; every cell, for readers */
	struct hmap series[METRIC_COUNT];		  /* by key, for the writer */
};

struct metric_buckets metric_buckets(enum metric_kind kind);
unsigned metric_label_count(enum metric_id id);
/* The newest shard, or NULL. */
struct metrics_shard *metrics_shards(void);
/* Forget the collectors. */
void metrics_text_fini(void);

#endif
