/* SPDX-License-Identifier: GPL-2.0-only */
/* test_database.c - databases of both formats: what is in them is found, what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "geo/database.h"
#include "geo/file.h"
#include "lib/mmdb_build.h"

static void ip_of(const char *text, uint8_t ip[16])
{
	memset(ip, 0, 16);
	ip[10] = ip[11] = 0xff;
	if (strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET6, text, ip), 1);
	else
		assert_int_equal(inet_pton(AF_INET, text, ip + 12), 1);
}

static void check_place(const struct geo_database *d, const char *address, const char *country, uint32_t asn)
{
	struct geo_place place;
	char text[3];
	uint8_t ip[16];

	ip_of(address, ip);
	assert_int_equal(geo_database_find(d, ip, &place), 0);
	assert_string_equal(geo_country_text(place.country, text), country);
	assert_int_equal(place.asn, asn);
}

static struct geo_database *opened(const struct mmdb_build *b)
{
	struct strbuf bytes = { 0 }, why = { 0 };
	struct geo_database *d;

	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_write(b, &bytes);
	d = geo_database_open_bytes(bytes.ptr, bytes.len, GEO_FORMAT_MAXMIND, &why);
	assert_string_equal(why.ptr, "");
	assert_non_null(d);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
	return d;
}

static void add_some(struct mmdb_build *b)
{
	mmdb_build_add_text(b, "10.0.0.0/8", "DE", 0);
	mmdb_build_add_text(b, "10.1.2.0/24", "FR", 64500);
	mmdb_build_add_text(b, "10.1.2.3/32", "", 64501);
}

static void test_countries_of_ipv4(void **state)
{
	static const unsigned bits[] = { 24, 28, 32 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
		struct mmdb_build b;
		struct geo_database *d;

		mmdb_build_init(&b, 4, bits[i]);
		add_some(&b);
		d = opened(&b);
		check_place(d, "9.255.255.255", "--", 0);
		check_place(d, "10.0.0.0", "DE", 0);
		check_place(d, "10.1.1.255", "DE", 0);
		check_place(d, "10.1.2.2", "FR", 64500);
		check_place(d, "10.1.2.3", "--", 64501);
		check_place(d, "11.0.0.0", "--", 0);
		check_place(d, "2001:db8::1", "--", 0); /* not an error: this database has no IPv6 */
		assert_int_equal(geo_database_info(d)->country_count, 2);
		assert_true(geo_database_info(d)->has_asn);
		assert_int_equal(geo_database_info(d)->ip_version, 4);
		assert_string_equal(geo_database_info(d)->type, "Test-Country");
		assert_int_equal(geo_database_info(d)->build_secs, 1700000000);
		geo_database_put(d);
		mmdb_build_fini(&b);
	}
}

static void test_countries_of_both_families(void **state)
{
	struct mmdb_build b;
	struct geo_database *d;
	uint8_t ip[16];

	(void)state;
	mmdb_build_init(&b, 6, 28);
	add_some(&b);
	mmdb_build_add_text(&b, "2001:db8::/32", "jp", 0);
	ip_of("2001:db8:1::", ip);
	mmdb_build_add(&b, ip, 48, (struct mmdb_build_data){ .country = "A1", .is_flat = true });
	mmdb_build_alias(&b);
	d = opened(&b);
	check_place(d, "10.1.2.2", "FR", 64500);
	check_place(d, "2001:db8::1", "JP", 0); /* written in capitals, however it stands there */
	check_place(d, "2001:db8:1:ffff::", "A1", 0);
	check_place(d, "2001:db8:2::", "JP", 0);
	check_place(d, "2002:a01:202::", "FR", 64500);
	check_place(d, "2001:db9::", "--", 0);
	geo_database_put(d);
	mmdb_build_fini(&b);
}

static void test_words_that_are_no_country(void **state)
{
	geo_country c;
	char text[3];

	(void)state;
	assert_true(geo_country_read(SPAN("de"), &c));
	assert_string_equal(geo_country_text(c, text), "DE");
	assert_false(geo_country_read(SPAN("D"), &c));
	assert_false(geo_country_read(SPAN("DEU"), &c));
	assert_false(geo_country_read(SPAN("??"), &c));
	assert_false(geo_country_read(SPAN("\xc3\xa4"), &c));
	assert_string_equal(geo_country_text(0, text), "--");
}

