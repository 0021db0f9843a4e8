/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http2_judge.c - what the fields of a head say together: one target, one length, or a refusal (RFC 9113 8.3).
 * Whatever is accepted here is legal in HTTP/1.1 and means the same there.
 */
#include <llhttp.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/rand.h"
#include "http/http2_private.h"
#include "http/uri.h"

#define WEBSOCKET_KEY_BYTES 16

/* --- methods and targets ----------------------------------------------------------------------------------------- */

/* The ones that the HTTP/1 codec knows. */
static bool method_is_known(struct span name)
{
	static const struct span known[] = {
#define METHOD(number, id, text) { #text, sizeof(#text) - 1 },
		HTTP_METHOD_MAP(METHOD)
#undef METHOD
	};

	for (unsigned i = 0; i < ARRAY_LEN(known); i++)
		if (span_eq(name, known[i]))
			return true;
	return false;
}

/* Visible ASCII; a fragment never travels (RFC 9110 7.1). */
static bool path_has_valid_bytes(struct span path)
{
	for (size_t i = 0; i < path.len; i++) {
		uint8_t c = (uint8_t)path.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '#')
			return false;
	}
	return true;
}

static enum codec_fault authority_split(struct span authority, struct span *out_host, unsigned *out_port)
{
	if (authority.len && memchr(authority.ptr, '@', authority.len))
		return CODEC_FAULT_USERINFO;
	return uri_split_authority(authority, out_host, out_port) ? CODEC_FAULT_NONE : CODEC_FAULT_HOST_MALFORMED;
}

static unsigned port_or_default(unsigned port, struct span scheme)
{
	if (port)
		return port;
	return span_eq_nocase(scheme, SPAN("https")) ? 443 : 80;
}

/* :authority and Host are to name the same; one of them must be there (RFC 9113 8.3.1). */
static enum codec_fault authority_judge(struct http2_block *b)
{
	struct message *m = b->message;
	const struct header *host = headers_find(&m->headers, TOKEN_HOST);
	struct span host_name = { NULL, 0 }, name = { NULL, 0 };
	unsigned host_port = 0, port = 0;
	enum codec_fault fault = CODEC_FAULT_NONE;

	if (host && headers_next(&m->headers, host))
		return CODEC_FAULT_HOST_REPEATED;
	if (!host && !(b->seen & PSEUDO_AUTHORITY))
		return CODEC_FAULT_HOST_MISSING;
	if (b->seen & PSEUDO_AUTHORITY)
		fault = authority_split(b->authority, &name, &port);
	if (!fault && host)
		fault = authority_split(host->value, &host_name, &host_port);
	if (fault)
		return fault;
	m->authority = b->seen & PSEUDO_AUTHORITY ? b->authority : host->value;
	if (m->method == METHOD_CONNECT) {
		if (!port)
			return CODEC_FAULT_TARGET;
		host_port = host_port ? host_port : port;
	}
	if (host && b->seen & PSEUDO_AUTHORITY &&
	    (!span_eq_nocase(name, host_name) ||
	     port_or_default(port, b->scheme) != port_or_default(host_port, b->scheme)))
		return CODEC_FAULT_HOST_MISMATCH;
	return CODEC_FAULT_NONE;
}

static enum codec_fault pseudo_judge(const struct http2_block *b)
{
	const struct message *m = b->message;
	unsigned needed = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_PATH;

	if (b->seen & PSEUDO_PROTOCOL) {
		needed |= PSEUDO_AUTHORITY;
		if (m->method != METHOD_CONNECT)
			return CODEC_FAULT_PSEUDO_HEADER;
	} else if (m->method == METHOD_CONNECT) {
		return b->seen == (PSEUDO_METHOD | PSEUDO_AUTHORITY) ? CODEC_FAULT_NONE : CODEC_FAULT_PSEUDO_HEADER;
	}
	if ((b->seen & needed) != needed || b->path.len == 0 || m->method_name.len == 0)
		return CODEC_FAULT_PSEUDO_HEADER;
	return header_name_is_valid(m->method_name) ? CODEC_FAULT_NONE : CODEC_FAULT_PSEUDO_HEADER;
}

static enum codec_fault target_judge(struct http2_block *b)
{
	struct message *m = b->message;
	enum codec_fault fault = pseudo_judge(b);

