/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * steer.h - new connections go to the least-loaded worker (bpf/steer.bpf.c) instead of to the one that a hash of their
 * addresses names.  An aid, never a dependency: what is not steered the kernel spreads by its hash.
 *
 * Control thread, except steer_publish().
 */
#ifndef SN_FASTPATH_STEER_H
#define SN_FASTPATH_STEER_H

#include <stdint.h>

#include "base/strbuf.h"
#include "net/addr.h"

struct steer;

/* For workers 0..worker_count-1, 2 to SN_STEER_WORKERS_MAX of them.  NULL, with a sentence in out_why. */
struct steer *steer_open(unsigned worker_count, struct strbuf *out_why);
/* After the workers have ended.  NULL ok. */
void steer_close(struct steer *s);

/*
 * The listening sockets of an address, one a worker in their order; borrowed.  They leave by being closed.  Replaces
 * what was there for this address.  0 or -errno (-EBUSY: another process steers them): then the hash goes on.
 */
int steer_add(struct steer *s, const struct addr *addr, const int *fds);
/* These are gone, or become another process's: nothing of ours refers to them any more.  NULL ok. */
void steer_remove(struct steer *s, const struct addr *addr);

/* How many connections the worker has.  Its own thread, after each change or once a turn.  NULL ok. */
void steer_publish(struct steer *s, unsigned worker, uint64_t live);
/* What it last published. */
uint64_t steer_live(const struct steer *s, unsigned worker);
/* Connections that the kernel chose the worker for, so far. */
uint64_t steer_picks(const struct steer *s, unsigned worker);

#endif
