/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_status.c - sentinel status: how the running daemon is. */
#include "app/client.h"

static int status(struct cli *c)
{
	return client_ask(c, "status");
}

const struct command command_status = {
	.name = "status",
	.usage = "[-c FILE] [--json]",
	.summary = "what the running daemon listens on, forwards to and guards",
	.help = "Version, configuration and its generation, listeners, targets, the kernel's guard and what "
		"is wrong with\n"
		"it, open connections.  Exit code 3 if no daemon runs.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON,
	.run = status,
};
