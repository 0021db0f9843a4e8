/* SPDX-License-Identifier: GPL-2.0-only */
/* http1_write.c - messages into bytes: the codec writes the delimiter and Connection itself, from the framing. */
#include "base/check.h"
#include "base/decimal.h"
#include "http/http1_private.h"

#define COALESCE_MAX	 4096 /* a body up to this size shares the buffer of its head */
#define CHUNK_SPARE	 1024 /* behind a chunked head, for its first chunks */
#define SCRATCH_SIZE	 984  /* with its header 1 KiB: enough for nearly every head, and kept between messages */
#define CHUNK_LINE_ROOM	 24   /* CRLF, 16 digits, CRLF */
#define HEAD_ROOM	 160  /* start line without its variable parts, delimiter, Connection without Upgrade */
#define STATUS_DIGITS	 3

/* How a head is to be written: decided first, then measured, then written. */
struct plan {
	const struct message *m;
	enum body_framing framing; /* as it will be on the wire */
	bool keeps_length;	   /* a Content-Length field goes through: HEAD and 304 */
	bool writes_zero;	   /* Content-Length: 0 */
	bool is_delimited;	   /* the framing is written: not for 1xx, 204, tunnels and what HEAD gets */
	bool is_interim;
	bool closes;
	bool says_keep_alive;
	bool names_te;
	struct span upgrade;
	struct span reason;
};

static void fault(struct http1 *h, enum codec_fault f)
{
	h->out_state = HTTP1_OUT_FAULT;
	h->out_fault = (uint8_t)f;
	h->out_closes = true;
	iobuf_put(h->scratch);
	h->scratch = NULL;
}

/* --- the buffer ------------------------------------------------------------------------------------------------ */

/* Room for `len` bytes in one piece; what is written there is taken by scratch_commit(). */
static char *scratch_reserve(struct http1 *h, size_t len, size_t spare)
{
	/* All that was written there has left. */
	if (h->scratch && h->scratch->refs == 1)
		h->scratch_used = 0;
	if (!h->scratch || h->scratch->size - h->scratch_used < len) {
		CHECK(len + spare <= UINT32_MAX / 2);
		iobuf_put(h->scratch);
		h->scratch = iobuf_new((uint32_t)MAX(len + spare, (size_t)SCRATCH_SIZE));
		h->scratch_used = 0;
	}
	return (char *)h->scratch->data + h->scratch_used;
}

/* The bytes join the last slice when they follow it, so that a small message is one slice. */
static void scratch_commit(struct http1 *h, size_t len)
{
	struct slice *last = h->out.count ? slice_queue_at(&h->out, h->out.count - 1) : NULL;
	uint8_t *bytes = h->scratch->data + h->scratch_used;

	CHECK(len <= h->scratch->size - h->scratch_used);
	h->scratch_used += (uint32_t)len;
	if (last && last->buf == h->scratch && last->ptr + last->len == bytes) {
		last->len += (uint32_t)len;
		h->out.bytes += len;
		return;
	}
	slice_queue_push(&h->out, (struct slice){ iobuf_ref(h->scratch), bytes, (uint32_t)len });
}

static void scratch_drop(struct http1 *h)
{
	iobuf_put(h->scratch);
	h->scratch = NULL;
}

void http1_scratch_rest(struct http1 *h)
{
	if (h->scratch && h->scratch->size > SCRATCH_SIZE)
		scratch_drop(h);
}

/* A small piece is copied behind what was written, a large one goes as it is. */
static void data_push(struct http1 *h, struct slice data)
{
	if (h->scratch && data.len <= h->scratch->size - h->scratch_used) {
		memcpy(h->scratch->data + h->scratch_used, data.ptr, data.len);
		scratch_commit(h, data.len);
		slice_put(&data);
		return;
	}
	slice_queue_push(&h->out, data);
}

/* Names and values are short: two moves that may overlap, of what is known to be there, instead of a call. */
static inline char *put(char *at, struct span s)
{
	const char *from = s.ptr;
	size_t len = s.len;

	if (len > 32) {
		memcpy(at, from, len);
	} else if (len >= 16) {
		memcpy(at, from, 16);
		memcpy(at + len - 16, from + len - 16, 16);
	} else if (len >= 8) {
		memcpy(at, from, 8);
		memcpy(at + len - 8, from + len - 8, 8);
	} else if (len >= 4) {
		memcpy(at, from, 4);
		memcpy(at + len - 4, from + len - 4, 4);
	} else if (len) { /* an empty span may have no address */
		at[0] = from[0];
		at[len / 2] = from[len / 2];
		at[len - 1] = from[len - 1];
	}
	return at + len;
}

