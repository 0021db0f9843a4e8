/* SPDX-License-Identifier: GPL-2.0-only */
/* cli.c - finds the command, reads its options, prints help. */
#include "app/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/json.h"
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

static void fail_json(enum exit_code code, struct span why)
{
	static const char *const results[] = {
		[EXIT_CODE_ERROR] = "failed",
		[EXIT_CODE_USAGE] = "usage",
		[EXIT_CODE_NOT_RUNNING] = "not_running",
	};
	struct strbuf out = { 0 };
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out, false);
	json_object(&j, NULL);
	json_str(&j, "result", results[code]);
	json_span(&j, "error", why);
	json_end(&j, '}');
	(void)puts(out.ptr);
	strbuf_fini(&out);
}

int cli_fail(const struct cli *c, enum exit_code code, const char *fmt, ...)
{
	struct strbuf why = { 0 };
	va_list ap;

	strbuf_init(&why);
	va_start(ap, fmt);
	strbuf_vprintf(&why, fmt, ap);
	va_end(ap);
	if (c->wants_json)
		fail_json(code, strbuf_span(&why));
	else
		cli_complain("%s", why.ptr);
	strbuf_fini(&why);
	return code;
}

void cli_show_diag(const struct cli *c, const struct diag *d)
{
	struct strbuf text = { 0 };

	strbuf_init(&text);
	if (c->wants_json) {
		diag_print_json(d, &text);
		strbuf_add_char(&text, '\n');
	} else {
		diag_print(d, &text);
	}
	(void)fwrite(text.ptr, 1, text.len, c->wants_json ? stdout : stderr);
	strbuf_fini(&text);
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

/* Place in options[] of what is written in front of '='; ARRAY_LEN(options): none. */
static size_t option_find(struct span name)
{
	size_t i = 0;

	while (i < ARRAY_LEN(options) && !span_eq(name, span_str(options[i].longer)) &&
	       !(options[i].shorter && span_eq(name, span_str(options[i].shorter))))
		i++;
	return i;
}

/* The name of an option; out_value is what follows its '=', or NULL. */
static struct span option_split(const char *arg, const char **out_value)
{
	struct span name = span_str(arg);

	*out_value = NULL;
	if (span_starts(name, SPAN("--")) && span_find(name, '=') < name.len) {
		name.len = span_find(name, '=');
		*out_value = arg + name.len + 1;
	}
	return name;
}

/* One option at argv[*at]; moves *at over its value.  0, or an exit code; -1: help was asked for. */
static int option_read(struct cli *c, const struct command *cmd, int argc, char **argv, int *at)
{
	const char *arg = argv[*at], *value;
	struct span name = option_split(arg, &value);
	size_t i = option_find(name);

	if (i < ARRAY_LEN(options) && options[i].bit == CLI_HELP)
		return -1;
	if (i == ARRAY_LEN(options) || !(cmd->options & options[i].bit))
		return cli_fail(c, EXIT_CODE_USAGE, "`sentinel %s` has no option %.*s; `sentinel %s --help` lists them",
				cmd->name, SPAN_ARG(name), cmd->name);
	if (options[i].value && !value) {
		if (*at + 1 >= argc)
			return cli_fail(c, EXIT_CODE_USAGE, "%s needs a value: %s", arg, options[i].value);
		value = argv[++*at];
	} else if (!options[i].value && value) {
		return cli_fail(c, EXIT_CODE_USAGE, "%.*s takes no value", SPAN_ARG(name));
	}
	if (!option_take(c, options[i].bit, value))
		return cli_fail(c, EXIT_CODE_USAGE, "%.*s was given too often", SPAN_ARG(name));
	return 0;
}

/* Also if it stands behind what is wrong with the line.  cmd NULL: there is no such command. */
static bool json_is_asked(const struct command *cmd, int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *value;
		size_t at = option_find(option_split(argv[i], &value));

		if (at == ARRAY_LEN(options))
			continue;
		if (options[at].bit == CLI_JSON && (!cmd || (cmd->options & CLI_JSON)))
			return true;
		if (options[at].value && !value)
			i++;
	}
	return false;
}

static int usage_fail(const struct cli *c, const struct command *cmd)
{
	if (c->wants_json)
		return cli_fail(c, EXIT_CODE_USAGE, "usage: sentinel %s %s", cmd->name, cmd->usage);
	(void)fprintf(stderr, "Usage: sentinel %s %s\n`sentinel %s --help` says more.\n", cmd->name, cmd->usage,
		      cmd->name);
	return EXIT_CODE_USAGE;
}

static int command_start(const struct command *cmd, int argc, char **argv)
{
	struct cli c = { .args = argv, .wants_json = json_is_asked(cmd, argc, argv) };
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
	if (c.arg_count < cmd->args_min || c.arg_count > cmd->args_max)
		return usage_fail(&c, cmd);
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
	(void)cli_fail(c, EXIT_CODE_ERROR,
		       "no configuration: give one by --config FILE or $SENTINEL_CONFIG, or put it to ./sentinel.kdl "
		       "or /etc/sentinel/sentinel.kdl");
	return NULL;
}

static int command_unknown(const char *name, int argc, char **argv)
{
	const struct cli c = { .wants_json = json_is_asked(NULL, argc, argv) };
	const char *names[ARRAY_LEN(commands)], *close;

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		names[i] = commands[i]->name;
	close = diag_closest(span_str(name), names, ARRAY_LEN(commands));
	if (close)
		return cli_fail(&c, EXIT_CODE_USAGE, "there is no command \"%s\"; did you mean \"%s\"?", name, close);
	return cli_fail(&c, EXIT_CODE_USAGE, "there is no command \"%s\"; `sentinel --help` lists them", name);
}

int cli_main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		help_all(stdout);
		return EXIT_CODE_OK;
	}
	if (strcmp(name, "--version") == 0)
		name = "version";
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(name, commands[i]->name) == 0)
			return command_start(commands[i], argc - 2, argv + 2);
	if (argc < 2) {
		help_all(stderr);
		return EXIT_CODE_USAGE;
	}
	return command_unknown(name, argc - 2, argv + 2);
}
