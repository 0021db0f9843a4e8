/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * watch.h - calls back when a file of the configuration was changed: inotify on the folders of all its files, so
 * that an editor's rename is seen, quiet for WATCH_QUIET_MS.  Control thread.
 */
#ifndef SN_APP_WATCH_H
#define SN_APP_WATCH_H

#include "loop/loop.h"
#include "proxy/config.h"

#define WATCH_QUIET_MS 200

struct watch;

/* 0 or -errno. */
int watch_new(struct watch **out, struct loop *l, void (*on_change)(void *ctx), void *ctx);
/*
 * Watch the files of c, which stays valid until the next call; NULL: nothing.  A folder that cannot be watched is
 * logged.  w may be NULL: there is no inotify.
 */
void watch_set(struct watch *w, const struct config *c);

#endif
