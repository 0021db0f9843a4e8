/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http2_input.c - what was fed, frame by frame: our bounds first, then nghttp2, then what its callbacks say.
 * nghttp2 gets no more than one frame at a time, so that the arena of a head is chosen before the next one comes.
 */
#include "base/check.h"
#include "http/http2_private.h"

#define FRAME_MAX 16384 /* SETTINGS_MAX_FRAME_SIZE: we never announce another */

/* --- frames ------------------------------------------------------------------------------------------------------ */

static enum codec_fault recv_fault(ssize_t rv)
{
	switch (rv) {
	case NGHTTP2_ERR_FLOODED:
		return CODEC_FAULT_H2_OUTPUT_FLOOD;
	case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
		return CODEC_FAULT_H2_PREFACE;
	case NGHTTP2_ERR_FLOW_CONTROL:
		return CODEC_FAULT_H2_FLOW_CONTROL;
	default:
		return CODEC_FAULT_H2_PROTOCOL;
	}
}

static bool recv_bytes(struct http2 *h, const uint8_t *bytes, size_t len)
{
	ssize_t rv = nghttp2_session_mem_recv(h->session, bytes, len);

	CHECK(rv != NGHTTP2_ERR_NOMEM);
	if (rv < 0)
		http2_fail(h, recv_fault(rv)); /* unless a callback has said why */
	else
		CHECK((size_t)rv == len);
	return !h->fault;
}

static bool frame_head_judge(struct http2 *h, const uint8_t *head)
{
	h->frame_left = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
	if (h->frame_left > FRAME_MAX) {
		http2_fail(h, CODEC_FAULT_H2_FRAME_SIZE);
		return false;
	}
	return http2_flood_frame(h, h->frame_left, head[3], head[4]);
}

static void in_consume(struct http2 *h, uint32_t len)
{
	h->in_taken += len;
	slice_queue_consume(&h->in, len);
}

static bool preface_take(struct http2 *h)
{
	static const char preface[] = HTTP2_PREFACE;
	struct slice *s = slice_queue_at(&h->in, 0);
	uint32_t len = MIN(s->len, h->preface_left);

	if (memcmp(s->ptr, &preface[HTTP2_PREFACE_LEN - h->preface_left], len) != 0) {
		http2_fail(h, CODEC_FAULT_H2_PREFACE);
		return false;
	}
	h->preface_left -= len;
	in_consume(h, len);
	return true;
}

static bool payload_take(struct http2 *h)
{
	struct slice *first = slice_queue_at(&h->in, 0);
	uint32_t len = MIN(first->len, h->frame_left);
	bool is_good;

	h->feeding = *first;
	h->frame_left -= len;
	is_good = recv_bytes(h, first->ptr, len);
	h->feeding = (struct slice){ 0 };
	if (is_good)
		in_consume(h, len);
	return is_good;
}

/* The frame's head lies in one piece: it and what is there of its payload go at once. */
static bool frame_take(struct http2 *h)
{
	struct slice *first = slice_queue_at(&h->in, 0);

	h->frame_at = h->in_taken;
	if (!frame_head_judge(h, first->ptr))
		return false;
	h->frame_left += FRAME_HEAD;
	return payload_take(h);
}

bool http2_input_step(struct http2 *h)
{
	struct slice *first;
	uint32_t len;

	if (h->fault || h->in.count == 0)
		return false;
	if (h->preface_left)
		return preface_take(h);
	if (h->frame_left)
		return payload_take(h);
	first = slice_queue_at(&h->in, 0);
	if (h->head_len == 0 && first->len >= FRAME_HEAD)
		return frame_take(h);
	len = MIN(first->len, FRAME_HEAD - h->head_len);
	memcpy(h->head + h->head_len, first->ptr, len);
	if (h->head_len == 0)
		h->frame_at = h->in_taken;
	h->head_len += len;
	in_consume(h, len);
	if (h->head_len < FRAME_HEAD)
		return true;
	h->head_len = 0;
	return frame_head_judge(h, h->head) && recv_bytes(h, h->head, FRAME_HEAD);
}

/* --- callbacks: header blocks ------------------------------------------------------------------------------------ */

