/* SPDX-License-Identifier: GPL-2.0-only */
/* error_page.h - the body of an answer that says what went wrong: JSON, HTML or text, each with the request's id. */
#ifndef SN_PROXY_ERROR_PAGE_H
#define SN_PROXY_ERROR_PAGE_H

#include <stdbool.h>

#include "base/iobuf.h"
#include "base/span.h"

enum error_page_form {
	ERROR_PAGE_HTML,
	ERROR_PAGE_JSON,
	ERROR_PAGE_TEXT,
	ERROR_PAGE_FORM_COUNT,
};

/*
 * What the client likes best by Accept (RFC 9110 12.5.1: q-values, the most specific range counts).  Equally liked,
 * nothing said, or nothing of ours wanted: JSON if prefers_json, else HTML.
 */
enum error_page_form error_page_form_of(struct span accept, bool prefers_json);

/*
 * text: what the client reads besides the status.  Everything is escaped for its form.  *out_content_type is static.
 * The slice holds one reference, the caller's.  Needs no exchange.
 */
struct slice error_page_render(unsigned status, const char *text, struct span request_id, struct span accept,
			       bool prefers_json, const char **out_content_type);

#endif