	if (fault)
		return fault;
	if (m->method == METHOD_OTHER && !method_is_known(m->method_name))
		return CODEC_FAULT_METHOD_UNKNOWN;
	if (b->seen & PSEUDO_PROTOCOL && !span_eq_nocase(b->protocol, SPAN("websocket")))
		return CODEC_FAULT_PROTOCOL_UNKNOWN;
	if (b->seen & PSEUDO_PROTOCOL) {
		m->method = METHOD_GET;
		m->method_name = method_text(METHOD_GET);
		m->upgrade = SPAN("websocket");
	}
	if (m->method != METHOD_CONNECT) {
		if (!span_eq_nocase(b->scheme, SPAN("http")) && !span_eq_nocase(b->scheme, SPAN("https")))
			return CODEC_FAULT_TARGET;
		if (b->path.ptr[0] != '/' && !(m->method == METHOD_OPTIONS && span_eq(b->path, SPAN("*"))))
			return CODEC_FAULT_TARGET;
		if (!path_has_valid_bytes(b->path))
			return CODEC_FAULT_TARGET;
	}
	m->scheme = b->scheme;
	m->path = b->path;
	m->target = m->method == METHOD_CONNECT ? b->authority : b->path;
	return authority_judge(b);
}

/* --- framing ----------------------------------------------------------------------------------------------------- */

static enum codec_fault length_judge(struct http2_block *b, bool *out_has_length)
{
	struct message *m = b->message;
	const struct header *f = headers_find(&m->headers, TOKEN_CONTENT_LENGTH);

	*out_has_length = f != NULL;
	if (!f)
		return CODEC_FAULT_NONE;
	if (headers_next(&m->headers, f) || !span_to_u64(f->value, &m->content_length) ||
	    m->content_length > INT64_MAX) {
		b->detail = f->value;
		return CODEC_FAULT_CONTENT_LENGTH;
	}
	return CODEC_FAULT_NONE;
}

static enum codec_fault expectation_judge(struct http2_block *b, bool is_last)
{
	struct message *m = b->message;
	const struct header *f = headers_find(&m->headers, TOKEN_EXPECT);

	if (!f)
		return CODEC_FAULT_NONE;
	if (!span_eq_nocase(f->value, SPAN("100-continue")) || headers_next(&m->headers, f)) {
		b->detail = f->value;
		return CODEC_FAULT_EXPECTATION;
	}
	m->expects_continue = !is_last && (m->framing == BODY_CHUNKED || m->content_length > 0);
	return CODEC_FAULT_NONE;
}

/* An HTTP/1 origin needs what HTTP/2 left out (RFC 8441 5). */
static void websocket_fields_add(struct http2_block *b)
{
	struct headers *fields = &b->message->headers;
	uint8_t bytes[WEBSOCKET_KEY_BYTES];
	char *key;

	if (!headers_find(fields, TOKEN_SEC_WEBSOCKET_VERSION))
		headers_add(fields, TOKEN_SEC_WEBSOCKET_VERSION, SPAN("13"));
	if (headers_find(fields, TOKEN_SEC_WEBSOCKET_KEY))
		return;
	key = arena_alloc(b->arena, BASE64_LEN(sizeof(bytes)));
	rand_secure(bytes, sizeof(bytes));
	base64_encode(bytes, sizeof(bytes), key);
	headers_add(fields, TOKEN_SEC_WEBSOCKET_KEY, span_of(key, BASE64_LEN(sizeof(bytes))));
}

enum codec_fault http2_request_judge(struct http2 *h, struct http2_block *b, bool is_last)
{
	struct message *m = b->message;
	enum codec_fault fault = target_judge(b);
	bool is_tunnel, has_length = false;

	(void)h;
	if (!fault)
		fault = length_judge(b, &has_length);
	if (fault)
		return fault;
	is_tunnel = m->method == METHOD_CONNECT || m->upgrade.len;
	/* What follows is no body: a length of it would mean something to an HTTP/1 parser. */
	if (is_tunnel && has_length)
		return CODEC_FAULT_CONTENT_LENGTH;
	if (has_length)
		m->framing = BODY_LENGTH;
	else
		m->framing = is_last || is_tunnel ? BODY_NONE : BODY_CHUNKED;
	fault = expectation_judge(b, is_last);
	if (fault)
		return fault;
	if (!headers_find(&m->headers, TOKEN_HOST))
		headers_add(&m->headers, TOKEN_HOST, m->authority);
	if (m->upgrade.len)
		websocket_fields_add(b);
	return CODEC_FAULT_NONE;
}

enum codec_fault http2_response_judge(struct http2_block *b, bool is_last)
{
	struct message *m = b->message;
	enum codec_fault fault;
	bool has_length = false;

	/* 101 has no meaning in HTTP/2 (RFC 9113 8.6); an interim response is never the last. */
	if (!(b->seen & PSEUDO_STATUS) || m->status < 100 || m->status == 101)
		return CODEC_FAULT_PSEUDO_HEADER;
	if (m->status / 100 == 1 && is_last)
		return CODEC_FAULT_MESSAGE_ORDER;
	fault = length_judge(b, &has_length);
	if (fault)
		return fault;
	if (m->status / 100 == 1 || m->status == 204 || m->status == 304 || m->method == METHOD_HEAD)
		m->framing = BODY_NONE;
	else if (has_length)
		m->framing = BODY_LENGTH;
	else
		m->framing = is_last ? BODY_NONE : BODY_CHUNKED;
	return CODEC_FAULT_NONE;
}
