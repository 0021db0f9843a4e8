/* SPDX-License-Identifier: GPL-2.0-only */
/* http1_parse.c - a complete head into a message: our own start line, llhttp for the fields, then one judgement. */
#include "base/check.h"
#include "http/http1_private.h"

#define HEAD_SPARE_FIELDS 12 /* room for what a proxy adds */
#define STATUS_MIN	  100

/* The walk of llhttp over one head. */
struct walk {
	struct headers *fields;
	uint32_t fields_max;
	struct span name, value; /* of the field that is being read */
	bool is_complete;
};

/* The bytes lie in one piece, so that a second call of the same span only makes it longer. */
static int on_field(llhttp_t *p, const char *at, size_t len)
{
	struct walk *w = p->data;

	if (w->fields->count == w->fields_max)
		return HPE_USER;
	if (!w->name.ptr)
		w->name.ptr = at;
	w->name.len = (size_t)(at + len - w->name.ptr);
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
	struct walk *w = p->data;

	if (!w->value.ptr)
		w->value.ptr = at;
	w->value.len = (size_t)(at + len - w->value.ptr);
	return 0;
}

static int on_value_complete(llhttp_t *p)
{
	struct walk *w = p->data;
	enum header_token t = header_token_of(w->name);

	/* llhttp has judged the name too, but it is not the judge. */
	if (t == TOKEN_OTHER && !header_name_is_valid(w->name))
		return HPE_USER;
	headers_add_as(w->fields, t, w->name, span_trim(w->value));
	w->name = w->value = span_of(NULL, 0);
	return 0;
}

static int on_headers_complete(llhttp_t *p)
{
	struct walk *w = p->data;

	w->is_complete = true;
	/* What follows is ours to delimit. */
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_header_value_complete = on_value_complete,
	.on_headers_complete = on_headers_complete,
};

static bool walk_has(const struct walk *w, enum header_token t)
{
	return headers_find(w->fields, t) != NULL;
}

/* llhttp stops at the first thing it does not like: say what that was in our words. */
static enum codec_fault walk_fault(const struct walk *w, llhttp_errno_t err, bool is_request)
{
	switch (err) {
	case HPE_INVALID_METHOD:
	case HPE_INVALID_CONSTANT:
	case HPE_INVALID_VERSION:
	case HPE_INVALID_STATUS:
		/* The start line was judged before: what is left are methods of RTSP and of HTTP/2. */
		return is_request ? CODEC_FAULT_METHOD_UNKNOWN : CODEC_FAULT_STATUS_LINE;
	case HPE_INVALID_URL:
		return CODEC_FAULT_TARGET;
	case HPE_INVALID_CONTENT_LENGTH:
	case HPE_UNEXPECTED_CONTENT_LENGTH:
		return walk_has(w, TOKEN_TRANSFER_ENCODING) ? CODEC_FAULT_LENGTH_WITH_CODING :
							      CODEC_FAULT_CONTENT_LENGTH;
	case HPE_INVALID_TRANSFER_ENCODING:
		return walk_has(w, TOKEN_CONTENT_LENGTH) ? CODEC_FAULT_LENGTH_WITH_CODING :
							   CODEC_FAULT_CODING_MALFORMED;
	default:
		return w->fields->count == w->fields_max ? CODEC_FAULT_TOO_MANY_FIELDS : CODEC_FAULT_FIELD;
	}
}

/* Split the fields of the whole head into message->headers. */
static enum codec_fault head_walk(struct http1_head *head, llhttp_type_t type)
{
	struct headers *fields = &head->message->headers;
	struct walk w = { .fields = fields };
	llhttp_errno_t err;
	llhttp_t parser;

	headers_reserve(fields, head->lines + HEAD_SPARE_FIELDS);
	w.fields_max = fields->cap;
	llhttp_init(&parser, type, &settings);
	parser.data = &w;
	err = llhttp_execute(&parser, head->bytes.ptr, head->bytes.len);
	if (err == HPE_PAUSED && w.is_complete)
		return CODEC_FAULT_NONE;
	if (w.name.ptr)
		head->detail = w.name;
	return walk_fault(&w, err, type == HTTP_REQUEST);
}

/* method SP target SP version, each of them once (RFC 9112 3). */
static enum codec_fault request_line_parse(struct http1_head *head)
{
	struct message *m = head->message;
	struct span line = span_of(head->bytes.ptr, head->first_line), rest, version;
	size_t space;

	head->detail = line;
	space = span_find(line, ' ');
	m->method_name = span_of(line.ptr, space);
	rest = span_skip(line, space + 1);
	space = span_find(rest, ' ');
	m->target = span_of(rest.ptr, space);
	version = span_skip(rest, space + 1);
	if (!header_name_is_valid(m->method_name) || m->target.len == 0 || version.len == 0)
		return CODEC_FAULT_REQUEST_LINE;
	if (span_eq(version, SPAN("HTTP/1.1"))) {
		m->version = HTTP_VERSION_1_1;
	} else if (span_eq(version, SPAN("HTTP/1.0"))) {
		m->version = HTTP_VERSION_1_0;
	} else if (span_eq(version, SPAN("HTTP/2.0")) && span_eq(m->method_name, SPAN("PRI"))) {
		return CODEC_FAULT_HTTP2_PREFACE;
	} else {
		bool is_version = version.len == 8 && span_starts(version, SPAN("HTTP/")) &&
				  version.ptr[5] >= '0' && version.ptr[5] <= '9' && version.ptr[6] == '.' &&
				  version.ptr[7] >= '0' && version.ptr[7] <= '9';

		return is_version ? CODEC_FAULT_VERSION : CODEC_FAULT_REQUEST_LINE;
	}
	m->method = method_of(m->method_name);
	head->detail = span_of(NULL, 0);
	return CODEC_FAULT_NONE;
}

