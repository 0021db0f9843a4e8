/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_guard_reload.c - a reload has no gap: what the old plan passes and the new one too is passed at every moment.
 *
 * One thread sends a packet again and again while another goes from plan to plan.  Loopback of a network namespace of
 * its own is guarded; packets come by BPF_PROG_RUN on the same maps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/fastpath.h"
#include "lib/mmdb_build.h"
#include "packets.h"

#define RELOADS 12 /* there and back */
#define FILLERS 250 /* rows that take time */
#define SOURCE "10.9.0.1"

static struct fastpath *fp;
static struct fastpath_maps maps;
static int program_fd[LOADER_PROGRAM_COUNT];
static struct geo_file *countries; /* 10.0.0.0/8 is in DE */

/* ---- plans ---- */

static void listen_on(struct fastpath_plan *p, const char *ip, uint16_t port, uint32_t listener)
{
	struct fastpath_vip v = { .port = port, .proto = IPPROTO_TCP, .listener = listener };

	packet_ip(ip, v.ip);
	assert_int_equal(plan_add_vip(p, &v), 0);
}

static void rule(struct fastpath_plan *p, uint8_t action, const char *ip, uint8_t len)
{
	struct fastpath_acl a = { .action = action, .len = (uint8_t)(96 + len), .rule = (uint32_t)p->acl_count + 1 };

	packet_ip(ip, a.ip);
	assert_int_equal(plan_add_acl(p, &a), 0);
}

static void budget(struct fastpath_plan *p, uint64_t count)
{
	const struct fastpath_budget b = { .count = count, .period_ms = 60000, .burst = count, .rule = 1 };

	assert_int_equal(plan_add_budget(p, &b), 0);
}

static void deny_germany(struct fastpath_plan *p, uint32_t listener)
{
	geo_country germany;
	const struct geo_choice c = { .listener = listener, .rule = 1, .countries = &germany, .count = 1 };

	assert_true(geo_country_read(SPAN("DE"), &germany));
	geo_plan_add(&p->geo, &c);
}

/* A listener that is not asked for, networks that nobody comes from, and one loopback device. */
static void begin(struct fastpath_plan *p, uint8_t filler_action)
{
	*p = (struct fastpath_plan){ 0 };
	assert_int_equal(plan_add_interface(p, "lo", FASTPATH_MODE_TC), 0);
	listen_on(p, "192.0.2.9", 81, 2);
	geo_file_hold(countries);
	geo_plan_use(&p->geo, countries);
	deny_germany(p, 2);
	for (unsigned i = 0; i < FILLERS; i++) {
		char ip[INET_ADDRSTRLEN];

		/* In front of and behind the source in every order. */
		(void)snprintf(ip, sizeof(ip), "%u.%u.1.0", i % 2 ? 9 : 11, i);
		rule(p, filler_action, ip, 24);
	}
}

struct pair {
	const char *name;
	void (*make)(struct fastpath_plan *one, struct fastpath_plan *two);
};

static void monitor_or_allow(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 80, 1);
	listen_on(two, "192.0.2.1", 80, 1);
	rule(one, SN_ACL_DENY, "10.0.0.0", 8);
	one->is_monitor = true;
	rule(two, SN_ACL_DENY, "10.0.0.0", 8);
	rule(two, SN_ACL_ALLOW, SOURCE, 32);
}

static void monitor_or_nothing(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 80, 1);
	listen_on(two, "192.0.2.1", 80, 1);
	rule(one, SN_ACL_DENY, "10.0.0.0", 8);
	one->is_monitor = true;
}

static void budget_or_allow(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 80, 1);
	listen_on(two, "192.0.2.1", 80, 1);
	budget(two, 1);
	rule(two, SN_ACL_ALLOW, SOURCE, 32);
}

static void country_or_allow(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 80, 1);
	listen_on(two, "192.0.2.1", 80, 1);
	deny_germany(two, 1);
	rule(two, SN_ACL_ALLOW, SOURCE, 32);
}

