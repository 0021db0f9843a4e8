/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * upgrade_message.h - what two processes of an instance say to each other during a binary upgrade: one fixed struct a
 * message over a SOCK_SEQPACKET pair, with descriptors.  docs/design/0008-upgrade.md has the order.  Both sides may be
 * of different versions: UPGRADE_PROTOCOL changes with any layout.  Control thread.
 */
#ifndef SN_APP_UPGRADE_MESSAGE_H
#define SN_APP_UPGRADE_MESSAGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fastpath/bans.h"
#include "net/tls_tickets.h"
#include "proxy/tunnel_move.h"

#define UPGRADE_PROTOCOL  2
#define UPGRADE_FDS_MAX	  64
#define UPGRADE_SETS_MAX  1024 /* listeners */
#define UPGRADE_OLDER_MAX 16   /* generations that still drain */
#define UPGRADE_BANS_PAGE 64
#define UPGRADE_TIMEOUT_MS 10000

enum upgrade_kind {
	UPGRADE_HELLO,	     /* new: the first; nothing but the number of the protocol */
	UPGRADE_STATE,	     /* old: its answer */
	UPGRADE_GET_SOCKETS, /* new */
	UPGRADE_SOCKETS,     /* old: descriptors of workers from `first` on */
	UPGRADE_GET_OLDER,   /* new */
	UPGRADE_OLDER,	     /* old: one descriptor, the channel of that generation */
	UPGRADE_READY,	     /* new: the guard may change hands */
	UPGRADE_GUARD,	     /* old: it is yours */
	UPGRADE_GET_BANS,    /* new */
	UPGRADE_BANS,	     /* old */
	UPGRADE_SERVING,     /* new: done */
	UPGRADE_NEWS,	     /* old, once a second while it drains */
	UPGRADE_TUNNEL,	     /* old: the sockets of the client and of the origin; of one in the kernel its maps too */
	UPGRADE_STOP,	     /* new: do not drain for longer than at a stop */
	UPGRADE_GET_TICKETS, /* new, once it has the guard */
	UPGRADE_TICKETS,     /* old: keys of TLS session tickets; both sides wipe the message */
	UPGRADE_KIND_COUNT
};

/* Descriptors of UPGRADE_STATE, in this order, as far as there are some. */
#define UPGRADE_HAS_ADMIN    1u
#define UPGRADE_HAS_PID_FILE 2u

struct upgrade_state {
	uint32_t worker_count;
	uint32_t set_count;
	uint32_t older_count;
	uint32_t has; /* UPGRADE_HAS_*; standard error is always the first descriptor */
	char instance[64];
	char admin_path[108];
	char pid_path[1024];
};

struct upgrade_sockets {
	uint32_t set;
	uint32_t first; /* worker */
	struct sockaddr_in6 addr; /* or sockaddr_in */
};

struct upgrade_serving {
	uint32_t worker_count;
	uint32_t has; /* UPGRADE_HAS_*: was taken */
	uint32_t kernel_abi; /* tunnels in the kernel of this SN_ABI_VERSION may come as they are; 0: none */
	uint8_t adopted[UPGRADE_SETS_MAX]; /* by set: 1, the new workers accept there */
};

struct upgrade_bans {
	uint32_t count; /* in this page */
	uint32_t rest;	/* after it */
	struct ban bans[UPGRADE_BANS_PAGE];
};

struct upgrade_message {
	uint32_t magic; /* set by upgrade_send() */
	uint32_t protocol;
	uint32_t kind;
	/*
	 * GET_SOCKETS: set; GET_OLDER: which; OLDER: pid; GET_BANS: from which on; NEWS: 1, no tunnel that is in the
	 * kernel comes after this
	 */
	uint32_t number;
	union {
		uint32_t first; /* of GET_SOCKETS: worker */
		uint64_t connections; /* of NEWS */
		struct upgrade_state state;
		struct upgrade_sockets sockets;
		struct upgrade_serving serving;
		struct upgrade_bans bans;
		struct tls_ticket_keys tickets;
		struct tunnel_parcel tunnel;
	};
};

/* 0 or -errno; never waits (-EAGAIN: the other side does not read). */
int upgrade_send(int channel, struct upgrade_message *m, const int *fds, unsigned fd_count);
/*
 * The next message.  1; 0: the other side is gone; -EAGAIN: none (there is none yet, or the socket's time is over);
 * -EPROTO: nonsense, -EPROTONOSUPPORT: of another version.  Descriptors are close-on-exec and the caller's, at most
 * UPGRADE_FDS_MAX; with a failure none is left open.
 */
int upgrade_receive(int channel, bool may_wait, struct upgrade_message *out, int *out_fds, unsigned *out_fd_count);
void upgrade_close_fds(const int *fds, unsigned count);

#endif
