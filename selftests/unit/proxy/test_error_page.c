/* SPDX-License-Identifier: GPL-2.0-only */
/* test_error_page.c - the form of an error's body, and that nothing in it is taken at its word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/strbuf.h"
#include "proxy/error_page.h"

#define HTML ERROR_PAGE_HTML
#define JSON ERROR_PAGE_JSON
#define TEXT ERROR_PAGE_TEXT

static void test_form_follows_accept(void **state)
{
	static const struct {
		const char *accept;
		enum error_page_form web, api;
	} rows[] = {
		{ "", HTML, JSON },
		{ "*/*", HTML, JSON },
		{ "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML, HTML },
		{ "application/json", JSON, JSON },
		{ "Application/JSON; charset=utf-8", JSON, JSON },
		{ "text/plain", TEXT, TEXT },
		{ "text/*", HTML, HTML },
		{ "text/html;q=0.5, application/json;q=0.6", JSON, JSON },
		{ "text/html;q=0.501,application/json;q=0.5", HTML, HTML },
		{ "text/html; q=0, */*", JSON, JSON },
		{ "*/*;q=0.1, text/plain;q=0.2", TEXT, TEXT },
		{ "text/*;q=0.9, text/html;q=0.1, application/json;q=0.5", TEXT, TEXT },
		{ "image/png", HTML, JSON },
		{ "*/*;q=0", HTML, JSON },
		{ "text/html;q=zzz, text/plain;q=0.1", TEXT, TEXT },
		{ "text/html;q=2, text/plain;q=0.1", TEXT, TEXT },
		{ "text/html;q=0.12345", HTML, JSON },
		{ ",,;;,/", HTML, JSON },
		{ "html", HTML, JSON },
		{ "application/json;Q=1.000, text/html;level=1;q=0.9", JSON, JSON },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		if (error_page_form_of(span_str(rows[i].accept), false) != rows[i].web)
			fail_msg("web: %s", rows[i].accept);
		if (error_page_form_of(span_str(rows[i].accept), true) != rows[i].api)
			fail_msg("api: %s", rows[i].accept);
	}
}

static void assert_page(unsigned status, const char *text, const char *id, const char *accept, const char *type,
			const char *expected)
{
	const char *content_type = NULL;
	struct slice page = error_page_render(status, text, span_str(id), span_str(accept), false, &content_type);

	assert_string_equal(content_type, type);
	if (!span_eq(slice_span(page), span_str(expected)))
		fail_msg(SPAN_FMT, SPAN_ARG(slice_span(page)));
	slice_put(&page);
}

static void test_each_form_carries_status_text_and_id(void **state)
{
	(void)state;
	assert_page(503, "Service Unavailable", "abc", "application/json", "application/json",
		    "{\"error\":\"503 Service Unavailable\",\"status\":503,\"message\":\"Service Unavailable\","
		    "\"request_id\":\"abc\"}\n");
	assert_page(404, "Not Found", "abc", "text/plain", "text/plain; charset=utf-8",
		    "404 Not Found\nrequest id: abc\n");
	assert_page(403, "WebSocket not enabled for this route", "abc", "text/plain", "text/plain; charset=utf-8",
		    "403 Forbidden\nWebSocket not enabled for this route\nrequest id: abc\n");
	assert_page(
		404, "Not Found", "abc", "", "text/html; charset=utf-8",
		"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>404 Not Found</title></head>\n"
		"<body><h1>404 Not Found</h1>\n<p>Not Found</p>\n<p>Request id: <code>abc</code></p></body></html>\n");
}

static void test_nothing_breaks_out_of_its_form(void **state)
{
	(void)state;
	assert_page(400, "<script>'\"&", "\"x<", "", "text/html; charset=utf-8",
		    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>400 Bad "
		    "Request</title></head>\n"
		    "<body><h1>400 Bad Request</h1>\n<p>&lt;script&gt;&#39;&quot;&amp;</p>\n"
		    "<p>Request id: <code>&quot;x&lt;</code></p></body></html>\n");
	assert_page(
		400, "a\"b\n", "\\", "application/json", "application/json",
		"{\"error\":\"400 Bad Request\",\"status\":400,\"message\":\"a\\\"b\\n\",\"request_id\":\"\\\\\"}\n");
	assert_page(400, "a\nrequest id: forged", "x\r\ny", "text/plain", "text/plain; charset=utf-8",
		    "400 Bad Request\na?request id: forged\nrequest id: x??y\n");
}

static void test_a_huge_accept_is_bounded(void **state)
{
	struct strbuf accept = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		strbuf_add_str(&accept, "a/b,");
	strbuf_add_str(&accept, "application/json");
	assert_int_equal(error_page_form_of(strbuf_span(&accept), false), HTML);
	strbuf_fini(&accept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form_follows_accept),
		cmocka_unit_test(test_each_form_carries_status_text_and_id),
		cmocka_unit_test(test_nothing_breaks_out_of_its_form),
		cmocka_unit_test(test_a_huge_accept_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
