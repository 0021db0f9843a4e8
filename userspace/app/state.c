/* SPDX-License-Identifier: GPL-2.0-only */
/* state.c - the folder for what outlives a restart. */
#include "app/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/privilege.h"
#include "proxy/config.h"

const char *state_folder(const struct config_system *system, struct arena *a)
{
	const char *given = getenv("STATE_DIRECTORY"), *home = getenv("XDG_STATE_HOME");

	if (system->state_directory)
		return system->state_directory;
	if (given && given[0] == '/')
		return arena_strndup(a, given, strcspn(given, ":"));
	if (privilege_was_root())
		return arena_printf(a, "/var/lib/sentinel/%s", system->instance);
	if (home && home[0] == '/')
		return arena_printf(a, "%s/sentinel/%s", home, system->instance);
	home = getenv("HOME");
	return home && home[0] == '/' ? arena_printf(a, "%s/.local/state/sentinel/%s", home, system->instance) : NULL;
}

static int folder_make(const char *path, const struct identity *id)
{
	if (mkdir(path, 0750) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (id && chown(path, id->uid, id->gid) < 0)
		return -errno;
	return 0;
}

int state_prepare(const char *folder, const struct identity *id)
{
	char path[4096];
	int err = 0;

	if (snprintf(path, sizeof(path), "%s/ocsp", folder) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *p = path + 1; *p && err == 0; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		err = folder_make(path, strlen(path) >= strlen(folder) ? id : NULL);
		*p = '/';
	}
	return err == 0 ? folder_make(path, id) : err;
}
