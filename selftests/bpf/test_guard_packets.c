/* SPDX-License-Identifier: GPL-2.0-only */
/* test_guard_packets.c - rows of {name, packet, maps, verdict, counter} through the XDP and the tc guard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fastpath/bans.h"
#include "fastpath/hostaddrs.h"
#include "fastpath/plan.h"
#include "fastpath/stats.h"
#include "fastpath/tables.h"
#include "packets.h"
#include "sentinel/events.h"

#define SECOND_NS 1000000000ull

enum heart {
	HEART_FRESH,
	HEART_OLD,
	HEART_NEVER,
	HEART_FUTURE,
};

enum expect {
	PASS,
	DROP,
};

/* What must have grown by this packet, and nothing else may have. */
struct cell {
	enum { DROPS, MONITORED, COUNTERS } map;
	unsigned index;
};

#define C(NAME) { COUNTERS, SN_COUNTER_##NAME }
#define D(NAME) { DROPS, SN_DROP_##NAME }
#define M(NAME) { MONITORED, SN_DROP_##NAME }

/*
 * vips: "address port[/udp]", host: addresses, acl: "+prefix" allows and "-prefix" denies, all separated by
 * blanks, with the port behind ','.  ban: an address; ban_for: seconds from now (0: 60, negative: over).
 */
struct row {
	const char *name;
	struct packet_spec in;
	const char *vips; /* NULL: 192.0.2.1,80 2001:db8::1,80 */
	const char *host;
	const char *acl;
	const char *ban;
	int ban_for;
	enum heart heart;
	bool is_monitor;
	enum expect verdict;
	struct cell counter;
};

#define V6 .source = "2001:db8:f::1", .destination = "2001:db8::1"
#define DENY4 .acl = "-198.51.100.0/24"
#define DENY6 .acl = "-2001:db8:f::/48"
#define EXT(...) .extensions = { __VA_ARGS__ }
#define HOP { 255, 0, false }
#define DST { IPPROTO_DSTOPTS, 0, false }
#define RT { IPPROTO_ROUTING, 0, false }
#define AH { IPPROTO_AH, 0, false }

