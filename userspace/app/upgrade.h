/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * upgrade.h - binary upgrade, the side that gives: starts the program on disk, answers its questions, gives up the
 * guard, and drains.  docs/design/0008-upgrade.md has the protocol.  It also knows the generations before this process
 * that still drain.  Control thread.
 */
#ifndef SN_APP_UPGRADE_H
#define SN_APP_UPGRADE_H

#include <sys/types.h>

#include "base/json.h"
#include "base/strbuf.h"

struct admin_connection;
struct control;
struct upgrade;

/* Once, before the working directory changes; config is the path as it was given. */
struct upgrade *upgrade_new(struct control *c, const char *config);
/*
 * Start.  False: refused, with a sentence in out.  True: admin_reply() to `from` (which may be NULL) tells the end.
 */
bool upgrade_begin(struct upgrade *u, struct admin_connection *from, bool wants_json, struct strbuf *out);
/* SIGUSR2: the same; what there is to say goes to the log. */
void upgrade_begin_logged(struct upgrade *u);
/* The new process is being started, or has the guard already: nothing may change meanwhile. */
bool upgrade_is_under_way(const struct upgrade *u);
/* We are about to stop: give up what is under way; the older generations are told to stop too. */
void upgrade_stop(struct upgrade *u);
/* Once a second. */
void upgrade_tick(struct upgrade *u);

/*
 * An older generation that still drains, with the channel to it, owned from here.  sends_pairs: tunnels may come from
 * it as they are in the kernel.  Until it says that this is over, no new process gets the channel: it might have no use
 * for these.
 */
void upgrade_add_older(struct upgrade *u, pid_t pid, int channel, bool sends_pairs);
void upgrade_text(const struct upgrade *u, struct strbuf *out);
void upgrade_json(const struct upgrade *u, struct json *j);

#endif
