/* SPDX-License-Identifier: GPL-2.0-only */
/* test_cli.c - the command line: exit codes, help, what is refused; files are made in a folder of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/cli.h"
#include "base/check.h"

#define ARGS_MAX 16
#define OUTPUT_MAX 65536

static char folder[] = "/tmp/test_cli.XXXXXX";
static char output[OUTPUT_MAX]; /* standard output and error of the last run */

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	(void)unsetenv("SENTINEL_CONFIG");
	(void)setenv("XDG_RUNTIME_DIR", folder, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink("good.kdl");
	(void)unlink("bad.kdl");
	(void)unlink("warn.kdl");
	(void)unlink("out");
	return chdir("/") < 0 ? -1 : rmdir(folder);
}

static void file_write(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Run `sentinel WORDS`, words separated by one space; its output goes to `output`. */
static int run(const char *words)
{
	char line[1024], *argv[ARGS_MAX + 1] = { "sentinel" }, *rest = line;
	int argc = 1, code, saved[2], fd;
	ssize_t len;

	(void)snprintf(line, sizeof(line), "%s", words);
	while (argc < ARGS_MAX && rest && *rest)
		argv[argc++] = strsep(&rest, " ");
	(void)fflush(NULL);
	saved[0] = dup(STDOUT_FILENO);
	saved[1] = dup(STDERR_FILENO);
	fd = open("out", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && saved[0] >= 0 && saved[1] >= 0);
	(void)dup2(fd, STDOUT_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	code = cli_main(argc, argv);
	(void)fflush(NULL);
	(void)dup2(saved[0], STDOUT_FILENO);
	(void)dup2(saved[1], STDERR_FILENO);
	len = pread(fd, output, sizeof(output) - 1, 0);
	output[len > 0 ? len : 0] = '\0';
	(void)close(fd);
	(void)close(saved[0]);
	(void)close(saved[1]);
	return code;
}

struct row {
	const char *words;
	int code;
	const char *says;
};

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int code = run(rows[i].words);

		if (code != rows[i].code || !strstr(output, rows[i].says))
			fail_msg("sentinel %s: exit code %d (not %d), should say \"%s\":\n%s", rows[i].words, code,
				 rows[i].code, rows[i].says, output);
	}
}

