/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_reload.c - sentinel reload and sentinel stop: orders to the daemon. */
#include "app/client.h"

static int reload(struct cli *c)
{
	return client_ask(c, "reload");
}

const struct command command_reload = {
	.name = "reload",
	.usage = "[-c FILE] [--json]",
	.summary = "make the running daemon load its file again",
	.help = "Prints what changed, or every mistake of the file; then the running configuration goes on "
		"and the exit\n"
		"code is 1.  No connection is lost.  -c says which daemon (by `system { instance }` of the "
		"file); the\n"
		"daemon loads the file that it was started with.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON,
	.run = reload,
};

static int stop(struct cli *c)
{
	return client_ask(c, c->is_now ? "stop now" : "stop");
}

const struct command command_stop = {
	.name = "stop",
	.usage = "[-c FILE] [--now] [--json]",
	.summary = "stop the running daemon",
	.help = "New connections are no longer accepted; open requests may end, for as long as\n"
		"`system { graceful-shutdown-timeout-secs }` says.  Returns at once.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON | CLI_NOW,
	.run = stop,
};
