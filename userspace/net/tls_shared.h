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

	/* statistics: relaxed */
	_Atomic uint64_t tickets_issued, tickets_read, tickets_refused;
	_Atomic uint64_t early_data[TLS_REPLAY_VERDICT_COUNT];
};

/* Control thread, while a server is built: workers see the filter only through a server that was published after. */
void tls_shared_need_replay(struct tls_shared *s);

#endif
