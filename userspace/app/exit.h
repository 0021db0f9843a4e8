/* SPDX-License-Identifier: GPL-2.0-only */
/* exit.h - exit codes of every command; documented in sentinel(8). */
#ifndef SN_APP_EXIT_H
#define SN_APP_EXIT_H

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_ERROR = 1,	   /* it could not be done; said on standard error, or on output with --json */
	EXIT_CODE_USAGE = 2,	   /* the command line makes no sense */
	EXIT_CODE_NOT_RUNNING = 3, /* there is no daemon to talk to */
};

#endif
