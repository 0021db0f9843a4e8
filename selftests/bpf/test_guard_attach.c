/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_guard_attach.c - the guard on real interfaces: veth pairs between network namespaces of this process.
 *
 * The machine's own interfaces and its BPF file system are never touched: the process leaves them first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <sys/utsname.h>

#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "base/clock.h"
#include "fastpath/attach.h"
#include "fastpath/fastpath.h"
#include "packets.h"

#define SECOND_NS 1000000000ull
#define INSTANCE_DIR "/sys/fs/bpf/sentinel/test%one"

static int home_ns, peer_ns;
static int event_count;

/* What this kernel can do, found out by other means than the guard's. */
static bool has_tcx, has_dispatcher;

static void shell(const char *command)
{
	int rc = system(command);

	if (rc != 0)
		fail_msg("%s: exit status %d", command, rc);
}

/* What a command prints, at most size - 1 bytes. */
static void shell_read(const char *command, char *out, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n;

	assert_non_null(f);
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	assert_int_equal(pclose(f), 0);
}

static void on_drop(void *ctx, const struct sn_drop_event *e)
{
	(void)ctx;
	assert_true(e->reason == SN_DROP_ACL || e->reason == SN_DROP_BLOCK);
	event_count++;
}

static struct fastpath *open_guard(void)
{
	const struct fastpath_options o = { .instance = "test.one", .on_drop = on_drop };

	return fastpath_new(&o);
}

/* Bans would keep their pins over the stop. */
static int lift_bans(struct fastpath *fp)
{
	size_t i, count;
	struct ban *list = bans_list(fastpath_bans(fp), clock_boot_ns(), &count);
	int err = 0;

	for (i = 0; i < count && !err; i++)
		err = bans_remove(fastpath_bans(fp), list[i].ip, clock_boot_ns());
	free(list);
	return err;
}

static void close_guard(struct fastpath *fp)
{
	assert_int_equal(lift_bans(fp), 0);
	fastpath_stop(fp);
	fastpath_free(fp);
}

static void plan_listen(struct fastpath_plan *p, const char *ip, uint16_t port)
{
	struct fastpath_vip v = { .port = port, .proto = IPPROTO_UDP, .listener = 1 };

	packet_ip(ip, v.ip);
	assert_int_equal(plan_add_vip(p, &v), 0);
}

static void plan_rule(struct fastpath_plan *p, uint8_t action, const char *ip, uint8_t len)
{
	struct fastpath_acl a = { .action = action, .len = len, .rule = (uint32_t)p->acl_count + 1 };

	packet_ip(ip, a.ip);
	assert_int_equal(plan_add_acl(p, &a), 0);
}

/* Listen on UDP port 7000 of every own address, and deny the peer's second addresses. */
static struct fastpath_plan plan_of(enum fastpath_mode mode)
{
	struct fastpath_plan p = { 0 };

	assert_int_equal(plan_add_interface(&p, "guard0", mode), 0);
	plan_listen(&p, "::", 7000);
	plan_rule(&p, SN_ACL_DENY, "10.77.0.3", 128);
	plan_rule(&p, SN_ACL_DENY, "fd77::3", 128);
	return p;
}

static int udp_socket(const char *ip, uint16_t port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	packet_ip(ip, a.sin6_addr.s6_addr);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* Send one datagram from the peer's address to port; did it come? */
static bool arrives_within(const char *source, const char *destination, uint16_t port, int ms)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct pollfd p = { .events = POLLIN };
	int sender, came;

	p.fd = udp_socket("::", port);
	assert_int_equal(setns(peer_ns, CLONE_NEWNET), 0);
	sender = udp_socket(source, 0);
	packet_ip(destination, to.sin6_addr.s6_addr);
	assert_int_equal(sendto(sender, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
	came = poll(&p, 1, ms);
	(void)close(sender);
	(void)close(p.fd);
	return came == 1;
}

/* A veth delivers within microseconds, but the machine may stand still. */
static bool arrives_at(const char *source, const char *destination, uint16_t port)
{
	return arrives_within(source, destination, port, 10000);
}

/* What was dropped never comes. */
static bool stays_out_at(const char *source, const char *destination, uint16_t port)
{
	return !arrives_within(source, destination, port, 300);
}

static const char *home_of(const char *source)
{
	return strchr(source, ':') ? "fd77::1" : "10.77.0.1";
}

static bool arrives(const char *source)
{
	return arrives_at(source, home_of(source), 7000);
}

static bool stays_out(const char *source)
{
	return stays_out_at(source, home_of(source), 7000);
}

static struct fastpath_status status_of(struct fastpath *fp)
{
	struct fastpath_status s;

	fastpath_status(fp, &s);
	return s;
}

static uint64_t dropped(struct fastpath *fp, unsigned reason)
{
	struct fastpath_stats s;

	assert_int_equal(fastpath_stats(fp, &s), 0);
	return s.drops[reason].packets;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static unsigned xdp_program_on(const char *name)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, o);

	assert_int_equal(bpf_xdp_query((int)if_nametoindex(name), 0, &o), 0);
	return o.prog_id;
}

/* Attach as `mode`, see denied sources die and others live, and nothing left afterwards. */
static void guard_in_mode(enum fastpath_mode mode, const char *how)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(mode);
	struct fastpath_status s;

	assert_int_equal(fastpath_apply(fp, &p), 0);
	s = status_of(fp);
	assert_true(s.is_loaded);
	assert_string_equal(s.reason, "");
	assert_string_equal(fastpath_attach_name(s.interfaces[0].attached), how);
	assert_true(arrives("10.77.0.2"));
	assert_true(arrives("fd77::2"));
	assert_int_equal(dropped(fp, SN_DROP_ACL), 0);
	assert_true(stays_out("10.77.0.3"));
	assert_true(stays_out("fd77::3"));
	assert_int_equal(dropped(fp, SN_DROP_ACL), 2);
	/* Another port is nobody's business. */
	assert_true(arrives_at("10.77.0.3", "10.77.0.1", 7001));
	assert_int_equal(dropped(fp, SN_DROP_ACL), 2);
	event_count = 0;
	assert_int_equal(fastpath_events_consume(fp), 2);
	assert_int_equal(event_count, 2);
	close_guard(fp);
	plan_fini(&p);
	assert_true(arrives("10.77.0.3"));
	assert_false(exists("/sys/fs/bpf/sentinel"));
	assert_int_equal(xdp_program_on("guard0"), 0);
}

