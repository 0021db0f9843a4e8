/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_guard_budgets.c - budgets with a clock under control: what the guard admits, to the packet, and that userspace
 * says the same of accepted connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/budgets.h"
#include "fastpath/hostaddrs.h"
#include "fastpath/sources.h"
#include "fastpath/stats.h"
#include "fastpath/tables.h"
#include "packets.h"

#define CLOCK_OBJECT "build/bpf/guard_clock.bpf.o"
#define MS 1000000ull
#define SECOND (1000 * MS)
#define HOUR (3600 * SECOND)

enum { SYN = 2, ACK = 16, SYN_ACK = 18, RST_SYN = 6 };

static struct packet_guard guard;
static struct sn_heartbeat *heartbeat;
static struct sn_cell *cells;
static struct bpf_object *object;
static int program_fd, clock_fd;
static uint64_t now = HOUR;
static struct sn_budgets levels;

static void set_clock(uint64_t ns)
{
	const uint32_t zero = 0;

	now = ns;
	heartbeat->at_ns = ns;
	assert_int_equal(bpf_map_update_elem(clock_fd, &zero, &now, BPF_ANY), 0);
}

static void add_budget(struct fastpath_plan *p, bool is_packets, uint8_t per, uint64_t count, uint64_t burst)
{
	const struct fastpath_budget b = { .is_packets = is_packets, .per = per, .count = count, .period_ms = 1000,
					   .burst = burst, .rule = (uint32_t)p->budget_count + 10 };

	assert_int_equal(plan_add_budget(p, &b), 0);
}

/* The plan in the maps; every bucket full, unless they are to stay as they are. */
static void apply(struct fastpath_plan *p, bool keeps_buckets)
{
	struct fastpath_vip v4 = { .port = 80, .proto = IPPROTO_TCP }, v6 = v4;
	struct sn_config config;
	struct sn_addr key;

	packet_ip("192.0.2.1", v4.ip);
	packet_ip("2001:db8::1", v6.ip);
	assert_int_equal(plan_add_vip(p, &v4), 0);
	assert_int_equal(plan_add_vip(p, &v6), 0);
	packet_guard_apply(&guard, p, NULL, &levels);
	assert_int_equal(maps_config_get(&guard.maps, &config), 0);
	config.tick_ns = 0; /* the test's clock is asked */
	assert_int_equal(maps_config_set(&guard.maps, &config), 0);
	plan_fini(p);
	if (keeps_buckets)
		return;
	memset(cells, 0, 2 * SN_SKETCH_ROW * sizeof(*cells));
	while (bpf_map_get_next_key(guard.maps.fd[MAP_RL_SRC], NULL, &key) == 0)
		assert_int_equal(bpf_map_delete_elem(guard.maps.fd[MAP_RL_SRC], &key), 0);
}

static bool passes(const char *source, uint8_t flags)
{
	struct packet_spec spec = { .source = source, .tcp_flags = flags,
				    .destination = strchr(source, ':') ? "2001:db8::1" : "192.0.2.1" };
	uint8_t frame[PACKET_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (__u32)packet_build(frame, &spec));

	assert_int_equal(bpf_prog_test_run_opts(program_fd, &opts), 0);
	return opts.retval == XDP_PASS;
}

/* How many of so many are admitted now. */
static int admitted(const char *source, uint8_t flags, int count)
{
	int got = 0;

	while (count--)
		got += passes(source, flags);
	return got;
}

static uint64_t dropped(enum sn_drop reason)
{
	struct fastpath_stats s;

	assert_int_equal(stats_read(&guard.maps, &s), 0);
	return s.drops[reason].packets;
}

static void test_burst_then_rate(void **state)
{
	struct fastpath_plan p = { 0 };
	uint64_t before = dropped(SN_DROP_CONNECTION_BUDGET);

	(void)state;
	add_budget(&p, false, SN_PER_IP, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 5);
	assert_int_equal(dropped(SN_DROP_CONNECTION_BUDGET) - before, 4);
	set_clock(HOUR + 100 * MS - 1);
	assert_int_equal(admitted("198.51.100.1", SYN, 2), 0);
	set_clock(HOUR + 100 * MS);
	assert_int_equal(admitted("198.51.100.1", SYN, 2), 1);
	set_clock(HOUR + 10 * SECOND);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 5);
	/* What is no new connection has no such budget; another source has its own. */
	assert_int_equal(admitted("198.51.100.1", ACK, 9) + admitted("198.51.100.1", SYN_ACK, 9), 18);
	assert_int_equal(admitted("198.51.100.1", RST_SYN, 9), 9);
	assert_int_equal(admitted("203.0.113.1", SYN, 9), 5);
}

