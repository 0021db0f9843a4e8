/* SPDX-License-Identifier: GPL-2.0-only */
/* test_schema.c - rows: every type with right and wrong values, shapes of nodes, blocks, lists, variants, marks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "schema/schema.h"
#include "schema/source.h"

/* One table with everything */

enum color {
	COLOR_RED = 1,
	COLOR_DARK_BLUE,
	COLOR_GREEN = 4,
};

static const struct schema_word colors[] = {
	{ .name = "red", .value = COLOR_RED },
	{ .name = "dark-blue", .value = COLOR_DARK_BLUE, .aliases = "navy" },
	{ .name = "green", .value = COLOR_GREEN },
	{ .name = "ultra-violet", .is_later = true },
	{ .name = NULL },
};

static const struct schema_word automatic[] = {
	{ .name = "auto", .value = 0 },
	{ .name = NULL },
};

struct item_config {
	struct schema_meta meta;
	const char *id;
	uint16_t weight;
	const char *note;
};

static const struct schema_row item_rows[] = {
	ROW_ID(struct item_config, id, "Name."),
	ROW_UINT(struct item_config, weight, "weight", 0, 1000, "1", "Weight.", .flags = SCHEMA_PROP),
	ROW_STRING(struct item_config, note, "note", NULL, "Note.", .flags = SCHEMA_ARG),
	ROW_END,
};

static const struct schema_block item_block =
	SCHEMA_BLOCK(struct item_config, "item", item_rows, NULL, "An item.");

struct inner_config {
	struct schema_meta meta;
	uint64_t timeout_ms;
	const char *must;
	unsigned checks;
};

static void inner_check(struct schema *s, void *config)
{
	struct inner_config *c = config;

	(void)s;
	c->checks++;
}

static const struct schema_row inner_rows[] = {
	ROW_DURATION(struct inner_config, timeout_ms, "timeout", SCHEMA_SECONDS, 1, SCHEMA_DAY, "30", "Time.",
		     .aliases = "timeout-ms !timeout-secs"),
	ROW_STRING(struct inner_config, must, "must", NULL, "Must be there.", .flags = SCHEMA_REQUIRED),
	ROW_END,
};

static const struct schema_block inner_block =
	SCHEMA_BLOCK(struct inner_config, "inner", inner_rows, inner_check, "Inner.");

struct tint_config {
	struct schema_meta meta;
	uint32_t depth;
};

static const struct schema_row tint_rows[] = {
	ROW_UINT(struct tint_config, depth, "depth", 1, 9, "3", "Depth."),
	ROW_END,
};

static const struct schema_block tint_block = SCHEMA_BLOCK(struct tint_config, "tint", tint_rows, NULL, "Tint.");
static const struct schema_block blur_block = { .name = "blur", .is_later = true, .rows = tint_rows };
static const struct schema_block *const kinds[] = { &tint_block, &blur_block, NULL };
static const struct schema_variants kind_variants = { .selector = "type", .blocks = kinds };

struct test_config {
	struct schema_meta meta;
	bool flag;
	uint8_t small;
	uint16_t port;
	uint32_t count;
	uint64_t large;
	int32_t level;
	double ratio;
	const char *name, *path, *file, *pattern, *empty, *token, *none;
	enum color color;
	uint32_t color_set;
	uint64_t wait_ms;
	uint32_t pause_ms;
	uint64_t bytes;
	struct value_rate rate;
	union value_addr address;
	struct value_endpoint target;
	struct schema_strings names;
	struct schema_uints codes;
	struct schema_cidrs nets;
	struct schema_map set, add;
	struct inner_config inner;
	struct inner_config *maybe;
	struct item_config *items;
	size_t item_count;
	struct schema_variant *filters;
	size_t filter_count;
	unsigned twice;
	unsigned checks;
};

static const char *pattern_verify(const char *text, struct arena *a)
{
	return strchr(text, '(') && !strchr(text, ')') ? arena_strdup(a, "is not a pattern: missing )") : NULL;
}

static void twice_read(struct schema *s, const struct kdl_node *node, void *member, void *config)
{
	(void)config;
	if (node->arg_count != 1 || node->args[0].type != KDL_INT)
		diag_error(s->diag, node->pos, "not twice");
	else
		*(unsigned *)member = (unsigned)node->args[0].integer * 2;
}

