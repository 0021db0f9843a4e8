/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_guard_geo.c - countries: what the kernel's two guards drop, accept refuses too, and both together are exactly
 * what the database says.
 *
 * Random with a printed seed (SEED=n repeats a run).  Addresses are drawn from few bits, so that prefixes overlap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/geo_kernel.h"
#include "fastpath/geo_rules.h"
#include "fastpath/stats.h"
#include "fastpath/tables.h"
#include "lib/mmdb_build.h"
#include "packets.h"

#define ROUNDS 30
#define SOURCES 200
#define LISTENERS 3 /* on ports 80, 81 and 82 */

static const char *const words[] = { "DE", "FR", "JP", "US", "CN", "" };
static struct packet_guard guard;
static struct geo_kernel kernel;
static uint64_t seed;
static char folder[] = "/tmp/test_guard_geo_XXXXXX";
static char path[64];

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

static void draw_source(uint8_t out_ip[16], bool is_v4)
{
	packet_ip(is_v4 ? "10.0.0.0" : "2001:db8::", out_ip);
	for (int i = is_v4 ? 13 : 4; i < 16; i++)
		out_ip[i] = draw(3) ? 0 : (uint8_t)(0x80 >> draw(8));
}

/* ---- a database, a plan, the maps ---- */

static struct geo_file *write_database(const struct mmdb_build *b)
{
	struct strbuf bytes = { 0 }, why = { 0 };
	struct geo_file *f;
	FILE *file = fopen(path, "w");

	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_write(b, &bytes);
	assert_non_null(file);
	assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
	assert_int_equal(fclose(file), 0);
	f = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	assert_string_equal(why.ptr, "");
	strbuf_fini(&bytes);
	strbuf_fini(&why);
	return f;
}

static void draw_database(struct mmdb_build *b)
{
	mmdb_build_init(b, 6, 28);
	mmdb_build_add_text(b, "10.0.0.0/8", words[draw(3)], 0);
	mmdb_build_add_text(b, "2001:db8::/32", words[draw(3)], 0);
	for (unsigned i = draw(80); i > 0; i--) {
		struct mmdb_build_data data = { 0 };
		const char *word = words[draw(ARRAY_LEN(words))];
		bool is_v4 = draw(2);
		uint8_t ip[16];

		memcpy(data.country, word, strlen(word));
		draw_source(ip, is_v4);
		mmdb_build_add(b, ip, is_v4 ? 104 + draw(25) : 32 + draw(97), data);
	}
	if (draw(2))
		mmdb_build_alias(b);
}

static void plan_listen(struct fastpath_plan *p)
{
	for (uint16_t i = 0; i < LISTENERS; i++) {
		struct fastpath_vip v4 = { .port = (uint16_t)(80 + i), .proto = IPPROTO_TCP, .listener = i + 1u },
				    v6 = v4;

		packet_ip("192.0.2.1", v4.ip);
		packet_ip("2001:db8::1", v6.ip);
		assert_int_equal(plan_add_vip(p, &v4), 0);
		assert_int_equal(plan_add_vip(p, &v6), 0);
	}
}

static void plan_choose(struct fastpath_plan *p, uint32_t listener, bool is_allow, bool is_monitor, const char *list)
{
	struct geo_choice c = { .listener = listener, .rule = 100 + listener, .is_allow = is_allow,
				.is_monitor = is_monitor };
	struct span rest = span_str(list), word;
	geo_country countries[8];

	c.countries = countries;
	while (span_next(&rest, ' ', &word))
		assert_true(geo_country_read(word, &countries[c.count++]));
	geo_plan_add(&p->geo, &c);
}

static void draw_plan(struct fastpath_plan *p, struct geo_file *f)
{
	static const char *const lists[] = { "DE", "FR JP", "US CN DE", "XX" };

	plan_listen(p);
	geo_plan_use(&p->geo, f);
	p->is_monitor = draw(8) == 0;
	for (uint32_t i = 1; i <= LISTENERS; i++)
		if (draw(5))
			plan_choose(p, i, draw(2), draw(6) == 0, lists[draw(ARRAY_LEN(lists))]);
	if (draw(2)) {
		struct fastpath_acl a = { .action = draw(2) ? SN_ACL_ALLOW : SN_ACL_DENY, .rule = 7, .len = 97 };

		packet_ip("0.0.0.0", a.ip);
		a.len = (uint8_t)(96 + 9);
		packet_ip(draw(2) ? "10.0.0.0" : "10.128.0.0", a.ip);
		assert_int_equal(plan_add_acl(p, &a), 0);
	}
}

