/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * metrics.h - counters, gauges and histograms, and their Prometheus text (format 0.0.4).
 *
 * A shard is one thread's set of cells: one writer, so adding is a plain load and store that others may read
 * at any time.  Readers add the shards up.  Cells live until metrics_fini(); callers keep pointers to them.
 * A metric without labels has its cell in every shard from the start and is shown even while it is 0; one
 * with labels gets a cell, and a line, per combination of values.
 *
 * Values are whole numbers: a gauge may fall below 0 in one shard if another one makes up for it.  Durations
 * are kept in microseconds and shown in seconds.
 */
#ifndef SN_OBSERVE_METRICS_H
#define SN_OBSERVE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"

#define METRIC_SERIES_MAX      10000 /* default, per metric and shard */
#define METRIC_LABELS_MAX      4
#define METRIC_LABEL_BYTES_MAX 256 /* of one value; longer ones are cut */

enum metric_kind {
	METRIC_KIND_COUNTER,
	METRIC_KIND_COUNTER_SECONDS,   /* kept in microseconds */
	METRIC_KIND_GAUGE,
	METRIC_KIND_GAUGE_SECONDS,     /* never below 0; kept in microseconds */
	METRIC_KIND_HISTOGRAM_SECONDS, /* 1 ms to 10 s; kept in microseconds */
	METRIC_KIND_HISTOGRAM_BYTES    /* 100 to 10^8 */
};

enum metric_id {
#define METRIC(ID, KIND, name, labels, help) METRIC_##ID,
#include "observe/metrics.def"
#undef METRIC
	METRIC_COUNT
};

struct metrics_shard;

/* One series of one shard.  `value` first, so that adding is inline; the rest belongs to metrics.c. */
struct metric_cell {
	_Atomic uint64_t value;

	enum metric_id id;
	struct metric_cell *next; /* of this metric in this shard; const once published */
	struct span key;	  /* the label values, encoded; owned */
	/* Of a histogram: not cumulative, the last one is for everything above the bounds.  Else none. */
	_Atomic uint64_t counts[];
};

/* Any thread.  The caller becomes the shard's only writer.  Never fails. */
struct metrics_shard *metrics_shard_new(void);
/* Free every shard and forget every collector, after the last writer has ended. */
void metrics_fini(void);
/* How many series a metric may have in one shard (1 to 1,000,000).  Before the first shard. */
void metrics_series_max_set(size_t max);

/*
 * The cell for these values, one for each label of the metric in its order; NULL for a metric without labels.
 * Found or created, never NULL.  Values are copied; bytes that are not UTF-8 are shown as U+FFFD.  At the
 * limit of series every new combination shares the one whose values are all "other", and
 * metrics_series_dropped_total counts.  Costs a hash and a look-up: keep the pointer.  The shard's thread.
 */
struct metric_cell *metric_cell(struct metrics_shard *s, enum metric_id id, const struct span *values);

static inline void metric_cell_add(struct metric_cell *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->value, memory_order_relaxed);

	atomic_store_explicit(&c->value, v + n, memory_order_relaxed);
}

static inline void metric_cell_sub(struct metric_cell *c, uint64_t n)
{
	metric_cell_add(c, 0 - n);
}

/* Also for a counter whose total is kept elsewhere, such as in the kernel. */
static inline void metric_cell_set(struct metric_cell *c, uint64_t value)
{
	atomic_store_explicit(&c->value, value, memory_order_relaxed);
}

/* A value for HISTOGRAM_BYTES, a duration for HISTOGRAM_SECONDS. */
void metric_cell_observe(struct metric_cell *c, uint64_t value);
void metric_cell_observe_us(struct metric_cell *c, uint64_t microseconds);

/* For metrics without labels.  The shard's thread. */
void metric_add(struct metrics_shard *s, enum metric_id id, uint64_t n);
void metric_sub(struct metrics_shard *s, enum metric_id id, uint64_t n);
void metric_set(struct metrics_shard *s, enum metric_id id, uint64_t value);

/*
 * Call fn(ctx) at the beginning of every metrics_render(), on the thread that renders, in the order of
 * registration.  Never two at once: collectors may share a shard that nobody else writes.  A collector must
 * not call metrics_on_collect() or metrics_render().  At most 64.
 */
void metrics_on_collect(void (*fn)(void *ctx), void *ctx);

/*
 * Append everything, in an order that does not change between calls.  Any thread; concurrent calls wait for
 * each other.
 */
void metrics_render(struct strbuf *out);

#endif
