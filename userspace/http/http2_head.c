/* SPDX-License-Identifier: GPL-2.0-only */
/* http2_head.c - a header block into a message or trailers, field by field, while it is being decoded. */
#include "base/base64.h"
#include "base/check.h"
#include "base/sha1.h"
#include "http/http2_private.h"

#define FIELD_OVERHEAD	 32 /* RFC 9113 6.5.2 */
#define FIELDS_FIRST	 24 /* room for what a proxy adds, too */
#define BOMB_FACTOR	 8  /* a block that decodes to this often its limit is no mistake */
#define INTERIM_MAX	 16
#define DETAIL_MAX	 128

static enum codec_fault block_fault(struct http2_block *b, enum codec_fault fault, struct span detail)
{
	if (b->fault)
		return b->fault;
	b->fault = (uint8_t)fault;
	if (b->arena)
		b->detail = arena_span(b->arena, span_of(detail.ptr, MIN(detail.len, (size_t)DETAIL_MAX)));
	return fault;
}

void http2_block_begin(struct http2 *h, struct http2_stream *s, bool is_trailers)
{
	struct http2_block *b = &h->block;

	*b = (struct http2_block){
		.stream = s,
		.arena = s->arena,
		.bytes_max = is_trailers ? h->settings.trailer_max : h->settings.head_max,
	};
	if (!b->arena || s->is_dead || s->is_bad) {
		b->arena = NULL;
		return;
	}
	if (is_trailers) {
		s->trailers = arena_alloc(b->arena, sizeof(*s->trailers));
		headers_init(s->trailers, b->arena);
		b->fields = s->trailers;
		return;
	}
	b->message = arena_alloc(b->arena, sizeof(*b->message));
	message_init(b->message, b->arena);
	b->message->version = HTTP_VERSION_2;
	b->fields = &b->message->headers;
	headers_reserve(b->fields, FIELDS_FIRST);
}

/* --- fields ------------------------------------------------------------------------------------------------------ */

static unsigned pseudo_of(struct span name)
{
	static const struct {
		struct span name;
		enum pseudo bit;
	} known[] = {
		{ { ":method", 7 }, PSEUDO_METHOD },	     { { ":path", 5 }, PSEUDO_PATH },
		{ { ":scheme", 7 }, PSEUDO_SCHEME },	     { { ":authority", 10 }, PSEUDO_AUTHORITY },
		{ { ":protocol", 9 }, PSEUDO_PROTOCOL },     { { ":status", 7 }, PSEUDO_STATUS },
	};

	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		if (span_eq(name, known[i].name))
			return known[i].bit;
	return 0;
}

static void pseudo_store(struct http2_block *b, enum pseudo bit, struct span value)
{
	uint64_t status = 0;

	switch (bit) {
	case PSEUDO_METHOD:
		b->message->method_name = value;
		b->message->method = method_of(value);
		break;
	case PSEUDO_SCHEME:
		b->scheme = value;
		break;
	case PSEUDO_AUTHORITY:
		b->authority = value;
		break;
	case PSEUDO_PATH:
		b->path = value;
		break;
	case PSEUDO_PROTOCOL:
		b->protocol = value;
		break;
	case PSEUDO_STATUS:
		if (value.len == 3 && span_to_u64(value, &status))
			b->message->status = (unsigned)status;
		break;
	}
}

static enum codec_fault pseudo_add(struct http2 *h, struct http2_block *b, struct span name, struct span value)
{
	unsigned bit = pseudo_of(name), allowed = PSEUDO_STATUS;

	if (h->is_server)
		allowed = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_AUTHORITY | PSEUDO_PATH |
			  (h->settings.allows_connect ? PSEUDO_PROTOCOL : 0);
	if (!b->message || b->has_regular || !(bit & allowed) || b->seen & bit)
		return CODEC_FAULT_PSEUDO_HEADER;
	if (!header_value_is_valid(value))
		return CODEC_FAULT_CONTROL_BYTE;
	b->seen |= bit;
	if (bit == PSEUDO_PATH && value.len > h->settings.path_max)
		return CODEC_FAULT_URI_TOO_LONG;
	pseudo_store(b, bit, arena_span(b->arena, value));
	return CODEC_FAULT_NONE;
}

static enum codec_fault name_judge(struct span name, enum header_token t)
{
	if (t != TOKEN_OTHER)
		return span_eq(name, header_token_name(t)) ? CODEC_FAULT_NONE : CODEC_FAULT_FIELD_NAME_CASE;
	if (!header_name_is_valid(name))
		return CODEC_FAULT_FIELD;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
			return CODEC_FAULT_FIELD_NAME_CASE;
	return CODEC_FAULT_NONE;
}

/* RFC 9113 8.2.1: neither control bytes nor space around it. */
static enum codec_fault value_judge(struct span value)
{
	if (!header_value_is_valid(value))
		return memchr(value.ptr, 0, value.len) ? CODEC_FAULT_NUL : CODEC_FAULT_CONTROL_BYTE;
	return span_trim(value).len == value.len ? CODEC_FAULT_NONE : CODEC_FAULT_FIELD;
}

