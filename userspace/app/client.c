/* SPDX-License-Identifier: GPL-2.0-only */
/* client.c - asks the daemon by its admin socket. */
#include "app/client.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/admin.h"
#include "base/check.h"

#define PATIENCE_SECS 60

const struct config_system *client_system(struct cli *c)
{
	const char *path = cli_config_find(c);
	struct config *config = NULL;
	struct diag d;
	int err;

	diag_init(&d, NULL);
	err = path ? config_load(&c->arena, path, &d, &config)
		   : config_load_text(&c->arena, "-", SPAN(""), &d, &config);
	diag_fini(&d);
	if (path && err < 0 && !schema_is_present(&config->system.meta) && config->listener_count == 0)
		cli_complain("%s cannot be read, so the daemon is taken to be instance \"%s\"; --socket says "
			     "another",
			     path, config->system.instance);
	return &config->system;
}

static int socket_connect(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_sec = PATIENCE_SECS };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path)) {
		(void)close(fd);
		return -ENAMETOOLONG;
	}
	memcpy(addr.sun_path, path, strlen(path));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)); /* also of connect() */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int err = -errno;

		(void)close(fd);
		return err;
	}
	return fd;
}

static const char *failure_text(int err)
{
	return err == -EAGAIN ? "it is silent for too long" : strerror(-err);
}

/* What came before a reset counts: a daemon that is busy answers without having read the question. */
static int answer_read(int fd, struct strbuf *out)
{
	char buf[16384];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		strbuf_add(out, buf, (size_t)n);
	return n < 0 && !(errno == ECONNRESET && out->len) ? -errno : 0;
}

static int exchange(int fd, const char *line, struct strbuf *out)
{
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 && errno != EPIPE)
		return -errno;
	return answer_read(fd, out);
}

int client_ask_text(struct cli *c, const char *request, struct strbuf *out, bool *out_is_ok)
{
	const char *path = c->socket ? c->socket : admin_path(client_system(c), &c->arena);
	struct strbuf answer = { 0 };
	struct span rest, word;
	int fd, err;

	fd = socket_connect(path);
	if (fd == -ENOENT || fd == -ECONNREFUSED) {
		strbuf_printf(out, "no daemon runs (nobody answers at %s)", path);
		return EXIT_CODE_NOT_RUNNING;
	}
	if (fd < 0) {
		strbuf_printf(out, "%s: %s", path, failure_text(fd));
		return EXIT_CODE_ERROR;
	}
	strbuf_init(&answer);
	err = exchange(fd, arena_printf(&c->arena, "%s %s\n", c->wants_json ? "json" : "text", request), &answer);
	(void)close(fd);
	rest = strbuf_span(&answer);
	if (err < 0 || !span_next(&rest, '\n', &word) || word.len == 0) {
		strbuf_printf(out, "the daemon at %s gave no answer%s%s", path,
			      err < 0 ? ": " : " (only root and its own user get one)",
			      err < 0 ? failure_text(err) : "");
		strbuf_fini(&answer);
		return EXIT_CODE_ERROR;
	}
	*out_is_ok = span_eq(word, SPAN("ok"));
	strbuf_add_span(out, span_skip(strbuf_span(&answer), word.len + 1));
	strbuf_fini(&answer);
	return 0;
}

int client_say(const struct cli *c, bool is_ok, const struct strbuf *text)
{
	if (!is_ok && c->wants_json && (text->len == 0 || text->ptr[0] != '{'))
		return cli_fail(c, EXIT_CODE_ERROR, "%.*s", SPAN_ARG(span_chomp(strbuf_span(text))));
	(void)fwrite(text->ptr, 1, text->len, is_ok || c->wants_json ? stdout : stderr);
	return is_ok ? EXIT_CODE_OK : EXIT_CODE_ERROR;
}

int client_ask(struct cli *c, const char *request)
{
	struct strbuf text = { 0 };
	bool is_ok = false;
	int code;

	strbuf_init(&text);
	code = client_ask_text(c, request, &text, &is_ok);
	code = code ? cli_fail(c, code, "%s", text.ptr) : client_say(c, is_ok, &text);
	strbuf_fini(&text);
	return code;
}
