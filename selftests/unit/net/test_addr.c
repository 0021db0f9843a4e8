/* SPDX-License-Identifier: GPL-2.0-only */
/* test_addr.c - addresses and prefixes: what is read, what is refused, what is printed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>

#include "base/check.h"
#include "net/addr.h"

static struct addr parsed(const char *text)
{
	struct addr a;

	if (addr_parse(span_str(text), &a) != 0)
		fail_msg("refused: %s", text);
	return a;
}

static void test_what_is_parsed_is_printed_alike(void **state)
{
	static const char *const texts[] = {
		"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::]:443", "[::1]:8080", "[2001:db8::1]:1",
		"[fe80::1%lo]:9", "unix:/run/sentinel.sock", "unix:/x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct addr a = parsed(texts[i]);
		char buf[ADDR_TEXT_MAX];

		assert_int_equal(addr_format(&a, buf), strlen(texts[i]));
		assert_string_equal(buf, texts[i]);
	}
}

static void test_what_is_refused(void **state)
{
	static const char *const texts[] = {
		"", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
		"127.0.0.1: 1", "127.0.0.1:1x", "127.0.0.1:000080", "127.0.0.256:1", "127.1:1", "0x7f.0.0.1:1",
		"localhost:80", "::1:80", "[::1]", "[::1]:", "[::1", "[::1]80", "[127.0.0.1]:80", "[]:80",
		"[::1%nosuchdevice]:80", "[::1%]:80", "127.0.0.1%lo:80", "unix:", "unix:relative",
		"[0:0:0:0:0:0:0:0:0]:1", "[::g]:1",
	};
	char path[200] = "unix:/";
	struct addr a = { .len = 77 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (addr_parse(span_str(texts[i]), &a) != -EINVAL)
			fail_msg("taken: %s", texts[i]);
	assert_int_equal(addr_parse(span_of("1.2.3.4\0:80", 11), &a), -EINVAL);
	assert_int_equal(addr_parse(span_of("unix:/a\0b", 9), &a), -EINVAL);
	memset(path + 6, 'a', 108);
	path[5 + 108] = '\0';
	assert_int_equal(addr_parse(span_str(path), &a), -EINVAL);
	assert_int_equal(a.len, 77); /* untouched on failure */
	path[5 + 107] = '\0';
	assert_int_equal(addr_parse(span_str(path), &a), 0);
}

static void test_ip_alone(void **state)
{
	struct addr a;
	char buf[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(addr_parse_ip(SPAN("10.1.2.3"), &a), 0);
	assert_int_equal(addr_port(&a), 0);
	addr_format_ip(&a, buf);
	assert_string_equal(buf, "10.1.2.3");
	assert_int_equal(addr_parse_ip(SPAN("10.1.2.3:80"), &a), -EINVAL);
	assert_int_equal(addr_parse_ip(SPAN("::ffff:10.1.2.3"), &a), 0);
	addr_format_ip(&a, buf);
	assert_string_equal(buf, "10.1.2.3");
	a = parsed("unix:/x");
	addr_format_ip(&a, buf);
	assert_string_equal(buf, "unix");
}

static void test_equal_and_properties(void **state)
{
	struct addr a = parsed("127.0.0.1:80"), b = parsed("127.0.0.1:81"), m;

	(void)state;
	assert_false(addr_eq(&a, &b));
	addr_set_port(&b, 80);
	assert_true(addr_eq(&a, &b));
	b = parsed("unix:/a");
	m = parsed("unix:/ab");
	assert_false(addr_eq(&a, &b));
	assert_false(addr_eq(&b, &m));
	assert_true(addr_eq(&b, &b));

	assert_true(addr_is_loopback(&a));
	assert_true(addr_is_loopback(&b));
	m = parsed("[::ffff:127.9.9.9]:1");
	assert_true(addr_is_loopback(&m));
	m = parsed("[::1]:1");
	assert_true(addr_is_loopback(&m));
	m = parsed("[::2]:1");
	assert_false(addr_is_loopback(&m));
	m = parsed("128.0.0.1:1");
	assert_false(addr_is_loopback(&m));
	m = parsed("[::]:1");
	assert_true(addr_is_any(&m));
	m = parsed("0.0.0.0:1");
	assert_true(addr_is_any(&m));
	assert_false(addr_is_any(&a));
	assert_false(addr_is_any(&b));
}

static void test_sixteen_bytes_and_back(void **state)
{
	static const uint8_t want[16] = { [10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1, [14] = 2, [15] = 3 };
	struct addr a = parsed("10.1.2.3:9"), back;
	uint8_t ip[16];

	(void)state;
	assert_true(addr_to_ip16(&a, ip));
	assert_memory_equal(ip, want, 16);
	addr_from_ip16(ip, 9, &back);
	assert_true(addr_eq(&a, &back));
	a = parsed("[2001:db8::5]:9");
	assert_true(addr_to_ip16(&a, ip));
	addr_from_ip16(ip, 9, &back);
	assert_true(addr_eq(&a, &back));
	a = parsed("unix:/x");
	assert_false(addr_to_ip16(&a, ip));
}

static bool contains(const char *prefix, const char *ip)
{
	struct prefix p;
	struct addr a;
	uint8_t bytes[16];

	assert_int_equal(prefix_parse(span_str(prefix), &p), 0);
	assert_int_equal(addr_parse_ip(span_str(ip), &a), 0);
	addr_to_ip16(&a, bytes);
	return prefix_contains(&p, bytes);
}

static void test_prefixes(void **state)
{
	static const char *const refused[] = {
		"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/-1", "10.0.0.0/8x", "2001:db8::/129",
		"2001:db8::1/32", "128.0.0.0/0", "::1/127", "fe80::%lo/64", "10.0.0.0/0008", "10/8",
	};
	struct prefix p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (prefix_parse(span_str(refused[i]), &p) != -EINVAL)
			fail_msg("taken: %s", refused[i]);
	assert_true(contains("10.0.0.0/8", "10.255.0.1"));
	assert_false(contains("10.0.0.0/8", "11.0.0.0"));
	assert_true(contains("10.0.0.128/25", "10.0.0.129"));
	assert_false(contains("10.0.0.128/25", "10.0.0.127"));
	assert_true(contains("0.0.0.0/0", "255.1.1.1"));
	assert_false(contains("0.0.0.0/0", "2001::1")); /* all of IPv4, nothing else */
	assert_true(contains("::/0", "10.0.0.1"));
	assert_true(contains("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(contains("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(contains("192.0.2.1", "192.0.2.1"));
	assert_false(contains("192.0.2.1", "192.0.2.2"));
	assert_int_equal(prefix_parse(SPAN("10.0.0.0/8"), &p), 0);
	assert_int_equal(p.len, 104);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_parsed_is_printed_alike),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_ip_alone),
		cmocka_unit_test(test_equal_and_properties),
		cmocka_unit_test(test_sixteen_bytes_and_back),
		cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
