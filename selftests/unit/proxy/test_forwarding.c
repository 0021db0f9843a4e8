/* SPDX-License-Identifier: GPL-2.0-only */
/* test_forwarding.c - what an origin reads about the client, from trusted and from other peers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/strbuf.h"
#include "proxy/forwarding.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct arena arena;
static struct headers headers;
static struct addr peer;
static struct strbuf text;

static int setup(void **state)
{
	(void)state;
	hash_init();
	arena_init(&arena, 4096);
	headers_init(&headers, &arena);
	assert_int_equal(addr_parse(SPAN("192.0.2.1:4711"), &peer), 0);
	strbuf_init(&text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	strbuf_fini(&text);
	arena_fini(&arena);
	return 0;
}

static void apply(bool is_peer_trusted, const char *host)
{
	char ip[ADDR_TEXT_MAX];
	struct forwarding_input in = {
		.peer_ip = span_of(ip, addr_format_ip(&peer, ip)),
		.client_ip = is_peer_trusted ? SPAN("203.0.113.9") : SPAN("192.0.2.1"),
		.is_peer_trusted = is_peer_trusted,
		.scheme = SPAN("http"),
		.host = span_str(host),
		.request_id = SPAN("id"),
	};

	forwarding_apply(&headers, &in, &arena);
	strbuf_reset(&text);
	for (uint32_t i = 0; i < headers.count; i++)
		strbuf_printf(&text, SPAN_FMT ": " SPAN_FMT "\n", SPAN_ARG(headers.items[i].name),
			      SPAN_ARG(headers.items[i].value));
}

#define IDS "x-request-id: id\nx-correlation-id: id\nx-trace-id: id\n"

static void test_a_plain_request(void **state)
{
	(void)state;
	headers_add(&headers, TOKEN_HOST, SPAN("a.test"));
	apply(false, "a.test");
	assert_string_equal(text.ptr, "host: a.test\nx-forwarded-for: 192.0.2.1\nx-forwarded-proto: http\n"
				      "x-forwarded-host: a.test\nx-real-ip: 192.0.2.1\n" IDS);
}

static void add_forged(void)
{
	headers_add_name(&headers, SPAN("X-Forwarded-For"), SPAN("1.1.1.1"));
	headers_add_name(&headers, SPAN("X-Forwarded-For"), SPAN("203.0.113.9"));
	headers_add_name(&headers, SPAN("X-Forwarded-Proto"), SPAN("https"));
	headers_add_name(&headers, SPAN("X-Forwarded-Host"), SPAN("b.test"));
	headers_add_name(&headers, SPAN("X-Forwarded-Port"), SPAN("443"));
	headers_add_name(&headers, SPAN("Forwarded"), SPAN("for=1.1.1.1"));
	headers_add_name(&headers, SPAN("X-Real-IP"), SPAN("1.1.1.1"));
	headers_add_name(&headers, SPAN("X-Request-Id"), SPAN("forged"));
	headers_add_name(&headers, SPAN("X-Request-Id"), SPAN("again"));
	headers_add_name(&headers, SPAN("X-Internal-Token"), SPAN("secret"));
	headers_add_name(&headers, SPAN("authorization-internal"), SPAN("secret"));
	headers_add_name(&headers, SPAN("X-Other"), SPAN("stays"));
}

static void test_a_strangers_fields_are_replaced(void **state)
{
	(void)state;
	add_forged();
	apply(false, "a.test");
	assert_string_equal(text.ptr, "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"
				      "X-Real-IP: 192.0.2.1\nX-Request-Id: id\nX-Other: stays\n"
				      "x-correlation-id: id\nx-trace-id: id\n");
}

static void test_a_trusted_peers_fields_stay(void **state)
{
	(void)state;
	add_forged();
	apply(true, "a.test");
	assert_string_equal(text.ptr, "X-Forwarded-For: 1.1.1.1, 203.0.113.9, 192.0.2.1\nX-Forwarded-Proto: https\n"
				      "X-Forwarded-Host: b.test\nX-Forwarded-Port: 443\nForwarded: for=1.1.1.1\n"
				      "X-Real-IP: 203.0.113.9\nX-Request-Id: id\nX-Other: stays\n"
				      "x-correlation-id: id\nx-trace-id: id\n");
}

static void test_a_request_without_host(void **state)
{
	(void)state;
	headers_add_name(&headers, SPAN("X-Forwarded-Host"), SPAN("forged"));
	apply(false, "");
	assert_string_equal(text.ptr,
			    "x-forwarded-for: 192.0.2.1\nx-forwarded-proto: http\nx-real-ip: 192.0.2.1\n" IDS);
}

static void test_an_empty_list_is_no_element(void **state)
{
	(void)state;
	headers_add_name(&headers, SPAN("X-Forwarded-For"), SPAN(""));
	apply(true, "");
	assert_true(span_eq(headers_value(&headers, TOKEN_X_FORWARDED_FOR), SPAN("192.0.2.1")));
}

static void test_traceparent(void **state)
{
	static const char *const bad[] = {
		"",
		"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
		"00-4bf92f3577b34da6a3ce929d0e0e4736x00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
	};

	(void)state;
	assert_true(traceparent_is_valid(SPAN(TRACE)));
	assert_true(traceparent_is_valid(SPAN("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")));
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		if (traceparent_is_valid(span_str(bad[i])))
			fail_msg("%s", bad[i]);
}

static void test_a_trace_is_passed_on_only_if_it_is_one(void **state)
{
	(void)state;
	headers_add(&headers, TOKEN_TRACEPARENT, SPAN(TRACE));
	headers_add(&headers, TOKEN_TRACESTATE, SPAN("a=b"));
	apply(false, "");
	assert_non_null(headers_find(&headers, TOKEN_TRACEPARENT));
	assert_non_null(headers_find(&headers, TOKEN_TRACESTATE));
	headers_add(&headers, TOKEN_TRACEPARENT, SPAN(TRACE)); /* two of them */
	apply(false, "");
	assert_null(headers_find(&headers, TOKEN_TRACEPARENT));
	assert_null(headers_find(&headers, TOKEN_TRACESTATE));
	headers_add(&headers, TOKEN_TRACEPARENT, SPAN("junk"));
	headers_add(&headers, TOKEN_TRACESTATE, SPAN("a=b"));
	apply(false, "");
	assert_null(headers_find(&headers, TOKEN_TRACEPARENT));
	assert_null(headers_find(&headers, TOKEN_TRACESTATE));
	headers_add(&headers, TOKEN_TRACESTATE, SPAN("a=b")); /* alone it means nothing */
	apply(false, "");
	assert_null(headers_find(&headers, TOKEN_TRACESTATE));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_plain_request),
		TEST(test_a_strangers_fields_are_replaced),
		TEST(test_a_trusted_peers_fields_stay),
		TEST(test_a_request_without_host),
		TEST(test_an_empty_list_is_no_element),
		TEST(test_traceparent),
		TEST(test_a_trace_is_passed_on_only_if_it_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