static const struct row rows[] = {
	/* nothing speaks against it */
	{ "v4 tcp passes", .counter = C(CLEAN) },
	{ "v6 tcp passes", { V6 }, .counter = C(CLEAN) },
	/* operator's rules */
	{ "v4 denied network", { 0 }, DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "v6 denied network", { V6 }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "v4 denied host", { 0 }, .acl = "-198.51.100.1/32", .verdict = DROP, .counter = D(ACL) },
	{ "v6 denied host", { V6 }, .acl = "-2001:db8:f::1/128", .verdict = DROP, .counter = D(ACL) },
	{ "v4 neighbour of a denied host", { 0 }, .acl = "-198.51.100.0/32", .counter = C(CLEAN) },
	{ "v6 neighbour of a denied host", { V6 }, .acl = "-2001:db8:f::/128", .counter = C(CLEAN) },
	{ "v4 everybody denied", { 0 }, .acl = "-0.0.0.0/0", .verdict = DROP, .counter = D(ACL) },
	{ "v6 everybody denied", { V6 }, .acl = "-::/0", .verdict = DROP, .counter = D(ACL) },
	{ "v4 everybody denied leaves v6", { V6 }, .acl = "-0.0.0.0/0", .counter = C(CLEAN) },
	{ "v6 everybody denied leaves v4", { 0 }, .acl = "-::/0", .counter = C(CLEAN) },
	{ "v4 /31 border inside", { .source = "198.51.100.3" }, .acl = "-198.51.100.2/31", .verdict = DROP,
	  .counter = D(ACL) },
	{ "v4 /31 border outside", { .source = "198.51.100.4" }, .acl = "-198.51.100.2/31",
	  .counter = C(CLEAN) },
	{ "v6 /33 border inside", { .source = "2001:db8:7fff::1", .destination = "2001:db8::1" },
	  .acl = "-2001:db8::/33", .verdict = DROP, .counter = D(ACL) },
	{ "v6 /33 border outside", { .source = "2001:db8:8000::1", .destination = "2001:db8::1" },
	  .acl = "-2001:db8::/33", .counter = C(CLEAN) },
	{ "v4 allow inside deny", { 0 }, .acl = "-198.51.100.0/24 +198.51.100.1/32", .counter = C(ALLOWED) },
	{ "v4 deny inside allow", { 0 }, .acl = "+198.51.100.0/24 -198.51.100.1/32", .verdict = DROP,
	  .counter = D(ACL) },
	{ "v4 deny inside allow inside deny", { 0 },
	  .acl = "-198.0.0.0/8 +198.51.0.0/16 -198.51.100.0/24", .verdict = DROP, .counter = D(ACL) },
	{ "v6 allow inside deny", { V6 }, .acl = "-2001:db8::/32 +2001:db8:f::/64", .counter = C(ALLOWED) },
	{ "v6 deny inside allow", { V6 }, .acl = "+2001:db8::/32 -2001:db8:f::/64", .verdict = DROP,
	  .counter = D(ACL) },
	{ "v4 equal length: allow", { 0 }, .acl = "-198.51.100.0/24 +198.51.100.0/24", .counter = C(ALLOWED) },
	{ "v6 equal length: allow", { V6 }, .acl = "+2001:db8:f::/48 -2001:db8:f::/48",
	  .counter = C(ALLOWED) },
	{ "udp is judged too", { .proto = IPPROTO_UDP }, DENY4, .vips = "192.0.2.1,80/udp", .verdict = DROP,
	  .counter = D(ACL) },
	/* bans */
	{ "v4 banned", { 0 }, .ban = "198.51.100.1", .verdict = DROP, .counter = D(BLOCK) },
	{ "v6 banned", { V6 }, .ban = "2001:db8:f::1", .verdict = DROP, .counter = D(BLOCK) },
	{ "v6 banned with its /64", { V6 }, .ban = "2001:db8:f::ffff:1", .verdict = DROP,
	  .counter = D(BLOCK) },
	{ "v6 next /64 is not banned", { V6 }, .ban = "2001:db8:f:1::1", .counter = C(CLEAN) },
	{ "v4 neighbour is not banned", { 0 }, .ban = "198.51.100.2", .counter = C(CLEAN) },
	{ "ban is over", { 0 }, .ban = "198.51.100.1", .ban_for = -1, .counter = C(CLEAN) },
	{ "allow exempts from a ban", { 0 }, .acl = "+198.51.100.0/24", .ban = "198.51.100.1",
	  .counter = C(ALLOWED) },
	{ "v6 allow exempts from a ban", { V6 }, .acl = "+2001:db8:f::/48", .ban = "2001:db8:f::1",
	  .counter = C(ALLOWED) },
	{ "ban is counted before deny", { 0 }, DENY4, .ban = "198.51.100.1", .verdict = DROP,
	  .counter = D(BLOCK) },
	{ "ban is over, deny holds", { 0 }, DENY4, .ban = "198.51.100.1", .ban_for = -1, .verdict = DROP,
	  .counter = D(ACL) },
	/* heartbeat */
	{ "old heartbeat lifts a ban", { 0 }, .ban = "198.51.100.1", .heart = HEART_OLD,
	  .counter = C(STALE) },
	{ "no heartbeat lifts a ban", { 0 }, .ban = "198.51.100.1", .heart = HEART_NEVER,
	  .counter = C(STALE) },
	{ "heartbeat ahead of this CPU is fresh", { 0 }, .ban = "198.51.100.1", .heart = HEART_FUTURE,
	  .verdict = DROP, .counter = D(BLOCK) },
	{ "old heartbeat keeps deny", { 0 }, DENY4, .heart = HEART_OLD, .verdict = DROP, .counter = D(ACL) },
	{ "no heartbeat keeps deny v6", { V6 }, DENY6, .heart = HEART_NEVER, .verdict = DROP,
	  .counter = D(ACL) },
	{ "old heartbeat, banned and denied", { 0 }, DENY4, .ban = "198.51.100.1", .heart = HEART_OLD,
	  .verdict = DROP, .counter = D(ACL) },
	/* monitor mode */
	{ "monitor passes what is denied", { 0 }, DENY4, .is_monitor = true, .counter = M(ACL) },
	{ "monitor passes what is banned", { V6 }, .ban = "2001:db8:f::1", .is_monitor = true,
	  .counter = M(BLOCK) },
	{ "monitor leaves allow", { 0 }, .acl = "+198.51.100.0/24", .is_monitor = true,
	  .counter = C(ALLOWED) },
	/* not addressed to us */
	{ "another port", { .port = 22 }, DENY4, .counter = C(NOT_OURS) },
	{ "another port v6", { V6, .port = 22 }, DENY6, .counter = C(NOT_OURS) },
	{ "another address", { .destination = "192.0.2.2" }, DENY4, .counter = C(NOT_OURS) },
	{ "another address v6", { .source = "2001:db8:f::1", .destination = "2001:db8::2" }, DENY6,
	  .counter = C(NOT_OURS) },
	{ "another protocol", { .proto = IPPROTO_UDP }, DENY4, .counter = C(NOT_OURS) },
	{ "banned source to another port", { .port = 443 }, .ban = "198.51.100.1", .counter = C(NOT_OURS) },
	{ "port 65535 is ours", { .port = 65535 }, DENY4, .vips = "192.0.2.1,65535", .verdict = DROP,
	  .counter = D(ACL) },
	{ "port 1 is ours", { .port = 1 }, DENY4, .vips = "192.0.2.1,1", .verdict = DROP, .counter = D(ACL) },
	{ "no listener at all", { 0 }, DENY4, .vips = "", .counter = C(NOT_OURS) },
	/* wildcards */
	{ "v4 wildcard covers an own address", { 0 }, DENY4, .vips = "0.0.0.0,80", .host = "192.0.2.1",
	  .verdict = DROP, .counter = D(ACL) },
	{ "v4 wildcard leaves a routed address", { 0 }, DENY4, .vips = "0.0.0.0,80", .host = "192.0.2.9",
	  .counter = C(NOT_OURS) },
	{ "v4 wildcard leaves v6", { V6 }, DENY6, .vips = "0.0.0.0,80", .host = "2001:db8::1",
	  .counter = C(NOT_OURS) },
	{ "v6 wildcard covers an own address", { V6 }, DENY6, .vips = "::,80", .host = "2001:db8::1",
	  .verdict = DROP, .counter = D(ACL) },
	{ "v6 wildcard leaves a routed address", { V6 }, DENY6, .vips = "::,80", .host = "2001:db8::9",
	  .counter = C(NOT_OURS) },
	{ "v6 wildcard is dual-stack", { 0 }, DENY4, .vips = "::,80", .host = "192.0.2.1", .verdict = DROP,
	  .counter = D(ACL) },
	{ "wildcard of another protocol", { 0 }, DENY4, .vips = "0.0.0.0,80/udp", .host = "192.0.2.1",
	  .counter = C(NOT_OURS) },
	{ "wildcard beside an exact listener", { .destination = "192.0.2.2" }, DENY4,
	  .vips = "192.0.2.1,80 0.0.0.0,80", .host = "192.0.2.2", .verdict = DROP, .counter = D(ACL) },
	{ "exact listener needs no own address", { 0 }, DENY4, .host = "", .verdict = DROP,
	  .counter = D(ACL) },
	/* VLAN */
	{ "one tag", { .vlans = 1 }, DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "two tags", { .vlans = 2 }, DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "two tags v6", { V6, .vlans = 2 }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "three tags are too many", { .vlans = 3 }, DENY4, .counter = C(UNPARSED) },
	/* IPv4 */
	{ "options are skipped", { .option_bytes = 40 }, DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "first fragment", { .has_more_fragments = true }, DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "later fragment", { .fragment_offset = 8, .has_more_fragments = true }, DENY4,
	  .counter = C(FRAGMENT) },
	{ "last fragment", { .fragment_offset = 65528 }, DENY4, .counter = C(FRAGMENT) },
	{ "later fragment of a banned source", { .fragment_offset = 1480 }, .ban = "198.51.100.1",
	  .counter = C(FRAGMENT) },
	{ "header length below five words", { .ihl = 4 }, DENY4, .counter = C(UNPARSED) },
	{ "header length beyond the frame", { .ihl = 15 }, DENY4, .counter = C(UNPARSED) },
	{ "wrong version", { .version = 5 }, DENY4, .counter = C(UNPARSED) },
	{ "icmp", { .proto = IPPROTO_ICMP }, DENY4, .counter = C(UNPARSED) },
	{ "sctp", { .proto = IPPROTO_SCTP }, DENY4, .counter = C(UNPARSED) },
	{ "arp", { .ethertype = ETH_P_ARP }, DENY4, .counter = C(UNPARSED) },
	/* IPv6 */
	{ "hop-by-hop", { V6, EXT(HOP) }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "destination options", { V6, EXT(DST) }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "routing", { V6, EXT(RT) }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "authentication", { V6, EXT(AH) }, DENY6, .verdict = DROP, .counter = D(ACL) },
	{ "hop-by-hop, options, routing, authentication", { V6, EXT(HOP, DST, RT, AH) }, DENY6,
	  .verdict = DROP, .counter = D(ACL) },
	{ "eight extensions", { V6, EXT(HOP, DST, DST, DST, DST, DST, DST, AH) }, DENY6, .verdict = DROP,
	  .counter = D(ACL) },
	{ "nine extensions are too many", { V6, EXT(HOP, DST, DST, DST, DST, DST, DST, DST, AH) }, DENY6,
	  .counter = C(UNPARSED) },
	{ "first fragment v6", { V6, EXT({ IPPROTO_FRAGMENT, 0, true }) }, DENY6, .verdict = DROP,
	  .counter = D(ACL) },
	{ "atomic fragment v6", { V6, EXT({ IPPROTO_FRAGMENT, 0, false }) }, DENY6, .verdict = DROP,
	  .counter = D(ACL) },
	{ "later fragment v6", { V6, EXT({ IPPROTO_FRAGMENT, 8, true }) }, DENY6, .counter = C(FRAGMENT) },
	{ "later fragment behind options", { V6, EXT(HOP, { IPPROTO_FRAGMENT, 1448, false }) }, DENY6,
	  .counter = C(FRAGMENT) },
	{ "first fragment, then options", { V6, EXT({ IPPROTO_FRAGMENT, 0, true }, DST) }, DENY6,
	  .verdict = DROP, .counter = D(ACL) },
	{ "encrypted", { V6, EXT({ IPPROTO_ESP, 0, false }) }, DENY6, .counter = C(UNPARSED) },
	{ "no next header", { V6, .proto = IPPROTO_NONE }, DENY6, .counter = C(UNPARSED) },
	{ "icmp6", { V6, .proto = IPPROTO_ICMPV6 }, DENY6, .counter = C(UNPARSED) },
	{ "wrong version v6", { V6, .version = 4 }, DENY6, .counter = C(UNPARSED) },
	{ "options v6 with a tag", { V6, .vlans = 1, EXT(HOP, DST) }, .ban = "2001:db8:f::2", .verdict = DROP,
	  .counter = D(BLOCK) },
	/* IPv4 in the clothes of IPv6 */
	{ "mapped source is judged as v4", { .source = "::ffff:198.51.100.1", .destination = "2001:db8::1" },
	  DENY4, .verdict = DROP, .counter = D(ACL) },
	{ "mapped source is not judged as v6", { .source = "::ffff:198.51.100.1", .destination = "2001:db8::1" },
	  .acl = "-::/0", .counter = C(CLEAN) },
	{ "mapped source is banned as v4", { .source = "::ffff:198.51.100.1", .destination = "2001:db8::1" },
	  .ban = "198.51.100.1", .verdict = DROP, .counter = D(BLOCK) },
};

