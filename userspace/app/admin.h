/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * admin.h - the Unix socket by which the commands of `sentinel` talk to the daemon.
 *
 * One request a connection: a line (admin_request.h), at most ADMIN_LINE_MAX bytes.  The answer is a line "ok" or
 * "error", then text until the end; so is that to a line which is too long, and to who is one too many.  Mode 0600;
 * only root and the daemon's own user are answered.  Control thread.
 */
#ifndef SN_APP_ADMIN_H
#define SN_APP_ADMIN_H

#include "app/control.h"

#define ADMIN_LINE_MAX 4096
#define ADMIN_CONNECTIONS_MAX 32
#define ADMIN_TIMEOUT_MS 30000

/* Path of the socket of a configuration: what it says, or the default of README.md.  In a. */
const char *admin_path(const struct config_system *system, struct arena *a);
/* Listen; 0 or -errno (-EADDRINUSE: a daemon of this instance runs). */
int admin_open(struct admin **out, struct control *c, const char *path, const struct addr *addr);
/* Remove the socket; connections end with the process, and none is answered any more.  NULL ok. */
void admin_close(struct admin *a);

enum admin_result {
	ADMIN_OK,
	ADMIN_ERROR,
	ADMIN_LATER, /* admin_reply() follows, once, from another event */
};

struct admin_connection;

/* Answer one request line; appends to out.  `from` is whom a later answer goes to. */
enum admin_result admin_answer(struct control *c, struct span line, struct admin_connection *from, struct strbuf *out);
/* The answer that had to wait.  Whoever asked may be gone by now. */
void admin_reply(struct admin_connection *n, bool is_ok, const struct strbuf *text);
/* {"result": "done", "message": …} and a newline; of another result, a failure, {"result": …, "error": …}. */
void admin_message(struct strbuf *out, const char *result, struct span text);

/* ---- binary upgrade ---- */

int admin_socket_fd(const struct admin *a);
const char *admin_socket_path(const struct admin *a);
/* The socket of the process before; takes fd. */
void admin_adopt(struct admin **out, struct control *c, const char *path, int fd);
/* Accept no more and leave the socket to the next process (or remove it).  NULL ok. */
void admin_leave(struct admin *a, bool is_taken);

#endif