static bool message_wants_keep_alive(const struct message *m, const struct http1_fields *f)
{
	if (f->has_close)
		return false;
	return m->version == HTTP_VERSION_1_1 || f->has_keep_alive;
}

static enum codec_fault request_judge(struct http1_head *head)
{
	struct message *m = head->message;
	struct http1_fields f;
	enum codec_fault fault;

	http1_fields_collect(&m->headers, &f);
	if (f.host_count > 1)
		return CODEC_FAULT_HOST_REPEATED;
	if (f.host_count == 0 && m->version == HTTP_VERSION_1_1)
		return CODEC_FAULT_HOST_MISSING;
	fault = http1_target_judge(m, head->arena, f.host);
	if (fault) {
		head->detail = fault == CODEC_FAULT_HOST_MALFORMED ? f.host->value : m->target;
		return fault;
	}
	fault = http1_framing_judge(m, &f);
	if (fault)
		return fault;
	m->wants_keep_alive = message_wants_keep_alive(m, &f);
	if (m->version == HTTP_VERSION_1_0) {
		/* It knows neither Upgrade nor Expect (RFC 9110 7.8, 10.1.1), and we speak HTTP/1.1 to origins. */
		headers_remove(&m->headers, TOKEN_EXPECT);
		return CODEC_FAULT_NONE;
	}
	if (f.upgrade && f.names_upgrade)
		m->upgrade = f.upgrade->value;
	if (f.expect) {
		head->detail = f.expect->value;
		if (!span_eq_nocase(f.expect->value, SPAN("100-continue")) || headers_next(&m->headers, f.expect))
			return CODEC_FAULT_EXPECTATION;
		m->expects_continue = m->framing == BODY_CHUNKED || m->content_length > 0;
	}
	return CODEC_FAULT_NONE;
}

enum codec_fault http1_request_parse(struct http1_head *head)
{
	enum codec_fault fault = request_line_parse(head);

	if (!fault)
		fault = head_walk(head, HTTP_REQUEST);
	if (fault == CODEC_FAULT_METHOD_UNKNOWN)
		head->detail = head->message->method_name;
	return fault ? fault : request_judge(head);
}

/* version SP three digits [SP reason] (RFC 9112 4; the last space is left out by many). */
static enum codec_fault status_line_parse(struct http1_head *head)
{
	struct message *m = head->message;
	struct span line = span_of(head->bytes.ptr, head->first_line);
	uint64_t status;

	head->detail = line;
	if (span_starts(line, SPAN("HTTP/1.1 ")))
		m->version = HTTP_VERSION_1_1;
	else if (span_starts(line, SPAN("HTTP/1.0 ")))
		m->version = HTTP_VERSION_1_0;
	else
		return CODEC_FAULT_STATUS_LINE;
	line = span_skip(line, 9);
	if (line.len < 3 || !span_to_u64(span_of(line.ptr, 3), &status) || status < STATUS_MIN ||
	    (line.len > 3 && line.ptr[3] != ' '))
		return CODEC_FAULT_STATUS_LINE;
	m->status = (unsigned)status;
	m->reason = span_skip(line, 4);
	head->detail = span_of(NULL, 0);
	return CODEC_FAULT_NONE;
}

/* RFC 9112 6.3: what the status and the method of the request say goes first. */
static void response_framing_decide(struct message *m, enum http_method request_method)
{
	if (m->status == 101 || (request_method == METHOD_CONNECT && m->status / 100 == 2))
		m->framing = BODY_TUNNEL;
	else if (m->status / 100 == 1 || m->status == 204 || m->status == 304 || request_method == METHOD_HEAD)
		m->framing = BODY_NONE;
	else if (m->framing == BODY_NONE)
		m->framing = BODY_UNTIL_CLOSE;
}

enum codec_fault http1_response_parse(struct http1_head *head, enum http_method request_method)
{
	struct message *m = head->message;
	struct http1_fields f;
	enum codec_fault fault = status_line_parse(head);

	if (!fault)
		fault = head_walk(head, HTTP_RESPONSE);
	if (fault)
		return fault;
	http1_fields_collect(&m->headers, &f);
	fault = http1_framing_judge(m, &f);
	if (fault)
		return fault;
	response_framing_decide(m, request_method);
	m->wants_keep_alive = message_wants_keep_alive(m, &f) && m->framing != BODY_UNTIL_CLOSE;
	if (f.upgrade && f.names_upgrade)
		m->upgrade = f.upgrade->value;
	return CODEC_FAULT_NONE;
}

/* Fields that would change how the message was read, had they come in time (RFC 9110 6.5.1). */
static bool token_is_forbidden_in_trailers(enum header_token t)
{
	return t == TOKEN_CONTENT_LENGTH || t == TOKEN_TRANSFER_ENCODING || t == TOKEN_HOST || t == TOKEN_TRAILER;
}

enum codec_fault http1_trailers_parse(struct span block, struct headers *trailers, struct span *out_detail)
{
	while (block.len > 2) {
		/* The scan has seen to it that every CR ends a line. */
		size_t end = span_find(block, '\r');
		struct span line = span_of(block.ptr, end), name, value;
		size_t colon = span_find(line, ':');

		name = span_of(line.ptr, colon);
		value = span_trim(span_skip(line, colon + 1));
		*out_detail = name;
		if (colon == line.len || !header_name_is_valid(name))
			return CODEC_FAULT_FIELD;
		if (token_is_forbidden_in_trailers(header_token_of(name)))
			return CODEC_FAULT_TRAILER_FORBIDDEN;
		headers_add_name(trailers, name, value);
		block = span_skip(block, end + 2);
	}
	return CODEC_FAULT_NONE;
}
