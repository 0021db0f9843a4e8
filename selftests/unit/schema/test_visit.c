/* SPDX-License-Identifier: GPL-2.0-only */
/* test_visit.c - a configuration read back: all settings with their places, and what a reload changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "schema/schema.h"
#include "schema/source.h"
#include "schema/visit.h"

struct target_config {
	struct schema_meta meta;
	struct value_endpoint address;
	uint32_t weight;
};

struct pool_config {
	struct schema_meta meta;
	const char *id, *token;
	struct target_config *targets;
	size_t target_count;
	struct target_config *spare;
	unsigned custom;
};

struct root_config {
	struct schema_meta meta;
	struct pool_config *pools;
	size_t pool_count;
	struct schema_variant *filters;
	size_t filter_count;
	uint64_t wait_ms;
};

static void custom_read(struct schema *s, const struct kdl_node *node, void *member, void *config)
{
	(void)s;
	(void)config;
	*(unsigned *)member = (unsigned)node->arg_count;
}

static void custom_print(const void *member, struct strbuf *out)
{
	strbuf_printf(out, "<%u>", *(const unsigned *)member);
}

static const struct schema_row target_rows[] = {
	ROW_ENDPOINT(struct target_config, address, "address", NULL, "", .flags = SCHEMA_ARG),
	ROW_UINT(struct target_config, weight, "weight", 0, 99, "1", "", .flags = SCHEMA_PROP),
	ROW_END,
};

static const struct schema_block target_block = SCHEMA_BLOCK(struct target_config, "target", target_rows, NULL, "");

static const struct schema_row pool_rows[] = {
	ROW_ID(struct pool_config, id, ""),
	ROW_STRING(struct pool_config, token, "token", NULL, "", .flags = SCHEMA_SECRET),
	ROW_LIST(struct pool_config, targets, target_count, "target", &target_block, ""),
	ROW_OPTIONAL(struct pool_config, spare, "spare", &target_block, ""),
	ROW_CUSTOM(struct pool_config, custom, "custom", custom_read, "...", "", .print = custom_print),
	ROW_LATER("cache"),
	ROW_END,
};

static const struct schema_block pool_block = SCHEMA_BLOCK(struct pool_config, "pool", pool_rows, NULL, "");
static const struct schema_block *const filter_blocks[] = { &target_block, NULL };
static const struct schema_variants filter_kinds = { "type", filter_blocks };

static const struct schema_row group_rows[] = {
	ROW_LIST(struct root_config, pools, pool_count, "pool", &pool_block, ""),
	ROW_END,
};

static const struct schema_row root_rows[] = {
	ROW_DURATION(struct root_config, wait_ms, "wait-secs", SCHEMA_SECONDS, 0, SCHEMA_HOUR, "60", ""),
	ROW_GROUP("pools", group_rows, ""),
	ROW_VARIANTS(struct root_config, filters, filter_count, "filter", &filter_kinds, ""),
	ROW_END,
};

static const struct schema_block root = SCHEMA_BLOCK(struct root_config, "root", root_rows, NULL, "");

static void parse(struct arena *a, const char *text, struct root_config *out)
{
	struct kdl_node *nodes = NULL;
	struct source_set sources;
	struct schema schema;
	struct strbuf errors;
	struct diag d;
	int err;

	strbuf_init(&errors);
	source_init(&sources, a);
	diag_init(&d, &sources);
	schema_init(&schema, a, &d, NULL);
	err = source_load_text(&sources, "f", span_str(text), &d, &nodes);
	if (!err)
		err = schema_parse(&schema, &root, nodes, out);
	diag_print(&d, &errors);
	assert_string_equal(errors.ptr, "");
	assert_int_equal(err, 0);
	schema_fini(&schema);
	diag_fini(&d);
	strbuf_fini(&errors);
}

static void setting_add(const struct visit_setting *setting, void *user)
{
	strbuf_printf(user, "%u %s %s\n", setting->pos.line, setting->path, setting->text);
}

static void test_every_setting_with_its_line(void **state)
{
	struct root_config config;
	struct strbuf out;
	struct arena a;

	(void)state;
	arena_init(&a, 4096);
	strbuf_init(&out);
	parse(&a, "pools {\n  pool a {\n    token s3cret\n    target \"x:1\" weight=2\n    target \"y:2\"\n"
		  "    custom 1 2\n  }\n}\nfilter f type=target", &config);
	visit_run(&root, &config, setting_add, &out);
	assert_string_equal(out.ptr, "0 wait-secs 1m\n"
				     "2 pools/pool \"a\"/id \"a\"\n"
				     "3 pools/pool \"a\"/token ***\n"
				     "4 pools/pool \"a\"/target 0/address x:1\n"
				     "4 pools/pool \"a\"/target 0/weight 2\n"
				     "5 pools/pool \"a\"/target 1/address y:2\n"
				     "0 pools/pool \"a\"/target 1/weight 1\n"
				     "6 pools/pool \"a\"/custom <2>\n"
				     "0 filter \"f\" (target)/address none\n"
				     "0 filter \"f\" (target)/weight 1\n");
	strbuf_fini(&out);
	arena_fini(&a);
}

static void diff_is(const char *before, const char *after, size_t count, const char *lines)
{
	struct root_config old, new;
	struct strbuf out;
	struct arena a;

	arena_init(&a, 4096);
	strbuf_init(&out);
	parse(&a, before, &old);
	parse(&a, after, &new);
	assert_int_equal(visit_diff(&root, &old, &new, &out), count);
	assert_string_equal(out.ptr, lines);
	strbuf_fini(&out);
	arena_fini(&a);
}

static void test_what_a_reload_changes(void **state)
{
	(void)state;
	diff_is("", "", 0, "");
	diff_is("wait-secs 60", "wait-secs \"1m\"", 0, ""); /* the same, also as the default */
	diff_is("", "wait-secs 60", 0, "");
	diff_is("wait-secs 5", "", 1, "~ wait-secs: 5s -> 1m\n");
	diff_is("pools { pool a; pool b }", "pools { pool b; pool a }", 0, "");
	diff_is("pools { pool a { spare \"z:9\" } }", "pools { pool b }", 3,
		"+ pools/pool \"b\"/id \"b\"\n"
		"- pools/pool \"a\"/id \"a\"\n"
		"- pools/pool \"a\"/spare/address z:9\n");
	diff_is("pools { pool a { custom } }", "pools { pool a { custom 1 } }", 1,
		"~ pools/pool \"a\"/custom: <0> -> <1>\n");
}

static void test_a_changed_secret_is_not_shown(void **state)
{
	(void)state;
	diff_is("pools { pool a { token x } }", "pools { pool a { token y } }", 1,
		"~ pools/pool \"a\"/token: *** -> ***\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_setting_with_its_line),
		cmocka_unit_test(test_what_a_reload_changes),
		cmocka_unit_test(test_a_changed_secret_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