/* RFC 9113 8.2.2; in trailers also what would change how the message was read (RFC 9110 6.5.1). */
static enum codec_fault token_judge(const struct http2_block *b, enum header_token t, struct span value)
{
	switch (t) {
	case TOKEN_CONNECTION:
	case TOKEN_KEEP_ALIVE:
	case TOKEN_PROXY_CONNECTION:
	case TOKEN_TRANSFER_ENCODING:
	case TOKEN_UPGRADE:
	case TOKEN_HTTP2_SETTINGS:
		return CODEC_FAULT_CONNECTION_FIELD;
	case TOKEN_TE:
		return span_eq_nocase(value, SPAN("trailers")) ? CODEC_FAULT_NONE : CODEC_FAULT_CONNECTION_FIELD;
	case TOKEN_CONTENT_LENGTH:
	case TOKEN_HOST:
	case TOKEN_TRAILER:
		return b->message ? CODEC_FAULT_NONE : CODEC_FAULT_TRAILER_FORBIDDEN;
	default:
		return CODEC_FAULT_NONE;
	}
}

static enum codec_fault regular_add(struct http2_block *b, struct span name, struct span value, bool is_secret)
{
	enum header_token t = header_token_of(name);
	enum codec_fault fault = name_judge(name, t);

	b->has_regular = true;
	if (!fault)
		fault = value_judge(value);
	if (!fault)
		fault = token_judge(b, t, value);
	if (fault)
		return fault;
	value = arena_span(b->arena, value);
	if (t == TOKEN_OTHER)
		headers_add_name(b->fields, arena_span(b->arena, name), value);
	else
		headers_add(b->fields, t, value);
	headers_end(b->fields)[-1].is_secret = is_secret;
	if (t == TOKEN_COOKIE) {
		b->cookies++;
		b->cookie_bytes += value.len;
	}
	return CODEC_FAULT_NONE;
}

void http2_block_field(struct http2 *h, struct span name, struct span value, bool is_secret)
{
	struct http2_block *b = &h->block;
	enum codec_fault fault;

	b->bytes += (uint32_t)MIN(name.len + value.len + FIELD_OVERHEAD, (size_t)1 << 20);
	if (b->bytes / BOMB_FACTOR > MAX(h->settings.head_max, h->settings.trailer_max)) {
		http2_fail(h, CODEC_FAULT_H2_HPACK_BOMB);
		return;
	}
	if (!b->stream || !b->arena || b->fault)
		return;
	if (b->bytes > b->bytes_max)
		fault = b->message ? CODEC_FAULT_HEAD_TOO_LARGE : CODEC_FAULT_TRAILERS_TOO_LARGE;
	else if (b->fields->count >= h->settings.fields_max)
		fault = CODEC_FAULT_TOO_MANY_FIELDS;
	else if (name.len && name.ptr[0] == ':')
		fault = pseudo_add(h, b, name, value);
	else
		fault = regular_add(b, name, value, is_secret);
	if (fault)
		(void)block_fault(b, fault, name);
}

/* --- the end of a block ------------------------------------------------------------------------------------------ */

/* Crumbs of Cookie are one field for everybody else (RFC 9113 8.2.3). */
static void cookies_join(struct http2_block *b)
{
	struct header *first = headers_find(b->fields, TOKEN_COOKIE);
	char *text = arena_alloc(b->arena, b->cookie_bytes + 2 * (size_t)b->cookies), *at = text;
	bool is_secret = false;

	for (struct header *f = first; f; f = headers_next(b->fields, f)) {
		if (at != text)
			at = mempcpy(at, "; ", 2);
		if (f->value.len)
			at = mempcpy(at, f->value.ptr, f->value.len);
		is_secret |= f->is_secret;
	}
	headers_set(b->fields, TOKEN_COOKIE, span_of(text, (size_t)(at - text)));
	headers_find(b->fields, TOKEN_COOKIE)->is_secret = is_secret;
}

/* HTTP/1 would answer these; the others break HTTP/2 itself (RFC 9113 8.1.1). */
static bool fault_is_answered(enum codec_fault fault)
{
	switch (fault) {
	case CODEC_FAULT_TARGET:
	case CODEC_FAULT_USERINFO:
	case CODEC_FAULT_URI_TOO_LONG:
	case CODEC_FAULT_METHOD_UNKNOWN:
	case CODEC_FAULT_PROTOCOL_UNKNOWN:
	case CODEC_FAULT_HEAD_TOO_LARGE:
	case CODEC_FAULT_TOO_MANY_FIELDS:
	case CODEC_FAULT_HOST_MISSING:
	case CODEC_FAULT_HOST_REPEATED:
	case CODEC_FAULT_HOST_MALFORMED:
	case CODEC_FAULT_HOST_MISMATCH:
	case CODEC_FAULT_EXPECTATION:
	case CODEC_FAULT_CONTENT_LENGTH:
		return true;
	default:
		return false;
	}
}