static void test_command_lines_that_make_no_sense_are_2(void **state)
{
	static const struct row rows[] = {
		{ "", EXIT_CODE_USAGE, "Usage: sentinel COMMAND" },
		{ "statsu", EXIT_CODE_USAGE, "did you mean \"status\"?" },
		{ "qqqqqqqq", EXIT_CODE_USAGE, "`sentinel --help` lists them" },
		{ "check --nope", EXIT_CODE_USAGE, "has no option --nope" },
		{ "check --now", EXIT_CODE_USAGE, "has no option --now" },
		{ "check extra", EXIT_CODE_USAGE, "Usage: sentinel check" },
		{ "check --config", EXIT_CODE_USAGE, "needs a value" },
		{ "check --json=yes", EXIT_CODE_USAGE, "takes no value" },
		{ "explain GET", EXIT_CODE_USAGE, "Usage: sentinel explain" },
		{ "explain GET ftp: -c good.kdl", EXIT_CODE_USAGE, "is not a URL" },
		{ "explain G(T / -c good.kdl", EXIT_CODE_USAGE, "is not a method" },
		{ "explain GET /%zz -c good.kdl", EXIT_CODE_USAGE, "answered with 400" },
		{ "explain GET / -H nocolon -c good.kdl", EXIT_CODE_USAGE, "is not a header field" },
		{ "explain GET / --from a.b -c good.kdl", EXIT_CODE_USAGE, "is not an IP address" },
		{ "ban", EXIT_CODE_USAGE, "Usage: sentinel ban" },
		{ "ban ad 1.2.3.4", EXIT_CODE_USAGE, "not \"ad\"" },
		{ "ban list 1.2.3.4", EXIT_CODE_USAGE, "takes no address" },
		{ "ban remove 1.2.3.4 --for 1h", EXIT_CODE_USAGE, "belongs to ban add" },
		{ "kernel off", EXIT_CODE_USAGE, "not \"off\"" },
		{ "flows all", EXIT_CODE_USAGE, "Usage: sentinel flows" },
		{ "flows --limit", EXIT_CODE_USAGE, "needs a value" },
		{ "flows --limit -1", EXIT_CODE_USAGE, "takes a number" },
		{ "flows --limit=", EXIT_CODE_USAGE, "takes a number" },
		{ "config show", EXIT_CODE_USAGE, "not \"show\"" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_what_cannot_be_done_is_1(void **state)
{
	static const struct row rows[] = {
		{ "check", EXIT_CODE_ERROR, "no configuration" },
		{ "check -c missing.kdl", EXIT_CODE_ERROR, "missing.kdl" },
		{ "check -c bad.kdl", EXIT_CODE_ERROR, "bad.kdl:1:" },
		{ "check -c bad.kdl --json", EXIT_CODE_ERROR, "\"errors\":1" },
		{ "run -c bad.kdl", EXIT_CODE_ERROR, "nothing was started" },
		{ "explain GET / -c bad.kdl", EXIT_CODE_ERROR, "error: " },
		{ "config describe max-idel", EXIT_CODE_ERROR, "did you mean \"max-idle\"?" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_without_a_daemon_it_is_3(void **state)
{
	static const struct row rows[] = {
		{ "status -c good.kdl --socket none.sock", EXIT_CODE_NOT_RUNNING, "no daemon runs" },
		{ "reload -c good.kdl --socket none.sock", EXIT_CODE_NOT_RUNNING, "no daemon runs" },
		{ "stop -c good.kdl --socket none.sock", EXIT_CODE_NOT_RUNNING, "no daemon runs" },
		{ "ban list --socket none.sock", EXIT_CODE_NOT_RUNNING, "no daemon runs" },
		{ "flows --json --limit 5 --socket none.sock", EXIT_CODE_NOT_RUNNING, "no daemon runs" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_what_is_done_is_0(void **state)
{
	static const struct row rows[] = {
		{ "--help", EXIT_CODE_OK, "explain" },
		{ "--version", EXIT_CODE_OK, "sentinel " },
		{ "version -v", EXIT_CODE_OK, "redirect" },
		{ "version --json", EXIT_CODE_OK, "{\"version\":\"" },
		{ "check -c good.kdl", EXIT_CODE_OK, "good.kdl is right" },
		{ "check --config=good.kdl --json", EXIT_CODE_OK, "\"errors\":0" },
		{ "check -c warn.kdl", EXIT_CODE_OK, "with warnings" },
		{ "config describe", EXIT_CODE_OK, "connection-pool" },
		{ "config describe listeners/listener/address", EXIT_CODE_OK, "IP:PORT" },
		{ "config describe --man", EXIT_CODE_OK, ".Dt SENTINEL.KDL 5" },
		{ "config describe --json", EXIT_CODE_OK, "\"keys\"" },
		{ "explain GET http://h:8080/a/../b -c good.kdl", EXIT_CODE_OK, "route     all" },
		{ "explain GET https://h/a -c good.kdl", EXIT_CODE_OK, "route     all" },
		{ "explain GET /x -c good.kdl", EXIT_CODE_OK, "path /one is not /x" },
		{ "explain GET /x -c good.kdl --json", EXIT_CODE_OK, "\"route\": \"all\"" },
		{ "explain GET / -c good.kdl --from 203.0.113.9", EXIT_CODE_OK, "refused" },
		{ "explain GET / -c good.kdl --from 203.0.113.7", EXIT_CODE_OK, "allowed by a rule" },
	};

	(void)state;
	check_rows(rows, ARRAY_LEN(rows));
}

static void test_every_command_explains_itself(void **state)
{
	static const char *const names[] = {
#define COMMAND(symbol) #symbol,
#include "app/commands.def"
#undef COMMAND
	};
	char words[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(words, sizeof(words), "%s --help", names[i]);
		assert_int_equal(run(words), EXIT_CODE_OK);
		(void)snprintf(words, sizeof(words), "Usage: sentinel %s", names[i]);
		assert_non_null(strstr(output, words));
		assert_non_null(strstr(output, "Options:"));
	}
}

static void test_the_environment_names_the_file(void **state)
{
	(void)state;
	(void)setenv("SENTINEL_CONFIG", "good.kdl", 1);
	assert_int_equal(run("check"), EXIT_CODE_OK);
	assert_int_equal(run("check -c bad.kdl"), EXIT_CODE_ERROR);
	(void)unsetenv("SENTINEL_CONFIG");
}

static int files_make(void **state)
{
	if (setup(state) < 0)
		return -1;
	file_write("good.kdl", "listeners { listener \"web\" { address \"0.0.0.0:8080\" } }\n"
			       "routes { route \"all\" { matches { path-prefix \"/\" }; upstream \"u\" }\n"
			       "route \"one\" { matches { path \"/one\" }; upstream \"u\" } }\n"
			       "upstreams { upstream \"u\" { target \"127.0.0.1:1\" } }\n"
			       "kernel { acl { deny \"203.0.113.0/24\"; allow \"203.0.113.7\" } }\n");
	file_write("bad.kdl", "listeners { listener \"web\" { adress \"0.0.0.0:8080\"; address \"0.0.0.0:8080\" } }\n"
			      "routes { route \"a\" { matches { path \"/\" }; builtin-handler \"health\" } }\n");
	file_write("warn.kdl", "listeners { listener \"web\" { address \"0.0.0.0:8080\" } }\n");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_command_lines_that_make_no_sense_are_2),
		cmocka_unit_test(test_what_cannot_be_done_is_1),
		cmocka_unit_test(test_without_a_daemon_it_is_3),
		cmocka_unit_test(test_what_is_done_is_0),
		cmocka_unit_test(test_every_command_explains_itself),
		cmocka_unit_test(test_the_environment_names_the_file),
	};

	return cmocka_run_group_tests(tests, files_make, teardown);
}