static void test_clock_that_goes_back_fills_nothing(void **state)
{
	struct fastpath_plan p = { 0 };

	(void)state;
	add_budget(&p, false, SN_PER_IP, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 5);
	set_clock(HOUR - 50 * MS);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 0);
	set_clock(HOUR + 100 * MS);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 1);
}

static void test_all_levels_must_admit(void **state)
{
	struct fastpath_plan p = { 0 };

	(void)state;
	add_budget(&p, false, SN_PER_IP, 10, 3);
	add_budget(&p, false, SN_PER_24, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.1", SYN, 4), 3);
	/* The fourth was charged to the network all the same: all levels are charged. */
	assert_int_equal(admitted("198.51.100.2", SYN, 4), 1);
	assert_int_equal(admitted("198.51.101.1", SYN, 4), 3);
	/* A level of IPv4 says nothing of IPv6. */
	assert_int_equal(admitted("2001:db8:f::1", SYN, 4), 3);
}

static void test_networks_of_ipv6(void **state)
{
	struct fastpath_plan p = { 0 };

	(void)state;
	add_budget(&p, false, SN_PER_64, 10, 3);
	add_budget(&p, false, SN_PER_48, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("2001:db8:f:1::1", SYN, 2), 2);
	assert_int_equal(admitted("2001:db8:f:1::2", SYN, 1), 1);
	assert_int_equal(admitted("2001:db8:f:2::1", SYN, 9), 2);
	assert_int_equal(admitted("2001:db8:10:1::1", SYN, 9), 3);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 9);
}

/* Sources whose bits are another's, moved: each has a bucket of its own, here and in userspace. */
static void test_no_source_has_the_bucket_of_another(void **state)
{
	static const char *const sources[] = { "198.51.100.1",		 "0:ffff:c633:6401::9", "2001:db8:f:1::1",
					       "::2001:db8:f:1", "0:ffff:c633:6402::9", "198.51.100.2" };
	struct budgets *b = budgets_new();
	struct fastpath_plan p = { 0 };
	uint8_t ip[16];
	uint32_t rule;

	(void)state;
	add_budget(&p, false, SN_PER_IP, 1, 1);
	add_budget(&p, true, SN_PER_IP, 1, 2);
	apply(&p, false);
	budgets_set(b, &levels, false);
	set_clock(HOUR);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		struct sn_source used;

		packet_ip(sources[i], ip);
		budgets_sketched(&levels, cells, ip, &used);
		assert_int_equal(used.connections_full_at_ns, 0);
		assert_int_equal(used.packets_full_at_ns, 0);
		assert_int_equal(admitted(sources[i], SYN, 3), 1);
		assert_int_equal(budgets_admit(b, ip, now, &rule), true);
		assert_int_equal(budgets_admit(b, ip, now, &rule), false);
		budgets_sketched(&levels, cells, ip, &used);
		assert_true(used.connections_full_at_ns > now && used.packets_full_at_ns > now);
	}
	/* The /64 of nothing is a network as any other. */
	assert_int_equal(admitted("::2001:db8:f:2", SYN, 3), 0);
	budgets_free(b);
}

static void test_packets(void **state)
{
	struct fastpath_plan p = { 0 };
	uint64_t before = dropped(SN_DROP_PACKET_BUDGET);

	(void)state;
	add_budget(&p, true, SN_PER_IP, 100, 20);
	add_budget(&p, false, SN_PER_IP, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.1", SYN, 5), 5);
	assert_int_equal(admitted("198.51.100.1", ACK, 20), 15);
	assert_int_equal(dropped(SN_DROP_PACKET_BUDGET) - before, 5);
}

static void test_known_sources_have_buckets_of_their_own(void **state)
{
	struct fastpath_plan p = { 0 };
	struct sources s = { 0 };
	struct sn_source used;
	uint8_t ip[16];

	(void)state;
	add_budget(&p, false, SN_PER_IP, 10, 5);
	apply(&p, false);
	set_clock(HOUR);
	packet_ip("198.51.100.1", ip);
	assert_int_equal(admitted("198.51.100.1", SYN, 3), 3);
	budgets_sketched(&levels, cells, ip, &used);
	assert_int_equal(sources_add(&s, guard.maps.fd[MAP_RL_SRC], ip, &used, now), 0);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 2);
	/* Once more is no new burst: the entry is the guard's. */
	assert_int_equal(sources_add(&s, guard.maps.fd[MAP_RL_SRC], ip, &used, now), 0);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 0);
	/* The sketch is full of others' cells: known sources do not feel it. */
	for (size_t i = 0; i < 2 * SN_SKETCH_ROW; i++)
		cells[i].full_at_ns = now + HOUR / 2;
	set_clock(HOUR + 10 * SECOND);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 5);
}

