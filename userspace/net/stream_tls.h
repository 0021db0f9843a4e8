/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream_tls.h - TLS over another stream, in either role.
 *
 * The new stream owns the one below, which must be open and not being read; it begins as STREAM_CONNECTING, and
 * on_connected() comes when the handshake is complete, on_fail() when it is not (tlsio_failure() says why).  What is
 * written before waits.  There is no deadline here: the owner closes when it has waited long enough.
 *
 * bytes_in and bytes_out count plain bytes.  An end without close_notify is on_eof() for a server and on_fail(-EPROTO)
 * for a client, whose body may have been cut.
 */
#ifndef SN_NET_STREAM_TLS_H
#define SN_NET_STREAM_TLS_H

#include "net/stream.h"

struct tls_server;
struct tls_client;
struct tls_session_cache;

/* `first`: bytes that were read from below already; its reference is taken. */
struct stream *stream_tls_server(struct stream *below, struct slice first, struct tls_server *server,
				 const struct stream_events *ev, void *owner);
/* below may be connecting.  sessions: where to look for and keep one to resume; NULL: none. */
struct stream *stream_tls_client(struct stream *below, struct tls_client *client, struct tls_session_cache *sessions,
				 const struct stream_events *ev, void *owner);

#endif
