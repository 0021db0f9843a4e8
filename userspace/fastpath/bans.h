/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bans.h - the sources that are banned for a time: one table a process, mirrored into the kernel's block map.
 *
 * Control adds, removes, lists and expires; workers only ask bans_until().  While a guard is loaded each change
 * goes to the map as well, and the map's pin brings the bans back after a restart.  An IPv6 source is banned with
 * its whole /64.  Times are CLOCK_BOOTTIME in nanoseconds.
 *
 * A ban by itself (bans_punish) is remembered for a while after its end: the next one of that source is longer.
 */
#ifndef SN_FASTPATH_BANS_H
#define SN_FASTPATH_BANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bans;
struct sn_heartbeat;
struct sn_hits;

struct ban {
	uint8_t ip[16]; /* IPv4-mapped, or the first 64 bits of an IPv6 address */
	uint64_t since_ns;
	uint64_t until_ns; /* SN_FOREVER: until removed; in the past: only remembered */
	uint16_t why;	   /* SN_BAN_*, of automatic ones also SN_BAN_NAMED */
	uint16_t strikes;
	uint32_t slot; /* of the hits */
	uint64_t hits; /* packets that the kernel dropped; only in a list */
};

/* The kernel's side of the table; all of it borrowed. */
struct bans_kernel {
	int map_fd;		   /* of block; -1: none */
	struct sn_heartbeat *page; /* where the guard sees that there are bans; NULL: nowhere */
	struct sn_hits *hits;	   /* SN_BLOCK_MAX of them; NULL: nobody counts */
};

/* How automatic bans go. */
struct bans_policy {
	uint64_t first_ns; /* the first ban of a source lasts so long, each further one twice as long as the last, */
	uint64_t max_ns;   /* but never longer than this; and a ban is forgotten so long after its end */
};

struct bans *bans_new(void);
void bans_free(struct bans *b); /* NULL ok */

/*
 * Ban ip from now_ns until until_ns.  Banning again what is banned moves the end and counts a strike.
 * 0; -EINVAL: until is not later than now; -ENOSPC: SN_BLOCK_MAX sources are banned, all by hand; another -errno: the
 * table has it, so that accepted connections are judged by it, but the kernel's map refused it.  Control.
 */
int bans_add(struct bans *b, const uint8_t ip[16], uint64_t now_ns, uint64_t until_ns, uint16_t why);
/*
 * An automatic ban.  When the table is full, the automatic one that ends soonest goes.  -EALREADY: it is banned now,
 * and nothing changed.  -ENOSPC: all are by hand.  Else as bans_add().  Control.
 */
int bans_punish(struct bans *b, const uint8_t ip[16], uint64_t now_ns, const struct bans_policy *p, uint16_t why);
/* How long automatic bans are remembered after their end (0: not at all, the beginning).  Control. */
void bans_remember(struct bans *b, uint64_t ns);
/* A row of another process's table as it is, slot included if that is free.  -ENOSPC: full.  Control. */
int bans_put(struct bans *b, const struct ban *ban);
/* 0, -ENOENT (not banned now), or what the kernel's map said.  Forgets strikes too.  Control. */
int bans_remove(struct bans *b, const uint8_t ip[16], uint64_t now_ns);
/* Drop what is over and forgotten.  Returns how many were.  Control, every second. */
size_t bans_expire(struct bans *b, uint64_t now_ns);
/*
 * A copy of the bans that hold at now_ns, in no order: malloc'd, freed by the caller with free(); NULL if there are
 * none.  Any thread.
 */
struct ban *bans_list(struct bans *b, uint64_t now_ns, size_t *out_count);
size_t bans_count(struct bans *b); /* rows, also those that are only remembered; any thread */

/* End of the ban of this source, 0 if it has none.  Any thread; no lock while nobody is banned. */
uint64_t bans_until(struct bans *b, const uint8_t ip[16]);

/*
 * Use the kernel's maps from now on (NULL: none).  What the map holds comes into the table, what the table holds goes
 * into the map.  0 or the first -errno.  Control.
 */
int bans_use_map(struct bans *b, const struct bans_kernel *k);

/* "manual", "rate-limit", "geo", "agent", …; "unknown" for what this version does not know. */
const char *bans_why_name(uint16_t why);
/* The reason of a refusal as a ban's; SN_BAN_OTHER if it has none of its own. */
uint16_t bans_why_of(const char *reason);

#endif
