/* SPDX-License-Identifier: GPL-2.0-only */
/* test_diag.c - what an operator sees: order, excerpts, carets, hints, limits, JSON. */
#include <errno.h>
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

struct web_config {
	struct schema_meta meta;
	const char *id;
	union value_addr address;
	unsigned protocol;
	uint64_t timeout_ms;
	const char *route;
};

struct root_config {
	struct schema_meta meta;
	struct web_config *listeners;
	size_t listener_count;
	uint32_t threads;
};

static const struct schema_word protocols[] = {
	{ .name = "http" },
	{ .name = "https", .is_later = true },
	{ .name = NULL },
};

static const struct schema_row web_rows[] = {
	ROW_ID(struct web_config, id, "Name."),
	ROW_ADDR(struct web_config, address, "address", NULL, "Where to listen.", .flags = SCHEMA_REQUIRED),
	ROW_ENUM(struct web_config, protocol, "protocol", protocols, "http", "Protocol."),
	ROW_DURATION(struct web_config, timeout_ms, "request-timeout-secs", SCHEMA_SECONDS, 1, SCHEMA_HOUR, "60",
		     "Time."),
	ROW_STRING(struct web_config, route, "default-route", NULL, "Route."),
	ROW_END,
};

static const struct schema_block web_block =
	SCHEMA_BLOCK(struct web_config, "listener", web_rows, NULL, "A listener.");

static const struct schema_row listeners_rows[] = {
	ROW_LIST(struct root_config, listeners, listener_count, "listener", &web_block, "A listener."),
	ROW_END,
};

static void root_check(struct schema *s, void *config)
{
	struct root_config *c = config;

	for (size_t i = 0; i < c->listener_count; i++) {
		if (c->listeners[i].route)
			diag_error(s->diag, SCHEMA_POS(&c->listeners[i], route), "there is no route \"%s\"",
				   c->listeners[i].route);
	}
}

static const struct schema_row root_rows[] = {
	ROW_UINT(struct root_config, threads, "worker-threads", 0, 1024, "0", "Threads."),
	ROW_GROUP("listeners", listeners_rows, "Listeners.", .flags = SCHEMA_REQUIRED),
	ROW_END,
};

static const struct schema_block root_block =
	SCHEMA_BLOCK(struct root_config, "the configuration", root_rows, root_check, "All.");

static const char five_mistakes[] =
	"worker-threads 4096\n"
	"listeners {\n"
	"\tlistener \"web\" {\n"
	"\t\tadress \"0.0.0.0:80\"\n"
	"\t\tprotocol \"htp\"\n"
	"\t\trequest-timeout-secs #true\n"
	"\t\tdefault-route \"main\"\n"
	"\t}\n"
	"}\n";

static const char five_answers[] =
	"sentinel.kdl:1:16: error: \"worker-threads\" must be from 0 to 1024, not 4096\n"
	"    worker-threads 4096\n"
	"                   ^~~~\n"
	"sentinel.kdl:3:2: error: \"address\" is missing in listener\n"
	"     listener \"web\" {\n"
	"     ^~~~~~~~\n"
	"sentinel.kdl:4:3: error: unknown key \"adress\" in listener\n"
	"      adress \"0.0.0.0:80\"\n"
	"      ^~~~~~\n"
	"  hint: did you mean \"address\"?\n"
	"sentinel.kdl:5:12: error: \"htp\" is not a value of \"protocol\"\n"
	"      protocol \"htp\"\n"
	"               ^~~~~\n"
	"  hint: did you mean \"http\"?\n"
	"sentinel.kdl:6:24: error: \"request-timeout-secs\" takes a duration like \"250ms\", \"1.5s\" or \"2m\","
	" not a boolean\n"
	"      request-timeout-secs #true\n"
	"                           ^~~~~\n"
	"sentinel.kdl:7:3: error: there is no route \"main\"\n"
	"      default-route \"main\"\n"
	"      ^~~~~~~~~~~~~\n";

static void parse_and_print(const char *text, bool is_json, struct strbuf *out)
{
	struct kdl_node *nodes = NULL;
	struct root_config config;
	struct source_set sources;
	struct schema schema;
	struct arena arena;
	struct diag diag;

	arena_init(&arena, 4096);
	source_init(&sources, &arena);
	diag_init(&diag, &sources);
	schema_init(&schema, &arena, &diag, NULL);
	if (source_load_text(&sources, "sentinel.kdl", span_str(text), &diag, &nodes) == 0)
		(void)schema_parse(&schema, &root_block, nodes, &config);
	if (is_json)
		diag_print_json(&diag, out);
	else
		diag_print(&diag, out);
	schema_fini(&schema);
	diag_fini(&diag);
	arena_fini(&arena);
}

static void test_all_mistakes_of_a_file_are_printed_in_order(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	parse_and_print(five_mistakes, false, &out);
	assert_string_equal(out.ptr, five_answers);
	strbuf_fini(&out);
}

static void test_missing_top_level_block_names_the_file_only(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	parse_and_print("worker-threads 1", false, &out);
	assert_string_equal(out.ptr, "sentinel.kdl: error: \"listeners\" is missing in the configuration\n");
	strbuf_fini(&out);
}

