/* SPDX-License-Identifier: GPL-2.0-only */
/* http2_stream.c - the streams of an HTTP/2 connection: who has them, what is held for them, what they tell. */
#include "base/mem.h"
#include "http/http2_private.h"

#define BUCKETS_MIN   16
#define TAIL_SIZE     4096 /* where small pieces that wait are gathered */
#define TAIL_PIECE_MAX 1024

/* --- the table --------------------------------------------------------------------------------------------------- */

/* Handles are odd and follow each other: their upper bits spread evenly. */
static struct http2_stream **bucket_of(const struct http2 *h, uint32_t id)
{
	return &h->buckets[id >> 1 & h->bucket_mask];
}

struct http2_stream *http2_stream_find(const struct http2 *h, uint32_t id)
{
	struct http2_stream *s = h->buckets ? *bucket_of(h, id) : NULL;

	while (s && s->id != id)
		s = s->next;
	return s;
}

struct http2_stream *http2_stream_of_wire(const struct http2 *h, int32_t wire)
{
	return wire ? nghttp2_session_get_stream_user_data(h->session, wire) : NULL;
}

static void buckets_grow(struct http2 *h)
{
	uint32_t old_count = h->buckets ? h->bucket_mask + 1 : 0;
	struct http2_stream **old = h->buckets;

	if (h->count < old_count)
		return;
	h->bucket_mask = MAX(old_count * 2, BUCKETS_MIN) - 1;
	h->buckets = mem_array(h->bucket_mask + 1, sizeof(struct http2_stream *));
	for (uint32_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct http2_stream *s = old[i];

			old[i] = s->next;
			s->next = *bucket_of(h, s->id);
			*bucket_of(h, s->id) = s;
		}
	}
	free(old);
}

struct http2_stream *http2_stream_add(struct http2 *h, int32_t wire)
{
	struct http2_stream *s = h->free_list;

	buckets_grow(h);
	if (s) {
		h->free_list = s->next;
		h->free_count--;
	} else {
		s = mem_alloc(sizeof(*s));
	}
	*s = (struct http2_stream){
		.id = wire ? (uint32_t)wire : h->next_handle,
		.wire = wire,
		.is_wire_closed = wire == 0,
		.is_active = true,
		.window = h->settings.window_bytes,
		.in_left = LENGTH_UNKNOWN,
		.out_left = LENGTH_UNKNOWN,
	};
	if (!wire)
		h->next_handle += 2;
	list_init(&s->ready_node);
	list_init(&s->keep_node);
	s->next = *bucket_of(h, s->id);
	*bucket_of(h, s->id) = s;
	h->count++;
	h->active++;
	return s;
}

static void deactivate(struct http2 *h, struct http2_stream *s)
{
	h->active -= s->is_active;
	s->is_active = false;
	h->pending_ends -= s->is_end_pending;
	s->is_end_pending = false;
}

static void stream_fini(struct http2 *h, struct http2_stream *s)
{
	list_remove(&s->ready_node);
	list_remove(&s->keep_node);
	h->queued -= s->out.bytes;
	slice_queue_fini(&s->in);
	slice_queue_fini(&s->out);
	free(s->trailer_block);
	free(s->websocket_key);
}

void http2_stream_release(struct http2 *h, struct http2_stream *s)
{
	struct http2_stream **at = bucket_of(h, s->id);

	if (s->is_owned || !s->is_wire_closed || s->is_reset_due)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	h->count--;
	deactivate(h, s);
	h->grown_bytes -= s->window - h->settings.window_bytes;
	stream_fini(h, s);
	if (h->free_count == STREAMS_FREE_MAX) {
		free(s);
		return;
	}
	s->next = h->free_list;
	h->free_list = s;
	h->free_count++;
}

void http2_streams_fini(struct http2 *h)
{
	for (uint32_t i = 0; h->buckets && i <= h->bucket_mask; i++) {
		while (h->buckets[i]) {
			struct http2_stream *s = h->buckets[i];

			h->buckets[i] = s->next;
			stream_fini(h, s);
			free(s);
		}
	}
	while (h->free_list) {
		struct http2_stream *s = h->free_list;

		h->free_list = s->next;
		free(s);
	}
	free(h->buckets);
	h->buckets = NULL;
	h->count = h->active = h->free_count = 0;
}

