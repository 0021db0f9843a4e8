/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_shared.h - inside of a struct tls_shared; its functions are in tls_context.h.  For tls_context*.c only. */
#ifndef SN_NET_TLS_SHARED_H
#define SN_NET_TLS_SHARED_H

#include "net/tls_context.h"
#include "net/tls_tickets.h"

struct tls_shared {
	uint32_t tag;
	size_t replay_slots;
	struct tls_tickets *tickets; /* owned */
	struct tls_replay *replay;   /* owned; NULL until a server with early data was built */

	_Atomic bool is_given; /* another process has the keys: it may see the hellos that we see */
	_Atomic uint64_t early_from_secs; /* wall clock; before that the one before us may have accepted what we see */

	/* statistics: relaxed */
	_Atomic uint64_t tickets_issued, tickets_read, tickets_refused;
	_Atomic uint64_t early_data[TLS_REPLAY_VERDICT_COUNT];
};

/* Any thread: may early data be accepted at all? */
bool tls_shared_takes_early_data(const struct tls_shared *s, uint64_t wall_secs);
/* Control thread, while a server is built: workers see the filter only through a server that was published after. */
void tls_shared_need_replay(struct tls_shared *s);

#endif