static void test_known_sources_are_made_slowly(void **state)
{
	struct sources s = { 0 };
	const struct sn_source none = { 0 };
	uint8_t ip[16];
	int i, made = 0;

	(void)state;
	packet_ip("2001:db8:f::1", ip);
	for (i = 0; i < 3000; i++) {
		ip[6] = (uint8_t)(i >> 8);
		ip[7] = (uint8_t)i;
		made += sources_add(&s, guard.maps.fd[MAP_RL_SRC], ip, &none, HOUR) == 0;
	}
	assert_int_equal(made, SOURCES_A_SECOND_48);
	packet_ip("10.0.0.1", ip);
	for (i = 0; i < 20000; i++) {
		ip[13] = (uint8_t)(i >> 8);
		ip[14] = (uint8_t)i;
		made += sources_add(&s, guard.maps.fd[MAP_RL_SRC], ip, &none, HOUR) == 0;
	}
	assert_int_equal(made, SOURCES_A_SECOND);
	assert_int_equal(sources_add(&s, guard.maps.fd[MAP_RL_SRC], ip, &none, HOUR + SECOND), 0);
}

static void test_flood_makes_no_state_and_saturates(void **state)
{
	struct fastpath_plan p = { 0 };
	struct fastpath_stats before, after;
	char source[INET_ADDRSTRLEN];
	struct sn_addr key;
	uint32_t i, address;

	(void)state;
	add_budget(&p, false, SN_PER_IP, 1, 1);
	apply(&p, false);
	set_clock(HOUR);
	for (i = 0; i < 300000; i++) {
		address = htonl(0x14000000 + i * 977);
		(void)inet_ntop(AF_INET, &address, source, sizeof(source));
		(void)passes(source, SYN);
	}
	assert_int_equal(bpf_map_get_next_key(guard.maps.fd[MAP_RL_SRC], NULL, &key), -ENOENT);
	assert_true(budgets_sample(&levels, cells, now));
	assert_true(levels.connections_ip.is_saturated);
	assert_int_equal(maps_budgets_set(&guard.maps, &levels), 0);
	/* From now on they pass, and are counted. */
	assert_int_equal(stats_read(&guard.maps, &before), 0);
	assert_int_equal(admitted("198.51.100.1", SYN, 50), 50);
	assert_int_equal(stats_read(&guard.maps, &after), 0);
	assert_true(after.counters[SN_COUNTER_SKETCH_SATURATED].packets -
			    before.counters[SN_COUNTER_SKETCH_SATURATED].packets >=
		    49);
	/* A reload in the middle of it changes nothing. */
	add_budget(&p, false, SN_PER_IP, 1, 1);
	apply(&p, true);
	assert_true(levels.connections_ip.is_saturated);
	assert_int_equal(admitted("198.51.100.2", SYN, 50), 50);
	set_clock(HOUR + 2 * SECOND);
	assert_true(budgets_sample(&levels, cells, now));
	assert_false(levels.connections_ip.is_saturated);
	assert_int_equal(maps_budgets_set(&guard.maps, &levels), 0);
}

static void test_who_has_no_budget(void **state)
{
	struct fastpath_acl allow = { .len = 128, .action = SN_ACL_ALLOW, .rule = 1 };
	struct fastpath_plan p = { 0 };

	(void)state;
	packet_ip("198.51.100.7", allow.ip);
	assert_int_equal(plan_add_acl(&p, &allow), 0);
	add_budget(&p, false, SN_PER_IP, 1, 1);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.7", SYN, 9), 9);
	assert_int_equal(admitted("127.0.0.5", SYN, 9), 9);
	assert_int_equal(admitted("::1", SYN, 9), 9);
	assert_int_equal(admitted("198.51.100.8", SYN, 9), 1);
	/* The daemon is gone. */
	heartbeat->at_ns = now - 11 * SECOND;
	assert_int_equal(admitted("198.51.100.8", SYN, 9), 9);
}

static void test_monitor_counts_and_passes(void **state)
{
	struct fastpath_plan p = { .is_monitor = true };
	struct fastpath_stats before, after;

	(void)state;
	add_budget(&p, false, SN_PER_IP, 1, 1);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(stats_read(&guard.maps, &before), 0);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 9);
	assert_int_equal(stats_read(&guard.maps, &after), 0);
	assert_int_equal(after.monitored[SN_DROP_CONNECTION_BUDGET].packets -
				 before.monitored[SN_DROP_CONNECTION_BUDGET].packets,
			 8);
}

