/* SPDX-License-Identifier: GPL-2.0-only */
/* fastpath.c - the daemon's hand on the kernel's guard: apply a plan, status, counters, events. */
#include "fastpath/fastpath.h"

#include <errno.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/libbpf.h>
#include <xdp/libxdp.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "fastpath/attach.h"
#include "fastpath/geo_kernel.h"
#include "fastpath/hostaddrs.h"
#include "fastpath/levels.h"
#include "fastpath/loader.h"
#include "fastpath/old_bans.h"
#include "fastpath/tables.h"

#define TAG_FASTPATH TAG('f', 'p', 't', 'h')

/* Each interface may have one of an earlier run to be replaced by another kind. */
#define ATTACHMENTS_MAX (2 * PLAN_INTERFACES_MAX)

struct fastpath {
	uint32_t tag;

	struct loader_paths paths;
	void (*on_drop)(void *ctx, const struct sn_drop_event *e);
	void *ctx;

	struct fastpath_plan plan; /* owned copy: what was asked for last */
	struct fastpath_maps maps;
	struct attach_context context;
	struct attachment attachments[ATTACHMENTS_MAX];
	size_t attachment_count;
	struct ring_buffer *ring; /* owned, NULL while not loaded */
	int watch_fd;		  /* owned, of hostaddrs; -1 while not loaded */
	struct bans *bans;	  /* owned */
	bool keeps_bans;	  /* their maps stay pinned when everything else goes */
	struct budgets *budgets;  /* owned */
	struct levels levels;
	struct geo_kernel geo;
	struct heartbeat heartbeat;
	size_t page_bytes; /* of heartbeat.cell */
	bool has_blank_page; /* heartbeat goes nowhere */

	struct fastpath_status status;
};

static const char *const attach_names[FASTPATH_ATTACH_COUNT] = {
	[FASTPATH_ATTACH_NONE] = "not attached",
	[FASTPATH_ATTACH_XDP_DISPATCHER] = "xdp (dispatcher)",
	[FASTPATH_ATTACH_XDP_NATIVE] = "xdp (native, single program)",
	[FASTPATH_ATTACH_XDP_GENERIC] = "xdp (generic, single program)",
	[FASTPATH_ATTACH_TCX] = "tc (tcx)",
	[FASTPATH_ATTACH_CLSACT] = "tc (clsact)",
};

/* libbpf and libxdp have one callback a process and no context. */
static void (*debug_line)(void *ctx, const char *line);
static void *debug_ctx;

static void debug_print(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static void debug_print(const char *format, va_list args)
{
	char line[512];
	size_t len;

	if (!debug_line)
		return;
	(void)vsnprintf(line, sizeof(line), format, args);
	len = strlen(line);
	while (len && line[len - 1] == '\n')
		line[--len] = '\0';
	if (len)
		debug_line(debug_ctx, line);
}

static int libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static int libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	debug_print(format, args);
	return 0;
}