static struct packet_guard guard;
static struct sn_heartbeat *heartbeat;

static bool next_word(const char **text, char word[64])
{
	size_t len;

	*text += strspn(*text, " ");
	len = strcspn(*text, " ");
	CHECK(len < 64);
	memcpy(word, *text, len);
	word[len] = '\0';
	*text += len;
	return len > 0;
}

static void read_vips(struct fastpath_plan *p, const char *text)
{
	char word[64];

	while (next_word(&text, word)) {
		struct fastpath_vip v = { .proto = IPPROTO_TCP, .listener = 7 };
		char *comma = strchr(word, ',');

		*comma = '\0';
		packet_ip(word, v.ip);
		v.port = (uint16_t)strtoul(comma + 1, NULL, 10);
		if (strstr(comma + 1, "/udp"))
			v.proto = IPPROTO_UDP;
		assert_int_equal(plan_add_vip(p, &v), 0);
	}
}

static void read_acl(struct fastpath_plan *p, const char *text)
{
	char word[64];
	uint32_t rule = 1;

	while (next_word(&text, word)) {
		char *slash = strchr(word, '/');
		struct fastpath_acl a = { .rule = rule++ };

		a.action = word[0] == '+' ? SN_ACL_ALLOW : SN_ACL_DENY;
		a.len = (uint8_t)(strtoul(slash + 1, NULL, 10) + (strchr(word, ':') ? 0 : 96));
		*slash = '\0';
		packet_ip(word + 1, a.ip);
		assert_int_equal(plan_add_acl(p, &a), 0);
	}
}