static void test_config_check(struct schema *s, void *config)
{
	struct test_config *c = config;

	c->checks++;
	if (SCHEMA_HAS(c, count) && SCHEMA_HAS(c, large) && c->count > c->large)
		diag_error(s->diag, SCHEMA_POS(c, count), "count is above large");
}

static const struct schema_row group_rows[] = {
	ROW_LIST(struct test_config, items, item_count, "item", &item_block, "Items."),
	ROW_UINT(struct test_config, small, "small", 0, 255, "none", "Small."),
	ROW_END,
};

static const struct schema_row strict_rows[] = {
	ROW_LIST(struct test_config, items, item_count, "one", &item_block, "Items.", .flags = SCHEMA_REQUIRED,
		 .max = 2),
	ROW_END,
};

static const struct schema_row test_rows[] = {
	ROW_BOOL(struct test_config, flag, "flag", "true", "Flag."),
	ROW_UINT(struct test_config, port, "port", 1, 65535, "none", "Port."),
	ROW_UINT(struct test_config, count, "count", 1, 64, "7", "Count.", .words = automatic),
	ROW_UINT(struct test_config, large, "large", 0, INT64_MAX, "0", "Large.", .aliases = "big !huge"),
	ROW_INT(struct test_config, level, "level", -5, 5, "-1", "Level."),
	ROW_FLOAT(struct test_config, ratio, "ratio", 0, 1, "0.5", "Ratio."),
	ROW_STRING(struct test_config, name, "name", "anon", "Name.", .max = 8),
	ROW_STRING(struct test_config, empty, "empty", NULL, "Maybe empty.", .flags = SCHEMA_EMPTY),
	ROW_STRING(struct test_config, token, "token", NULL, "Secret.", .flags = SCHEMA_SECRET, .max = 4,
		   .verify = pattern_verify),
	ROW_STRING(struct test_config, none, "none", "none", "Nothing."),
	ROW_PATH(struct test_config, path, "path", "/run/x", "Path."),
	ROW_FILE(struct test_config, file, "file", NULL, "File."),
	ROW_REGEX(struct test_config, pattern, "pattern", pattern_verify, NULL, "Pattern."),
	ROW_ENUM(struct test_config, color, "color", colors, "green", "Color."),
	ROW_FLAGS(struct test_config, color_set, "colors", colors, "red green", "Colors."),
	ROW_DURATION(struct test_config, wait_ms, "wait-secs", SCHEMA_SECONDS, 0, SCHEMA_HOUR, "1m", "Wait.",
		     .aliases = "wait wait-ms"),
	ROW_DURATION(struct test_config, pause_ms, "pause", SCHEMA_MILLIS, 5, 60000, "none", "Pause."),
	ROW_SIZE(struct test_config, bytes, "bytes", 1, 1 << 30, "64KiB", "Bytes."),
	ROW_RATE(struct test_config, rate, "rate", "100/s", "Rate."),
	ROW_ADDR(struct test_config, address, "address", "none", "Address."),
	ROW_ENDPOINT(struct test_config, target, "target", NULL, "Target."),
	ROW_STRINGS(struct test_config, names, "names", "a b", "Names."),
	ROW_UINTS(struct test_config, codes, "codes", 100, 599, "502 503", "Codes."),
	ROW_CIDRS(struct test_config, nets, "nets", "127.0.0.0/8 ::1", "Networks."),
	ROW_MAP(struct test_config, set, "set", "Set."),
	ROW_MAP(struct test_config, add, "add", "Add.", .flags = SCHEMA_MULTI),
	ROW_BLOCK(struct test_config, inner, "inner", &inner_block, "Inner."),
	ROW_OPTIONAL(struct test_config, maybe, "maybe", &inner_block, "Maybe."),
	ROW_VARIANTS(struct test_config, filters, filter_count, "filter", &kind_variants, "Filters."),
	ROW_GROUP("group", group_rows, "Group.", .flags = SCHEMA_REPEAT),
	ROW_GROUP("strict", strict_rows, "Strict."),
	ROW_CUSTOM(struct test_config, twice, "twice", twice_read, "number", "Twice."),
	ROW_LATER("cache"),
	ROW_END,
};

static const struct schema_block test_block =
	SCHEMA_BLOCK(struct test_config, "test", test_rows, test_config_check, "Test.");

/* Harness */

