/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * drive2.h - runs frames through an HTTP/2 codec and writes down what came out.
 *
 * Events, one word group each, separated by '|':
 *	head 1 GET authority path framing [100] [up=value] [name=value ...]	or: head 1 200 framing ...
 *	bad 1 fault   body 1 bytes   end 1 [name=value ...]   reset 1 code [fault] [retry] [lost]
 *	sent 1 bytes   settings   goaway last code   pong   !fault   closed
 * Frames that the codec wrote:
 *	SETTINGS [ack]   HEADERS 1 name=value ... [end]   DATA 1 bytes [end]   RST 1 code   GOAWAY last code
 *	WINDOW 1 increment   PING [ack]
 * "lost": the event has no owner.  Every piece that is fed has a buffer of exactly its size.
 */
#ifndef SN_SELFTESTS_HTTP_DRIVE2_H
#define SN_SELFTESTS_HTTP_DRIVE2_H

#include <nghttp2/nghttp2.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "http/http2.h"

#define DRIVE2_STREAMS 512
#define END_STREAM     NGHTTP2_FLAG_END_STREAM
#define END_HEADERS    NGHTTP2_FLAG_END_HEADERS

struct drive2_stream {
	uint32_t id; /* 0: free */
	struct arena *arena;
};

struct drive2 {
	struct http2 *h;
	bool is_server;
	bool shows_fields;
	bool gives_no_credit;
	bool hides_sent;
	size_t cut;	  /* pieces of this size; 0: all at once */
	struct strbuf in; /* to be fed */
	struct strbuf events, frames;
	struct slice_queue out;
	struct strbuf wire; /* bytes that the codec wrote and that were not parsed */
	nghttp2_hd_inflater *inflater;
	struct drive2_stream *streams;
	struct arena *next; /* server: of the head that comes */
};

/* --- frames for the codec ---------------------------------------------------------------------------------------- */

static inline void drive2_u32(struct strbuf *b, uint32_t v)
{
	uint8_t bytes[] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	strbuf_add(b, bytes, sizeof(bytes));
}

static inline void drive2_frame(struct drive2 *d, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
				size_t len)
{
	uint8_t head[] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags };

	strbuf_add(&d->in, head, sizeof(head));
	drive2_u32(&d->in, stream);
	strbuf_add(&d->in, payload, len);
}

static inline void drive2_frame_u32(struct drive2 *d, uint8_t type, uint32_t stream, uint32_t value)
{
	struct strbuf b = { 0 };

	strbuf_init(&b);
	drive2_u32(&b, value);
	drive2_frame(d, type, 0, stream, b.ptr, b.len);
	strbuf_fini(&b);
}

static inline void drive2_hpack_string(struct strbuf *b, const char *bytes, size_t len)
{
	size_t rest = len;

	strbuf_add_char(b, (char)MIN(len, (size_t)127));
	if (len >= 127) {
		for (rest = len - 127; rest >= 128; rest /= 128)
			strbuf_add_char(b, (char)(rest % 128 + 128));
		strbuf_add_char(b, (char)rest);
	}
	strbuf_add(b, bytes, len);
}

/* A literal field that is not indexed, with any bytes. */
static inline void drive2_field(struct strbuf *b, struct span name, struct span value)
{
	strbuf_add_char(b, 0);
	drive2_hpack_string(b, name.ptr, name.len);
	drive2_hpack_string(b, value.ptr, value.len);
}

/* "name value\nname value\n": the first space ends a name. */
static inline void drive2_headers(struct drive2 *d, uint32_t stream, uint8_t flags, const char *fields)
{
	struct span rest = span_str(fields);
	struct strbuf b = { 0 };

	strbuf_init(&b);
	while (rest.len) {
		struct span line = span_of(rest.ptr, span_find(rest, '\n'));
		size_t space = span_find(line, ' ');

		drive2_field(&b, span_of(line.ptr, space), span_skip(line, space + 1));
		rest = span_skip(rest, line.len + 1);
	}
	drive2_frame(d, NGHTTP2_HEADERS, flags | END_HEADERS, stream, b.ptr, b.len);
	strbuf_fini(&b);
}

static inline void drive2_data(struct drive2 *d, uint32_t stream, uint8_t flags, const char *text)
{
	drive2_frame(d, NGHTTP2_DATA, flags, stream, text, strlen(text));
}

static inline struct arena *drive2_arena(void)
{
	struct arena *a = mem_alloc(sizeof(*a));

	arena_init(a, 4096);
	return a;
}