static void read_host(struct hostaddrs *h, const char *text)
{
	char word[64];

	while (next_word(&text, word)) {
		h->items = realloc(h->items, (h->count + 1) * sizeof(*h->items));
		h->items[h->count].ifindex = 3;
		packet_ip(word, h->items[h->count++].ip);
	}
}

static void set_ban(const struct row *r)
{
	struct sn_block value = { .since_ns = 1, .why = SN_BAN_MANUAL };
	struct bans *b = bans_new();
	const struct bans_kernel k = { .map_fd = guard.maps.fd[MAP_BLOCK], .page = heartbeat };
	uint64_t now = clock_boot_ns();
	struct sn_addr key;
	uint8_t ip[16];

	while (bpf_map_get_next_key(guard.maps.fd[MAP_BLOCK], NULL, &key) == 0)
		assert_int_equal(bpf_map_delete_elem(guard.maps.fd[MAP_BLOCK], &key), 0);
	assert_int_equal(bans_use_map(b, &k), 0);
	if (r->ban) {
		packet_ip(r->ban, ip);
		if (r->ban_for >= 0) {
			assert_int_equal(bans_add(b, ip, now, now + 60 * SECOND_NS, SN_BAN_MANUAL), 0);
		} else {
			memcpy(&key, ip, sizeof(key));
			value.until_ns = now - SECOND_NS;
			assert_int_equal(bpf_map_update_elem(guard.maps.fd[MAP_BLOCK], &key, &value, 0), 0);
			heartbeat->has_bans = 1;
		}
	}
	bans_free(b);
}