#define PUT_LITERAL(at, text) put(at, SPAN(text))

static char *put_hex(char *at, uint64_t v)
{
	unsigned shift = v ? (63u - (unsigned)__builtin_clzll(v)) & ~3u : 0;

	for (;; shift -= 4) {
		*at++ = "0123456789abcdef"[v >> shift & 15];
		if (shift == 0)
			return at;
	}
}

static inline char *put_field(char *at, struct span name, struct span value)
{
	at = put(at, name);
	at = PUT_LITERAL(at, ": ");
	at = put(at, value);
	return PUT_LITERAL(at, "\r\n");
}

/* --- heads ----------------------------------------------------------------------------------------------------- */

static bool status_has_no_body(unsigned status)
{
	return status / 100 == 1 || status == 204 || status == 304;
}

/* What a response looks like on the wire (RFC 9112 6.3, RFC 9110 8.6).  False: the framing cannot be written. */
static bool response_plan(struct http1 *h, struct plan *p)
{
	const struct message *m = p->m;
	bool is_connect = h->request.method == METHOD_CONNECT && m->status / 100 == 2;
	bool is_head = h->request.method == METHOD_HEAD;
	bool speaks_1_1 = h->request.version == HTTP_VERSION_1_1;

	h->out_is_dropped = false;
	if (m->status < 100 || m->status > 999)
		return false;
	p->is_interim = m->status / 100 == 1 && m->status != 101;
	if (m->status == 101 || is_connect) {
		p->framing = BODY_TUNNEL;
		p->upgrade = m->status == 101 ? m->upgrade : p->upgrade;
		return true;
	}
	if (m->framing == BODY_TUNNEL)
		return false;
	if (m->status == 426)
		p->upgrade = m->upgrade;
	h->out_is_dropped = is_head || status_has_no_body(m->status);
	p->keeps_length = m->framing == BODY_NONE && (is_head || m->status == 304);
	p->is_delimited = !p->is_interim && m->status != 204 && !p->keeps_length;
	p->writes_zero = m->framing == BODY_NONE;
	/* A length that ends with the connection becomes chunks where the client knows them, so that it may go on. */
	if (p->framing == BODY_UNTIL_CLOSE && speaks_1_1)
		p->framing = BODY_CHUNKED;
	if (p->framing == BODY_CHUNKED && !speaks_1_1)
		p->framing = BODY_UNTIL_CLOSE;
	if (h->out_is_dropped && p->framing != BODY_LENGTH)
		p->is_delimited = false;
	p->closes = !m->wants_keep_alive || !h->request.wants_keep_alive ||
		    (p->framing == BODY_UNTIL_CLOSE && !h->out_is_dropped);
	p->says_keep_alive = !p->closes && !speaks_1_1;
	return true;
}

static bool request_plan(struct plan *p)
{
	const struct message *m = p->m;

	if (m->framing == BODY_UNTIL_CLOSE || m->framing == BODY_TUNNEL)
		return false;
	p->is_delimited = true;
	/* Methods that usually have a body say that this one has none (RFC 9110 8.6). */
	p->writes_zero = m->framing == BODY_NONE &&
			 (m->method == METHOD_POST || m->method == METHOD_PUT || m->method == METHOD_PATCH);
	p->upgrade = m->upgrade;
	p->closes = !m->wants_keep_alive;
	return true;
}

/* Fields that the codec writes itself, whatever the message says. */
static bool field_is_ours(const struct plan *p, const struct header *f)
{
	switch (f->token) {
	case TOKEN_CONTENT_LENGTH:
		return !p->keeps_length;
	case TOKEN_TRANSFER_ENCODING:
	case TOKEN_CONNECTION:
	case TOKEN_KEEP_ALIVE:
	case TOKEN_PROXY_CONNECTION:
	case TOKEN_UPGRADE:
		return true;
	default:
		return false;
	}
}

/* Bytes of all fields; false if one of them would break the head apart. */
static bool fields_measure(struct plan *p, size_t *out_bytes)
{
	const struct header *end = headers_end(&p->m->headers);
	size_t bytes = 0;

	for (const struct header *f = p->m->headers.items; f < end; f++) {
		if (field_is_ours(p, f))
			continue;
		/* A token stands for a name that was compared with a valid one. */
		if ((f->token == TOKEN_OTHER && !header_name_is_valid(f->name)) ||
		    (!f->is_made_here && !header_value_is_valid(f->value)))
			return false;
		p->names_te |= f->token == TOKEN_TE;
		bytes += f->name.len + f->value.len + 4;
	}
	*out_bytes += bytes;
	return true;
}