struct run {
	struct arena arena;
	struct source_set sources;
	struct diag diag;
	struct schema schema;
	struct test_config config;
	struct strbuf out;
	int err;
};

static const char *env_fake(const char *name, void *user)
{
	(void)user;
	if (strcmp(name, "PORT") == 0)
		return "8080";
	return strcmp(name, "YES") == 0 ? "true" : NULL;
}

static void run_init(struct run *r, const char *text)
{
	struct kdl_node *nodes = NULL;

	*r = (struct run){ 0 };
	arena_init(&r->arena, 4096);
	strbuf_init(&r->out);
	source_init(&r->sources, &r->arena);
	r->sources.env = env_fake;
	diag_init(&r->diag, &r->sources);
	schema_init(&r->schema, &r->arena, &r->diag, NULL);
	r->err = source_load_text(&r->sources, "t.kdl", span_str(text), &r->diag, &nodes);
	if (r->err == 0)
		r->err = schema_parse(&r->schema, &test_block, nodes, &r->config);
	diag_print(&r->diag, &r->out);
}

static void run_fini(struct run *r)
{
	schema_fini(&r->schema);
	diag_fini(&r->diag);
	strbuf_fini(&r->out);
	arena_fini(&r->arena);
}

/* The member as the user would write it, after a run without errors. */
static void value_is(const char *text, const char *key, const char *expected)
{
	const struct schema_row *row = schema_row_find(test_rows, span_str(key));
	struct strbuf out;
	struct run r;

	run_init(&r, text);
	if (r.err)
		fail_msg("%s\n%s", text, r.out.ptr);
	assert_non_null(row);
	strbuf_init(&out);
	schema_value_print(row, &r.config, &out);
	if (strcmp(out.ptr, expected))
		print_error("%s\n", text);
	assert_string_equal(out.ptr, expected);
	strbuf_fini(&out);
	run_fini(&r);
}

/* Exactly one error, at line 1 and that column, whose text contains the message. */
static void one_error(const char *text, unsigned col, const char *message)
{
	struct run r;

	run_init(&r, text);
	if (r.err != -EINVAL || r.diag.error_count != 1 || r.diag.items->pos.col != col ||
	    !strstr(r.out.ptr, message))
		fail_msg("%s\nwanted one error at column %u: %s\ngot %u:\n%s", text, col, message,
			 r.diag.error_count, r.out.ptr);
	run_fini(&r);
}

/* Types */

