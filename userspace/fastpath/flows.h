/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flows.h - the programs and maps that splice tunnels in the kernel: one of these a process.
 *
 * Control opens it once, before the workers start, because loading takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN;
 * what workers do with it afterwards takes none.  Nothing is pinned: when the last process that holds it ends, in
 * whatever way, programs, maps and rows are gone.  offload.h is what moves tunnels in and out.
 *
 * A binary upgrade hands the descriptors on: then the new process has one of these for its own tunnels and one for each
 * process before it of which a tunnel is still in the kernel.  flows_adopt() makes such a one; no row of it is given
 * out any more, so two processes never give out the same.
 *
 * A row is what kernel and worker share about the bytes that arrive on one socket: flow_ctl is written by the worker,
 * flow_stat by the kernel (abi.h).  Every worker has slots of its own.
 */
#ifndef SN_FASTPATH_FLOWS_H
#define SN_FASTPATH_FLOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "sentinel/abi.h"
#include "sentinel/events.h"

struct flows;

struct flows_options {
	unsigned worker_count;	     /* 1..SN_SPLICE_WORKERS_MAX */
	unsigned tunnels_per_worker; /* worker_count * 2 * this <= SN_FLOWS_MAX */
	bool is_mute;		     /* for tests: the kernel sends no events */
	bool has_no_iterator;	     /* for tests: leave by the gate */
	uint32_t faults;	     /* for tests: bugs of the kernel, FAULT_* of splice.bpf.c */
};

/* NULL, with one sentence in out_why: the kernel or our rights do not allow it. */
struct flows *flows_open(const struct flows_options *o, struct strbuf *out_why);
void flows_close(struct flows *f); /* NULL ok; nothing may be in the map any more, and nobody else have a reference */

/* Any thread.  The one that opened or adopted it has a reference; NULL may be put. */
struct flows *flows_get(struct flows *f);
void flows_put(struct flows *f);
bool flows_is_shared(const struct flows *f); /* somebody else has one too */

/*
 * For another process: maps, and the iterator's link if there is one.  Borrowed.  Returns how many.  There
 * flows_are_of() finds what it knows already, and flows_adopt() takes the rest.
 */
#define FLOWS_FDS_MAX 6
unsigned flows_fds(const struct flows *f, int out_fds[FLOWS_FDS_MAX]);
/* The descriptors are taken; age: how many processes had them before.  NULL: they are not what they should be. */
struct flows *flows_adopt(unsigned age, const int *fds, unsigned fd_count);
bool flows_are_of(const struct flows *f, int socks_fd); /* the first of flows_fds() */
unsigned flows_age(const struct flows *f);

/*
 * Of those that were adopted: the row that this socket has there, for one pair.  0, -EBUSY: a pair here has it, or
 * -errno.
 */
int flows_row_claim(struct flows *f, uint64_t cookie, uint32_t *out_slot);
void flows_row_unclaim(struct flows *f, uint32_t slot);
/* From now on this ring hears of rows whose sn_flow_ctl.worker is this; as events are hints, it cannot fail. */
void flows_ring_lead(struct flows *f, uint32_t worker, int ring_fd);

/* False: no tcp iterator here, sockets leave by the SO_RCVLOWAT gate. */
bool flows_can_iterate(const struct flows *f);
unsigned flows_rows_per_worker(const struct flows *f);

/*
 * Rows.  From here on everything is for the thread of the worker that owns the slot, which is below
 * worker_count * flows_rows_per_worker(): worker w has those from w * rows_per_worker on.
 */
struct flow_row {
	struct sn_flow_ctl *ctl;
	const struct sn_flow_stat *stat;
};

struct flow_row flows_row(struct flows *f, uint32_t slot);

/*
 * Give the row to a socket: statistics 0, not armed.  0 or -errno (-EEXIST: the socket has one).  The socket is not
 * in the map yet.
 */
int flows_row_take(struct flows *f, uint32_t slot, uint64_t cookie, uint64_t peer, uint32_t worker);
/* After the socket has left the map, and a look at it that took its lock (TCP_INFO). */
void flows_row_drop(struct flows *f, uint64_t cookie);

/*
 * Put a socket into the map.  0; -EOPNOTSUPP: not established (its peer's FIN is in); -EINVAL: it has a ULP;
 * -EBUSY: somebody else's map has it; …
 */
int flows_insert(struct flows *f, uint64_t cookie, int fd);
/* Take it out without the socket's lock: what userspace has not read of it is lost.  0 or -errno. */
int flows_delete(struct flows *f, uint64_t cookie);
/* A descriptor that runs the iterator over every TCP socket of the network namespace when it is read to its end. */
int flows_iterator_open(struct flows *f);

/* The ring buffer of a worker (struct sn_splice_event); borrowed. */
int flows_ring_fd(const struct flows *f, unsigned worker);

/* How many rows and sockets there are, for tests and status: 0 or -errno. */
int flows_count(struct flows *f, unsigned *out_rows, unsigned *out_sockets);

#endif
