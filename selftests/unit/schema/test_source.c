/* SPDX-License-Identifier: GPL-2.0-only */
/* test_source.c - include and environment: what is joined, in which order, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "schema/source.h"

struct tree {
	char dir[64];
	struct arena arena;
	struct source_set sources;
	struct diag diag;
	struct kdl_node *nodes;
	struct strbuf names; /* of all nodes, depth first, with their files */
	struct strbuf text;  /* diagnostics */
};

static const char *env_fake(const char *name, void *user)
{
	(void)user;
	if (strcmp(name, "HOST") == 0)
		return "example.org";
	return strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	snprintf(t->dir, sizeof(t->dir), "/tmp/test_source.XXXXXX");
	if (!mkdtemp(t->dir))
		return -1;
	arena_init(&t->arena, 4096);
	source_init(&t->sources, &t->arena);
	t->sources.env = env_fake;
	diag_init(&t->diag, &t->sources);
	strbuf_init(&t->names);
	strbuf_init(&t->text);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", t->dir);
	if (system(command) != 0)
		return -1;
	diag_fini(&t->diag);
	arena_fini(&t->arena);
	strbuf_fini(&t->names);
	strbuf_fini(&t->text);
	free(t);
	return 0;
}

static void file_put(struct tree *t, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", t->dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void dir_put(struct tree *t, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->dir, name);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void names_add(struct tree *t, const struct kdl_node *nodes)
{
	for (const struct kdl_node *n = nodes; n; n = n->next) {
		const char *file = source_path(&t->sources, n->pos.file);

		strbuf_printf(&t->names, SPAN_FMT "(%s:%u)", SPAN_ARG(n->name), strrchr(file, '/') + 1, n->pos.line);
		if (n->children) {
			strbuf_add_char(&t->names, '{');
			names_add(t, n->children);
			strbuf_add_char(&t->names, '}');
		}
	}
}

static int load(struct tree *t, const char *name)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), "%s/%s", t->dir, name);
	err = source_load(&t->sources, path, &t->diag, &t->nodes);
	names_add(t, t->nodes);
	diag_print(&t->diag, &t->text);
	return err;
}

static void test_include_is_replaced_in_sorted_order(void **state)
{
	struct tree *t = *state;

	dir_put(t, "conf.d");
	file_put(t, "main.kdl", "a\ninclude \"conf.d/*.kdl\"\n"
				"block {\n  include \"inner.kdl\" \"conf.d/20-x.kdl\"\n  z\n}\n");
	file_put(t, "conf.d/20-x.kdl", "x\n");
	file_put(t, "conf.d/10-y.kdl", "y1\ny2\ninclude \"deep.inc\"\n");
	file_put(t, "conf.d/deep.inc", "deep\n");
	file_put(t, "conf.d/ignored.txt", "no\n");
	file_put(t, "inner.kdl", "i\n");
	assert_int_equal(load(t, "main.kdl"), 0);
	assert_string_equal(t->text.ptr, "");
	assert_string_equal(t->names.ptr, "a(main.kdl:1)y1(10-y.kdl:1)y2(10-y.kdl:2)deep(deep.inc:1)x(20-x.kdl:1)"
					  "block(main.kdl:3){i(inner.kdl:1)x(20-x.kdl:1)z(main.kdl:5)}");
	assert_int_equal(t->sources.file_count, 6);
}

static void test_first_and_last_node_may_be_an_include(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "include \"e.kdl\"; include \"a.kdl\"; include \"e.kdl\"");
	file_put(t, "e.kdl", "// nothing\n");
	file_put(t, "a.kdl", "a\n");
	assert_int_equal(load(t, "main.kdl"), 0);
	assert_string_equal(t->names.ptr, "a(a.kdl:1)");
}

static void test_cycle_shows_its_chain(void **state)
{
	struct tree *t = *state;
	char expected[512];

	file_put(t, "main.kdl", "include \"a.kdl\"\n");
	file_put(t, "a.kdl", "x\nblock {\n  include \"b.kdl\"\n}\n");
	file_put(t, "b.kdl", "include \"./a.kdl\"\n");
	assert_int_equal(load(t, "main.kdl"), -ELOOP);
	snprintf(expected, sizeof(expected),
		 "%s/b.kdl:1:9: error: circular include: %s/a.kdl includes %s/b.kdl includes %s/./a.kdl\n", t->dir,
		 t->dir, t->dir, t->dir);
	assert_memory_equal(t->text.ptr, expected, strlen(expected));
	assert_int_equal(t->diag.error_count, 1);
}

static void test_file_that_includes_itself(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "include \"*.kdl\"\n");
	assert_int_equal(load(t, "main.kdl"), -ELOOP);
	assert_non_null(strstr(t->text.ptr, "circular include"));
}

static void test_long_chain_is_refused(void **state)
{
	struct tree *t = *state;

	for (unsigned i = 0; i < SOURCE_DEPTH_MAX + 1; i++) {
		char name[32], text[64];

		snprintf(name, sizeof(name), "%u.kdl", i);
		snprintf(text, sizeof(text), "include \"%u.kdl\"\n", i + 1);
		file_put(t, name, text);
	}
	assert_int_equal(load(t, "0.kdl"), -ELOOP);
	assert_non_null(strstr(t->text.ptr, "more than 16 files include each other"));
}

static void test_exponential_includes_are_bounded(void **state)
{
	struct tree *t = *state;

	for (unsigned i = 0; i < 12; i++) {
		char name[32], text[64];

		snprintf(name, sizeof(name), "%u.kdl", i);
		snprintf(text, sizeof(text), "include \"%u.kdl\" \"%u.kdl\"\n", i + 1, i + 1);
		file_put(t, name, text);
	}
	file_put(t, "12.kdl", "x\n");
	assert_int_equal(load(t, "0.kdl"), -E2BIG);
	assert_true(t->sources.file_count <= SOURCE_FILES_MAX);
}

