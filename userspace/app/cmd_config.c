/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_config.c - sentinel config describe: the manual of the configuration, from its tables. */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "base/mem.h"
#include "proxy/config.h"
#include "schema/describe.h"

#define NAMES_MAX 1024

static const struct describe_page page = {
	.name = "sentinel.kdl",
	.section = "5",
	.date = "November 24, 2026",
	.summary = "configuration of the sentinel proxy",
	.intro = "The configuration of\n.Xr sentinel 8\n"
		 "is a document in KDL 2.0 (https://kdl.dev);\n"
		 "one that is valid only as KDL 1.0 is accepted as such.\n"
		 "Nothing is ignored: whatever is unknown, doubled, of the wrong type\n"
		 "or out of bounds is an error with its place.\n.Pp\n"
		 ".Ql include \\(dqglob\\(dq\nreads other files, relative to the including one.\n"
		 ".Ql ${NAME}\nand\n.Ql ${NAME:-default}\nin strings are read from the environment.\n",
	.outro = ".Sh EXAMPLES\n.Bd -literal -offset indent\n"
		 "listeners {\n    listener \"web\" { address \"0.0.0.0:8080\" }\n}\n"
		 "routes {\n    route \"site\" {\n        matches { path-prefix \"/\" }\n        upstream "
		 "\"origin\"\n    }\n}\n"
		 "upstreams {\n    upstream \"origin\" { target \"127.0.0.1:3000\" }\n}\n"
		 ".Ed\n.Sh SEE ALSO\n.Xr sentinel 8\n",
};

static int key_unknown(const struct cli *c, const char *key)
{
	const char **names = mem_array(NAMES_MAX, sizeof(*names));
	size_t count = describe_names(config_block(), names, NAMES_MAX);
	const char *close = diag_closest(span_str(key), names, count < NAMES_MAX ? count : NAMES_MAX);

	free(names); /* what they point to stays */
	if (close)
		return cli_fail(c, EXIT_CODE_ERROR, "there is no key \"%s\"; did you mean \"%s\"?", key, close);
	return cli_fail(c, EXIT_CODE_ERROR, "there is no key \"%s\"; `sentinel config describe` lists all", key);
}

static int config(struct cli *c)
{
	const char *key = c->arg_count > 1 ? c->args[1] : "";
	struct strbuf text = { 0 };
	size_t found = 1;

	if (strcmp(c->args[0], "describe") != 0)
		return cli_fail(c, EXIT_CODE_USAGE, "config describe [KEY], not \"%s\"", c->args[0]);
	strbuf_init(&text);
	if (c->wants_man)
		describe_man(&page, config_block(), &text);
	else
		found = describe_text(config_block(), span_str(key), &text);
	if (c->wants_json && !c->wants_man && found) { /* all of them, whichever was named */
		strbuf_reset(&text);
		describe_json(config_block(), &text);
	}
	(void)fwrite(text.ptr, 1, text.len, stdout);
	strbuf_fini(&text);
	return found ? EXIT_CODE_OK : key_unknown(c, key);
}

const struct command command_config = {
	.name = "config",
	.usage = "describe [KEY] [--json | --man]",
	.summary = "describe what a configuration may contain",
	.help = "Without KEY all keys, one a line; with KEY (a name like `address`, or a path like\n"
		"`listeners/listener/address`) its whole description.",
	.options = CLI_JSON | CLI_MAN,
	.args_min = 1,
	.args_max = 2,
	.run = config,
};
