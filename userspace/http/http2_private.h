/* SPDX-License-Identifier: GPL-2.0-only */
/* http2_private.h - what the files of the HTTP/2 codec share; nobody else includes it. */
#ifndef SN_HTTP_HTTP2_PRIVATE_H
#define SN_HTTP_HTTP2_PRIVATE_H

#include <nghttp2/nghttp2.h>

#include "base/list.h"
#include "base/strbuf.h"
#include "http/http2.h"

#define FRAME_HEAD	9
#define STREAMS_FREE_MAX 64   /* stream structs kept for the next ones */
#define LENGTH_UNKNOWN	UINT64_MAX

/* Pseudo-header fields: bits of block.seen. */
enum pseudo {
	PSEUDO_METHOD = 1,
	PSEUDO_SCHEME = 2,
	PSEUDO_AUTHORITY = 4,
	PSEUDO_PATH = 8,
	PSEUDO_PROTOCOL = 16,
	PSEUDO_STATUS = 32,
};

enum tunnel {
	TUNNEL_NONE,
	TUNNEL_ASKED, /* the request wants one, the answer is not there */
	TUNNEL_OPEN,
};

/* What of a message has passed, each way. */
enum half {
	HALF_HEAD, /* not yet the final head */
	HALF_BODY,
	HALF_END,
};

/* Frames that cost us and may be sent without end: http2_flood.c. */
enum flood {
	FLOOD_RESET,
	FLOOD_SETTINGS,
	FLOOD_PING,
	FLOOD_EMPTY,
	FLOOD_WINDOW,
	FLOOD_FRAME,
	FLOOD_ERROR,
	FLOOD_COUNT,
};

struct http2_stream {
	struct http2_stream *next; /* of the same hash, or in the free list */
	struct list ready_node;	   /* in http2.ready: there is an event */
	struct list keep_node;	   /* in http2.kept: slices came since http2_keep() */
	uint32_t id;		   /* handle */
	int32_t wire;		   /* id on the wire; 0: no head was sent */
	void *owner;
	struct arena *arena; /* NULL when forgotten */

	/* what it is */
	uint8_t method;	      /* enum http_method of the request */
	uint8_t tunnel;	      /* enum tunnel */
	bool is_owned;	      /* from HEAD, BAD_HEAD or open to forget */
	bool is_wire_closed;  /* nghttp2 has let go of it, or never had it */
	bool is_active;	      /* counts in http2.active */
	bool is_dead;	      /* reset: nothing more goes either way */
	bool is_reset_due;    /* CODEC_RESET is to be given */
	bool is_retryable;
	uint8_t fault;	      /* enum codec_fault of RESET and BAD_HEAD */
	uint32_t error;	      /* of RESET */
	struct span detail;

	/* in */
	uint8_t in_half; /* enum half: of the wire */
	bool is_bad;	 /* a bad head: its body is dropped */
	bool is_head_due, is_first_end_due, is_end_given;
	uint8_t interim_count;
	struct message *message; /* with is_head_due */
	struct headers *trailers;
	struct slice_queue in; /* no credit yet */
	uint32_t in_kept;      /* slices of it that http2_keep() has seen */
	struct iobuf *in_tail; /* borrowed: the buffer of the last slice, if small pieces are gathered there */
	uint32_t in_tail_used;
	size_t credit;
	uint64_t in_left; /* by content-length, or LENGTH_UNKNOWN */
	uint32_t window;	 /* as announced to the peer */
	uint32_t taken_bytes;	 /* since it grew */

	/* out */
	uint8_t out_half;    /* enum half: what the owner sent */
	bool is_out_ended;   /* END_STREAM is on the wire */
	bool is_out_dropped; /* a body nobody gets */
	bool is_out_deferred; /* nghttp2 waits for http2_resume */
	bool is_end_pending; /* out_half is END, END_STREAM is not on the wire */
	bool is_end_wanted;  /* a tunnel that was asked for was refused: END came before */
	struct slice_queue out;
	uint64_t out_left;
	size_t sent_bytes; /* for CODEC_SENT */
	void *trailer_block; /* owned; see http2_write.c */
	size_t trailer_count;
	char *websocket_key; /* owned; client: what was not sent */
};

/* The header block that is being decoded: one at a time on a connection. */
struct http2_block {
	struct http2_stream *stream; /* NULL: decoded, but nobody wants it */
	struct arena *arena;
	struct message *message; /* NULL: trailers */
	struct headers *fields;
	unsigned seen; /* enum pseudo */
	bool has_regular;
	uint8_t fault; /* enum codec_fault */
	struct span detail;
	struct span scheme, authority, path, protocol;
	uint32_t bytes; /* decoded, 32 a field */
	uint32_t bytes_max;
	uint32_t cookies;
	size_t cookie_bytes;
};

struct http2 {
	uint32_t tag;
	struct codec codec;
	bool is_server;
	bool is_eof;
	bool is_holding_data; /* nghttp2 is to give control frames only */
	bool is_exhausted;
	bool is_ping_sent;
	bool has_peer_settings;
	uint8_t fault; /* enum codec_fault: the connection is dead */
	struct http2_settings settings;
	nghttp2_session *session;

	/* events of the connection */
	bool is_settings_due, is_goaway_due, is_pong_due;
	uint32_t goaway_last, goaway_error;

