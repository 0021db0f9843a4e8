/* SPDX-License-Identifier: GPL-2.0-only */
/* error_page.c - chooses the form of an error's body and writes it. */
#include "proxy/error_page.h"

#include "base/check.h"
#include "base/json.h"
#include "http/message.h"

#define ACCEPT_RANGES_MAX 64 /* of Accept that are looked at */

static const struct {
	struct span type, subtype;
	const char *content_type;
} forms[ERROR_PAGE_FORM_COUNT] = {
	[ERROR_PAGE_HTML] = { { "text", 4 }, { "html", 4 }, "text/html; charset=utf-8" },
	[ERROR_PAGE_JSON] = { { "application", 11 }, { "json", 4 }, "application/json" },
	[ERROR_PAGE_TEXT] = { { "text", 4 }, { "plain", 5 }, "text/plain; charset=utf-8" },
};

/* RFC 9110 12.4.2: "0.5" as 500; what is no number counts as 0. */
static unsigned q_parse(struct span q)
{
	unsigned value, scale = 100;

	if (!q.len || (q.ptr[0] != '0' && q.ptr[0] != '1') || q.len > 5 || (q.len > 1 && q.ptr[1] != '.'))
		return 0;
	value = q.ptr[0] == '1' ? 1000 : 0;
	for (size_t i = 2; i < q.len; i++, scale /= 10) {
		if (q.ptr[i] < '0' || q.ptr[i] > '9')
			return 0;
		value += (unsigned)(q.ptr[i] - '0') * scale;
	}
	return MIN(value, 1000U);
}

/* Takes "type/subtype" off `range`; *out_q is its weight. */
static struct span range_parse(struct span range, unsigned *out_q)
{
	struct span media, parameter;

	*out_q = 1000;
	if (!span_next(&range, ';', &media))
		return (struct span){ 0 };
	while (span_next(&range, ';', &parameter))
		if (parameter.len > 1 && (parameter.ptr[0] | 0x20) == 'q' && parameter.ptr[1] == '=')
			*out_q = q_parse(span_skip(parameter, 2));
	return media;
}

/* How exactly the range names the form: 0 not at all, 1 by any type, 2 by its type, 3 itself. */
static unsigned range_fit(struct span media, enum error_page_form form)
{
	size_t slash = span_find(media, '/');
	struct span type = span_of(media.ptr, slash), subtype = span_skip(media, slash + 1);

	if (span_eq(media, SPAN("*/*")))
		return 1;
	if (!span_eq_nocase(type, forms[form].type))
		return 0;
	if (span_eq(subtype, SPAN("*")))
		return 2;
	return span_eq_nocase(subtype, forms[form].subtype) ? 3 : 0;
}

enum error_page_form error_page_form_of(struct span accept, bool prefers_json)
{
	enum error_page_form preferred = prefers_json ? ERROR_PAGE_JSON : ERROR_PAGE_HTML, best = preferred;
	unsigned q[ERROR_PAGE_FORM_COUNT] = { 0 }, fit[ERROR_PAGE_FORM_COUNT] = { 0 };
	struct span range;

	for (unsigned n = 0; n < ACCEPT_RANGES_MAX && span_next(&accept, ',', &range); n++) {
		unsigned weight;
		struct span media = range_parse(range, &weight);

		for (unsigned form = 0; form < ERROR_PAGE_FORM_COUNT; form++) {
			unsigned how = range_fit(media, form);

			if (how > fit[form]) {
				fit[form] = how;
				q[form] = weight;
			}
		}
	}
	for (unsigned form = 0; form < ERROR_PAGE_FORM_COUNT; form++)
		if (q[form] > q[best])
			best = form;
	return best;
}

static void html_escape(struct strbuf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		switch (s.ptr[i]) {
		case '<':
			strbuf_add_str(out, "&lt;");
			break;
		case '>':
			strbuf_add_str(out, "&gt;");
			break;
		case '&':
			strbuf_add_str(out, "&amp;");
			break;
		case '"':
			strbuf_add_str(out, "&quot;");
			break;
		case '\'':
			strbuf_add_str(out, "&#39;");
			break;
		default:
			strbuf_add_char(out, s.ptr[i]);
		}
	}
}

static void html_write(struct strbuf *out, struct span title, struct span text, struct span id)
{
	strbuf_add_str(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
	html_escape(out, title);
	strbuf_add_str(out, "</title></head>\n<body><h1>");
	html_escape(out, title);
	strbuf_add_str(out, "</h1>\n<p>");
	html_escape(out, text);
	strbuf_add_str(out, "</p>\n<p>Request id: <code>");
	html_escape(out, id);
	strbuf_add_str(out, "</code></p></body></html>\n");
}

static void json_write(struct strbuf *out, struct span title, unsigned status, struct span text, struct span id)
{
	struct json j;

	json_init(&j, out, false);
	json_object(&j, NULL);
	json_span(&j, "error", title);
	json_u64(&j, "status", status);
	json_span(&j, "message", text);
	json_span(&j, "request_id", id);
	json_end(&j, '}');
	strbuf_add_char(out, '\n');
}

/* One fact a line: bytes that would start a new one are not let through. */
static void text_add(struct strbuf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		strbuf_add_char(out, (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f ? '?' : s.ptr[i]);
}

static void text_write(struct strbuf *out, struct span title, struct span text, struct span id)
{
	text_add(out, title);
	strbuf_add_char(out, '\n');
	if (!span_ends(title, text)) {
		text_add(out, text);
		strbuf_add_char(out, '\n');
	}
	strbuf_add_str(out, "request id: ");
	text_add(out, id);
	strbuf_add_char(out, '\n');
}

struct slice error_page_render(unsigned status, const char *text, struct span request_id, struct span accept,
			       bool prefers_json, const char **out_content_type)
{
	enum error_page_form form = error_page_form_of(accept, prefers_json);
	struct span message = span_str(text), title;
	struct strbuf title_text = { 0 }, body = { 0 };
	struct slice page;

	strbuf_add_u64(&title_text, status);
	strbuf_add_char(&title_text, ' ');
	strbuf_add_span(&title_text, status_reason(status));
	title = strbuf_span(&title_text);
	if (form == ERROR_PAGE_HTML)
		html_write(&body, title, message, request_id);
	else if (form == ERROR_PAGE_JSON)
		json_write(&body, title, status, message, request_id);
	else
		text_write(&body, title, message, request_id);
	page = slice_copy(body.ptr, (uint32_t)body.len);
	*out_content_type = forms[form].content_type;
	strbuf_fini(&title_text);
	strbuf_fini(&body);
	return page;
}
