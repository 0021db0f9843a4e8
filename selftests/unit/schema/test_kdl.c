/* SPDX-License-Identifier: GPL-2.0-only */
/* test_kdl.c - the KDL reader: accepted documents with their trees, refused ones with their places. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/strbuf.h"
#include "schema/kdl.h"

/* Trees as text: name@1:1 "arg"@1:6 key=1@1:9 { child@2:1 } */

static void pos_dump(struct schema_pos pos, struct strbuf *out)
{
	strbuf_printf(out, "@%u:%u+%u", pos.line, pos.col, pos.width);
}

static void text_dump(struct span text, struct strbuf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\n')
			strbuf_add_str(out, "\\n");
		else if ((unsigned char)text.ptr[i] < 0x20)
			strbuf_printf(out, "\\%02x", (unsigned char)text.ptr[i]);
		else
			strbuf_add_char(out, text.ptr[i]);
	}
}

static void value_dump(const struct kdl_value *v, bool has_pos, struct strbuf *out)
{
	if (v->annotation.ptr)
		strbuf_printf(out, "(" SPAN_FMT ")", SPAN_ARG(v->annotation));
	switch (v->type) {
	case KDL_NULL:
		strbuf_add_str(out, "null");
		break;
	case KDL_BOOL:
		strbuf_add_str(out, v->boolean ? "true" : "false");
		break;
	case KDL_INT:
		strbuf_printf(out, "%" PRId64, v->integer);
		break;
	case KDL_FLOAT:
		strbuf_printf(out, "f%g", v->number);
		break;
	case KDL_STRING:
		strbuf_add_char(out, '\'');
		text_dump(v->text, out);
		strbuf_add_char(out, '\'');
		break;
	}
	if (has_pos)
		pos_dump(v->pos, out);
}

static void nodes_dump(const struct kdl_node *list, bool has_pos, struct strbuf *out)
{
	for (const struct kdl_node *n = list; n; n = n->next) {
		if (n != list)
			strbuf_add_str(out, "; ");
		if (n->annotation.ptr)
			strbuf_printf(out, "(" SPAN_FMT ")", SPAN_ARG(n->annotation));
		text_dump(n->name, out);
		if (has_pos)
			pos_dump(n->pos, out);
		for (size_t i = 0; i < n->arg_count; i++) {
			strbuf_add_char(out, ' ');
			value_dump(&n->args[i], has_pos, out);
		}
		for (size_t i = 0; i < n->prop_count; i++) {
			strbuf_printf(out, " " SPAN_FMT, SPAN_ARG(n->props[i].name));
			if (has_pos)
				pos_dump(n->props[i].pos, out);
			strbuf_add_char(out, '=');
			value_dump(&n->props[i].value, has_pos, out);
		}
		if (n->has_children) {
			strbuf_add_str(out, " {");
			nodes_dump(n->children, has_pos, out);
			strbuf_add_char(out, '}');
		}
	}
}

struct accepted {
	const char *text;
	const char *tree;
};

struct refused {
	const char *text;
	unsigned line, col;
	const char *message; /* a part of it */
};

static void accept_all(const struct accepted *rows, size_t count, unsigned version, bool has_pos)
{
	for (size_t i = 0; i < count; i++) {
		struct kdl_document document = { 0 };
		struct kdl_error error = { 0 };
		struct strbuf out;
		struct arena a;
		int err;

		arena_init(&a, 1024);
		strbuf_init(&out);
		err = kdl_parse(&a, 1, span_str(rows[i].text), &document, &error);
		if (err) {
			print_error("row %zu: %s\n", i, rows[i].text);
			fail_msg("refused at %u:%u: %s", error.pos.line, error.pos.col, error.message);
		}
		nodes_dump(document.nodes, has_pos, &out);
		if (strcmp(out.ptr, rows[i].tree) || document.version != version)
			print_error("row %zu: %s\n", i, rows[i].text);
		assert_string_equal(out.ptr, rows[i].tree);
		assert_int_equal(document.version, version);
		strbuf_fini(&out);
		arena_fini(&a);
	}
}

