/* SPDX-License-Identifier: GPL-2.0-only */
/* http1.c - the HTTP/1 codec: which bytes are a head, a body, a chunk, a tunnel. */
#include "http/http1.h"

#include <stddef.h>

#include "base/check.h"
#include "base/mem.h"
#include "http/http1_private.h"

#define INTERIM_MAX	  16  /* 1xx heads before a final one */
#define DETAIL_MAX	  128 /* bytes of a refused block shown in a log */
#define CHUNK_DIGITS_MAX  16

/* What a step of next() did. */
enum verdict {
	AGAIN,	 /* another state follows */
	EVENT,	 /* *out is filled */
	STARVED, /* needs more bytes */
};

typedef enum verdict step_fn(struct http1 *h, struct arena *a, struct codec_event *out);

static struct http1 *http1_of(struct codec *c)
{
	struct http1 *h = container_of(c, struct http1, codec);

	OBJ_CHECK(h, TAG_HTTP1);
	return h;
}

static enum verdict fail(struct http1 *h, enum codec_fault fault, struct codec_event *out)
{
	h->fault = (uint8_t)fault;
	h->in_state = HTTP1_IN_FAULT;
	slice_queue_clear(&h->in);
	strbuf_fini(&h->partial);
	out->type = CODEC_ERROR;
	out->fault = fault;
	return EVENT;
}

static enum verdict give(struct http1 *h, enum codec_event_type type, enum http1_in next, struct codec_event *out)
{
	h->in_state = (uint8_t)next;
	out->type = type;
	return EVENT;
}

static enum verdict give_end(struct http1 *h, struct arena *a, struct codec_event *out)
{
	out->trailers = arena_alloc(a, sizeof(*out->trailers));
	headers_init(out->trailers, a);
	return give(h, CODEC_END, HTTP1_IN_WAIT, out);
}

/* --- blocks: a head, a chunk-size line, trailers ------------------------------------------------------------- */

static enum codec_fault scan_fault(const struct http1 *h, enum scan_result r)
{
	static const uint8_t of_bytes[] = {
		[SCAN_BARE_CR] = CODEC_FAULT_BARE_CR, [SCAN_BARE_LF] = CODEC_FAULT_BARE_LF,
		[SCAN_FOLD] = CODEC_FAULT_OBS_FOLD,   [SCAN_NUL] = CODEC_FAULT_NUL,
		[SCAN_CONTROL] = CODEC_FAULT_CONTROL_BYTE,
	};

	if (r < SCAN_LINE_TOO_LONG)
		return of_bytes[r];
	if (h->in_state == HTTP1_IN_CHUNK_LINE)
		return CODEC_FAULT_CHUNK_LINE_TOO_LONG;
	if (h->in_state == HTTP1_IN_TRAILERS)
		return r == SCAN_TOO_MANY_LINES ? CODEC_FAULT_TOO_MANY_FIELDS : CODEC_FAULT_TRAILERS_TOO_LARGE;
	if (r == SCAN_TOO_MANY_LINES)
		return CODEC_FAULT_TOO_MANY_FIELDS;
	return r == SCAN_LINE_TOO_LONG ? CODEC_FAULT_URI_TOO_LONG : CODEC_FAULT_HEAD_TOO_LARGE;
}

/* The beginning of what was refused, for the log. */
static struct span block_detail(struct http1 *h, struct arena *a)
{
	struct span seen = strbuf_span(&h->partial);

	if (seen.len == 0 && h->in.count)
		seen = slice_span(*slice_queue_at(&h->in, 0));
	return arena_span(a, span_of(seen.ptr, MIN(seen.len, (size_t)DETAIL_MAX)));
}

/*
 * Judge bytes until the block is complete.  On DONE *out is the block in one piece, until block_drop(): in the first
 * slice if it all came in that, else in `partial`, where cut blocks wait so that no receive buffer is pinned.
 */
static enum scan_result block_gather(struct http1 *h, struct span *out)
{
	while (h->in.count) {
		struct slice *s = slice_queue_at(&h->in, 0);
		size_t used = 0;
		enum scan_result r = scan_run(&h->scan, s->ptr, s->len, &used);

		if (r != SCAN_MORE && r != SCAN_DONE)
			return r;
		if (r == SCAN_DONE && h->partial.len == 0) {
			*out = span_of((const char *)s->ptr, used);
			h->block_bytes = (uint32_t)used;
			return r;
		}
		strbuf_add(&h->partial, s->ptr, used);
		slice_queue_consume(&h->in, used);
		if (r == SCAN_DONE) {
			*out = strbuf_span(&h->partial);
			h->block_bytes = 0;
			return r;
		}
	}
	return SCAN_MORE;
}

