/* SPDX-License-Identifier: GPL-2.0-only */
/* admin.c - the admin socket: accepting, one line in, text out. */
#include "app/admin.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/privilege.h"
#include "base/check.h"
#include "base/mem.h"
#include "net/listener.h"
#include "observe/log.h"

#define DISCARD_MAX (1024 * 1024) /* of a line that is too long */

struct admin {
	struct control *control;
	struct acceptor acceptor;
	char *path; /* owned */
	unsigned count;
	uid_t uid;
	bool is_closed; /* what commands are about is gone */
	bool is_left; /* the socket is another process's, or removed */
};

struct admin_connection {
	struct admin *admin;
	struct stream *stream; /* owned until on_closed() */
	struct timer timer;
	char line[ADMIN_LINE_MAX];
	size_t used;
	size_t discarded; /* bytes of a line that is too long */
	bool is_answered;
	bool is_too_long;
	bool is_closing;
	bool has_eof;
	bool is_waiting; /* for admin_reply() */
	bool is_gone;	 /* meanwhile the stream was closed */
};

const char *admin_path(const struct config_system *system, struct arena *a)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (system->admin.socket)
		return system->admin.socket;
	if (privilege_was_root())
		return arena_printf(a, "/run/sentinel/%s.sock", system->instance);
	if (runtime && runtime[0] == '/')
		return arena_printf(a, "%s/sentinel-%s.sock", runtime, system->instance);
	return arena_printf(a, "/tmp/sentinel-%u/%s.sock", geteuid(), system->instance);
}

static void connection_close(struct admin_connection *n)
{
	if (n->is_closing)
		return;
	n->is_closing = true;
	timer_disarm(n->admin->control->loop, &n->timer);
	stream_close(n->stream);
}

static void connection_free(struct admin_connection *n)
{
	n->admin->count--;
	free(n);
}

static void answer_send(struct admin_connection *n, bool is_ok, const struct strbuf *text)
{
	const char *word = is_ok ? "ok\n" : "error\n";

	timer_arm(n->admin->control->loop, &n->timer, ADMIN_TIMEOUT_MS); /* anew: the command may have been slow */
	stream_write(n->stream, slice_copy(word, (uint32_t)strlen(word)));
	if (text->len)
		stream_write(n->stream, slice_copy(text->ptr, (uint32_t)text->len));
	stream_shutdown(n->stream);
}

static void answer(struct admin_connection *n)
{
	struct strbuf text = { 0 };
	struct span line = span_of(n->line, n->used);
	enum admin_result result;

	line.len = span_find(line, '\n');
	n->is_answered = true;
	result = admin_answer(n->admin->control, line, n, &text);
	if (result == ADMIN_LATER)
		n->is_waiting = true;
	else
		answer_send(n, result == ADMIN_OK, &text);
	stream_read(n->stream, LOOP_BUFFERS_SMALL); /* to see the client go */
	strbuf_fini(&text);
}

void admin_reply(struct admin_connection *n, bool is_ok, const struct strbuf *text)
{
	CHECK(n->is_waiting);
	n->is_waiting = false;
	if (n->is_gone)
		connection_free(n);
	else if (!n->is_closing)
		answer_send(n, is_ok, text);
}

static void answer_too_long(struct admin_connection *n)
{
	struct strbuf why = { 0 }, json = { 0 };
	bool wants_json = span_starts(span_of(n->line, n->used), SPAN("json "));

	n->is_answered = n->is_too_long = true;
	strbuf_init(&why);
	strbuf_init(&json);
	strbuf_printf(&why, "the line is too long: it has more than %d bytes\n", ADMIN_LINE_MAX);
	if (wants_json)
		admin_message(&json, "refused", strbuf_span(&why));
	answer_send(n, false, wants_json ? &json : &why);
	strbuf_fini(&why);
	strbuf_fini(&json);
}

/* Bytes after an answer end the connection; but those of a line that is too long are read, or it would be reset. */
static bool is_too_much(struct admin_connection *n, size_t len)
{
	if (!n->is_answered)
		return n->admin->is_closed;
	n->discarded += len;
	return !n->is_too_long || n->discarded > DISCARD_MAX;
}

static void on_data(struct stream *s, struct slice data)
{
	struct admin_connection *n = s->owner;
	size_t take = MIN(data.len, sizeof(n->line) - n->used);

	if (is_too_much(n, data.len)) {
		slice_put(&data);
		connection_close(n);
		return;
	}
	memcpy(n->line + n->used, data.ptr, take); /* nothing, once it is too long */
	n->used += take;
	slice_put(&data);
	if (!n->is_answered && memchr(n->line, '\n', n->used)) {
		answer(n);
		return;
	}
	if (!n->is_answered && n->used == sizeof(n->line))
		answer_too_long(n);
	stream_read(s, LOOP_BUFFERS_SMALL);
}