/* An error of ours; the fault is in h->fault, and nothing is asked of nghttp2 any more. */
static int verdict(const struct http2 *h)
{
	return h->fault ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	static const nghttp2_extpri fair = { .urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1 };
	struct http2 *h = arg;
	struct http2_stream *s;

	CHECK(frame->hd.type == NGHTTP2_HEADERS);
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
		s = http2_stream_of_wire(h, frame->hd.stream_id);
		CHECK(s); /* nghttp2 asks for its own streams only, and all of them are ours */
		http2_block_begin(h, s, s->in_half != HALF_HEAD);
		return 0;
	}
	s = http2_stream_add(h, frame->hd.stream_id);
	(void)nghttp2_session_set_stream_user_data(session, s->wire, s);
	/* Incremental streams of one urgency take turns; what the client wishes is not asked. */
	(void)nghttp2_session_change_extpri_stream_priority(session, s->wire, &fair, 1);
	CHECK(h->head_arena);
	s->arena = h->head_arena;
	h->is_arena_used = true;
	h->request_at = h->frame_at;
	http2_block_begin(h, s, false);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
		     uint8_t flags, void *arg)
{
	nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
	struct http2 *h = arg;

	(void)session, (void)frame;
	http2_block_field(h, span_of((const char *)n.base, n.len), span_of((const char *)v.base, v.len),
			  flags & NGHTTP2_NV_FLAG_NO_INDEX);
	return verdict(h);
}

/* --- callbacks: bodies ------------------------------------------------------------------------------------------- */

static void data_judge(struct http2 *h, struct http2_stream *s, size_t len)
{
	if (!h->is_server && s->in_half == HALF_HEAD) {
		http2_stream_refuse(h, s, CODEC_FAULT_MESSAGE_ORDER);
	} else if (s->in_left != LENGTH_UNKNOWN) {
		if (len > s->in_left)
			http2_stream_refuse(h, s, CODEC_FAULT_BODY_LENGTH);
		else
			s->in_left -= len;
	}
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t wire, const uint8_t *data, size_t len,
			 void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = http2_stream_of_wire(h, wire);

	(void)flags;
	h->has_data = true;
	/* The connection's window only bounds what is on the way: a stream that is not read must not close it. */
	if (nghttp2_session_consume_connection(session, len))
		http2_fail(h, CODEC_FAULT_H2_PROTOCOL);
	if (!s || s->is_dead)
		return verdict(h);
	data_judge(h, s, len);
	if (s->is_dead || s->is_bad || !s->is_owned) {
		/* Nobody reads it: its window closes and it comes to rest. */
		return verdict(h);
	}
	CHECK(data >= h->feeding.ptr && data + len <= h->feeding.ptr + h->feeding.len);
	http2_stream_push(h, s, slice_part(h->feeding, (uint32_t)(data - h->feeding.ptr), (uint32_t)len));
	return verdict(h);
}

static void in_end(struct http2 *h, struct http2_stream *s)
{
	if (s->is_dead || s->in_half == HALF_END)
		return;
	if (s->in_half == HALF_HEAD || (s->in_left != LENGTH_UNKNOWN && s->in_left > 0)) {
		http2_stream_refuse(h, s,
				    s->in_half == HALF_HEAD ? CODEC_FAULT_MESSAGE_ORDER : CODEC_FAULT_BODY_LENGTH);
		return;
	}
	s->in_half = HALF_END;
	if (!h->is_server)
		http2_flood_refill(h, 1);
	http2_stream_ready(h, s);
}

/* --- callbacks: whole frames ------------------------------------------------------------------------------------- */

static void headers_came(struct http2 *h, const nghttp2_frame *frame)
{
	struct http2_stream *s = h->block.stream;
	bool is_last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!s)
		return;
	http2_block_end(h, is_last);
	if (is_last)
		in_end(h, s);
}

