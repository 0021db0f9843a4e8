/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http1.h - HTTP/1.x (RFC 9112) behind the codec calls, on llhttp in strict mode.
 *
 * Reading.  Every byte outside chunk data is first judged by our own scan (scan.h).  Heads are copied once into the
 * arena given to next(), contiguous; receive buffers are never pinned by a head.  Body bytes are slices of what was
 * fed: no copy.  An interim response (1xx but 101) is a CODEC_HEAD without CODEC_END: the next head follows.
 * After a message's CODEC_END the codec waits: next() gives CODEC_MORE until http1_next_message(), so that a pipelined
 * request is not looked at before its turn.  Fed bytes wait in a queue that the caller bounds by not feeding
 * (http1_buffered()).  The peer's end inside a message is CODEC_ERROR (HEAD_TRUNCATED, BODY_TRUNCATED), between
 * messages CODEC_CLOSED, and it completes a BODY_UNTIL_CLOSE and a tunnel with CODEC_END.
 *
 * Tunnels.  A client codec enters one by itself (101, or 2xx to CONNECT: message->framing is BODY_TUNNEL); a server
 * codec when told by http1_enter_tunnel(), after it has sent such a head.  Bytes go both ways as CODEC_BODY and
 * CODEC_SEND_BODY; the peer's end is CODEC_END, our own needs no word.
 *
 * Writing.  Content-Length, Transfer-Encoding, Connection, Keep-Alive, Proxy-Connection and Upgrade fields of a message
 * are not copied; the codec writes them from framing, content_length, wants_keep_alive and upgrade:
 *	- request: method_name, path (authority for CONNECT), HTTP/1.1; Host from authority if there is no such field
 *	- response: HTTP/1.1, status, reason (the usual one if empty); wants_keep_alive false, or a request that
 *	  asked to close, writes "Connection: close"; upgrade is written with 101 and 426 only
 *	- a client of HTTP/1.0 gets BODY_CHUNKED as until-close; one of HTTP/1.1 gets BODY_UNTIL_CLOSE as chunks
 *	- to HEAD, 204 and 304 body bytes are dropped; with BODY_NONE a Content-Length field of HEAD and 304 goes
 *	  through
 * Body and END follow each head but 1xx; the END of a tunnel is optional.  A message that would break the protocol
 * (control bytes in a field, more or fewer bytes than content_length) makes next() give CODEC_ERROR with
 * OUTPUT_MALFORMED or OUTPUT_LENGTH; nothing of the offending piece is written, and the connection is to be broken.
 * Sending in another order is our bug: CHECK.
 */
#ifndef SN_HTTP_HTTP1_H
#define SN_HTTP_HTTP1_H

#include <llhttp.h>

#include "base/strbuf.h"
#include "http/codec.h"

struct http1_limits {
	uint32_t request_line_max; /* bytes; 8192: 414 */
	uint32_t head_max;	   /* bytes with the request line; 16384: 431 */
	uint32_t fields_max;	   /* 100: 431 */
	uint32_t trailer_max;	   /* bytes of all trailers: 8192: 431 */
	uint32_t chunk_line_max;   /* a chunk-size line with extensions: 256 bytes: 400 */
};

struct http1; /* opaque: http1_codec() */

/* is_server: reads requests, writes responses.  The limits are copied. */
struct http1 *http1_new(bool is_server, const struct http1_limits *limits);
void http1_free(struct http1 *h); /* NULL ok */
/* As new, whatever it was in the middle of; the limits stay.  For a codec that another connection takes over. */
void http1_reset(struct http1 *h);
/* Between two messages, and of the next one nothing has come, not even an empty line before it. */
bool http1_is_at_rest(const struct http1 *h);
/* Other limits from the next message on: for a codec that is used by one connection after the other. */
void http1_set_limits(struct http1 *h, const struct http1_limits *limits);
struct codec *http1_codec(struct http1 *h);
/* Client side, before the response is read: the method decides whether it has a body (HEAD, CONNECT). */
void http1_expect_response(struct http1 *h, enum http_method request_method);
/*
 * The exchange is over on both sides (CODEC_END came, CODEC_SEND_END was sent): look at the next message.
 * Harmless on a fresh or faulty codec.
 */
void http1_next_message(struct http1 *h);
/* What was sent last cannot be written (OUTPUT_MALFORMED, OUTPUT_LENGTH), and nothing more will be. */
bool http1_has_output_fault(const struct http1 *h);
/* After a head was sent: the connection ends with this message ("Connection: close", until-close, a tunnel). */
bool http1_closes(const struct http1 *h);
size_t http1_buffered(const struct http1 *h); /* bytes fed and not yet consumed by events */
/* The slices of these; between two calls the caller may put a copy of the bytes in the place of one. */
struct slice_queue *http1_input(struct http1 *h);
/* What is to be written, for whoever takes it from there: output() of the codec without a move. */
struct slice_queue *http1_output(struct http1 *h);
/* Stop parsing: what was buffered and all that follows comes as CODEC_BODY (tunnel).  Between head and body only. */
void http1_enter_tunnel(struct http1 *h);

/*
 * Bytes that somebody else moves between the sockets: body bytes of a counted body, or bytes of a tunnel.  How many may
 * come, or go, past the codec now; 0: none, also while fed bytes wait for next(); UINT64_MAX: a tunnel's.
 */
uint64_t http1_in_left(const struct http1 *h);
uint64_t http1_out_left(const struct http1 *h);
/* So many came, or went: of a counted body no more than were left (CHECK); else nothing. */
void http1_in_skip(struct http1 *h, uint64_t bytes);
void http1_out_skip(struct http1 *h, uint64_t bytes);

#endif
