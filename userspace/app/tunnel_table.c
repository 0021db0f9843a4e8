/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel_table.c - the rows of `sentinel flows`. */
#include "app/tunnel_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "schema/value.h"

#define NAME_MAX_BYTES 80 /* of a listener, route or upstream; longer ones are cut */
#define ENGINES_MAX 32

struct tunnel_row {
	struct tunnel_facts facts; /* its texts are those below, or NULL */
	char listener[NAME_MAX_BYTES], route[NAME_MAX_BYTES], upstream[NAME_MAX_BYTES], kind[NAME_MAX_BYTES];
};

static uint64_t bytes_of(const struct tunnel_facts *f)
{
	return f->bytes[0] + f->bytes[1];
}

/* ---- the heap: places of rows, the fewest bytes on top ---- */

/* The texts of a row are its own: whoever moves it says so. */
static void row_moved(struct tunnel_row *r)
{
	r->facts.listener = r->facts.listener ? r->listener : NULL;
	r->facts.route = r->facts.route ? r->route : NULL;
	r->facts.upstream = r->facts.upstream ? r->upstream : NULL;
	r->facts.kind = r->facts.kind ? r->kind : NULL;
}

static void name_copy(char out[NAME_MAX_BYTES], const char *name)
{
	size_t len = name ? strnlen(name, NAME_MAX_BYTES - 1) : 0;

	if (len)
		memcpy(out, name, len);
	out[len] = '\0';
}

static void row_fill(struct tunnel_row *r, const struct tunnel_facts *f)
{
	r->facts = *f;
	name_copy(r->listener, f->listener);
	name_copy(r->route, f->route);
	name_copy(r->upstream, f->upstream);
	name_copy(r->kind, f->kind);
	row_moved(r);
}

static uint64_t bytes_at(const struct tunnel_table *t, unsigned at)
{
	return bytes_of(&t->rows[t->heap[at]].facts);
}

static void sift_up(struct tunnel_table *t, unsigned at)
{
	unsigned place = t->heap[at];

	for (; at > 0 && bytes_at(t, (at - 1) / 2) > bytes_of(&t->rows[place].facts); at = (at - 1) / 2)
		t->heap[at] = t->heap[(at - 1) / 2];
	t->heap[at] = place;
}

static void sift_down(struct tunnel_table *t)
{
	unsigned place = t->heap[0], at = 0, child;

	while ((child = 2 * at + 1) < t->count) {
		if (child + 1 < t->count && bytes_at(t, child + 1) < bytes_at(t, child))
			child++;
		if (bytes_at(t, child) >= bytes_of(&t->rows[place].facts))
			break;
		t->heap[at] = t->heap[child];
		at = child;
	}
	t->heap[at] = place;
}

static void rows_grow(struct tunnel_table *t)
{
	if (t->count < t->cap)
		return;
	t->cap = MIN(MAX(16U, 2 * t->cap), t->rows_max);
	t->rows = mem_resize(t->rows, t->cap, sizeof(*t->rows));
	t->heap = mem_resize(t->heap, t->cap, sizeof(*t->heap));
	for (unsigned i = 0; i < t->count; i++)
		row_moved(&t->rows[i]);
}

static void row_add(struct tunnel_table *t, const struct tunnel_facts *f)
{
	if (t->count == t->rows_max) {
		if (bytes_of(f) <= bytes_at(t, 0))
			return;
		row_fill(&t->rows[t->heap[0]], f);
		sift_down(t);
		return;
	}
	rows_grow(t);
	row_fill(&t->rows[t->count], f);
	t->heap[t->count] = t->count;
	sift_up(t, t->count++);
}

void tunnel_table_init(struct tunnel_table *t, unsigned rows_max)
{
	CHECK(rows_max >= 1 && rows_max <= TUNNEL_TABLE_ROWS_MAX);
	*t = (struct tunnel_table){ .rows_max = rows_max };
}

void tunnel_table_fini(struct tunnel_table *t)
{
	free(t->rows);
	free(t->heap);
	*t = (struct tunnel_table){ 0 };
}

void tunnel_table_add(void *ctx, const struct tunnel_facts *f)
{
	struct tunnel_table *t = ctx;

	t->seen++;
	row_add(t, f);
}

void tunnel_table_merge(struct tunnel_table *t, const struct tunnel_table *from)
{
	for (unsigned i = 0; i < from->count; i++)
		row_add(t, &from->rows[i].facts);
	t->seen += from->seen;
}

/* ---- showing ---- */

/* Most bytes first; the oldest of equals. */
static int compare(const void *a, const void *b)
{
	const struct tunnel_facts *x = &((const struct tunnel_row *)a)->facts;
	const struct tunnel_facts *y = &((const struct tunnel_row *)b)->facts;

	if (bytes_of(x) != bytes_of(y))
		return bytes_of(x) < bytes_of(y) ? 1 : -1;
	return x->open_ms < y->open_ms ? 1 : x->open_ms > y->open_ms ? -1 : 0;
}