static const char *tc_name(void)
{
	return has_tcx ? "tc (tcx)" : "tc (clsact)";
}

static const char *tc_pin(const char *interface)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s-%s", INSTANCE_DIR, has_tcx ? "tcx" : "clsact", interface);
	return path;
}

static const char *xdp_pin(void)
{
	return has_dispatcher ? INSTANCE_DIR "/dispatcher-guard0" : INSTANCE_DIR "/xdp-guard0";
}

static void test_tc_drops_denied_sources(void **state)
{
	(void)state;
	guard_in_mode(FASTPATH_MODE_TC, tc_name());
}

static void test_auto_takes_tc_on_veth(void **state)
{
	(void)state;
	guard_in_mode(FASTPATH_MODE_AUTO, tc_name());
}

static void test_xdp_drops_denied_sources(void **state)
{
	(void)state;
	guard_in_mode(FASTPATH_MODE_XDP, has_dispatcher ? "xdp (dispatcher)" : "xdp (native, single program)");
}

/* --- libxdp's dispatcher, with a second program that drops port 7009 --- */

#define BESIDE_OBJECT "build/bpf/beside.bpf.o"

static struct xdp_program *beside_attach(const char *interface)
{
	struct xdp_program *p = xdp_program__open_file(BESIDE_OBJECT, "xdp.frags", NULL);

	assert_int_equal(libxdp_get_error(p), 0);
	assert_int_equal(xdp_program__attach(p, (int)if_nametoindex(interface), XDP_MODE_NATIVE, 0), 0);
	return p;
}

static void beside_detach(struct xdp_program *p, const char *interface)
{
	assert_int_equal(xdp_program__detach(p, (int)if_nametoindex(interface), XDP_MODE_NATIVE, 0), 0);
	xdp_program__close(p);
}

/* Programs behind the dispatcher of an interface; 0: there is none. */
static unsigned dispatcher_count(const char *interface)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex((int)if_nametoindex(interface));
	unsigned count;

	if (libxdp_get_error(mp))
		return 0;
	count = xdp_multiprog__is_legacy(mp) ? 0 : (unsigned)xdp_multiprog__program_count(mp);
	xdp_multiprog__close(mp);
	return count;
}

static void expect_both(bool guard_drops, bool beside_drops)
{
	assert_true(arrives("10.77.0.2"));
	assert_true(guard_drops ? stays_out("10.77.0.3") : arrives("10.77.0.3"));
	assert_true(guard_drops ? stays_out("fd77::3") : arrives("fd77::3"));
	assert_true(beside_drops ? stays_out_at("10.77.0.2", "10.77.0.1", 7009)
				 : arrives_at("10.77.0.2", "10.77.0.1", 7009));
}

static void test_guard_joins_another_program(void **state)
{
	struct fastpath_plan p = plan_of(FASTPATH_MODE_XDP);
	struct xdp_program *beside;
	struct fastpath *fp;

	(void)state;
	beside = beside_attach("guard0");
	assert_int_equal(dispatcher_count("guard0"), 1);
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_string_equal(fastpath_attach_name(status_of(fp).interfaces[0].attached), "xdp (dispatcher)");
	assert_int_equal(dispatcher_count("guard0"), 2);
	expect_both(true, true);
	/* It dies, and the next one finds its place. */
	fastpath_free(fp);
	expect_both(true, true);
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(status_of(fp).interfaces[0].is_adopted);
	assert_int_equal(dispatcher_count("guard0"), 2);
	expect_both(true, true);
	close_guard(fp);
	assert_int_equal(dispatcher_count("guard0"), 1);
	expect_both(false, true);
	beside_detach(beside, "guard0");
	assert_int_equal(xdp_program_on("guard0"), 0);
	plan_fini(&p);
}

