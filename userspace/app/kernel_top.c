/* SPDX-License-Identifier: GPL-2.0-only */
/* kernel_top.c - one reading of what the guard drops. */
#include "app/kernel_top.h"

#include <stdio.h>

#include "app/drop_top.h"
#include "base/clock.h"
#include "base/json.h"

#define V4_BITS 96

struct reading {
	struct fastpath_stats stats;
	uint64_t now_ns;
	const struct drop_top_row *networks[DROP_TOP_SHOWN], *sources[DROP_TOP_SHOWN];
	unsigned network_count, source_count;
};

static void reading_take(struct control *c, struct reading *r)
{
	*r = (struct reading){ .now_ns = clock_mono_ns() };
	(void)fastpath_stats(c->guard.fastpath, &r->stats); /* zeroes when it fails */
	r->network_count = drop_top_networks(&c->guard.top, r->networks);
	r->source_count = drop_top_sources(&c->guard.top, r->sources);
}

/* "192.0.2.0/24", "192.0.2.7" */
static void row_text(const struct drop_top_row *r, char text[ADDR_TEXT_MAX + 4])
{
	struct addr addr;
	size_t len;

	addr_from_ip16(r->ip, 0, &addr);
	len = addr_format_ip(&addr, text);
	text[len] = '\0';
	if (r->len < 128)
		(void)snprintf(text + len, 5, "/%u", addr.sa.sa_family == AF_INET ? r->len - V4_BITS : r->len);
}

/* Whole ones, and never none of what is shown: counts are halved with time. */
static uint64_t samples(const struct drop_top_row *r)
{
	return (r->count + DROP_TOP_SAMPLE / 2) / DROP_TOP_SAMPLE;
}

/* ---- lines ---- */

static void country_line(void *ctx, const struct geo_kernel_count *n)
{
	strbuf_printf(ctx, "country\t%s\t%llu\t%llu\n", n->country, (unsigned long long)n->packets,
		      (unsigned long long)n->monitored);
}

static void rows_lines(const char *what, const struct drop_top_row **rows, unsigned count, struct strbuf *out)
{
	char text[ADDR_TEXT_MAX + 4];

	for (unsigned i = 0; i < count; i++) {
		row_text(rows[i], text);
		strbuf_printf(out, "%s\t%s\t%llu\t%s\n", what, text, (unsigned long long)samples(rows[i]),
			      rules_reason_label(rows[i]->reason));
	}
}

static void lines(struct control *c, const struct reading *r, struct strbuf *out)
{
	const struct geo_kernel *geo = fastpath_geo(c->guard.fastpath);

	strbuf_printf(out, "time\t%llu\n", (unsigned long long)r->now_ns);
	for (unsigned i = SN_DROP_NONE + 1; i < SN_DROP_COUNT; i++)
		strbuf_printf(out, "drop\t%s\t%llu\t%llu\t%llu\n", rules_reason_label((uint8_t)i),
			      (unsigned long long)r->stats.drops[i].packets,
			      (unsigned long long)r->stats.drops[i].bytes,
			      (unsigned long long)r->stats.monitored[i].packets);
	if (geo)
		(void)geo_kernel_counts(geo, country_line, out);
	rows_lines("network", (const struct drop_top_row **)r->networks, r->network_count, out);
	rows_lines("source", (const struct drop_top_row **)r->sources, r->source_count, out);
}

/* ---- JSON ---- */

static void country_json(void *ctx, const struct geo_kernel_count *n)
{
	struct json *j = ctx;

	json_object(j, NULL);
	json_str(j, "country", n->country);
	json_u64(j, "packets", n->packets);
	json_u64(j, "monitored", n->monitored);
	json_end(j, '}');
}

static void rows_json(const char *what, const char *key, const struct drop_top_row *const *rows, unsigned count,
		      struct json *j)
{
	char text[ADDR_TEXT_MAX + 4];

	json_array(j, what);
	for (unsigned i = 0; i < count; i++) {
		row_text(rows[i], text);
		json_object(j, NULL);
		json_str(j, key, text);
		json_u64(j, "samples", samples(rows[i]));
		json_str(j, "reason", rules_reason_label(rows[i]->reason));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void json_all(struct control *c, const struct reading *r, struct strbuf *out)
{
	const struct geo_kernel *geo = fastpath_geo(c->guard.fastpath);
	struct json j;

	json_init(&j, out, true);
	json_object(&j, NULL);
	json_bool(&j, "attached", fastpath_is_attached(c->guard.fastpath));
	json_u64(&j, "monotonic_ns", r->now_ns);
	json_array(&j, "drops");
	for (unsigned i = SN_DROP_NONE + 1; i < SN_DROP_COUNT; i++) {
		json_object(&j, NULL);
		json_str(&j, "reason", rules_reason_label((uint8_t)i));
		json_u64(&j, "packets", r->stats.drops[i].packets);
		json_u64(&j, "bytes", r->stats.drops[i].bytes);
		json_u64(&j, "monitored", r->stats.monitored[i].packets);
		json_end(&j, '}');
	}
	json_end(&j, ']');
	json_array(&j, "countries");
	if (geo)
		(void)geo_kernel_counts(geo, country_json, &j);
	json_end(&j, ']');
	rows_json("networks", "network", r->networks, r->network_count, &j);
	rows_json("sources", "address", r->sources, r->source_count, &j);
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

void kernel_top_render(struct control *c, bool wants_json, struct strbuf *out)
{
	struct reading r;

	reading_take(c, &r);
	if (wants_json)
		json_all(c, &r, out);
	else
		lines(c, &r, out);
}
