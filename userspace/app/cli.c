/* SPDX-License-Identifier: GPL-2.0-only */
/* cli.c - finds the command, reads its options, prints help. */
#include "app/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/span.h"
#include "schema/diag.h"

static const struct command *const commands[] = {
#define COMMAND(symbol) &command_##symbol,
#include "app/commands.def"
#undef COMMAND
};

static const struct {
	enum cli_option bit;
	const char *shorter, *longer;
	const char *value; /* name of its value, or NULL */
	const char *help;
} options[] = {
	{ CLI_CONFIG, "-c", "--config", "FILE",
	  "configuration; default $SENTINEL_CONFIG, ./sentinel.kdl, /etc/sentinel/sentinel.kdl" },
	{ CLI_SOCKET, NULL, "--socket", "PATH",
	  "admin socket of the daemon; default: what the configuration says" },
	{ CLI_JSON, NULL, "--json", NULL, "answer in JSON" },
	{ CLI_HEADER, "-H", "--header", "'NAME: VALUE'", "a header field of the request; may be repeated" },
	{ CLI_FROM, NULL, "--from", "IP", "address of the client" },
	{ CLI_FOR, NULL, "--for", "TIME", "how long: 30s, 10m, 2h (default 10m)" },
	{ CLI_LIMIT, NULL, "--limit", "NUMBER", "show at most so many (default 1000)" },
	{ CLI_MAN, NULL, "--man", NULL, "print the manual page sentinel.kdl(5)" },
	{ CLI_NOW, NULL, "--now", NULL, "do not wait for open requests" },
	{ CLI_VERBOSE, "-v", "--verbose", NULL, "say more" },
	{ CLI_HELP, "-h", "--help", NULL, "this text" },
};

void cli_complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("sentinel: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
}

/* ---- help ---- */

static void help_all(FILE *to)
{
	(void)fputs("sentinel - a reverse proxy with a guard in the kernel\n\nUsage: sentinel COMMAND "
		    "[OPTION]...\n\n",
		    to);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		(void)fprintf(to, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
	(void)fputs("\n`sentinel COMMAND --help` says more.  Exit codes: 0 done, 1 it could not be done, 2 "
		    "the command\n"
		    "line makes no sense, 3 there is no daemon to talk to.  Manual: sentinel(8), "
		    "sentinel.kdl(5).\n",
		    to);
}

static void help_command(const struct command *cmd)
{
	(void)printf("Usage: sentinel %s%s%s\n\n%s\n\nOptions:\n", cmd->name, cmd->usage[0] ? " " : "",
		     cmd->usage, cmd->help);
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		char names[64];

		if (!((cmd->options | CLI_HELP) & options[i].bit))
			continue;
		(void)snprintf(names, sizeof(names), "%s%s%s%s%s",
			       options[i].shorter ? options[i].shorter : "", options[i].shorter ? ", " : "",
			       options[i].longer, options[i].value ? " " : "",
			       options[i].value ? options[i].value : "");
		(void)printf("  %-28s %s\n", names, options[i].help);
	}
}

/* ---- options ---- */

static bool option_take(struct cli *c, enum cli_option bit, const char *value)
{
	switch (bit) {
	case CLI_CONFIG:
		c->config = value;
		break;
	case CLI_JSON:
		c->wants_json = true;
		break;
	case CLI_HEADER:
		if (c->header_count == CLI_HEADERS_MAX)
			return false;
		c->headers[c->header_count++] = value;
		break;
	case CLI_FROM:
		c->from = value;
		break;
	case CLI_FOR:
		c->duration = value;
		break;
	case CLI_SOCKET:
		c->socket = value;
		break;
	case CLI_LIMIT:
		c->limit = value;
		break;
	case CLI_MAN:
		c->wants_man = true;
		break;
	case CLI_NOW:
		c->is_now = true;
		break;
	case CLI_VERBOSE:
		c->is_verbose = true;
		break;
	case CLI_HELP:
		break;
	}
	return true;
}