static void test_pattern_without_match_warns(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "a\ninclude \"none/*.kdl\"\nb\n");
	assert_int_equal(load(t, "main.kdl"), 0);
	assert_string_equal(t->names.ptr, "a(main.kdl:1)b(main.kdl:3)");
	assert_int_equal(t->diag.warning_count, 1);
	assert_non_null(strstr(t->text.ptr, "main.kdl:2:9: warning: no file matches"));
}

static void test_plain_name_must_exist(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "include \"none.kdl\"\ninclude \"also-none.kdl\"\n");
	assert_int_equal(load(t, "main.kdl"), -ENOENT);
	assert_int_equal(t->diag.error_count, 2);
	assert_non_null(strstr(t->text.ptr, "none.kdl: no such file or directory"));
}

static void test_wrong_includes_are_refused(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "include\ninclude 5\ninclude \"\"\ninclude \"x\" { y }\ninclude \"..\"\n");
	assert_int_not_equal(load(t, "main.kdl"), 0);
	assert_int_equal(t->diag.error_count, 5);
	assert_non_null(strstr(t->text.ptr, "main.kdl:5:9: error: cannot read"));
}

static void test_errors_of_all_files_are_reported(void **state)
{
	struct tree *t = *state;

	file_put(t, "main.kdl", "include \"?.kdl\"\n");
	file_put(t, "a.kdl", "a {\n");
	file_put(t, "b.kdl", "b\nb #b\n");
	assert_int_equal(load(t, "main.kdl"), -EINVAL);
	assert_int_equal(t->diag.error_count, 2);
	assert_non_null(strstr(t->text.ptr, "a.kdl:1:3: error: this { is never closed"));
	assert_non_null(strstr(t->text.ptr, "b.kdl:2:3: error: unknown keyword"));
	assert_null(t->nodes);
}

static void test_missing_file(void **state)
{
	struct tree *t = *state;

	assert_int_equal(load(t, "none.kdl"), -ENOENT);
	assert_memory_equal(t->text.ptr, "error: cannot read ", 19);
}

static void test_environment_is_filled_in(void **state)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "n \"${HOST}\"", "example.org" },
		{ "n \"http://${HOST}:80/\"", "http://example.org:80/" },
		{ "n \"${NOPE:-x y}\"", "x y" },
		{ "n \"${EMPTY:-x}\"", "x" },
		{ "n \"${EMPTY}\"", "" },
		{ "n \"${HOST:-x}${NOPE:-}\"", "example.org" },
		{ "n \"$${HOST}\"", "${HOST}" },
		{ "n \"$HOST $ {HOST} $$\"", "$HOST $ {HOST} $$" },
		{ "n #\"${HOST}\"#", "${HOST}" },
		{ "n \"\"\"\n  ${HOST}\n  \"\"\"", "example.org" },
	};
	struct tree *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int err = source_load_text(&t->sources, "m", span_str(rows[i].text), &t->diag, &t->nodes);

		if (err)
			fail_msg("%s", rows[i].text);
		assert_string_equal(t->nodes->args[0].text.ptr, rows[i].expected);
		assert_int_equal(t->nodes->args[0].text.len, strlen(rows[i].expected));
	}
	assert_int_equal(source_load_text(&t->sources, "m", SPAN("n k=\"${HOST}\" {\n c \"${HOST}\" \n}"), &t->diag,
					  &t->nodes), 0);
	assert_string_equal(t->nodes->props[0].value.text.ptr, "example.org");
	assert_true(t->nodes->props[0].value.is_substituted);
	assert_string_equal(t->nodes->children->args[0].text.ptr, "example.org");
}

static void test_wrong_variables_are_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{ "\n  n \"${NOPE}\"", "m:2:5: error: the environment variable NOPE is not set\n" },
		{ "\n  n \"${}\"", "m:2:5: error: ${} is no variable\n" },
		{ "\n  n \"${1A}\"", "m:2:5: error: ${1A} is no variable\n" },
		{ "\n  n \"${HOST-x}\"", "m:2:5: error: ${HOST-x} is no variable\n" },
		{ "\n  n \"a${HOST\"", "m:2:5: error: ${ has no }\n" },
	};
	struct tree *t = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct diag d;

		diag_init(&d, &t->sources);
		t->sources.file_count = 0;
		strbuf_reset(&t->text);
		assert_int_equal(source_load_text(&t->sources, "m", span_str(rows[i].text), &d, &t->nodes), -EINVAL);
		diag_print(&d, &t->text);
		if (strncmp(t->text.ptr, rows[i].message, strlen(rows[i].message)))
			fail_msg("%s\n%s", rows[i].text, t->text.ptr);
		diag_fini(&d);
	}
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_TEST(test_include_is_replaced_in_sorted_order),
		SOURCE_TEST(test_first_and_last_node_may_be_an_include),
		SOURCE_TEST(test_cycle_shows_its_chain),
		SOURCE_TEST(test_file_that_includes_itself),
		SOURCE_TEST(test_long_chain_is_refused),
		SOURCE_TEST(test_exponential_includes_are_bounded),
		SOURCE_TEST(test_pattern_without_match_warns),
		SOURCE_TEST(test_plain_name_must_exist),
		SOURCE_TEST(test_wrong_includes_are_refused),
		SOURCE_TEST(test_errors_of_all_files_are_reported),
		SOURCE_TEST(test_missing_file),
		SOURCE_TEST(test_environment_is_filled_in),
		SOURCE_TEST(test_wrong_variables_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
