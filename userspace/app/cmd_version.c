/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_version.c - sentinel version: which one this is. */
#include <stdio.h>

#include "app/cli.h"
#include "app/about.h"
#include "base/json.h"

static int version(struct cli *c)
{
	struct strbuf text = { 0 };
	struct json j;

	strbuf_init(&text);
	if (c->wants_json) {
		json_init(&j, &text, false);
		json_object(&j, NULL);
		json_str(&j, "version", about_version());
		json_end(&j, '}');
		strbuf_add_char(&text, '\n');
	} else {
		strbuf_printf(&text, "sentinel %s\n", about_version());
		if (c->is_verbose)
			about_describe(&text);
	}
	(void)fwrite(text.ptr, 1, text.len, stdout);
	strbuf_fini(&text);
	return EXIT_CODE_OK;
}

const struct command command_version = {
	.name = "version",
	.usage = "[-v] [--json]",
	.summary = "print the version; -v: what it was built with",
	.help = "Prints the version; with -v the compiler, the filters, handlers and balancers.",
	.options = CLI_JSON | CLI_VERBOSE,
	.run = version,
};