static void refuse_all(const struct refused *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct kdl_document document = { 0 };
		struct kdl_error error = { 0 };
		struct arena a;

		arena_init(&a, 1024);
		if (kdl_parse(&a, 1, span_str(rows[i].text), &document, &error) == 0)
			fail_msg("row %zu was accepted: %s", i, rows[i].text);
		if (!strstr(error.message, rows[i].message) || error.pos.line != rows[i].line ||
		    error.pos.col != rows[i].col)
			fail_msg("row %zu: %s\ngot %u:%u %s", i, rows[i].text, error.pos.line, error.pos.col,
				 error.message);
		arena_fini(&a);
	}
}

/* KDL 2 */

static const struct accepted nodes_v2[] = {
	{ "", "" },
	{ "\n\n  // only a comment\n/* and /* another */ */\n", "" },
	{ "node", "node" },
	{ "\xef\xbb\xbfnode 1", "node 1" },
	{ "node\n", "node" },
	{ "a;b;c", "a; b; c" },
	{ "a; b\n\nc", "a; b; c" },
	{ "\"quoted name\" 1", "quoted name 1" },
	{ "node {}", "node {}" },
	{ "node{}", "node {}" },
	{ "node { a; b 1; }", "node {a; b 1}" },
	{ "node {a;b}", "node {a; b}" },
	{ "node {\n  a {\n    b\n  }\n}\nc", "node {a {b}}; c" },
	{ "node { a };b", "node {a}; b" },
	{ "node \"a\" 1 #true #false #null", "node 'a' 1 true false null" },
	{ "node a=1 b=\"x\" c=word", "node a=1 b='x' c='word'" },
	{ "node a = 1 b= 2 c =3", "node a=1 b=2 c=3" },
	{ "node \"a b\"=1", "node a b=1" },
	{ "node a=1 a=2", "node a=1 a=2" },
	{ "node word other-word x.y @ $a *", "node 'word' 'other-word' 'x.y' '@' '$a' '*'" },
	{ "node - + -a +b .a -.a", "node '-' '+' '-a' '+b' '.a' '-.a'" },
	{ "node a<b> c,d", "node 'a<b>' 'c,d'" },
	{ "node truely nanx", "node 'truely' 'nanx'" },
	{ "\xe3\x83\x8e\xe3\x83\xbc\xe3\x83\x89 \xc3\xa9t\xc3\xa9",
	  "\xe3\x83\x8e\xe3\x83\xbc\xe3\x83\x89 '\xc3\xa9t\xc3\xa9'" },
	{ "node (u8)1 (t)\"s\" k=(x)2", "node (u8)1 (t)'s' k=(x)2" },
	{ "(type)node 1", "(type)node 1" },
	{ "( type ) node ( \"a b\" ) 1", "(type)node (a b)1" },
	{ "node 1 // comment\nb", "node 1; b" },
	{ "node /* c */ 1 /* d */ 2", "node 1 2" },
	{ "node 1 \\\n  2 \\ // why\n  3", "node 1 2 3" },
	{ "node \\\n\n", "node" },
	{ "node \\", "node" },
	{ "\\\nnode", "node" },
	{ "node\t1\xc2\xa0""2\xe3\x80\x80""3", "node 1 2 3" },
	{ "a\r\nb\rc\xc2\x85""d\xe2\x80\xa8""e\x0c""f\x0bg", "a; b; c; d; e; f; g" },
	{ "node {\n  \"a\"\n  /- b\n}", "node {a}" },
};

static const struct accepted slashdash_v2[] = {
	{ "/-a\nb", "b" },
	{ "/- a 1 { x }\nb", "b" },
	{ "/-\na\nb", "b" },
	{ "node /-1 2", "node 2" },
	{ "node/-1 2", "node 2" },
	{ "node /- 1 2", "node 2" },
	{ "node /-a=1 b=2", "node b=2" },
	{ "node /-{ a } { b }", "node {b}" },
	{ "node { b } /-{ a }", "node {b}" },
	{ "node /-{ a } /-{ c }", "node" },
	{ "node /- // c\n 1 2", "node 2" },
	{ "node { /-a; b }", "node {b}" },
	{ "/- kdl-version 2\nnode", "node" },
	{ "/-kdl-version 3\nnode", "node" },
	{ "/-(t)a (u)1\nb", "b" },
};