static void test_values_are_read(void **state)
{
	static const struct {
		const char *text, *key, *expected;
	} rows[] = {
		{ "flag #false", "flag", "#false" },
		{ "flag \"${YES}\"", "flag", "#true" },
		{ "port 80", "port", "80" },
		{ "port 0x50", "port", "80" },
		{ "port \"${PORT}\"", "port", "8080" },
		{ "port \"${NOPE:-81}\"", "port", "81" },
		{ "port none", "port", "none" },
		{ "count auto", "count", "0" },
		{ "count \"AUTO\"", "count", "0" },
		{ "count 64", "count", "64" },
		{ "large 9223372036854775807", "large", "9223372036854775807" },
		{ "big 5", "large", "5" },
		{ "level -5", "level", "-5" },
		{ "ratio 0.25", "ratio", "0.25" },
		{ "ratio 1", "ratio", "1" },
		{ "name \"x\"", "name", "\"x\"" },
		{ "name word", "name", "\"word\"" },
		{ "name \"q\\\"\\\\\"", "name", "\"q\\\"\\\\\"" },
		{ "name \"a\\n\\u{1b}[2J\"", "name", "\"a\\n\\u{1b}[2J\"" },
		{ "empty \"\"", "empty", "\"\"" },
		{ "token \"abc\"", "token", "***" },
		{ "none \"none\"", "none", "\"none\"" },
		{ "path \"/a b\"", "path", "\"/a b\"" },
		{ "file \"/etc/passwd\"", "file", "\"/etc/passwd\"" },
		{ "pattern #\"a(b)\\d\"#", "pattern", "\"a(b)\\\\d\"" },
		{ "color red", "color", "red" },
		{ "color dark_blue", "color", "dark-blue" },
		{ "color \"Dark-Blue\"", "color", "dark-blue" },
		{ "color navy", "color", "dark-blue" },
		{ "colors red \"dark-blue\"", "colors", "red dark-blue" },
		{ "wait-secs 5", "wait-secs", "5s" },
		{ "wait-ms 5", "wait-secs", "5ms" },
		{ "wait 5", "wait-secs", "5s" },
		{ "wait 0.5", "wait-secs", "500ms" },
		{ "wait \"1.5s\"", "wait-secs", "1s500ms" },
		{ "wait \"250ms\"", "wait-secs", "250ms" },
		{ "wait-ms \"2m\"", "wait-secs", "2m" },
		{ "wait \"59m30s\"", "wait-secs", "59m30s" },
		{ "wait 0", "wait-secs", "0s" },
		{ "pause \"none\"", "pause", "none" },
		{ "pause 7", "pause", "7ms" },
		{ "bytes 65536", "bytes", "64KiB" },
		{ "bytes \"10MB\"", "bytes", "10MB" },
		{ "bytes \"10MiB\"", "bytes", "10MiB" },
		{ "bytes \"1.5KiB\"", "bytes", "1536" },
		{ "rate \"5/m\"", "rate", "5/m" },
		{ "rate \"5/10s\"", "rate", "5/10s" },
		{ "rate 50", "rate", "50/s" },
		{ "address \"0.0.0.0:80\"", "address", "0.0.0.0:80" },
		{ "address \"[::]:443\"", "address", "[::]:443" },
		{ "address none", "address", "none" },
		{ "target \"web.local:80\"", "target", "web.local:80" },
		{ "target \"[2001:db8::1]:80\"", "target", "[2001:db8::1]:80" },
		{ "names \"x\"", "names", "\"x\"" },
		{ "names x y; names z", "names", "\"x\" \"y\" \"z\"" },
		{ "codes 500 504", "codes", "500 504" },
		{ "nets \"10.0.0.0/8\" \"2001:db8::/32\" \"1.2.3.4\"", "nets", "10.0.0.0/8 2001:db8::/32 1.2.3.4/32" },
		{ "set { A \"1x\"; \"B c\" \"\" }", "set", "{ \"A\" \"1x\"; \"B c\" \"\"; }" },
		{ "set A=x B=y", "set", "{ \"A\" \"x\"; \"B\" \"y\"; }" },
		{ "add { A x; A y }", "add", "{ \"A\" \"x\"; \"A\" \"y\"; }" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		value_is(rows[i].text, rows[i].key, rows[i].expected);
}

static const struct wrong_row {
	const char *text;
	unsigned col;
	const char *message;
} wrong_rows[] = {
	{ "flag 1", 6, "\"flag\" takes #true or #false, not a whole number" },
	{ "flag \"true\"", 6, "hint: booleans are #true and #false" },
	{ "flag \"${PORT}\"", 6, "\"8080\" is not true or false" },
	{ "port \"80\"", 6, "hint: write it without quotes" },
	{ "port 0", 6, "\"port\" must be from 1 to 65535, not 0" },
	{ "port 65536", 6, "must be from 1 to 65535" },
	{ "port -1", 6, "not -1" },
	{ "port 99999999999999999999", 6, "not 99999999999999999999" },
	{ "port 1.5", 6, "takes a whole number, not a number" },
	{ "port #null", 6, "not null" },
	{ "port \"${YES}\"", 6, "\"true\" is not a whole number" },
	{ "count autoo", 7, "did you mean \"auto\"?" },
	{ "level 6", 7, "from -5 to 5" },
	{ "ratio 1.5", 7, "from 0 to 1" },
	{ "ratio #nan", 7, "from 0 to 1" },
	{ "ratio x", 7, "takes a number" },
	{ "name 5", 6, "hint: write it in quotes" },
	{ "name \"\"", 6, "must not be empty" },
	{ "name \"123456789\"", 6, "longer than 8 bytes" },
	{ "name \"a\\u{0}b\"", 6, "NUL" },
	{ "file \"/nonexistent/x\"", 6, "cannot read /nonexistent/x: no such file or directory" },
	{ "file \"/etc\"", 6, "not a regular file" },
	{ "pattern \"a(b\"", 9, "\"a(b\" is not a pattern: missing )" },
	{ "color blu", 7, "hint: one of \"red\", \"dark-blue\", \"green\"" },
	{ "color darkblue", 7, "did you mean \"dark-blue\"?" },
	{ "color ultra_violet", 7, "\"ultra-violet\" is not in this version of Sentinel" },
	{ "color 1", 7, "takes a word" },
	{ "colors red gren", 12, "did you mean \"green\"?" },
	{ "wait -1", 6, "from 0s to 1h" },
	{ "wait \"2h\"", 6, "from 0s to 1h, not 2h" },
	{ "wait \"5 s\"", 6, "is not a duration" },
	{ "wait \"5x\"", 6, "is not a duration" },
	{ "wait \"\"", 6, "is not a duration" },
	{ "wait \"1s1m\"", 6, "is not a duration" },
	{ "wait 0.0001", 6, "is not a duration" },
	{ "wait #true", 6, "not a boolean" },
	{ "wait 99999999999999999999", 6, "from 0s to 1h" },
	{ "bytes 0", 7, "from 1 to 1GiB" },
	{ "bytes \"10M\"", 7, "is not a size" },
	{ "bytes \"2GiB\"", 7, "from 1 to 1GiB" },
	{ "bytes \"99999999TiB\"", 7, "from 1 to 1GiB" },
	{ "rate \"5/x\"", 6, "is not a rate" },
	{ "rate \"/s\"", 6, "is not a rate" },
	{ "rate \"5/0s\"", 6, "is not a rate" },
	{ "address \"localhost:80\"", 9, "is not an address" },
	{ "address \"1.2.3.4\"", 9, "is not an address" },
	{ "address \"1.2.3.4:0\"", 9, "port of \"address\" must be from 1" },
	{ "address \"1.2.3.4:99999\"", 9, "port of \"address\"" },
	{ "address \"::1:80\"", 9, "is not an address" },
	{ "address 80", 9, "takes an address" },
	{ "target \"host\"", 8, "is not an address" },
	{ "target \"1.2.3:80\"", 8, "is not an address" },
	{ "target \"-a:80\"", 8, "is not an address" },
	{ "target \"a..b:80\"", 8, "is not an address" },
	{ "nets \"10.0.0.1/8\"", 6, "did you mean \"10.0.0.0/8\"?" },
	{ "nets \"10.0.0.0/33\"", 6, "is not a network" },
	{ "nets \"host\"", 6, "is not a network" },
	{ "nets \"::ffff:1.2.3.4\"", 6, "is not a network" },
	{ "codes 99", 7, "from 100 to 599" },
	{ "codes 500 x", 11, "takes a whole number" },
	{ "set { A 1 }", 9, "takes a string" },
	{ "set { A \"x\"; A \"y\" }", 14, "\"A\" is written twice in set" },
	{ "set { A }", 7, "\"A\" takes one value" },
	{ "set \"x\"", 1, "takes a block of names and values" },
	{ "twice \"x\"", 1, "not twice" },
};

static void test_wrong_values_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong_rows); i++)
		one_error(wrong_rows[i].text, wrong_rows[i].col, wrong_rows[i].message);
}