static void test_syntax_error_is_shown(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	parse_and_print("listeners {\n  listener \"a\" true\n", false, &out);
	assert_string_equal(out.ptr, "sentinel.kdl:2:16: error: true must be quoted to be a string\n"
				     "      listener \"a\" true\n"
				     "                   ^~~~\n"
				     "  hint: keywords start with #: #true, #false, #null\n");
	strbuf_fini(&out);
}

static void test_json(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	parse_and_print("worker-threds 1\nlisteners {\n}\n", true, &out);
	assert_string_equal(out.ptr,
			    "{\"errors\":1,\"warnings\":0,"
			    "\"error\":\"sentinel.kdl:1:1: unknown key \\\"worker-threds\\\" in the configuration\","
			    "\"diagnostics\":[{\"severity\":\"error\","
			    "\"file\":\"sentinel.kdl\",\"line\":1,\"col\":1,\"width\":13,"
			    "\"message\":\"unknown key \\\"worker-threds\\\" in the configuration\","
			    "\"hint\":\"did you mean \\\"worker-threads\\\"?\"}]}");
	strbuf_fini(&out);
}

static void test_errors_are_bounded_and_counted(void **state)
{
	struct strbuf out;
	struct diag d;

	(void)state;
	strbuf_init(&out);
	diag_init(&d, NULL);
	for (unsigned i = 0; i < DIAG_ERRORS_MAX + 7; i++) {
		struct diag_item *item = diag_error(&d, (struct schema_pos){ 0 }, "no %u", i);

		diag_hint(&d, item, "hint");
		diag_note(&d, item, (struct schema_pos){ 0 }, "note");
		diag_suggest(&d, item, SPAN("x"), NULL, 0);
		assert_true(!item == (i >= DIAG_ERRORS_MAX));
	}
	(void)diag_warning(&d, (struct schema_pos){ 0 }, "still kept");
	diag_print(&d, &out);
	assert_int_equal(d.error_count, DIAG_ERRORS_MAX + 7);
	assert_non_null(strstr(out.ptr, "error: no 99\n"));
	assert_null(strstr(out.ptr, "error: no 100\n"));
	assert_non_null(strstr(out.ptr, "warning: still kept\n"));
	assert_non_null(strstr(out.ptr, "... and 7 more errors\n"));
	diag_fini(&d);
	strbuf_fini(&out);
}

/* One error at line 1, column col of a text. */
static void excerpt(const char *text, uint32_t col, uint32_t width, struct strbuf *out)
{
	struct source_set sources;
	struct kdl_node *nodes;
	struct arena arena;
	struct diag d;

	arena_init(&arena, 4096);
	source_init(&sources, &arena);
	diag_init(&d, &sources);
	assert_int_equal(source_load_text(&sources, "f", span_str(text), &d, &nodes), 0);
	diag_error(&d, (struct schema_pos){ .file = 1, .line = 1, .col = col, .width = width }, "x\x1b[2Jy");
	diag_print(&d, out);
	diag_fini(&d);
	arena_fini(&arena);
}

static void test_long_lines_are_cut_around_the_place(void **state)
{
	struct strbuf text, out;

	(void)state;
	strbuf_init(&text);
	strbuf_init(&out);
	strbuf_add_str(&text, "node \"");
	for (unsigned i = 0; i < 5000; i++)
		strbuf_add_str(&text, "\xc3\xa9");
	strbuf_add_str(&text, "\"");
	excerpt(text.ptr, 3000, 4000, &out);
	assert_true(out.len < 700);
	assert_non_null(strstr(out.ptr, "^~~~"));
	strbuf_fini(&text);
	strbuf_fini(&out);
}

static void test_no_control_bytes_reach_the_terminal(void **state)
{
	struct strbuf out;

	(void)state;
	strbuf_init(&out);
	excerpt("a\t\xc3\xa9 b", 5, 1, &out);
	assert_string_equal(out.ptr, "f:1:5: error: x?[2Jy\n    a \xc3\xa9 b\n        ^\n");
	strbuf_fini(&out);
}

static void test_suggestions_are_close(void **state)
{
	static const char *const names[] = { "address", "protocol", "max-connections", "keepalive-timeout-secs", "id" };
	static const struct {
		const char *word, *closest;
	} rows[] = {
		{ "adress", "address" },
		{ "addresss", "address" },
		{ "adrdess", "address" },
		{ "Protocol", "protocol" },
		{ "max_connections", "max-connections" },
		{ "max-conections", "max-connections" },
		{ "keepalive-timeout", "keepalive-timeout-secs" },
		{ "is", "id" },
		{ "x", NULL },
		{ "zzz", NULL },
		{ "", NULL },
		{ "something-else", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *closest = diag_closest(span_str(rows[i].word), names, ARRAY_LEN(names));

		if (!rows[i].closest && closest)
			fail_msg("%s suggests %s", rows[i].word, closest);
		if (rows[i].closest)
			assert_string_equal(closest ? closest : "(none)", rows[i].closest);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_mistakes_of_a_file_are_printed_in_order),
		cmocka_unit_test(test_missing_top_level_block_names_the_file_only),
		cmocka_unit_test(test_syntax_error_is_shown),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_errors_are_bounded_and_counted),
		cmocka_unit_test(test_long_lines_are_cut_around_the_place),
		cmocka_unit_test(test_no_control_bytes_reach_the_terminal),
		cmocka_unit_test(test_suggestions_are_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
