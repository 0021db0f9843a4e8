/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * daemon.h - the process of `sentinel run`: from the file to running workers, and back to nothing.
 *
 * Start: load the file, bind, attach the guard, give up rights, start the workers, hand them the sockets.  Whatever
 * cannot be done ends the start with clear lines on standard error and exit code 1; nothing stays behind.
 */
#ifndef SN_APP_DAEMON_H
#define SN_APP_DAEMON_H

/* Run until told to stop.  Returns the exit code. */
int daemon_run(const char *config_path);

#endif