static void test_shapes_of_nodes_are_checked(void **state)
{
	(void)state;
	one_error("port", 1, "\"port\" takes one value");
	one_error("port 1 2", 1, "\"port\" takes one value");
	one_error("port 1 a=2", 1, "\"port\" takes one value");
	one_error("port 1 { a }", 1, "\"port\" takes one value");
	one_error("names", 1, "\"names\" takes one or more values");
	one_error("port 1; port 2", 9, "\"port\" is written twice in test");
	one_error("large 1; big 2", 10, "t.kdl:1:1: note: it was first written here");
	one_error("group 1", 1, "takes a block");
	one_error("inner 1 { must x }", 7, "inner takes no value here");
	one_error("group { item a b c }", 18, "item takes no further value here");
	one_error("group { item a color=red }", 16, "unknown key \"color\" in item");
	one_error("group { item a note=x }", 16, "cannot be written as a property");
	one_error("group { item a weight=x }", 23, "takes a whole number");
	one_error("group { item }", 9, "\"id\" is missing in item");
	one_error("group { item }", 9, "hint: it is a value on the line itself: item \"...\"");
	one_error("group { item a { id b } }", 18, "unknown key \"id\"");
}

static void test_unknown_and_later_keys(void **state)
{
	(void)state;
	one_error("prot 80", 1, "hint: did you mean \"port\"?");
	one_error("wait_secs 80", 1, "hint: did you mean \"wait-secs\"?");
	one_error("item a", 1, "hint: write it inside \"group\"");
	one_error("zzzzzz 1", 1, "unknown key \"zzzzzz\" in test");
	one_error("cache { size 1 }", 1, "\"cache\" is not in this version of Sentinel");
}