static int libxdp_print(enum libxdp_print_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
static int libxdp_print(enum libxdp_print_level level, const char *format, va_list args)
{
	(void)level;
	debug_print(format, args);
	return 0;
}

/* A blank page where the map's page goes: the address never changes, so workers need no lock. */
static void heartbeat_map(struct fastpath *fp, int map_fd)
{
	int flags = map_fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *page;

	if (map_fd < 0 && fp->has_blank_page)
		return;
	fp->has_blank_page = map_fd < 0;
	if (fp->heartbeat.cell)
		flags |= MAP_FIXED;
	page = mmap(fp->heartbeat.cell, fp->page_bytes, PROT_READ | PROT_WRITE, flags, map_fd, 0);
	CHECK(page != MAP_FAILED);
	if (fp->heartbeat.cell != page)
		fp->heartbeat.cell = page; /* once: workers read it without a lock */
}

struct fastpath *fastpath_new(const struct fastpath_options *o)
{
	struct fastpath *fp = mem_zalloc(sizeof(*fp));
	int i;

	fp->tag = TAG_FASTPATH;
	CHECK(loader_paths_init(&fp->paths, o->bpffs, o->instance) == 0);
	fp->on_drop = o->on_drop;
	fp->ctx = o->ctx;
	maps_init(&fp->maps);
	geo_kernel_init(&fp->geo, &fp->maps);
	fp->context.paths = &fp->paths;
	fp->context.maps = &fp->maps;
	for (i = 0; i < LOADER_PROGRAM_COUNT; i++)
		fp->context.program_fd[i] = -1;
	fp->watch_fd = -1;
	fp->bans = bans_new();
	fp->budgets = budgets_new();
	fp->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	heartbeat_map(fp, -1);
	debug_line = o->on_debug;
	debug_ctx = o->ctx;
	(void)libbpf_set_print(libbpf_print);
	(void)libxdp_set_print(libxdp_print);
	return fp;
}

static int ring_sample(void *ctx, void *data, size_t len)
{
	struct fastpath *fp = ctx;

	if (fp->on_drop && len >= sizeof(struct sn_drop_event))
		fp->on_drop(fp->ctx, data);
	return 0;
}

/* Close what this process holds of the kernel; what is pinned goes on. */
static void fastpath_unload(struct fastpath *fp)
{
	size_t i;

	for (i = 0; i < fp->attachment_count; i++)
		attach_close(&fp->attachments[i]);
	fp->attachment_count = 0;
	attach_context_fini(&fp->context);
	ring_buffer__free(fp->ring);
	fp->ring = NULL;
	if (fp->watch_fd >= 0)
		(void)close(fp->watch_fd);
	fp->watch_fd = -1;
	(void)bans_use_map(fp->bans, NULL);
	levels_close(&fp->levels);
	heartbeat_map(fp, -1);
	geo_kernel_reset(&fp->geo);
	maps_fini(&fp->maps);
	fp->status.is_loaded = false;
}

void fastpath_free(struct fastpath *fp)
{
	if (!fp)
		return;
	OBJ_CHECK(fp, TAG_FASTPATH);
	fastpath_unload(fp);
	(void)munmap(fp->heartbeat.cell, fp->page_bytes);
	bans_free(fp->bans);
	budgets_free(fp->budgets);
	plan_fini(&fp->plan);
	debug_line = NULL;
	fp->tag = 0;
	free(fp);
}

/* Only the first reason is kept: the others mostly follow from it. */
static void degrade(struct fastpath *fp, const char *why)
{
	fp->status.is_degraded = true;
	if (fp->status.reason[0] == '\0')
		(void)snprintf(fp->status.reason, sizeof(fp->status.reason), "%s", why);
}

/* What other versions left; then it goes, or bans that are lifted would come back with the next start. */
static void old_pins_take(struct fastpath *fp, struct old_bans *old, unsigned replaced)
{
	struct strbuf note = { 0 };
	int err;

	strbuf_init(&note);
	if (replaced)
		strbuf_printf(&note, "%u pinned maps had another layout and were replaced", replaced);
	old_bans_take(old, fp->bans, fp->maps.fd[MAP_BLOCK], clock_boot_ns(), &note);
	err = loader_others_unpin(&fp->paths);
	if (err)
		strbuf_printf(&note, "; pins of other versions cannot be removed: %s", err_name(err));
	(void)snprintf(fp->status.note, sizeof(fp->status.note), "%s", note.ptr);
	strbuf_fini(&note);
}

/* Maps, ring buffer, address notices, and what an earlier run left attached. */
static int fastpath_load(struct fastpath *fp, struct strbuf *why)
{
	struct old_bans old;
	unsigned replaced = 0;
	int err, count;

	if (maps_are_open(&fp->maps))
		return 0;
	err = loader_bpffs_check(&fp->paths, why);
	if (err)
		return err;
	old_bans_open(&old, &fp->paths);
	err = loader_maps_open(&fp->paths, &fp->maps, &replaced, why);
	if (err) {
		old_bans_close(&old);
		return err;
	}
	fp->ring = ring_buffer__new(fp->maps.fd[MAP_DROP_EVENTS], ring_sample, fp, NULL);
	fp->watch_fd = hostaddrs_watch();
	count = attach_scan(&fp->paths, fp->attachments, ATTACHMENTS_MAX);
	if (!fp->ring || fp->watch_fd < 0 || count < 0) {
		err = !fp->ring ? -errno : fp->watch_fd < 0 ? fp->watch_fd : count;
		strbuf_printf(why, "the guard's descriptors: %s", err_name(err));
		fastpath_unload(fp);
		old_bans_close(&old);
		return err;
	}
	fp->attachment_count = (size_t)count;
	heartbeat_map(fp, fp->maps.fd[MAP_HEARTBEAT]);
	fp->status.is_loaded = true;
	err = levels_open(&fp->levels, &fp->maps);
	if (!err)
		err = bans_use_map(fp->bans, &(struct bans_kernel){ .map_fd = fp->maps.fd[MAP_BLOCK],
								    .page = fp->heartbeat.cell,
								    .hits = fp->levels.hits });
	if (err) {
		strbuf_printf(why, "map %s: %s", maps_name(MAP_BLOCK), err_name(err));
		degrade(fp, why->ptr);
		strbuf_reset(why);
	}
	old_pins_take(fp, &old, replaced);
	return 0;
}

static void status_fill(struct fastpath *fp, const struct tables *t)
{
	const struct fastpath_map_status maps[FASTPATH_MAP_COUNT] = {
		{ "vips", (uint32_t)t->vips.count, SN_VIPS_MAX },
		{ "host_addrs", (uint32_t)t->host_addrs.count, SN_HOST_ADDRS_MAX },
		{ "acl4", (uint32_t)t->acl4.count, SN_ACL_MAX },
		{ "acl6", (uint32_t)t->acl6.count, SN_ACL_MAX },
		{ "block", 0, SN_BLOCK_MAX },
	};

	memcpy(fp->status.maps, maps, sizeof(maps));
}

static bool interface_is_physical(const char *name)
{
	char path[64 + IF_NAMESIZE];

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/device", name);
	return access(path, F_OK) == 0;
}

/* The guard reads Ethernet frames. */
static int interface_check(const char *name, struct strbuf *why)
{
	struct ifreq request = { 0 };
	int err = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		err = -errno;
	if (fd >= 0)
		(void)close(fd);
	if (err == -ENODEV)
		strbuf_add_str(why, "no such interface");
	else if (err)
		strbuf_printf(why, "cannot ask about the interface: %s", err_name(err));
	if (err)
		return err;
	if (request.ifr_hwaddr.sa_family == ARPHRD_ETHER || request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK)
		return 0;
	strbuf_add_str(why, "not an Ethernet interface");
	return -EOPNOTSUPP;
}

static struct attachment *attachment_find(struct fastpath *fp, unsigned ifindex, bool is_xdp)
{
	size_t i;

	for (i = 0; i < fp->attachment_count; i++)
		if (fp->attachments[i].ifindex == ifindex && attach_is_xdp(&fp->attachments[i]) == is_xdp)
			return &fp->attachments[i];
	return NULL;
}

/* Attach by XDP or tc, or exchange the program of what is attached that way. */
static int interface_attach(struct fastpath *fp, const char *name, bool is_xdp, enum attach_xdp_mode mode,
			    struct strbuf *why)
{
	struct attachment *a = attachment_find(fp, if_nametoindex(name), is_xdp);
	int err;

	if (a && a->is_current)
		return 0;
	if (!a) {
		if (fp->attachment_count == ATTACHMENTS_MAX)
			return -E2BIG;
		a = &fp->attachments[fp->attachment_count];
		*a = (struct attachment){ .fd = -1 };
	}
	err = is_xdp ? attach_xdp(&fp->context, name, mode, a, why) : attach_tc(&fp->context, name, a, why);
	if (!err && a == &fp->attachments[fp->attachment_count])
		fp->attachment_count++;
	return err;
}

/* One interface as the plan wants it; fills its status.  0 or -errno. */
static int interface_apply(struct fastpath *fp, const struct fastpath_interface *want,
			   struct fastpath_interface_status *s)
{
	bool is_auto = want->mode == FASTPATH_MODE_AUTO;
	bool is_xdp = want->mode == FASTPATH_MODE_XDP || (is_auto && interface_is_physical(want->name));
	struct strbuf why = { 0 };
	struct attachment *a;
	int err;

	strbuf_init(&why);
	err = interface_check(want->name, &why);
	if (!err)
		err = interface_attach(fp, want->name, is_xdp,
				       is_auto ? ATTACH_XDP_NATIVE : ATTACH_XDP_ANY, &why);
	if (err && is_xdp && is_auto && if_nametoindex(want->name)) {
		/* The reason stays in the status, as a note to a guard that works. */
		struct strbuf tc_why = { 0 };

		strbuf_init(&tc_why);
		is_xdp = false;
		err = interface_attach(fp, want->name, false, ATTACH_XDP_ANY, &tc_why);
		if (err)
			strbuf_printf(&why, "; %s", tc_why.ptr);
		strbuf_fini(&tc_why);
	}
	(void)snprintf(s->reason, sizeof(s->reason), "%s", why.ptr);
	strbuf_fini(&why);
	a = err ? NULL : attachment_find(fp, if_nametoindex(want->name), is_xdp);
	s->attached = a ? a->how : FASTPATH_ATTACH_NONE;
	s->is_adopted = a && a->is_adopted;
	return err;
}

static void interfaces_apply(struct fastpath *fp)
{
	struct strbuf line = { 0 };
	size_t i;

	strbuf_init(&line);
	for (i = 0; i < fp->plan.interface_count; i++) {
		const struct fastpath_interface *want = &fp->plan.interfaces[i];
		struct fastpath_interface_status *s = &fp->status.interfaces[i];

		if (want->mode == FASTPATH_MODE_OFF || interface_apply(fp, want, s) == 0)
			continue;
		strbuf_reset(&line);
		strbuf_printf(&line, "%s: %s", want->name, s->reason);
		degrade(fp, line.ptr);
	}
	strbuf_fini(&line);
}

/* Is this attachment what an interface of the plan came to? */
static bool attachment_is_wanted(const struct fastpath *fp, const struct attachment *a)
{
	size_t i;

	for (i = 0; i < fp->status.interface_count; i++) {
		const struct fastpath_interface_status *s = &fp->status.interfaces[i];
		bool is_same = a->ifindex && if_nametoindex(s->name) == a->ifindex;

		if (is_same && s->attached == a->how)
			return true;
		/* One of an earlier run goes on while its successor is refused. */
		if (is_same && s->mode != FASTPATH_MODE_OFF && s->attached == FASTPATH_ATTACH_NONE)
			return true;
	}
	return false;
}

/* Take off (or, after an interface vanished, forget) what the plan does not want. */
static void attachments_prune(struct fastpath *fp)
{
	size_t i = 0;

	while (i < fp->attachment_count) {
		struct attachment *a = &fp->attachments[i];
		int err;

		if (attachment_is_wanted(fp, a)) {
			i++;
			continue;
		}
		err = attach_detach(&fp->paths, a);
		if (err) {
			char why[FASTPATH_REASON_MAX];

			(void)snprintf(why, sizeof(why), "%s: cannot detach: %s", a->name, err_name(err));
			degrade(fp, why);
			i++;
			continue;
		}
		*a = fp->attachments[--fp->attachment_count];
	}
}

static void attachments_refresh(struct fastpath *fp)
{
	size_t i = 0;

	while (i < fp->attachment_count) {
		struct attachment *a = &fp->attachments[i];

		if (attach_is_alive(a)) {
			i++;
			continue;
		}
		attach_unpin(&fp->paths, a->how, a->name);
		attach_close(a);
		*a = fp->attachments[--fp->attachment_count];
	}
}

/* With something to guard; tables.h says why in this order. */
static void guard_apply(struct fastpath *fp)
{
	struct hostaddrs addrs = { 0 };
	struct strbuf why = { 0 };
	struct tables t;
	int err;

	strbuf_init(&why);
	err = fastpath_load(fp, &why);
	if (!err) {
		attachments_refresh(fp);
		err = hostaddrs_read(&addrs);
		if (err)
			strbuf_printf(&why, "the host's addresses: %s", err_name(err));
	}
	if (err) {
		degrade(fp, why.ptr);
		strbuf_fini(&why);
		return;
	}
	tables_init(&t, &fp->plan, &addrs, &fp->levels.now);
	status_fill(fp, &t);
	err = tables_grant(&t, &fp->maps, &why);
	if (!err) {
		(void)fastpath_geo_apply(fp);
		err = tables_put(&t, &fp->maps, &why);
	}
	if (!err)
		err = tables_lift(&t, &fp->maps, &why);
	if (!err) {
		interfaces_apply(fp);
		attachments_prune(fp);
		err = tables_prune(&t, &fp->maps, &why);
	}
	if (err)
		degrade(fp, why.ptr);
	tables_fini(&t);
	hostaddrs_fini(&addrs);
	strbuf_fini(&why);
}

/* Nothing to guard: everything off, also what an earlier run left. */
static void nothing_apply(struct fastpath *fp)
{
	int count;

	if (!maps_are_open(&fp->maps)) {
		count = attach_scan(&fp->paths, fp->attachments, ATTACHMENTS_MAX);
		fp->attachment_count = count > 0 ? (size_t)count : 0;
	}
	attachments_prune(fp);
	if (fp->attachment_count)
		return;
	fastpath_unload(fp);
	count = loader_maps_unpin(&fp->paths, fp->keeps_bans);
	if (count < 0)
		degrade(fp, "the pins of the guard's maps cannot be removed");
}

static bool plan_has_guard(const struct fastpath_plan *p)
{
	size_t i;

	for (i = 0; i < p->interface_count; i++)
		if (p->interfaces[i].mode != FASTPATH_MODE_OFF)
			return true;
	return false;
}

static bool is_attached(const struct fastpath *fp)
{
	for (size_t i = 0; i < fp->attachment_count; i++)
		if (fp->attachments[i].how != FASTPATH_ATTACH_NONE)
			return true;
	return false;
}

static int fastpath_run(struct fastpath *fp)
{
	struct fastpath_status *s = &fp->status;
	size_t i;

	s->is_degraded = false;
	s->reason[0] = '\0';
	s->is_monitor = fp->plan.is_monitor;
	s->interface_count = fp->plan.interface_count;
	memset(s->interfaces, 0, sizeof(s->interfaces));
	for (i = 0; i < s->interface_count; i++) {
		memcpy(s->interfaces[i].name, fp->plan.interfaces[i].name, IF_NAMESIZE);
		s->interfaces[i].mode = fp->plan.interfaces[i].mode;
	}
	budgets_compile(&fp->plan, &fp->levels.now, &fp->levels.now);
	if (plan_has_guard(&fp->plan))
		guard_apply(fp);
	else
		nothing_apply(fp);
	budgets_set(fp->budgets, &fp->levels.now, is_attached(fp));
	s->apply_failures += s->is_degraded;
	return s->is_degraded ? -EAGAIN : 0;
}

int fastpath_apply(struct fastpath *fp, const struct fastpath_plan *p)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	plan_fini(&fp->plan);
	plan_copy(&fp->plan, p);
	return fastpath_run(fp);
}

