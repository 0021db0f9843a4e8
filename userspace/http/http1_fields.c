/* SPDX-License-Identifier: GPL-2.0-only */
/* http1_fields.c - what the fields of a head say about framing and the connection (RFC 9112 6 and 9). */
#include "base/check.h"
#include "http/http1_private.h"

static void connection_collect(struct span value, struct http1_fields *out)
{
	struct span item;

	while (span_next(&value, ',', &item)) {
		if (span_eq_nocase(item, SPAN("close")))
			out->has_close = true;
		else if (span_eq_nocase(item, SPAN("keep-alive")))
			out->has_keep_alive = true;
		else if (span_eq_nocase(item, SPAN("upgrade")))
			out->names_upgrade = true;
	}
}

void http1_fields_collect(const struct headers *h, struct http1_fields *out)
{
	*out = (struct http1_fields){ 0 };
	for (const struct header *f = h->items; f < headers_end(h); f++) {
		switch (f->token) {
		case TOKEN_HOST:
			out->host = f;
			out->host_count++;
			break;
		case TOKEN_CONTENT_LENGTH:
			out->length = f;
			out->length_count++;
			break;
		case TOKEN_TRANSFER_ENCODING:
			out->coding_count++;
			break;
		case TOKEN_CONNECTION:
			connection_collect(f->value, out);
			break;
		case TOKEN_UPGRADE:
			out->upgrade = out->upgrade ? out->upgrade : f;
			break;
		case TOKEN_EXPECT:
			out->expect = out->expect ? out->expect : f;
			break;
		default:
			break;
		}
	}
}

/* All Transfer-Encoding fields are one list: it must be "chunked" and nothing else. */
static enum codec_fault coding_judge(const struct headers *h)
{
	unsigned count = 0, chunked = 0;
	bool is_last = false;

	for (struct header *f = headers_find(h, TOKEN_TRANSFER_ENCODING); f; f = headers_next(h, f)) {
		struct span rest = f->value, item;

		while (span_next(&rest, ',', &item)) {
			if (item.len == 0)
				return CODEC_FAULT_CODING_MALFORMED;
			is_last = span_eq_nocase(item, SPAN("chunked"));
			chunked += is_last;
			count++;
		}
	}
	if (!is_last || chunked != 1)
		return CODEC_FAULT_CODING_MALFORMED;
	return count == 1 ? CODEC_FAULT_NONE : CODEC_FAULT_CODING_UNKNOWN;
}

enum codec_fault http1_framing_judge(struct message *m, const struct http1_fields *f)
{
	if (f->coding_count) {
		enum codec_fault fault = CODEC_FAULT_NONE;

		if (m->version == HTTP_VERSION_1_0)
			fault = CODEC_FAULT_CODING_ON_HTTP10;
		else if (f->length_count)
			fault = CODEC_FAULT_LENGTH_WITH_CODING;
		else
			fault = coding_judge(&m->headers);
		m->framing = BODY_CHUNKED;
		return fault;
	}
	m->framing = BODY_NONE;
	if (f->length_count == 0)
		return CODEC_FAULT_NONE;
	/* A repeated one is refused even when the values agree: whoever sends two is broken or testing us. */
	if (f->length_count > 1 || !span_to_u64(f->length->value, &m->content_length) ||
	    m->content_length > INT64_MAX)
		return CODEC_FAULT_CONTENT_LENGTH;
	m->framing = BODY_LENGTH;
	return CODEC_FAULT_NONE;
}