static void rows_sort(struct tunnel_table *t)
{
	if (t->count > 0)
		qsort(t->rows, t->count, sizeof(*t->rows), compare);
	for (unsigned i = 0; i < t->count; i++)
		row_moved(&t->rows[i]);
}

static const char *or_dash(const char *text)
{
	return text ? text : "-";
}

static void engines_text(const struct tunnel_facts *f, char out[ENGINES_MAX])
{
	const char *up = splice_engine_name(f->engine[0]), *down = splice_engine_name(f->engine[1]);

	(void)snprintf(out, ENGINES_MAX, f->engine[0] == f->engine[1] ? "%s" : "%s/%s", up, down);
}

/* Whole percent of the bytes that sockmap moved; below 100 unless it was all of them. */
static unsigned kernel_percent(const struct tunnel_facts *f)
{
	uint64_t all = bytes_of(f), kernel = f->kernel_bytes[0] + f->kernel_bytes[1];

	return all == 0 ? 0 : (unsigned)((double)MIN(kernel, all) * 100 / (double)all);
}

static void row_text(const struct tunnel_facts *f, struct strbuf *out)
{
	char client[ADDR_TEXT_MAX], origin[ADDR_TEXT_MAX], engines[ENGINES_MAX];
	char age[VALUE_TEXT_MAX], idle[VALUE_TEXT_MAX];

	client[addr_format(&f->client, client)] = '\0';
	origin[addr_format(&f->origin, origin)] = '\0';
	engines_text(f, engines);
	value_duration_text(age, f->open_ms / 1000 * 1000);
	value_duration_text(idle, f->idle_ms / 1000 * 1000);
	strbuf_printf(out, "%-22s %-22s %-16s %-15s %-14s %12llu %12llu %5u%%  %-10s %s\n", client, origin,
		      or_dash(f->route), or_dash(f->kind), engines, (unsigned long long)f->bytes[0],
		      (unsigned long long)f->bytes[1], kernel_percent(f), age, idle);
}

void tunnel_table_text(struct tunnel_table *t, struct strbuf *out)
{
	if (t->seen == 0) {
		strbuf_add_str(out, "no tunnel is open\n");
		return;
	}
	rows_sort(t);
	strbuf_printf(out, "%-22s %-22s %-16s %-15s %-14s %12s %12s %6s  %-10s %s\n", "CLIENT", "ORIGIN", "ROUTE",
		      "KIND", "ENGINE", "TO ORIGIN", "TO CLIENT", "KERNEL", "AGE", "IDLE");
	for (unsigned i = 0; i < t->count; i++)
		row_text(&t->rows[i].facts, out);
	if (t->seen > t->count)
		strbuf_printf(out, "%u of %llu tunnels, those with the most bytes; --limit shows more\n", t->count,
			      (unsigned long long)t->seen);
}

/* Numbers of both directions, under these two names. */
static void json_pair(struct json *j, const char *key, const uint64_t numbers[2])
{
	json_object(j, key);
	json_u64(j, "to_origin", numbers[0]);
	json_u64(j, "to_client", numbers[1]);
	json_end(j, '}');
}

static void row_json(const struct tunnel_facts *f, struct json *j)
{
	char text[ADDR_TEXT_MAX];

	json_object(j, NULL);
	json_span(j, "client", span_of(text, addr_format(&f->client, text)));
	json_span(j, "origin", span_of(text, addr_format(&f->origin, text)));
	json_str(j, "listener", f->listener);
	json_str(j, "route", f->route);
	json_str(j, "upstream", f->upstream);
	json_str(j, "kind", f->kind);
	json_object(j, "engine");
	json_str(j, "to_origin", splice_engine_name(f->engine[0]));
	json_str(j, "to_client", splice_engine_name(f->engine[1]));
	json_end(j, '}');
	json_pair(j, "bytes", f->bytes);
	json_pair(j, "kernel_bytes", f->kernel_bytes);
	json_u64(j, "joins", f->joins);
	json_u64(j, "age_ms", f->open_ms);
	json_u64(j, "idle_ms", f->idle_ms);
	json_end(j, '}');
}

void tunnel_table_json(struct tunnel_table *t, struct strbuf *out)
{
	struct json j;

	rows_sort(t);
	json_init(&j, out, false);
	json_object(&j, NULL);
	json_u64(&j, "tunnels", t->seen);
	json_u64(&j, "shown", t->count);
	json_array(&j, "flows");
	for (unsigned i = 0; i < t->count; i++)
		row_json(&t->rows[i].facts, &j);
	json_end(&j, ']');
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}