/* Visible ASCII without spaces: what can stand in a request line. */
static bool target_is_valid(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.ptr[i] <= 0x20 || (uint8_t)s.ptr[i] >= 0x7f)
			return false;
	return s.len > 0;
}

static char *connection_write(char *at, const struct plan *p)
{
	char *start = at;

	if (p->closes && p->framing != BODY_TUNNEL && !p->is_interim)
		at = PUT_LITERAL(at, ", close");
	if (p->says_keep_alive)
		at = PUT_LITERAL(at, ", keep-alive");
	if (p->upgrade.len)
		at = PUT_LITERAL(at, ", Upgrade");
	if (p->names_te)
		at = PUT_LITERAL(at, ", TE");
	if (at == start)
		return at;
	/* The name takes the place of the first ", ". */
	memmove(start + sizeof("Connection: ") - 1, start + 2, (size_t)(at - start) - 2);
	PUT_LITERAL(start, "Connection: ");
	at += sizeof("Connection: ") - 1 - 2;
	at = PUT_LITERAL(at, "\r\n");
	return p->upgrade.len ? put_field(at, SPAN("Upgrade"), p->upgrade) : at;
}

static char *fields_write(char *at, const struct plan *p)
{
	const struct header *end = headers_end(&p->m->headers);

	for (const struct header *f = p->m->headers.items; f < end; f++)
		if (!field_is_ours(p, f))
			at = put_field(at, f->name, f->value);
	if (p->is_delimited && (p->framing == BODY_LENGTH || (p->framing == BODY_NONE && p->writes_zero))) {
		at = PUT_LITERAL(at, "Content-Length: ");
		at = decimal_put(at, p->framing == BODY_LENGTH ? p->m->content_length : 0);
		at = PUT_LITERAL(at, "\r\n");
	} else if (p->is_delimited && p->framing == BODY_CHUNKED) {
		at = PUT_LITERAL(at, "Transfer-Encoding: chunked\r\n");
	}
	at = connection_write(at, p);
	return PUT_LITERAL(at, "\r\n");
}

static size_t head_spare(const struct http1 *h, const struct plan *p)
{
	if (h->out_is_dropped || p->is_interim)
		return 0;
	if (p->framing == BODY_LENGTH && p->m->content_length <= COALESCE_MAX)
		return p->m->content_length;
	return p->framing == BODY_CHUNKED ? CHUNK_SPARE : 0;
}

static bool response_write(struct http1 *h, struct plan *p)
{
	const struct message *m = p->m;
	size_t bytes = HEAD_ROOM;
	char *start, *at;

	p->reason = m->reason.len ? m->reason : status_reason(m->status);
	if (!header_value_is_valid(p->reason) || !header_value_is_valid(p->upgrade) || !fields_measure(p, &bytes))
		return false;
	bytes += p->reason.len + p->upgrade.len;
	start = scratch_reserve(h, bytes, head_spare(h, p));
	at = PUT_LITERAL(start, "HTTP/1.1 ");
	at = decimal_put(at, m->status);
	*at++ = ' ';
	at = put(at, p->reason);
	at = PUT_LITERAL(at, "\r\n");
	at = fields_write(at, p);
	scratch_commit(h, (size_t)(at - start));
	return true;
}

static bool request_write(struct http1 *h, struct plan *p)
{
	const struct message *m = p->m;
	struct span target = m->method == METHOD_CONNECT ? m->authority : m->path;
	bool needs_host = !headers_find(&m->headers, TOKEN_HOST);
	size_t bytes = HEAD_ROOM;
	char *start, *at;

	if (!header_name_is_valid(m->method_name) || !target_is_valid(target) ||
	    !header_value_is_valid(m->authority) || !header_value_is_valid(p->upgrade) || !fields_measure(p, &bytes))
		return false;
	bytes += m->method_name.len + target.len + m->authority.len + p->upgrade.len;
	start = scratch_reserve(h, bytes, head_spare(h, p));
	at = put(start, m->method_name);
	*at++ = ' ';
	at = put(at, target);
	at = PUT_LITERAL(at, " HTTP/1.1\r\n");
	if (needs_host)
		at = put_field(at, SPAN("Host"), m->authority);
	at = fields_write(at, p);
	scratch_commit(h, (size_t)(at - start));
	return true;
}