static void test_reload_keeps_buckets_and_a_smaller_budget_is_soon_right(void **state)
{
	struct fastpath_plan p = { 0 }, same = { 0 }, small = { 0 };

	(void)state;
	add_budget(&p, false, SN_PER_IP, 1, 3600);
	apply(&p, false);
	set_clock(HOUR);
	assert_int_equal(admitted("198.51.100.1", SYN, 4000), 3600);
	add_budget(&same, false, SN_PER_IP, 1, 3600);
	apply(&same, true);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 0);
	/* An hour of the old budget must not shut anybody out of the new one. */
	add_budget(&small, false, SN_PER_IP, 10, 5);
	apply(&small, true);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 0);
	set_clock(HOUR + SECOND);
	assert_int_equal(admitted("198.51.100.1", SYN, 9), 5);
}

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

static void test_userspace_admits_the_same(void **state)
{
	unsigned seen[2] = { 0 };

	(void)state;
	/* Some plans refuse hardly anybody: of 1,000 seeds 5 take more rounds. */
	for (int round = 0; round < 40 || (round < 400 && MIN(seen[0], seen[1]) <= 1000); round++) {
		struct fastpath_plan p = { 0 };
		struct budgets *b = budgets_new();

		for (uint8_t per = 0; per < SN_PER_COUNT; per++)
			if (draw(2))
				add_budget(&p, false, per, 1 + draw(50), 1 + draw(20));
		apply(&p, false);
		budgets_set(b, &levels, false);
		set_clock(HOUR);
		for (int i = 0; i < 400; i++) {
			char source[INET6_ADDRSTRLEN];
			uint8_t ip[16];
			uint32_t rule = 0;
			bool is_admitted;

			if (draw(2))
				(void)snprintf(source, sizeof(source), "198.51.%u.%u", draw(2), draw(3));
			else if (draw(3) == 0) /* the same bits as IPv6 */
				(void)snprintf(source, sizeof(source), "0:ffff:c633:%x::%u", draw(2) << 8 | draw(3),
					       draw(2));
			else
				(void)snprintf(source, sizeof(source), "2001:db8:%u:%u::%u", draw(2), draw(2), draw(2));
			packet_ip(source, ip);
			set_clock(now + draw(30) * MS - (draw(10) == 0 ? 40 * MS : 0));
			is_admitted = !budgets_are_active(b) || budgets_admit(b, ip, now, &rule);
			if (passes(source, SYN) != is_admitted)
				fail_msg("%s: userspace says %d (rule %u), the guard the opposite", source, is_admitted,
					 rule);
			seen[is_admitted]++;
		}
		budgets_free(b);
	}
	assert_true(seen[0] > 1000 && seen[1] > 1000);
}

static void load(void)
{
	object = bpf_object__open_file(CLOCK_OBJECT, NULL);
	if (!object) {
		printf("failed: %s: %s\n", CLOCK_OBJECT, strerror(errno));
		exit(1);
	}
	for (int i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(object, maps_name(i));

		CHECK(map && bpf_map__reuse_fd(map, guard.maps.fd[i]) == 0);
	}
	CHECK(bpf_object__load(object) == 0);
	program_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "guard_clock"));
	clock_fd = bpf_map__fd(bpf_object__find_map_by_name(object, "test_clock"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burst_then_rate),
		cmocka_unit_test(test_clock_that_goes_back_fills_nothing),
		cmocka_unit_test(test_all_levels_must_admit),
		cmocka_unit_test(test_networks_of_ipv6),
		cmocka_unit_test(test_no_source_has_the_bucket_of_another),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_known_sources_have_buckets_of_their_own),
		cmocka_unit_test(test_known_sources_are_made_slowly),
		cmocka_unit_test(test_flood_makes_no_state_and_saturates),
		cmocka_unit_test(test_who_has_no_budget),
		cmocka_unit_test(test_monitor_counts_and_passes),
		cmocka_unit_test(test_reload_keeps_buckets_and_a_smaller_budget_is_soon_right),
		cmocka_unit_test(test_userspace_admits_the_same),
	};
	const char *given = getenv("SEED");
	size_t bytes = 2 * SN_SKETCH_ROW * sizeof(*cells);

	hash_init();
	packet_guard_open(&guard);
	load();
	heartbeat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, guard.maps.fd[MAP_HEARTBEAT], 0);
	cells = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guard.maps.fd[MAP_RL_SKETCH], 0);
	CHECK(heartbeat != MAP_FAILED && cells != MAP_FAILED);
	seed = given ? strtoull(given, NULL, 10) : clock_wall_ns() / 1000 % 1000000007;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