static void set_maps(const struct row *r)
{
	struct fastpath_plan p = { .is_monitor = r->is_monitor };
	struct hostaddrs h = { 0 };
	struct sn_budgets levels;
	uint64_t now = clock_boot_ns();

	read_vips(&p, r->vips ? r->vips : "192.0.2.1,80 2001:db8::1,80");
	read_acl(&p, r->acl ? r->acl : "");
	read_host(&h, r->host ? r->host : "");
	packet_guard_apply(&guard, &p, &h, &levels);
	hostaddrs_fini(&h);
	plan_fini(&p);
	set_ban(r);
	if (r->heart == HEART_OLD && now < 12 * SECOND_NS) { /* a machine that has just booted */
		usleep((useconds_t)((12 * SECOND_NS - now) / 1000));
		now = clock_boot_ns();
	}
	heartbeat->at_ns = r->heart == HEART_NEVER  ? 0 :
			   r->heart == HEART_OLD    ? now - 11 * SECOND_NS :
			   r->heart == HEART_FUTURE ? now + 5 * SECOND_NS :
						      now;
}

static struct sn_count *cell_of(struct fastpath_stats *s, const struct cell *c)
{
	struct sn_count *maps[] = { s->drops, s->monitored, s->counters };

	return &maps[c->map][c->index];
}