static void block_drop(struct http1 *h)
{
	if (h->block_bytes)
		slice_queue_consume(&h->in, h->block_bytes);
	else
		strbuf_fini(&h->partial);
	h->block_bytes = 0;
	h->has_block = false;
}

/* --- heads ----------------------------------------------------------------------------------------------------- */

/* One empty line before a request line is forgiven (RFC 9112 2.2): old clients send it after a body. */
static enum codec_fault empty_line_skip(struct http1 *h)
{
	while (h->in.count && h->end_seen < 2) {
		uint8_t c = *slice_queue_at(&h->in, 0)->ptr;

		if (h->end_seen == 0 && c != '\r')
			return CODEC_FAULT_NONE;
		if (h->end_seen == 0 && h->has_skipped_line)
			return CODEC_FAULT_REQUEST_LINE;
		if (h->end_seen == 1 && c != '\n')
			return CODEC_FAULT_BARE_CR;
		slice_queue_consume(&h->in, 1);
		if (h->end_seen++ == 1) {
			h->has_skipped_line = true;
			h->end_seen = 0;
		}
	}
	return CODEC_FAULT_NONE;
}

static enum http1_in body_state(const struct message *m)
{
	switch (m->framing) {
	case BODY_LENGTH:
		return m->content_length ? HTTP1_IN_LENGTH : HTTP1_IN_END;
	case BODY_CHUNKED:
		return HTTP1_IN_CHUNK_LINE;
	case BODY_UNTIL_CLOSE:
		return HTTP1_IN_UNTIL_CLOSE;
	case BODY_TUNNEL:
		return HTTP1_IN_TUNNEL;
	default:
		return HTTP1_IN_END;
	}
}

static enum codec_fault head_parse(struct http1 *h, struct arena *a, struct span block, struct codec_event *out)
{
	char *copy = arena_alloc(a, block.len);
	struct http1_head head = {
		.bytes = span_of(copy, block.len),
		.lines = h->scan.lines,
		.first_line = h->scan.first_line,
		.arena = a,
		.message = arena_alloc(a, sizeof(struct message)),
	};
	enum codec_fault fault;

	memcpy(copy, block.ptr, block.len);
	block_drop(h);
	message_init(head.message, a);
	if (h->is_server)
		fault = http1_request_parse(&head);
	else
		fault = http1_response_parse(&head, h->request.method);
	out->message = fault ? NULL : head.message;
	out->detail = head.detail;
	return fault;
}

/* The head is good: what follows it. */
static enum verdict head_done(struct http1 *h, struct codec_event *out)
{
	const struct message *m = out->message;

	h->in_left = m->content_length;
	if (h->is_server) {
		h->request = (struct http1_request){
			.method = (uint8_t)m->method,
			.version = (uint8_t)m->version,
			.wants_keep_alive = m->wants_keep_alive,
		};
		return give(h, CODEC_HEAD, body_state(m), out);
	}
	if (m->status / 100 == 1 && m->status != 101) {
		if (h->interim_count++ == INTERIM_MAX)
			return fail(h, CODEC_FAULT_INTERIM_TOO_MANY, out);
		return give(h, CODEC_HEAD, HTTP1_IN_HEAD, out);
	}
	if (m->framing == BODY_TUNNEL)
		http1_enter_tunnel(h);
	return give(h, CODEC_HEAD, body_state(m), out);
}

static enum verdict step_head(struct http1 *h, struct arena *a, struct codec_event *out)
{
	enum codec_fault fault;
	enum scan_result r;
	struct span block;

	if (!h->has_block && h->is_server) {
		fault = empty_line_skip(h);
		if (fault)
			return fail(h, fault, out);
	}
	if (!h->in.count)
		return STARVED;
	if (!h->has_block) {
		h->has_block = true;
		scan_begin(&h->scan, SCAN_HEAD, h->is_server ? h->limits.request_line_max : UINT32_MAX,
			   h->limits.head_max, h->limits.fields_max + 1);
	}
	r = block_gather(h, &block);
	if (r == SCAN_MORE)
		return STARVED;
	if (r != SCAN_DONE) {
		out->detail = block_detail(h, a);
		return fail(h, scan_fault(h, r), out);
	}
	fault = head_parse(h, a, block, out);
	return fault ? fail(h, fault, out) : head_done(h, out);
}

