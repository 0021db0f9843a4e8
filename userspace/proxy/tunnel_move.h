/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tunnel_move.h - tunnels between two plain connections that go on in another process: here they become quiet (nothing
 * in userspace, no operation in flight), there they begin again from two sockets and a parcel.  Those in the kernel are
 * frozen and go as they are, if the other process can have them so.  Those with TLS or HTTP/2 on a side, and those of
 * which a peer has ended already, stay.  For the worker's thread.
 */
#ifndef SN_PROXY_TUNNEL_MOVE_H
#define SN_PROXY_TUNNEL_MOVE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/timer.h"
#include "net/addr.h"
#include "net/offload_hook.h"

struct proxy_worker;
struct tunnel;
struct tunnel_moving;

/* What the other process must know besides the sockets: for limits, `sentinel flows` and the log.  Texts end with 0. */
struct tunnel_parcel {
	struct addr peer; /* the client, also one that a PROXY header named; IPv4 or IPv6 */
	uint64_t idle_limit_ms; /* 0: none */
	uint64_t write_limit_ms[2]; /* of the client, of the origin */
	uint64_t open_ns, quiet_ms; /* since the request came, since a byte moved */
	uint64_t received[2]; /* bytes from the client, from the origin */
	uint64_t spliced[2], kernel[2]; /* of these by splice(2), by sockmap */
	uint32_t engine;	/* the configuration's word */
	uint32_t joins;
	uint32_t status, attempts;
	uint32_t version;	/* of HTTP */
	uint8_t is_raw, was_reused;
	uint8_t is_in_kernel; /* then with pair, and the descriptors of its maps */
	struct offload_parcel pair;
	uint64_t kernel_seen[2]; /* what the pair moved and the other process has counted */
	char country[3];
	char raw_protocol[7];
	char method[32], upgrade[64], request_id[64], client_ip[64];
	char listener[128], route[128], upstream[128], upstream_addr[128];
	char authority[256], user_agent[256], referer[256];
	char path[768], query[768];
};

/* Is it something that tunnel_adopt() may read?  From another process: hostile. */
bool tunnel_parcel_is_sound(const struct tunnel_parcel *p);

/* The client's socket, the origin's, and what offload_hook.h adds. */
#define TUNNEL_FDS_MAX (2 + OFFLOAD_FDS_MAX)

struct tunnel_mover {
	/*
	 * Pass it on.  The descriptors stay the tunnel's until tunnel_moved(), which follows, once, on the
	 * worker's thread and never from inside.  Set by app, with its `ctx`.
	 */
	void (*pass)(struct tunnel_mover *m, const struct tunnel_parcel *p, const int *fds, unsigned fd_count,
		     struct tunnel_moving *what);
	void *ctx;
	bool takes_pairs; /* the other process can go on with what is in the kernel; by app */

	struct proxy_worker *worker;
	struct offload_hook hook;
	struct timer timer;
	uint64_t pairs_until_ms; /* then tunnels leave the kernel first */
	int nowhere; /* what a descriptor names whose socket has moved; owned */
};

/* From now on all tunnels move as soon as they are quiet, those too that begin later.  Set pass first. */
void tunnels_move(struct proxy_worker *w, struct tunnel_mover *m);
/* When there is no tunnel any more. */
void tunnel_mover_fini(struct tunnel_mover *m);
/* is_gone: the other process has the sockets.  False: it goes on here, for good. */
void tunnel_moved(struct tunnel_moving *what, bool is_gone);

/*
 * The other side: go on with a tunnel.  Takes both descriptors; flows, of one that is in the kernel, is borrowed.
 * -ENOBUFS: there are too many connections, and both peers see a reset.
 */
int tunnel_adopt(struct proxy_worker *w, const struct tunnel_parcel *p, const int fd[2], struct flows *flows);

#endif