static void test_another_program_joins_the_guard(void **state)
{
	struct fastpath_plan p = plan_of(FASTPATH_MODE_XDP);
	struct xdp_program *beside;
	struct fastpath *fp;

	(void)state;
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	expect_both(true, false);
	beside = beside_attach("guard0");
	assert_int_equal(dispatcher_count("guard0"), 2);
	expect_both(true, true);
	assert_int_equal(fastpath_retry(fp), 0);
	assert_int_equal(dispatcher_count("guard0"), 2);
	assert_string_equal(status_of(fp).reason, "");
	beside_detach(beside, "guard0");
	expect_both(true, false);
	close_guard(fp);
	assert_int_equal(xdp_program_on("guard0"), 0);
	expect_both(false, false);
	plan_fini(&p);
}

/* The loopback device has no native XDP. */
static void test_xdp_is_generic_without_driver(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = { 0 };

	(void)state;
	assert_int_equal(plan_add_interface(&p, "lo", FASTPATH_MODE_XDP), 0);
	plan_listen(&p, "10.77.0.1", 7000);
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_string_equal(fastpath_attach_name(status_of(fp).interfaces[0].attached),
			    "xdp (generic, single program)");
	close_guard(fp);
	plan_fini(&p);
}

static void test_bans_live_and_end(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	struct bans *b = fastpath_bans(fp);
	uint64_t now = clock_boot_ns();
	uint8_t ip[16];

	(void)state;
	packet_ip("10.77.0.2", ip);
	/* Banned before the guard is there: it comes to the kernel with it. */
	assert_int_equal(bans_add(b, ip, now, now + 60 * SECOND_NS, SN_BAN_MANUAL), 0);
	assert_int_equal(fastpath_apply(fp, &p), 0);
	now = clock_boot_ns();
	heartbeat_control(fastpath_heartbeat(fp), now);
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), now));
	assert_true(stays_out("10.77.0.2"));
	assert_int_equal(dropped(fp, SN_DROP_BLOCK), 1);
	assert_int_equal(bans_remove(b, ip, now), 0);
	assert_true(arrives("10.77.0.2"));
	/* By itself. */
	now = clock_boot_ns();
	heartbeat_control(fastpath_heartbeat(fp), now);
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), now));
	assert_int_equal(bans_add(b, ip, now, now + 3 * SECOND_NS, SN_BAN_MANUAL), 0);
	assert_true(stays_out("10.77.0.2"));
	while (clock_boot_ns() <= now + 3 * SECOND_NS)
		usleep(10000);
	/* The guard's clock is that of the last tick, which is late where the processor's owner gives it away. */
	for (int i = 0; i < 100 && !arrives_within("10.77.0.2", home_of("10.77.0.2"), 7000, 100); i++)
		assert_true(i < 99);
	close_guard(fp);
	plan_fini(&p);
}

static void test_reload_changes_maps_in_place(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC), next = plan_of(FASTPATH_MODE_TC);

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(stays_out("10.77.0.3"));
	plan_rule(&next, SN_ACL_ALLOW, "10.77.0.3", 128);
	plan_rule(&next, SN_ACL_DENY, "10.77.0.2", 128);
	assert_int_equal(fastpath_apply(fp, &next), 0);
	assert_true(arrives("10.77.0.3"));
	assert_true(stays_out("10.77.0.2"));
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(stays_out("10.77.0.3"));
	assert_true(arrives("10.77.0.2"));
	close_guard(fp);
	plan_fini(&p);
	plan_fini(&next);
}

static void test_mode_changes_without_a_gap_in_the_rules(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan tc = plan_of(FASTPATH_MODE_TC), xdp = plan_of(FASTPATH_MODE_XDP);

	(void)state;
	assert_int_equal(fastpath_apply(fp, &tc), 0);
	assert_int_equal(fastpath_apply(fp, &xdp), 0);
	assert_true(exists(xdp_pin()));
	assert_false(exists(tc_pin("guard0")));
	assert_true(stays_out("10.77.0.3"));
	assert_int_equal(fastpath_apply(fp, &tc), 0);
	assert_int_equal(xdp_program_on("guard0"), 0);
	assert_true(stays_out("10.77.0.3"));
	close_guard(fp);
	plan_fini(&tc);
	plan_fini(&xdp);
}

