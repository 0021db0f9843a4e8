/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http2.h - HTTP/2 (RFC 9113, 8441) behind the codec calls, on nghttp2's session.
 *
 * Streams.  A stream belongs to its owner from CODEC_HEAD or CODEC_BAD_HEAD (server) or http2_open() (client) until
 * http2_forget(), which each of them needs exactly once, whatever happened to it before; after CODEC_ERROR too, or
 * http2_free() instead.  http2_set_owner() gives a pointer that comes back as event.owner.  Stream ids are handles: a
 * client's are not always those on the wire, which follow the order of the heads.
 *
 * Arenas.  Server: the arena given to next() takes the head that comes; the same one is to be given until CODEC_HEAD
 * (then it is the stream's, trailers go there too) or CODEC_BAD_HEAD / CODEC_RESET without owner (it may be reset).
 * While http2_holds_arena() a head is half read into it.  Client: heads and trailers go into the arena of
 * http2_open(); next() takes NULL.  After http2_forget() neither is touched.
 *
 * Events (all but HEAD, BODY, END, RESET, BAD_HEAD and SENT have stream 0):
 *	CODEC_HEAD	a request, or a response (1xx but 101 are followed by another)
 *	CODEC_BAD_HEAD	server: a request that is to be answered with codec_fault_status(fault) as usual: message has
 *			method only.  Nothing more of its body comes.
 *	CODEC_BODY	up to the credit; what was fed where it is not tiny: no copy
 *	CODEC_END	the peer's message is complete
 *	CODEC_RESET	the stream is dead: `error` is the RST_STREAM code, `fault` is why if we refused it, else NONE.
 *			is_retryable: the peer surely did not look at the request.  Without owner: a malformed
 *			request that nobody saw, for the log.  Comes at most once a stream; nothing of it follows.
 *	CODEC_SENT	`bytes` of its body went to output(): http2_queued() fell
 *	CODEC_SETTINGS	the peer's settings came: http2_peer_streams_max() and http2_peer_allows_connect() are new
 *	CODEC_GOAWAY	the peer takes no stream above `last_stream`; `error`.  Client: those above it get CODEC_RESET
 *			with is_retryable, the others go on, http2_open() gives 0 from now on.
 *	CODEC_PONG	the answer to http2_ping()
 *	CODEC_ERROR	the connection is dead: `fault`; a GOAWAY is in output(): write it, then close
 *	CODEC_CLOSED	the peer ended and no stream is open.  Before it, streams that the end cut off get CODEC_RESET
 *			BODY_TRUNCATED; on a server complete requests are still answered.
 * next() is to be called until CODEC_MORE after feed(), credit(), send() and output().  Then output().
 *
 * Reading.  All that is fed is taken at once: one slow stream does not hold up the others.  Body bytes that have no
 * credit are held here, bounded by the stream's window: window_bytes at first, doubled up to window_max each time that
 * a whole one was taken as fast as it came, and all streams together not more than window_growth_max above window_bytes
 * each.  Memory for bodies of a connection <= 2 * (max_concurrent_streams * window_bytes + window_growth_max), the 2
 * for slices of larger buffers (http2_keep()); tiny DATA frames are gathered.  The connection's own window is large and
 * given back at once.  An idle connection costs about 26 KiB, nearly all of it nghttp2's.  A caller that does not feed
 * while its socket is full bounds the rest.
 *
 * Judging.  What HTTP/1 refuses in a head is refused here, and what RFC 9113 8 calls malformed.  Requests that break
 * HTTP/2 (pseudo-headers, upper case, control bytes, connection-specific fields, TE but trailers, DATA against
 * content-length, trailers) are reset with PROTOCOL_ERROR; those that HTTP/1 would answer (400 target and Host, 414,
 * 417, 431, 501) come as CODEC_BAD_HEAD.  The connection goes on in both cases.  Crumbs of Cookie are joined.
 * Requests look like those of HTTP/1.1: scheme, authority and path are set, a Host field is added if :authority came
 * alone, framing is LENGTH, NONE (END_STREAM with the head) or CHUNKED, wants_keep_alive is true.
 *
 * Tunnels look like those of HTTP/1.  Reading: a request with :protocol=websocket is GET with upgrade "websocket",
 * framing NONE, Sec-WebSocket-Key (random) and -Version if missing; CONNECT is CONNECT with framing NONE.  CODEC_END
 * follows the head at once.  After the owner has sent 101 (for upgrade) or 2xx (for CONNECT) with BODY_TUNNEL the bytes
 * of the tunnel are CODEC_BODY and the peer's end is a second CODEC_END.  Any other answer is as usual.  Another
 * :protocol is 501.  Sending: a request with upgrade "websocket", or CONNECT, keeps its stream open over
 * CODEC_SEND_END; a 2xx comes as 101 (with Sec-WebSocket-Accept for the key of the request) or 2xx with BODY_TUNNEL;
 * then CODEC_SEND_BODY and CODEC_SEND_END are the tunnel's.  Other upgrades are dropped.
 *
 * Writing.  Connection-specific fields are dropped, names lower-cased, Host becomes :authority, TE is trailers or
 * nothing, content-length comes from the framing (HEAD and 304 with BODY_NONE: the field).  Body of HEAD, 204, 304 is
 * dropped.  A message that cannot be sent (control bytes, wrong length) resets its stream: CODEC_RESET with
 * OUTPUT_MALFORMED or OUTPUT_LENGTH.  What is sent on a dead stream is dropped.  Other orders are our bug: CHECK.
 * DATA leaves without a copy (tiny bodies: behind their head), streams take turns frame by frame: priorities are
 * neither obeyed nor sent.  Body bytes that an owner has sent are the owner's to bound (http2_queued(), CODEC_SENT);
 * one that forgets a stream before they left gives up the write time-out for it.
 *
 * Defences (faults.def H2_*), each a CODEC_ERROR with GOAWAY ENHANCE_YOUR_CALM.  Useful progress - body bytes in or
 * out, responses completed - and http2_tick() refill the budgets: see http2_flood.c.
 */
#ifndef SN_HTTP_HTTP2_H
#define SN_HTTP_HTTP2_H

#include "http/codec.h"

#define HTTP2_PREFACE	  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_LEN 24

/* RST_STREAM and GOAWAY codes (RFC 9113 7) that a caller sends or meets. */
enum http2_error {
	HTTP2_NO_ERROR = 0,
	HTTP2_PROTOCOL_ERROR = 1,
	HTTP2_INTERNAL_ERROR = 2,
	HTTP2_REFUSED_STREAM = 7,
	HTTP2_CANCEL = 8,
	HTTP2_ENHANCE_YOUR_CALM = 11,
};

struct http2_settings {
	/* server: more are refused (REFUSED_STREAM), or end the connection if the peer knew it; client: ours at most */
	uint32_t max_concurrent_streams;
	uint32_t window_bytes;		 /* of a stream at first; 65536 */
	uint32_t window_max;		 /* of a stream that is read; 262144 */
	uint32_t window_growth_max;	 /* all streams together above window_bytes; 4 MiB */
	uint32_t head_max;		 /* decoded bytes, 32 a field added (RFC 9113 6.5.2); 16384: 431 */
	uint32_t path_max;		 /* 8192: 414 */
	uint32_t fields_max;		 /* 100: 431 */
	uint32_t trailer_max;		 /* 8192 */
	bool allows_connect;		 /* server: announce extended CONNECT (RFC 8441) */
	bool is_tls;			 /* client: :scheme is https */
};

enum http2_shutdown {
	HTTP2_SHUTDOWN_NOTICE, /* GOAWAY 2^31-1: the peer is to open no more; those on the way are served */
	HTTP2_SHUTDOWN_FINAL,  /* GOAWAY with the last stream: later ones are not served */
};

struct http2; /* opaque: http2_codec() */

extern const struct http2_settings http2_defaults; /* 128 streams, the numbers above, no extended CONNECT, no TLS */

/* The settings are copied; they are in output() at once.  A server expects HTTP2_PREFACE first. */
struct http2 *http2_new(bool is_server, const struct http2_settings *s);
void http2_free(struct http2 *h); /* NULL ok */
struct codec *http2_codec(struct http2 *h);

/* --- streams --- */

/*
 * Client: a stream for a request whose head is sent next; its response lives in `a`.  0: none to be had (see
 * http2_can_open()); no event tells when that changes but CODEC_SETTINGS and the end of another stream.
 */
uint32_t http2_open(struct http2 *h, struct arena *a);
bool http2_can_open(const struct http2 *h);
/* Client: no stream will ever be opened here again (GOAWAY, ids used up, dead). */
bool http2_is_exhausted(const struct http2 *h);
void http2_set_owner(struct http2 *h, uint32_t stream, void *owner);
/*
 * The owner is gone and so is its arena.  Server: a response that was sent to its END still leaves, then the stream is
 * reset with NO_ERROR if the peer still sends.  Client: if the response came to its END, a request that was sent to
 * its END still leaves.  Otherwise the stream is reset: CANCEL, or the code of an earlier CODEC_SEND_RESET.
 */
void http2_forget(struct http2 *h, uint32_t stream);
/* Streams of the connection that are not over: open ones, and forgotten ones that still leave. */
uint32_t http2_stream_count(const struct http2 *h);

/* --- body, in --- */

/* The owner takes that many more bytes of the stream's body (or tunnel). */
void http2_credit(struct http2 *h, uint32_t stream, size_t bytes);
/*
 * Calls fn once for each slice that came since the last call and is kept in the codec; it may put a copy of the bytes
 * in the place of one, as with http1_input().  For receive buffers that must not be pinned.
 */
void http2_keep(struct http2 *h, void (*fn)(struct slice *s, void *arg), void *arg);
bool http2_holds_arena(const struct http2 *h);

/* --- body, out --- */

size_t http2_queued(const struct http2 *h, uint32_t stream); /* sent by the owner, not handed to output() */
/*
 * The slices of these; between two calls the caller may put a copy of the bytes in the place of one.  For receive
 * buffers that must not be pinned.  NULL: none.
 */
struct slice_queue *http2_unsent(struct http2 *h, uint32_t stream);
/* Like output(), but stops after the frame with which at least `max` bytes were added.  output() takes 64 KiB. */
void http2_output(struct http2 *h, struct slice_queue *out, size_t max);
/* http2_output() would have something (more). */
bool http2_wants_output(const struct http2 *h);
/*
 * After http2_output(): there are body bytes that only the peer's windows hold back; of any stream, and of this one.
 * What lasts longer than the write time-out is to be reset.
 */
bool http2_has_blocked_output(const struct http2 *h);
bool http2_is_blocked(const struct http2 *h, uint32_t stream);

/* --- the connection --- */

void http2_shutdown(struct http2 *h, enum http2_shutdown phase); /* NOTICE, then FINAL after a round trip */
/* One at a time: another before CODEC_PONG is not sent. */
void http2_ping(struct http2 *h);
/* Refill budgets with time; about once a second is right, never is allowed. */
void http2_tick(struct http2 *h, uint64_t now_ms);
uint32_t http2_peer_streams_max(const struct http2 *h); /* 100 before the first CODEC_SETTINGS */
bool http2_peer_allows_connect(const struct http2 *h);	/* client: extended CONNECT may be sent */

#endif