/* --- bodies ---------------------------------------------------------------------------------------------------- */

/* Hand on at most `max` bytes of the first slice, without a copy. */
static void data_take(struct http1 *h, uint64_t max, struct codec_event *out)
{
	struct slice *s = slice_queue_at(&h->in, 0);

	out->type = CODEC_BODY;
	if (s->len <= max) {
		out->data = slice_queue_pop(&h->in);
		return;
	}
	out->data = slice_part(*s, 0, (uint32_t)max);
	slice_queue_consume(&h->in, max);
}

static enum verdict step_counted(struct http1 *h, struct arena *a, struct codec_event *out)
{
	(void)a;
	if (!h->in.count)
		return STARVED;
	data_take(h, h->in_left, out);
	h->in_left -= out->data.len;
	if (h->in_left == 0)
		h->in_state = h->in_state == HTTP1_IN_LENGTH ? HTTP1_IN_END : HTTP1_IN_CHUNK_END;
	return EVENT;
}

static enum verdict step_uncounted(struct http1 *h, struct arena *a, struct codec_event *out)
{
	(void)a;
	if (!h->in.count)
		return STARVED;
	data_take(h, UINT64_MAX, out);
	return EVENT;
}

static enum verdict step_end(struct http1 *h, struct arena *a, struct codec_event *out)
{
	return give_end(h, a, out);
}

static enum verdict step_none(struct http1 *h, struct arena *a, struct codec_event *out)
{
	(void)h, (void)a, (void)out;
	return STARVED;
}

/*
 * Hex digits, then nothing or an extension (RFC 9112 7.1).  White space before the ';' is "bad" there and refused here:
 * parsers disagree about it, which is how requests are smuggled.
 */
static bool chunk_line_parse(struct span line, uint64_t *out_size)
{
	struct span digits = span_of(line.ptr, span_find(line, ';'));

	return digits.len <= CHUNK_DIGITS_MAX && span_hex_to_u64(digits, out_size) && *out_size <= INT64_MAX;
}

static enum verdict step_chunk_line(struct http1 *h, struct arena *a, struct codec_event *out)
{
	enum scan_result r;
	struct span block;
	bool is_good;

	if (!h->in.count)
		return STARVED;
	if (!h->has_block) {
		h->has_block = true;
		scan_begin(&h->scan, SCAN_LINE, h->limits.chunk_line_max, UINT32_MAX, 1);
	}
	r = block_gather(h, &block);
	if (r == SCAN_MORE)
		return STARVED;
	if (r != SCAN_DONE) {
		out->detail = block_detail(h, a);
		return fail(h, scan_fault(h, r), out);
	}
	is_good = chunk_line_parse(span_of(block.ptr, block.len - 2), &h->in_left);
	if (!is_good) {
		out->detail = arena_span(a, span_of(block.ptr, block.len - 2));
		block_drop(h);
		return fail(h, CODEC_FAULT_CHUNK_SIZE, out);
	}
	block_drop(h);
	h->in_state = h->in_left ? HTTP1_IN_CHUNK_DATA : HTTP1_IN_TRAILERS;
	return AGAIN;
}

static enum verdict step_chunk_end(struct http1 *h, struct arena *a, struct codec_event *out)
{
	(void)a;
	while (h->in.count) {
		if (*slice_queue_at(&h->in, 0)->ptr != "\r\n"[h->end_seen])
			return fail(h, CODEC_FAULT_CHUNK_END, out);
		slice_queue_consume(&h->in, 1);
		if (h->end_seen++ == 1) {
			h->end_seen = 0;
			h->in_state = HTTP1_IN_CHUNK_LINE;
			return AGAIN;
		}
	}
	return STARVED;
}

static enum verdict step_trailers(struct http1 *h, struct arena *a, struct codec_event *out)
{
	enum codec_fault fault;
	enum scan_result r;
	struct span block;

	if (!h->in.count)
		return STARVED;
	if (!h->has_block) {
		h->has_block = true;
		scan_begin(&h->scan, SCAN_TRAILERS, UINT32_MAX, h->limits.trailer_max, h->limits.fields_max);
	}
	r = block_gather(h, &block);
	if (r == SCAN_MORE)
		return STARVED;
	if (r != SCAN_DONE) {
		out->detail = block_detail(h, a);
		return fail(h, scan_fault(h, r), out);
	}
	block = arena_span(a, block);
	block_drop(h);
	give_end(h, a, out);
	fault = http1_trailers_parse(block, out->trailers, &out->detail);
	return fault ? fail(h, fault, out) : EVENT;
}