/* Of the tables only what is there. */
static void put_without_tables(const struct fastpath_plan *p)
{
	struct strbuf why = { 0 };
	struct sn_budgets levels;

	strbuf_init(&why);
	assert_int_equal(geo_kernel_apply(&kernel, &p->geo, &why), 0);
	assert_string_equal(why.ptr, "");
	packet_guard_apply(&guard, p, NULL, &levels);
	strbuf_fini(&why);
}

static void put_in_force(const struct fastpath_plan *p)
{
	struct strbuf why = { 0 };
	struct geo_built built;

	strbuf_init(&why);
	if (geo_kernel_wants(&kernel, &p->geo)) {
		struct geo_database *d = geo_file_database(p->geo.file);

		assert_int_equal(geo_built_make(&built, d, p->geo.named, p->geo.named_count, &why), 0);
		geo_kernel_give(&kernel, &built);
		geo_database_put(d);
	}
	put_without_tables(p);
	assert_false(geo_kernel_wants(&kernel, &p->geo));
	strbuf_fini(&why);
}

/* ---- packets ---- */

static bool drops(enum loader_program which, const uint8_t ip[16], uint16_t port, uint8_t tcp_flags, uint8_t proto)
{
	bool is_v4 = ip[10] == 0xff && ip[11] == 0xff && !ip[0];
	char source[INET6_ADDRSTRLEN];
	struct packet_spec spec = { .source = source, .port = port, .tcp_flags = tcp_flags, .proto = proto };
	uint8_t frame[PACKET_MAX];
	size_t len;

	(void)inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? ip + 12 : ip, source, sizeof(source));
	spec.destination = is_v4 ? "192.0.2.1" : "2001:db8::1";
	len = packet_build(frame, &spec);
	return packet_guard_drops(&guard, which, frame, len);
}

#define SYN 2
#define ACK 16

static bool kernel_drops(const uint8_t ip[16], uint16_t port)
{
	bool first = drops(LOADER_TC, ip, port, SYN, IPPROTO_TCP);

	assert_int_equal(drops(LOADER_XDP, ip, port, SYN, IPPROTO_TCP), first);
	return first;
}

static bool text_drops(const char *source, uint16_t port)
{
	uint8_t ip[16];

	packet_ip(source, ip);
	return kernel_drops(ip, port);
}

/* ---- the comparison ---- */

struct seen {
	unsigned dropped, refused_at_accept, passed, monitored;
};

static bool database_refuses(const struct fastpath_plan *p, uint32_t listener, geo_country country, bool *out_monitor)
{
	for (size_t i = 0; i < p->geo.choice_count; i++) {
		const struct geo_choice *c = &p->geo.choices[i];
		bool is_listed = false;

		if (c->listener != listener)
			continue;
		for (size_t k = 0; k < c->count; k++)
			is_listed |= c->countries[k] == country;
		*out_monitor = c->is_monitor || p->is_monitor;
		return c->is_allow ? !is_listed : is_listed;
	}
	return false;
}

/* What is said here is written a third time, in the plainest way. */
static void compare(const struct fastpath_plan *p, const struct rules *r, const struct geo_rules *g, struct seen *seen)
{
	uint16_t port = (uint16_t)(80 + draw(LISTENERS));
	uint32_t listener = port - 79u;
	struct geo_verdict at_accept = { 0 };
	bool is_monitor = false, is_refused, is_dropped;
	struct rules_verdict v;
	struct geo_place place;
	uint8_t ip[16];

	draw_source(ip, draw(2));
	v = rules_judge(r, NULL, ip, clock_boot_ns());
	if (!v.reason && !v.rule)
		at_accept = geo_rules_judge(g, listener, ip);
	assert_int_equal(geo_file_find(p->geo.file, ip, &place), 0);
	is_refused = !v.reason && !v.rule && database_refuses(p, listener, place.country, &is_monitor);
	assert_int_equal(at_accept.rules.reason, is_refused ? SN_DROP_GEO : SN_DROP_NONE);
	assert_int_equal(at_accept.rules.is_refused, is_refused && !is_monitor);
	is_dropped = kernel_drops(ip, port);
	if (is_dropped && !v.is_refused && !at_accept.rules.is_refused)
		fail_msg("the kernel drops what accept lets in");
	if (!is_dropped && v.is_refused)
		fail_msg("a rule without a country does not hold in the kernel");
	seen->dropped += is_dropped && at_accept.rules.is_refused;
	seen->refused_at_accept += !is_dropped && at_accept.rules.is_refused;
	seen->passed += !is_dropped && !at_accept.rules.is_refused && !v.is_refused;
	seen->monitored += is_refused && is_monitor;
	if (is_dropped) {
		/* Only a SYN is asked for its country. */
		if (!v.is_refused)
			assert_false(drops(LOADER_TC, ip, port, ACK, IPPROTO_TCP));
		if (!v.is_refused)
			assert_false(drops(LOADER_XDP, ip, port, SYN | ACK, IPPROTO_TCP));
	}
}