/* --- what is held ------------------------------------------------------------------------------------------------ */

void http2_stream_ready(struct http2 *h, struct http2_stream *s)
{
	if (list_is_empty(&s->ready_node))
		list_append(&h->ready, &s->ready_node);
}

void http2_stream_drop_in(struct http2 *h, struct http2_stream *s)
{
	(void)h;
	slice_queue_clear(&s->in);
	s->in_tail = NULL;
	s->in_kept = 0;
	s->credit = 0;
	list_remove(&s->keep_node);
}

/* Nobody will get these: for the owner they are gone as if they had been sent. */
void http2_stream_drop_out(struct http2 *h, struct http2_stream *s)
{
	if (s->out.bytes == 0)
		return;
	h->queued -= s->out.bytes;
	s->sent_bytes += s->out.bytes;
	slice_queue_clear(&s->out);
	if (s->is_owned && !s->is_dead)
		http2_stream_ready(h, s);
}

/* A frame of a byte must not hold a buffer: such pieces are gathered while they wait. */
static bool tail_add(struct http2_stream *s, struct slice data)
{
	struct slice *last;

	if (data.len > TAIL_PIECE_MAX || s->in.count == 0)
		return false;
	last = slice_queue_at(&s->in, s->in.count - 1);
	if (!s->in_tail || last->buf != s->in_tail || last->ptr + last->len != s->in_tail->data + s->in_tail_used ||
	    s->in_tail->size - s->in_tail_used < data.len) {
		struct iobuf *b = iobuf_new(TAIL_SIZE);

		memcpy(b->data, data.ptr, data.len);
		slice_queue_push(&s->in, (struct slice){ b, b->data, data.len });
		s->in_tail = b;
		s->in_tail_used = data.len;
		return true;
	}
	memcpy(last->ptr + last->len, data.ptr, data.len);
	last->len += data.len;
	s->in.bytes += data.len;
	s->in_tail_used += data.len;
	return true;
}

void http2_stream_push(struct http2 *h, struct http2_stream *s, struct slice data)
{
	if (tail_add(s, data)) {
		slice_put(&data);
		return;
	}
	slice_queue_push(&s->in, data);
	s->in_tail = NULL;
	if (list_is_empty(&s->keep_node))
		list_append(&h->kept, &s->keep_node);
	if (s->credit)
		http2_stream_ready(h, s);
}

/* --- its death --------------------------------------------------------------------------------------------------- */

static void die(struct http2 *h, struct http2_stream *s, enum codec_fault fault, uint32_t error)
{
	s->is_dead = true;
	if (!s->fault)
		s->fault = (uint8_t)fault;
	s->error = error;
	s->is_head_due = s->is_first_end_due = false;
	http2_stream_drop_in(h, s);
	http2_stream_drop_out(h, s);
	/* A request that nobody saw is told about only if it was refused here. */
	if (s->is_owned || (h->is_server && fault && s->arena)) {
		s->is_reset_due = true;
		http2_stream_ready(h, s);
	}
}

void http2_stream_fail(struct http2 *h, struct http2_stream *s, enum codec_fault fault, uint32_t error)
{
	if (s->is_dead)
		return;
	die(h, s, fault, error);
	if (!s->is_wire_closed)
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->wire, error);
}

void http2_stream_refuse(struct http2 *h, struct http2_stream *s, enum codec_fault fault)
{
	http2_stream_fail(h, s, fault, HTTP2_PROTOCOL_ERROR);
	(void)http2_flood_add(h, FLOOD_ERROR);
}

void http2_stream_closed(struct http2 *h, struct http2_stream *s, uint32_t error)
{
	/* A peer that has all it wants of our message says so with NO_ERROR (RFC 9113 8.1). */
	bool is_clean = error == HTTP2_NO_ERROR && s->in_half == HALF_END && (s->is_out_ended || !h->is_server);

	s->is_wire_closed = true;
	deactivate(h, s);
	if (h->block.stream == s)
		h->block.stream = NULL;
	if (!s->is_dead && !is_clean) {
		s->is_retryable = !h->is_server && error == HTTP2_REFUSED_STREAM;
		die(h, s, CODEC_FAULT_NONE, error);
	} else if (!s->is_dead) {
		http2_stream_drop_out(h, s);
	}
	http2_stream_release(h, s);
}

