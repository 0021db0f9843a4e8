/* SPDX-License-Identifier: GPL-2.0-only */
/* client.h - commands that talk to a running daemon: one line over its admin socket, the answer to the terminal. */
#ifndef SN_APP_CLIENT_H
#define SN_APP_CLIENT_H

#include "app/cli.h"

struct config_system;

/*
 * What says which daemon is meant (admin socket, instance): read from the configuration, errors and all, because a
 * wrong file must not keep anybody from `sentinel status`; the defaults if there is none.  In c's arena.
 */
const struct config_system *client_system(struct cli *c);

/* Send "text|json REQUEST" and print the answer.  The exit code; 3 if there is no daemon. */
int client_ask(struct cli *c, const char *request);
/* The same, not printed: 0, the answer in out, and *out_is_ok; or an exit code, and in out a sentence that says why. */
int client_ask_text(struct cli *c, const char *request, struct strbuf *out, bool *out_is_ok);
/* Print an answer: on standard output if it is "ok" or JSON, else on standard error.  The exit code. */
int client_say(const struct cli *c, bool is_ok, const struct strbuf *text);

#endif
