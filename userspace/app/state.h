/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * state.h - the folder for what outlives a restart: `state-directory` of the file, else $STATE_DIRECTORY (systemd),
 * else /var/lib/sentinel/INSTANCE for root, $XDG_STATE_HOME/sentinel/INSTANCE or
 * ~/.local/state/sentinel/INSTANCE for others.
 * Control thread.
 */
#ifndef SN_APP_STATE_H
#define SN_APP_STATE_H

#include "base/arena.h"

struct config_system;
struct identity;

/* In the arena; NULL: none of these is known. */
const char *state_folder(const struct config_system *system, struct arena *a);
/* Make it and what leads to it (mode 0750), and a folder `ocsp` in it; they belong to id afterwards (NULL: to us). */
int state_prepare(const char *folder, const struct identity *id);

#endif