/* --- what it tells ----------------------------------------------------------------------------------------------- */

/* A stream that is read as fast as it comes gets a larger window, as long as all of them together have room. */
static void window_grow(struct http2 *h, struct http2_stream *s)
{
	size_t room = h->settings.window_growth_max - h->grown_bytes;
	uint32_t more = (uint32_t)MIN((size_t)MIN(s->window, h->settings.window_max - s->window), room);

	if (more == 0 || s->in.count || s->in_half == HALF_END || s->is_wire_closed)
		return;
	if (nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, s->wire, (int32_t)(s->window + more)))
		return;
	s->window += more;
	h->grown_bytes += more;
}

static void body_give(struct http2 *h, struct http2_stream *s, struct codec_event *out)
{
	struct slice *first = slice_queue_at(&s->in, 0);

	out->type = CODEC_BODY;
	if (first->len <= s->credit) {
		out->data = slice_queue_pop(&s->in);
		s->in_kept -= s->in_kept > 0;
	} else {
		out->data = slice_part(*first, 0, (uint32_t)s->credit);
		slice_queue_consume(&s->in, s->credit);
	}
	if (s->in.count == 0)
		s->in_tail = NULL;
	s->credit -= out->data.len;
	s->taken_bytes += out->data.len;
	http2_flood_bytes(h, out->data.len);
	if (s->is_wire_closed)
		return;
	(void)nghttp2_session_consume_stream(h->session, s->wire, out->data.len);
	if (s->taken_bytes >= s->window) {
		s->taken_bytes = 0;
		window_grow(h, s);
	}
}

static void end_give(struct http2_stream *s, struct codec_event *out)
{
	out->type = CODEC_END;
	out->trailers = s->trailers;
	if (s->is_first_end_due || !out->trailers) {
		out->trailers = arena_alloc(s->arena, sizeof(*out->trailers));
		headers_init(out->trailers, s->arena);
	}
	if (s->is_first_end_due)
		s->is_first_end_due = false;
	else
		s->is_end_given = true;
}

static void head_give(const struct http2 *h, struct http2_stream *s, struct codec_event *out)
{
	out->at = h->request_at; /* no other head is read before this one is given */
	out->type = s->is_bad ? CODEC_BAD_HEAD : CODEC_HEAD;
	out->message = s->message;
	out->fault = s->is_bad ? s->fault : CODEC_FAULT_NONE;
	out->detail = s->detail;
	s->fault = CODEC_FAULT_NONE;
	s->is_head_due = false;
	s->is_owned = true;
	s->message = NULL;
}

static void reset_give(struct http2 *h, struct http2_stream *s, struct codec_event *out)
{
	out->type = CODEC_RESET;
	out->error = s->error;
	out->fault = s->fault;
	out->detail = s->detail;
	out->is_retryable = s->is_retryable;
	s->is_reset_due = false;
	list_remove(&s->ready_node);
	http2_stream_release(h, s);
}

bool http2_stream_event(struct http2 *h, struct http2_stream *s, struct codec_event *out)
{
	out->stream = s->id;
	out->owner = s->owner;
	if (s->is_reset_due) {
		reset_give(h, s, out);
		return true;
	}
	if (s->is_dead || (!s->is_owned && !s->is_head_due)) {
		list_remove(&s->ready_node);
		return false;
	}
	if (s->is_head_due) {
		head_give(h, s, out);
	} else if (s->is_first_end_due) {
		end_give(s, out);
	} else if (s->sent_bytes) {
		out->type = CODEC_SENT;
		out->bytes = s->sent_bytes;
		s->sent_bytes = 0;
	} else if (s->in.count && s->credit && !(h->is_server && s->tunnel == TUNNEL_ASKED)) {
		body_give(h, s, out);
	} else if (s->in_half == HALF_END && s->in.count == 0 && !s->is_end_given && !s->is_bad &&
		   !(h->is_server && s->tunnel == TUNNEL_ASKED)) {
		end_give(s, out);
	} else {
		list_remove(&s->ready_node);
		return false;
	}
	return true;
}
