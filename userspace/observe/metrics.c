/* SPDX-License-Identifier: GPL-2.0-only */
/* metrics.c - shards, and cells with one writer each.  The text is made in metrics_text.c. */
#include "observe/metrics_shard.h"

#include "base/check.h"
#include "base/mem.h"

const struct metric_desc metric_descs[METRIC_COUNT] = {
#define METRIC(ID, KIND, name, labels, help) \
	[METRIC_##ID] = { METRIC_KIND_##KIND, "sentinel_" name, labels, help },
#include "observe/metrics.def"
#undef METRIC
};

static const uint64_t bounds_us[] = { 1000,	 5000,	 10000,	  25000,   50000,   100000,
				      250000, 500000, 1000000, 2500000, 5000000, 10000000 };
static const uint64_t bounds_bytes[] = { 100,	  1000,	   10000,    100000,
					 1000000, 10000000, 100000000 };

static _Atomic(struct metrics_shard *) shards;
static size_t series_max = METRIC_SERIES_MAX;

struct metric_buckets metric_buckets(enum metric_kind kind)
{
	if (kind == METRIC_KIND_HISTOGRAM_SECONDS)
		return (struct metric_buckets){ bounds_us, ARRAY_LEN(bounds_us) };
	if (kind == METRIC_KIND_HISTOGRAM_BYTES)
		return (struct metric_buckets){ bounds_bytes, ARRAY_LEN(bounds_bytes) };
	return (struct metric_buckets){ NULL, 0 };
}

unsigned metric_label_count(enum metric_id id)
{
	const char *labels = metric_descs[id].labels;
	unsigned count = labels[0] != '\0';

	for (; *labels; labels++)
		count += *labels == ',';
	return count;
}

struct metrics_shard *metrics_shards(void)
{
	return atomic_load_explicit(&shards, memory_order_acquire);
}

void metrics_series_max_set(size_t max)
{
	CHECK(max >= 1 && max <= 1000000);
	CHECK(!metrics_shards());
	series_max = max;
}

/* Readers see the cell's fields complete or do not see the cell: release here, acquire in the renderer. */
static void cell_publish(struct metrics_shard *s, struct metric_cell *c)
{
	c->next = atomic_load_explicit(&s->cells[c->id], memory_order_relaxed);
	atomic_store_explicit(&s->cells[c->id], c, memory_order_release);
}

static struct metric_cell *cell_new(struct metrics_shard *s, enum metric_id id, struct span key)
{
	size_t buckets = metric_buckets(metric_descs[id].kind).count;
	/* Sum and lowest buckets in one cache line: a worker with a thousand routes counts in thousands of cells. */
	struct metric_cell *c = mem_zalloc_lines(sizeof(*c) + (buckets ? buckets + 1 : 0) * sizeof(c->counts[0]));

	c->id = id;
	if (key.len)
		c->key = span_of(mem_strndup(key.ptr, key.len), key.len);
	cell_publish(s, c);
	return c;
}

struct metrics_shard *metrics_shard_new(void)
{
	struct metrics_shard *s = mem_zalloc(sizeof(*s));

	for (unsigned id = 0; id < METRIC_COUNT; id++) {
		CHECK(metric_label_count(id) <= METRIC_LABELS_MAX);
		if (metric_label_count(id) == 0)
			s->plain[id] = cell_new(s, id, span_of(NULL, 0));
	}
	s->next = atomic_load_explicit(&shards, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&shards, &s->next, s, memory_order_release,
						      memory_order_relaxed))
		;
	return s;
}

static void shard_free(struct metrics_shard *s)
{
	struct metric_cell *c, *next;

	for (unsigned id = 0; id < METRIC_COUNT; id++) {
		for (c = atomic_load(&s->cells[id]); c; c = next) {
			next = c->next;
			free((char *)(uintptr_t)c->key.ptr);
			free(c);
		}
		hmap_fini(&s->series[id]);
	}
	free(s);
}

