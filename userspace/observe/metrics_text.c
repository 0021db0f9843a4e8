/* SPDX-License-Identifier: GPL-2.0-only */
/* metrics_text.c - add the shards up and write them in Prometheus' text format 0.0.4. */
#include <pthread.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "observe/metrics_shard.h"

#define COLLECTORS_MAX 64

struct collector {
	void (*fn)(void *ctx);
	void *ctx; /* borrowed */
};

/* Guards the collectors, and that one of them runs at a time. */
static pthread_mutex_t render_lock = PTHREAD_MUTEX_INITIALIZER;
static struct collector collectors[COLLECTORS_MAX];
static size_t collector_count;

void metrics_on_collect(void (*fn)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&render_lock);
	CHECK(collector_count < COLLECTORS_MAX);
	collectors[collector_count++] = (struct collector){ fn, ctx };
	pthread_mutex_unlock(&render_lock);
}

void metrics_text_fini(void)
{
	pthread_mutex_lock(&render_lock);
	collector_count = 0;
	pthread_mutex_unlock(&render_lock);
}

/* The cells of one metric in all shards, sorted by key: equal series lie side by side. */
struct cell_list {
	struct metric_cell **cells; /* owned */
	size_t count, size;
};

static int cell_compare(const void *a, const void *b)
{
	struct span x = (*(struct metric_cell *const *)a)->key;
	struct span y = (*(struct metric_cell *const *)b)->key;
	size_t common = MIN(x.len, y.len);
	int order = common ? memcmp(x.ptr, y.ptr, common) : 0;

	return order ? order : (x.len > y.len) - (x.len < y.len);
}

static void list_fill(struct cell_list *l, enum metric_id id)
{
	struct metric_cell *c;

	l->count = 0;
	for (struct metrics_shard *s = metrics_shards(); s; s = s->next) {
		c = atomic_load_explicit(&s->cells[id], memory_order_acquire);
		for (; c; c = c->next) {
			if (l->count == l->size) {
				l->size = MAX(l->size * 2, 64);
				l->cells = mem_resize(l->cells, l->size, sizeof(struct metric_cell *));
			}
			l->cells[l->count++] = c;
		}
	}
	if (l->count > 1)
		qsort(l->cells, l->count, sizeof(struct metric_cell *), cell_compare);
}

static void write_escaped(struct strbuf *out, struct span s, bool is_label)
{
	while (s.len) {
		unsigned char c = (unsigned char)s.ptr[0];
		size_t n = utf8_sequence(s.ptr, s.len);

		if (c == '\n')
			strbuf_add_str(out, "\\n");
		else if (c == '\\' || (is_label && c == '"'))
			strbuf_add(out, (char[]){ '\\', (char)c }, 2);
		else if (n == 0 || c < 0x20)
			strbuf_add_str(out, UTF8_REPLACEMENT);
		else
			strbuf_add(out, s.ptr, n);
		s = span_skip(s, MAX(n, 1));
	}
}

/* "0.005", not "0.005000": Prometheus compares the bounds of buckets as text. */
static void write_seconds(struct strbuf *out, uint64_t us)
{
	char fraction[] = "000000";
	size_t len = sizeof(fraction) - 1;

	strbuf_add_u64(out, us / 1000000);
	us %= 1000000;
	if (!us)
		return;
	for (size_t i = len; i--; us /= 10)
		fraction[i] = (char)('0' + us % 10);
	while (fraction[len - 1] == '0')
		len--;
	strbuf_add_char(out, '.');
	strbuf_add(out, fraction, len);
}

static void write_value(struct strbuf *out, enum metric_kind kind, uint64_t value)
{
	switch (kind) {
	case METRIC_KIND_COUNTER_SECONDS:
	case METRIC_KIND_GAUGE_SECONDS:
	case METRIC_KIND_HISTOGRAM_SECONDS:
		write_seconds(out, value);
		break;
	case METRIC_KIND_GAUGE:
		if ((int64_t)value < 0) {
			strbuf_add_char(out, '-');
			value = 0 - value;
		}
		strbuf_add_u64(out, value);
		break;
	case METRIC_KIND_COUNTER:
	case METRIC_KIND_HISTOGRAM_BYTES:
		strbuf_add_u64(out, value);
		break;
	}
}

