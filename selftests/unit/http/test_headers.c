/* SPDX-License-Identifier: GPL-2.0-only */
/* test_headers.c - header fields: tokens, changes, lists, hop-by-hop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/strbuf.h"
#include "http/message.h"

static struct arena arena;

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 4096);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

/* "name: value" lines. */
static struct headers parse(const char *text)
{
	struct span rest = span_str(text), line;
	struct headers h;

	headers_init(&h, &arena);
	while (rest.len && span_next(&rest, '\n', &line)) {
		size_t colon = span_find(line, ':');

		headers_add_name(&h, span_of(line.ptr, colon), span_trim(span_skip(line, colon + 1)));
	}
	return h;
}

static void assert_fields(const struct headers *h, const char *expected)
{
	struct strbuf b;

	strbuf_init(&b);
	for (uint32_t i = 0; i < h->count; i++)
		strbuf_printf(&b, "%s" SPAN_FMT ":" SPAN_FMT, i ? "\n" : "", SPAN_ARG(h->items[i].name),
			      SPAN_ARG(h->items[i].value));
	assert_string_equal(b.ptr, expected);
	strbuf_fini(&b);
}

static void test_every_token_is_found_in_any_case(void **state)
{
	(void)state;
	for (unsigned t = TOKEN_OTHER + 1; t < TOKEN_COUNT; t++) {
		struct span name = header_token_name(t);
		struct span upper = arena_span(&arena, name), longer, shorter;

		assert_int_equal(header_token_of(name), t);
		for (size_t i = 0; i < name.len; i++) {
			char *c = (char *)(uintptr_t)&upper.ptr[i];
			char was = *c;

			/* One byte off is another name, also where only the case bit differs. */
			*c = (char)(was ^ 1);
			assert_int_not_equal(header_token_of(upper), t);
			if (was == '-' || (was >= '0' && was <= '9')) {
				*c = (char)(was & ~0x20);
				assert_int_not_equal(header_token_of(upper), t);
				*c = was;
			} else {
				*c = (char)(was & ~0x20);
			}
		}
		assert_int_equal(header_token_of(upper), t);
		longer = span_of(arena_printf(&arena, SPAN_FMT "x", SPAN_ARG(name)), name.len + 1);
		shorter = span_of(name.ptr, name.len - 1);
		assert_int_not_equal(header_token_of(longer), t);
		assert_int_not_equal(header_token_of(shorter), t);
	}
	assert_int_equal(header_token_of(span_of(NULL, 0)), TOKEN_OTHER);
	assert_int_equal(header_token_of(SPAN("x-unknown")), TOKEN_OTHER);
}

static void test_fields_are_found_in_order(void **state)
{
	struct headers h = parse("a: 1\nHOST: x\nA: 2\nhost: y");
	struct header *f = headers_find_name(&h, SPAN("a"));

	(void)state;
	assert_true(span_eq(f->value, SPAN("1")));
	f = headers_next(&h, f);
	assert_true(span_eq(f->value, SPAN("2")));
	assert_null(headers_next(&h, f));
	f = headers_find(&h, TOKEN_HOST);
	assert_true(span_eq(headers_next(&h, f)->value, SPAN("y")));
	assert_true(span_eq(headers_value(&h, TOKEN_HOST), SPAN("x")));
	assert_null(headers_value(&h, TOKEN_COOKIE).ptr);
	assert_null(headers_find_name(&h, SPAN("b")));
}