static const struct accepted strings_v2[] = {
	{ "n \"\"", "n ''" },
	{ "n \"\\n\\r\\t\\b\\f\\s\\\\\\\"\"", "n '\\n\\0d\\09\\08\\0c \\\"'" },
	{ "n \"\\u{41}\\u{1F600}\\u{e9}\\u{20AC}\"", "n 'A\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac'" },
	{ "n \"a\\   b\\\n   c\"", "n 'abc'" },
	{ "n #\"raw \\n \"q\" x\"#", "n 'raw \\n \"q\" x'" },
	{ "n ##\"a\"#b\"##", "n 'a\"#b'" },
	{ "n #\"\"#", "n ''" },
	{ "n #\"\\\"#", "n '\\'" },
	{ "n \"\"\"\n  a\n    b\n  c\n  \"\"\"", "n 'a\\n  b\\nc'" },
	{ "n \"\"\"\n\"\"\"", "n ''" },
	{ "n \"\"\"\n    \"\"\"", "n ''" },
	{ "n \"\"\"\n\n  \"\"\"", "n ''" },
	{ "n \"\"\"\n  a\n\n \t\n  b\n  \"\"\"", "n 'a\\n\\n\\nb'" },
	{ "n \"\"\"\r\n  a\r\n  b\r\n  \"\"\"", "n 'a\\nb'" },
	{ "n \"\"\"\n  say \"\"hi\"\" \\\"\\\"\\\"\n  \"\"\"", "n 'say \"\"hi\"\" \"\"\"'" },
	{ "n \"\"\"\n  a \\\n     b\n  \"\"\"", "n 'a b'" },
	{ "n \"\"\"\n  a\\nb\n  \"\"\"", "n 'a\\nb'" },
	{ "n \"\"\"\n\ta\n\t\tb\n\t\"\"\"", "n 'a\\n\\09b'" },
	{ "n #\"\"\"\n  a\\n\n  \"\"b\n  \"\"\"#", "n 'a\\n\\n\"\"b'" },
	{ "n ##\"\"\"\n a\"\"\"#\n \"\"\"##", "n 'a\"\"\"#'" },
	{ "n \"a\" \"b\"", "n 'a' 'b'" },
	{ "n k=#\"v\"#", "n k='v'" },
	{ "#\"raw name\"# 1", "raw name 1" },
};

static const struct accepted numbers_v2[] = {
	{ "n 0 1 -1 +1 007", "n 0 1 -1 1 7" },
	{ "n 1_000 1__0 1_", "n 1000 10 1" },
	{ "n 0xff 0xFF_ff -0x10 +0xA", "n 255 65535 -16 10" },
	{ "n 0o17 0b1_01 -0b11", "n 15 5 -3" },
	{ "n 1.5 -0.25 1e3 1E-3 1.5e+2 1_0.2_5", "n f1.5 f-0.25 f1000 f0.001 f150 f10.25" },
	{ "n #inf #-inf #nan", "n finf f-inf fnan" },
	{ "n 9223372036854775807 -9223372036854775808", "n 9223372036854775807 -9223372036854775808" },
	{ "n 9223372036854775808 99999999999999999999999", "n 9223372036854775807 9223372036854775807" },
	{ "n -99999999999999999999999 0xffffffffffffffffff", "n -9223372036854775808 9223372036854775807" },
};

static void test_nodes_of_kdl_2(void **state)
{
	(void)state;
	accept_all(nodes_v2, ARRAY_LEN(nodes_v2), 2, false);
}

static void test_slashdash(void **state)
{
	(void)state;
	accept_all(slashdash_v2, ARRAY_LEN(slashdash_v2), 2, false);
}

static void test_strings_of_kdl_2(void **state)
{
	(void)state;
	accept_all(strings_v2, ARRAY_LEN(strings_v2), 2, false);
}

