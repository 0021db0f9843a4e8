/* SPDX-License-Identifier: GPL-2.0-only */
/* handler.h - what produces the response of a route: forward to an upstream, or something built in. */
#ifndef SN_PROXY_HANDLER_H
#define SN_PROXY_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/iobuf.h"
#include "proxy/filter.h"

struct exchange;

enum handler_verdict {
	HANDLER_ANSWER, /* x->response (head) is there: go on to the response filters */
	HANDLER_WAIT,	/* exchange_resume() follows */
	HANDLER_FAIL,	/* exchange_fail() was called */
};

struct handler {
	const char *name; /* builtin-handler "name" in the file, or "forward" */
	const char *help;
	/* Entered once, and again after each exchange_resume() while it waits. */
	enum handler_verdict (*respond)(struct exchange *x);
	/* A chunk of the request body, in order, after all request filters.  Takes the reference.  NULL:
	 * discarded. */
	void (*on_request_body)(struct exchange *x, struct slice data, bool is_end, struct headers *trailers);
	/* Bytes of the response body may come again (the client took some).  NULL: the whole body is in
	 * x->answer_body. */
	void (*on_response_credit)(struct exchange *x, size_t bytes);
	/* The exchange ends: abandon whatever is open.  Always called once if respond() was.  NULL ok. */
	void (*on_done)(struct exchange *x);
};

const struct handler *handler_find(const char *name); /* builtins; NULL: unknown */
const struct handler *handler_at(size_t index);
extern const struct handler handler_forward;

#endif
