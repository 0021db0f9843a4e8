/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream_tls.h - TLS over another stream, in either role.
 *
 * The new stream owns the one below, a socket's, which must not be being read; bytes that are queued there go first.
 * It begins as STREAM_CONNECTING.  on_connected() comes when the handshake is complete, on_fail(-EPROTO) when it is not
 * (tlsio_failure() of stream_tls() says why; NONE with another error: the connection below failed first).  What is
 * written before waits.  There is no deadline here: the owner closes when it has waited long enough.
 *
 * bytes_in, bytes_out, queued and sending count plain bytes.  Progress of a record that the socket took in part is told
 * in proportion; `queued` is 0 only when the last cipher byte, and a close_notify that was asked for, are in the
 * socket.  Plain bytes are encrypted only as the socket takes them, so what a slow peer makes us hold are the owner's
 * own slices and at most STREAM_TLS_CIPHER_MAX bytes (and a record) more.
 *
 * Ends: stream_shutdown() sends close_notify and FIN, stream_ends_soon() puts the close_notify behind the last bytes,
 * stream_close() tries to send it if everything is out.  The peer's close_notify is on_eof(); what it sends after that
 * is not looked at.  An end without close_notify is on_eof() for a server and on_fail(-EPROTO) for a client, whose body
 * may have been cut.
 * When TLS fails the peer is told by an alert.  So that a reset does not overtake it, the stream below lives on for a
 * while after stream_close(), at most STREAM_TLS_LINGER_MS or STREAM_TLS_LINGER_BYTES; on_closed() comes after that.
 * stream_abort() does not wait.
 *
 * A server that accepts early data is connected before the handshake is complete, see tlsio.h; the rest of the
 * handshake is read as the owner asks for bytes, and close_notify and FIN wait for it.
 *
 * A connection that does nothing for a second or two holds no buffers.  The streams that may hold some are in a list of
 * the thread: one loop a thread.
 */
#ifndef SN_NET_STREAM_TLS_H
#define SN_NET_STREAM_TLS_H

#include "net/stream.h"
#include "net/tlsio.h"

#define STREAM_TLS_CIPHER_MAX	(128U << 10)
#define STREAM_TLS_LINGER_MS	1000
#define STREAM_TLS_LINGER_BYTES (64U << 10)
#define STREAM_TLS_WARM_MS	1000 /* buffers are released after one to two of these */

struct ssl_st;
struct tls_server;

/* below is open.  `first`: bytes that were read from below already; its reference is taken. */
struct stream *stream_tls_server(struct stream *below, struct slice first, struct tls_server *server,
				 const struct stream_events *ev, void *owner);
/*
 * below is open or connecting.  ssl: of tls_client_ssl(), which knows the host's name and the sessions to resume, and
 * which may fail; taken.
 */
struct stream *stream_tls_client(struct stream *below, struct ssl_st *ssl, const struct stream_events *ev,
				 void *owner);

#endif