static void on_eof(struct stream *s)
{
	struct admin_connection *n = s->owner;

	n->has_eof = true;
	if (!n->is_answered || (s->queued == 0 && !n->is_waiting))
		connection_close(n);
}

static void on_sent(struct stream *s, size_t bytes)
{
	struct admin_connection *n = s->owner;

	(void)bytes;
	if (n->has_eof && s->queued == 0)
		connection_close(n);
}

static void on_fail(struct stream *s, int err)
{
	(void)err;
	connection_close(s->owner);
}

static void on_hangup(struct stream *s)
{
	connection_close(s->owner);
}

static void on_closed(struct stream *s)
{
	struct admin_connection *n = s->owner;

	n->is_gone = true;
	if (!n->is_waiting)
		connection_free(n);
}

static const struct stream_events events = {
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_hangup = on_hangup,
	.on_closed = on_closed,
};

static void on_timeout(struct timer *t)
{
	connection_close(container_of(t, struct admin_connection, timer));
}

static bool peer_is_allowed(const struct admin *a, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0 || peer.uid == a->uid || peer.uid == geteuid();
}

/* It fits into the socket's buffer.  What was asked is read, or closing would be a reset. */
static void busy_say(int fd)
{
	char text[64], asked[ADMIN_LINE_MAX];
	int len = snprintf(text, sizeof(text), "error\nbusy: %d connections\n", ADMIN_CONNECTIONS_MAX);

	(void)!send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)!recv(fd, asked, sizeof(asked), MSG_DONTWAIT);
}

static void on_accept(struct acceptor *acceptor, int fd)
{
	struct admin *a = container_of(acceptor, struct admin, acceptor);
	struct admin_connection *n;

	if (a->count >= ADMIN_CONNECTIONS_MAX || !peer_is_allowed(a, fd)) {
		if (a->count >= ADMIN_CONNECTIONS_MAX)
			busy_say(fd);
		(void)close(fd);
		return;
	}
	n = mem_zalloc(sizeof(*n));
	n->admin = a;
	a->count++;
	timer_init(&n->timer, on_timeout);
	timer_arm(a->control->loop, &n->timer, ADMIN_TIMEOUT_MS);
	n->stream = stream_open(a->control->loop, fd, NULL, &events, n);
	stream_read(n->stream, LOOP_BUFFERS_SMALL);
}

static void on_refused(struct acceptor *acceptor, int err)
{
	(void)acceptor;
	log_warn("the admin socket cannot accept: %s", strerror(-err));
}

static void on_acceptor_closed(struct acceptor *acceptor)
{
	struct admin *a = container_of(acceptor, struct admin, acceptor);

	CHECK(a->acceptor.inflight == 0);
}

/*
 * The folder of a default path is ours to make; nobody else may enter it.  One in /tmp that is there already may be a
 * stranger's: then -EPERM.
 */
static int folder_make(const char *path)
{
	char folder[128];
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (!slash || slash == path || (size_t)(slash - path) >= sizeof(folder))
		return 0;
	memcpy(folder, path, (size_t)(slash - path));
	folder[slash - path] = '\0';
	(void)mkdir(folder, 0700); /* exists, or listening says what is wrong */
	/* Only the default, /tmp/sentinel-<uid>: a path that the file names is the operator's choice. */
	if (strncmp(folder, "/tmp/sentinel-", 14) != 0 || folder[14 + strspn(folder + 14, "0123456789")] != '\0')
		return 0;
	if (lstat(folder, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0 ? 0 : -EPERM;
}

int admin_open(struct admin **out, struct control *c, const char *path, const struct addr *addr)
{
	int fd = folder_make(path);

	if (fd < 0)
		return fd;
	fd = listener_socket(addr, 16, true);
	if (fd < 0)
		return fd;
	if (chmod(path, 0600) < 0) {
		int err = -errno;

		(void)close(fd);
		(void)unlink(path);
		return err;
	}
	admin_adopt(out, c, path, fd);
	return 0;
}

void admin_adopt(struct admin **out, struct control *c, const char *path, int fd)
{
	struct admin *a = mem_zalloc(sizeof(*a));

	a->control = c;
	a->path = mem_strdup(path);
	a->uid = geteuid();
	a->acceptor.on_accept = on_accept;
	a->acceptor.on_refused = on_refused;
	a->acceptor.on_closed = on_acceptor_closed;
	acceptor_start(&a->acceptor, c->loop, fd);
	*out = a;
}

int admin_socket_fd(const struct admin *a)
{
	return a->acceptor.fd;
}

const char *admin_socket_path(const struct admin *a)
{
	return a->path;
}

void admin_leave(struct admin *a, bool is_taken)
{
	if (!a || a->is_left)
		return;
	if (!is_taken)
		(void)unlink(a->path);
	a->is_left = true;
	acceptor_leave(&a->acceptor);
}

void admin_close(struct admin *a)
{
	if (!a)
		return;
	a->is_closed = true;
	if (!a->is_left)
		(void)unlink(a->path);
}