static void test_changes(void **state)
{
	struct headers h = parse("a: 1\nHost: x\nA: 2\nhost: y\nb: 3");

	(void)state;
	headers_set(&h, TOKEN_HOST, SPAN("z"));
	assert_fields(&h, "a:1\nHost:z\nA:2\nb:3");
	headers_set_name(&h, SPAN("a"), SPAN("9"));
	assert_fields(&h, "a:9\nHost:z\nb:3");
	headers_set_name(&h, SPAN("New"), SPAN("n"));
	headers_set(&h, TOKEN_VIA, SPAN("v"));
	assert_fields(&h, "a:9\nHost:z\nb:3\nNew:n\nvia:v");
	headers_add(&h, TOKEN_VIA, SPAN("w"));
	assert_int_equal(headers_remove(&h, TOKEN_VIA), 2);
	assert_int_equal(headers_remove(&h, TOKEN_VIA), 0);
	assert_int_equal(headers_remove_name(&h, SPAN("B")), 1);
	assert_fields(&h, "a:9\nHost:z\nNew:n");
	assert_int_equal(headers_rename(&h, SPAN("NEW"), SPAN("Cookie")), 1);
	assert_non_null(headers_find(&h, TOKEN_COOKIE));
	assert_int_equal(headers_rename(&h, SPAN("host"), SPAN("x-host")), 1);
	assert_null(headers_find(&h, TOKEN_HOST));
	assert_fields(&h, "a:9\nx-host:z\nCookie:n");
}

/* A CGI script sees all of these as one variable. */
static void test_several_at_once(void **state)
{
	struct headers h = parse("a: 1\nHost: x");
	struct token_set tokens = { 0 };

	(void)state;
	token_set_add(&tokens, TOKEN_VIA);
	token_set_add(&tokens, TOKEN_COOKIE);
	for (unsigned i = 0; i < 40; i++) { /* beyond any room that there was */
		struct header *f = headers_append(&h, 2, &tokens);

		f[0] = (struct header){ .token = TOKEN_VIA, .name = SPAN("Via"), .value = SPAN("v") };
		f[0].is_made_here = true;
		f[1] = (struct header){ .token = TOKEN_COOKIE, .name = SPAN("Cookie"), .value = SPAN("c") };
	}
	assert_int_equal(h.count, 82);
	assert_int_equal(headers_remove(&h, TOKEN_COOKIE), 40);
	headers_set(&h, TOKEN_VIA, SPAN("z"));
	assert_fields(&h, "a:1\nHost:x\nVia:z");
	assert_false(headers_find(&h, TOKEN_VIA)->is_made_here); /* another value, of which nobody knows */
}

static void test_names_that_gateways_confuse_are_removed(void **state)
{
	static const char *const names[] = { "X-Cert-Name", "x_cert_name", "X-Cert_NAME", "X.Cert-Name", "x~cert|name",
					     "X-Cert-Nam", "X-Cert-Name-", "XXCert-Name", "Via" };
	struct headers h;

	(void)state;
	headers_init(&h, &arena);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		headers_add_name(&h, span_str(names[i]), SPAN("v"));
	assert_int_equal(headers_remove_alike(&h, SPAN("X-Cert-Name")), 5);
	assert_fields(&h, "X-Cert-Nam:v\nX-Cert-Name-:v\nXXCert-Name:v\nVia:v");
	headers_add_name(&h, SPAN("x_forwarded_for"), SPAN("v"));
	headers_add(&h, TOKEN_VIA, SPAN("w"));
	assert_int_equal(headers_remove_alike(&h, SPAN("X-Forwarded-For")), 1);
	assert_int_equal(headers_remove_alike(&h, SPAN("via")), 2);
	assert_fields(&h, "X-Cert-Nam:v\nX-Cert-Name-:v\nXXCert-Name:v");
}

static void test_many_fields_keep_their_order(void **state)
{
	struct headers h;

	(void)state;
	headers_init(&h, &arena);
	for (int i = 0; i < 500; i++)
		headers_add_name(&h, span_str(arena_printf(&arena, "n%d", i)), span_str(arena_printf(&arena, "%d", i)));
	assert_int_equal(h.count, 500);
	assert_true(span_eq(headers_find_name(&h, SPAN("N321"))->value, SPAN("321")));
	assert_true(span_eq(h.items[499].value, SPAN("499")));
}

static void test_lists_over_several_fields(void **state)
{
	struct headers h = parse("TE: gzip, Trailers;q=1\nTE: x , deflate");

	(void)state;
	assert_true(headers_list_has(&h, TOKEN_TE, SPAN("gzip")));
	assert_true(headers_list_has(&h, TOKEN_TE, SPAN("DEFLATE")));
	assert_false(headers_list_has(&h, TOKEN_TE, SPAN("trailers")));
	assert_false(headers_list_has(&h, TOKEN_TE, SPAN("gzi")));
	assert_false(headers_list_has(&h, TOKEN_CONNECTION, SPAN("gzip")));
}