static void test_deprecated_spelling_warns(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, "huge 5");
	assert_int_equal(r.err, 0);
	assert_int_equal(r.config.large, 5);
	assert_int_equal(r.diag.warning_count, 1);
	assert_non_null(strstr(r.out.ptr, "\"huge\" is deprecated, write \"large\""));
	run_fini(&r);
}

/* Blocks */

static void test_defaults_are_values_of_their_rows(void **state)
{
	static const struct {
		const char *key, *expected;
	} rows[] = {
		{ "flag", "#true" },
		{ "port", "none" },
		{ "count", "7" },
		{ "level", "-1" },
		{ "ratio", "0.5" },
		{ "name", "\"anon\"" },
		{ "none", "none" },
		{ "color", "green" },
		{ "colors", "red green" },
		{ "wait-secs", "1m" },
		{ "pause", "none" },
		{ "bytes", "64KiB" },
		{ "rate", "100/s" },
		{ "address", "none" },
		{ "target", "none" },
		{ "names", "\"a\" \"b\"" },
		{ "codes", "502 503" },
		{ "nets", "127.0.0.0/8 ::1/128" },
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		value_is("", rows[i].key, rows[i].expected);
	run_init(&r, "");
	assert_int_equal(r.config.inner.timeout_ms, 30000);
	assert_false(schema_is_present(&r.config.inner.meta));
	assert_int_equal(r.config.inner.checks, 0);
	assert_null(r.config.maybe);
	assert_int_equal(r.config.checks, 1);
	run_fini(&r);
}

static void test_a_default_that_does_not_parse_is_an_error(void **state)
{
	static const struct schema_row rows[] = {
		ROW_UINT(struct tint_config, depth, "depth", 1, 9, "12", "Depth."),
		ROW_END,
	};
	static const struct schema_block block = SCHEMA_BLOCK(struct tint_config, "tint", rows, NULL, "Tint.");
	struct tint_config config;
	struct run r;

	(void)state;
	run_init(&r, "");
	assert_int_equal(schema_defaults(&r.schema, &test_block, &r.config), 0);
	assert_int_equal(schema_defaults(&r.schema, &block, &config), -EINVAL);
	run_fini(&r);
}

static void test_required_rows(void **state)
{
	(void)state;
	one_error("inner { timeout 5 }", 1, "\"must\" is missing in inner");
	one_error("maybe", 1, "\"must\" is missing in inner");
	one_error("strict { }", 1, "\"one\" is missing in strict");
	one_error("strict { one a; one b; one c }", 24, "more than 2 of \"one\" in strict");
}

static void test_blocks_and_marks(void **state)
{
	struct test_config *c;
	struct run r;

	(void)state;
	run_init(&r, "port 80\ninner {\n  must x\n  timeout-ms 1500\n}\nmaybe {\n  must y\n}");
	c = &r.config;
	assert_string_equal(r.out.ptr, "");
	assert_true(SCHEMA_HAS(c, port));
	assert_false(SCHEMA_HAS(c, count));
	assert_int_equal(SCHEMA_POS(c, port).line, 1);
	assert_int_equal(c->inner.timeout_ms, 1500);
	assert_int_equal(c->inner.checks, 1);
	assert_int_equal(c->inner.meta.pos.line, 2);
	assert_int_equal(SCHEMA_POS(&c->inner, timeout_ms).line, 4);
	assert_non_null(c->maybe);
	assert_string_equal(c->maybe->must, "y");
	assert_int_equal(c->maybe->timeout_ms, 30000);
	assert_int_equal(SCHEMA_POS(c->maybe, timeout_ms).line, 6); /* default: the block's place */
	run_fini(&r);
}

static void test_lists_groups_and_ids(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, "group { item a weight=5; item b \"n\" { weight 6 } }\n"
		     "group { item c { note z }; item d; small 3 }\nport 1");
	assert_string_equal(r.out.ptr, "");
	assert_int_equal(r.config.item_count, 4);
	assert_string_equal(r.config.items[0].id, "a");
	assert_int_equal(r.config.items[0].weight, 5);
	assert_string_equal(r.config.items[1].note, "n");
	assert_int_equal(r.config.items[1].weight, 6);
	assert_string_equal(r.config.items[2].note, "z");
	assert_int_equal(r.config.items[3].weight, 1);
	assert_int_equal(r.config.items[3].meta.pos.line, 2);
	assert_true(SCHEMA_HAS(&r.config, small)); /* a row of a group */
	assert_true(SCHEMA_HAS(&r.config, items));
	run_fini(&r);
	one_error("group { item a; item b; item a }", 30, "item \"a\" is defined twice");
	one_error("group { small 1 }; group { small 2 }", 28, "\"small\" is written twice in group");
}