int fastpath_retry(struct fastpath *fp)
{
	size_t i;
	bool is_whole = true;

	OBJ_CHECK(fp, TAG_FASTPATH);
	for (i = 0; i < fp->attachment_count; i++)
		is_whole = is_whole && attach_is_alive(&fp->attachments[i]);
	return is_whole && !fp->status.is_degraded ? 0 : fastpath_run(fp);
}

void fastpath_stop(struct fastpath *fp)
{
	struct fastpath_plan nothing = { 0 };

	OBJ_CHECK(fp, TAG_FASTPATH);
	fp->keeps_bans = bans_count(fp->bans) > 0;
	if (!fp->plan.keep_on_stop)
		(void)fastpath_apply(fp, &nothing);
}

void fastpath_release(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	fastpath_unload(fp);
}

void fastpath_status(struct fastpath *fp, struct fastpath_status *out_status)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	*out_status = fp->status;
	out_status->maps[FASTPATH_MAP_COUNT - 1].entries = (uint32_t)bans_count(fp->bans);
}

const char *fastpath_attach_name(enum fastpath_attach attach)
{
	CHECK(attach < FASTPATH_ATTACH_COUNT);
	return attach_names[attach];
}

int fastpath_stats(struct fastpath *fp, struct fastpath_stats *out_stats)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return stats_read(&fp->maps, out_stats);
}

