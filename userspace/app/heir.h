/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * heir.h - binary upgrade, the side that takes: what a process that was started by `sentinel upgrade` gets from the one
 * that runs.  Until heir_take_over() everything may fail and the old process goes on.  Control thread, at the start.
 */
#ifndef SN_APP_HEIR_H
#define SN_APP_HEIR_H

#include <stdbool.h>

#include "base/strbuf.h"
#include "net/addr.h"

struct control;
struct heir;

/* 1: *out is ours to free; 0: an ordinary start; -errno: $SENTINEL_UPGRADE makes no sense (said why). */
int heir_new(struct heir **out, struct strbuf *out_why);
void heir_free(struct heir *h); /* closes what was not taken; NULL ok */

/* After the file was loaded: ask for everything.  0, or -errno with a sentence in out_why. */
int heir_meet(struct heir *h, const struct control *c, struct strbuf *out_why);
/* The old process's listening socket for this address and worker, now the caller's; -1: it has none.  NULL ok. */
int heir_socket_take(struct heir *h, const struct addr *addr, unsigned worker);
/* Does the old process listen there?  NULL ok. */
bool heir_has_address(const struct heir *h, const struct addr *addr);
/* Do these name the same file as the old process's? */
bool heir_has_admin(const struct heir *h, const char *path);
bool heir_has_pid_file(const struct heir *h, const char *path);
/* The descriptor of the old process's pid file, now the caller's. */
int heir_pid_file_take(struct heir *h);

/*
 * Workers run, names are resolved: take the guard, the bans, the admin socket, and begin to accept.  Then h is gone.
 * -errno with a sentence in out_why: the old process does not answer, and ends us; or we were told to end (SIGTERM).
 */
int heir_take_over(struct heir *h, struct control *c, struct strbuf *out_why);

#endif