static void test_variants(void **state)
{
	struct tint_config *tint;
	struct run r;

	(void)state;
	run_init(&r, "filter a { type tint; depth 4 }\nfilter b type=tint");
	assert_string_equal(r.out.ptr, "");
	assert_int_equal(r.config.filter_count, 2);
	assert_string_equal(r.config.filters[0].id, "a");
	assert_ptr_equal(r.config.filters[0].block, &tint_block);
	tint = r.config.filters[0].config;
	assert_int_equal(tint->depth, 4);
	tint = r.config.filters[1].config;
	assert_int_equal(tint->depth, 3);
	run_fini(&r);

	one_error("filter a { depth 4 }", 1, "\"type\" is missing in filter");
	one_error("filter a { type tnit }", 17, "did you mean \"tint\"?");
	one_error("filter a { type blur }", 17, "\"blur\" is not in this version of Sentinel");
	one_error("filter { type tint }", 1, "\"id\" is missing in filter");
	one_error("filter a { type tint; type tint }", 23, "\"type\" is written twice");
	one_error("filter a { type tint; with 1 }", 23, "unknown key \"with\" in tint");
	one_error("filter a b { type tint }", 10, "takes no further value");
	one_error("filter a type=tint; filter a type=tint", 28, "filter \"a\" is defined twice");
}

static void test_checks_run_after_wrong_rows(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, "count 50; large 10; port x");
	assert_int_equal(r.diag.error_count, 2);
	assert_non_null(strstr(r.out.ptr, "t.kdl:1:1: error: count is above large"));
	assert_true(SCHEMA_HAS(&r.config, port));
	assert_false(SCHEMA_HAS_VALID(&r.config, port));
	assert_true(SCHEMA_HAS_VALID(&r.config, count));
	run_fini(&r);
}

static void test_lines_with_secrets_are_not_shown(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, "token \"hunter2\"");
	assert_int_equal(r.diag.error_count, 1);
	assert_non_null(strstr(r.out.ptr, "\"token\" is longer than 4 bytes"));
	assert_null(strstr(r.out.ptr, "hunter2"));
	run_fini(&r);
	run_init(&r, "token \"hun(\"");
	assert_int_equal(r.diag.error_count, 1);
	assert_non_null(strstr(r.out.ptr, "the value of \"token\" is not a pattern"));
	assert_null(strstr(r.out.ptr, "hun("));
	run_fini(&r);
}

static void test_long_lists_keep_every_element(void **state)
{
	struct strbuf text;
	struct run r;

	(void)state;
	strbuf_init(&text);
	strbuf_add_str(&text, "group {\n");
	for (unsigned i = 0; i < 3000; i++)
		strbuf_printf(&text, "item \"i%u\" weight=%u\n", i, i % 1000);
	strbuf_add_str(&text, "}\n");
	run_init(&r, text.ptr);
	assert_int_equal(r.err, 0);
	assert_int_equal(r.config.item_count, 3000);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(r.config.items[i].weight, i % 1000);
	run_fini(&r);
	strbuf_fini(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_read),
		cmocka_unit_test(test_wrong_values_are_refused),
		cmocka_unit_test(test_shapes_of_nodes_are_checked),
		cmocka_unit_test(test_unknown_and_later_keys),
		cmocka_unit_test(test_deprecated_spelling_warns),
		cmocka_unit_test(test_defaults_are_values_of_their_rows),
		cmocka_unit_test(test_a_default_that_does_not_parse_is_an_error),
		cmocka_unit_test(test_required_rows),
		cmocka_unit_test(test_blocks_and_marks),
		cmocka_unit_test(test_lists_groups_and_ids),
		cmocka_unit_test(test_variants),
		cmocka_unit_test(test_checks_run_after_wrong_rows),
		cmocka_unit_test(test_lines_with_secrets_are_not_shown),
		cmocka_unit_test(test_long_lists_keep_every_element),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