	/* in */
	struct slice_queue in;
	struct slice feeding; /* borrowed: what nghttp2 looks at */
	uint64_t in_taken;    /* bytes of `in` that are gone */
	uint64_t frame_at, request_at; /* in_taken before the frame, and before the first one of the request's head */
	uint32_t preface_left;
	uint8_t head[FRAME_HEAD]; /* of the frame that is being fed */
	uint32_t head_len;	  /* bytes of it */
	uint32_t frame_left;	  /* payload bytes not yet fed */
	bool has_data;		  /* the DATA frame had more than padding */
	uint32_t block_frames;	  /* CONTINUATION frames of the block */
	uint32_t block_bytes;	  /* compressed */
	struct arena *head_arena; /* what next() was given */
	bool is_arena_used;	  /* a head is half read into it */
	struct http2_block block;

	/* streams */
	struct http2_stream **buckets; /* owned; by handle */
	uint32_t bucket_mask;
	uint32_t count;	 /* structs in it */
	uint32_t active; /* of these, not closed on the wire, and those that are to start */
	uint32_t next_handle;
	struct http2_stream *free_list;
	uint32_t free_count;
	struct list ready, kept;
	size_t grown_bytes; /* windows above window_bytes */

	/* out */
	struct slice_queue out;
	struct iobuf *gather; /* one reference; where small things are written */
	uint32_t gather_used;
	size_t out_max;	   /* http2_output() stops here */
	size_t queued;	   /* body bytes of all streams */
	uint32_t pending_ends; /* streams with is_end_pending */
	size_t reply_bytes; /* answers to frames that wait in `out` */
	nghttp2_nv *fields; /* owned; of the head that is written */
	size_t fields_cap;

	/* defences */
	uint32_t flood[FLOOD_COUNT];
	uint32_t flood_bytes; /* of bodies, that make up one step of progress */
	uint64_t tick_ms;
};

#define TAG_HTTP2 TAG('h', 't', 'p', '2')

static inline struct http2 *http2_of(struct codec *c)
{
	struct http2 *h = container_of(c, struct http2, codec);

	OBJ_CHECK(h, TAG_HTTP2);
	return h;
}

/* http2_stream.c */
struct http2_stream *http2_stream_find(const struct http2 *h, uint32_t id);
struct http2_stream *http2_stream_of_wire(const struct http2 *h, int32_t wire); /* NULL: unknown, closed */
struct http2_stream *http2_stream_add(struct http2 *h, int32_t wire);
/* Free it if neither nghttp2 nor an owner has it. */
void http2_stream_release(struct http2 *h, struct http2_stream *s);
void http2_streams_fini(struct http2 *h);
void http2_stream_ready(struct http2 *h, struct http2_stream *s);
void http2_stream_drop_in(struct http2 *h, struct http2_stream *s);
void http2_stream_drop_out(struct http2 *h, struct http2_stream *s);
/* Dead from here: RST_STREAM goes out if the wire still has it, CODEC_RESET comes if there is an owner. */
void http2_stream_fail(struct http2 *h, struct http2_stream *s, enum codec_fault fault, uint32_t error);
/* The same because of what the peer sent in it, which is counted: no peer may make us begin and drop work for ever. */
void http2_stream_refuse(struct http2 *h, struct http2_stream *s, enum codec_fault fault);
/* nghttp2 has closed it. */
void http2_stream_closed(struct http2 *h, struct http2_stream *s, uint32_t error);
/* One event of a ready stream; false if it has none any more. */
bool http2_stream_event(struct http2 *h, struct http2_stream *s, struct codec_event *out);
void http2_stream_push(struct http2 *h, struct http2_stream *s, struct slice data);

/* http2_input.c: what was fed, frame by frame */
void http2_callbacks_set(nghttp2_session_callbacks *c);
/* Takes one frame, or what is there of it.  False: nothing more to take. */
bool http2_input_step(struct http2 *h);

/* http2_head.c */
void http2_block_begin(struct http2 *h, struct http2_stream *s, bool is_trailers);
void http2_block_field(struct http2 *h, struct span name, struct span value, bool is_secret);
void http2_block_end(struct http2 *h, bool is_last);

/* http2_judge.c: what the collected fields say; NONE is good */
enum codec_fault http2_request_judge(struct http2 *h, struct http2_block *b, bool is_last);
enum codec_fault http2_response_judge(struct http2_block *b, bool is_last);

/* http2_write.c */
void http2_write(struct http2 *h, struct codec_send *s);
/* Client: the answer is no tunnel, so the request has ended. */
void http2_tunnel_refused(struct http2 *h, struct http2_stream *s);
int http2_data_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		    nghttp2_data_source *source, void *arg);

/* http2.c */
/* Take control frames and heads out of nghttp2, DATA not. */
void http2_control_drain(struct http2 *h);
void http2_gather(struct http2 *h, const void *bytes, size_t len);
void http2_gather_queue(struct http2 *h, struct slice_queue *from, size_t len);
/* The connection is dead: a GOAWAY is the last thing that is written. */
void http2_fail(struct http2 *h, enum codec_fault fault);

/* http2_flood.c */
bool http2_flood_add(struct http2 *h, enum flood f); /* false: too much, and http2_fail() was called */
void http2_flood_refill(struct http2 *h, uint32_t steps); /* useful progress */
void http2_flood_bytes(struct http2 *h, size_t bytes);	  /* of bodies */
/* A DATA frame left; is_all: with all that its owner had sent. */
void http2_flood_sent(struct http2 *h, size_t bytes, bool is_all);
/* A frame head was read: count and judge it.  False: the connection is dead. */
bool http2_flood_frame(struct http2 *h, uint32_t len, uint8_t type, uint8_t flags);

#endif
