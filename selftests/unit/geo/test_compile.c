/* SPDX-License-Identifier: GPL-2.0-only */
/* test_compile.c - the kernel's tables say what the database says, or that it has to be asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "geo/compile.h"
#include "lib/mmdb_build.h"

static const char *const countries[] = { "DE", "FR", "JP", "US", "CN", "" };
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

static void ip_of(const char *text, uint8_t ip[16])
{
	memset(ip, 0, 16);
	ip[10] = ip[11] = 0xff;
	if (strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET6, text, ip), 1);
	else
		assert_int_equal(inet_pton(AF_INET, text, ip + 12), 1);
}

static geo_country country_of(const char *text)
{
	geo_country c = 0;

	(void)geo_country_read(span_str(text), &c);
	return c;
}

static void compiled(const struct mmdb_build *b, const char *named, struct geo_tables *out,
		     struct geo_database **out_database)
{
	struct strbuf bytes = { 0 }, why = { 0 };
	struct span rest = span_str(named), word;
	geo_country list[300];
	size_t count = 0;

	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_write(b, &bytes);
	*out_database = geo_database_open_bytes(bytes.ptr, bytes.len, GEO_FORMAT_MAXMIND, &why);
	assert_string_equal(why.ptr, "");
	while (span_next(&rest, ' ', &word))
		assert_true(geo_country_read(word, &list[count++]));
	assert_int_equal(geo_compile(out, *out_database, list, count, &why), 0);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
}

static void check_number(const struct geo_tables *t, const char *address, unsigned number)
{
	uint8_t ip[16];

	ip_of(address, ip);
	if (geo_tables_find(t, ip) != number)
		fail_msg("%s: number %u, wanted %u", address, geo_tables_find(t, ip), number);
}

static void test_numbers_and_mixed_blocks(void **state)
{
	struct geo_database *d;
	struct geo_tables t;
	struct mmdb_build b;

	(void)state;
	mmdb_build_init(&b, 6, 28);
	mmdb_build_add_text(&b, "10.0.0.0/8", "DE", 0);
	mmdb_build_add_text(&b, "10.1.2.0/25", "FR", 0);
	mmdb_build_add_text(&b, "10.1.3.0/24", "JP", 0);
	mmdb_build_add_text(&b, "10.1.4.128/25", "DE", 7); /* another record, the same country */
	mmdb_build_add_text(&b, "20.0.0.0/25", "JP", 0);   /* not named, beside nothing: both are "other" */
	mmdb_build_add_text(&b, "255.255.255.0/24", "DE", 0);
	mmdb_build_add_text(&b, "2001:db8::/32", "FR", 0);
	mmdb_build_add_text(&b, "2001:db8:1::/48", "DE", 0);
	mmdb_build_add_text(&b, "2001:db8:2::/49", "DE", 0);
	mmdb_build_add_text(&b, "2001:db8:3:8000::/49", "FR", 0);
	mmdb_build_alias(&b);
	compiled(&b, "DE FR", &t, &d);
	check_number(&t, "9.255.255.255", 0);
	check_number(&t, "10.0.0.0", 1);
	check_number(&t, "10.1.2.0", SN_GEO_MIXED);
	check_number(&t, "10.1.2.255", SN_GEO_MIXED);
	check_number(&t, "10.1.3.0", 0);
	check_number(&t, "10.1.4.200", 1);
	check_number(&t, "10.255.255.255", 1);
	check_number(&t, "20.0.0.1", 0);
	check_number(&t, "255.255.255.255", 1);
	check_number(&t, "2001:db8::", 2);
	check_number(&t, "2001:db8:1:ffff::", 1);
	check_number(&t, "2001:db8:2::", SN_GEO_MIXED);
	check_number(&t, "2001:db8:3::", 2);
	check_number(&t, "2001:db9::", 0);
	check_number(&t, "2002::", SN_GEO_MIXED); /* IPv4 once more */
	check_number(&t, "2001:0:1::", SN_GEO_MIXED);
	check_number(&t, "::1", SN_GEO_MIXED);
	assert_int_equal(t.v4_mixed, 1);
	assert_true(t.v6_mixed >= 3 && t.v6_count < 64);
	assert_false(t.is_v6_left_out);
	geo_tables_fini(&t);
	geo_database_put(d);
	mmdb_build_fini(&b);
}

static void test_one_country_everywhere(void **state)
{
	struct geo_database *d;
	struct geo_tables t;
	struct mmdb_build b;

	(void)state;
	mmdb_build_init(&b, 6, 24);
	mmdb_build_add_text(&b, "::/1", "DE", 0);
	mmdb_build_add_text(&b, "8000::/1", "DE", 0);
	compiled(&b, "FR DE", &t, &d);
	check_number(&t, "0.0.0.0", 2);
	check_number(&t, "255.255.255.255", 2);
	check_number(&t, "::", 2);
	check_number(&t, "ffff::", 2);
	assert_int_equal(t.v6_count, 1);
	assert_int_equal(t.v6[0].len, 0);
	geo_tables_fini(&t);
	geo_database_put(d);
	mmdb_build_fini(&b);
}