int fastpath_events_fd(const struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return fp->ring ? ring_buffer__epoll_fd(fp->ring) : -1;
}

int fastpath_events_consume(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return fp->ring ? ring_buffer__consume(fp->ring) : 0;
}

int fastpath_addresses_fd(const struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return fp->watch_fd;
}

int fastpath_addresses_update(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	if (fp->watch_fd < 0 || !hostaddrs_drain(fp->watch_fd))
		return 0;
	return fastpath_run(fp);
}

struct bans *fastpath_bans(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return fp->bans;
}

struct heartbeat *fastpath_heartbeat(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return &fp->heartbeat;
}

struct budgets *fastpath_budgets(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return fp->budgets;
}

void fastpath_tick(struct fastpath *fp, uint64_t now_ns)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	budgets_tick(fp->budgets, now_ns);
	levels_tick(&fp->levels, &fp->maps, now_ns);
}

void fastpath_source_add(struct fastpath *fp, const uint8_t ip[16], uint64_t now_ns)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	levels_add_source(&fp->levels, &fp->maps, ip, now_ns);
}

bool fastpath_is_attached(const struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return is_attached(fp);
}

bool fastpath_is_saturated(const struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return levels_are_saturated(&fp->levels);
}

struct geo_kernel *fastpath_geo(struct fastpath *fp)
{
	OBJ_CHECK(fp, TAG_FASTPATH);
	return maps_are_open(&fp->maps) ? &fp->geo : NULL;
}

int fastpath_geo_apply(struct fastpath *fp)
{
	struct strbuf why = { 0 };
	int err;

	OBJ_CHECK(fp, TAG_FASTPATH);
	strbuf_init(&why);
	err = maps_are_open(&fp->maps) ? geo_kernel_apply(&fp->geo, &fp->plan.geo, &why) : 0;
	if (err)
		degrade(fp, why.ptr);
	strbuf_fini(&why);
	return err ? -EAGAIN : 0;
}
