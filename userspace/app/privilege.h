/* SPDX-License-Identifier: GPL-2.0-only */
/* privilege.h - who the process is: user, group, capabilities, descriptors.  Main thread unless it says otherwise. */
#ifndef SN_APP_PRIVILEGE_H
#define SN_APP_PRIVILEGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct identity {
	uid_t uid;
	gid_t gid;
	char name[64]; /* of the user; "" if none was asked for */
};

/*
 * Look up names (either may be NULL).  0; -ENOENT: no such user or group; -EPERM: we are not root, so we cannot be
 * somebody else (asking for what we are is fine).
 */
int identity_find(struct identity *out, const char *user, const char *group);
/*
 * Become id with the five capabilities that the control thread keeps (NET_BIND_SERVICE, NET_ADMIN, BPF, PERFMON,
 * DAC_READ_SEARCH); the bounding set shrinks to these and IPC_LOCK.  Without id (NULL) only the bounding
 * set shrinks.  Before any other thread is started.  0 or -errno.
 */
int privilege_become(const struct identity *id);
/*
 * Are we root, or were we before privilege_become()?  Then default places are those of the system, whoever we are now.
 * The process of an upgrade inherits it, by the environment.
 */
bool privilege_was_root(void);
#define PRIVILEGE_ERR_MAX 128
/* The words of an errno; "Permission denied" with the user who was denied it. */
const char *privilege_err_text(int err, char buf[PRIVILEGE_ERR_MAX]);
/* Calling thread: no capability at all. */
void privilege_drop_thread(void);
/* Raise the limit of open descriptors to what is allowed; returns it. */
size_t privilege_raise_descriptors(void);

#endif