static void test_numbers(void **state)
{
	(void)state;
	accept_all(numbers_v2, ARRAY_LEN(numbers_v2), 2, false);
}

/* KDL 1 */

static const struct accepted documents_v1[] = {
	{ "node true false null", "node true false null" },
	{ "node k=true", "node k=true" },
	{ "node r\"a\\b\" r#\"c\"d\"#", "node 'a\\b' 'c\"d'" },
	{ "node \"a\nb\" true", "node 'a\\nb' true" },
	{ "node \"\\/\"", "node '/'" },
	{ "node 1 true {\n  a\n}\n/-b\nc", "node 1 true {a}; c" },
	{ "a#b true", "a#b true" },
	{ "/- kdl-version 1\nnode \"a\"", "node 'a'" },
	{ "(t)node (u)true", "(t)node (u)true" },
	{ "rnode r=true", "rnode r=true" },
	{ "node 0xff_ -1.5e3 true /-2 /* c */ \\\n 3", "node 255 f-1500 true 3" },
	{ "node true /-{ a }", "node true" },
};

static void test_falls_back_to_kdl_1(void **state)
{
	(void)state;
	accept_all(documents_v1, ARRAY_LEN(documents_v1), 1, false);
}

/* Places */

static const struct accepted places[] = {
	{ "node 12 k=\"v\" {\n\tchild #true\n}",
	  "node@1:1+4 12@1:6+2 k@1:9+1='v'@1:11+3 {child@2:2+5 true@2:8+5}" },
	{ "\xef\xbb\xbf" "n 1", "n@1:1+1 1@1:3+1" },
	{ "\xc3\xa9\xc3\xa9 \xf0\x9f\x98\x80 (u8)3", "\xc3\xa9\xc3\xa9@1:1+2 '\xf0\x9f\x98\x80'@1:4+1 (u8)3@1:10+1" },
	{ "a\r\n b\r  c\xe2\x80\xa8" "d", "a@1:1+1; b@2:2+1; c@3:3+1; d@4:1+1" },
	{ "n \"\"\"\n  x\n  \"\"\" 2", "n@1:1+1 'x'@1:3+1 2@3:7+1" },
	{ "n \\\n  #\"r\"# /* \n */ 1", "n@1:1+1 'r'@2:3+5 1@3:5+1" },
	{ "(t)node  \"q\"=1", "(t)node@1:4+4 q@1:10+3=1@1:14+1" },
};

static void test_places_of_everything(void **state)
{
	(void)state;
	accept_all(places, ARRAY_LEN(places), 2, true);
}

/* Refused */