static enum verdict step_fault(struct http1 *h, struct arena *a, struct codec_event *out)
{
	(void)a;
	return fail(h, h->fault, out);
}

/* The peer has ended and its bytes are used up: what that means here. */
static enum verdict eof_judge(struct http1 *h, struct arena *a, struct codec_event *out)
{
	switch (h->in_state) {
	case HTTP1_IN_HEAD:
		if (h->has_block || h->end_seen)
			return fail(h, CODEC_FAULT_HEAD_TRUNCATED, out);
		return give(h, CODEC_CLOSED, HTTP1_IN_HEAD, out);
	case HTTP1_IN_UNTIL_CLOSE:
		return give_end(h, a, out);
	case HTTP1_IN_TUNNEL:
		give_end(h, a, out);
		h->in_state = HTTP1_IN_TUNNEL_END;
		return EVENT;
	case HTTP1_IN_WAIT:
	case HTTP1_IN_TUNNEL_END:
		return STARVED;
	default:
		return fail(h, CODEC_FAULT_BODY_TRUNCATED, out);
	}
}

static enum codec_event_type http1_next(struct codec *c, struct arena *a, struct codec_event *out)
{
	static step_fn *const steps[HTTP1_IN_COUNT] = {
		[HTTP1_IN_HEAD] = step_head,
		[HTTP1_IN_LENGTH] = step_counted,
		[HTTP1_IN_UNTIL_CLOSE] = step_uncounted,
		[HTTP1_IN_CHUNK_LINE] = step_chunk_line,
		[HTTP1_IN_CHUNK_DATA] = step_counted,
		[HTTP1_IN_CHUNK_END] = step_chunk_end,
		[HTTP1_IN_TRAILERS] = step_trailers,
		[HTTP1_IN_END] = step_end,
		[HTTP1_IN_WAIT] = step_none,
		[HTTP1_IN_TUNNEL] = step_uncounted,
		[HTTP1_IN_TUNNEL_END] = step_none,
		[HTTP1_IN_FAULT] = step_fault,
	};
	struct http1 *h = http1_of(c);
	enum verdict v;

	*out = (struct codec_event){ .type = CODEC_MORE, .stream = 1 };
	if (h->out_fault && !h->fault)
		(void)fail(h, h->out_fault, out);
	do
		v = steps[h->in_state](h, a, out);
	while (v == AGAIN);
	if (out->type == CODEC_MORE && h->is_eof)
		(void)eof_judge(h, a, out);
	if (out->type == CODEC_ERROR) {
		out->message = NULL;
		out->trailers = NULL;
	}
	return out->type;
}

static void http1_feed(struct codec *c, struct slice data)
{
	struct http1 *h = http1_of(c);

	CHECK(!h->is_eof);
	if (h->in_state == HTTP1_IN_FAULT)
		slice_put(&data);
	else
		slice_queue_push(&h->in, data);
}

static void http1_feed_eof(struct codec *c)
{
	http1_of(c)->is_eof = true;
}

static void http1_send(struct codec *c, struct codec_send *s)
{
	http1_write(http1_of(c), s);
}

static void http1_move_output(struct codec *c, struct slice_queue *out)
{
	slice_queue_move(out, &http1_of(c)->out);
}

static void http1_fini(struct codec *c)
{
	struct http1 *h = http1_of(c);

	slice_queue_fini(&h->in);
	slice_queue_fini(&h->out);
	strbuf_fini(&h->partial);
	iobuf_put(h->scratch);
	h->scratch = NULL;
}

static const struct codec_ops http1_ops = {
	.feed = http1_feed,
	.feed_eof = http1_feed_eof,
	.next = http1_next,
	.send = http1_send,
	.output = http1_move_output,
	.fini = http1_fini,
};

static void begin(struct http1 *h, bool is_server, const struct http1_limits *limits)
{
	*h = (struct http1){
		.tag = TAG_HTTP1,
		.codec = { &http1_ops },
		.is_server = is_server,
		.limits = *limits,
		.request = { .version = HTTP_VERSION_1_1, .wants_keep_alive = true },
	};
	strbuf_init(&h->partial);
}

struct http1 *http1_new(bool is_server, const struct http1_limits *limits)
{
	struct http1 *h = mem_alloc(sizeof(*h));

	begin(h, is_server, limits);
	return h;
}