/* Every single byte changed, every length: opened or refused with a sentence, and never a wrong access. */
static void test_damaged_databases(void **state)
{
	struct strbuf bytes = { 0 }, why = { 0 };
	struct mmdb_build b;
	size_t refused = 0;

	(void)state;
	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_init(&b, 6, 24);
	add_some(&b);
	mmdb_build_add_text(&b, "2001:db8::/32", "JP", 0);
	mmdb_build_write(&b, &bytes);
	for (size_t i = 0; i < 2 * bytes.len; i++) {
		char *copy = mem_alloc(bytes.len);
		size_t len = i < bytes.len ? bytes.len : i - bytes.len;
		struct geo_database *d;
		struct geo_place place;
		uint8_t ip[16];

		memcpy(copy, bytes.ptr, bytes.len);
		if (i < bytes.len)
			copy[i] = (char)(copy[i] ^ 0xff);
		strbuf_reset(&why);
		d = geo_database_open_bytes(copy, len, GEO_FORMAT_MAXMIND, &why);
		assert_true(d || why.len > 10);
		refused += !d;
		ip_of("10.1.2.3", ip);
		if (d)
			(void)geo_database_find(d, ip, &place);
		geo_database_put(d);
		free(copy);
	}
	/* Cut short it is never right; and most of what was changed is the tree. */
	assert_true(refused > bytes.len + bytes.len / 2);
	mmdb_build_fini(&b);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
}

/* ---- IP2Location ---- */

struct bin_row {
	const char *first;
	const char *country;
};

static void put32(struct strbuf *out, size_t at, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		out->ptr[at + i] = (char)(value >> 8 * i);
}

static uint32_t bin_string(struct strbuf *out, const char *text)
{
	uint32_t at = (uint32_t)out->len;

	strbuf_add_char(out, (char)strlen(text));
	strbuf_add_str(out, text);
	return at;
}

/* DB3: country, region, city; rows point at strings behind the tables. */
static void bin_build(struct strbuf *out, const struct bin_row *v4, uint32_t v4_count, const struct bin_row *v6,
		      uint32_t v6_count)
{
	size_t v4_at = 64, v6_at = v4_at + v4_count * 16, end = v6_at + v6_count * 28;

	strbuf_reset(out);
	while (out->len < end)
		strbuf_add_char(out, '\0');
	memcpy(out->ptr, "\3\4\x18\1\2", 5);
	put32(out, 5, v4_count);
	put32(out, 9, (uint32_t)v4_at + 1);
	put32(out, 13, v6_count);
	put32(out, 17, (uint32_t)v6_at + 1);
	for (uint32_t i = 0; i < v4_count + v6_count; i++) {
		bool is_v4 = i < v4_count;
		size_t row = is_v4 ? v4_at + i * 16 : v6_at + (i - v4_count) * 28;
		uint8_t ip[16];

		ip_of(is_v4 ? v4[i].first : v6[i - v4_count].first, ip);
		for (unsigned k = 0; k < (is_v4 ? 4u : 16u); k++)
			out->ptr[row + k] = (char)ip[15 - k];
		put32(out, row + (is_v4 ? 4 : 16),
		      bin_string(out, is_v4 ? v4[i].country : v6[i - v4_count].country));
	}
	out->ptr[29] = 1;
	put32(out, 31, (uint32_t)out->len);
}

static const struct bin_row v4_rows[] = { { "0.0.0.0", "-" },	 { "10.0.0.0", "DE" },	      { "10.1.2.0", "FR" },
					  { "10.1.3.0", "DE" }, { "11.0.0.0", "-" },
					  { "255.255.255.255", "-" } };
static const struct bin_row v6_rows[] = { { "::", "-" }, { "2001:db8::", "JP" }, { "2001:db9::", "-" } };

