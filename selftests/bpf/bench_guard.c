/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bench_guard.c - what the guard costs a packet, step by step, as multiples of an empty program in the same run.
 *
 * BPF_PROG_RUN repeats one frame on one CPU; rounds are interleaved and each row's fastest round counts, because other
 * programs can only make it slower.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fastpath/bans.h"
#include "fastpath/geo_kernel.h"
#include "fastpath/hostaddrs.h"
#include "fastpath/tables.h"
#include "lib/mmdb_build.h"
#include "packets.h"
#include "sentinel/budget.h"

#define REPEAT 1000000
#define ROUNDS 9
#define MINUTE_NS (60 * 1000000000ull)

/* Which maps a row needs, and what it may cost more than the empty program, in multiples of it (0: only reported). */
struct row {
	const char *name;
	int prefixes;
	bool has_ban, has_budget, has_geo, is_syn, is_random;
	double bound;

	double best_ns;
};

static struct row rows[] = {
	{ "to a listener, no rules", .bound = 1.5 },
	{ "ACL of 10,000 networks", .prefixes = 10000, .bound = 3 },
	{ "banned, dropped", .has_ban = true, .bound = 2.2 },
	{ "established, ACL of 1,000", .prefixes = 1000, .has_budget = true, .bound = 5 },
	{ "SYN, ACL of 1,000, budgets by IP and /24", .prefixes = 1000, .has_budget = true, .is_syn = true,
	  .bound = 6 },
	{ "SYN, ACL of 1,000, geo, budgets by IP and /24", .prefixes = 1000, .has_budget = true, .has_geo = true,
	  .is_syn = true, .bound = 6 },
	{ "random sources: ACL of 1,000", .prefixes = 1000, .is_random = true },
	{ "random sources: ACL of 10,000", .prefixes = 10000, .is_random = true },
	{ "random sources: SYN, ACL of 1,000, budgets", .prefixes = 1000, .has_budget = true, .is_syn = true,
	  .is_random = true },
	{ "random sources: SYN, geo", .has_geo = true, .is_syn = true, .is_random = true },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct packet_guard guard;
static struct geo_kernel countries;
static struct geo_file *database;
static struct sn_heartbeat *heartbeat;

/* Of 16.0.0.0/4 and up, so that the frame's source is in none, and the trie is deep all the same. */
static void add_prefixes(struct fastpath_plan *p, int count)
{
	for (int i = 0; i < count; i++) {
		struct fastpath_acl a = { .action = SN_ACL_DENY, .len = 120, .rule = 1 };

		packet_ip("0.0.0.0", a.ip);
		a.ip[12] = (uint8_t)(16 + i % 80);
		a.ip[13] = (uint8_t)(i * 7);
		a.ip[14] = (uint8_t)(i / 80);
		CHECK(plan_add_acl(p, &a) == 0);
	}
}

/* Nobody is refused: the whole way is gone, and the packet passes. */
static void open_database(void)
{
	char path[] = "/tmp/bench_guard_XXXXXX.mmdb";
	struct strbuf bytes = { 0 }, why = { 0 };
	int fd = mkstemps(path, 5);
	struct mmdb_build b;

	strbuf_init(&bytes);
	strbuf_init(&why);
	mmdb_build_init(&b, 6, 28);
	mmdb_build_add_text(&b, "0.0.0.0/1", "FR", 0);
	mmdb_build_add_text(&b, "128.0.0.0/1", "DE", 0);
	mmdb_build_write(&b, &bytes);
	CHECK(fd >= 0 && write(fd, bytes.ptr, bytes.len) == (ssize_t)bytes.len && close(fd) == 0);
	database = geo_file_get(path, GEO_FORMAT_MAXMIND, &why);
	CHECK(database && unlink(path) == 0);
	mmdb_build_fini(&b);
	strbuf_fini(&bytes);
	strbuf_fini(&why);
}

static void set_countries(struct fastpath_plan *p, bool has_geo)
{
	geo_country named[] = { 'A' << 8 | 'T' };
	struct geo_choice c = { .rule = 1, .countries = named, .count = 1 };
	struct strbuf why = { 0 };
	struct geo_built built;

	strbuf_init(&why);
	if (has_geo) {
		geo_file_hold(database);
		geo_plan_use(&p->geo, database);
		geo_plan_add(&p->geo, &c);
	}
	if (geo_kernel_wants(&countries, &p->geo)) {
		struct geo_database *d = geo_file_database(database);

		CHECK(geo_built_make(&built, d, p->geo.named, p->geo.named_count, &why) == 0);
		geo_kernel_give(&countries, &built);
		geo_database_put(d);
	}
	CHECK(geo_kernel_apply(&countries, &p->geo, &why) == 0);
	strbuf_fini(&why);
}

static void set_maps(const struct row *r)
{
	struct fastpath_plan p = { 0 };
	struct bans *bans = bans_new();
	const struct bans_kernel k = { .map_fd = guard.maps.fd[MAP_BLOCK], .page = heartbeat };
	struct sn_budgets levels;
	uint64_t now = clock_boot_ns();
	struct fastpath_vip v = { .port = 80, .proto = IPPROTO_TCP };
	uint8_t source[16];
	struct sn_addr key;

	packet_ip("192.0.2.1", v.ip);
	packet_ip("198.51.100.1", source);
	CHECK(plan_add_vip(&p, &v) == 0);
	add_prefixes(&p, r->prefixes);
	if (r->has_budget) {
		struct fastpath_budget b = { .per = SN_PER_IP, .count = 1000000000, .period_ms = 1000,
					     .burst = 1000000000, .rule = 1 };

		CHECK(plan_add_budget(&p, &b) == 0);
		b.per = SN_PER_24;
		CHECK(plan_add_budget(&p, &b) == 0);
		b.per = SN_PER_IP;
		b.is_packets = true;
		CHECK(plan_add_budget(&p, &b) == 0);
	}
	set_countries(&p, r->has_geo);
	packet_guard_apply(&guard, &p, NULL, &levels);
	while (bpf_map_get_next_key(guard.maps.fd[MAP_BLOCK], NULL, &key) == 0)
		CHECK(bpf_map_delete_elem(guard.maps.fd[MAP_BLOCK], &key) == 0);
	CHECK(bans_use_map(bans, &k) == 0);
	if (r->has_ban)
		CHECK(bans_add(bans, source, now, now + 10 * MINUTE_NS, SN_BAN_MANUAL) == 0);
	heartbeat->at_ns = now + MINUTE_NS;
	bans_free(bans);
	plan_fini(&p);
}

static double run_ns(int program_fd, const uint8_t *frame, size_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (__u32)len, .repeat = REPEAT);

