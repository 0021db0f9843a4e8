/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_kernel.c - sentinel kernel: the guard, with and without a daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/client.h"
#include "fastpath/fastpath.h"
#include "proxy/config.h"

static int pins_answer(int n, const char *name, const struct strbuf *text)
{
	if (n == -ENOENT || n == 0) {
		(void)printf("nothing of instance \"%s\" is in the kernel\n", name);
		return EXIT_CODE_OK;
	}
	(void)fwrite(text->ptr, 1, text->len, stdout);
	if (n > 0)
		return EXIT_CODE_OK;
	cli_complain("the pins of instance \"%s\": %s%s", name, strerror(-n),
		     n == -EPERM || n == -EACCES ? "; this needs root" : "");
	return EXIT_CODE_ERROR;
}

static int kernel(struct cli *c)
{
	bool is_status = strcmp(c->args[0], "status") == 0;
	struct strbuf text = { 0 };
	bool is_ok = false;
	const char *name;
	int code;

	if (!is_status && strcmp(c->args[0], "detach") != 0) {
		cli_complain("kernel status or kernel detach, not \"%s\"", c->args[0]);
		return EXIT_CODE_USAGE;
	}
	name = client_system(c)->instance;
	strbuf_init(&text);
	code = EXIT_CODE_NOT_RUNNING;
	if (is_status)
		code = client_ask_text(c, "kernel", &text, &is_ok);
	if (code == EXIT_CODE_OK) {
		(void)fwrite(text.ptr, 1, text.len, stdout);
	} else if (code == EXIT_CODE_NOT_RUNNING) {
		int n = is_status ? fastpath_pins_describe(NULL, name, &text)
				  : fastpath_pins_detach(NULL, name, &text);

		code = pins_answer(n, name, &text);
	}
	strbuf_fini(&text);
	return code;
}

const struct command command_kernel = {
	.name = "kernel",
	.usage = "status | detach",
	.summary = "show the kernel's guard, or take it off",
	.help = "status: where the guard is attached, how full its maps are, what it dropped; without a "
		"daemon, what an\n"
		"earlier one left pinned.  detach: removes every program and map of this instance from the "
		"kernel; a running\n"
		"daemon notices within seconds and attaches them again.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON,
	.args_min = 1,
	.args_max = 1,
	.run = kernel,
};