static void compare_many(const struct fastpath_plan *p, struct seen *seen)
{
	struct rules *r = rules_new(p);
	struct geo_rules *g = geo_rules_new(p);

	for (unsigned k = 0; k < SOURCES; k++)
		compare(p, r, g, seen);
	rules_free(r);
	geo_rules_free(g);
}

static bool is_each_seen_often(const struct seen *s)
{
	return s->dropped > ROUNDS * SOURCES / 10 && s->refused_at_accept > ROUNDS * SOURCES / 100 &&
	       s->passed > ROUNDS * SOURCES / 10 && s->monitored > ROUNDS * SOURCES / 100;
}

static void test_random_countries_are_read_alike(void **state)
{
	struct seen seen = { 0 }, meanwhile = { 0 };

	(void)state;
	/* What a plan chooses is drawn once for all its sources: of 1,000 seeds 2 take more than these rounds. */
	for (unsigned i = 0; i < ROUNDS || (i < 10 * ROUNDS && !is_each_seen_often(&seen)); i++) {
		struct fastpath_plan p = { 0 };
		struct mmdb_build b;

		draw_database(&b);
		draw_plan(&p, write_database(&b));
		/* The tables there are from another database. */
		put_without_tables(&p);
		if (i > 0 && p.geo.choice_count)
			compare_many(&p, &meanwhile);
		assert_int_equal(meanwhile.dropped, 0);
		put_in_force(&p);
		compare_many(&p, &seen);
		plan_fini(&p);
		mmdb_build_fini(&b);
	}
	printf("dropped %u, refused at accept only %u, passed %u, monitored %u\n", seen.dropped,
	       seen.refused_at_accept, seen.passed, seen.monitored);
	assert_true(is_each_seen_often(&seen));
}

/* A reload: of the same database, and while tables for the new plan are compiled. */
static void test_random_reloads_refuse_nothing_of_the_old_plan(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct geo_file *f;
		struct mmdb_build b;

		draw_database(&b);
		f = write_database(&b);
		for (unsigned k = 0; k < 4; k++) {
			struct fastpath_plan p = { 0 };

			geo_file_hold(f);
			draw_plan(&p, f);
			put_without_tables(&p);
			if (k > 0)
				compare_many(&p, &seen);
			if (k % 2 == 0)
				put_in_force(&p);
			plan_fini(&p);
		}
		geo_file_put(f);
		mmdb_build_fini(&b);
	}
	printf("dropped %u, refused at accept only %u, passed %u\n", seen.dropped, seen.refused_at_accept, seen.passed);
	/* What tables know of the countries of another plan holds at once. */
	assert_true(seen.dropped > ROUNDS * SOURCES / 20);
	assert_true(seen.refused_at_accept > ROUNDS * SOURCES / 20);
}

/* ---- one at a time ---- */

static struct geo_file *small_database(void)
{
	struct geo_file *f;
	struct mmdb_build b;

	mmdb_build_init(&b, 6, 24);
	mmdb_build_add_text(&b, "10.0.0.0/16", "DE", 0);
	mmdb_build_add_text(&b, "10.0.5.0/25", "FR", 0);
	mmdb_build_add_text(&b, "10.1.0.0/16", "FR", 0);
	mmdb_build_add_text(&b, "2001:db8::/33", "DE", 0);
	mmdb_build_add_text(&b, "2001:db8:8000::/33", "FR", 0);
	mmdb_build_alias(&b);
	f = write_database(&b);
	mmdb_build_fini(&b);
	return f;
}