static inline void drive2_arena_free(struct arena *a)
{
	arena_fini(a);
	free(a);
}

/* --- a codec ----------------------------------------------------------------------------------------------------- */

static inline void drive2_init(struct drive2 *d, bool is_server, const struct http2_settings *s)
{
	*d = (struct drive2){ .is_server = is_server, .h = http2_new(is_server, s ? s : &http2_defaults) };
	strbuf_init(&d->in);
	strbuf_init(&d->events);
	strbuf_init(&d->frames);
	strbuf_init(&d->wire);
	CHECK(nghttp2_hd_inflate_new(&d->inflater) == 0);
	d->streams = mem_array(DRIVE2_STREAMS, sizeof(*d->streams));
	d->next = drive2_arena();
	if (is_server)
		strbuf_add(&d->in, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	drive2_frame(d, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static inline struct drive2_stream *drive2_stream(struct drive2 *d, uint32_t id)
{
	for (unsigned i = 0; i < DRIVE2_STREAMS; i++)
		if (d->streams[i].id == id)
			return &d->streams[i];
	CHECK(id == 0);
	return NULL;
}

static inline void drive2_fini(struct drive2 *d)
{
	http2_free(d->h);
	for (unsigned i = 0; i < DRIVE2_STREAMS; i++)
		if (d->streams[i].id)
			drive2_arena_free(d->streams[i].arena);
	free(d->streams);
	drive2_arena_free(d->next);
	nghttp2_hd_inflate_del(d->inflater);
	slice_queue_fini(&d->out);
	strbuf_fini(&d->in);
	strbuf_fini(&d->events);
	strbuf_fini(&d->frames);
	strbuf_fini(&d->wire);
}

static inline void drive2_forget(struct drive2 *d, uint32_t id)
{
	struct drive2_stream *s = drive2_stream(d, id);

	http2_forget(d->h, id);
	/* Under ASan a use of it after this is found. */
	drive2_arena_free(s->arena);
	s->id = 0;
}

static inline uint32_t drive2_open(struct drive2 *d)
{
	struct drive2_stream *s = drive2_stream(d, 0);

	s->arena = drive2_arena();
	s->id = http2_open(d->h, s->arena);
	if (!s->id)
		drive2_arena_free(s->arena);
	else if (!d->gives_no_credit)
		http2_credit(d->h, s->id, SIZE_MAX);
	return s->id;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static inline void drive2_fields(const struct headers *h, struct strbuf *out)
{
	for (uint32_t i = 0; i < h->count; i++)
		strbuf_printf(out, " " SPAN_FMT "=" SPAN_FMT, SPAN_ARG(h->items[i].name), SPAN_ARG(h->items[i].value));
}

/* The arena that was given is the stream's now. */
static inline void drive2_take(struct drive2 *d, const struct codec_event *ev)
{
	struct drive2_stream *s = drive2_stream(d, 0);

	if (!d->is_server)
		return;
	*s = (struct drive2_stream){ ev->stream, d->next };
	d->next = drive2_arena();
	http2_set_owner(d->h, ev->stream, d);
	if (!d->gives_no_credit)
		http2_credit(d->h, ev->stream, SIZE_MAX);
}

static inline void drive2_head(struct drive2 *d, const struct codec_event *ev)
{
	static const char *const framings[] = { "none", "length", "chunked", "until-close", "tunnel" };
	const struct message *m = ev->message;

	strbuf_printf(&d->events, "head %u ", ev->stream);
	CHECK(m->version == HTTP_VERSION_2 && m->wants_keep_alive);
	if (d->is_server)
		strbuf_printf(&d->events, SPAN_FMT " " SPAN_FMT " " SPAN_FMT, SPAN_ARG(m->method_name),
			      SPAN_ARG(m->authority), SPAN_ARG(m->path));
	else
		strbuf_printf(&d->events, "%u", m->status);
	strbuf_printf(&d->events, " %s", framings[m->framing]);
	if (m->framing == BODY_LENGTH)
		strbuf_printf(&d->events, "=%llu", (unsigned long long)m->content_length);
	if (m->expects_continue)
		strbuf_add_str(&d->events, " 100");
	if (m->upgrade.len)
		strbuf_printf(&d->events, " up=" SPAN_FMT, SPAN_ARG(m->upgrade));
	if (d->shows_fields)
		drive2_fields(&m->headers, &d->events);
}

static inline void drive2_reset(struct drive2 *d, const struct codec_event *ev)
{
	strbuf_printf(&d->events, "reset %u %u", ev->stream, ev->error);
	if (ev->fault)
		strbuf_printf(&d->events, " %s", codec_fault_name(ev->fault));
	if (ev->is_retryable)
		strbuf_add_str(&d->events, " retry");
	if (d->is_server && !ev->owner)
		strbuf_add_str(&d->events, " lost");
}

static inline void drive2_event(struct drive2 *d, struct codec_event *ev)
{
	if (ev->type == CODEC_SENT && d->hides_sent)
		return;
	if (d->events.len)
		strbuf_add_char(&d->events, '|');
	switch (ev->type) {
	case CODEC_HEAD:
		drive2_head(d, ev);
		drive2_take(d, ev);
		break;
	case CODEC_BAD_HEAD:
		strbuf_printf(&d->events, "bad %u %s", ev->stream, codec_fault_name(ev->fault));
		drive2_take(d, ev);
		break;
	case CODEC_BODY:
		CHECK(ev->data.len > 0);
		strbuf_printf(&d->events, "body %u " SPAN_FMT, ev->stream, SPAN_ARG(slice_span(ev->data)));
		slice_put(&ev->data);
		break;
	case CODEC_END:
		strbuf_printf(&d->events, "end %u", ev->stream);
		drive2_fields(ev->trailers, &d->events);
		break;
	case CODEC_RESET:
		drive2_reset(d, ev);
		break;
	case CODEC_SENT:
		strbuf_printf(&d->events, "sent %u %zu", ev->stream, ev->bytes);
		break;
	case CODEC_SETTINGS:
		strbuf_add_str(&d->events, "settings");
		break;
	case CODEC_GOAWAY:
		strbuf_printf(&d->events, "goaway %u %u", ev->last_stream, ev->error);
		break;
	case CODEC_PONG:
		strbuf_add_str(&d->events, "pong");
		break;
	case CODEC_CLOSED:
		strbuf_add_str(&d->events, "closed");
		break;
	default:
		CHECK(ev->type == CODEC_ERROR);
		strbuf_printf(&d->events, "!%s", codec_fault_name(ev->fault));
		break;
	}
}

/* Events until there is none.  False: it is over. */
static inline bool drive2_pump(struct drive2 *d)
{
	struct codec *c = http2_codec(d->h);
	struct codec_event ev;

	while (c->ops->next(c, d->is_server ? d->next : NULL, &ev) != CODEC_MORE) {
		drive2_event(d, &ev);
		if (ev.type == CODEC_ERROR)
			CHECK(c->ops->next(c, d->is_server ? d->next : NULL, &ev) == CODEC_ERROR);
		if (ev.type == CODEC_ERROR || ev.type == CODEC_CLOSED)
			return false;
	}
	return true;
}

/* Feed what was gathered; a forgotten event log starts anew with drive2_clear(). */
static inline void drive2_run(struct drive2 *d)
{
	struct codec *c = http2_codec(d->h);
	bool goes_on = true;

	for (size_t at = 0, len; at < d->in.len && goes_on; at += len) {
		len = d->cut ? MIN(d->cut, d->in.len - at) : d->in.len;
		c->ops->feed(c, slice_copy(d->in.ptr + at, (uint32_t)len));
		goes_on = drive2_pump(d);
	}
	if (d->in.len == 0)
		(void)drive2_pump(d);
	strbuf_reset(&d->in);
}

static inline void drive2_eof(struct drive2 *d)
{
	struct codec *c = http2_codec(d->h);

	c->ops->feed_eof(c);
	(void)drive2_pump(d);
}

/* --- what it wrote ----------------------------------------------------------------------------------------------- */

static inline uint32_t drive2_read_u32(const char *at)
{
	const uint8_t *b = (const uint8_t *)at;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline void drive2_show_headers(struct drive2 *d, const char *payload, size_t len)
{
	const uint8_t *in = (const uint8_t *)payload;
	int flags = 0;
	nghttp2_nv nv;

	for (;;) {
		ssize_t used = nghttp2_hd_inflate_hd2(d->inflater, &nv, &flags, in, len, 1);

		CHECK(used >= 0);
		in += used;
		len -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			strbuf_printf(&d->frames, " %.*s=%.*s", (int)nv.namelen, nv.name, (int)nv.valuelen, nv.value);
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
	}
	nghttp2_hd_inflate_end_headers(d->inflater);
}

static inline void drive2_show(struct drive2 *d, uint8_t type, uint8_t flags, uint32_t stream, struct span p)
{
	if (d->frames.len)
		strbuf_add_char(&d->frames, '|');
	switch (type) {
	case NGHTTP2_DATA:
		strbuf_printf(&d->frames, "DATA %u " SPAN_FMT, stream, SPAN_ARG(p));
		break;
	case NGHTTP2_HEADERS:
		CHECK(flags & END_HEADERS);
		strbuf_printf(&d->frames, "HEADERS %u", stream);
		drive2_show_headers(d, p.ptr, p.len);
		break;
	case NGHTTP2_RST_STREAM:
		strbuf_printf(&d->frames, "RST %u %u", stream, drive2_read_u32(p.ptr));
		break;
	case NGHTTP2_SETTINGS:
		strbuf_add_str(&d->frames, flags & NGHTTP2_FLAG_ACK ? "SETTINGS ack" : "SETTINGS");
		return;
	case NGHTTP2_PING:
		strbuf_add_str(&d->frames, flags & NGHTTP2_FLAG_ACK ? "PING ack" : "PING");
		return;
	case NGHTTP2_GOAWAY:
		strbuf_printf(&d->frames, "GOAWAY %u %u", drive2_read_u32(p.ptr), drive2_read_u32(p.ptr + 4));
		return;
	case NGHTTP2_WINDOW_UPDATE:
		strbuf_printf(&d->frames, "WINDOW %u %u", stream, drive2_read_u32(p.ptr));
		return;
	default:
		check_failed(__FILE__, __LINE__, "frame type");
	}
	if (flags & END_STREAM)
		strbuf_add_str(&d->frames, " end");
}

static inline void drive2_parse(struct drive2 *d)
{
	struct span rest = strbuf_span(&d->wire);

	if (!d->is_server && span_starts(rest, SPAN(HTTP2_PREFACE)))
		rest = span_skip(rest, HTTP2_PREFACE_LEN);
	while (rest.len) {
		size_t len = drive2_read_u32(rest.ptr) >> 8;

		CHECK(rest.len >= 9 + len);
		drive2_show(d, (uint8_t)rest.ptr[3], (uint8_t)rest.ptr[4], drive2_read_u32(rest.ptr + 5),
			    span_of(rest.ptr + 9, len));
		rest = span_skip(rest, 9 + len);
	}
	strbuf_reset(&d->wire);
}

/* Take at most about `max` bytes; the log of frames is made of them. */
static inline size_t drive2_output(struct drive2 *d, size_t max)
{
	size_t bytes;

	http2_output(d->h, &d->out, max);
	bytes = d->out.bytes;
	while (d->out.count) {
		struct slice s = slice_queue_pop(&d->out);

		strbuf_add(&d->wire, s.ptr, s.len);
		slice_put(&s);
	}
	drive2_parse(d);
	(void)drive2_pump(d);
	return bytes;
}

/* All frames, and the events that follow; a new log of both starts with drive2_clear(). */
static inline void drive2_flush(struct drive2 *d)
{
	while (drive2_output(d, 1 << 20))
		;
}

static inline void drive2_clear(struct drive2 *d)
{
	strbuf_reset(&d->events);
	strbuf_reset(&d->frames);
}

/* A connection on which both have said hello. */
static inline void drive2_begin(struct drive2 *d, bool is_server, const struct http2_settings *s)
{
	drive2_init(d, is_server, s);
	drive2_frame(d, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
	drive2_run(d);
	drive2_flush(d);
	drive2_clear(d);
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static inline void drive2_send_body(struct drive2 *d, uint32_t stream, const char *text)
{
	struct codec *c = http2_codec(d->h);

	c->ops->send(c, &(struct codec_send){ CODEC_SEND_BODY, .stream = stream,
					      .data = slice_copy(text, (uint32_t)strlen(text)) });
}

static inline void drive2_send_end(struct drive2 *d, uint32_t stream, const struct headers *trailers)
{
	struct codec *c = http2_codec(d->h);

	c->ops->send(c, &(struct codec_send){ CODEC_SEND_END, .stream = stream, .trailers = trailers });
}

static inline void drive2_send_head(struct drive2 *d, uint32_t stream, const struct message *m)
{
	struct codec *c = http2_codec(d->h);

	c->ops->send(c, &(struct codec_send){ CODEC_SEND_HEAD, .stream = stream, .message = m });
}

/* A response without fields. */
static inline void drive2_answer(struct drive2 *d, uint32_t stream, unsigned status, enum body_framing framing,
				 uint64_t length)
{
	struct arena a;
	struct message m;

	arena_init(&a, 4096);
	message_init(&m, &a);
	m.status = status;
	m.framing = framing;
	m.content_length = length;
	drive2_send_head(d, stream, &m);
	arena_fini(&a);
}

#endif