/* A daemon that dies closes its descriptors and does nothing else. */
static void crash_and_adopt(enum fastpath_mode mode)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(mode);
	uint64_t now = clock_boot_ns();
	struct ban *list;
	size_t count;
	uint8_t ip[16];

	packet_ip("10.77.0.2", ip);
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_false(status_of(fp).interfaces[0].is_adopted);
	assert_int_equal(bans_add(fastpath_bans(fp), ip, now, now + 60 * SECOND_NS, SN_BAN_MANUAL), 0);
	assert_true(stays_out("10.77.0.3"));
	fastpath_free(fp);

	/* Nobody is there: operator's rules hold, bans do not (the heartbeat was never written). */
	assert_true(stays_out("10.77.0.3"));
	assert_true(arrives("10.77.0.2"));

	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(status_of(fp).interfaces[0].is_adopted);
	assert_int_equal(dropped(fp, SN_DROP_ACL), 2);
	list = bans_list(fastpath_bans(fp), now, &count);
	assert_int_equal(count, 1);
	assert_memory_equal(list[0].ip, ip, 16);
	free(list);
	now = clock_boot_ns();
	heartbeat_control(fastpath_heartbeat(fp), now);
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), now));
	assert_true(stays_out("10.77.0.2"));
	close_guard(fp);
	plan_fini(&p);
	assert_true(arrives("10.77.0.3"));
	assert_false(exists("/sys/fs/bpf/sentinel"));
}

static void test_restart_adopts_tc(void **state)
{
	(void)state;
	crash_and_adopt(FASTPATH_MODE_TC);
}

static void test_restart_adopts_xdp(void **state)
{
	(void)state;
	crash_and_adopt(FASTPATH_MODE_XDP);
}

static void test_keep_on_stop_leaves_the_guard(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	struct strbuf text = { 0 };
	char wanted[64];

	(void)state;
	strbuf_init(&text);
	p.keep_on_stop = true;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	close_guard(fp);
	assert_true(stays_out("10.77.0.3"));
	assert_true(fastpath_pins_describe(NULL, "test.one", &text) > 1);
	(void)snprintf(wanted, sizeof(wanted), "guard0: %s", tc_name());
	assert_non_null(strstr(text.ptr, wanted));
	strbuf_reset(&text);
	assert_true(fastpath_pins_detach(NULL, "test.one", &text) > 1);
	(void)snprintf(wanted, sizeof(wanted), "guard0: detached %s", tc_name());
	assert_non_null(strstr(text.ptr, wanted));
	assert_true(arrives("10.77.0.3"));
	assert_false(exists("/sys/fs/bpf/sentinel"));
	assert_int_equal(fastpath_pins_detach(NULL, "test.one", &text), -ENOENT);
	strbuf_fini(&text);
	plan_fini(&p);
}

static void test_interface_left_out_after_a_crash_is_detached(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC), nothing = { 0 };

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	fastpath_free(fp);
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &nothing), 0);
	assert_false(status_of(fp).is_loaded);
	assert_true(arrives("10.77.0.3"));
	assert_false(exists("/sys/fs/bpf/sentinel"));
	fastpath_free(fp);
	plan_fini(&p);
}

/* The XDP object itself serves as somebody else's program. */
static void test_foreign_xdp_program_is_refused(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_XDP);
	struct fastpath_status s;
	unsigned id;

	(void)state;
	shell("bpftool prog load build/bpf/guard_xdp.bpf.o /sys/fs/bpf/foreign 2>/dev/null");
	shell("bpftool net attach xdpdrv pinned /sys/fs/bpf/foreign dev guard0");
	id = xdp_program_on("guard0");
	assert_int_not_equal(id, 0);
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	s = status_of(fp);
	assert_int_equal(s.interfaces[0].attached, FASTPATH_ATTACH_NONE);
	assert_non_null(strstr(s.reason, "guard0: another XDP program is attached"));
	assert_int_equal(xdp_program_on("guard0"), id);
	/* It leaves, and the next try is through. */
	shell("bpftool net detach xdpdrv dev guard0 && rm /sys/fs/bpf/foreign");
	assert_int_equal(fastpath_retry(fp), 0);
	assert_string_equal(status_of(fp).reason, "");
	assert_true(stays_out("10.77.0.3"));
	close_guard(fp);
	plan_fini(&p);
}

/* clsact, as kernels before 6.6 have it: a foreign filter and qdisc stay, and a restart finds its own. */
#define CLSACT_PREF "pref 21326" /* 0x534e */