static void head_send(struct http1 *h, const struct message *m)
{
	struct plan p = { .m = m, .framing = m->framing };
	bool is_written;

	CHECK(h->out_state == HTTP1_OUT_HEAD);
	if (h->is_server) {
		is_written = response_plan(h, &p);
		/* HTTP/1.0 does not know interim responses (RFC 9110 15.2). */
		if (is_written && p.is_interim && h->request.version == HTTP_VERSION_1_0)
			return;
		is_written = is_written && response_write(h, &p);
	} else {
		is_written = request_plan(&p) && request_write(h, &p);
	}
	if (!is_written) {
		fault(h, CODEC_FAULT_OUTPUT_MALFORMED);
		return;
	}
	if (p.is_interim)
		return;
	h->out_state = HTTP1_OUT_BODY;
	h->out_framing = (uint8_t)p.framing;
	h->out_closes = p.closes || p.framing == BODY_TUNNEL;
	h->out_left = p.framing == BODY_LENGTH ? m->content_length : 0;
	/* What is long does not go through it. */
	if (p.framing == BODY_UNTIL_CLOSE || p.framing == BODY_TUNNEL || h->out_left > COALESCE_MAX)
		scratch_drop(h);
}

/* --- bodies ---------------------------------------------------------------------------------------------------- */

static void chunk_send(struct http1 *h, struct slice data)
{
	char *start = scratch_reserve(h, CHUNK_LINE_ROOM, 0), *at;

	at = put_hex(start, data.len);
	at = PUT_LITERAL(at, "\r\n");
	scratch_commit(h, (size_t)(at - start));
	data_push(h, data);
	at = scratch_reserve(h, 2, 0);
	PUT_LITERAL(at, "\r\n");
	scratch_commit(h, 2);
}

static void body_send(struct http1 *h, struct slice data)
{
	CHECK(h->out_state == HTTP1_OUT_BODY);
	if (data.len == 0 || h->out_is_dropped) {
		slice_put(&data);
		return;
	}
	switch (h->out_framing) {
	case BODY_LENGTH:
	case BODY_NONE:
		if (data.len > h->out_left) {
			slice_put(&data);
			fault(h, CODEC_FAULT_OUTPUT_LENGTH);
			return;
		}
		h->out_left -= data.len;
		data_push(h, data);
		return;
	case BODY_CHUNKED:
		chunk_send(h, data);
		return;
	default:
		slice_queue_push(&h->out, data);
		return;
	}
}

static bool trailers_write(struct http1 *h, const struct headers *trailers)
{
	struct plan p = { 0 };
	struct message m = { .headers = *trailers };
	size_t bytes = 8;
	char *start, *at;

	p.m = &m;
	if (!fields_measure(&p, &bytes))
		return false;
	start = scratch_reserve(h, bytes, 0);
	at = PUT_LITERAL(start, "0\r\n");
	for (const struct header *f = trailers->items; f < headers_end(trailers); f++)
		if (!field_is_ours(&p, f))
			at = put_field(at, f->name, f->value);
	at = PUT_LITERAL(at, "\r\n");
	scratch_commit(h, (size_t)(at - start));
	return true;
}

static void end_send(struct http1 *h, const struct headers *trailers)
{
	static const struct headers none;

	CHECK(h->out_state == HTTP1_OUT_BODY);
	if (!h->out_is_dropped && h->out_framing == BODY_LENGTH && h->out_left) {
		fault(h, CODEC_FAULT_OUTPUT_LENGTH);
		return;
	}
	if (!h->out_is_dropped && h->out_framing == BODY_CHUNKED && !trailers_write(h, trailers ? trailers : &none)) {
		fault(h, CODEC_FAULT_OUTPUT_MALFORMED);
		return;
	}
	h->out_state = HTTP1_OUT_DONE;
	http1_scratch_rest(h);
}

void http1_write(struct http1 *h, struct codec_send *s)
{
	if (h->out_state == HTTP1_OUT_FAULT) {
		if (s->type == CODEC_SEND_BODY)
			slice_put(&s->data);
		return;
	}
	switch (s->type) {
	case CODEC_SEND_HEAD:
		head_send(h, s->message);
		break;
	case CODEC_SEND_BODY:
		body_send(h, s->data);
		s->data = (struct slice){ 0 };
		break;
	case CODEC_SEND_END:
		end_send(h, s->trailers);
		break;
	case CODEC_SEND_RESET:
		/* HTTP/1 has no word for it: nothing more is written, and the caller breaks the connection. */
		slice_queue_clear(&h->out);
		fault(h, CODEC_FAULT_NONE);
		break;
	}
}