/* name{label="value",...} without the closing brace; false: nothing is open. */
static bool write_series(struct strbuf *out, const struct metric_cell *c, const char *suffix)
{
	const struct metric_desc *d = &metric_descs[c->id];
	struct span names = span_str(d->labels), key = c->key, name;
	char separator = '{';

	strbuf_add_str(out, d->name);
	strbuf_add_str(out, suffix);
	while (key.len && span_next(&names, ',', &name)) {
		size_t len = (unsigned char)key.ptr[0] | (size_t)(unsigned char)key.ptr[1] << 8;

		strbuf_add_char(out, separator);
		separator = ',';
		strbuf_add_span(out, name);
		strbuf_add_str(out, "=\"");
		key = span_skip(key, METRIC_KEY_LENGTH_BYTES);
		write_escaped(out, span_of(key.ptr, len), true);
		strbuf_add_char(out, '"');
		key = span_skip(key, len);
	}
	return separator == ',';
}

static void write_sample(struct strbuf *out, const struct metric_cell *c, const char *suffix,
			 enum metric_kind kind, uint64_t value)
{
	strbuf_add_str(out, write_series(out, c, suffix) ? "} " : " ");
	write_value(out, kind, value);
	strbuf_add_char(out, '\n');
}

static void write_bucket(struct strbuf *out, const struct metric_cell *c, const uint64_t *bound,
			 uint64_t count)
{
	strbuf_add_char(out, write_series(out, c, "_bucket") ? ',' : '{');
	strbuf_add_str(out, "le=\"");
	if (bound)
		write_value(out, metric_descs[c->id].kind, *bound);
	else
		strbuf_add_str(out, "+Inf");
	strbuf_add_str(out, "\"} ");
	strbuf_add_u64(out, count);
	strbuf_add_char(out, '\n');
}

static uint64_t sum_values(struct metric_cell *const *cells, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += atomic_load_explicit(&cells[i]->value, memory_order_relaxed);
	return sum;
}

static uint64_t sum_bucket(struct metric_cell *const *cells, size_t count, size_t bucket)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += atomic_load_explicit(&cells[i]->counts[bucket], memory_order_relaxed);
	return sum;
}

static void write_histogram(struct strbuf *out, struct metric_cell *const *cells, size_t count)
{
	enum metric_kind kind = metric_descs[cells[0]->id].kind;
	struct metric_buckets b = metric_buckets(kind);
	uint64_t below = 0;

	for (size_t i = 0; i <= b.count; i++) {
		below += sum_bucket(cells, count, i);
		write_bucket(out, cells[0], i < b.count ? &b.bounds[i] : NULL, below);
	}
	write_sample(out, cells[0], "_sum", kind, sum_values(cells, count));
	/* From the buckets as read above, so that it equals +Inf while others count on. */
	write_sample(out, cells[0], "_count", METRIC_KIND_COUNTER, below);
}

static void write_head(struct strbuf *out, enum metric_id id)
{
	static const char *const types[] = {
		[METRIC_KIND_COUNTER] = "counter",
		[METRIC_KIND_COUNTER_SECONDS] = "counter",
		[METRIC_KIND_GAUGE] = "gauge",
		[METRIC_KIND_GAUGE_SECONDS] = "gauge",
		[METRIC_KIND_HISTOGRAM_SECONDS] = "histogram",
		[METRIC_KIND_HISTOGRAM_BYTES] = "histogram",
	};
	const struct metric_desc *d = &metric_descs[id];

	strbuf_printf(out, "# HELP %s ", d->name);
	write_escaped(out, span_str(d->help), false);
	strbuf_printf(out, "\n# TYPE %s %s\n", d->name, types[d->kind]);
}

static void write_metric(struct strbuf *out, enum metric_id id, const struct cell_list *l)
{
	size_t from = 0, to;

	if (l->count == 0)
		return;
	write_head(out, id);
	for (; from < l->count; from = to) {
		struct metric_cell *const *equal = l->cells + from;

		for (to = from + 1; to < l->count && span_eq(l->cells[to]->key, equal[0]->key); to++)
			;
		if (metric_buckets(metric_descs[id].kind).count)
			write_histogram(out, equal, to - from);
		else
			write_sample(out, equal[0], "", metric_descs[id].kind,
				     sum_values(equal, to - from));
	}
}

void metrics_render(struct strbuf *out)
{
	struct cell_list l = { 0 };

	pthread_mutex_lock(&render_lock);
	for (size_t i = 0; i < collector_count; i++)
		collectors[i].fn(collectors[i].ctx);
	for (unsigned id = 0; id < METRIC_COUNT; id++) {
		list_fill(&l, id);
		write_metric(out, id, &l);
	}
	pthread_mutex_unlock(&render_lock);
	free(l.cells);
}