static const struct refused refused[] = {
	{ "node {", 1, 6, "never closed" },
	{ "a {\n b {\n }\n", 1, 3, "never closed" },
	{ "}", 1, 1, "closes nothing" },
	{ "a }", 1, 3, "closes nothing" },
	{ "a {}}", 1, 5, "closes nothing" },
	{ "node { a } { b }", 1, 12, "one block" },
	{ "node { a } 1", 1, 12, "may follow its block" },
	{ "node /-{ a } 1", 1, 14, "may follow its block" },
	{ "node \"a\"\"b\"", 1, 9, "space is missing" },
	{ "node\"a\"", 1, 5, "space is missing" },
	{ "node a=", 1, 8, "the file ends" },
	{ "node a=\n1", 1, 8, "the line ends" },
	{ "node =1", 1, 6, "= is not expected" },
	{ "node (t)", 1, 9, "the file ends" },
	{ "node (t 1", 1, 9, "not closed by )" },
	{ "node (1)2", 1, 7, "holds a word" },
	{ "() node", 1, 2, "holds a word" },
	{ "(t)", 1, 4, "the file ends" },
	{ "1 2", 1, 1, "must not start like a number" },
	{ "-1", 1, 1, "must not start like a number" },
	{ "{}", 1, 1, "{ is not expected" },
	{ ";", 1, 1, "; is not expected" },
	{ "node [1]", 1, 6, "[ is not expected" },
	{ "/-", 1, 3, "the file ends" },
	{ "node /-", 1, 8, "the file ends" },
	{ "node /- /-1", 1, 9, "/ is not expected" },
	{ "node /* open", 1, 6, "no end" },
	{ "node \\ 1", 1, 6, "must end its line" },
	{ "node \"open #true", 1, 6, "no end" },
	{ "node #\"open\"", 1, 6, "no end" },
	{ "node ##\"open\"# #true", 1, 6, "no end" },
	{ "node #\"a\nb\"#", 1, 6, "does not end on its line" },
	{ "node \"\\q\"", 1, 7, "unknown escape" },
	{ "node \"\\u{110000}\"", 1, 7, "\\u" },
	{ "node \"\\u{d800}\"", 1, 7, "\\u" },
	{ "node \"\\u{}\"", 1, 7, "\\u" },
	{ "node \"\\u{1234567}\"", 1, 7, "\\u" },
	{ "node \"\\u41\"", 1, 7, "\\u" },
	{ "node \"\"\"a\"\"\"", 1, 6, "must end its line" },
	{ "node \"\"\"\n  a\"\"\" #true", 1, 6, "a line of their own" },
	{ "node \"\"\"\n  a\n b\n  \"\"\" #true", 3, 1, "not indented" },
	{ "node \"\"\"\n\ta\n  \"\"\" #true", 2, 1, "not indented" },
	{ "node \"\"\"\n  a\\\n  \"\"\" #true", 1, 6, "a line of their own" },
	{ "node #\"\"\"# #true", 1, 6, "must end its line" },
	{ "node #tru", 1, 6, "unknown keyword" },
	{ "node #", 1, 6, "" },
	{ "node ## #true", 1, 6, "a quote is missing" },
	{ "node .5 #true", 1, 6, "no number and no word" },
	{ "node -.5 #true", 1, 6, "no number and no word" },
	{ "node 1. #true", 1, 6, "not a number" },
	{ "node 1.5.2", 1, 6, "not a number" },
	{ "node 1e", 1, 6, "not a number" },
	{ "node 0x", 1, 6, "not a number" },
	{ "node 0xg", 1, 6, "not a number" },
	{ "node 0b2", 1, 6, "not a number" },
	{ "node 0o8", 1, 6, "not a number" },
	{ "node 0x1.5", 1, 6, "not a number" },
	{ "node 1a", 1, 6, "not a number" },
	{ "node 1._5", 1, 6, "not a number" },
	{ "node inf", 1, 6, "must be quoted" },
	{ "node x=true #false", 1, 8, "must be quoted" },
	{ "true #true", 1, 1, "must be quoted" },
	{ "node a\x01", 1, 7, "U+0001" },
	{ "node \"\x7f\"", 1, 7, "U+007F" },
	{ "node \xe2\x80\xae", 1, 6, "U+202E" },
	{ "node \xef\xbb\xbf", 1, 6, "U+FEFF" },
	{ "\nnode \xff", 2, 6, "0xff is not UTF-8" },
	{ "node \xc0\x80", 1, 6, "not UTF-8" },
	{ "node \xed\xa0\x80", 1, 6, "not UTF-8" },
	{ "node \xe2\x82", 1, 6, "not UTF-8" },
	{ "/- kdl-version 1\nnode #true", 2, 6, "" },
	{ "/- kdl-version 2\nnode true", 2, 6, "must be quoted" },
	{ "/- kdl-version 1\nnode word", 2, 6, "must be quoted" },
	{ "/- kdl-version 1\nnode k=word", 2, 8, "must be quoted" },
};

static void test_refuses_what_is_not_kdl(void **state)
{
	(void)state;
	refuse_all(refused, ARRAY_LEN(refused));
}

static void test_reports_the_error_of_kdl_2_when_both_fail(void **state)
{
	static const struct refused rows[] = {
		{ "a true\nb #true", 1, 3, "true must be quoted" },
	};

	(void)state;
	refuse_all(rows, ARRAY_LEN(rows));
}

/* Limits */

