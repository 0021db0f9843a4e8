/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_flows.c - sentinel flows: the tunnels that are open, and what moves their bytes. */
#include <string.h>

#include "app/client.h"

static int flows(struct cli *c)
{
	if (c->limit && (c->limit[0] == '\0' || c->limit[strspn(c->limit, "0123456789")] != '\0'))
		return cli_fail(c, EXIT_CODE_USAGE, "--limit takes a number, not \"%s\"", c->limit);
	return client_ask(c, arena_printf(&c->arena, "flows%s%s", c->limit ? " " : "", c->limit ? c->limit : ""));
}

const struct command command_flows = {
	.name = "flows",
	.usage = "[--limit NUMBER]",
	.summary = "list open tunnels and what moves their bytes",
	.help = "WebSocket, CONNECT, other upgrades, plain TCP and TLS by name, those with the most bytes first.  "
		"ENGINE is what\n"
		"moves the bytes now: copy (through the daemon), splice (splice(2)) or sockmap (the kernel alone), "
		"from the\n"
		"client and from the origin if they differ.  KERNEL is the share of the bytes that sockmap moved.  "
		"Exit code 3\n"
		"if no daemon runs.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON | CLI_LIMIT,
	.run = flows,
};