static void test_clsact_lives_beside_others(void **state)
{
	struct loader_paths paths;
	struct fastpath_maps maps;
	struct strbuf why = { 0 };
	struct attach_context c = { .paths = &paths, .maps = &maps, .program_fd = { -1, -1 }, .has_no_tcx = true };
	struct attachment a = { .fd = -1 }, found[4];
	unsigned replaced;
	char text[4096];

	(void)state;
	strbuf_init(&why);
	maps_init(&maps);
	shell("bpftool prog load build/bpf/guard_tc.bpf.o /sys/fs/bpf/foreign && "
	      "(tc qdisc del dev guard0 clsact 2>/dev/null; tc qdisc add dev guard0 clsact) && "
	      "tc filter add dev guard0 ingress pref 9 bpf da pinned /sys/fs/bpf/foreign");
	assert_int_equal(loader_paths_init(&paths, NULL, "test.one"), 0);
	assert_int_equal(loader_maps_open(&paths, &maps, &replaced, &why), 0);
	assert_int_equal(attach_tc(&c, "guard0", &a, &why), 0);
	assert_int_equal(a.how, FASTPATH_ATTACH_CLSACT);
	shell_read("tc filter show dev guard0 ingress", text, sizeof(text));
	assert_non_null(strstr(text, CLSACT_PREF));
	assert_non_null(strstr(text, "pref 9"));
	attach_close(&a);
	attach_context_fini(&c);

	assert_int_equal(attach_scan(&paths, found, 4), 1);
	assert_true(attach_is_alive(&found[0]));
	assert_int_equal(attach_tc(&c, "guard0", &found[0], &why), 0);
	assert_true(found[0].is_adopted);
	/* Without its pin it is a stranger. */
	a = (struct attachment){ .fd = -1 };
	assert_int_equal(attach_tc(&c, "guard0", &a, &why), -EBUSY);
	assert_int_equal(attach_detach(&paths, &found[0]), 0);
	shell_read("tc filter show dev guard0 ingress", text, sizeof(text));
	assert_null(strstr(text, CLSACT_PREF));
	assert_non_null(strstr(text, "pref 9"));
	attach_context_fini(&c);
	maps_fini(&maps);
	assert_true(loader_maps_unpin(&paths, false) > 0);
	shell("tc qdisc del dev guard0 clsact && rm /sys/fs/bpf/foreign");
	strbuf_fini(&why);
}

static void test_pins_of_another_layout_are_replaced(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	fastpath_free(fp);
	/* Same sizes, but no names: made by something else. */
	shell("rm " INSTANCE_DIR "/v2/acl4 && bpftool map create " INSTANCE_DIR
	      "/v2/acl4 type lpm_trie key 8 value 8 entries 32768 name acl4 flags 1");
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_string_equal(status_of(fp).note, "1 pinned maps had another layout and were replaced");
	assert_true(stays_out("10.77.0.3"));
	close_guard(fp);
	plan_fini(&p);
}

static int old_map(const char *pin, enum bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes)
{
	LIBBPF_OPTS(bpf_map_create_opts, o, .map_flags = type == BPF_MAP_TYPE_HASH ? BPF_F_NO_PREALLOC : 0);
	int fd = bpf_map_create(type, "block", key_bytes, value_bytes, 100, &o);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, pin), 0);
	return fd;
}

static void old_row(int fd, const char *source, uint64_t since_ns, uint64_t until_ns, uint16_t why)
{
	struct {
		struct sn_block common;
		uint8_t more[40];
	} value = { .common = { .since_ns = since_ns, .until_ns = until_ns, .why = why, .strikes = 3, .slot = ~0u } };
	struct sn_addr key;

	packet_ip(source, (uint8_t *)key.addr);
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
}

/* An update of the program: bans of earlier and later versions, what is none, and what no version wrote. */
static void test_bans_of_other_versions_are_taken_over(void **state)
{
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	struct fastpath *fp = open_guard();
	uint64_t now = clock_boot_ns(), until;
	const char *words[] = { "10.77.0.2", "198.51.100.1", "2001:db8:0:1::" };
	uint8_t ip[16];
	int fd;

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	fastpath_free(fp);
	shell("rm " INSTANCE_DIR "/v2/block && cd " INSTANCE_DIR " && mkdir v1 v3 v4 v5 v6 vx");
	fd = old_map(INSTANCE_DIR "/v1/block", BPF_MAP_TYPE_HASH, 16, 24);
	old_row(fd, "10.77.0.2", now - 5, now + 600 * SECOND_NS, SN_BAN_MANUAL);
	old_row(fd, "198.51.100.1", now - 5, now + 100 * SECOND_NS, SN_BAN_RATE_LIMIT);
	(void)close(fd);
	fd = old_map(INSTANCE_DIR "/v3/block", BPF_MAP_TYPE_HASH, 16, 64);
	old_row(fd, "198.51.100.1", now - 5, SN_FOREVER, SN_BAN_RATE_LIMIT);
	old_row(fd, "203.0.113.1", now + 60 * SECOND_NS, now + 600 * SECOND_NS, SN_BAN_MANUAL); /* begins later */
	old_row(fd, "203.0.113.2", now - 5, now - 6, SN_BAN_MANUAL);				 /* ends earlier */
	old_row(fd, "203.0.113.3", now - 5, now + 600 * SECOND_NS, 0);
	old_row(fd, "2001:db8::1", now - 5, now + 600 * SECOND_NS, SN_BAN_MANUAL); /* no network */
	(void)close(fd);
	(void)close(old_map(INSTANCE_DIR "/v4/block", BPF_MAP_TYPE_ARRAY, 4, 24));
	(void)close(old_map(INSTANCE_DIR "/v5/block", BPF_MAP_TYPE_HASH, 16, 8));
	(void)close(old_map(INSTANCE_DIR "/v6/block", BPF_MAP_TYPE_HASH, 16, 4096));
	fd = old_map(INSTANCE_DIR "/v2/block", BPF_MAP_TYPE_HASH, 16, 32);
	old_row(fd, "2001:db8:0:1::", now - 5, now + 600 * SECOND_NS, SN_BAN_GEO);
	(void)close(fd);

	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_string_equal(status_of(fp).note,
			    "1 pinned maps had another layout and were replaced; "
			    "bans of v6: not read: a layout that no version has; "
			    "bans of v5: not read: a layout that no version has; "
			    "bans of v4: not read: a layout that no version has; "
			    "bans of v3: 1 taken over, 4 not; bans of v2: 1 taken over; bans of v1: 2 taken over");
	assert_int_equal(bans_count(fastpath_bans(fp)), 3);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		struct sn_block value;
		struct sn_addr key;

		packet_ip(words[i], ip);
		memcpy(&key, ip, sizeof(key));
		until = bans_until(fastpath_bans(fp), ip);
		assert_true(until == (i == 1 ? SN_FOREVER : now + 600 * SECOND_NS));
		fd = bpf_obj_get(INSTANCE_DIR "/v2/block");
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
		(void)close(fd);
		assert_true(value.until_ns == until && value.strikes == 3 && value.slot < SN_BLOCK_MAX);
	}
	now = clock_boot_ns();
	heartbeat_control(fastpath_heartbeat(fp), now);
	assert_true(heartbeat_beat(fastpath_heartbeat(fp), now));
	assert_true(stays_out("10.77.0.2"));
	assert_false(exists(INSTANCE_DIR "/v1") || exists(INSTANCE_DIR "/v3") || exists(INSTANCE_DIR "/v6"));
	shell("rmdir " INSTANCE_DIR "/vx");
	close_guard(fp);
	plan_fini(&p);
}

