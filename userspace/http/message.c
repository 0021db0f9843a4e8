/* SPDX-License-Identifier: GPL-2.0-only */
/* message.c - methods and status codes. */
#include "http/message.h"

#include "base/check.h"

static const struct span method_names[] = {
	[METHOD_OTHER] = { "", 0 },	    [METHOD_GET] = { "GET", 3 },
	[METHOD_HEAD] = { "HEAD", 4 },	    [METHOD_POST] = { "POST", 4 },
	[METHOD_PUT] = { "PUT", 3 },	    [METHOD_DELETE] = { "DELETE", 6 },
	[METHOD_CONNECT] = { "CONNECT", 7 }, [METHOD_OPTIONS] = { "OPTIONS", 7 },
	[METHOD_TRACE] = { "TRACE", 5 },    [METHOD_PATCH] = { "PATCH", 5 },
};

void message_init(struct message *m, struct arena *a)
{
	*m = (struct message){ .version = HTTP_VERSION_1_1, .wants_keep_alive = true };
	headers_init(&m->headers, a);
}

/* Method names are case-sensitive (RFC 9110 9.1). */
enum http_method method_of(struct span name)
{
	for (unsigned m = METHOD_OTHER + 1; m < ARRAY_LEN(method_names); m++)
		if (span_eq(name, method_names[m]))
			return m;
	return METHOD_OTHER;
}

struct span method_text(enum http_method m)
{
	CHECK(m < ARRAY_LEN(method_names));
	return method_names[m];
}

bool method_is_safe(enum http_method m)
{
	return m == METHOD_GET || m == METHOD_HEAD || m == METHOD_OPTIONS || m == METHOD_TRACE;
}

bool method_is_idempotent(enum http_method m)
{
	return method_is_safe(m) || m == METHOD_PUT || m == METHOD_DELETE;
}

struct span status_reason(unsigned status)
{
	/* RFC 9110 15 and the registry of status codes. */
	switch (status) {
#define STATUS(code, text) \
	case code: return SPAN(text);
#include "http/status.def"
#undef STATUS
	default:
		return SPAN("Unknown");
	}
}
