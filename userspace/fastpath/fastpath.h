/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fastpath.h - the daemon's hand on the kernel's guard: apply a plan, ask how it went, read what it counted.
 *
 * The guard is an accelerator, never a dependency: nothing here is fatal.  What could not be done is a reason
 * in the status, and the traffic is judged by rules.h alone.
 *
 * Everything is called by the control thread, except heartbeat_beat(), bans_until(), budgets_admit() and
 * rules_judge().
 *
 * Pins: <bpffs>/sentinel/<instance>/v<ABI>/<map> and <bpffs>/sentinel/<instance>/<kind>-<interface>, kind one of
 * xdp, tcx (links), dispatcher, clsact (programs).  The file system takes no dots: they are written as '%'.
 * A daemon that dies leaves them: the guard goes on with the operator's rules, and the next daemon adopts maps
 * and links, puts its own program in by one atomic exchange, and no packet sees a gap.
 */
#ifndef SN_FASTPATH_FASTPATH_H
#define SN_FASTPATH_FASTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "fastpath/bans.h"
#include "fastpath/budgets.h"
#include "fastpath/geo_kernel.h"
#include "fastpath/heartbeat.h"
#include "fastpath/plan.h"
#include "fastpath/rules.h"
#include "fastpath/stats.h"
#include "sentinel/events.h"

struct fastpath;

#define FASTPATH_REASON_MAX 200
#define FASTPATH_NOTE_MAX 400

struct fastpath_options {
	const char *instance; /* a folder's name, 1..63 bytes without '/' */
	const char *bpffs;    /* NULL: /sys/fs/bpf */
	/* A line of libbpf or libxdp (no newline), for the debug log; NULL: dropped. */
	void (*on_debug)(void *ctx, const char *line);
	/* A sampled drop, from fastpath_events_consume(). */
	void (*on_drop)(void *ctx, const struct sn_drop_event *e);
	void *ctx;
};

enum fastpath_attach {
	FASTPATH_ATTACH_NONE,
	FASTPATH_ATTACH_XDP_DISPATCHER, /* through libxdp, beside other programs */
	FASTPATH_ATTACH_XDP_NATIVE,	/* the only program, in the driver */
	FASTPATH_ATTACH_XDP_GENERIC,	/* the only program, after the driver */
	FASTPATH_ATTACH_TCX,
	FASTPATH_ATTACH_CLSACT,
	FASTPATH_ATTACH_COUNT
};

struct fastpath_interface_status {
	char name[IF_NAMESIZE];
	enum fastpath_mode mode; /* wanted */
	enum fastpath_attach attached;
	bool is_adopted;		  /* was found attached, from an earlier run */
	char reason[FASTPATH_REASON_MAX]; /* why it is not attached, or not as wished; "" if it is */
};

struct fastpath_map_status {
	const char *name; /* static */
	uint32_t entries;
	uint32_t entries_max;
};

#define FASTPATH_MAP_COUNT 5

struct fastpath_status {
	bool is_loaded;	  /* maps and programs are in the kernel */
	bool is_degraded; /* something of the plan is not in force; fastpath_retry() may help */
	bool is_monitor;
	char reason[FASTPATH_REASON_MAX]; /* the first thing that failed; "" if none */
	char note[FASTPATH_NOTE_MAX];	  /* what became of pins that are not of our layout; "" if none */
	struct fastpath_interface_status interfaces[PLAN_INTERFACES_MAX];
	size_t interface_count;
	struct fastpath_map_status maps[FASTPATH_MAP_COUNT];
	uint32_t apply_failures; /* since the start */
};

/*
 * Never fails; touches no kernel object.  The strings of o are copied.  An invalid instance is a CHECK: the
 * configuration's schema refuses it.
 */
struct fastpath *fastpath_new(const struct fastpath_options *o);
/* Close what this process holds; the kernel keeps what is pinned.  Call fastpath_stop() first.  NULL ok. */
void fastpath_free(struct fastpath *fp);

/*
 * Make the kernel do what the plan says, without a gap (tables.h).  p is copied.  With no interface (or all
 * off) everything is detached and nothing is loaded.  0, or -EAGAIN: the status tells what is not in force.
 */
int fastpath_apply(struct fastpath *fp, const struct fastpath_plan *p);
/* The last plan again, if it is degraded or an interface vanished; call every few seconds.  As apply. */
int fastpath_retry(struct fastpath *fp);
/* Orderly stop: detach everything and remove the pins (but for bans that hold), unless the plan says keep_on_stop. */
void fastpath_stop(struct fastpath *fp);
/*
 * Another process of this instance takes over: close what this one holds, so that it writes no map, detaches and unpins
 * nothing; what is pinned goes on.  fastpath_apply() would take it back.
 */
void fastpath_release(struct fastpath *fp);

void fastpath_status(struct fastpath *fp, struct fastpath_status *out_status);
/* "xdp (dispatcher)", "xdp (native, single program)", "tc (tcx)", …; "not attached". */
const char *fastpath_attach_name(enum fastpath_attach attach);
/* 0 or -errno; zeroes when nothing is loaded. */
int fastpath_stats(struct fastpath *fp, struct fastpath_stats *out_stats);

/* Readable when fastpath_events_consume() has work; -1 when nothing is loaded.  Changes with apply. */
int fastpath_events_fd(const struct fastpath *fp);
/* Call on_drop for each waiting event.  How many, or -errno. */
int fastpath_events_consume(struct fastpath *fp);

/* Readable when the host's addresses changed; -1 when nothing is loaded.  Changes with apply. */
int fastpath_addresses_fd(const struct fastpath *fp);
/* Read the notices and bring the map up to date.  0 or -EAGAIN as apply. */
int fastpath_addresses_update(struct fastpath *fp);

struct budgets *fastpath_budgets(struct fastpath *fp);	   /* never NULL; lives as long as fp */
/* Once a second, with clock_mono_ns(): is the sketch of the budgets saturated? */
void fastpath_tick(struct fastpath *fp, uint64_t now_ns);
bool fastpath_is_saturated(const struct fastpath *fp);
bool fastpath_is_attached(const struct fastpath *fp); /* the guard, to any interface */
/* This source completed a handshake: it gets buckets of its own.  Bounded, see sources.h. */
void fastpath_source_add(struct fastpath *fp, const uint8_t ip[16], uint64_t now_ns);
struct bans *fastpath_bans(struct fastpath *fp);	   /* never NULL; lives as long as fp */
struct heartbeat *fastpath_heartbeat(struct fastpath *fp); /* never NULL; lives as long as fp */

/* Countries in the kernel; NULL while nothing is loaded.  After geo_kernel_give(): fastpath_geo_apply(). */
struct geo_kernel *fastpath_geo(struct fastpath *fp);
/* What tables there are, and the plan's policies, come in force.  0, or -EAGAIN as apply. */
int fastpath_geo_apply(struct fastpath *fp);

/*
 * For `sentinel kernel` without a daemon, from the pins of an instance (bpffs NULL: /sys/fs/bpf).
 * Describe one line for each link and map into out_text / detach every program and remove the pins, with one
 * line for each thing removed.  How many there were, or -errno (-ENOENT: no such instance).
 */
int fastpath_pins_describe(const char *bpffs, const char *instance, struct strbuf *out_text);
int fastpath_pins_detach(const char *bpffs, const char *instance, struct strbuf *out_text);

#endif
