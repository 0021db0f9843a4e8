/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_run.c - sentinel run: start the daemon in the foreground. */
#include "app/cli.h"
#include "app/daemon.h"

static int run(struct cli *c)
{
	const char *path = cli_config(c);

	return path ? daemon_run(path) : EXIT_CODE_ERROR;
}

const struct command command_run = {
	.name = "run",
	.usage = "[-c FILE]",
	.summary = "start the proxy, in the foreground",
	.help = "Starts the proxy and stays in the foreground; the log goes to standard error.\n\n"
		"Signals: HUP loads the file again, USR1 opens the log files again, USR2 starts the program on\n"
		"disk in place of this one, TERM stops after open requests have ended, INT (Ctrl-C) does the\n"
		"same and a second one stops at once.",
	.options = CLI_CONFIG,
	.run = run,
};
