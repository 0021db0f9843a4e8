/* SPDX-License-Identifier: GPL-2.0-only */
/* http2_write.c - messages into frames: heads at once, bodies when output() asks for them. */
#include "base/check.h"
#include "base/decimal.h"
#include "base/mem.h"
#include "http/http2_private.h"

#define STATUS_DIGITS 3
#define GATEWAY_FAULT 502

/* A head as nghttp2 wants it. */
struct plan {
	struct http2 *h;
	const struct message *m;
	size_t count;
	uint8_t flags; /* of each field: a response is packed before send() returns, a request may wait */
	char status[STATUS_DIGITS];
	char length[DECIMAL_MAX];
};

static void field_add(struct plan *p, struct span name, bool is_static_name, struct span value)
{
	p->h->fields[p->count++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.ptr,
		.value = (uint8_t *)(uintptr_t)value.ptr,
		.namelen = name.len,
		.valuelen = value.len,
		/* A name that is copied is lower-cased. */
		.flags = (uint8_t)(p->flags | (is_static_name ? NGHTTP2_NV_FLAG_NO_COPY_NAME : 0)),
	};
}

static void plan_begin(struct plan *p, struct http2 *h, const struct message *m)
{
	size_t room = m->headers.count + 8;

	*p = (struct plan){ .h = h, .m = m, .flags = h->is_server ? NGHTTP2_NV_FLAG_NO_COPY_VALUE : 0 };
	if (h->fields_cap < room) {
		h->fields = mem_resize(h->fields, room * 2, sizeof(*h->fields));
		h->fields_cap = room * 2;
	}
}

/* --- fields ------------------------------------------------------------------------------------------------------ */

/* Fields that HTTP/2 has no place for, or that the codec writes itself. */
static bool token_is_dropped(const struct http2_stream *s, enum header_token t, bool is_request)
{
	switch (t) {
	case TOKEN_CONNECTION:
	case TOKEN_KEEP_ALIVE:
	case TOKEN_PROXY_CONNECTION:
	case TOKEN_TRANSFER_ENCODING:
	case TOKEN_UPGRADE:
	case TOKEN_HTTP2_SETTINGS:
	case TOKEN_TE:
	case TOKEN_CONTENT_LENGTH:
		return true;
	case TOKEN_HOST:
		return is_request;
	case TOKEN_SEC_WEBSOCKET_KEY:
		return is_request && s->tunnel == TUNNEL_ASKED;
	case TOKEN_SEC_WEBSOCKET_ACCEPT:
		return !is_request && s->tunnel == TUNNEL_OPEN;
	default:
		return false;
	}
}

static bool field_is_valid(const struct header *f)
{
	return (f->token != TOKEN_OTHER || header_name_is_valid(f->name)) && header_value_is_valid(f->value);
}

static bool fields_add(struct plan *p, const struct http2_stream *s, bool is_request)
{
	const struct headers *fields = &p->m->headers;

	for (const struct header *f = fields->items; f < headers_end(fields); f++) {
		if (token_is_dropped(s, f->token, is_request))
			continue;
		if (!field_is_valid(f))
			return false;
		field_add(p, f->token ? header_token_name(f->token) : f->name, f->token != TOKEN_OTHER,
			  span_trim(f->value));
		if (f->is_secret)
			p->h->fields[p->count - 1].flags |= NGHTTP2_NV_FLAG_NO_INDEX;
	}
	if (is_request && headers_list_has(fields, TOKEN_TE, SPAN("trailers")))
		field_add(p, SPAN("te"), true, SPAN("trailers"));
	return true;
}

static void length_add(struct plan *p, uint64_t length)
{
	char *end = decimal_put(p->length, length);

	field_add(p, SPAN("content-length"), true, span_of(p->length, (size_t)(end - p->length)));
}

/* --- death, and giving up a tunnel ------------------------------------------------------------------------------- */

static void stream_break(struct http2 *h, struct http2_stream *s, enum codec_fault fault)
{
	http2_stream_fail(h, s, fault, HTTP2_INTERNAL_ERROR);
	http2_control_drain(h);
}

static void out_resume(struct http2 *h, struct http2_stream *s)
{
	if (!s->is_out_deferred)
		return;
	s->is_out_deferred = false;
	(void)nghttp2_session_resume_data(h->session, s->wire);
}

