/* SPDX-License-Identifier: GPL-2.0-only */
/* drop_top.c - whose packets the guard drops most, from its samples. */
#include "app/drop_top.h"

#include "base/ip16.h"

#include <stdbool.h>
#include <string.h>

#define HALVING_S 10

static struct drop_top_row *row_of(struct drop_top_row *rows, const uint8_t ip[16])
{
	struct drop_top_row *least = rows;

	for (struct drop_top_row *r = rows; r < rows + DROP_TOP_ROWS; r++) {
		if (r->count && memcmp(r->ip, ip, sizeof(r->ip)) == 0)
			return r;
		if (r->count < least->count)
			least = r;
	}
	memcpy(least->ip, ip, sizeof(least->ip));
	return least;
}

static void count(struct drop_top_row *rows, const uint8_t ip[16], uint8_t len, uint8_t reason)
{
	struct drop_top_row *r = row_of(rows, ip);

	r->count += DROP_TOP_SAMPLE;
	r->len = len;
	r->reason = reason;
}

void drop_top_add(struct drop_top *t, const struct sn_drop_event *e)
{
	uint8_t ip[16];
	bool is_v4;

	if (e->reason >= SN_DROP_COUNT) /* another version's program, before it is exchanged */
		return;
	memcpy(ip, e->source, sizeof(ip));
	is_v4 = ip16_is_v4(ip);
	count(t->sources, ip, 128, e->reason);
	memset(ip + (is_v4 ? 15 : 6), 0, is_v4 ? 1 : 10);
	count(t->networks, ip, is_v4 ? 120 : 48, e->reason);
}

void drop_top_tick(struct drop_top *t)
{
	if (++t->seconds % HALVING_S)
		return;
	for (unsigned i = 0; i < DROP_TOP_ROWS; i++) {
		t->sources[i].count /= 2;
		t->networks[i].count /= 2;
	}
}

static unsigned most(const struct drop_top_row *rows, const struct drop_top_row *out[DROP_TOP_SHOWN])
{
	unsigned found = 0;

	for (const struct drop_top_row *r = rows; r < rows + DROP_TOP_ROWS; r++) {
		unsigned at = found;

		if (r->count < DROP_TOP_SAMPLE / 2)
			continue;
		while (at > 0 && out[at - 1]->count < r->count)
			at--;
		if (at == DROP_TOP_SHOWN)
			continue;
		if (found < DROP_TOP_SHOWN)
			found++;
		memmove(&out[at + 1], &out[at], (found - at - 1) * sizeof(struct drop_top_row *));
		out[at] = r;
	}
	return found;
}

unsigned drop_top_sources(const struct drop_top *t, const struct drop_top_row *out[DROP_TOP_SHOWN])
{
	return most(t->sources, out);
}

unsigned drop_top_networks(const struct drop_top *t, const struct drop_top_row *out[DROP_TOP_SHOWN])
{
	return most(t->networks, out);
}
