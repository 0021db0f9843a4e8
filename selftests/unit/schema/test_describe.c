/* SPDX-License-Identifier: GPL-2.0-only */
/* test_describe.c - the generated manual: JSON, text, and a man page that mandoc accepts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "schema/describe.h"

struct leaf_config {
	struct schema_meta meta;
	const char *id;
	unsigned mode;
	uint64_t wait_ms;
	const char *key;
	double ratio;
};

struct root_config {
	struct schema_meta meta;
	struct leaf_config *leaves;
	size_t leaf_count;
	struct schema_variant *filters;
	size_t filter_count;
	uint32_t threads;
	struct schema_map set;
	struct leaf_config deep;
};

static const struct schema_word modes[] = {
	{ .name = "fast", .help = "As fast as it can." },
	{ .name = "slow", .help = ".Not fast. \\ Slow.", .aliases = "lazy" },
	{ .name = "warp", .is_later = true },
	{ .name = NULL },
};

static const struct schema_row leaf_rows[] = {
	ROW_ID(struct leaf_config, id, "Name of the leaf."),
	ROW_ENUM(struct leaf_config, mode, "mode", modes, "fast", "How it goes.", .flags = SCHEMA_PROP),
	ROW_DURATION(struct leaf_config, wait_ms, "wait-secs", SCHEMA_SECONDS, 0, SCHEMA_HOUR, "60",
		     "How long to wait for a thing that takes a long time to come, with a text that is longer "
		     "than a line. "
		     "Then go on. 'quoted' words and .dots stay.", .aliases = "wait !patience"),
	ROW_STRING(struct leaf_config, key, "key", NULL, "A \"key\" with C:\\path.", .flags = SCHEMA_SECRET),
	ROW_FLOAT(struct leaf_config, ratio, "ratio", 0, 1, "0.5", "Part."),
	ROW_END,
};

static const struct schema_block leaf_block = SCHEMA_BLOCK(struct leaf_config, "leaf", leaf_rows, NULL, "A leaf.");
static const struct schema_block old_block = { .name = "old", .rows = leaf_rows, .is_later = true };
static const struct schema_block *const filter_blocks[] = { &leaf_block, &old_block, NULL };
static const struct schema_variants filters = { "type", filter_blocks };

static const struct schema_row group_rows[] = {
	ROW_LIST(struct root_config, leaves, leaf_count, "leaf", &leaf_block, "One leaf."),
	ROW_VARIANTS(struct root_config, filters, filter_count, "filter", &filters, "One filter."),
	ROW_MAP(struct root_config, set, "set", "Headers."),
	ROW_END,
};

static const struct schema_row root_rows[] = {
	ROW_UINT(struct root_config, threads, "threads", 0, 64, "0", "Threads.", .flags = SCHEMA_REQUIRED),
	ROW_GROUP("group", group_rows, "Things."),
	ROW_GROUP("again", group_rows, "As `group`.", .flags = SCHEMA_ELSEWHERE),
	ROW_BLOCK(struct root_config, deep, "deep", &leaf_block, "Deep."),
	ROW_LATER("cache"),
	ROW_END,
};

static const struct schema_block root = SCHEMA_BLOCK(struct root_config, "root", root_rows, NULL, "All.");

static const struct describe_page page = {
	.name = "sentinel.kdl",
	.section = "5",
	.date = "November 24, 2026",
	.summary = "configuration of the proxy",
	.intro = "The file is written in KDL.\n",
	.outro = ".Sh FILES\n.Pa /etc/sentinel/sentinel.kdl\n",
};

static void test_text_lists_all_keys(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	assert_int_equal(describe_text(&root, SPAN(""), &out), 22);
	assert_memory_equal(out.ptr, "threads number\n", 15);
	assert_non_null(strstr(out.ptr, "\ngroup/leaf \"id\" { ... }\n"));
	assert_non_null(strstr(out.ptr, "\ngroup/leaf/mode fast | slow\n"));
	assert_non_null(strstr(out.ptr, "\ngroup/filter(leaf)/wait-secs duration\n"));
	assert_null(strstr(out.ptr, "cache"));
	assert_null(strstr(out.ptr, "(old)"));
	assert_non_null(strstr(out.ptr, "\nagain { ... }\n")); /* and nothing of what is below it */
	strbuf_fini(&out);
}

static void test_text_of_one_key(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	assert_int_equal(describe_text(&root, SPAN("deep.wait-secs"), &out), 1);
	assert_non_null(strstr(out.ptr, "deep/wait-secs duration\n    How long"));
	assert_non_null(strstr(out.ptr, "Default: 60. From 0s to 1h. A bare number is in seconds. "
					"Also written wait, patience (deprecated).\n"));
	strbuf_reset(&out);
	assert_int_equal(describe_text(&root, SPAN("patience"), &out), 3); /* by an alias, in three places */
	strbuf_reset(&out);
	assert_int_equal(describe_text(&root, SPAN("ait-secs"), &out), 0);
	assert_int_equal(describe_text(&root, SPAN("cache"), &out), 0);
	assert_string_equal(out.ptr, "");
	strbuf_fini(&out);
}

static void test_json_has_every_fact(void **state)
{
	static const char *const parts[] = {
		"\"path\": \"group/leaf/wait-secs\"",
		"\"unit\": \"s\"",
		"\"max\": 3600000",
		"\"secret\": true",
		"\"required\": true",
		"\"selector\": \"type\"",
		"\"name\": \"slow\"",
		"\"form\": \"fast | slow\"",
	};
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	describe_json(&root, &out);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (!strstr(out.ptr, parts[i]))
			fail_msg("%s is missing in\n%s", parts[i], out.ptr);
	}
	assert_null(strstr(out.ptr, "warp"));
	assert_null(strstr(out.ptr, "cache"));
	strbuf_fini(&out);
}

static void test_names_are_counted_beyond_the_room(void **state)
{
	const char *names[3] = { NULL };

	(void)state;
	assert_int_equal(describe_names(&root, names, 3), 22);
	assert_string_equal(names[0], "threads");
	assert_string_equal(names[2], "leaf");
}

static void test_mandoc_has_nothing_to_say(void **state)
{
	char path[] = "/tmp/test_describe_XXXXXX.5"; /* mandoc compares a digit behind the dot with the section */
	char command[128], line[512] = "";
	struct strbuf out;
	FILE *lint;
	int fd;

	(void)state;
	if (access("/usr/bin/mandoc", X_OK) != 0)
		skip();
	strbuf_init(&out);
	describe_man(&page, &root, &out);
	fd = mkstemps(path, 2);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, out.ptr, out.len), out.len);
	(void)close(fd);
	snprintf(command, sizeof(command), "/usr/bin/mandoc -Tlint -W style %s 2>&1", path);
	lint = popen(command, "r");
	assert_non_null(lint);
	if (fgets(line, sizeof(line), lint))
		fail_msg("%s\n%s", line, out.ptr);
	(void)pclose(lint);
	(void)unlink(path);
	strbuf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_lists_all_keys),
		cmocka_unit_test(test_text_of_one_key),
		cmocka_unit_test(test_json_has_every_fact),
		cmocka_unit_test(test_names_are_counted_beyond_the_room),
		cmocka_unit_test(test_mandoc_has_nothing_to_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
