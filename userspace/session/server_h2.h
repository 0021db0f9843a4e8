/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server_h2.h - an HTTP/2 server session: between server_h2.c (the connection), server_h2_calls.c (what the owner of a
 * request asks) and server_h2_waits.c (deadlines, and the graceful end).
 *
 * One flush a turn moves what the codec has to say to the socket's queue, up to SERVER_H2_QUEUE_MAX; so answers that
 * are made in one turn leave together, and what is behind that stays in the codec, where the streams take turns.
 * The connection is read all the time: windows bound what comes.
 *
 * The end.  Gracefully: GOAWAY that names no stream, then (a round trip or DRAIN_ROUND_MS later) one with the last,
 * and when the streams are over the connection closes.  At a fault: owners are told, GOAWAY goes out, and the
 * connection closes when the last owner has left.
 */
#ifndef SN_SESSION_SERVER_H2_H
#define SN_SESSION_SERVER_H2_H

#include "http/http2.h"
#include "session/closing.h"
#include "session/writing.h"
#include "session/early.h"
#include "session/server.h"
#include "session/wait.h"

#define SERVER_H2_TAG TAG('s', 'v', 'h', '2')

/* Bytes handed to the socket's queue at most: enough to fill one send. */
#define SERVER_H2_QUEUE_MAX (128 * 1024)
/* Streams of a worker are bounded by that many for each connection it may have. */
#define SERVER_H2_STREAMS_SHARE 128
/* How often streams are looked at for what does not move; less with short limits. */
#define SERVER_H2_TICK_MS 1000
#define DRAIN_ROUND_MS 1000
/* An answer to a PING is waited for that long, or the interval if that is less. */
#define PING_WAIT_MAX_MS 10000

enum server_h2_state {
	H2_OPEN,
	H2_ENDING, /* no events any more; owners leave and the output goes out */
	H2_LINGER, /* FIN sent; input is discarded */
	H2_CLOSING,
};

/* How far the graceful end is. */
enum server_h2_goodbye {
	GOODBYE_NONE,
	GOODBYE_NOTICE,	/* the peer is to open no more */
	GOODBYE_FINAL,	/* ... and later streams are not served */
};

struct server_h2_stream {
	struct http_stream hs; /* tag 0: the owner left, its last bytes wait for the peer's window */
	struct server_h2 *session;
	struct list node; /* session->streams or session->leaving */
	struct list sent_node; /* session->sent */
	struct arena *arena; /* of the request; the owner's */

	int64_t allowance;     /* body bytes that may still come */
	uint64_t read_ms;      /* since when the next one is waited for; 0: it is not */
	uint64_t blocked_ms;   /* since when the peer's window holds all output back; 0: it does not */
	size_t blocked_bytes;  /* of a leaving one: what was left then */
	struct pace in_pace, out_pace; /* of the bodies */
	uint64_t look_ms;      /* when the tick looked last; 0: never */
	uint64_t body_bytes, paced_bytes; /* of the response: from the owner; gone when the tick looked last */
	bool is_upload;	       /* bytes of the client are to come */
	bool is_head_ended; /* there was an END */
	bool is_request_done, is_head_sent, is_response_done;
	bool is_tunnel, is_broken, owes_continue;
};

struct server_h2 {
	uint32_t tag;
	enum server_h2_state state;
	enum server_h2_goodbye goodbye;
	struct server_session base;

	struct stream *stream; /* owned until on_closed() */
	struct http2 *codec;   /* owned */
	struct arena *arena;   /* of the head that is coming; owned until on_request() */
	struct list streams;   /* with an owner */
	struct list leaving;
	struct list sent;      /* those with body bytes that no flush has seen */
	struct task pump_task, flush_task;
	struct waits waits;    /* WATCH: the tick; HEAD: preface, half a head, lingering */

	uint64_t requests;
	unsigned uploads; /* streams with is_upload */
	uint64_t body_idle_ms, write_idle_ms, ping_interval_ms;
	uint64_t input_ms;     /* when bytes came last */
	uint64_t codec_ms;     /* of the last http2_tick() */
	uint64_t ping_ms;      /* since when a PING's answer is waited for; 0: it is not */
	uint64_t notice_ms;    /* when GOODBYE_NOTICE began */
	uint64_t thrown;       /* while lingering */
	struct early early;
	bool is_pumping;
	bool is_started;     /* the client's SETTINGS came */
	bool is_peer_done;   /* no more input */
	bool is_dead;	     /* no more output: close without a word */
	bool is_round_begun; /* the PING after GOODBYE_NOTICE was sent */
};

static inline struct loop *server_h2_loop(const struct server_h2 *s)
{
	return s->base.host->loop;
}

/* ---- server_h2.c ---- */

/* The codec has something to say: at the end of the turn. */
void server_h2_flush_later(struct server_h2 *s);
/* The client's doing, when nothing can be answered. */
void server_h2_report(struct server_h2 *s, const struct session_failure *f);
/* End now: all owners are told f.  is_dead: nothing can be written any more, or nobody reads it. */
void server_h2_break(struct server_h2 *s, const struct session_failure *f, bool is_dead);
/* Go on with the end if there is nothing left to wait for. */
void server_h2_end_check(struct server_h2 *s);
void server_h2_close(struct server_h2 *s);

/* ---- server_h2_calls.c ---- */

extern const struct http_stream_ops server_h2_ops;

/* The pool is empty, or a new request. */
struct server_h2_stream *server_h2_stream_new(struct server_h2 *s, uint32_t id, const struct message *m,
					      struct arena *a);
/* Bytes that the owner left behind are still watched: the client may never take them. */
void server_h2_stream_leave(struct server_h2_stream *st);
void server_h2_stream_fail(struct server_h2_stream *st, const struct session_failure *f);
void server_h2_set_upload(struct server_h2_stream *st, bool on);
/* After a flush: receive buffers are not to be pinned by bytes that wait for the peer. */
void server_h2_sent_keep(struct server_h2 *s);
/* Streams that have an owner no more and whose bytes are out; is_all: any. */
void server_h2_leaving_prune(struct server_h2 *s, bool is_all);

/* ---- server_h2_waits.c ---- */

void server_h2_waits_init(struct server_h2 *s);
/* After anything that may begin or end a wait of the connection. */
void server_h2_waits_check(struct server_h2 *s);
/* Begin the graceful end. */
void server_h2_goodbye(struct server_h2 *s);
void server_h2_goodbye_final(struct server_h2 *s);
void server_h2_pong(struct server_h2 *s);

#endif
