/* SPDX-License-Identifier: GPL-2.0-only */
/* http2.c - the HTTP/2 codec: nghttp2's session, the events of all streams in turn, the output. */
#include "http/http2.h"

#include <endian.h>

#include "base/mem.h"
#include "http/http2_private.h"

#define GATHER_SIZE	  4096
#define GATHER_PIECE_MAX  2048	     /* a body up to this size is copied behind its frame's head */
#define REPLY_MAX	  65536	     /* answers to frames that the peer does not read */
#define OUTPUT_MAX	  65536	     /* what output() takes at a time */
#define CONNECTION_WINDOW (16 << 20) /* bounds what is on the way, not what is held */
#define HEADER_TABLE	  4096
#define SEND_BLOCK_MAX	  (256 << 10)
#define SETTINGS_ENTRIES  32
#define NEVER		  1000000 /* for bounds of nghttp2 that are ours to judge */
#define STREAMS_UNTOLD	  100 /* nghttp2's own bound before the peer's SETTINGS */

const struct http2_settings http2_defaults = {
	.max_concurrent_streams = 128,
	.window_bytes = 65536,
	.window_max = 262144,
	.window_growth_max = 4 << 20,
	.head_max = 16384,
	.path_max = 8192,
	.fields_max = 100,
	.trailer_max = 8192,
};

/* --- bytes on their way out -------------------------------------------------------------------------------------- */

void http2_gather(struct http2 *h, const void *bytes, size_t len)
{
	if (!h->gather || h->gather->size - h->gather_used < len) {
		iobuf_put(h->gather);
		h->gather = iobuf_new((uint32_t)MAX(len, (size_t)GATHER_SIZE));
		h->gather_used = 0;
	}
	memcpy(h->gather->data + h->gather_used, bytes, len);
	slice_queue_push(&h->out, (struct slice){ iobuf_ref(h->gather), h->gather->data + h->gather_used,
						  (uint32_t)len });
	h->gather_used += (uint32_t)len;
}

/* A DATA frame's payload: as it is, or behind the frame's head if it is small. */
void http2_gather_queue(struct http2 *h, struct slice_queue *from, size_t len)
{
	while (len) {
		struct slice *first = slice_queue_at(from, 0);
		uint32_t part = (uint32_t)MIN(len, (size_t)first->len);

		len -= part;
		if (part <= GATHER_PIECE_MAX) {
			http2_gather(h, first->ptr, part);
			slice_queue_consume(from, part);
		} else if (part == first->len) {
			slice_queue_push(&h->out, slice_queue_pop(from));
		} else {
			slice_queue_push(&h->out, slice_part(*first, 0, part));
			slice_queue_consume(from, part);
		}
	}
}

static void session_drain(struct http2 *h)
{
	const uint8_t *bytes;
	ssize_t len;

	while (!h->fault && h->out.bytes < h->out_max && (len = nghttp2_session_mem_send(h->session, &bytes)) != 0) {
		CHECK(len != NGHTTP2_ERR_NOMEM);
		if (len < 0) {
			http2_fail(h, CODEC_FAULT_H2_PROTOCOL); /* unless a callback has said why */
			return;
		}
		http2_gather(h, bytes, (size_t)len);
	}
}

void http2_control_drain(struct http2 *h)
{
	if (h->fault)
		return;
	h->is_holding_data = true;
	h->out_max = SIZE_MAX;
	session_drain(h);
	h->is_holding_data = false;
}

static uint32_t fault_error(enum codec_fault fault)
{
	if (codec_fault_status(fault) == 429)
		return NGHTTP2_ENHANCE_YOUR_CALM;
	switch (fault) {
	case CODEC_FAULT_H2_FRAME_SIZE:
		return NGHTTP2_FRAME_SIZE_ERROR;
	case CODEC_FAULT_H2_FLOW_CONTROL:
		return NGHTTP2_FLOW_CONTROL_ERROR;
	default:
		return NGHTTP2_PROTOCOL_ERROR;
	}
}

void http2_fail(struct http2 *h, enum codec_fault fault)
{
	struct span text = span_str(codec_fault_text(fault));
	uint32_t words[2] = { htobe32((uint32_t)nghttp2_session_get_last_proc_stream_id(h->session)),
			      htobe32(fault_error(fault)) };
	uint8_t frame[FRAME_HEAD + sizeof(words) + 256] = { 0, 0, (uint8_t)(sizeof(words) + text.len), NGHTTP2_GOAWAY };

	if (h->fault)
		return;
	CHECK(text.len < 240);
	h->fault = (uint8_t)fault;
	memcpy(frame + FRAME_HEAD, words, sizeof(words));
	memcpy(frame + FRAME_HEAD + sizeof(words), text.ptr, text.len);
	http2_gather(h, frame, FRAME_HEAD + sizeof(words) + text.len);
}