static void test_hop_by_hop_fields_do_not_cross(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "A: 1\nConnection: close\nKeep-Alive: x\nProxy-Connection: x\nB: 2", "A:1\nB:2" },
		{ "Transfer-Encoding: chunked\nUpgrade: x\nHTTP2-Settings: x\nA: 1", "A:1" },
		{ "Proxy-Authenticate: x\nProxy-Authorization: y\nA: 1", "A:1" },
		{ "Connection: x-a , X-B\nX-A: 1\nx-b: 2\nx-b: 3\nX-C: 4", "X-C:4" },
		{ "X-A: 1\nConnection: x-a\nConnection: x-b\nX-B: 1\nC: d", "C:d" },
		{ "Connection: connection, , x-a\nX-A: 1\nC: d", "C:d" },
		{ "Connection: Host, Content-Length, Authorization, Cookie\nHost: h\nContent-Length: 1\n"
		  "Authorization: a\nCookie: c",
		  "Host:h\nContent-Length:1\nAuthorization:a\nCookie:c" },
		{ "Connection: X-Forwarded-For\nX-Forwarded-For: 1.2.3.4", "" },
		{ "TE: trailers\nConnection: TE", "TE:trailers" },
		{ "TE: gzip, trailers\nTE: x", "TE:trailers" },
		{ "TE: gzip", "" },
		{ "Trailer: X-Sum", "Trailer:X-Sum" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct headers h = parse(rows[i].in);

		headers_remove_hop_by_hop(&h);
		assert_fields(&h, rows[i].out);
	}
}

static void test_valid_names_and_values(void **state)
{
	(void)state;
	assert_true(header_name_is_valid(SPAN("X-a_b.c!#$%&'*+^`|~9")));
	for (unsigned c = 0; c < 256; c++) {
		char name[2] = { 'a', (char)c };
		bool is_tchar = c && c < 127 && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
						       "ABCDEFGHIJKLMNOPQRSTUVWXYZ", (int)c);

		assert_int_equal(header_name_is_valid(span_of(name, 2)), is_tchar);
		assert_int_equal(header_value_is_valid(span_of(name, 2)), c == '\t' || (c >= 0x20 && c != 0x7f));
	}
	assert_false(header_name_is_valid(span_of(NULL, 0)));
	assert_true(header_value_is_valid(span_of(NULL, 0)));
}

static void test_methods_and_reasons(void **state)
{
	(void)state;
	assert_int_equal(method_of(SPAN("GET")), METHOD_GET);
	assert_int_equal(method_of(SPAN("PATCH")), METHOD_PATCH);
	assert_int_equal(method_of(SPAN("get")), METHOD_OTHER);
	assert_int_equal(method_of(SPAN("PROPFIND")), METHOD_OTHER);
	assert_true(span_eq(method_text(METHOD_CONNECT), SPAN("CONNECT")));
	assert_true(method_is_idempotent(METHOD_PUT) && method_is_idempotent(METHOD_GET));
	assert_false(method_is_idempotent(METHOD_POST) || method_is_idempotent(METHOD_PATCH));
	assert_false(method_is_idempotent(METHOD_CONNECT) || method_is_idempotent(METHOD_OTHER));
	assert_true(method_is_safe(METHOD_HEAD) && !method_is_safe(METHOD_DELETE));
	assert_true(span_eq(status_reason(404), SPAN("Not Found")));
	assert_true(span_eq(status_reason(418), SPAN("Unknown")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_token_is_found_in_any_case, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fields_are_found_in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names_that_gateways_confuse_are_removed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_fields_keep_their_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lists_over_several_fields, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hop_by_hop_fields_do_not_cross, set_up, tear_down),
		cmocka_unit_test(test_several_at_once),
		cmocka_unit_test(test_valid_names_and_values),
		cmocka_unit_test(test_methods_and_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
