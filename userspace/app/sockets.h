/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sockets.h - listening sockets that are open but not yet with the workers: what a reload opens before it publishes.
 * One set for each new listener, one socket in it for each worker.  Control thread.
 */
#ifndef SN_APP_SOCKETS_H
#define SN_APP_SOCKETS_H

#include "app/control.h"

/*
 * The kernel takes the ring of a killed daemon apart after its death, and its sockets live until then (6 to 18 ms were
 * measured).  A supervisor may start the next one at once: who finds an address taken at the start tries again, so
 * often and with such pauses.
 */
#define SOCKETS_TRIES	 25
#define SOCKETS_PAUSE_US 20000

struct sockets {
	const struct listener *listener; /* borrowed from the snapshot that is being built */
	int *fds;			 /* owned, worker_count of them; -1: given away */
	struct sockets *next;
};

/*
 * Open what the snapshot has and control has not.  0, or -errno with one sentence in out; then nothing is open.
 * The metrics listener at its default address is left out with a warning in out if its port is taken.
 */
int sockets_open(struct sockets **out_sockets, struct control *c, const struct snapshot *s, struct strbuf *out);
/* Close what was not given away and free all. */
void sockets_free(struct sockets *s, unsigned count);
/* After the snapshot was published: new ones to the workers, removed ones away from them. */
void sockets_publish(struct sockets *s, struct control *c);
/* Before all workers are told to stop: no new handshake may begin. */
void sockets_refuse_new(const struct control *c);
/*
 * Another process has the sockets of l for its first worker_count workers: leave these to it, close the others as those
 * of a removed listener.
 */
void sockets_leave(struct control *c, struct control_listener *l, unsigned worker_count);
/* Whose they are from now on, for adding some later: another user's cannot join the group. */
void sockets_own(const struct sockets *s, unsigned count, uid_t uid, gid_t gid);
/* Is the listener of this number in the file and open? */
bool sockets_listener_is_open(const struct control *c, uint32_t number);
/* A worker has closed its socket of a removed listener. */
void sockets_on_unlistened(void *ctx, uint32_t listener);

#endif
