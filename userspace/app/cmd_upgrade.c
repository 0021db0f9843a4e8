/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_upgrade.c - sentinel upgrade: the program on disk in the place of the one that runs. */
#include "app/client.h"

static int upgrade(struct cli *c)
{
	return client_ask(c, "upgrade");
}

const struct command command_upgrade = {
	.name = "upgrade",
	.usage = "[-c FILE] [--json]",
	.summary = "replace the running daemon by the program on disk",
	.help = "The daemon starts the program that is at its path now, with its own file, and hands over the\n"
		"listening sockets and the guard: no connection is refused or lost.  What is open ends in the\n"
		"old process, which `sentinel status` shows until then.  If the new one does not serve within\n"
		"10 s, its errors are printed, the old one goes on as if nothing had been, and the exit code is 1.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON,
	.run = upgrade,
};
