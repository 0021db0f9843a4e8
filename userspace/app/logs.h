/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * logs.h - where the logs go: default paths, files that must be opened before a configuration may be used, rotation.
 * Control thread.
 */
#ifndef SN_APP_LOGS_H
#define SN_APP_LOGS_H

#include "app/control.h"
#include "app/privilege.h"

/*
 * Fill in default paths and try to open what is to be written; in the snapshot, before it is published.  A default
 * file that cannot be opened is switched off with a warning in out; one that the configuration names is -errno with
 * a sentence in out.
 */
int logs_prepare(struct snapshot *s, struct strbuf *out);
/* The files, and /var/log/sentinel if they are in it, belong to the user that the daemon will be. */
void logs_own(const struct snapshot *s, const struct identity *id);
/* After publishing: level, format, error log, audit log.  Workers follow with their access logs by themselves. */
void logs_apply(struct control *c);
/* SIGUSR1: open all files again. */
void logs_reopen(struct control *c);

#endif