static void pong_came(struct http2 *h, const nghttp2_frame *frame)
{
	static const uint8_t none[8];

	if (!(frame->hd.flags & NGHTTP2_FLAG_ACK) || !h->is_ping_sent ||
	    memcmp(frame->ping.opaque_data, none, sizeof(none)) != 0)
		return;
	h->is_ping_sent = false;
	h->is_pong_due = true;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s;

	(void)session;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		headers_came(h, frame);
		break;
	case NGHTTP2_DATA:
		s = http2_stream_of_wire(h, frame->hd.stream_id);
		if (s && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
			in_end(h, s);
		else if (!h->has_data) /* padding only: as if it were empty */
			(void)http2_flood_add(h, FLOOD_EMPTY);
		break;
	case NGHTTP2_RST_STREAM:
		s = http2_stream_of_wire(h, frame->hd.stream_id);
		if (h->is_server && s && s->out_half != HALF_END)
			(void)http2_flood_add(h, FLOOD_RESET);
		break;
	case NGHTTP2_SETTINGS:
		if (!(frame->hd.flags & NGHTTP2_FLAG_ACK))
			h->is_settings_due = h->has_peer_settings = true;
		break;
	case NGHTTP2_PING:
		pong_came(h, frame);
		break;
	case NGHTTP2_GOAWAY:
		h->is_goaway_due = h->is_exhausted = true;
		h->goaway_last = (uint32_t)frame->goaway.last_stream_id;
		h->goaway_error = frame->goaway.error_code;
		break;
	default:
		break;
	}
	return verdict(h);
}

static int on_stream_close(nghttp2_session *session, int32_t wire, uint32_t error, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = http2_stream_of_wire(h, wire);

	if (!s)
		return 0;
	(void)nghttp2_session_set_stream_user_data(session, wire, NULL);
	http2_stream_closed(h, s, error);
	return 0;
}

/* --- callbacks: what left ---------------------------------------------------------------------------------------- */

static enum codec_fault error_fault(uint32_t error)
{
	switch (error) {
	case NGHTTP2_FRAME_SIZE_ERROR:
		return CODEC_FAULT_H2_FRAME_SIZE;
	case NGHTTP2_COMPRESSION_ERROR:
		return CODEC_FAULT_H2_COMPRESSION;
	case NGHTTP2_FLOW_CONTROL_ERROR:
		return CODEC_FAULT_H2_FLOW_CONTROL;
	case NGHTTP2_ENHANCE_YOUR_CALM: /* entries of a SETTINGS frame: the one bound that is left to it */
		return CODEC_FAULT_H2_SETTINGS_FLOOD;
	default:
		return CODEC_FAULT_H2_PROTOCOL;
	}
}

static void out_ended(struct http2 *h, struct http2_stream *s)
{
	s->is_out_ended = true;
	h->pending_ends -= s->is_end_pending;
	s->is_end_pending = false;
	if (h->is_server)
		http2_flood_refill(h, 1);
	/* The answer is complete, and nobody wants the rest of the request. */
	if (h->is_server && !s->is_owned && s->in_half != HALF_END)
		http2_stream_fail(h, s, CODEC_FAULT_NONE, HTTP2_NO_ERROR);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
		/* nghttp2 ends the connection. */
		h->fault = h->fault ? h->fault : (uint8_t)error_fault(frame->goaway.error_code);
		return 0;
	}
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		s = http2_stream_of_wire(h, frame->hd.stream_id);
		/* nghttp2 found the peer's frames wrong: it must not make us start and drop work for ever. */
		if (s && !s->is_dead) {
			s->fault = (uint8_t)error_fault(frame->rst_stream.error_code);
			(void)http2_flood_add(h, FLOOD_ERROR);
		}
		return verdict(h);
	}
	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		s = http2_stream_of_wire(h, frame->hd.stream_id);
		if (s)
			out_ended(h, s);
	}
	return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct http2 *h = arg;
	struct http2_stream *s = http2_stream_of_wire(h, frame->hd.stream_id);

	(void)session, (void)error;
	if (frame->hd.type == NGHTTP2_HEADERS && s)
		http2_stream_fail(h, s, CODEC_FAULT_OUTPUT_MALFORMED, HTTP2_INTERNAL_ERROR);
	return 0;
}

void http2_callbacks_set(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
	nghttp2_session_callbacks_set_send_data_callback(c, http2_data_send);
}