static void run_hook(const struct row *r, enum loader_program which)
{
	struct fastpath_stats before, after;
	struct sn_count *grown;
	uint8_t frame[PACKET_MAX];
	size_t len = packet_build(frame, &r->in);
	bool is_dropped;

	assert_int_equal(stats_read(&guard.maps, &before), 0);
	is_dropped = packet_guard_drops(&guard, which, frame, len);
	assert_int_equal(stats_read(&guard.maps, &after), 0);
	assert_int_equal(is_dropped, r->verdict == DROP);
	grown = cell_of(&before, &r->counter);
	grown->packets++;
	grown->bytes += len;
	/* Events may be limited: they are another test's affair. */
	after.counters[SN_COUNTER_EVENT_LIMITED] = before.counters[SN_COUNTER_EVENT_LIMITED];
	after.counters[SN_COUNTER_EVENT_LOST] = before.counters[SN_COUNTER_EVENT_LOST];
	assert_memory_equal(&before, &after, sizeof(before));
}

static void test_row(void **state)
{
	const struct row *r = *state;

	set_maps(r);
	run_hook(r, LOADER_XDP);
	run_hook(r, LOADER_TC);
}

/* What is shorter than up to its ports passes; from there on the verdict stands. */
static void truncate_row(const struct row *r, size_t decided)
{
	uint8_t frame[PACKET_MAX];
	size_t len, whole = packet_build(frame, &r->in);
	enum loader_program which;

	set_maps(r);
	for (which = 0; which < LOADER_PROGRAM_COUNT; which++)
		for (len = ETH_HLEN; len <= whole; len++)
			assert_int_equal(packet_guard_drops(&guard, which, frame, len), len >= decided);
}

static void test_truncated_at_every_length_v4(void **state)
{
	const struct row r = { .in = { .vlans = 2, .option_bytes = 8 }, DENY4 };

	(void)state;
	truncate_row(&r, 14 + 8 + 28 + 4);
}

static void test_truncated_at_every_length_v6(void **state)
{
	/* The tag, because the kernel's test run refuses an skb that says IPv6 and is too short for it. */
	const struct row r = { .in = { V6, .vlans = 1, EXT(HOP, DST, AH, { IPPROTO_FRAGMENT, 0, true }) },
			       DENY6 };

	(void)state;
	truncate_row(&r, 14 + 4 + 40 + 8 + 16 + 12 + 8 + 4);
}

static int on_event(void *ctx, void *data, size_t len)
{
	assert_int_equal(len, sizeof(struct sn_drop_event));
	memcpy(ctx, data, len);
	return 0;
}

