/* SPDX-License-Identifier: GPL-2.0-only */
/* client_h2.h - an HTTP/2 client session, between client_h2.c (connection) and client_h2_stream.c (requests). */
#ifndef SN_SESSION_CLIENT_H2_H
#define SN_SESSION_CLIENT_H2_H

#include "http/http2.h"
#include "session/client_session.h"

#define CLIENT_H2_TAG	     TAG('c', 'l', 'h', '2')
#define CLIENT_H2_STREAM_TAG TAG('c', 'h', '2', 's')

/* Of the connection; the waits of a stream are READ and WRITE. */
#define WAIT_PING WAIT_WATCH /* nothing came for so long: ask whether the peer lives */
#define WAIT_PONG WAIT_HEAD

enum client_h2_state {
	H2_CONNECTING,
	H2_OPEN,
	H2_LEAVING, /* GOAWAY is being written */
	H2_CLOSING,
};

struct client_h2 {
	uint32_t tag;
	enum client_h2_state state;
	struct client_session base;

	struct stream *stream; /* owned until on_closed() */
	struct http2 *h; /* owned */
	struct waits waits;
	struct task pump_task, flush_task;
	struct list streams; /* struct client_h2_stream.node; those whose owner was told of the end too */
	struct list fresh;   /* .out_node: their heads are in the codec */
	struct list unsent;  /* .out_node: their heads wait for the socket, in order */
	struct client_settings settings; /* of the newest request; without spans */

	unsigned stream_count;
	unsigned body_count; /* streams whose response has a head and no end */
	uint64_t requests;
	bool is_pumping;
	bool needs_pump; /* calls may have caused events */
	bool is_counted_idle; /* in pool->idle_count */
	bool is_broken;	      /* dead: all owners were told */
	bool has_settings;    /* the peer's came */
	bool is_peer_done;
	int end_err;	      /* with is_peer_done: how; 0: in peace */
};

struct client_h2_stream {
	uint32_t tag;
	struct http_stream hs;
	struct client_h2 *c;
	struct list node;
	struct list out_node;
	struct waits waits; /* READ and WRITE */
	struct arena *arena; /* the owner's */

	const struct message *held_head; /* waits for the peer's SETTINGS */
	uint64_t read_timeout_ms, write_timeout_ms;
	int64_t allowance;
	uint64_t heard_before; /* bytes of the connection when the request began */
	uint64_t head_from, head_to; /* its head is between these bytes of the stream, or will be; 0: not written */
	bool is_reused, is_held_ended;
	bool is_broken; /* the owner was told */
	bool has_answer, has_head, is_tunnel;
	bool is_request_done, is_response_done;
	bool is_upgrade_refused;
};

/* Events that calls caused, and bytes to write, later in this turn. */
void client_h2_pump_later(struct client_h2 *c);
void client_h2_flush_later(struct client_h2 *c);
/* A stream was freed, or is not open any more: keep the connection, or end it. */
void client_h2_settle(struct client_h2 *c);

static inline struct loop *client_h2_loop(const struct client_h2 *c)
{
	return c->base.pool->loop;
}

/* client_h2_stream.c */
struct http_stream *client_h2_stream_open(struct client_h2 *c, const struct client_settings *settings,
					  struct arena *a);
void client_h2_stream_fail(struct client_h2_stream *st, const struct session_failure *f);
/* An event of the codec that is about one stream. */
void client_h2_stream_event(struct client_h2_stream *st, enum codec_event_type type, struct codec_event *ev);
/* The peer's SETTINGS came: what waited for them goes. */
void client_h2_stream_release(struct client_h2_stream *st);
/* The head is out. */
void client_h2_stream_sent(struct client_h2_stream *st);

#endif
