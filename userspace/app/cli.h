/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cli.h - the command line: one table of commands, one of options.  A command is a file cmd_*.c and a row in cli.c.
 */
#ifndef SN_APP_CLI_H
#define SN_APP_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "app/exit.h"
#include "base/arena.h"
#include "base/strbuf.h"

#define CLI_HEADERS_MAX 64

struct diag;

enum cli_option {
	CLI_CONFIG = 1 << 0,
	CLI_JSON = 1 << 1,
	CLI_HEADER = 1 << 2,
	CLI_FROM = 1 << 3,
	CLI_FOR = 1 << 4,
	CLI_MAN = 1 << 5,
	CLI_NOW = 1 << 6,
	CLI_VERBOSE = 1 << 7,
	CLI_HELP = 1 << 8,
	CLI_SOCKET = 1 << 9,
	CLI_LIMIT = 1 << 10,
};

/* What was written after `sentinel COMMAND`. */
struct cli {
	struct arena arena; /* until the command ends */
	const char *config; /* --config, else $SENTINEL_CONFIG, ./sentinel.kdl, /etc/sentinel/sentinel.kdl; or NULL */
	bool wants_json, wants_man, is_now, is_verbose;
	const char *headers[CLI_HEADERS_MAX]; /* "Name: value" */
	size_t header_count;
	const char *from;     /* --from */
	const char *duration; /* --for */
	const char *socket;   /* --socket */
	const char *limit;    /* --limit */
	char **args;	      /* the rest */
	int arg_count;
};

struct command {
	const char *name;
	const char *usage;   /* what may follow the name */
	const char *summary; /* one line */
	const char *help;    /* paragraphs for --help */
	unsigned options;    /* CLI_* it takes */
	int args_min, args_max;
	int (*run)(struct cli *c); /* exit code */
};

#define COMMAND(symbol) extern const struct command command_##symbol;
#include "app/commands.def"
#undef COMMAND

int cli_main(int argc, char **argv);
/* "sentinel: ..." on standard error: what the user should know, whether or not the command goes on. */
void cli_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/*
 * The command ends with this exit code, and why: the same words on standard error, or with --json
 * {"result": "failed|usage|not_running", "error": ...} on standard output.  Once a command.  Returns code.
 */
int cli_fail(const struct cli *c, enum exit_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What is wrong with a file: on standard error, or with --json one object on standard output. */
void cli_show_diag(const struct cli *c, const struct diag *d);
/* The path of the configuration, or NULL after cli_fail(). */
const char *cli_config(struct cli *c);
/* The same without a word: for commands that can do without. */
const char *cli_config_find(const struct cli *c);

#endif