static int parse_repeated(const char *before, const char *part, size_t count, const char *after, double *out_secs)
{
	struct kdl_document document;
	struct kdl_error error;
	struct timespec from, to;
	struct strbuf text;
	struct arena a;
	int err;

	arena_init(&a, 65536);
	strbuf_init(&text);
	strbuf_add_str(&text, before);
	for (size_t i = 0; i < count; i++)
		strbuf_add_str(&text, part);
	strbuf_add_str(&text, after);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	err = kdl_parse(&a, 1, strbuf_span(&text), &document, &error);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	*out_secs = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	strbuf_fini(&text);
	arena_fini(&a);
	return err;
}

static void test_depth_is_bounded(void **state)
{
	double secs;

	(void)state;
	assert_int_equal(parse_repeated("", "a{", KDL_DEPTH_MAX, "", &secs), -EINVAL); /* not closed */
	assert_int_equal(parse_repeated("", "a{", KDL_DEPTH_MAX + 1, "", &secs), -E2BIG);
}

static void test_number_of_items_is_bounded(void **state)
{
	double secs;

	(void)state;
	assert_int_equal(parse_repeated("", "a\n", KDL_ITEMS_MAX, "", &secs), 0);
	assert_int_equal(parse_repeated("n", " 1", KDL_ITEMS_MAX, "", &secs), -E2BIG);
}

static void test_size_is_bounded(void **state)
{
	double secs;

	(void)state;
	/* The first byte is refused at once, so that the largest text allowed costs no time here. */
	assert_int_equal(parse_repeated("\x01", " ", KDL_BYTES_MAX - 1, "", &secs), -EINVAL);
	assert_int_equal(parse_repeated("\x01", " ", KDL_BYTES_MAX, "", &secs), -E2BIG);
}

/*
 * A megabyte of each costs milliseconds of the processor; anything quadratic would cost minutes.  An emulated processor
 * that stands still counts that too.
 */
static void test_time_is_linear(void **state)
{
	static const struct {
		const char *before, *part, *after;
	} rows[] = {
		{ "n ", "\"", "" },	  { "n #", "#", "\"" },	       { "n #", "\"#", "" },
		{ "n ###\"", "\"##", "" }, { "", "a{", "" },	       { "", "/*", "" },
		{ "", "/-", "" },	  { "n \"\"\"\n", " \n", "\"\"\"" }, { "n \"\"\"\n", "\"\"\\\n", "" },
		{ "n ", "a /* */ ", "" }, { "n a", " ", "b" },	       { "n ", "\\\n", "" },
		{ "n \"", "\\u{41}", "\"" }, { "n 1", "1", "" },       { "n \"\"\"\n", "x\n", " \"\"\"" },
		{ "", "{", "" },	  { "", "(", "" },	       { "n k", "=", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t count = (1 << 20) / strlen(rows[i].part);
		double secs;

		(void)parse_repeated(rows[i].before, rows[i].part, count, rows[i].after, &secs);
		if (secs > 10)
			fail_msg("row %zu took %.2f s", i, secs);
	}
}

static void test_last_property_of_a_name_counts(void **state)
{
	struct kdl_document document;
	struct kdl_error error;
	struct arena a;

	(void)state;
	arena_init(&a, 1024);
	assert_int_equal(kdl_parse(&a, 1, SPAN("n a=1 b=2 a=3"), &document, &error), 0);
	assert_int_equal(kdl_node_prop(document.nodes, SPAN("a"))->value.integer, 3);
	assert_null(kdl_node_prop(document.nodes, SPAN("c")));
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_of_kdl_2),
		cmocka_unit_test(test_slashdash),
		cmocka_unit_test(test_strings_of_kdl_2),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_falls_back_to_kdl_1),
		cmocka_unit_test(test_places_of_everything),
		cmocka_unit_test(test_refuses_what_is_not_kdl),
		cmocka_unit_test(test_reports_the_error_of_kdl_2_when_both_fail),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_number_of_items_is_bounded),
		cmocka_unit_test(test_size_is_bounded),
		cmocka_unit_test(test_time_is_linear),
		cmocka_unit_test(test_last_property_of_a_name_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
