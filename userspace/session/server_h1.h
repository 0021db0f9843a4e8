/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h1.h - an HTTP/1 server session: between server_h1.c (what comes in) and server_h1_calls.c (what the
 * owner asks). */
#ifndef SN_SESSION_SERVER_H1_H
#define SN_SESSION_SERVER_H1_H

#include "session/closing.h"
#include "session/writing.h"
#include "session/early.h"
#include "session/server.h"
#include "session/wait.h"

#define SERVER_H1_TAG TAG('s', 'v', 'h', '1')

/* A request that follows at once may be answered behind output that still waits, up to this. */
#define PIPELINE_QUEUE_MAX (64 * 1024)
/* What is read of a body that nobody wants before the connection is given up. */
#define UNWANTED_BODY_MAX (64 * 1024)

enum server_h1_state {
	S_HEAD,	    /* waiting for a request head, or in the middle of one */
	S_EXCHANGE, /* an owner has the stream */
	S_REST,	    /* the owner is done; output is flushed and the rest of the request body drained */
	S_LINGER,   /* FIN sent; input is discarded */
	S_CLOSING,
};

/* What comes of the request. */
enum server_h1_request {
	REQUEST_COMES,
	REQUEST_UNASKED, /* the client sends no body before it has got a 100 */
	REQUEST_LENT,	 /* somebody else moves the rest of the body */
	REQUEST_DONE,
};

/* What went of the answer. */
enum server_h1_answer {
	ANSWER_NONE, /* or interim heads */
	ANSWER_BEGUN,
	ANSWER_DONE,
};

/* What follows the answer. */
enum server_h1_after {
	AFTER_REQUEST, /* the next one */
	AFTER_LINGER,  /* the end of the connection, said with care */
	AFTER_CLOSE,   /* the end that the client wants: no need to linger */
};

struct server_h1 {
	uint32_t tag;
	uint8_t state;	 /* enum server_h1_state */
	uint8_t request; /* enum server_h1_request */
	uint8_t answer;	 /* enum server_h1_answer */
	uint8_t after;	 /* enum server_h1_after */
	struct server_session base;

	struct stream *stream; /* owned until on_closed() */
	struct http1 *codec; /* owned; NULL while no byte of a request is here */
	struct arena *arena;	     /* of the head that is coming; owned until on_request() */
	struct arena *message_arena; /* of the request in S_EXCHANGE; the owner's */
	struct waits waits;
	struct task pump_task;
	struct http_stream hs;
	struct early early;

	int64_t allowance; /* body bytes that may be delivered */
	uint64_t body_left; /* of a counted body: bytes that did not come yet */
	uint64_t unwanted; /* body bytes discarded in S_REST, input discarded in S_LINGER */
	uint32_t body_idle_ms, write_idle_ms;
	uint32_t requests; /* so far */
	bool is_pumping, is_tunnel, is_peer_done, is_broken;
};

_Static_assert(sizeof(struct server_h1) <= 304, "an idle connection is cheap");

extern const struct http_stream_ops server_h1_ops;

static inline struct server_h1 *server_h1_of(const struct http_stream *hs)
{
	struct server_h1 *s = container_of(hs, struct server_h1, hs);

	OBJ_CHECK(s, SERVER_H1_TAG);
	return s;
}

/* Bytes of the client that wait for their turn. */
static inline size_t server_h1_buffered(const struct server_h1 *s)
{
	return s->codec ? http1_buffered(s->codec) : 0;
}

static inline bool server_h1_is_last(const struct server_h1 *s)
{
	return s->after != AFTER_REQUEST;
}

/* No further request on this connection. */
static inline void server_h1_be_last(struct server_h1 *s)
{
	if (s->after == AFTER_REQUEST)
		s->after = AFTER_LINGER;
}

/* Begin to wait for a request head. */
void server_h1_head_wait(struct server_h1 *s, bool is_first);
/* Move what the codec has to say to the socket's queue. */
void server_h1_flush(struct server_h1 *s);
/* In S_REST: go on when the output is short enough and the request was read to its end. */
void server_h1_rest_check(struct server_h1 *s);
void server_h1_close(struct server_h1 *s, bool with_reset);
/* Tell the owner, once. */
void server_h1_fail(struct server_h1 *s, const struct session_failure *f);

#endif
