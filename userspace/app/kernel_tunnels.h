/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kernel_tunnels.h - the kernel's part in tunnels (sockmap) for the whole process: judged, loaded and tried once, at
 * the start; handed to the workers; counted.
 *
 * Whatever is in the way - the kernel's version, our rights, a case of the self-test - is one line of the log, a metric
 * and a line of the status; traffic is served all the same, by userspace.  Control thread, unless it says otherwise.
 */
#ifndef SN_APP_KERNEL_TUNNELS_H
#define SN_APP_KERNEL_TUNNELS_H

#include "base/json.h"
#include "base/strbuf.h"
#include "fastpath/flows.h"
#include "observe/metrics.h"
#include "proxy/worker.h"

struct kernel_tunnels;
struct kernel_tunnels_worker;

/*
 * Before the workers start and before rights are given up.  Never NULL.  Nothing is loaded if the file excludes it
 * everywhere; a reload that no longer does takes effect at the next start.
 */
struct kernel_tunnels *kernel_tunnels_open(const struct snapshot *s, unsigned worker_count);
/* After the last worker has ended.  NULL ok. */
void kernel_tunnels_close(struct kernel_tunnels *k);
/* Tunnels of each worker, such that no row of the maps is missing and none is too many. */
unsigned kernel_tunnels_share(uint64_t connections_max, unsigned worker_count);

/*
 * The worker's own thread.  Fills p->offload; NULL: it is off, and the calls below take that.  Before
 * proxy_worker_start().
 */
struct kernel_tunnels_worker *kernel_tunnels_join(struct kernel_tunnels *k, struct proxy_worker *p);
/* Once a turn: makes the counts visible. */
void kernel_tunnels_publish(struct kernel_tunnels_worker *w);
/* When the worker has no tunnel any more: true as soon as its loop may be freed; ask again. */
bool kernel_tunnels_leave(struct kernel_tunnels_worker *w);

/*
 * Binary upgrade.  The SN_ABI_VERSION of tunnels that may come here in the kernel as they are; 0: none may.  After the
 * workers have started.
 */
uint32_t kernel_tunnels_abi(const struct kernel_tunnels *k);
/* May ours go so to a process that said `theirs`?  No: why, as the rest of a sentence; "" if there are none. */
bool kernel_tunnels_may_move(const struct kernel_tunnels *k, uint32_t theirs, struct strbuf *out_why);
/*
 * The maps of a tunnel that came; takes the descriptors.  A reference, to be put; NULL: they are not what they
 * should be.
 */
struct flows *kernel_tunnels_inherit(struct kernel_tunnels *k, const struct offload_parcel *p, const int *fds,
				     unsigned fd_count);
/* Workers from 0 on that may have tunnels in the kernel. */
unsigned kernel_tunnels_workers(const struct kernel_tunnels *k);
/* Once a second: lets go of maps whose last tunnel has left. */
void kernel_tunnels_tick(struct kernel_tunnels *k);

/* A reload took effect: say so if it asks for what was not loaded. */
void kernel_tunnels_reloaded(struct kernel_tunnels *k, const struct snapshot *s);
/* Feed the metrics; m is control's shard. */
void kernel_tunnels_collect(const struct kernel_tunnels *k, struct metrics_shard *m);
/* Lines of `sentinel status`, and the member "kernel_tunnels" of its JSON. */
void kernel_tunnels_text(const struct kernel_tunnels *k, struct strbuf *out);
void kernel_tunnels_json(const struct kernel_tunnels *k, struct json *j);

#endif