void http2_output(struct http2 *h, struct slice_queue *out, size_t max)
{
	OBJ_CHECK(h, TAG_HTTP2);
	h->out_max = max;
	session_drain(h);
	slice_queue_move(out, &h->out);
	h->reply_bytes = 0;
	if (h->count == 0) { /* an idle connection keeps no memory for it */
		iobuf_put(h->gather);
		h->gather = NULL;
		slice_queue_fini(&h->out);
	}
}

bool http2_wants_output(const struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return h->out.bytes > 0 || (!h->fault && nghttp2_session_want_write(h->session));
}

bool http2_has_blocked_output(const struct http2 *h)
{
	return (h->queued > 0 || h->pending_ends > 0) && !http2_wants_output(h);
}

bool http2_is_blocked(const struct http2 *h, uint32_t stream)
{
	const struct http2_stream *s = http2_stream_find(h, stream);

	OBJ_CHECK(h, TAG_HTTP2);
	if (!s || s->is_wire_closed || (s->out.bytes == 0 && !s->is_end_pending))
		return false;
	return nghttp2_session_get_stream_remote_window_size(h->session, s->wire) <= 0 ||
	       nghttp2_session_get_remote_window_size(h->session) <= 0;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static bool connection_event(struct http2 *h, struct codec_event *out)
{
	if (h->is_settings_due) {
		h->is_settings_due = false;
		out->type = CODEC_SETTINGS;
	} else if (h->is_goaway_due) {
		h->is_goaway_due = false;
		out->type = CODEC_GOAWAY;
		out->last_stream = h->goaway_last;
		out->error = h->goaway_error;
	} else if (h->is_pong_due) {
		h->is_pong_due = false;
		out->type = CODEC_PONG;
	}
	return out->type != CODEC_MORE;
}

/* What the frames that came made us say.  True: it changed something. */
static bool replies_drain(struct http2 *h)
{
	size_t before = h->out.bytes;

	if (nghttp2_session_get_outbound_queue_size(h->session) == 0)
		return false;
	http2_control_drain(h);
	h->reply_bytes += h->out.bytes - before;
	if (h->reply_bytes > REPLY_MAX)
		http2_fail(h, CODEC_FAULT_H2_OUTPUT_FLOOD);
	return h->fault || !list_is_empty(&h->ready);
}

/* The peer has ended.  What it had not said is cut off; what it had asked for is still answered. */
static bool eof_judge(struct http2 *h, struct codec_event *out)
{
	uint32_t open = 0;

	for (uint32_t i = 0; h->buckets && i <= h->bucket_mask; i++) {
		for (struct http2_stream *s = h->buckets[i], *next; s; s = next) {
			next = s->next;
			if (s->in_half != HALF_END)
				http2_stream_fail(h, s, CODEC_FAULT_BODY_TRUNCATED, HTTP2_CANCEL);
			open += h->is_server && !s->is_dead && !s->is_wire_closed;
		}
	}
	if (!list_is_empty(&h->ready))
		return true;
	if (open == 0)
		out->type = CODEC_CLOSED;
	return false;
}

static void error_give(struct http2 *h, struct codec_event *out)
{
	slice_queue_clear(&h->in);
	h->is_arena_used = false;
	*out = (struct codec_event){ .type = CODEC_ERROR, .fault = h->fault };
}

static enum codec_event_type http2_next(struct codec *c, struct arena *a, struct codec_event *out)
{
	struct http2 *h = http2_of(c);

	*out = (struct codec_event){ .type = CODEC_MORE };
	CHECK(!h->is_arena_used || a == h->head_arena);
	h->head_arena = a;
	for (;;) {
		struct http2_stream *s = list_first(&h->ready, struct http2_stream, ready_node);

		if (h->fault) {
			error_give(h, out);
			break;
		}
		if (connection_event(h, out))
			break;
		if (s) {
			if (http2_stream_event(h, s, out))
				break;
			continue;
		}
		if (http2_input_step(h) || replies_drain(h) || h->fault)
			continue;
		if (h->is_eof && eof_judge(h, out))
			continue;
		break;
	}
	return out->type;
}

static void http2_feed(struct codec *c, struct slice data)
{
	struct http2 *h = http2_of(c);

	CHECK(!h->is_eof);
	if (h->fault)
		slice_put(&data);
	else
		slice_queue_push(&h->in, data);
}

static void http2_feed_eof(struct codec *c)
{
	http2_of(c)->is_eof = true;
}

static void http2_send(struct codec *c, struct codec_send *s)
{
	http2_write(http2_of(c), s);
}

static void output(struct codec *c, struct slice_queue *out)
{
	http2_output(http2_of(c), out, OUTPUT_MAX);
}

static void http2_fini(struct codec *c)
{
	struct http2 *h = http2_of(c);

	nghttp2_session_del(h->session);
	h->session = NULL;
	http2_streams_fini(h);
	slice_queue_fini(&h->in);
	slice_queue_fini(&h->out);
	iobuf_put(h->gather);
	h->gather = NULL;
	free(h->fields);
	h->fields = NULL;
}

static const struct codec_ops http2_ops = {
	.feed = http2_feed,
	.feed_eof = http2_feed_eof,
	.next = http2_next,
	.send = http2_send,
	.output = output,
	.fini = http2_fini,
};

/* --- birth ------------------------------------------------------------------------------------------------------- */

static void options_set(nghttp2_option *o)
{
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_recv_client_magic(o, 1);
	/* Messages are judged here, by the same rules for both versions. */
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_send_header_block_length(o, SEND_BLOCK_MAX);
	nghttp2_option_set_max_deflate_dynamic_table_size(o, HEADER_TABLE);
	nghttp2_option_set_max_settings(o, SETTINGS_ENTRIES);
	/* Its clock is not ours: http2_flood.c. */
	nghttp2_option_set_stream_reset_rate_limit(o, NEVER, NEVER);
	nghttp2_option_set_max_continuations(o, NEVER);
}

static void session_new(struct http2 *h)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int rv;

	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
	http2_callbacks_set(callbacks);
	options_set(option);
	if (h->is_server)
		rv = nghttp2_session_server_new2(&h->session, callbacks, h, option);
	else
		rv = nghttp2_session_client_new2(&h->session, callbacks, h, option);
	CHECK(rv == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
}

static void settings_send(struct http2 *h)
{
	const struct http2_settings *s = &h->settings;
	nghttp2_settings_entry entries[6] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, s->window_bytes },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->head_max },
	};
	size_t count = 2;

	if (h->is_server) {
		entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
							     s->max_concurrent_streams };
		entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 };
		if (s->allows_connect)
			entries[count++] =
				(nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 };
	} else {
		entries[count++] = (nghttp2_settings_entry){ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 };
	}
	CHECK(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, entries, count) == 0);
	CHECK(nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0);
}