void http1_reset(struct http1 *h)
{
	const struct http1_limits limits = h->limits;
	struct iobuf *scratch;
	uint32_t scratch_used = h->scratch_used;

	OBJ_CHECK(h, TAG_HTTP1);
	http1_scratch_rest(h);
	scratch = h->scratch;
	h->scratch = NULL;
	http1_fini(&h->codec);
	begin(h, h->is_server, &limits);
	h->scratch = scratch;
	h->scratch_used = scratch_used;
}

void http1_free(struct http1 *h)
{
	if (!h)
		return;
	http1_fini(&h->codec);
	h->tag = 0;
	free(h);
}

void http1_set_limits(struct http1 *h, const struct http1_limits *limits)
{
	OBJ_CHECK(h, TAG_HTTP1);
	CHECK(h->in_state == HTTP1_IN_HEAD && !h->has_block);
	h->limits = *limits;
}

struct codec *http1_codec(struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return &h->codec;
}

void http1_expect_response(struct http1 *h, enum http_method request_method)
{
	OBJ_CHECK(h, TAG_HTTP1);
	CHECK(!h->is_server);
	h->request.method = (uint8_t)request_method;
}

void http1_next_message(struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	if (h->in_state == HTTP1_IN_FAULT || h->out_state == HTTP1_OUT_FAULT)
		return;
	CHECK(h->in_state == HTTP1_IN_WAIT || (h->in_state == HTTP1_IN_HEAD && !h->has_block));
	CHECK(h->out_state == HTTP1_OUT_DONE || h->out_state == HTTP1_OUT_HEAD);
	/* An idle connection keeps no memory for queues; malloc's per-thread cache makes the next ones cheap. */
	if (h->in.count == 0)
		slice_queue_fini(&h->in);
	if (h->out.count == 0)
		slice_queue_fini(&h->out);
	h->in_state = HTTP1_IN_HEAD;
	h->out_state = HTTP1_OUT_HEAD;
	h->has_skipped_line = false;
	h->interim_count = 0;
	h->out_is_dropped = false;
	h->out_closes = false;
	h->request = (struct http1_request){ .version = HTTP_VERSION_1_1, .wants_keep_alive = true };
}

bool http1_is_at_rest(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return h->in_state == HTTP1_IN_HEAD && h->out_state == HTTP1_OUT_HEAD && h->in.bytes == 0 && !h->has_block &&
	       h->end_seen == 0 && !h->has_skipped_line;
}

bool http1_has_output_fault(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return h->out_state == HTTP1_OUT_FAULT;
}

size_t http1_buffered(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return h->in.bytes + h->partial.len;
}

struct slice_queue *http1_output(struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return &h->out;
}

struct slice_queue *http1_input(struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return &h->in;
}

void http1_enter_tunnel(struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	CHECK(!h->has_block && h->in_state != HTTP1_IN_FAULT);
	h->in_state = HTTP1_IN_TUNNEL;
	h->out_state = HTTP1_OUT_BODY;
	h->out_framing = BODY_TUNNEL;
	h->out_is_dropped = false;
	iobuf_put(h->scratch);
	h->scratch = NULL;
}

uint64_t http1_in_left(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	if (h->in.count || h->is_eof)
		return 0;
	return h->in_state == HTTP1_IN_LENGTH ? h->in_left : h->in_state == HTTP1_IN_TUNNEL ? UINT64_MAX : 0;
}

uint64_t http1_out_left(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	if (h->out_state != HTTP1_OUT_BODY || h->out_is_dropped)
		return 0;
	return h->out_framing == BODY_LENGTH ? h->out_left : h->out_framing == BODY_TUNNEL ? UINT64_MAX : 0;
}

void http1_in_skip(struct http1 *h, uint64_t bytes)
{
	OBJ_CHECK(h, TAG_HTTP1);
	if (h->in_state != HTTP1_IN_LENGTH)
		return;
	CHECK(bytes <= h->in_left);
	h->in_left -= bytes;
	if (h->in_left == 0)
		h->in_state = HTTP1_IN_END;
}

void http1_out_skip(struct http1 *h, uint64_t bytes)
{
	OBJ_CHECK(h, TAG_HTTP1);
	if (h->out_state != HTTP1_OUT_BODY || h->out_framing != BODY_LENGTH)
		return;
	CHECK(bytes <= h->out_left);
	h->out_left -= bytes;
}

bool http1_closes(const struct http1 *h)
{
	OBJ_CHECK(h, TAG_HTTP1);
	return h->out_closes;
}
