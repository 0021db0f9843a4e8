/* SPDX-License-Identifier: GPL-2.0-only */
/* http1_private.h - what the files of the HTTP/1 codec share; nobody else includes it. */
#ifndef SN_HTTP_HTTP1_PRIVATE_H
#define SN_HTTP_HTTP1_PRIVATE_H

#include "http/http1.h"
#include "http/scan.h"

/* What is expected next from the peer. */
enum http1_in {
	HTTP1_IN_HEAD,
	HTTP1_IN_LENGTH,
	HTTP1_IN_UNTIL_CLOSE,
	HTTP1_IN_CHUNK_LINE,
	HTTP1_IN_CHUNK_DATA,
	HTTP1_IN_CHUNK_END, /* CRLF after the data */
	HTTP1_IN_TRAILERS,
	HTTP1_IN_END, /* of a message without bytes left: CODEC_END is due */
	HTTP1_IN_WAIT, /* for http1_next_message() */
	HTTP1_IN_TUNNEL,
	HTTP1_IN_TUNNEL_END, /* CODEC_END was given */
	HTTP1_IN_FAULT,
	HTTP1_IN_COUNT,
};

/* What the caller sends next. */
enum http1_out {
	HTTP1_OUT_HEAD,
	HTTP1_OUT_BODY,
	HTTP1_OUT_DONE,
	HTTP1_OUT_FAULT, /* nothing more is written */
};

/* What a head of the one direction decides about the other: see http1_parse.c and http1_write.c. */
struct http1_request {
	uint8_t method;	 /* enum http_method */
	uint8_t version; /* enum http_version */
	bool wants_keep_alive;
};

struct http1 {
	uint32_t tag;
	struct codec codec;
	bool is_server;
	bool is_eof;
	struct http1_limits limits;

	/* in */
	uint8_t in_state;      /* enum http1_in */
	uint8_t fault;	       /* enum codec_fault */
	bool has_skipped_line; /* the one empty line before a request line */
	uint8_t end_seen;      /* bytes of the CRLF after chunk data, or of the empty line */
	bool has_block;	       /* a block is being judged: `scan` is running */
	uint8_t interim_count; /* 1xx heads of this response */
	struct http1_request request; /* server: the one that is answered; client: the one that was sent */
	uint64_t in_left;      /* bytes of the body or of the chunk */
	uint32_t block_bytes;  /* of the first slice: what block_done() drops */
	struct scan scan;
	struct slice_queue in;
	struct strbuf partial; /* a block that was cut: empty and without memory otherwise */

	/* out */
	uint8_t out_state;   /* enum http1_out */
	uint8_t out_framing; /* enum body_framing: as written */
	bool out_is_dropped; /* a body nobody gets: HEAD, 204, 304 */
	bool out_closes;     /* the connection ends with this message */
	uint8_t out_fault;   /* enum codec_fault; next() reports it */
	uint64_t out_left;   /* LENGTH: bytes of the body not sent yet */
	struct iobuf *scratch; /* one reference; where heads and chunk lines are written; may be NULL */
	uint32_t scratch_used;
	struct slice_queue out;
};

#define TAG_HTTP1 TAG('h', 't', 'p', '1')

/* One head to be judged. */
struct http1_head {
	struct span bytes; /* in the arena; with the empty line at the end */
	uint32_t lines;	   /* without it */
	uint32_t first_line; /* bytes of the first line */
	struct arena *arena;
	struct message *message; /* initialised; filled */
	struct span detail;	 /* of a fault */
};

/* What the fields say about framing and the connection, for requests and responses alike. */
struct http1_fields {
	const struct header *host, *length, *expect, *upgrade;
	unsigned host_count, length_count, coding_count;
	bool has_close, has_keep_alive, names_upgrade;
};

/* http1_parse.c */
enum codec_fault http1_request_parse(struct http1_head *head);
enum codec_fault http1_response_parse(struct http1_head *head, enum http_method request_method);
/* Fields after the last chunk; `block` is in the arena and ends with the empty line. */
enum codec_fault http1_trailers_parse(struct span block, struct headers *trailers, struct span *out_detail);

/* http1_target.c: fills scheme, authority and path; `host` may be NULL. */
enum codec_fault http1_target_judge(struct message *m, struct arena *a, const struct header *host);

/* http1_fields.c */
void http1_fields_collect(const struct headers *h, struct http1_fields *out);
/* Content-Length and Transfer-Encoding into framing (LENGTH, CHUNKED or NONE: no word of it) and content_length. */
enum codec_fault http1_framing_judge(struct message *m, const struct http1_fields *f);

/* http1_write.c */
/* No message is under way: an ordinary buffer stays for the next one. */
void http1_scratch_rest(struct http1 *h);
void http1_write(struct http1 *h, struct codec_send *s);

#endif