static void out_finish(struct http2 *h, struct http2_stream *s)
{
	s->out_half = HALF_END;
	if (!s->is_out_ended && !s->is_wire_closed) {
		s->is_end_pending = true;
		h->pending_ends++;
	}
	out_resume(h, s);
}

void http2_tunnel_refused(struct http2 *h, struct http2_stream *s)
{
	s->tunnel = TUNNEL_NONE;
	if (s->is_end_wanted)
		out_finish(h, s);
}

/* --- heads ------------------------------------------------------------------------------------------------------- */

static ssize_t data_read(nghttp2_session *session, int32_t wire, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg);

static void tunnel_answer(struct http2 *h, struct http2_stream *s, bool is_accepted)
{
	if (is_accepted) {
		s->tunnel = TUNNEL_OPEN;
		http2_stream_ready(h, s);
		return;
	}
	/* What the client sends into a tunnel that is none is nobody's. */
	s->tunnel = TUNNEL_NONE;
	s->is_end_given = true;
	s->is_bad = true;
	http2_stream_drop_in(h, s);
}

/* The status as it goes out, or 0: cannot be said in HTTP/2. */
static unsigned response_status(struct http2 *h, struct http2_stream *s, const struct message *m)
{
	bool is_connect = s->method == METHOD_CONNECT;

	if (m->status < 100 || m->status > 999 || (m->framing == BODY_LENGTH && m->content_length > INT64_MAX))
		return 0;
	if (s->tunnel != TUNNEL_ASKED || (m->status / 100 == 1 && m->status != 101))
		return m->framing == BODY_TUNNEL || m->status == 101 ? 0 : m->status;
	if (is_connect ? m->status / 100 == 2 : m->status == 101) {
		tunnel_answer(h, s, true);
		return is_connect ? m->status : 200;
	}
	if (m->status == 101 || m->framing == BODY_TUNNEL)
		return 0;
	tunnel_answer(h, s, false);
	/* To an extended CONNECT a plain success would say that the tunnel is open (RFC 8441 5). */
	return m->status / 100 == 2 ? GATEWAY_FAULT : m->status;
}

/* What the framing says on the wire; true: no byte follows the head. */
static bool framing_add(struct plan *p, struct http2_stream *s, bool has_no_body)
{
	const struct message *m = p->m;
	const struct header *f = headers_find(&m->headers, TOKEN_CONTENT_LENGTH);

	s->out_left = LENGTH_UNKNOWN;
	s->is_out_dropped = has_no_body || m->framing == BODY_NONE;
	if (m->framing == BODY_LENGTH && m->status != 204) {
		length_add(p, m->content_length);
		s->out_left = m->content_length;
	} else if (m->framing == BODY_NONE && has_no_body && m->status != 204 && f && header_value_is_valid(f->value)) {
		field_add(p, SPAN("content-length"), true, f->value);
	}
	return s->is_out_dropped;
}

static void response_send(struct http2 *h, struct http2_stream *s, const struct message *m)
{
	nghttp2_data_provider data = { .source.ptr = s, .read_callback = data_read };
	unsigned status = response_status(h, s, m);
	bool is_interim = status / 100 == 1, is_last = false;
	struct plan p;
	int rv;

	plan_begin(&p, h, m);
	p.status[0] = (char)('0' + status / 100);
	p.status[1] = (char)('0' + status / 10 % 10);
	p.status[2] = (char)('0' + status % 10);
	field_add(&p, SPAN(":status"), true, span_of(p.status, STATUS_DIGITS));
	if (!status || !fields_add(&p, s, false)) {
		stream_break(h, s, CODEC_FAULT_OUTPUT_MALFORMED);
		return;
	}
	if (is_interim) {
		rv = nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, s->wire, NULL, h->fields, p.count, NULL);
	} else {
		s->out_half = HALF_BODY;
		if (s->tunnel != TUNNEL_OPEN)
			is_last = framing_add(&p, s, s->method == METHOD_HEAD || status == 204 || status == 304);
		rv = nghttp2_submit_response(h->session, s->wire, h->fields, p.count, is_last ? NULL : &data);
	}
	CHECK(rv == 0);
	http2_control_drain(h);
}

