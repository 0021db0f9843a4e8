/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_schema.c - any document against a table with every type: no crash, and an error for every refusal. */
#include <stdlib.h>

#include "base/check.h"
#include "schema/schema.h"
#include "schema/source.h"

struct leaf_config {
	struct schema_meta meta;
	const char *id, *note;
	uint16_t weight;
	struct schema_map set;
};

struct root_config {
	struct schema_meta meta;
	bool flag;
	uint32_t count, words;
	unsigned word;
	double ratio;
	uint64_t wait_ms, bytes;
	const char *name, *file;
	struct value_rate rate;
	union value_addr address;
	struct value_endpoint target;
	struct schema_strings names;
	struct schema_uints codes;
	struct schema_cidrs nets;
	struct leaf_config *leaves, *maybe, deep;
	size_t leaf_count, filter_count;
	struct schema_variant *filters;
};

static const struct schema_word words[] = { { .name = "a-b", .value = 1 }, { .name = "c", .value = 2 }, { 0 } };

static const struct schema_row leaf_rows[] = {
	ROW_ID(struct leaf_config, id, ""),
	ROW_STRING(struct leaf_config, note, "n", NULL, "", .flags = SCHEMA_ARG | SCHEMA_PROP),
	ROW_UINT(struct leaf_config, weight, "w", 0, 9, "1", "", .flags = SCHEMA_PROP, .aliases = "x !y"),
	ROW_MAP(struct leaf_config, set, "s", ""),
	ROW_END,
};

static const struct schema_block leaf = SCHEMA_BLOCK(struct leaf_config, "leaf", leaf_rows, NULL, "");
static const struct schema_block *const blocks[] = { &leaf, NULL };
static const struct schema_variants kinds = { "type", blocks };

static const struct schema_row group_rows[] = {
	ROW_LIST(struct root_config, leaves, leaf_count, "l", &leaf, "", .max = 50),
	ROW_VARIANTS(struct root_config, filters, filter_count, "v", &kinds, ""),
	ROW_END,
};

static const struct schema_row root_rows[] = {
	ROW_BOOL(struct root_config, flag, "f", "true", ""),
	ROW_UINT(struct root_config, count, "u", 0, UINT32_MAX, "none", "", .words = words),
	ROW_FLAGS(struct root_config, words, "W", words, "c", ""),
	ROW_ENUM(struct root_config, word, "e", words, "c", ""),
	ROW_FLOAT(struct root_config, ratio, "d", -1, 1, "0", ""),
	ROW_DURATION(struct root_config, wait_ms, "t-secs", SCHEMA_SECONDS, 0, SCHEMA_DAY, "1s", "",
		     .aliases = "t t-ms"),
	ROW_SIZE(struct root_config, bytes, "b", 0, INT64_MAX, "1MiB", ""),
	ROW_STRING(struct root_config, name, "n", "x", "", .max = 9, .flags = SCHEMA_SECRET),
	ROW_FILE(struct root_config, file, "i", NULL, ""),
	ROW_RATE(struct root_config, rate, "r", "1/s", ""),
	ROW_ADDR(struct root_config, address, "a", "none", ""),
	ROW_ENDPOINT(struct root_config, target, "p", NULL, ""),
	ROW_STRINGS(struct root_config, names, "S", "a b", ""),
	ROW_UINTS(struct root_config, codes, "U", 0, 99, "1", ""),
	ROW_CIDRS(struct root_config, nets, "c", "::1", ""),
	ROW_OPTIONAL(struct root_config, maybe, "o", &leaf, ""),
	ROW_BLOCK(struct root_config, deep, "D", &leaf, ""),
	ROW_GROUP("g", group_rows, "", .flags = SCHEMA_REPEAT),
	ROW_LATER("L"),
	ROW_END,
};

static const struct schema_block root = SCHEMA_BLOCK(struct root_config, "root", root_rows, NULL, "");

/* A fixed environment: a crash must be the same tomorrow. */
static const char *env_fixed(const char *name, void *user)
{
	(void)user;
	return *name == 'A' ? "1" : NULL;
}

/* What was read can be written, and a secret is not. */
static void rows_print(const struct root_config *config, struct strbuf *out)
{
	for (const struct schema_row *row = root_rows; row->name; row++) {
		strbuf_reset(out);
		schema_value_print(row, config, out);
		CHECK(!(row->flags & SCHEMA_SECRET) || span_eq(strbuf_span(out), SPAN("***")));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kdl_node *nodes = NULL;
	struct root_config config;
	struct source_set sources;
	struct schema schema;
	struct strbuf out;
	struct arena a;
	struct diag d;
	int err;

	if (memmem(data, size, "include", 7))
		return 0; /* reads whatever this machine has */
	arena_init(&a, 4096);
	strbuf_init(&out);
	source_init(&sources, &a);
	sources.env = env_fixed;
	diag_init(&d, &sources);
	schema_init(&schema, &a, &d, NULL);
	err = source_load_text(&sources, "f", span_of((const char *)data, size), &d, &nodes);
	if (!err) {
		err = schema_parse(&schema, &root, nodes, &config);
		rows_print(&config, &out);
	}
	CHECK((err != 0) == (d.error_count > 0));
	diag_print(&d, &out);
	diag_print_json(&d, &out);
	schema_fini(&schema);
	diag_fini(&d);
	strbuf_fini(&out);
	arena_fini(&a);
	return 0;
}
