/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_addr.c - any bytes as an address and as a prefix: what is read is printed and read back the same. */
#include <stdint.h>

#include "base/check.h"
#include "net/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_mapped(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static void address_check(struct span in)
{
	char text[ADDR_TEXT_MAX];
	struct addr a, back;
	size_t len;

	if (addr_parse(in, &a) < 0)
		return;
	len = addr_format(&a, text);
	CHECK(len < sizeof(text) && strlen(text) == len);
	CHECK(addr_parse(span_of(text, len), &back) == 0);
	/* A mapped address is printed as IPv4, and its zone with it is gone. */
	CHECK(addr_eq(&a, &back) || (is_mapped(&a) && back.sa.sa_family == AF_INET));
	CHECK(addr_port(&a) == addr_port(&back));
	CHECK(addr_eq(&back, &back) && addr_is_loopback(&a) == addr_is_loopback(&back));
}

static void ip_check(struct span in)
{
	uint8_t ip[16], again[16];
	char text[ADDR_TEXT_MAX];
	struct addr a, back;
	size_t len;

	if (addr_parse_ip(in, &a) < 0)
		return;
	CHECK(addr_port(&a) == 0 && addr_to_ip16(&a, ip));
	len = addr_format_ip(&a, text);
	CHECK(len < sizeof(text) && strlen(text) == len && addr_parse_ip(span_of(text, len), &back) == 0);
	CHECK(addr_to_ip16(&back, again) && memcmp(ip, again, sizeof(ip)) == 0);
	addr_from_ip16(ip, 0, &back);
	CHECK(addr_to_ip16(&back, again) && memcmp(ip, again, sizeof(ip)) == 0);
}

static void prefix_check(struct span in)
{
	struct prefix p;
	uint8_t ip[16];

	if (prefix_parse(in, &p) < 0)
		return;
	CHECK(p.len <= 128 && prefix_contains(&p, p.ip));
	for (unsigned bit = 0; bit < 128; bit++) {
		memcpy(ip, p.ip, sizeof(ip));
		ip[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		CHECK(prefix_contains(&p, ip) == (bit >= p.len));
		CHECK(bit < p.len || !(p.ip[bit / 8] & 0x80 >> bit % 8));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span in = span_of((const char *)data, len);

	address_check(in);
	ip_check(in);
	prefix_check(in);
	return 0;
}
