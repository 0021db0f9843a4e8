/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * heartbeat.h - the daemon's sign of life to the guard, which fails open without it.
 *
 * A worker writes it, once a second, and only while the control thread is well too: bans that nobody can lift
 * must not go on.
 */
#ifndef SN_FASTPATH_HEARTBEAT_H
#define SN_FASTPATH_HEARTBEAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sn_heartbeat;

#define HEARTBEAT_CONTROL_MAX_NS (5ull * 1000 * 1000 * 1000)

struct heartbeat {
	struct sn_heartbeat *cell;	   /* owned by fastpath: the map's page, or a blank one without a guard */
	_Atomic uint64_t control_until_ns; /* the control thread counts as well until then */
};

/* Control, once a second. */
void heartbeat_control(struct heartbeat *h, uint64_t now_ns);
/* Control, before work that keeps it from its loop for up to max_ns. */
void heartbeat_control_busy(struct heartbeat *h, uint64_t now_ns, uint64_t max_ns);
/* A worker, once a second, with clock_boot_ns().  False: control is stuck, nothing was written. */
bool heartbeat_beat(struct heartbeat *h, uint64_t now_ns);

#endif
