/* SPDX-License-Identifier: GPL-2.0-only */
/* compile.c - a database and the countries that somebody names, as the kernel's tables. */
#include "geo/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/ip16.h"
#include "base/mem.h"
#include "geo/readers.h"

#define V4_DEPTH 24
#define V6_DEPTH 48
#define V4_TREE_DEPTH 96 /* of the IPv4 tree inside IPv6: ::/96 */
#define DEPTH_MAX 128
/* No part of a tree is walked twice; a malformed one can have cycles. */
#define STEPS_MAX(nodes) (4 * (uint64_t)(nodes) + 65536)

#define SPLIT 256 /* instead of a number: what is below was written already */

struct compiler {
	const struct mmdb *mmdb;
	uint8_t numbers[65536]; /* by country */
	uint32_t *cached_at;	/* owned; by hash of an offset: the offset + 1, or 0 */
	uint8_t *cached;	/* owned */
	uint64_t steps_left;
	int err;

	uint32_t v4_root; /* number of the node of ::/96; UINT32_MAX: it is none */
	bool is_v6;
	struct geo_tables *out;
	size_t v6_size;
};

#define CACHE_SIZE 65536u /* many ends lead to the same record */

static int data_number(struct compiler *c, uint32_t offset)
{
	uint32_t at = (offset * 2654435761u) >> 16;
	struct geo_place place;

	if (c->cached_at[at] == offset + 1)
		return c->cached[at];
	if (mmdb_data(c->mmdb, offset, &place) < 0) {
		c->err = -EBADMSG;
		return SN_GEO_OTHER;
	}
	c->cached_at[at] = offset + 1;
	c->cached[at] = c->numbers[place.country];
	return c->cached[at];
}

static bool step(struct compiler *c, uint32_t node, struct mmdb_end ends[2])
{
	if (!c->err)
		c->err = c->steps_left-- == 0 ? -EBADMSG : mmdb_children(c->mmdb, node, ends);
	return !c->err;
}

/* The number of all that is below, or SN_GEO_MIXED; writes nothing. */
static int uniform(struct compiler *c, const struct mmdb_end *end, unsigned depth)
{
	struct mmdb_end ends[2];
	int left, right;

	if (end->kind != MMDB_END_NODE)
		return end->kind == MMDB_END_DATA ? data_number(c, end->value) : SN_GEO_OTHER;
	if (depth >= DEPTH_MAX || (c->is_v6 && end->value == c->v4_root) || !step(c, end->value, ends))
		return SN_GEO_MIXED;
	left = uniform(c, &ends[0], depth + 1);
	if (left == SN_GEO_MIXED)
		return left;
	right = uniform(c, &ends[1], depth + 1);
	return left == right ? left : SN_GEO_MIXED;
}

/* A prefix whose number differs from its sibling's. */
static void write_prefix(struct compiler *c, uint64_t bits, unsigned depth, int number)
{
	struct geo_tables *t = c->out;
	struct geo_prefix6 *p;

	if (number == SN_GEO_OTHER || number == SPLIT)
		return;
	if (!c->is_v6) {
		size_t first = (size_t)(bits >> (64 - V4_DEPTH)), count = (size_t)1 << (V4_DEPTH - depth);

		memset(t->v4 + first, number, count);
		t->v4_mixed += number == SN_GEO_MIXED ? (uint32_t)count : 0;
		return;
	}
	t->v6_mixed += number == SN_GEO_MIXED;
	if (t->v6_count == SN_GEO6_MAX) {
		t->is_v6_left_out = true;
		return;
	}
	if (t->v6_count == c->v6_size) {
		c->v6_size = c->v6_size ? 2 * c->v6_size : 1024;
		t->v6 = mem_resize(t->v6, c->v6_size, sizeof(*t->v6));
	}
	p = &t->v6[t->v6_count++];
	*p = (struct geo_prefix6){ .len = (uint8_t)depth, .number = (uint8_t)number };
	for (unsigned i = 0; i < 8; i++)
		p->ip[i] = (uint8_t)(bits >> (56 - 8 * i));
}