static void test_dump_is_readable(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	char text[65536];

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(stays_out("10.77.0.3"));
	shell_read("bpftool map dump pinned " INSTANCE_DIR "/v2/acl4", text, sizeof(text));
	assert_non_null(strstr(text, "\"action\": 1"));
	assert_non_null(strstr(text, "\"rule\": 1"));
	shell_read("bpftool map dump pinned " INSTANCE_DIR "/v2/drops", text, sizeof(text));
	assert_non_null(strstr(text, "\"packets\": 1"));
	shell_read("bpftool map dump pinned " INSTANCE_DIR "/v2/vips", text, sizeof(text));
	assert_non_null(strstr(text, "\"proto\": 17"));
	close_guard(fp);
	plan_fini(&p);
}

static void test_interface_that_comes_later(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);

	(void)state;
	assert_int_equal(plan_add_interface(&p, "later.7", FASTPATH_MODE_AUTO), 0);
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	assert_string_equal(status_of(fp).reason, "later.7: no such interface");
	assert_true(stays_out("10.77.0.3"));
	shell("ip link add later.7 type veth peer name later1 && ip link set later.7 up");
	assert_int_equal(fastpath_retry(fp), 0);
	assert_int_equal(status_of(fp).interfaces[1].attached,
			 has_tcx ? FASTPATH_ATTACH_TCX : FASTPATH_ATTACH_CLSACT);
	assert_true(exists(tc_pin("later%7")));
	/* It goes: noticed, and its pin is no longer kept. */
	shell("ip link del later.7");
	assert_int_equal(fastpath_retry(fp), -EAGAIN);
	assert_false(exists(tc_pin("later%7")));
	close_guard(fp);
	plan_fini(&p);
}

static void test_interface_without_ethernet_is_refused(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = { 0 };

	(void)state;
	if (system("ip tuntap add plain0 mode tun 2>/dev/null") != 0) {
		close_guard(fp);
		skip();
	}
	assert_int_equal(plan_add_interface(&p, "plain0", FASTPATH_MODE_AUTO), 0);
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	assert_string_equal(status_of(fp).reason, "plain0: not an Ethernet interface");
	close_guard(fp);
	plan_fini(&p);
	shell("ip link del plain0");
}

static void test_new_address_is_covered_by_a_wildcard(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	struct pollfd notice = { .events = POLLIN };

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	notice.fd = fastpath_addresses_fd(fp);
	assert_int_equal(poll(&notice, 1, 0), 0);
	shell("ip addr add 10.77.0.9/24 dev guard0");
	assert_true(arrives_at("10.77.0.3", "10.77.0.9", 7000));
	assert_int_equal(poll(&notice, 1, 1000), 1);
	assert_int_equal(fastpath_addresses_update(fp), 0);
	assert_true(stays_out_at("10.77.0.3", "10.77.0.9", 7000));
	shell("ip addr del 10.77.0.9/24 dev guard0");
	close_guard(fp);
	plan_fini(&p);
}

static void test_without_bpffs_it_says_so(void **state)
{
	const struct fastpath_options o = { .instance = "test", .bpffs = "/proc" };
	struct fastpath *fp = fastpath_new(&o);
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	assert_string_equal(status_of(fp).reason, "no BPF file system at /proc (mount -t bpf bpf /proc)");
	assert_false(status_of(fp).is_loaded);
	close_guard(fp);
	plan_fini(&p);
}