/* One option at argv[*at]; moves *at over its value.  0, or an exit code; -1: help was asked for. */
static int option_read(struct cli *c, const struct command *cmd, int argc, char **argv, int *at)
{
	const char *arg = argv[*at];
	struct span name = span_str(arg);
	const char *value = NULL;

	if (span_starts(name, SPAN("--")) && span_find(name, '=') < name.len) {
		name.len = span_find(name, '=');
		value = arg + name.len + 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (!span_eq(name, span_str(options[i].longer)) &&
		    !(options[i].shorter && span_eq(name, span_str(options[i].shorter))))
			continue;
		if (options[i].bit == CLI_HELP)
			return -1;
		if (!(cmd->options & options[i].bit))
			break;
		if (options[i].value && !value) {
			if (*at + 1 >= argc) {
				cli_complain("%s needs a value: %s", arg, options[i].value);
				return EXIT_CODE_USAGE;
			}
			value = argv[++*at];
		} else if (!options[i].value && value) {
			cli_complain("%.*s takes no value", SPAN_ARG(name));
			return EXIT_CODE_USAGE;
		}
		if (option_take(c, options[i].bit, value))
			return 0;
		cli_complain("%.*s was given too often", SPAN_ARG(name));
		return EXIT_CODE_USAGE;
	}
	cli_complain("`sentinel %s` has no option %.*s; `sentinel %s --help` lists them", cmd->name,
		     SPAN_ARG(name), cmd->name);
	return EXIT_CODE_USAGE;
}

static int command_start(const struct command *cmd, int argc, char **argv)
{
	struct cli c = { .args = argv };
	bool has_ended = false;
	int code = 0;

	for (int i = 0; i < argc && code == 0; i++) {
		if (!has_ended && strcmp(argv[i], "--") == 0)
			has_ended = true;
		else if (!has_ended && argv[i][0] == '-' && argv[i][1])
			code = option_read(&c, cmd, argc, argv, &i);
		else
			argv[c.arg_count++] = argv[i]; /* never overtakes i */
	}
	if (code < 0) {
		help_command(cmd);
		return EXIT_CODE_OK;
	}
	if (code)
		return code;
	if (c.arg_count < cmd->args_min || c.arg_count > cmd->args_max) {
		(void)fprintf(stderr, "Usage: sentinel %s %s\n`sentinel %s --help` says more.\n", cmd->name,
			      cmd->usage, cmd->name);
		return EXIT_CODE_USAGE;
	}
	arena_init(&c.arena, 4096);
	code = cmd->run(&c);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_CODE_OK) {
		cli_complain("standard output cannot be written: %s", strerror(errno));
		code = EXIT_CODE_ERROR;
	}
	arena_fini(&c.arena);
	return code;
}

const char *cli_config_find(const struct cli *c)
{
	const char *from_env = getenv("SENTINEL_CONFIG");

	if (c->config)
		return c->config;
	if (from_env && from_env[0])
		return from_env;
	if (access("sentinel.kdl", F_OK) == 0)
		return "sentinel.kdl";
	if (access("/etc/sentinel/sentinel.kdl", F_OK) == 0)
		return "/etc/sentinel/sentinel.kdl";
	return NULL;
}

const char *cli_config(struct cli *c)
{
	const char *path = cli_config_find(c);

	if (path)
		return path;
	cli_complain("no configuration: give one by --config FILE or $SENTINEL_CONFIG, or put it to "
		     "./sentinel.kdl or "
		     "/etc/sentinel/sentinel.kdl");
	return NULL;
}

int cli_main(int argc, char **argv)
{
	const char *names[ARRAY_LEN(commands)], *close;
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		help_all(stdout);
		return EXIT_CODE_OK;
	}
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		names[i] = commands[i]->name;
		if (strcmp(name, commands[i]->name) == 0)
			return command_start(commands[i], argc - 2, argv + 2);
	}
	if (argc < 2) {
		help_all(stderr);
		return EXIT_CODE_USAGE;
	}
	close = diag_closest(span_str(name), names, ARRAY_LEN(commands));
	if (close)
		cli_complain("there is no command \"%s\"; did you mean \"%s\"?", name, close);
	else
		cli_complain("there is no command \"%s\"; `sentinel --help` lists them", name);
	return EXIT_CODE_USAGE;
}