static uint64_t monitored_packets(enum sn_drop reason)
{
	struct fastpath_stats s;

	assert_int_equal(stats_read(&guard.maps, &s), 0);
	return s.monitored[reason].packets;
}

static void count_of(void *ctx, const struct geo_kernel_count *c)
{
	uint64_t *out = ctx;

	if (strcmp(c->country, "DE") == 0) {
		out[0] = c->packets;
		out[1] = c->monitored;
	} else if (strcmp(c->country, "--") == 0) {
		out[2] = c->packets;
	}
}

static void test_listeners_monitor_and_counts(void **state)
{
	uint64_t before[3] = { 0 }, after[3] = { 0 }, monitored;
	struct fastpath_plan p = { 0 };

	(void)state;
	plan_listen(&p);
	geo_plan_use(&p.geo, small_database());
	plan_choose(&p, 1, false, false, "DE");
	plan_choose(&p, 2, true, false, "DE");
	put_in_force(&p);
	assert_int_equal(geo_kernel_counts(&kernel, count_of, before), 0);
	assert_true(text_drops("10.0.0.1", 80));
	assert_false(text_drops("10.1.0.1", 80));
	assert_false(text_drops("11.0.0.1", 80)); /* in no country: passes deny ... */
	assert_true(text_drops("11.0.0.1", 81));  /* ... and fails allow */
	assert_false(text_drops("10.0.0.1", 81));
	assert_true(text_drops("10.1.0.1", 81));
	assert_false(text_drops("10.0.5.200", 80)); /* a block with two countries is for accept */
	assert_false(text_drops("10.1.0.1", 82));   /* a listener without a rule */
	assert_true(text_drops("2001:db8::5", 80));
	assert_false(text_drops("2001:db8:8000::5", 80));
	assert_false(text_drops("2002:a00:1::", 80)); /* IPv4 once more: for accept */
	assert_false(text_drops("127.0.0.1", 81));    /* in no country, and never asked */
	assert_false(text_drops("::1", 81));
	assert_true(text_drops("::2", 81) == false); /* shares a /48 with all of IPv4 */
	assert_int_equal(geo_kernel_counts(&kernel, count_of, after), 0);
	/* Each source met both programs. */
	assert_int_equal(after[0] - before[0], 4);
	assert_int_equal(after[2] - before[2], 4); /* FR is not named: it counts as another one */
	monitored = monitored_packets(SN_DROP_GEO);
	plan_fini(&p);

	plan_listen(&p);
	geo_plan_use(&p.geo, small_database());
	plan_choose(&p, 1, false, true, "DE");
	put_in_force(&p);
	assert_false(text_drops("10.0.0.1", 80));
	assert_int_equal(monitored_packets(SN_DROP_GEO), monitored + 2);
	assert_int_equal(geo_kernel_counts(&kernel, count_of, before), 0);
	assert_int_equal(before[1] - after[1], 2);
	plan_fini(&p);
}

static int udp_seen(const char *source)
{
	uint8_t ip[16];

	packet_ip(source, ip);
	return drops(LOADER_TC, ip, 80, 0, IPPROTO_UDP);
}

static uint32_t slot_now(void)
{
	const uint32_t zero = 0;
	struct sn_geo_config c;

	assert_int_equal(bpf_map_lookup_elem(guard.maps.fd[MAP_GEO_CONFIG], &zero, &c), 0);
	return c.slot;
}

static unsigned tables_there(void)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < SN_GEO_SLOTS; slot++) {
		uint32_t id;

		count += bpf_map_lookup_elem(guard.maps.fd[MAP_GEO4], &slot, &id) == 0;
	}
	return count;
}