struct http2 *http2_new(bool is_server, const struct http2_settings *s)
{
	struct http2 *h = mem_zalloc(sizeof(*h));

	CHECK(s->window_bytes <= s->window_max && s->window_max <= CONNECTION_WINDOW);
	h->codec.ops = &http2_ops;
	h->tag = TAG_HTTP2;
	h->is_server = is_server;
	h->settings = *s;
	h->next_handle = 1;
	h->preface_left = is_server ? HTTP2_PREFACE_LEN : 0;
	list_init(&h->ready);
	list_init(&h->kept);
	session_new(h);
	settings_send(h);
	http2_control_drain(h);
	return h;
}

void http2_free(struct http2 *h)
{
	if (!h)
		return;
	http2_fini(&h->codec);
	h->tag = 0;
	free(h);
}

struct codec *http2_codec(struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return &h->codec;
}

/* --- the connection ---------------------------------------------------------------------------------------------- */

void http2_shutdown(struct http2 *h, enum http2_shutdown phase)
{
	OBJ_CHECK(h, TAG_HTTP2);
	if (h->fault)
		return;
	if (phase == HTTP2_SHUTDOWN_NOTICE && h->is_server)
		(void)nghttp2_submit_shutdown_notice(h->session);
	else
		(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
					    nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
					    NULL, 0);
	http2_control_drain(h);
}

void http2_ping(struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	if (h->fault || h->is_ping_sent)
		return;
	h->is_ping_sent = true;
	(void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
	http2_control_drain(h);
}

uint32_t http2_peer_streams_max(const struct http2 *h)
{
	uint32_t max;

	OBJ_CHECK(h, TAG_HTTP2);
	max = nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	/* nghttp2 says "unlimited" before the peer has spoken, but sends no more than this. */
	return h->has_peer_settings ? max : MIN(max, (uint32_t)STREAMS_UNTOLD);
}

bool http2_peer_allows_connect(const struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return nghttp2_session_get_remote_settings(h->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

uint32_t http2_stream_count(const struct http2 *h)
{
	OBJ_CHECK(h, TAG_HTTP2);
	return h->count;
}