/* bits: the address so far, from the top.  The number of the whole, or SPLIT. */
static int walk(struct compiler *c, const struct mmdb_end *end, uint64_t bits, unsigned depth)
{
	struct mmdb_end ends[2];
	int left, right;

	if (end->kind != MMDB_END_NODE || depth >= (c->is_v6 ? V6_DEPTH : V4_DEPTH) ||
	    (c->is_v6 && end->value == c->v4_root))
		return uniform(c, end, depth);
	if (!step(c, end->value, ends))
		return SN_GEO_OTHER;
	left = walk(c, &ends[0], bits, depth + 1);
	right = walk(c, &ends[1], bits | 1ull << (63 - depth), depth + 1);
	if (left == right && left != SPLIT)
		return left;
	write_prefix(c, bits, depth + 1, left);
	write_prefix(c, bits | 1ull << (63 - depth), depth + 1, right);
	return SPLIT;
}

static void walk_whole(struct compiler *c, const struct mmdb_end *root, bool is_v6)
{
	c->is_v6 = is_v6;
	write_prefix(c, 0, 0, walk(c, root, 0, 0));
}

/* Where IPv4 begins: the root, or what 96 zeroes lead to. */
static struct mmdb_end v4_find(struct compiler *c)
{
	struct mmdb_end end = { MMDB_END_NODE, 0 }, ends[2];

	for (unsigned i = 0; mmdb_ip_version(c->mmdb) == 6 && i < V4_TREE_DEPTH && end.kind == MMDB_END_NODE; i++) {
		if (!step(c, end.value, ends))
			break;
		end = ends[0];
	}
	return end;
}

static void compile(struct compiler *c)
{
	const struct mmdb_end root = { MMDB_END_NODE, 0 };
	struct mmdb_end v4 = v4_find(c);

	walk_whole(c, &v4, false);
	if (mmdb_ip_version(c->mmdb) != 6)
		return;
	/* An IPv6 tree that ends before ::/96 has no IPv4 one; a root that leads to itself is malformed. */
	c->v4_root = v4.kind == MMDB_END_NODE && v4.value != 0 ? v4.value : UINT32_MAX;
	walk_whole(c, &root, true);
}

int geo_compile(struct geo_tables *out_tables, const struct geo_database *d, const geo_country *named, size_t count,
		struct strbuf *out_why)
{
	struct geo_tables tables = { 0 };
	struct compiler *c;
	int err;

	CHECK(geo_database_mmdb(d));
	if (count > SN_GEO_NAMED_MAX) {
		strbuf_printf(out_why, "%zu countries are named, at most %d fit", count, SN_GEO_NAMED_MAX);
		return -E2BIG;
	}
	c = mem_zalloc(sizeof(*c));
	c->mmdb = geo_database_mmdb(d);
	c->steps_left = STEPS_MAX(geo_database_info(d)->node_count);
	c->v4_root = UINT32_MAX;
	c->out = &tables;
	for (size_t i = 0; i < count; i++)
		c->numbers[named[i]] = (uint8_t)(i + 1);
	c->cached_at = mem_array(CACHE_SIZE, sizeof(*c->cached_at));
	c->cached = mem_array(CACHE_SIZE, sizeof(*c->cached));
	tables.v4 = mem_zalloc(GEO_TABLE4_BYTES);
	compile(c);
	err = c->err;
	free(c->cached_at);
	free(c->cached);
	free(c);
	if (err) {
		geo_tables_fini(&tables);
		strbuf_add_str(out_why, "the database is malformed: its tree has no end");
		return err;
	}
	if (tables.is_v6_left_out)
		tables.v6_count = 0;
	*out_tables = tables;
	return 0;
}

void geo_tables_fini(struct geo_tables *t)
{
	if (!t)
		return;
	free(t->v4);
	free(t->v6);
	*t = (struct geo_tables){ 0 };
}

static bool prefix6_has(const struct geo_prefix6 *p, const uint8_t ip[16])
{
	for (unsigned bit = 0; bit < p->len; bit++)
		if ((p->ip[bit / 8] ^ ip[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

uint8_t geo_tables_find(const struct geo_tables *t, const uint8_t ip[16])
{
	if (ip16_is_v4(ip))
		return t->v4[(size_t)ip[12] << 16 | (size_t)ip[13] << 8 | ip[14]];
	for (size_t i = 0; i < t->v6_count; i++)
		if (prefix6_has(&t->v6[i], ip))
			return t->v6[i].number;
	return SN_GEO_OTHER;
}
