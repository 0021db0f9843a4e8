/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_check.c - sentinel check: every mistake of a file, without starting anything. */
#include <stdio.h>

#include "app/cli.h"
#include "app/guard.h"
#include "proxy/config.h"

/* What is too much for the kernel's maps is a mistake of the file as well. */
static int plan_check_too(const struct snapshot *s, struct diag *d)
{
	struct fastpath_plan plan = { 0 };
	struct strbuf why = { 0 };
	int err;

	strbuf_init(&why);
	err = guard_plan(&plan, s, &why);
	if (err < 0)
		diag_error(d, s->config->kernel.meta.pos, "%s", why.ptr);
	strbuf_fini(&why);
	plan_fini(&plan);
	return err;
}

static int check(struct cli *c)
{
	const char *path = cli_config(c);
	struct config_registry registry;
	struct snapshot *s = NULL;
	struct diag d;
	int err;

	if (!path)
		return EXIT_CODE_ERROR;
	diag_init(&d, NULL);
	config_registry_init(&registry);
	err = config_build(&s, path, &registry, NULL, &d);
	if (err == 0)
		err = plan_check_too(s, &d);
	cli_show_diag(c, &d);
	if (!c->wants_json && err == 0)
		(void)printf("%s is right%s: listeners %zu, routes %zu, upstreams %zu%s\n", path,
			     d.warning_count ? ", with warnings" : "", s->config->listener_count,
			     s->config->route_count, s->config->upstream_count,
			     s->config->namespace_count ? ", with those in namespaces" : "");
	snapshot_put(s);
	diag_fini(&d);
	config_registry_fini(&registry);
	return err < 0 ? EXIT_CODE_ERROR : EXIT_CODE_OK;
}

const struct command command_check = {
	.name = "check",
	.usage = "[-c FILE] [--json]",
	.summary = "check a configuration and show every mistake",
	.help = "Reads the file with all that it includes, checks it as a start would, and shows every error "
		"and warning\n"
		"with its place.  Nothing is opened or changed.  Exit code 0 if there is no error, else 1.",
	.options = CLI_CONFIG | CLI_JSON,
	.run = check,
};