void metrics_fini(void)
{
	struct metrics_shard *s = atomic_exchange(&shards, NULL), *next;

	for (; s; s = next) {
		next = s->next;
		shard_free(s);
	}
	series_max = METRIC_SERIES_MAX;
	metrics_text_fini();
}

struct key_buffer {
	char bytes[METRIC_LABELS_MAX * (METRIC_LABEL_BYTES_MAX + METRIC_KEY_LENGTH_BYTES)];
	size_t len;
};

/* Each value with its length before it (two bytes, little endian): unambiguous whatever it contains. */
static void key_add(struct key_buffer *k, struct span value)
{
	size_t len = MIN(value.len, METRIC_LABEL_BYTES_MAX);

	k->bytes[k->len++] = (char)(len & 0xff);
	k->bytes[k->len++] = (char)(len >> 8);
	if (len)
		memcpy(k->bytes + k->len, value.ptr, len);
	k->len += len;
}

static void key_build(struct key_buffer *k, unsigned label_count, const struct span *values)
{
	k->len = 0;
	for (unsigned i = 0; i < label_count; i++)
		key_add(k, values ? values[i] : SPAN("other"));
}

static struct metric_cell *series_find(struct metrics_shard *s, enum metric_id id,
				       const struct key_buffer *k)
{
	return hmap_get(&s->series[id], span_of(k->bytes, k->len));
}

static struct metric_cell *series_add(struct metrics_shard *s, enum metric_id id,
				      const struct key_buffer *k)
{
	struct metric_cell *c = cell_new(s, id, span_of(k->bytes, k->len));

	hmap_set(&s->series[id], c->key, c);
	return c;
}

struct metric_cell *metric_cell(struct metrics_shard *s, enum metric_id id, const struct span *values)
{
	unsigned label_count;
	struct metric_cell *c;
	struct key_buffer k;

	CHECK(id < METRIC_COUNT);
	label_count = metric_label_count(id);
	CHECK(!values == !label_count);
	if (!label_count)
		return s->plain[id];
	key_build(&k, label_count, values);
	c = series_find(s, id, &k);
	if (c)
		return c;
	if (s->series[id].count < series_max)
		return series_add(s, id, &k);
	metric_add(s, METRIC_SERIES_DROPPED_TOTAL, 1);
	key_build(&k, label_count, NULL);
	c = series_find(s, id, &k);
	return c ? c : series_add(s, id, &k);
}

static void cell_count(struct metric_cell *c, enum metric_kind kind, uint64_t value)
{
	struct metric_buckets b = metric_buckets(kind);
	_Atomic uint64_t *bucket;
	size_t i = 0;

	CHECK(metric_descs[c->id].kind == kind);
	while (i < b.count && value > b.bounds[i])
		i++;
	bucket = &c->counts[i];
	atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	metric_cell_add(c, value); /* the sum */
}

void metric_cell_observe(struct metric_cell *c, uint64_t value)
{
	cell_count(c, METRIC_KIND_HISTOGRAM_BYTES, value);
}

void metric_cell_observe_us(struct metric_cell *c, uint64_t microseconds)
{
	cell_count(c, METRIC_KIND_HISTOGRAM_SECONDS, microseconds);
}

static struct metric_cell *plain_cell(struct metrics_shard *s, enum metric_id id)
{
	CHECK(id < METRIC_COUNT && s->plain[id]);
	return s->plain[id];
}

void metric_add(struct metrics_shard *s, enum metric_id id, uint64_t n)
{
	metric_cell_add(plain_cell(s, id), n);
}

void metric_sub(struct metrics_shard *s, enum metric_id id, uint64_t n)
{
	metric_cell_sub(plain_cell(s, id), n);
}

void metric_set(struct metrics_shard *s, enum metric_id id, uint64_t value)
{
	metric_cell_set(plain_cell(s, id), value);
}