static void other_prefixes(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 80, 1);
	listen_on(two, "192.0.2.1", 80, 1);
	rule(one, SN_ACL_DENY, "10.9.0.0", 16);
	rule(one, SN_ACL_ALLOW, "10.9.0.0", 24);
	rule(two, SN_ACL_ALLOW, "10.0.0.0", 8);
	rule(two, SN_ACL_DENY, "10.8.0.0", 16);
}

static void listener_or_none(struct fastpath_plan *one, struct fastpath_plan *two)
{
	(void)one;
	listen_on(two, "192.0.2.1", 80, 1);
	rule(two, SN_ACL_DENY, "10.0.0.0", 8);
	rule(two, SN_ACL_ALLOW, "10.9.0.0", 24);
}

static void this_port_or_another(struct fastpath_plan *one, struct fastpath_plan *two)
{
	listen_on(one, "192.0.2.1", 8080, 3);
	rule(one, SN_ACL_DENY, "10.0.0.0", 8);
	listen_on(two, "192.0.2.1", 80, 1);
}

static const struct pair pairs[] = {
	{ "monitor, or enforced and allowed", monitor_or_allow },
	{ "monitor of a rule that the other has not", monitor_or_nothing },
	{ "no budget, or one and allowed", budget_or_allow },
	{ "no country, or refused and allowed", country_or_allow },
	{ "allowed by a shorter or a longer prefix", other_prefixes },
	{ "not guarded, or allowed", listener_or_none },
	{ "another port with a rule, or this one with none", this_port_or_another },
};

/* ---- packets ---- */

static atomic_bool is_over;
static atomic_ullong sent, dropped;

static void *send_all_the_time(void *arg)
{
	const struct packet_spec spec = { .source = SOURCE, .tcp_flags = 2 };
	const struct packet_guard g = { .program_fd = { program_fd[0], program_fd[1] } };
	uint8_t frame[PACKET_MAX];
	size_t len = packet_build(frame, &spec);

	(void)arg;
	while (!atomic_load(&is_over)) {
		for (int which = 0; which < LOADER_PROGRAM_COUNT; which++)
			if (packet_guard_drops(&g, which, frame, len))
				atomic_fetch_add(&dropped, 1);
		atomic_fetch_add(&sent, 1);
	}
	return NULL;
}

static void beat(void)
{
	heartbeat_control(fastpath_heartbeat(fp), clock_boot_ns());
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), clock_boot_ns()));
}

static void go_there_and_back(const struct fastpath_plan *one, const struct fastpath_plan *two, const char *name)
{
	unsigned long long before = atomic_load(&sent), drops = atomic_load(&dropped);

	/* Until the thread has sent enough: the machine may have run only this one. */
	for (unsigned i = 0; i < RELOADS || (i < 10000 && atomic_load(&sent) - before <= 10 * RELOADS); i++) {
		beat();
		assert_int_equal(fastpath_apply(fp, two), 0);
		assert_int_equal(fastpath_apply(fp, one), 0);
	}
	if (atomic_load(&dropped) != drops)
		fail_msg("%s: %llu of %llu packets were dropped", name, atomic_load(&dropped) - drops,
			 2 * (atomic_load(&sent) - before));
	assert_true(atomic_load(&sent) - before > 10 * RELOADS);
}

static void test_what_both_plans_pass_is_never_dropped(void **state)
{
	pthread_t thread;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct fastpath_plan one, two;

		begin(&one, SN_ACL_DENY);
		begin(&two, SN_ACL_ALLOW);
		pairs[i].make(&one, &two);
		assert_int_equal(fastpath_apply(fp, &one), 0);
		assert_false(geo_kernel_wants(fastpath_geo(fp), &one.geo));
		atomic_store(&is_over, false);
		assert_int_equal(pthread_create(&thread, NULL, send_all_the_time, NULL), 0);
		go_there_and_back(&one, &two, pairs[i].name);
		atomic_store(&is_over, true);
		assert_int_equal(pthread_join(thread, NULL), 0);
		plan_fini(&one);
		plan_fini(&two);
	}
}

