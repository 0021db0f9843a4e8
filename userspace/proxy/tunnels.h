/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnels.h - the tunnels of a worker, seen from outside: what `sentinel flows` lists, and ending all of them.
 * For the worker's thread.
 */
#ifndef SN_PROXY_TUNNELS_H
#define SN_PROXY_TUNNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/splice.h"

struct proxy_worker;

/* One tunnel.  Texts are borrowed until the next turn of the loop. */
struct tunnel_facts {
	struct addr client, origin;
	const char *listener, *route, *upstream;
	const char *kind;	      /* "websocket", "connect", "upgrade", "tcp" or "tls-passthrough" */
	enum splice_engine engine[2]; /* what moves its bytes now: from the client, from the origin */
	uint64_t bytes[2];	      /* received from the client, from the origin */
	uint64_t kernel_bytes[2];     /* of these by sockmap */
	uint64_t open_ms, idle_ms;    /* since it began, since a byte moved */
	unsigned joins;		      /* how often it went into the kernel */
};

/* Of proxy_worker: its list of tunnels.  After fini there are none. */
void tunnels_init(struct proxy_worker *w);
void tunnels_fini(struct proxy_worker *w);
/*
 * Twice a second: counts of those in the kernel, and whether they belong there; more often while they go to another
 * process.  Goes through all of them, a few hundred a turn.
 */
void tunnels_look(struct proxy_worker *w);

/* Oldest first. */
void tunnels_each(struct proxy_worker *w, void (*fn)(void *ctx, const struct tunnel_facts *f), void *ctx);
/* End all tunnels of the worker now. */
void tunnels_abort(struct proxy_worker *w);

#endif
