/* SPDX-License-Identifier: GPL-2.0-only */
/* test_value.c - durations, sizes, rates and addresses from text and back. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "schema/value.h"

struct number_row {
	const char *text;
	int err;
	uint64_t value;
};

static void test_durations(void **state)
{
	static const struct number_row rows[] = {
		{ "0", 0, 0 },
		{ "30", 0, 30000 },
		{ "0.5", 0, 500 },
		{ "1.001", 0, 1001 },
		{ "250ms", 0, 250 },
		{ "1.5s", 0, 1500 },
		{ "2m", 0, 120000 },
		{ "1h", 0, 3600000 },
		{ "1d", 0, 86400000 },
		{ "1h30m", 0, 5400000 },
		{ "1d2h3m4s5ms", 0, 93784005 },
		{ "0.25d", 0, 21600000 },
		{ "", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
		{ "1sec", -EINVAL, 0 },
		{ "1s1s", -EINVAL, 0 },
		{ "1ms1s", -EINVAL, 0 },
		{ "1h30", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ ".5s", -EINVAL, 0 },
		{ "0.0001s", -EINVAL, 0 },
		{ "1.0000000001s", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "18446744073709551615d", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t value = 42;
		int err = value_duration(span_str(rows[i].text), 1000, &value);

		if (err != rows[i].err || value != (err ? 42 : rows[i].value))
			fail_msg("%s: %d %" PRIu64, rows[i].text, err, value);
	}
}

static void test_sizes(void **state)
{
	static const struct number_row rows[] = {
		{ "0", 0, 0 },		  { "65536", 0, 65536 },   { "64KiB", 0, 65536 },
		{ "64KB", 0, 64000 },	  { "64kB", 0, 64000 },	   { "10MB", 0, 10000000 },
		{ "10MiB", 0, 10485760 }, { "1GiB", 0, 1 << 30 },  { "2TB", 0, 2000000000000 },
		{ "1.5KiB", 0, 1536 },	  { "7B", 0, 7 },	   { "10 MB", 0, 10000000 },
		{ "10M", -EINVAL, 0 },	  { "10k", -EINVAL, 0 },   { "", -EINVAL, 0 },
		{ "MB", -EINVAL, 0 },	  { "-1", -EINVAL, 0 },	   { "0.5", -EINVAL, 0 },
		{ "1.3B", -EINVAL, 0 },	  { "1MB2KB", -EINVAL, 0 }, { "1MiBx", -EINVAL, 0 },
		{ "10  MB", -EINVAL, 0 }, { "17179869184TiB", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t value = 42;
		int err = value_size(span_str(rows[i].text), &value);

		if (err != rows[i].err || value != (err ? 42 : rows[i].value))
			fail_msg("%s: %d %" PRIu64, rows[i].text, err, value);
	}
}

static void test_numbers(void **state)
{
	int64_t value = 42;
	double number = 42;

	(void)state;
	assert_int_equal(value_int(SPAN("-17"), &value), 0);
	assert_int_equal(value, -17);
	assert_int_equal(value_int(SPAN("+9223372036854775807"), &value), 0);
	assert_int_equal(value, INT64_MAX);
	assert_int_equal(value_int(SPAN("9223372036854775808"), &value), -ERANGE);
	assert_int_equal(value_int(SPAN("1_0"), &value), -EINVAL);
	assert_int_equal(value_int(SPAN("-"), &value), -EINVAL);
	assert_int_equal(value_int(SPAN(""), &value), -EINVAL);
	assert_int_equal(value_double(SPAN("-1.5e3"), &number), 0);
	assert_true(number == -1500);
	assert_int_equal(value_double(SPAN("1e999"), &number), -ERANGE);
	assert_int_equal(value_double(SPAN("inf"), &number), -EINVAL);
	assert_int_equal(value_double(SPAN("1.5x"), &number), -EINVAL);
	assert_int_equal(value_double(SPAN(""), &number), -EINVAL);
}

static void test_text_of_numbers(void **state)
{
	char out[VALUE_TEXT_MAX];

	(void)state;
	assert_string_equal(value_duration_text(out, 0), "0s");
	assert_string_equal(value_duration_text(out, 93784005), "1d2h3m4s5ms");
	assert_string_equal(value_duration_text(out, UINT64_MAX), "213503982334d14h25m51s615ms");
	assert_string_equal(value_size_text(out, 0), "0");
	assert_string_equal(value_size_text(out, 1000001), "1000001");
	assert_string_equal(value_size_text(out, 64000), "64KB");
	assert_string_equal(value_size_text(out, 1 << 20), "1MiB");
	assert_string_equal(value_rate_text(out, (struct value_rate){ 5, 60000 }), "5/m");
	assert_string_equal(value_rate_text(out, (struct value_rate){ 5, 90000 }), "5/1m30s");
}

/* What is printed is read as the same number again. */
static void test_text_and_back(void **state)
{
	static const uint64_t values[] = { 1, 999, 1000, 1024, 1500, 59999, 60000, 86400000, 1ull << 40, 123456789 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char out[VALUE_TEXT_MAX];
		uint64_t value = 0;

		assert_int_equal(value_duration(span_str(value_duration_text(out, values[i])), 1, &value), 0);
		assert_int_equal(value, values[i]);
		assert_int_equal(value_size(span_str(value_size_text(out, values[i])), &value), 0);
		assert_int_equal(value, values[i]);
	}
}