/* The packets of these tests are worth something only if the guard drops at all. */
static void test_what_a_plan_refuses_is_dropped(void **state)
{
	const struct packet_guard g = { .program_fd = { program_fd[0], program_fd[1] } };
	const struct packet_spec spec = { .source = SOURCE, .tcp_flags = 2 };
	uint8_t frame[PACKET_MAX];
	size_t len = packet_build(frame, &spec);

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct fastpath_plan p;

		begin(&p, SN_ACL_DENY);
		listen_on(&p, "192.0.2.1", 80, 1);
		if (kind == 0)
			rule(&p, SN_ACL_DENY, "10.0.0.0", 8);
		else if (kind == 1)
			budget(&p, 1);
		else
			deny_germany(&p, 1);
		assert_int_equal(fastpath_apply(fp, &p), 0);
		beat();
		(void)packet_guard_drops(&g, LOADER_TC, frame, len);
		assert_true(packet_guard_drops(&g, LOADER_TC, frame, len));
		assert_true(packet_guard_drops(&g, LOADER_XDP, frame, len));
		plan_fini(&p);
	}
}

/* ---- the guard and a database ---- */

static void make_countries(void)
{
	char path[] = "/tmp/test_guard_reload_XXXXXX";
	struct strbuf bytes = { 0 }, why = { 0 };
	int fd = mkstemp(path);
	struct mmdb_build b;

	CHECK(fd >= 0);
	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_init(&b, 6, 24);
	mmdb_build_add_text(&b, "10.0.0.0/8", "DE", 0);
	mmdb_build_write(&b, &bytes);
	CHECK(write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len);
	(void)close(fd);
	countries = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	CHECK(countries);
	(void)unlink(path);
	mmdb_build_fini(&b);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
}

static void give_countries(const struct fastpath_plan *p)
{
	struct geo_database *d = geo_file_database(countries);
	struct strbuf why = { 0 };
	struct geo_built built;

	strbuf_init(&why);
	CHECK(geo_built_make(&built, d, p->geo.named, p->geo.named_count, &why) == 0);
	geo_kernel_give(fastpath_geo(fp), &built);
	geo_database_put(d);
	CHECK(fastpath_geo_apply(fp) == 0);
	strbuf_fini(&why);
}

/* The daemon's guard, and programs of our own on its maps. */
static int setup(void **state)
{
	const struct fastpath_options o = { .instance = "reload" };
	struct loader_paths paths;
	struct fastpath_plan p;
	struct strbuf why = { 0 };
	unsigned replaced;

	(void)state;
	strbuf_init(&why);
	make_countries();
	fp = fastpath_new(&o);
	begin(&p, SN_ACL_DENY);
	if (fastpath_apply(fp, &p)) {
		struct fastpath_status s;

		fastpath_status(fp, &s);
		fail_msg("%s", s.reason);
	}
	give_countries(&p);
	plan_fini(&p);
	maps_init(&maps);
	CHECK(loader_paths_init(&paths, NULL, o.instance) == 0);
	CHECK(loader_maps_open(&paths, &maps, &replaced, &why) == 0 && replaced == 0);
	for (int which = 0; which < LOADER_PROGRAM_COUNT; which++)
		CHECK(loader_program_load(which, &maps, &program_fd[which], &why) == 0);
	strbuf_fini(&why);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	maps_fini(&maps);
	fastpath_stop(fp);
	fastpath_free(fp);
	geo_file_put(countries);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_plan_refuses_is_dropped),
		cmocka_unit_test(test_what_both_plans_pass_is_never_dropped),
	};
	int err;

	hash_init();
	if (geteuid() != 0)
		packet_skip("attaching BPF programs takes root", "");
	err = packet_private_bpffs();
	if (err)
		packet_skip("no private BPF file system: ", strerror(-err));
	CHECK(unshare(CLONE_NEWNET) == 0);
	CHECK(system("ip link set lo up") == 0);
	return cmocka_run_group_tests(tests, setup, teardown);
}