static void request_fields_add(struct plan *p, struct http2_stream *s, bool is_websocket)
{
	const struct message *m = p->m;
	const struct header *host = headers_find(&m->headers, TOKEN_HOST);
	struct span authority = host && m->method != METHOD_CONNECT ? host->value : m->authority;
	const struct header *key = headers_find(&m->headers, TOKEN_SEC_WEBSOCKET_KEY);

	field_add(p, SPAN(":method"), true, is_websocket ? SPAN("CONNECT") : m->method_name);
	if (m->method != METHOD_CONNECT) {
		field_add(p, SPAN(":scheme"), true, p->h->settings.is_tls ? SPAN("https") : SPAN("http"));
		field_add(p, SPAN(":path"), true, m->path);
	}
	field_add(p, SPAN(":authority"), true, authority);
	if (!is_websocket)
		return;
	field_add(p, SPAN(":protocol"), true, SPAN("websocket"));
	if (key)
		s->websocket_key = mem_strndup(key->value.ptr, key->value.len);
}

static bool pseudo_is_valid(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((uint8_t)s.ptr[i] <= 0x20 || (uint8_t)s.ptr[i] >= 0x7f)
			return false;
	return s.len > 0;
}

static bool request_is_valid(const struct message *m, const nghttp2_nv *fields, size_t pseudo_count)
{
	if (m->framing == BODY_UNTIL_CLOSE || m->framing == BODY_TUNNEL || !header_name_is_valid(m->method_name) ||
	    (m->framing == BODY_LENGTH && m->content_length > INT64_MAX))
		return false;
	for (size_t i = 0; i < pseudo_count; i++)
		if (!pseudo_is_valid(span_of((const char *)fields[i].value, fields[i].valuelen)))
			return false;
	return true;
}

/* It never started: as if the peer had refused it. */
static void request_refuse(struct http2 *h, struct http2_stream *s)
{
	http2_stream_fail(h, s, CODEC_FAULT_NONE, HTTP2_REFUSED_STREAM);
	s->is_retryable = true;
}

static void request_submit(struct http2 *h, struct http2_stream *s, size_t count, bool is_last)
{
	nghttp2_data_provider data = { .source.ptr = s, .read_callback = data_read };
	int32_t wire;

	if (h->is_exhausted || h->active > http2_peer_streams_max(h) ||
	    !nghttp2_session_check_request_allowed(h->session)) {
		request_refuse(h, s);
		return;
	}
	wire = nghttp2_submit_request(h->session, NULL, h->fields, count, is_last ? NULL : &data, s);
	if (wire < 0) {
		h->is_exhausted = true;
		request_refuse(h, s);
		return;
	}
	s->wire = wire;
	s->is_wire_closed = false;
	http2_control_drain(h);
	/* nghttp2 tells nobody when a request was not sent. */
	if (!s->is_wire_closed && nghttp2_session_get_stream_user_data(h->session, wire) != s) {
		s->is_wire_closed = true;
		request_refuse(h, s);
	}
}

static void request_send(struct http2 *h, struct http2_stream *s, const struct message *m)
{
	bool is_websocket = span_eq_nocase(m->upgrade, SPAN("websocket")), is_last;
	size_t pseudo_count;
	struct plan p;

	s->method = (uint8_t)m->method;
	s->out_half = HALF_BODY;
	if (is_websocket || m->method == METHOD_CONNECT)
		s->tunnel = TUNNEL_ASKED;
	plan_begin(&p, h, m);
	request_fields_add(&p, s, is_websocket);
	pseudo_count = p.count;
	if ((is_websocket && (!http2_peer_allows_connect(h) || m->method != METHOD_GET)) ||
	    !request_is_valid(m, h->fields, pseudo_count) || !fields_add(&p, s, true)) {
		stream_break(h, s, CODEC_FAULT_OUTPUT_MALFORMED);
		return;
	}
	is_last = s->tunnel == TUNNEL_NONE && framing_add(&p, s, false);
	request_submit(h, s, p.count, is_last);
}

/* --- bodies and trailers ----------------------------------------------------------------------------------------- */

static void body_send(struct http2 *h, struct http2_stream *s, struct slice data)
{
	CHECK(s->out_half == HALF_BODY);
	if (s->is_out_dropped || data.len == 0) {
		slice_put(&data);
		return;
	}
	if (data.len > s->out_left) {
		slice_put(&data);
		stream_break(h, s, CODEC_FAULT_OUTPUT_LENGTH);
		return;
	}
	if (s->out_left != LENGTH_UNKNOWN)
		s->out_left -= data.len;
	h->queued += data.len;
	slice_queue_push(&s->out, data);
	out_resume(h, s);
}