static void test_rates(void **state)
{
	static const struct {
		const char *text;
		uint64_t count, period_ms;
	} rows[] = {
		{ "100/s", 100, 1000 },	   { "5/m", 5, 60000 },	       { "1/h", 1, 3600000 }, { "7/d", 7, 86400000 },
		{ "10/5s", 10, 5000 },	   { "10/100ms", 10, 100 },    { "50", 50, 1000 },    { "", 0, 0 },
		{ "/s", 0, 0 },		   { "5/", 0, 0 },	       { "5/x", 0, 0 },	      { "5/0s", 0, 0 },
		{ "-5/s", 0, 0 },	   { "5/s/s", 0, 0 },	       { "1.5/s", 0, 0 },     { "5/5", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct value_rate rate = { 0 };
		int err = value_rate(span_str(rows[i].text), &rate);

		if ((err == 0) != (rows[i].period_ms != 0) || rate.count != rows[i].count ||
		    rate.period_ms != rows[i].period_ms)
			fail_msg("%s: %d", rows[i].text, err);
	}
}

static void test_addresses(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "127.0.0.1:80", 0 },	   { "[::1]:65535", 0 },	{ "[::ffff:1.2.3.4]:1", 0 },
		{ "0.0.0.0:1", 0 },	   { "1.2.3.4:0", -ERANGE },	{ "1.2.3.4:65536", -ERANGE },
		{ "1.2.3.4", -EINVAL },	   { "1.2.3.4:", -EINVAL },	{ ":80", -EINVAL },
		{ "::1:80", -EINVAL },	   { "[::1]80", -EINVAL },	{ "[::1", -EINVAL },
		{ "[]:80", -EINVAL },	   { "[1.2.3.4]:80", -EINVAL }, { "1.2.3.4:+80", -EINVAL },
		{ "1.2.3:80", -EINVAL },   { "host:80", -EINVAL },	{ "[fe80::1%lo]:80", -EINVAL },
		{ "1.2.3.4:80 ", -EINVAL }, { "", -EINVAL },		{ "01.2.3.4:80", -EINVAL },
	};
	union value_addr addr;
	char out[VALUE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int err = value_addr(span_str(rows[i].text), false, &addr);

		if (err != rows[i].err)
			fail_msg("%s: %d", rows[i].text, err);
		if (err == 0)
			assert_string_equal(value_addr_text(out, &addr), rows[i].text);
	}
	assert_int_equal(value_addr(SPAN("1.2.3.4:0"), true, &addr), 0);
	assert_int_equal(addr.in.sin_port, 0);
}

static void test_networks(void **state)
{
	static const struct {
		const char *text, *result; /* NULL: refused */
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },	 { "0.0.0.0/0", "0.0.0.0/0" }, { "1.2.3.4", "1.2.3.4/32" },
		{ "1.2.3.4/32", "1.2.3.4/32" },	 { "::/0", "::/0" },	       { "2001:DB8::/32", "2001:db8::/32" },
		{ "::1", "::1/128" },		 { "10.0.0.1/8", NULL },       { "10.0.0.0/33", NULL },
		{ "2001:db8::1/32", NULL },	 { "::/129", NULL },	       { "10.0.0.0/", NULL },
		{ "10.0.0.0/-1", NULL },	 { "10.0.0/8", NULL },	       { "::ffff:1.2.3.4", NULL },
		{ "::ffff:0:0/96", NULL },	 { "/8", NULL },	       { "", NULL },
		{ "10.0.0.0/8/8", NULL },
	};
	struct value_cidr cidr;
	char out[VALUE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int err = value_cidr(span_str(rows[i].text), &cidr);

		if ((err == 0) != (rows[i].result != NULL))
			fail_msg("%s: %d", rows[i].text, err);
		if (err == 0)
			assert_string_equal(value_cidr_text(out, &cidr), rows[i].result);
	}
	assert_int_equal(value_cidr_mask(SPAN("10.255.1.1/12"), &cidr), 0);
	assert_string_equal(value_cidr_text(out, &cidr), "10.240.0.0/12");
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: refused */
		uint16_t port;
		bool is_ip;
	} rows[] = {
		{ "host:80", "host", 80, false },
		{ "a-b.c_d.example:8080", "a-b.c_d.example", 8080, false },
		{ "10.0.0.1:80", "10.0.0.1", 80, true },
		{ "[2001:db8::1]:80", "2001:db8::1", 80, true },
		{ "host", NULL, 0, false },
		{ "host:0", NULL, 0, false },
		{ "host:http", NULL, 0, false },
		{ "host:65536", NULL, 0, false },
		{ "10.0.0.256:80", NULL, 0, false },
		{ "10.0.0:80", NULL, 0, false },
		{ "-a:80", NULL, 0, false },
		{ "a-:80", NULL, 0, false },
		{ "a-.b:80", NULL, 0, false },
		{ ".a:80", NULL, 0, false },
		{ "a b:80", NULL, 0, false },
		{ "http://a:80", NULL, 0, false },
		{ "[host]:80", NULL, 0, false },
		{ "[::1%lo]:80", NULL, 0, false },
		{ "2001:db8::1:80", NULL, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct span host = { 0 };
		uint16_t port = 0;
		bool is_ip = false;
		int err = value_endpoint(span_str(rows[i].text), &host, &port, &is_ip);

		if ((err == 0) != (rows[i].host != NULL) || port != rows[i].port || is_ip != rows[i].is_ip)
			fail_msg("%s: %d %u", rows[i].text, err, port);
		if (rows[i].host)
			assert_true(span_eq(host, span_str(rows[i].host)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),	cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers),		cmocka_unit_test(test_text_of_numbers),
		cmocka_unit_test(test_text_and_back),	cmocka_unit_test(test_rates),
		cmocka_unit_test(test_addresses),	cmocka_unit_test(test_networks),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
