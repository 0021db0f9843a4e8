/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * early.h - which requests of a TLS connection are early (0-RTT): those of which one byte came before the handshake was
 * complete, so that somebody else may have sent it again (RFC 8470).
 *
 * Early bytes are the first of a connection.  A session notes how many there are as they come, and asks of each request
 * whether it began among them, however late its head was complete.
 */
#ifndef SN_SESSION_EARLY_H
#define SN_SESSION_EARLY_H

#include "net/tlsio.h"

struct early {
	uint32_t bytes; /* of the stream; the server's limit is far below */
	bool is_open;	/* there may come more */
};

static inline bool early_is_now(struct stream *st)
{
	const struct tlsio *tls = stream_tls(st);

	return tls && tlsio_is_early(tls);
}

/* The stream is new, nothing was read from it. */
static inline void early_begin(struct early *e, struct stream *st)
{
	*e = (struct early){.is_open = early_is_now(st)};
}

/* on_data() of the stream. */
static inline void early_note(struct early *e, struct stream *st)
{
	if (!e->is_open)
		return;
	e->is_open = early_is_now(st);
	if (e->is_open)
		e->bytes = (uint32_t)st->bytes_in;
}

/* `at`: bytes of the stream before the first one of the request. */
static inline bool early_covers(const struct early *e, uint64_t at)
{
	return at < e->bytes;
}

#endif
