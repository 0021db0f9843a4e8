/* SPDX-License-Identifier: GPL-2.0-only */
/* forwarding.c - what an origin is told about the client. */
#include "proxy/forwarding.h"

#include "base/check.h"

static bool hex_run(struct span s, size_t from, size_t len, bool may_be_zero)
{
	bool is_zero = true;

	for (size_t i = from; i < from + len; i++) {
		char c = s.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		is_zero &= c == '0';
	}
	return may_be_zero || !is_zero;
}

bool traceparent_is_valid(struct span v)
{
	return v.len == 55 && span_starts(v, SPAN("00-")) && v.ptr[35] == '-' && v.ptr[52] == '-' &&
	       hex_run(v, 3, 32, false) && hex_run(v, 36, 16, false) && hex_run(v, 53, 2, true);
}

/* All fields of the name in one, and the peer behind them. */
static struct span forwarded_for(const struct headers *h, struct span peer, bool is_peer_trusted, struct arena *a)
{
	size_t len = peer.len;
	char *text, *to;

	for (uint32_t i = 0; is_peer_trusted && i < h->count; i++)
		if (h->items[i].token == TOKEN_X_FORWARDED_FOR && h->items[i].value.len)
			len += h->items[i].value.len + 2;
	to = text = arena_alloc(a, len);
	for (uint32_t i = 0; is_peer_trusted && i < h->count; i++) {
		struct span value = h->items[i].value;

		if (h->items[i].token != TOKEN_X_FORWARDED_FOR || !value.len)
			continue;
		memcpy(to, value.ptr, value.len);
		memcpy(to + value.len, ", ", 2);
		to += value.len + 2;
	}
	memcpy(to, peer.ptr, peer.len);
	return span_of(text, len);
}

/* What else could speak for us. */
static void strangers_remove(struct headers *h, bool is_peer_trusted)
{
	const struct header *trace;

	headers_remove(h, TOKEN_X_INTERNAL_TOKEN);
	headers_remove(h, TOKEN_AUTHORIZATION_INTERNAL);
	if (!is_peer_trusted) {
		headers_remove(h, TOKEN_FORWARDED);
		headers_remove(h, TOKEN_X_FORWARDED_PORT);
		headers_remove(h, TOKEN_X_FORWARDED_BY);
	}
	trace = headers_find(h, TOKEN_TRACEPARENT);
	if (trace && !headers_next(h, trace) && traceparent_is_valid(trace->value))
		return;
	headers_remove(h, TOKEN_TRACEPARENT);
	headers_remove(h, TOKEN_TRACESTATE);
}

static void set_unless_trusted(struct headers *h, enum header_token t, struct span value, bool is_peer_trusted)
{
	if (is_peer_trusted && headers_find(h, t))
		return;
	if (value.len)
		headers_set(h, t, value);
	else
		headers_remove(h, t);
}

void forwarding_apply(struct headers *h, const struct forwarding_input *in, struct arena *a)
{
	strangers_remove(h, in->is_peer_trusted);
	headers_set(h, TOKEN_X_FORWARDED_FOR, forwarded_for(h, in->peer_ip, in->is_peer_trusted, a));
	set_unless_trusted(h, TOKEN_X_FORWARDED_PROTO, in->scheme, in->is_peer_trusted);
	set_unless_trusted(h, TOKEN_X_FORWARDED_HOST, in->host, in->is_peer_trusted);
	headers_set(h, TOKEN_X_REAL_IP, in->client_ip);
	headers_set(h, TOKEN_X_REQUEST_ID, in->request_id);
	headers_set(h, TOKEN_X_CORRELATION_ID, in->request_id);
	headers_set(h, TOKEN_X_TRACE_ID, in->request_id);
}

void forwarding_clean_trailers(struct headers *trailers)
{
	static const enum header_token ours[] = {
		TOKEN_X_FORWARDED_FOR, TOKEN_X_FORWARDED_PROTO, TOKEN_X_FORWARDED_HOST, TOKEN_X_FORWARDED_PORT,
		TOKEN_X_FORWARDED_BY,  TOKEN_FORWARDED,		TOKEN_X_REAL_IP,	TOKEN_X_REQUEST_ID,
		TOKEN_X_CORRELATION_ID, TOKEN_X_TRACE_ID,	TOKEN_X_INTERNAL_TOKEN,
	};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		headers_remove(trailers, ours[i]);
}
