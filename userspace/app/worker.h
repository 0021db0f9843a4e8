/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * worker.h - a worker thread: its loop, its listening sockets, and the messages that control sends it.
 *
 * Functions are for the control thread; they send a message and return.  Events come back on control's loop.
 * A worker lives from worker_start() to worker_join().
 */
#ifndef SN_APP_WORKER_H
#define SN_APP_WORKER_H

#include <pthread.h>

#include "fastpath/bans.h"
#include "fastpath/heartbeat.h"
#include "app/worker_clients.h"
#include "proxy/worker.h"

struct worker;
struct guard_rules; /* guard.h */
struct kernel_tunnels;
struct steer;

/* What a builtin handler asked for: text that control makes.  `what` is "metrics", "config" or "upstreams". */
typedef void worker_render_fn(void *ctx, const char *what, struct strbuf *out);

struct worker_config {
	unsigned index;
	struct loop *control;	     /* borrowed: where events go */
	struct proxy_shared *shared; /* borrowed */
	size_t sessions_max;
	struct bans *bans;	     /* borrowed */
	struct heartbeat *heartbeat; /* borrowed; beaten by worker 0 */
	struct kernel_tunnels *kernel_tunnels; /* borrowed */
	struct steer *steer; /* borrowed; NULL: off */
	void (*on_drained)(void *ctx, struct worker *w); /* nothing is open any more; once */
	void (*on_unlistened)(void *ctx, uint32_t listener); /* after worker_unlisten(): its socket is closed */
	void (*on_stopped)(void *ctx, struct worker *w); /* the thread ends; worker_join() */
	worker_render_fn *render;			 /* runs on control */
	/* Somebody was refused; runs on control. */
	void (*audit)(void *ctx, const struct addr *peer, const char *type, const char *reason, const char *detail);
	const struct worker_clients_config *clients; /* borrowed: lives as long as the worker */
	void *ctx;
};

/*
 * Start the thread and wait until its loop runs on snapshot s.  NULL, with one clear sentence in *out_reason
 * (static), if it cannot.
 */
struct worker *worker_start(const struct worker_config *config, struct snapshot *s, const struct guard_rules *rules,
			    const char **out_reason);
/* New requests use s; connections are judged by rules, which live as long as s. */
void worker_adopt(struct worker *w, struct snapshot *s, const struct guard_rules *rules);
/* Accept on fd (owned by the worker from here) for this listener. */
void worker_listen(struct worker *w, uint32_t listener, int fd);
/* Stop accepting for this listener; nothing that was accepted is lost. */
void worker_unlisten(struct worker *w, uint32_t listener);
/* The same, leaving the socket to another process that has it too. */
void worker_leave(struct worker *w, uint32_t listener);
/*
 * Everything was unlistened or left: end kept connections with their next answer, whenever that is; on_drained()
 * follows.  worker_drain() may follow too.
 */
void worker_retire(struct worker *w);
/* Stop accepting, end kept connections with their next answer; on_drained() follows. */
void worker_drain(struct worker *w);
/*
 * run(ctx) on the worker's thread, between two events, then done(ctx) on control's.  Not after worker_stop().
 */
void worker_ask(struct worker *w, void (*run)(void *ctx, struct proxy_worker *p), void (*done)(void *ctx), void *ctx);
/* End everything now; on_stopped() follows.  The last message. */
void worker_stop(struct worker *w);
/* After on_stopped(): join the thread and free w. */
void worker_join(struct worker *w);

#endif
