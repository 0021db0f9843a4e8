/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_geo_real.c - real countries: at the edges of every range of Debian's tor-geoipdb (first, last, one before, one
 * after) the kernel's guard and accept together say what the database says, and the database what the text says.
 *
 * selftests/geo/fetch gets the ranges and makes the database.  Prints what compiling takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/geo_kernel.h"
#include "fastpath/geo_rules.h"
#include "fastpath/tables.h"
#include "packets.h"

#define LISTENERS 2 /* on ports 80 and 81 */

static struct packet_guard guard;
static struct geo_kernel kernel;
static char folder[512];
static struct geo_file *file;
static struct fastpath_plan plan;
static struct geo_rules *rules;
static uint8_t frame4[PACKET_MAX], frame6[PACKET_MAX];
static size_t len4, len6;

#define SOURCE4_AT 26 /* in a frame without tags */
#define SOURCE6_AT 22
#define PORT4_AT 36
#define PORT6_AT 56

static bool drops(const uint8_t ip[16], bool is_v4, uint16_t port, enum loader_program which)
{
	uint8_t *frame = is_v4 ? frame4 : frame6;

	memcpy(frame + (is_v4 ? SOURCE4_AT : SOURCE6_AT), ip + (is_v4 ? 12 : 0), is_v4 ? 4 : 16);
	(void)packet_put16(frame + (is_v4 ? PORT4_AT : PORT6_AT), port);
	return packet_guard_drops(&guard, which, frame, is_v4 ? len4 : len6);
}

struct seen {
	uint64_t edges, dropped, refused_at_accept, passed;
};

static geo_country country_at(const uint8_t ip[16])
{
	struct geo_place place;

	assert_int_equal(geo_file_find(file, ip, &place), 0);
	return place.country;
}

/* By the plan itself, not by anything that was made of it. */
static bool is_unwanted(uint32_t listener, geo_country country)
{
	const struct geo_choice *c = &plan.geo.choices[listener - 1];
	bool is_listed = false;

	for (size_t i = 0; i < c->count && country; i++)
		is_listed |= c->countries[i] == country;
	return c->is_allow != is_listed;
}

static void check_edge(struct seen *seen, const uint8_t ip[16], bool is_v4)
{
	geo_country country = country_at(ip);
	__u32 addr[4];

	memcpy(addr, ip, sizeof(addr));
	seen->edges++;
	for (uint32_t listener = 1; listener <= LISTENERS; listener++) {
		uint16_t port = (uint16_t)(79 + listener);
		bool is_refused = geo_rules_judge(rules, listener, ip).rules.is_refused;
		bool is_dropped = drops(ip, is_v4, port, LOADER_TC);
		bool wanted = is_unwanted(listener, country) && !sn_geo_is_exempt(addr);

		if (is_refused != wanted || (is_dropped && !wanted)) {
			char text[INET6_ADDRSTRLEN];

			(void)inet_ntop(AF_INET6, ip, text, sizeof(text));
			fail_msg("%s, listener %u: refused after accept %d, dropped %d, the database says %d", text,
				 listener, is_refused, is_dropped, wanted);
		}
		if (seen->edges % 16 == 0)
			assert_int_equal(drops(ip, is_v4, port, LOADER_XDP), is_dropped);
		seen->dropped += is_dropped;
		seen->refused_at_accept += is_refused && !is_dropped;
		seen->passed += !is_refused;
	}
}

/* One more or one less; false beyond the end of the family. */
static bool ip_step(uint8_t ip[16], unsigned from, int by)
{
	for (unsigned i = 16; i-- > from;) {
		ip[i] = (uint8_t)(ip[i] + by);
		if (ip[i] != (by > 0 ? 0 : 0xff))
			return true;
	}
	return false;
}

static bool text_to_ip(const char *text, uint8_t ip[16])
{
	if (strchr(text, ':'))
		return inet_pton(AF_INET6, text, ip) == 1;
	memset(ip, 0, 16);
	ip[10] = ip[11] = 0xff;
	*(uint32_t *)(void *)(ip + 12) = htonl((uint32_t)strtoul(text, NULL, 10));
	return true;
}

static void check_range(struct seen *seen, const char *first, const char *last, const char *country)
{
	uint8_t ip[16], other[16];
	bool is_v4 = !strchr(first, ':');
	geo_country wanted = 0;

	(void)geo_country_read(span_str(country), &wanted); /* "??" is nowhere */
	assert_true(text_to_ip(first, ip));
	if (country_at(ip) != wanted)
		fail_msg("%s is in %s", first, country);
	check_edge(seen, ip, is_v4);
	memcpy(other, ip, sizeof(other));
	if (ip_step(other, is_v4 ? 12 : 0, -1))
		check_edge(seen, other, is_v4);
	assert_true(text_to_ip(last, ip));
	if (country_at(ip) != wanted)
		fail_msg("%s is in %s", last, country);
	check_edge(seen, ip, is_v4);
	memcpy(other, ip, sizeof(other));
	if (ip_step(other, is_v4 ? 12 : 0, 1))
		check_edge(seen, other, is_v4);
}

/* Every `stride`-th range. */
static void check_ranges(const char *name, unsigned stride, struct seen *seen)
{
	unsigned number = 0;
	char path[600], line[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		struct span rest = span_of(line, strcspn(line, "\n")), part[3];
		char text[3][64] = { "" };

		if (line[0] == '#' || line[0] == '\n' || number++ % stride)
			continue;
		for (int i = 0; i < 3; i++) {
			assert_true(span_next(&rest, ',', &part[i]) && part[i].len < sizeof(text[i]));
			memcpy(text[i], part[i].ptr, part[i].len);
		}
		check_range(seen, text[0], text[1], text[2]);
	}
	(void)fclose(f);
	printf("%s: %llu edges, at two listeners each: dropped %llu, refused after accept %llu, passed %llu\n", name,
	       (unsigned long long)seen->edges, (unsigned long long)seen->dropped,
	       (unsigned long long)seen->refused_at_accept, (unsigned long long)seen->passed);
}

