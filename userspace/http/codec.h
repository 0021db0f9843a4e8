/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * codec.h - bytes in, events out; messages in, bytes out.  No I/O, no clock.
 * The same four calls for HTTP/1 and HTTP/2 (http1.h, http2.h: what each adds):
 *
 *	feed()   bytes from the peer (takes the slices), or the peer's end
 *	next()   the next event, until CODEC_MORE
 *	send()   one piece of an outgoing message
 *	output() the bytes to write
 *
 * An error is final: next() keeps returning it.
 */
#ifndef SN_HTTP_CODEC_H
#define SN_HTTP_CODEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/iobuf.h"
#include "http/message.h"

enum codec_event_type {
	CODEC_MORE,	/* nothing until more is fed */
	CODEC_HEAD,	/* message: a request, or a response (1xx too); lives in the arena given to next() */
	CODEC_BODY,	/* data: body bytes, reference is the caller's.  Also the bytes of a tunnel. */
	CODEC_END,	/* message is complete; trailers (may be empty) */
	CODEC_RESET,	/* h2: the stream is dead: error, fault, is_retryable */
	CODEC_ERROR,	/* fault: what was wrong */
	CODEC_CLOSED,	/* the peer ended between messages: not an error */
	/* h2 only, see http2.h */
	CODEC_BAD_HEAD, /* fault: a request to be refused with an answer */
	CODEC_SENT,	/* bytes: body bytes of the stream that went to output() */
	CODEC_SETTINGS,
	CODEC_GOAWAY, /* last_stream, error */
	CODEC_PONG,
};

/* faults.def: CODEC_FAULT(ID, status, "text") - what a client is told; for responses all are 502. */
enum codec_fault {
	CODEC_FAULT_NONE = 0,
#define CODEC_FAULT(ID, status, text) CODEC_FAULT_##ID,
#include "http/faults.def"
#undef CODEC_FAULT
	CODEC_FAULT_COUNT,
};

struct codec_event {
	enum codec_event_type type;
	uint32_t stream; /* h1: always 1 */
	struct message *message;
	struct slice data;
	struct headers *trailers; /* with CODEC_END: never NULL, may be empty */
	enum codec_fault fault;
	struct span detail; /* for the log, in the arena or static; bytes are not escaped */

	/* h2 */
	void *owner;	      /* of the stream: http2_set_owner() */
	uint32_t error;	      /* RESET, GOAWAY: code of RFC 9113 7 */
	uint32_t last_stream; /* GOAWAY */
	uint64_t at;	      /* HEAD of HTTP/2, server: bytes that were fed before its first frame */
	size_t bytes;	      /* SENT */
	bool is_retryable;    /* RESET: the peer did not look at the request */
};

enum codec_send_type {
	CODEC_SEND_HEAD, /* message; framing decides the delimiter the codec writes */
	CODEC_SEND_BODY, /* data (reference is the codec's) */
	CODEC_SEND_END,	 /* end of the message; trailers or NULL */
	CODEC_SEND_RESET,
};

struct codec_send {
	enum codec_send_type type;
	uint32_t stream;
	const struct message *message;
	struct slice data;
	const struct headers *trailers;
	uint32_t error; /* h2 RESET: code of RFC 9113 7 */
};

struct codec;

struct codec_ops {
	void (*feed)(struct codec *c, struct slice data);
	void (*feed_eof)(struct codec *c);
	enum codec_event_type (*next)(struct codec *c, struct arena *a, struct codec_event *out);
	void (*send)(struct codec *c, struct codec_send *s);
	void (*output)(struct codec *c, struct slice_queue *out); /* moves what is ready (h2: some of it) */
	void (*fini)(struct codec *c);
};

struct codec {
	const struct codec_ops *ops;
};

unsigned codec_fault_status(enum codec_fault f);
const char *codec_fault_text(enum codec_fault f);
const char *codec_fault_name(enum codec_fault f); /* lower-case word for logs and metrics */

#endif