#define CAP_MASK(cap) (1ull << (cap))
#define DAEMON_CAPS (CAP_MASK(CAP_BPF) | CAP_MASK(CAP_PERFMON) | CAP_MASK(CAP_NET_ADMIN))

/* In a child, as user 65534 with these capabilities: `step` with a guard of the child's own.  Its result. */
static int as_daemon(uint64_t caps, int (*step)(struct fastpath *fp, const struct fastpath_plan *p))
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)caps, .permitted = (uint32_t)caps },
		{ .effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32) },
	};
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setresgid(65534, 65534, 65534) < 0 ||
		    setresuid(65534, 65534, 65534) < 0 || syscall(SYS_capset, &head, data) < 0)
			_exit(99);
		_exit(step(open_guard(), &p));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	plan_fini(&p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static int step_apply_and_die(struct fastpath *fp, const struct fastpath_plan *p)
{
	uint64_t now = clock_boot_ns();
	uint8_t ip[16];

	packet_ip("10.77.0.2", ip);
	if (fastpath_apply(fp, p) == 0 && bans_add(fastpath_bans(fp), ip, now, SN_FOREVER, SN_BAN_MANUAL) == 0)
		return 0;
	(void)fprintf(stderr, "not applied: %s\n", status_of(fp).reason);
	return 1;
}

static int step_adopt_and_stop(struct fastpath *fp, const struct fastpath_plan *p)
{
	struct fastpath_status s;

	if (fastpath_apply(fp, p))
		return 1;
	s = status_of(fp);
	if (!s.interfaces[0].is_adopted || s.note[0] || bans_count(fastpath_bans(fp)) != 1)
		return 2;
	if (lift_bans(fp))
		return 4;
	fastpath_stop(fp);
	return status_of(fp).is_degraded ? 3 : 0;
}

static int step_apply_is_refused(struct fastpath *fp, const struct fastpath_plan *p)
{
	if (fastpath_apply(fp, p) != -EAGAIN)
		return 1;
	return strstr(status_of(fp).reason, "not permitted to load the guard's maps") ? 0 : 2;
}

static void test_three_capabilities_are_enough(void **state)
{
	(void)state;
	assert_int_equal(as_daemon(DAEMON_CAPS, step_apply_and_die), 0);
	assert_true(stays_out("10.77.0.3"));
	assert_int_equal(as_daemon(DAEMON_CAPS, step_adopt_and_stop), 0);
	assert_true(arrives("10.77.0.3"));
	assert_false(exists("/sys/fs/bpf/sentinel"));
}

static void test_stop_keeps_bans_and_nothing_else(void **state)
{
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);
	struct fastpath *fp = open_guard();
	uint64_t now = clock_boot_ns();
	struct ban *list;
	uint8_t ip[16];
	size_t count;

	(void)state;
	packet_ip("10.77.0.2", ip);
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_int_equal(bans_add(fastpath_bans(fp), ip, now, now + 600 * SECOND_NS, SN_BAN_RATE_LIMIT), 0);
	fastpath_stop(fp);
	fastpath_free(fp);
	assert_true(arrives("10.77.0.3"));
	assert_true(exists(INSTANCE_DIR "/v2/block"));
	assert_false(exists(INSTANCE_DIR "/v2/acl4"));
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	list = bans_list(fastpath_bans(fp), now, &count);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].until_ns, now + 600 * SECOND_NS);
	assert_int_equal(list[0].why, SN_BAN_RATE_LIMIT);
	free(list);
	close_guard(fp);
	assert_false(exists("/sys/fs/bpf/sentinel"));
	plan_fini(&p);
}

static void test_without_capabilities_it_says_so(void **state)
{
	(void)state;
	assert_int_equal(as_daemon(0, step_apply_is_refused), 0);
	assert_false(exists("/sys/fs/bpf/sentinel"));
}

/* Started as root, became another user to whom the pins were given, and is started again. */
static void test_restart_adopts_what_another_user_owns(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);

	(void)state;
	assert_int_equal(fastpath_apply(fp, &p), 0);
	fastpath_free(fp);
	shell("chown -R 65534 " INSTANCE_DIR);
	fp = open_guard();
	assert_int_equal(fastpath_apply(fp, &p), 0);
	assert_true(status_of(fp).interfaces[0].is_adopted);
	close_guard(fp);
	plan_fini(&p);
	assert_false(exists("/sys/fs/bpf/sentinel"));
}

static void test_folder_of_somebody_else_is_not_trusted(void **state)
{
	struct fastpath *fp = open_guard();
	struct fastpath_plan p = plan_of(FASTPATH_MODE_TC);

	(void)state;
	shell("mkdir /sys/fs/bpf/sentinel && chown 65534 /sys/fs/bpf/sentinel");
	assert_int_equal(fastpath_apply(fp, &p), -EAGAIN);
	assert_string_equal(status_of(fp).reason, "/sys/fs/bpf/sentinel is not a folder of our own");
	shell("rmdir /sys/fs/bpf/sentinel");
	close_guard(fp);
	plan_fini(&p);
}

