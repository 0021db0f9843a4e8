/* SPDX-License-Identifier: GPL-2.0-only */
/* tunnel_table.c - the rows of `sentinel flows`. */
#include "app/tunnel_table.h"

#include <stdio.h>
#include <stdlib.h>

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

/* ---- the heap ---- */

/* Copied rows point into themselves: only these two move them. */
static const char *text_of(const char *there, char *here)
{
	return there ? here : NULL;
}

static void row_put(struct tunnel_row *to, const struct tunnel_row *from)
{
	if (to != from)
		*to = *from;
	to->facts.listener = text_of(from->facts.listener, to->listener);
	to->facts.route = text_of(from->facts.route, to->route);
	to->facts.upstream = text_of(from->facts.upstream, to->upstream);
	to->facts.kind = text_of(from->facts.kind, to->kind);
}

static void name_copy(char out[NAME_MAX_BYTES], const char *name)
{
	(void)snprintf(out, NAME_MAX_BYTES, "%s", name ? name : "");
}

static void row_fill(struct tunnel_row *r, const struct tunnel_facts *f)
{
	r->facts = *f;
	name_copy(r->listener, f->listener);
	name_copy(r->route, f->route);
	name_copy(r->upstream, f->upstream);
	name_copy(r->kind, f->kind);
	row_put(r, r);
}

static void sift_up(struct tunnel_table *t, unsigned at, const struct tunnel_row *row)
{
	while (at > 0 && bytes_of(&t->rows[(at - 1) / 2].facts) > bytes_of(&row->facts)) {
		row_put(&t->rows[at], &t->rows[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	row_put(&t->rows[at], row);
}

static void sift_down(struct tunnel_table *t, const struct tunnel_row *row)
{
	unsigned at = 0, child;

	while ((child = 2 * at + 1) < t->count) {
		if (child + 1 < t->count && bytes_of(&t->rows[child + 1].facts) < bytes_of(&t->rows[child].facts))
			child++;
		if (bytes_of(&t->rows[child].facts) >= bytes_of(&row->facts))
			break;
		row_put(&t->rows[at], &t->rows[child]);
		at = child;
	}
	row_put(&t->rows[at], row);
}

static void rows_grow(struct tunnel_table *t)
{
	if (t->count < t->cap)
		return;
	t->cap = MIN(MAX(16U, 2 * t->cap), t->rows_max);
	t->rows = mem_resize(t->rows, t->cap, sizeof(*t->rows));
	for (unsigned i = 0; i < t->count; i++)
		row_put(&t->rows[i], &t->rows[i]);
}

static void row_add(struct tunnel_table *t, const struct tunnel_row *row)
{
	if (t->count == t->rows_max) {
		sift_down(t, row);
		return;
	}
	rows_grow(t);
	sift_up(t, t->count++, row);
}

static bool has_room_for(const struct tunnel_table *t, const struct tunnel_facts *f)
{
	return t->count < t->rows_max || bytes_of(f) > bytes_of(&t->rows[0].facts);
}

void tunnel_table_init(struct tunnel_table *t, unsigned rows_max)
{
	CHECK(rows_max >= 1 && rows_max <= TUNNEL_TABLE_ROWS_MAX);
	*t = (struct tunnel_table){ .rows_max = rows_max };
}

void tunnel_table_fini(struct tunnel_table *t)
{
	free(t->rows);
	*t = (struct tunnel_table){ 0 };
}

void tunnel_table_add(void *ctx, const struct tunnel_facts *f)
{
	struct tunnel_table *t = ctx;
	struct tunnel_row row;

	t->seen++;
	if (!has_room_for(t, f))
		return;
	row_fill(&row, f);
	row_add(t, &row);
}

void tunnel_table_merge(struct tunnel_table *t, const struct tunnel_table *from)
{
	for (unsigned i = 0; i < from->count; i++)
		if (has_room_for(t, &from->rows[i].facts))
			row_add(t, &from->rows[i]);
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
		row_put(&t->rows[i], &t->rows[i]);
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
