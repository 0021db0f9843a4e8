/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bans.h - the sources that are banned for a time: one table a process, mirrored into the kernel's block map.
 *
 * Control adds, removes, lists and expires; workers only ask bans_until().  While a guard is loaded each change
 * goes to the map as well, and the map's pin brings the bans back after a restart.  An IPv6 source is banned with
 * its whole /64.  Times are CLOCK_BOOTTIME in nanoseconds.
 */
#ifndef SN_FASTPATH_BANS_H
#define SN_FASTPATH_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bans;

struct ban {
	uint8_t ip[16]; /* IPv4-mapped, or the first 64 bits of an IPv6 address */
	uint64_t since_ns;
	uint64_t until_ns; /* SN_FOREVER: until removed */
	uint16_t why;	   /* SN_BAN_* */
	uint16_t strikes;
};

struct bans *bans_new(void);
void bans_free(struct bans *b); /* NULL ok */

/*
 * Ban ip from now_ns until until_ns.  Banning again what is banned moves the end and counts a strike.
 * 0; -EINVAL: until is not later than now; -ENOSPC: SN_BLOCK_MAX sources are banned; another -errno: the table
 * has it, so that accepted connections are judged by it, but the kernel's map refused it.  Control.
 */
int bans_add(struct bans *b, const uint8_t ip[16], uint64_t now_ns, uint64_t until_ns, uint16_t why);
/* 0, -ENOENT, or what the kernel's map said.  Control. */
int bans_remove(struct bans *b, const uint8_t ip[16]);
/* Drop what is over.  Returns how many were.  Control, every few seconds. */
size_t bans_expire(struct bans *b, uint64_t now_ns);
/*
 * A copy of all bans, in no order: malloc'd, freed by the caller with free(); NULL if there are none.
 * Any thread.
 */
struct ban *bans_list(struct bans *b, size_t *out_count);
size_t bans_count(struct bans *b); /* any thread */

/* End of the ban of this source, 0 if it has none.  Any thread; no lock while nobody is banned. */
uint64_t bans_until(struct bans *b, const uint8_t ip[16]);

/*
 * Use the kernel's block map from now on (-1: none).  What the map holds comes into the table, what the table
 * holds goes into the map.  The descriptor is borrowed.  0 or the first -errno.  Control.
 */
int bans_use_map(struct bans *b, int map_fd);

/* "manual", …; "unknown" for what this version does not know. */
const char *bans_why_name(uint16_t why);

#endif
