/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server_raw.h - a server session without a protocol: plain TCP, or TLS that is passed through.
 *
 * It gives one request at once: method CONNECT, is_raw, the name of the ClientHello (or nothing) as authority, no path,
 * no body.  A head with BODY_TUNNEL starts the tunnel, and nothing is written for it; any other final head closes the
 * connection without a byte.  The bytes that were read before come first.
 */
#ifndef SN_SESSION_SERVER_RAW_H
#define SN_SESSION_SERVER_RAW_H

#include "session/closing.h"
#include "session/writing.h"
#include "session/server.h"
#include "session/wait.h"

#define SERVER_RAW_TAG TAG('s', 'v', 'r', 'w')

enum server_raw_state {
	RAW_ASKING, /* the owner decides */
	RAW_TUNNEL,
	RAW_REFUSED, /* the owner's answer is thrown away */
	RAW_LEAVING, /* the owner is done; the rest of the output is written */
	RAW_CLOSING,
};

struct server_raw {
	uint32_t tag;
	enum server_raw_state state;
	struct server_session base;

	struct stream *stream; /* owned until on_closed() */
	struct slice_queue input; /* not taken by the owner yet: what was read before, then nothing but one receive */
	struct waits waits;
	struct task pump_task;
	struct http_stream hs;

	int64_t allowance;
	uint64_t write_idle_ms;
	bool is_head_ended; /* on_end() of the request was called */
	bool is_broken, is_peer_done;
	bool is_end_told; /* of the tunnel */
	bool is_lent_in;  /* somebody else moves what the client sends */
};

#endif
