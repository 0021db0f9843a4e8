/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_guard_differential.c - random rules and sources: the kernel's two guards and rules.h must agree on all.
 *
 * Random with a printed seed (SEED=n repeats a run).  Addresses are drawn from few bits, so that rules overlap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/ip16.h"
#include "fastpath/bans.h"
#include "fastpath/rules.h"
#include "fastpath/tables.h"
#include "packets.h"

#define PLANS 60
#define SOURCES 300
#define RULES_MAX 40
#define BANS_MAX 8
#define MINUTE_NS (60 * 1000000000ull)

static struct packet_guard guard;
static struct sn_heartbeat *heartbeat;
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

/*
 * Of 10.0.0.0/8 or 2001:db8::/32, with few bits set anywhere; sometimes IPv4-mapped is what it looks like, or the same
 * bits are the network of an IPv6 source.
 */
static void draw_source(uint8_t out_ip[16], bool *out_is_v6_frame)
{
	bool is_v4 = draw(2), is_twin = !is_v4 && draw(3) == 0;
	int i;

	*out_is_v6_frame = !is_v4 || draw(4) == 0;
	packet_ip(is_v4 ? "10.0.0.0" : is_twin ? "0:ffff:a00::" : "2001:db8::", out_ip);
	for (i = is_v4 ? 13 : is_twin ? 5 : 4; i < 16; i++)
		out_ip[i] = draw(3) ? 0 : (uint8_t)(0x80 >> draw(8));
}

static void draw_rule(struct fastpath_plan *p)
{
	struct fastpath_acl a = { .action = draw(2) ? SN_ACL_ALLOW : SN_ACL_DENY };
	bool is_v6_frame;
	unsigned bit, least;

	draw_source(a.ip, &is_v6_frame);
	least = ip16_is_v4(a.ip) ? 96 : 0;
	a.len = (uint8_t)(least + draw(129 - least));
	for (bit = a.len; bit < 128; bit++)
		a.ip[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	a.rule = (uint32_t)p->acl_count + 1;
	assert_int_equal(plan_add_acl(p, &a), 0);
}

static void draw_plan(struct fastpath_plan *p)
{
	struct fastpath_vip v4 = { .port = 80, .proto = IPPROTO_TCP }, v6 = v4;
	uint32_t count = draw(RULES_MAX);

	packet_ip("192.0.2.1", v4.ip);
	packet_ip("2001:db8::1", v6.ip);
	assert_int_equal(plan_add_vip(p, &v4), 0);
	assert_int_equal(plan_add_vip(p, &v6), 0);
	p->is_monitor = draw(8) == 0;
	while (count--)
		draw_rule(p);
}

static void draw_bans(struct bans *b, uint64_t now)
{
	uint32_t count = draw(BANS_MAX);
	bool is_v6_frame;
	uint8_t ip[16];

	while (count--) {
		draw_source(ip, &is_v6_frame);
		assert_int_equal(bans_add(b, ip, now, now + MINUTE_NS, SN_BAN_MANUAL), 0);
	}
}

/* What userspace said. */
static struct rules_verdict compare(const struct rules *r, struct bans *b)
{
	char source[INET6_ADDRSTRLEN];
	struct packet_spec spec = { .source = source };
	struct rules_verdict v;
	uint8_t ip[16], frame[PACKET_MAX];
	bool is_v6_frame;
	size_t len;
	int which;

	draw_source(ip, &is_v6_frame);
	if (is_v6_frame)
		(void)inet_ntop(AF_INET6, ip, source, sizeof(source));
	else
		(void)inet_ntop(AF_INET, ip + 12, source, sizeof(source));
	spec.destination = is_v6_frame ? "2001:db8::1" : "192.0.2.1";
	len = packet_build(frame, &spec);
	v = rules_judge(r, b, ip, clock_boot_ns());
	for (which = 0; which < LOADER_PROGRAM_COUNT; which++)
		if (packet_guard_drops(&guard, which, frame, len) != v.is_refused)
			fail_msg("%s: userspace says %s (rule %u), %s the opposite", source,
				 v.is_refused ? "refuse" : "pass", v.rule, loader_program_name(which));
	return v;
}

static void test_random_rules_are_read_alike(void **state)
{
	unsigned seen[SN_DROP_COUNT] = { 0 };
	int i, j;

	(void)state;
	for (i = 0; i < PLANS; i++) {
		struct fastpath_plan p = { 0 };
		struct bans *b = bans_new();
		const struct bans_kernel k = { .map_fd = guard.maps.fd[MAP_BLOCK], .page = heartbeat };
		struct sn_budgets levels;
		struct rules *r;
		uint64_t now = clock_boot_ns();
		struct sn_addr key;

		heartbeat->at_ns = now;
		while (bpf_map_get_next_key(guard.maps.fd[MAP_BLOCK], NULL, &key) == 0)
			assert_int_equal(bpf_map_delete_elem(guard.maps.fd[MAP_BLOCK], &key), 0);
		draw_plan(&p);
		/* Some exist before the map is there. */
		draw_bans(b, now);
		assert_int_equal(bans_use_map(b, &k), 0);
		draw_bans(b, now);
		packet_guard_apply(&guard, &p, NULL, &levels);
		r = rules_new(&p);
		for (j = 0; j < SOURCES; j++)
			seen[compare(r, b).reason]++;
		rules_free(r);
		bans_free(b);
		plan_fini(&p);
	}
	/* The comparison is worth something only if every answer occurs often. */
	for (i = 0; i <= SN_DROP_BLOCK; i++)
		assert_true(seen[i] > PLANS * SOURCES / 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_rules_are_read_alike),
	};
	const char *given = getenv("SEED");

	hash_init();
	packet_guard_open(&guard);
	heartbeat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, guard.maps.fd[MAP_HEARTBEAT], 0);
	CHECK(heartbeat != MAP_FAILED);
	seed = given ? strtoull(given, NULL, 10) : clock_wall_ns() / 1000 % 1000000007;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