static void draw_ip(uint8_t ip[16], bool is_v4)
{
	memset(ip, 0, 16);
	ip[10] = ip[11] = is_v4 ? 0xff : 0;
	if (!is_v4) {
		ip[0] = 0x20;
		ip[1] = 0x01;
	}
	for (unsigned i = is_v4 ? 12 : 2; i < 16; i++)
		ip[i] = draw(3) ? 0 : (uint8_t)(0x80 >> draw(8));
}

static void draw_tree(struct mmdb_build *b)
{
	mmdb_build_init(b, 6, draw(2) ? 24 : 32);
	for (unsigned i = draw(60); i > 0; i--) {
		struct mmdb_build_data data = { .asn = draw(2) };
		const char *country = countries[draw(ARRAY_LEN(countries))];
		bool is_v4 = draw(2);
		unsigned len = is_v4 ? 96 + 1 + draw(32) : 17 + draw(112);
		uint8_t ip[16];

		memcpy(data.country, country, strlen(country));
		draw_ip(ip, is_v4);
		mmdb_build_add(b, ip, len, data);
	}
	if (draw(2))
		mmdb_build_alias(b);
}

/* Exact, or mixed; and mixed only where the block of the address has two numbers in it. */
static void check_exact(const struct geo_tables *t, const struct geo_database *d, const uint8_t ip[16])
{
	unsigned said = geo_tables_find(t, ip);
	struct geo_place place;
	unsigned wanted;

	assert_int_equal(geo_database_find(d, ip, &place), 0);
	wanted = place.country == country_of("DE") ? 1 : place.country == country_of("JP") ? 2 : 0;
	if (said != SN_GEO_MIXED && said != wanted)
		fail_msg("number %u, the database says %u", said, wanted);
}

static void test_random_trees(void **state)
{
	unsigned exact = 0;

	(void)state;
	for (unsigned round = 0; round < 150; round++) {
		struct geo_database *d;
		struct geo_tables t;
		struct mmdb_build b;

		draw_tree(&b);
		compiled(&b, "DE JP", &t, &d);
		for (unsigned i = 0; i < 400; i++) {
			uint8_t ip[16];

			draw_ip(ip, draw(2));
			check_exact(&t, d, ip);
			exact += geo_tables_find(&t, ip) == 1 || geo_tables_find(&t, ip) == 2;
		}
		geo_tables_fini(&t);
		geo_database_put(d);
		mmdb_build_fini(&b);
	}
	assert_true(exact > 2000);
}

static void test_more_ipv6_than_fits(void **state)
{
	struct geo_database *d;
	struct geo_tables t;
	struct mmdb_build b;
	uint8_t ip[16] = { 0x20, 0x01, 0x0d, 0xb8 };

	(void)state;
	mmdb_build_init(&b, 6, 32);
	mmdb_build_add_text(&b, "10.0.0.0/8", "DE", 0);
	for (uint32_t i = 0; i <= SN_GEO6_MAX; i++) {
		ip[3] = (uint8_t)(2 * i >> 16);
		ip[4] = (uint8_t)(2 * i >> 8);
		ip[5] = (uint8_t)(2 * i);
		mmdb_build_add(&b, ip, 48, (struct mmdb_build_data){ .country = "DE" });
	}
	compiled(&b, "DE", &t, &d);
	assert_true(t.is_v6_left_out);
	assert_int_equal(t.v6_count, 0);
	check_number(&t, "10.0.0.0", 1);
	geo_tables_fini(&t);
	geo_database_put(d);
	mmdb_build_fini(&b);
}

static void test_too_many_names_and_trees_without_end(void **state)
{
	struct strbuf why = { 0 }, bytes = { 0 };
	geo_country many[SN_GEO_NAMED_MAX + 1] = { 0 };
	struct geo_database *d;
	struct geo_tables t;
	struct mmdb_build b;

	(void)state;
	strbuf_init(&why);
	strbuf_init(&bytes);
	mmdb_build_init(&b, 6, 24);
	mmdb_build_add_text(&b, "10.0.0.0/8", "DE", 0);
	/* A node whose sides both lead back to it: 2^24 prefixes. */
	b.nodes[1][0] = b.nodes[1][1] = 1;
	mmdb_build_write(&b, &bytes);
	d = geo_database_open_bytes(bytes.ptr, bytes.len, GEO_FORMAT_MAXMIND, &why);
	assert_string_equal(why.ptr, "");
	assert_non_null(d);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (geo_country)(i + 1);
	assert_int_equal(geo_compile(&t, d, many, ARRAY_LEN(many), &why), -E2BIG);
	assert_non_null(strstr(why.ptr, "255 countries are named"));
	strbuf_reset(&why);
	assert_int_equal(geo_compile(&t, d, many, 1, &why), -EBADMSG);
	assert_non_null(strstr(why.ptr, "no end"));
	geo_database_put(d);
	mmdb_build_fini(&b);
	strbuf_fini(&why);
	strbuf_fini(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_and_mixed_blocks),
		cmocka_unit_test(test_one_country_everywhere),
		cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_more_ipv6_than_fits),
		cmocka_unit_test(test_too_many_names_and_trees_without_end),
	};
	const char *given = getenv("SEED");

	hash_init();
	seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