/* ---- the plan ---- */

static void choose(uint32_t listener, bool is_allow, const char *list)
{
	struct geo_choice c = { .listener = listener, .rule = listener, .is_allow = is_allow };
	struct span rest = span_str(list), word;
	geo_country countries[SN_GEO_NAMED_MAX];

	c.countries = countries;
	while (span_next(&rest, ' ', &word))
		assert_true(geo_country_read(word, &countries[c.count++]));
	geo_plan_add(&plan.geo, &c);
}

static void listen_on(void)
{
	for (uint16_t i = 0; i < LISTENERS; i++) {
		struct fastpath_vip v4 = { .port = (uint16_t)(80 + i), .proto = IPPROTO_TCP, .listener = i + 1u },
				    v6 = v4;

		packet_ip("192.0.2.1", v4.ip);
		packet_ip("2001:db8::1", v6.ip);
		assert_int_equal(plan_add_vip(&plan, &v4), 0);
		assert_int_equal(plan_add_vip(&plan, &v6), 0);
	}
}

static void put_in_force(void)
{
	struct geo_database *d = geo_file_database(file);
	struct geo_kernel_status status;
	struct strbuf why = { 0 };
	struct geo_built built;
	struct rusage usage;
	struct sn_budgets levels;

	strbuf_init(&why);
	assert_int_equal(geo_built_make(&built, d, plan.geo.named, plan.geo.named_count, &why), 0);
	geo_kernel_give(&kernel, &built);
	assert_int_equal(geo_kernel_apply(&kernel, &plan.geo, &why), 0);
	packet_guard_apply(&guard, &plan, NULL, &levels);
	assert_string_equal(why.ptr, "");
	geo_kernel_status(&kernel, &status);
	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	printf("%zu countries named: %llu ms for the kernel's tables; %u mixed /24, %u prefixes of IPv6%s (%u mixed); "
	       "the process had %ld MiB at most\n",
	       plan.geo.named_count, (unsigned long long)(status.spent_ns / 1000000), status.mixed4, status.prefixes6,
	       status.is_v4_only ? " (too many: after accept)" : "", status.mixed6, usage.ru_maxrss / 1024);
	geo_database_put(d);
	strbuf_fini(&why);
}

static void begin(bool is_allow1, const char *list1, bool is_allow2, const char *list2)
{
	listen_on();
	geo_file_hold(file);
	geo_plan_use(&plan.geo, file);
	choose(1, is_allow1, list1);
	choose(2, is_allow2, list2);
	put_in_force();
	rules = geo_rules_new(&plan);
}

static void end(void)
{
	geo_rules_free(rules);
	plan_fini(&plan);
}

static void test_every_edge(void **state)
{
	struct seen v4 = { 0 }, v6 = { 0 };

	(void)state;
	begin(false, "US CN RU BR", true, "DE FR NL US");
	check_ranges("geoip", 1, &v4);
	check_ranges("geoip6", 1, &v6);
	assert_true(v4.edges > 1000000 && v4.dropped > 500000);
	assert_true(v6.edges > 500000 && v6.dropped > 100000);
	end();
}

/* As many as there are: every number is in use. */
static void test_every_country(void **state)
{
	struct seen v4 = { 0 };
	struct strbuf list = { 0 };
	char text[3];

	(void)state;
	strbuf_init(&list);
	for (unsigned a = 'A'; a <= 'Z'; a++)
		for (unsigned b = 'A'; b <= 'Z' && list.len < 3 * 250; b++) {
			geo_country c = (geo_country)(a << 8 | b);

			if (a >= 'K' || b % 2)
				strbuf_printf(&list, "%s%s", list.len ? " " : "", geo_country_text(c, text));
		}
	begin(false, list.ptr, true, "JP ZW");
	check_ranges("geoip", 7, &v4);
	assert_true(v4.dropped > 70000);
	end();
	strbuf_fini(&list);
}

static void fetch(void)
{
	FILE *p = popen("selftests/geo/fetch", "r");

	if (!p || !fgets(folder, sizeof(folder), p) || pclose(p) != 0) {
		printf("failed: selftests/geo/fetch did not get the ranges\n");
		exit(1);
	}
	folder[strcspn(folder, "\n")] = '\0';
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_edge),
		cmocka_unit_test(test_every_country),
	};
	struct strbuf why = { 0 };
	uint64_t began;
	char path[600];
	int failed;

	hash_init();
	fetch();
	packet_guard_open(&guard);
	geo_kernel_init(&kernel, &guard.maps);
	strbuf_init(&why);
	(void)snprintf(path, sizeof(path), "%s/countries.mmdb", folder);
	began = clock_mono_ns();
	file = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	if (!file) {
		printf("failed: %s\n", why.ptr);
		return 1;
	}
	printf("opened and checked in %llu ms\n", (unsigned long long)((clock_mono_ns() - began) / 1000000));
	len4 = packet_build(frame4, &(struct packet_spec){ .tcp_flags = 2 });
	len6 = packet_build(frame6, &(struct packet_spec){ .source = "2001:db8::9", .destination = "2001:db8::1",
							   .tcp_flags = 2 });
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	geo_kernel_fini(&kernel);
	geo_file_put(file);
	strbuf_fini(&why);
	return failed;
}