static void test_ip2location(void **state)
{
	struct strbuf bytes = { 0 }, why = { 0 };
	struct geo_database *d;

	(void)state;
	strbuf_init(&why);
	strbuf_init(&bytes);
	bin_build(&bytes, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	d = geo_database_open_bytes(bytes.ptr, bytes.len, GEO_FORMAT_IP2LOCATION, &why);
	assert_string_equal(why.ptr, "");
	check_place(d, "0.0.0.0", "--", 0);
	check_place(d, "9.255.255.255", "--", 0);
	check_place(d, "10.0.0.0", "DE", 0);
	check_place(d, "10.1.2.0", "FR", 0);
	check_place(d, "10.1.2.255", "FR", 0);
	check_place(d, "10.1.3.0", "DE", 0);
	check_place(d, "10.255.255.255", "DE", 0);
	check_place(d, "255.255.255.255", "--", 0);
	check_place(d, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "--", 0);
	check_place(d, "2001:db8::", "JP", 0);
	check_place(d, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "JP", 0);
	check_place(d, "2001:db9::", "--", 0);
	assert_int_equal(geo_database_info(d)->ip_version, 6);
	assert_int_equal(geo_database_info(d)->country_count, 3);
	assert_string_equal(geo_database_info(d)->type, "DB3 2024-01-02");
	geo_database_put(d);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
}

static void refused(struct strbuf *bytes, size_t len, const char *reason)
{
	struct strbuf why = { 0 };

	strbuf_init(&why);
	assert_null(geo_database_open_bytes(bytes->ptr, len, GEO_FORMAT_IP2LOCATION, &why));
	if (!strstr(why.ptr, reason))
		fail_msg("\"%s\" is not in \"%s\"", reason, why.ptr);
	strbuf_fini(&why);
}

static void test_damaged_ip2location(void **state)
{
	struct strbuf b = { 0 };

	(void)state;
	strbuf_init(&b);
	refused(&b, 0, "not an IP2Location");
	bin_build(&b, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	for (size_t len = 0; len < b.len; len++)
		refused(&b, len, len < 64 ? "not an IP2Location" : "cut short");
	b.ptr[29] = 2;
	refused(&b, b.len, "another product");
	bin_build(&b, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	put32(&b, 5, 0x10000000);
	refused(&b, b.len, "not where it says");
	bin_build(&b, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	put32(&b, 17, 0xffffffff);
	refused(&b, b.len, "not where it says");
	bin_build(&b, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	put32(&b, 64 + 2 * 16 + 4, (uint32_t)b.len);
	refused(&b, b.len, "row 2 of IPv4");
	bin_build(&b, v4_rows, ARRAY_LEN(v4_rows), v6_rows, ARRAY_LEN(v6_rows));
	put32(&b, 64 + 3 * 16, 1);
	refused(&b, b.len, "row 3 of IPv4");
	strbuf_fini(&b);
}

/* ---- files ---- */

static void write_file(const char *path, const char *country)
{
	struct strbuf bytes = { 0 };
	struct mmdb_build b;
	char other[256];
	FILE *f;

	strbuf_init(&bytes);
	mmdb_build_init(&b, 4, 24);
	mmdb_build_add_text(&b, "10.0.0.0/8", country, 0);
	mmdb_build_write(&b, &bytes);
	(void)snprintf(other, sizeof(other), "%s.new", path);
	f = fopen(other, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, f), bytes.len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(other, path), 0);
	mmdb_build_fini(&b);
	strbuf_fini(&bytes);
}

static void check_file(struct geo_file *f, const char *country)
{
	struct geo_database *d = geo_file_database(f);

	check_place(d, "10.2.3.4", country, 0);
	geo_database_put(d);
}

static void count_file(void *ctx, struct geo_file *f)
{
	assert_non_null(f);
	++*(unsigned *)ctx;
}

static void test_files_are_shared_and_replaced(void **state)
{
	char folder[] = "/tmp/test_geo_XXXXXX", path[64];
	struct strbuf why = { 0 };
	struct geo_file *f, *again;
	unsigned count = 0;
	uint64_t look;

	(void)state;
	strbuf_init(&why);
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/geo.mmdb", folder);
	assert_null(geo_file_get(path, GEO_FORMAT_MAXMIND, &why));
	assert_non_null(strstr(why.ptr, "geo.mmdb cannot be opened: "));
	write_file(path, "DE");
	f = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	assert_non_null(f);
	check_file(f, "DE");
	assert_false(geo_file_has_changed(f));
	look = geo_file_look(f);

	write_file(path, "FR");
	assert_true(geo_file_has_changed(f));
	assert_int_not_equal(geo_file_look(f), look);
	again = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	assert_ptr_equal(again, f);
	check_file(f, "DE"); /* nobody gave the new one */
	geo_file_give(f, geo_database_open(path, GEO_FORMAT_MAXMIND, &why));
	check_file(again, "FR");
	assert_false(geo_file_has_changed(f));

	/* Whoever truncates it in place hurts nobody. */
	assert_int_equal(truncate(path, 10), 0);
	check_file(f, "FR");
	assert_true(geo_file_has_changed(f));
	assert_int_equal(unlink(path), 0);
	assert_false(geo_file_has_changed(f)); /* gone is not changed: the old one goes on */
	assert_int_equal(geo_file_look(f), 0);
	geo_file_for_each(count_file, &count);
	assert_int_equal(count, 1);
	geo_file_put(f);
	geo_file_put(again);
	count = 0;
	geo_file_for_each(count_file, &count);
	assert_int_equal(count, 0);
	assert_int_equal(rmdir(folder), 0);
	strbuf_fini(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_countries_of_ipv4),
		cmocka_unit_test(test_countries_of_both_families),
		cmocka_unit_test(test_words_that_are_no_country),
		cmocka_unit_test(test_damaged_databases),
		cmocka_unit_test(test_ip2location),
		cmocka_unit_test(test_damaged_ip2location),
		cmocka_unit_test(test_files_are_shared_and_replaced),
	};

	hash_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
