/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * old_bans.h - bans that another version of the program left in its pins.
 *
 * Its maps are not used, but who is banned there stays banned: of the map of bans, key and beginning of a value are the
 * same in every version (sn_block).  Nothing else is believed: a map of another kind or size is left alone, and so is a
 * row that no version can have written.  Control thread.
 */
#ifndef SN_FASTPATH_OLD_BANS_H
#define SN_FASTPATH_OLD_BANS_H

#include <stdint.h>

#include "base/strbuf.h"
#include "fastpath/bans.h"
#include "fastpath/loader.h"

#define OLD_BANS_MAX 8 /* versions that are looked at, the newest ones */

struct old_bans {
	struct {
		int version;
		int fd;	 /* owned; -errno: the pin cannot be opened */
	} pins[OLD_BANS_MAX];
	size_t count;
};

/* Open the pinned maps of bans, our own version's too: before loader_maps_open(), which replaces what is not ours. */
void old_bans_open(struct old_bans *o, const struct loader_paths *p);
/*
 * Take the bans that b has not, which uses its map map_fd by now, and close everything.  What was taken or cannot be
 * read is in out_note, one clause each; nothing if there is nothing to say.
 */
void old_bans_take(struct old_bans *o, struct bans *b, int map_fd, uint64_t now_ns, struct strbuf *out_note);
void old_bans_close(struct old_bans *o);

#endif