static void test_event_tells_the_packet(void **state)
{
	const struct row r = { .in = { 0 }, .acl = "+203.0.113.0/24 -198.51.100.0/24" };
	struct sn_drop_event e = { 0 };
	struct ring_buffer *ring = ring_buffer__new(guard.maps.fd[MAP_DROP_EVENTS], on_event, &e, NULL);
	uint8_t frame[PACKET_MAX], ip[16];
	size_t len = packet_build(frame, &r.in);

	(void)state;
	set_maps(&r);
	sleep(1); /* a new second's events */
	assert_true(ring_buffer__consume(ring) >= 0);
	assert_true(packet_guard_drops(&guard, LOADER_XDP, frame, len));
	assert_int_equal(ring_buffer__consume(ring), 1);
	packet_ip("198.51.100.1", ip);
	assert_memory_equal(e.source, ip, 16);
	packet_ip("192.0.2.1", ip);
	assert_memory_equal(e.destination, ip, 16);
	assert_int_equal(e.rule, 2);
	assert_int_equal(e.listener, 7);
	assert_int_equal(e.bytes, len);
	assert_int_equal(ntohs(e.source_port), 4000);
	assert_int_equal(ntohs(e.destination_port), 80);
	assert_int_equal(e.proto, IPPROTO_TCP);
	assert_int_equal(e.reason, SN_DROP_ACL);
	assert_int_equal(e.hook, SN_HOOK_XDP);
	assert_int_equal(e.flags, 0);
	ring_buffer__free(ring);
}

static int count_event(void *ctx, void *data, size_t len)
{
	(void)data;
	(void)len;
	++*(int *)ctx;
	return 0;
}

static void test_events_are_limited(void **state)
{
	const struct row r = { .in = { 0 }, DENY4 };
	int i, events = 0, drops = 5 * SN_EVENTS_PER_SECOND;
	struct ring_buffer *ring = ring_buffer__new(guard.maps.fd[MAP_DROP_EVENTS], count_event, &events, NULL);
	struct fastpath_stats before, after;
	uint8_t frame[PACKET_MAX];
	size_t len = packet_build(frame, &r.in);
	uint64_t began, seconds;
	cpu_set_t one;

	(void)state;
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	set_maps(&r);
	assert_true(ring_buffer__consume(ring) >= 0);
	events = 0;
	assert_int_equal(stats_read(&guard.maps, &before), 0);
	began = clock_boot_ns();
	for (i = 0; i < drops; i++)
		assert_true(packet_guard_drops(&guard, LOADER_TC, frame, len));
	assert_int_equal(stats_read(&guard.maps, &after), 0);
	assert_true(ring_buffer__consume(ring) >= 0);
	seconds = 2 + (clock_boot_ns() - began) / SECOND_NS; /* one may have turned in the middle */
	/* Every drop is counted. */
	assert_int_equal(after.drops[SN_DROP_ACL].packets - before.drops[SN_DROP_ACL].packets, drops);
	assert_in_range(events, 1, seconds * SN_EVENTS_PER_SECOND);
	assert_int_equal(after.counters[SN_COUNTER_EVENT_LIMITED].packets -
				 before.counters[SN_COUNTER_EVENT_LIMITED].packets,
			 drops - events);
	ring_buffer__free(ring);
}

#define ROWS (sizeof(rows) / sizeof(rows[0]))

int main(void)
{
	static const struct CMUnitTest others[] = {
		cmocka_unit_test(test_truncated_at_every_length_v4),
		cmocka_unit_test(test_truncated_at_every_length_v6),
		cmocka_unit_test(test_event_tells_the_packet),
		cmocka_unit_test(test_events_are_limited),
	};
	struct CMUnitTest tests[ROWS + sizeof(others) / sizeof(others[0])];
	size_t i;

	packet_guard_open(&guard);
	heartbeat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, guard.maps.fd[MAP_HEARTBEAT], 0);
	CHECK(heartbeat != MAP_FAILED);
	for (i = 0; i < ROWS; i++)
		tests[i] = (struct CMUnitTest){
			.name = rows[i].name,
			.test_func = test_row,
			.initial_state = (void *)(uintptr_t)&rows[i],
		};
	memcpy(tests + ROWS, others, sizeof(others));
	return _cmocka_run_group_tests("guard packets", tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}
