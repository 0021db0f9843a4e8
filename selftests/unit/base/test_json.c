/* SPDX-License-Identifier: GPL-2.0-only */
/* test_json.c - escaping, nesting and numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "aborts.h"
#include "base/json.h"

static void assert_escaped(struct span in, const char *expected)
{
	struct strbuf b = { 0 };

	json_escape(&b, in);
	assert_string_equal(b.ptr, expected);
	strbuf_fini(&b);
}

static void test_escapes_quotes_and_controls(void **state)
{
	(void)state;
	assert_escaped(SPAN(""), "\"\"");
	assert_escaped(span_str(NULL), "\"\"");
	assert_escaped(SPAN("a\"b\\c/d"), "\"a\\\"b\\\\c/d\"");
	assert_escaped(SPAN("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
	assert_escaped(SPAN("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\"");
}

/* Each byte that needs care, at each place of the eight that are looked at together. */
static void test_escapes_at_every_offset(void **state)
{
	static const struct {
		char byte;
		const char *escaped;
	} rows[] = {
		{ '"', "\\\"" }, { '\\', "\\\\" }, { '\n', "\\n" }, { 0x1f, "\\u001f" }, { 0x7f, "\\u007f" },
	};
	char in[20], expected[32];

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
		for (size_t at = 0; at < sizeof(in); at++) {
			size_t n = strlen(rows[r].escaped);

			memset(in, '~', sizeof(in));
			in[at] = rows[r].byte;
			memset(expected, '~', sizeof(expected));
			expected[0] = '"';
			memcpy(expected + 1 + at, rows[r].escaped, n);
			expected[sizeof(in) + n] = '"';
			expected[sizeof(in) + n + 1] = '\0';
			assert_escaped(span_of(in, sizeof(in)), expected);
		}
	}
}

static void test_invalid_utf8_is_replaced(void **state)
{
	(void)state;
	assert_escaped(SPAN("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
		       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	assert_escaped(SPAN("a\xff" "b"), "\"a\xef\xbf\xbd" "b\"");
	assert_escaped(SPAN("\xc3"), "\"\xef\xbf\xbd\"");
	assert_escaped(SPAN("\xc3\""), "\"\xef\xbf\xbd\\\"\"");
	assert_escaped(SPAN("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_compact_document(void **state)
{
	struct strbuf b = { 0 };
	struct json j;

	(void)state;
	json_init(&j, &b, false);
	json_object(&j, NULL);
	json_str(&j, "s", "x");
	json_str(&j, "none", NULL);
	json_u64(&j, "u", UINT64_MAX);
	json_i64(&j, "i", INT64_MIN);
	json_bool(&j, "b", true);
	json_array(&j, "a");
	json_u64(&j, NULL, 1);
	json_object(&j, NULL);
	json_end(&j, '}');
	json_end(&j, ']');
	json_null(&j, "k\"");
	json_end(&j, '}');
	assert_string_equal(b.ptr, "{\"s\":\"x\",\"none\":null,\"u\":18446744073709551615,"
				   "\"i\":-9223372036854775808,\"b\":true,\"a\":[1,{}],\"k\\\"\":null}");
	strbuf_fini(&b);
}

static void test_pretty_document(void **state)
{
	struct strbuf b = { 0 };
	struct json j;

	(void)state;
	json_init(&j, &b, true);
	json_object(&j, NULL);
	json_array(&j, "empty");
	json_end(&j, ']');
	json_array(&j, "a");
	json_u64(&j, NULL, 1);
	json_end(&j, ']');
	json_end(&j, '}');
	assert_string_equal(b.ptr, "{\n  \"empty\": [],\n  \"a\": [\n    1\n  ]\n}");
	strbuf_fini(&b);
}

static void test_doubles_are_short_and_exact(void **state)
{
	struct strbuf b = { 0 };
	struct json j;

	(void)state;
	json_init(&j, &b, false);
	json_array(&j, NULL);
	json_double(&j, NULL, 0.1);
	json_double(&j, NULL, 1.0 / 3);
	json_double(&j, NULL, 2);
	json_double(&j, NULL, (double)NAN);
	json_double(&j, NULL, (double)INFINITY);
	json_end(&j, ']');
	assert_string_equal(b.ptr, "[0.1,0.3333333333333333,2,null,null]");
	strbuf_fini(&b);
}

static void end_without_begin(void)
{
	struct strbuf b = { 0 };
	struct json j;

	json_init(&j, &b, false);
	json_end(&j, '}');
}

static void too_deep(void)
{
	struct strbuf b = { 0 };
	struct json j;

	json_init(&j, &b, false);
	for (unsigned i = 0; i <= JSON_DEPTH_MAX; i++)
		json_array(&j, NULL);
}

static void wrong_bracket(void)
{
	struct strbuf b = { 0 };
	struct json j;

	json_init(&j, &b, false);
	json_object(&j, NULL);
	json_end(&j, ']');
}

static void member_without_key(void)
{
	struct strbuf b = { 0 };
	struct json j;

	json_init(&j, &b, false);
	json_object(&j, NULL);
	json_u64(&j, NULL, 1);
}

static void test_wrong_nesting_aborts(void **state)
{
	(void)state;
	assert_true(aborts(end_without_begin));
	assert_true(aborts(too_deep));
	assert_true(aborts(wrong_bracket));
	assert_true(aborts(member_without_key));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes_quotes_and_controls),
		cmocka_unit_test(test_escapes_at_every_offset),
		cmocka_unit_test(test_invalid_utf8_is_replaced),
		cmocka_unit_test(test_compact_document),
		cmocka_unit_test(test_pretty_document),
		cmocka_unit_test(test_doubles_are_short_and_exact),
		cmocka_unit_test(test_wrong_nesting_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