static void make_network(void)
{
	home_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(unshare(CLONE_NEWNET) == 0);
	peer_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(unshare(CLONE_NEWNET) == 0);
	(void)close(home_ns);
	home_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	CHECK(home_ns >= 0 && peer_ns >= 0);
	/* /sys shows the devices of the namespace in which it was mounted. */
	CHECK(mount("sysfs", "/sys", "sysfs", 0, NULL) == 0);
	CHECK(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) == 0);
}

/* Linux 6.6 brought tcx; some kernels refuse the program type of the dispatcher, and libxdp falls back. */
static void find_abilities(void)
{
	const char *needed = getenv("SENTINEL_TEST_DISPATCHER");
	unsigned major = 0, minor = 0;
	struct xdp_program *p;
	struct utsname u;

	CHECK(uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2);
	has_tcx = major > 6 || (major == 6 && minor >= 6);
	shell("ip link add probe0 type veth peer name probe1");
	p = beside_attach("probe0");
	has_dispatcher = dispatcher_count("probe0") == 1;
	beside_detach(p, "probe0");
	shell("ip link del probe0");
	if (needed && !has_dispatcher)
		fail_msg("this kernel is to have libxdp's dispatcher, and has none");
}

/* Until the kernel has noticed the carrier packets are thrown away; a busy one takes seconds. */
static void wait_link(const char *name)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "for i in $(seq 1000); do ip -o link show %s | grep -q 'state UP' && exit; sleep .02; done; "
		       "false", name);
	shell(command);
}

static int setup(void **state)
{
	char command[256];

	(void)state;
	find_abilities();
	(void)snprintf(command, sizeof(command),
		       "ip link add guard0 type veth peer name peer0 && ip link set peer0 netns /proc/%d/fd/%d",
		       getpid(), peer_ns);
	shell(command);
	shell("ip link set lo up && ip link set guard0 up && ip addr add 10.77.0.1/24 dev guard0 && "
	      "ip addr add fd77::1/64 dev guard0 nodad");
	assert_int_equal(setns(peer_ns, CLONE_NEWNET), 0);
	shell("ip link set lo up && ip link set peer0 up && ip addr add 10.77.0.2/24 dev peer0 && "
	      "ip addr add 10.77.0.3/24 dev peer0 && ip addr add fd77::2/64 dev peer0 nodad && "
	      "ip addr add fd77::3/64 dev peer0 nodad");
	wait_link("peer0");
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
	wait_link("guard0");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tc_drops_denied_sources),
		cmocka_unit_test(test_auto_takes_tc_on_veth),
		cmocka_unit_test(test_xdp_drops_denied_sources),
		cmocka_unit_test(test_xdp_is_generic_without_driver),
		cmocka_unit_test(test_bans_live_and_end),
		cmocka_unit_test(test_reload_changes_maps_in_place),
		cmocka_unit_test(test_mode_changes_without_a_gap_in_the_rules),
		cmocka_unit_test(test_restart_adopts_tc),
		cmocka_unit_test(test_restart_adopts_xdp),
		cmocka_unit_test(test_keep_on_stop_leaves_the_guard),
		cmocka_unit_test(test_interface_left_out_after_a_crash_is_detached),
		cmocka_unit_test(test_foreign_xdp_program_is_refused),
		cmocka_unit_test(test_clsact_lives_beside_others),
		cmocka_unit_test(test_pins_of_another_layout_are_replaced),
		cmocka_unit_test(test_bans_of_other_versions_are_taken_over),
		cmocka_unit_test(test_dump_is_readable),
		cmocka_unit_test(test_interface_that_comes_later),
		cmocka_unit_test(test_interface_without_ethernet_is_refused),
		cmocka_unit_test(test_new_address_is_covered_by_a_wildcard),
		cmocka_unit_test(test_without_bpffs_it_says_so),
		cmocka_unit_test(test_three_capabilities_are_enough),
		cmocka_unit_test(test_stop_keeps_bans_and_nothing_else),
		cmocka_unit_test(test_without_capabilities_it_says_so),
		cmocka_unit_test(test_restart_adopts_what_another_user_owns),
		cmocka_unit_test(test_folder_of_somebody_else_is_not_trusted),
		/* With libxdp's dispatcher: in the machines of vmtest/, as some kernels refuse its program type. */
		cmocka_unit_test(test_guard_joins_another_program),
		cmocka_unit_test(test_another_program_joins_the_guard),
	};
	size_t count = ARRAY_LEN(tests) - (getenv("SENTINEL_TEST_DISPATCHER") ? 0 : 2);
	int err;

	if (geteuid() != 0)
		packet_skip("attaching BPF programs takes root", "");
	err = packet_private_bpffs();
	if (err)
		packet_skip("no private BPF file system: ", strerror(-err));
	make_network();
	return _cmocka_run_group_tests("guard", tests, count, setup, NULL);
}