static void stream_refuse(struct http2 *h, struct http2_stream *s, enum codec_fault fault, struct span detail)
{
	s->detail = detail;
	http2_stream_refuse(h, s, fault);
}

static void head_due(struct http2 *h, struct http2_stream *s, struct message *m)
{
	s->message = m;
	s->is_head_due = true;
	http2_stream_ready(h, s);
}

static void request_end(struct http2 *h, struct http2_stream *s, struct http2_block *b, bool is_last)
{
	struct message *m = b->message;
	enum codec_fault fault = b->fault;

	h->is_arena_used = false;
	if (!fault && b->cookies > 1)
		cookies_join(b);
	if (!fault)
		fault = block_fault(b, http2_request_judge(h, b, is_last), b->detail);
	s->method = (uint8_t)m->method;
	s->in_half = HALF_BODY;
	if (fault && !fault_is_answered(fault)) {
		stream_refuse(h, s, fault, b->detail);
		return;
	}
	if (fault) {
		message_init(m, s->arena);
		m->version = HTTP_VERSION_2;
		m->method = s->method;
		m->method_name = method_text(m->method);
		s->is_bad = true;
		s->fault = (uint8_t)fault;
		s->detail = b->detail;
		(void)http2_flood_add(h, FLOOD_ERROR);
	} else if (m->method == METHOD_CONNECT || b->seen & PSEUDO_PROTOCOL) {
		s->tunnel = TUNNEL_ASKED;
		s->is_first_end_due = true;
	} else if (m->framing == BODY_LENGTH) {
		s->in_left = m->content_length;
	}
	head_due(h, s, m);
}

/* What a WebSocket client expects to be proven to it; we stand in for the server, which never saw a key. */
static void websocket_accept_add(struct http2_stream *s, struct headers *fields)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char *accept = arena_alloc(s->arena, BASE64_LEN(SHA1_LEN));
	uint8_t digest[SHA1_LEN];
	struct strbuf text = { 0 };

	strbuf_init(&text);
	strbuf_add_str(&text, s->websocket_key);
	strbuf_add_str(&text, guid);
	sha1(strbuf_span(&text), digest);
	strbuf_fini(&text);
	base64_encode(digest, sizeof(digest), accept);
	headers_set(fields, TOKEN_SEC_WEBSOCKET_ACCEPT, span_of(accept, BASE64_LEN(SHA1_LEN)));
}

static void tunnel_begin(struct http2_stream *s, struct message *m)
{
	s->tunnel = TUNNEL_OPEN;
	s->in_left = LENGTH_UNKNOWN;
	m->framing = BODY_TUNNEL;
	headers_remove(&m->headers, TOKEN_CONTENT_LENGTH);
	if (s->method == METHOD_CONNECT)
		return;
	m->status = 101;
	m->upgrade = SPAN("websocket");
	if (s->websocket_key)
		websocket_accept_add(s, &m->headers);
}

static void response_end(struct http2 *h, struct http2_stream *s, struct http2_block *b, bool is_last)
{
	struct message *m = b->message;
	enum codec_fault fault = b->fault;
	bool is_final;

	m->method = s->method;
	if (!fault)
		fault = block_fault(b, http2_response_judge(b, is_last), b->detail);
	is_final = m->status / 100 != 1;
	if (!fault && !is_final && s->interim_count++ == INTERIM_MAX)
		fault = CODEC_FAULT_INTERIM_TOO_MANY;
	if (fault) {
		stream_refuse(h, s, fault, b->detail);
		return;
	}
	m->method = METHOD_OTHER;
	if (is_final) {
		s->in_half = HALF_BODY;
		s->in_left = m->framing == BODY_LENGTH ? m->content_length :
						       (m->framing == BODY_NONE ? 0 : LENGTH_UNKNOWN);
		if (s->tunnel == TUNNEL_ASKED && m->status / 100 == 2)
			tunnel_begin(s, m);
		else if (s->tunnel == TUNNEL_ASKED)
			http2_tunnel_refused(h, s);
	}
	head_due(h, s, m);
}

void http2_block_end(struct http2 *h, bool is_last)
{
	struct http2_block *b = &h->block;
	struct http2_stream *s = b->stream;

	b->stream = NULL;
	if (!b->arena) {
		if (!h->is_server && s->in_half == HALF_HEAD)
			s->in_half = HALF_BODY;
		return;
	}
	if (b->message && h->is_server) {
		request_end(h, s, b, is_last);
	} else if (b->message) {
		response_end(h, s, b, is_last);
	} else if (b->fault || !is_last) {
		stream_refuse(h, s, b->fault ? b->fault : CODEC_FAULT_MESSAGE_ORDER, b->detail);
	}
}