	CHECK(bpf_prog_test_run_opts(program_fd, &opts) == 0);
	return (double)opts.duration;
}

static void measure(struct row *r, int program_fd)
{
	struct packet_spec spec = { .tcp_flags = r->is_syn ? 2 : 16 };
	uint8_t frame[PACKET_MAX];
	double ns;

	set_maps(r);
	ns = run_ns(program_fd, frame, packet_build(frame, &spec));
	if (r->best_ns == 0 || ns < r->best_ns)
		r->best_ns = ns;
}

static int load_random(struct bpf_object **out)
{
	struct bpf_object *o = bpf_object__open_file(BENCH_OBJECT, NULL);

	CHECK(o);
	for (int i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(o, maps_name(i));

		CHECK(map && bpf_map__reuse_fd(map, guard.maps.fd[i]) == 0);
	}
	CHECK(bpf_object__load(o) == 0);
	*out = o;
	return 0;
}

static int program(struct bpf_object *o, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(o, name));
}

int main(void)
{
	struct row empty = { 0 }, drawn = { 0 };
	struct bpf_object *o;
	int failed = 0;

	packet_guard_open(&guard);
	heartbeat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, guard.maps.fd[MAP_HEARTBEAT], 0);
	CHECK(heartbeat != MAP_FAILED);
	hash_init();
	geo_kernel_init(&countries, &guard.maps);
	open_database();
	load_random(&o);
	for (int round = 0; round < ROUNDS; round++) {
		measure(&empty, program(o, "bench_empty"));
		measure(&drawn, program(o, "bench_random"));
		for (size_t i = 0; i < ROWS; i++)
			measure(&rows[i], rows[i].is_random ? program(o, "bench_guard_random") :
							      guard.program_fd[LOADER_XDP]);
	}
	printf("empty program %.0f ns, with a source drawn %.0f ns\n", empty.best_ns, drawn.best_ns);
	for (size_t i = 0; i < ROWS; i++) {
		const struct row *r = &rows[i];
		double more = (r->best_ns - (r->is_random ? drawn.best_ns : empty.best_ns)) / empty.best_ns;
		bool is_over = r->bound > 0 && more > r->bound;

		printf("%-45s %5.0f ns  +%.1f E", r->name, r->best_ns, more);
		if (r->bound > 0)
			printf("  (at most +%.1f E)%s", r->bound, is_over ? "  TOO MUCH" : "");
		printf("\n");
		failed += is_over;
	}
	bpf_object__close(o);
	geo_kernel_fini(&countries);
	geo_file_put(database);
	return failed ? 1 : 0;
}
