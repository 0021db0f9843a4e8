/* SPDX-License-Identifier: GPL-2.0-only */
/* cmd_kernel.c - sentinel kernel: the guard, with and without a daemon. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/admin.h"
#include "app/client.h"
#include "app/top_screen.h"
#include "base/json.h"
#include "fastpath/fastpath.h"
#include "proxy/config.h"

/* {"kernel": null, key: [line, ...]}: no daemon runs, and these are the lines. */
static void pins_json(const char *key, const struct strbuf *text)
{
	struct span rest = strbuf_span(text), line;
	struct strbuf out = { 0 };
	struct json j;

	strbuf_init(&out);
	json_init(&j, &out, false);
	json_object(&j, NULL);
	json_null(&j, "kernel");
	json_array(&j, key);
	while (span_next(&rest, '\n', &line))
		if (line.len)
			json_span(&j, NULL, line);
	json_end(&j, ']');
	json_end(&j, '}');
	(void)printf(SPAN_FMT "\n", SPAN_ARG(strbuf_span(&out)));
	strbuf_fini(&out);
}

/* Of pins without a daemon, or of taking them off. */
static int pins_answer(const struct cli *c, const char *name, bool is_status)
{
	struct strbuf text = { 0 };
	bool has_failed;
	int n;

	strbuf_init(&text);
	n = is_status ? fastpath_pins_describe(NULL, name, &text) : fastpath_pins_detach(NULL, name, &text);
	has_failed = n < 0 && n != -ENOENT;
	if (c->wants_json && !has_failed)
		pins_json(is_status ? "pinned" : "removed", &text);
	else if (n == -ENOENT || n == 0)
		(void)printf("nothing of instance \"%s\" is in the kernel\n", name);
	else if (!c->wants_json)
		(void)fwrite(text.ptr, 1, text.len, stdout);
	strbuf_fini(&text);
	if (!has_failed)
		return EXIT_CODE_OK;
	return cli_fail(c, EXIT_CODE_ERROR, "the pins of instance \"%s\": %s%s", name, strerror(-n),
			n == -EPERM || n == -EACCES ? "; this needs root" : "");
}

static int reading_ask(struct cli *c, struct top_reading *out)
{
	struct strbuf text = { 0 };
	bool is_ok = false;
	int code;

	strbuf_init(&text);
	code = client_ask_text(c, "kernel top", &text, &is_ok);
	if (code == EXIT_CODE_OK && !is_ok)
		code = EXIT_CODE_ERROR;
	if (code)
		cli_complain("%.*s", SPAN_ARG(span_chomp(strbuf_span(&text))));
	if (code == EXIT_CODE_OK)
		top_reading_parse(strbuf_span(&text), out);
	strbuf_fini(&text);
	return code;
}

static void title_add(struct strbuf *text, struct cli *c)
{
	strbuf_printf(text, "sentinel kernel top   instance %s   q to quit\n\n", client_system(c)->instance);
}

/* Until q, or the daemon is gone. */
static int top_live(struct cli *c, const char *title)
{
	struct top_reading readings[2] = { { 0 } };
	struct strbuf text = { 0 };
	unsigned n = 0, lines, columns;
	const char *no_colour = getenv("NO_COLOR");
	int code = EXIT_CODE_OK, key = 0;

	strbuf_init(&text);
	while (code == EXIT_CODE_OK && key >= 0 && key != 'q' && key != 'Q') {
		struct top_reading *now = &readings[n % 2], *before = n ? &readings[(n + 1) % 2] : NULL;

		code = reading_ask(c, now);
		if (code != EXIT_CODE_OK)
			break;
		screen_size(&lines, &columns);
		strbuf_reset(&text);
		strbuf_add_str(&text, title);
		top_reading_draw(now, before, lines > 4 ? lines - 3 : 1, columns, !no_colour || !no_colour[0], &text);
		screen_show(strbuf_span(&text));
		key = screen_wait(1000);
		n++;
	}
	screen_close();
	if (code != EXIT_CODE_OK)
		cli_complain("the daemon is gone"); /* what was said is on the other screen */
	strbuf_fini(&text);
	return code;
}

static int top(struct cli *c)
{
	struct top_reading reading;
	struct strbuf text = { 0 };
	int code;

	if (c->wants_json)
		return client_ask(c, "kernel top");
	strbuf_init(&text);
	title_add(&text, c);
	if (!c->socket)
		c->socket = admin_path(client_system(c), &c->arena); /* the file is read once, not every second */
	code = reading_ask(c, &reading);
	if (code == EXIT_CODE_OK && screen_open()) {
		code = top_live(c, text.ptr);
	} else if (code == EXIT_CODE_OK) {
		strbuf_reset(&text);
		top_reading_draw(&reading, NULL, 0, 0, false, &text);
		(void)fwrite(text.ptr, 1, text.len, stdout);
	}
	strbuf_fini(&text);
	return code;
}

static int kernel(struct cli *c)
{
	bool is_status = strcmp(c->args[0], "status") == 0;
	struct strbuf text = { 0 };
	bool is_ok = false;
	const char *name;
	int code;

	if (strcmp(c->args[0], "top") == 0)
		return top(c);
	if (!is_status && strcmp(c->args[0], "detach") != 0)
		return cli_fail(c, EXIT_CODE_USAGE, "kernel status, kernel top or kernel detach, not \"%s\"",
				c->args[0]);
	name = client_system(c)->instance;
	strbuf_init(&text);
	code = EXIT_CODE_NOT_RUNNING;
	if (is_status)
		code = client_ask_text(c, "kernel", &text, &is_ok);
	if (code == EXIT_CODE_OK) {
		code = client_say(c, is_ok, &text);
	} else if (code == EXIT_CODE_NOT_RUNNING) {
		if (is_status)
			cli_complain("%s", text.ptr);
		code = pins_answer(c, name, is_status);
	} else {
		(void)cli_fail(c, code, "%s", text.ptr);
	}
	strbuf_fini(&text);
	return code;
}

const struct command command_kernel = {
	.name = "kernel",
	.usage = "status | top | detach",
	.summary = "show the kernel's guard, watch it, or take it off",
	.help = "status: where the guard is attached, how full its maps are, what it dropped; without a "
		"daemon, what an\n"
		"earlier one left pinned.  top: what it drops, by reason, source, network and country, drawn again "
		"every\n"
		"second until q; one reading if the output is no terminal, or with --json.  detach: removes every "
		"program\n"
		"and map of this instance from the kernel; a running daemon notices within seconds and attaches "
		"them again.",
	.options = CLI_CONFIG | CLI_SOCKET | CLI_JSON,
	.args_min = 1,
	.args_max = 1,
	.run = kernel,
};
