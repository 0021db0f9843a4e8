/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * steering.h - new connections go to the worker that has the fewest (fastpath/steer.h).  What is in the way - our
 * rights, the kernel - is one line of the log and one of the status; the kernel's hash spreads connections then.
 * Control thread.
 */
#ifndef SN_APP_STEERING_H
#define SN_APP_STEERING_H

#include "base/json.h"
#include "base/strbuf.h"
#include "fastpath/steer.h"

#define STEERING_WHY_MAX 160

struct steering {
	struct steer *steer; /* owned; NULL: off */
	unsigned worker_count;
	char why[STEERING_WHY_MAX]; /* why it is off, or not for all listeners; "" if neither */
};

void steering_open(struct steering *s, unsigned worker_count);
/* After the workers have ended. */
void steering_close(struct steering *s);
/* A listener's sockets, one a worker; borrowed. */
void steering_add(struct steering *s, const struct addr *addr, const int *fds);
void steering_remove(struct steering *s, const struct addr *addr);
void steering_text(const struct steering *s, struct strbuf *out);
void steering_json(const struct steering *s, struct json *j);

#endif