static void test_exchange_and_end(void **state)
{
	struct fastpath_plan p = { 0 }, none = { 0 };
	struct geo_kernel_status status;
	struct geo_kernel other;
	struct strbuf why = { 0 };
	uint32_t slot;

	(void)state;
	strbuf_init(&why);
	plan_listen(&p);
	geo_plan_use(&p.geo, small_database());
	plan_choose(&p, 1, false, false, "DE");
	put_in_force(&p);
	slot = slot_now();
	assert_true(slot < SN_GEO_SLOTS);
	assert_int_equal(tables_there(), 1);
	assert_int_equal(udp_seen("10.0.0.1"), 0);
	/* The same again changes nothing; another policy takes the other slot, with the same tables. */
	put_in_force(&p);
	assert_int_equal(slot_now(), slot);
	plan_choose(&p, 2, true, false, "DE");
	assert_false(geo_kernel_wants(&kernel, &p.geo));
	put_in_force(&p);
	assert_int_equal(slot_now(), 1 - slot);
	assert_int_equal(tables_there(), 1);
	assert_true(text_drops("10.1.0.1", 81));
	/* Another country needs other tables: until they come, what the old ones cannot tell is for accept. */
	plan_choose(&p, 3, false, false, "FR");
	assert_true(geo_kernel_wants(&kernel, &p.geo));
	assert_int_equal(geo_kernel_apply(&kernel, &p.geo, &why), 0);
	assert_true(text_drops("10.0.0.1", 80));
	assert_false(text_drops("10.1.0.1", 82));
	assert_true(geo_kernel_wants(&kernel, &p.geo));
	put_in_force(&p);
	assert_true(text_drops("10.1.0.1", 82));
	geo_kernel_status(&kernel, &status);
	assert_true(status.is_in_force && !status.is_v4_only);
	assert_int_equal(status.mixed4, 1);
	/* What another process left there is off until this one has tables of its own. */
	geo_kernel_init(&other, &guard.maps);
	assert_int_equal(geo_kernel_apply(&other, &p.geo, &why), 0);
	assert_int_equal(slot_now(), SN_GEO_OFF);
	assert_int_equal(tables_there(), 0);
	assert_false(text_drops("10.0.0.1", 80));
	geo_kernel_fini(&other);
	geo_kernel_reset(&kernel);
	put_in_force(&p);
	assert_true(text_drops("10.0.0.1", 80));
	assert_int_equal(geo_kernel_apply(&kernel, &none.geo, &why), 0);
	assert_int_equal(slot_now(), SN_GEO_OFF);
	assert_int_equal(tables_there(), 0);
	assert_false(text_drops("10.0.0.1", 80));
	plan_fini(&p);
	strbuf_fini(&why);
}

/* The policy is always the plan's, in the numbers of the tables that are there. */
static void test_reload_while_tables_are_compiled(void **state)
{
	struct fastpath_plan old = { 0 }, p = { 0 };
	struct geo_file *f = small_database();

	(void)state;
	plan_listen(&old);
	geo_plan_use(&old.geo, f);
	plan_choose(&old, 1, false, false, "DE");
	plan_choose(&old, 2, true, false, "DE");
	plan_choose(&old, 3, false, false, "DE");
	put_in_force(&old);
	assert_true(text_drops("10.0.0.1", 80));
	assert_true(text_drops("10.1.0.1", 81));
	assert_true(text_drops("10.0.0.1", 82));

	plan_listen(&p);
	geo_file_hold(f);
	geo_plan_use(&p.geo, f);
	plan_choose(&p, 1, false, false, "FR");
	plan_choose(&p, 2, true, false, "DE FR");
	plan_choose(&p, 3, true, false, "JP");
	put_without_tables(&p);
	assert_false(text_drops("10.0.0.1", 80)); /* no more refused */
	assert_false(text_drops("10.1.0.1", 80)); /* newly refused: the tables have no number for it */
	assert_false(text_drops("10.1.0.1", 81));
	assert_false(text_drops("11.0.0.1", 81)); /* may be FR, for all the tables know */
	assert_true(text_drops("10.0.0.1", 82));  /* DE is not JP */
	assert_false(text_drops("10.1.0.1", 82));
	put_in_force(&p);
	assert_true(text_drops("10.1.0.1", 80));
	assert_true(text_drops("11.0.0.1", 81));
	assert_true(text_drops("10.1.0.1", 82));
	plan_fini(&old);
	plan_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_countries_are_read_alike),
		cmocka_unit_test(test_random_reloads_refuse_nothing_of_the_old_plan),
		cmocka_unit_test(test_listeners_monitor_and_counts),
		cmocka_unit_test(test_reload_while_tables_are_compiled),
		cmocka_unit_test(test_exchange_and_end),
	};
	const char *given = getenv("SEED");
	int failed;

	hash_init();
	packet_guard_open(&guard);
	geo_kernel_init(&kernel, &guard.maps);
	CHECK(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/geo.mmdb", folder);
	seed = given ? strtoull(given, NULL, 10) : clock_wall_ns() / 1000 % 1000000007;
	printf("SEED=%llu\n", (unsigned long long)seed);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	geo_kernel_fini(&kernel);
	(void)unlink(path);
	(void)rmdir(folder);
	return failed;
}
