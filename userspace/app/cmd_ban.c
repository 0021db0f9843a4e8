/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_ban.c - sentinel ban: refuse an address for a time. */
#include <string.h>

#include "app/client.h"

static int ban(struct cli *c)
{
	const char *what = c->args[0], *address = c->arg_count > 1 ? c->args[1] : NULL;
	bool is_list = strcmp(what, "list") == 0, is_add = strcmp(what, "add") == 0;

	if (!is_list && !is_add && strcmp(what, "remove") != 0)
		return cli_fail(c, EXIT_CODE_USAGE, "ban list, ban add ADDRESS or ban remove ADDRESS, not \"%s\"",
				what);
	if (is_list != !address || (address && strpbrk(address, " \t\r\n")))
		return cli_fail(c, EXIT_CODE_USAGE, is_list ? "ban list takes no address" : "ban %s needs one address",
				what);
	if (c->duration && (!is_add || strpbrk(c->duration, " \t\r\n")))
		return cli_fail(c, EXIT_CODE_USAGE, "--for TIME belongs to ban add");
	return client_ask(c, arena_printf(&c->arena, "ban %s %s %s", what, address ? address : "",
					  c->duration ? c->duration : ""));
}

const struct command command_ban = {
	.name = "ban",
	.usage = "list | add ADDRESS [--for TIME] | remove ADDRESS",
	.summary = "list, add and remove temporary bans",
	.help = "A banned address is refused in the kernel where a guard is attached, and after accept "
		"everywhere else.  An\n"
		"IPv6 address is banned with its whole /64.  Addresses that `kernel { acl { allow } }` names "
		"cannot be\n"
		"banned.  Bans end by themselves; open connections of the banned are reset.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON | CLI_FOR,
	.args_min = 1,
	.args_max = 2,
	.run = ban,
};
