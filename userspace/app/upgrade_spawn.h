/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * upgrade_spawn.h - starts the program on disk as a process beside this one.  Control thread.
 */
#ifndef SN_APP_UPGRADE_SPAWN_H
#define SN_APP_UPGRADE_SPAWN_H

#include <sys/types.h>

#include "base/strbuf.h"

#define UPGRADE_ENV "SENTINEL_UPGRADE" /* its value is the number of the channel's descriptor */
#define UPGRADE_FD  3

/* What this process was started as; remembered before it changes its directory. */
struct upgrade_program {
	char *path;   /* owned; as it was called, or where it was, when that is not the same file */
	char *config; /* owned; as it was given */
	int folder;   /* owned: the working directory; -1: it cannot be opened */
};

void upgrade_program_init(struct upgrade_program *p, const char *config);
/*
 * Run it with `channel` as descriptor UPGRADE_FD and errors going to `errors`; nothing else is passed on but standard
 * input and output.  It becomes a child of our parent.  0 and its pidfd, or -errno with a sentence in out_why.
 */
int upgrade_spawn(const struct upgrade_program *p, int channel, int errors, pid_t *out_pid, int *out_pidfd,
		  struct strbuf *out_why);
void upgrade_kill(int pidfd);

#endif
