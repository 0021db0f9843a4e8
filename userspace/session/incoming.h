/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * incoming.h - an accepted connection that is not a session yet: PROXY header, then a look at the ClientHello or the
 * TLS handshake, whatever its listener asks for.  One deadline for all of it (handshake_timeout_ms).
 *
 * The header of a trusted peer is read and its address taken for the stream's peer; what another peer sends is never
 * read as a header.  A TLS handshake begins when the client's first bytes are here, and when fewer than handshakes_max
 * of its listener are under way; until then a connection holds no TLS state, and is not read further.
 */
#ifndef SN_SESSION_INCOMING_H
#define SN_SESSION_INCOMING_H

#include "base/strbuf.h"
#include "session/server.h"

#define INCOMING_TAG TAG('i', 'n', 'c', 'o')

enum incoming_state {
	INCOMING_PROXY_HEADER,
	INCOMING_FIRST_BYTES, /* of the client of a TLS listener */
	INCOMING_CLIENT_HELLO,
	INCOMING_WAITING, /* for its turn to handshake */
	INCOMING_HANDSHAKE,
	INCOMING_CLOSING,
};

/* The handshakes of one listener; there while it has any. */
struct handshake_turns {
	struct list node; /* host->handshake_turns */
	struct list waiting; /* in order */
	uint32_t listener_id;
	unsigned count; /* under way */
};

struct incoming {
	uint32_t tag;
	enum incoming_state state;
	struct server_session base;

	struct stream *stream; /* owned until on_closed(), or until it is handed on */
	struct slice first;    /* read, not looked at or not used; owned */
	struct strbuf gathered; /* instead of it, when one receive was not enough */
	struct timer deadline;
	struct handshake_turns *turns; /* while it waits or handshakes */
	struct list turn_node; /* turns->waiting */
};

void incoming_host_init(struct server_host *h);
void incoming_host_fini(struct server_host *h);
void incoming_open(struct server_host *h, uint32_t listener_id, const struct server_settings *set, int fd,
		   const struct addr *peer);

#endif