/* They leave after the last DATA: kept in one piece until then. */
static bool trailers_keep(struct http2_stream *s, const struct headers *trailers)
{
	size_t bytes = 0, count = 0;
	nghttp2_nv *at;
	uint8_t *text;

	for (const struct header *f = trailers->items; f < headers_end(trailers); f++) {
		if (!field_is_valid(f))
			return false;
		bytes += f->name.len + f->value.len;
	}
	s->trailer_block = mem_alloc(trailers->count * sizeof(*at) + bytes);
	at = s->trailer_block;
	text = (uint8_t *)(at + trailers->count);
	for (const struct header *f = trailers->items; f < headers_end(trailers); f++) {
		struct span value = span_trim(f->value);

		if (token_is_dropped(s, f->token, true))
			continue;
		at[count++] = (nghttp2_nv){ text, text + f->name.len, f->name.len, value.len,
					    f->is_secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE };
		text = mempcpy(text, f->name.ptr, f->name.len);
		if (value.len)
			text = mempcpy(text, value.ptr, value.len);
	}
	s->trailer_count = count;
	return true;
}

static void end_send(struct http2 *h, struct http2_stream *s, const struct headers *trailers)
{
	if (s->tunnel == TUNNEL_ASKED) {
		CHECK(!h->is_server);
		s->is_end_wanted = true;
		return;
	}
	CHECK(s->out_half == HALF_BODY);
	if (!s->is_out_dropped && s->out_left != LENGTH_UNKNOWN && s->out_left > 0) {
		stream_break(h, s, CODEC_FAULT_OUTPUT_LENGTH);
		return;
	}
	if (!s->is_out_dropped && trailers && trailers->count && s->tunnel == TUNNEL_NONE &&
	    !trailers_keep(s, trailers)) {
		stream_break(h, s, CODEC_FAULT_OUTPUT_MALFORMED);
		return;
	}
	out_finish(h, s);
}

/* How much of the stream's body goes into the next DATA frame. */
static ssize_t data_read(nghttp2_session *session, int32_t wire, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct http2_stream *s = source->ptr;
	struct http2 *h = arg;

	(void)buf;
	if (h->is_holding_data)
		return NGHTTP2_ERR_PAUSE;
	if (s->out.bytes == 0 && s->out_half != HALF_END) {
		s->is_out_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	len = MIN(len, s->out.bytes);
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len == s->out.bytes && s->out_half == HALF_END) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->trailer_count) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			CHECK(nghttp2_submit_trailer(session, wire, s->trailer_block, s->trailer_count) == 0);
			s->trailer_count = 0;
		}
	}
	return (ssize_t)len;
}

int http2_data_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
		    nghttp2_data_source *source, void *arg)
{
	struct http2_stream *s = source->ptr;
	struct http2 *h = arg;

	(void)session, (void)frame;
	http2_gather(h, head, FRAME_HEAD);
	http2_gather_queue(h, &s->out, len);
	h->queued -= len;
	if (len) {
		http2_flood_sent(h, len, s->out.bytes == 0);
		s->sent_bytes += len;
		if (s->is_owned)
			http2_stream_ready(h, s);
	}
	return h->out.bytes >= h->out_max ? NGHTTP2_ERR_PAUSE : 0;
}

/* --- send() ------------------------------------------------------------------------------------------------------ */

void http2_write(struct http2 *h, struct codec_send *s)
{
	struct http2_stream *st = h->fault ? NULL : http2_stream_find(h, s->stream);
	bool is_gone = !st || st->is_dead || (st->wire && st->is_wire_closed);

	CHECK(h->fault || st);
	if (s->type == CODEC_SEND_BODY) {
		if (is_gone)
			slice_put(&s->data);
		else
			body_send(h, st, s->data);
		s->data = (struct slice){ 0 };
		return;
	}
	if (is_gone)
		return;
	switch (s->type) {
	case CODEC_SEND_HEAD:
		CHECK(st->out_half == HALF_HEAD);
		if (h->is_server)
			response_send(h, st, s->message);
		else
			request_send(h, st, s->message);
		break;
	case CODEC_SEND_END:
		end_send(h, st, s->trailers);
		break;
	default:
		/* Asked for by its owner, who needs no event. */
		http2_stream_fail(h, st, CODEC_FAULT_NONE, s->error ? s->error : HTTP2_CANCEL);
		st->is_reset_due = false;
		http2_control_drain(h);
		break;
	}
}
