/* SPDX-License-Identifier: GPL-2.0-only */
/* message.h - the head of a request or a response, the same for HTTP/1 and HTTP/2. */
#ifndef SN_HTTP_MESSAGE_H
#define SN_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "http/headers.h"

enum http_version {
	HTTP_VERSION_1_0,
	HTTP_VERSION_1_1,
	HTTP_VERSION_2,
};

enum http_method { /* the ones with a meaning for us; others keep their name */
	METHOD_OTHER,
	METHOD_GET,
	METHOD_HEAD,
	METHOD_POST,
	METHOD_PUT,
	METHOD_DELETE,
	METHOD_CONNECT,
	METHOD_OPTIONS,
	METHOD_TRACE,
	METHOD_PATCH,
};

/* How the body that follows is delimited: one decision, made by the codec, used everywhere (RFC 9112 6.3). */
enum body_framing {
	BODY_NONE,	  /* no body */
	BODY_LENGTH,	  /* content_length bytes; may be 0 */
	BODY_CHUNKED,	  /* h1 chunked, or h2 without content-length */
	BODY_UNTIL_CLOSE, /* responses only */
	BODY_TUNNEL,	  /* after 101, or 2xx to CONNECT: bytes of another protocol, both ways */
};

struct message {
	enum http_version version;

	/* request */
	enum http_method method;
	struct span method_name;
	struct span target;    /* as it came: origin-form, absolute-form, authority-form or "*" */
	struct span scheme;    /* of absolute-form, else empty */
	struct span authority; /* from the target or Host: host[:port] without userinfo; empty if HTTP/1.0 sent none */
	struct span path;      /* path and query as it came ("/" at least); "*" for OPTIONS * */

	/* response */
	unsigned status;
	struct span reason;

	struct headers headers; /* as they came, Host and Connection too; no Expect but 100-continue */
	enum body_framing framing;
	uint64_t content_length;
	bool wants_keep_alive; /* read: what version and Connection say.  Sent: whether we will keep the connection */
	bool is_raw; /* a request that nobody sent: bytes of plain TCP or passed-through TLS want a tunnel */
	bool expects_continue; /* Expect: 100-continue on HTTP/1.1 with a body */
	struct span upgrade;   /* read: value of Upgrade if Connection names it, else empty.  Sent: what to offer */
};

/* All zero but HTTP/1.1 and wants_keep_alive. */
void message_init(struct message *m, struct arena *a);
enum http_method method_of(struct span name);
struct span method_text(enum http_method m); /* "GET"; empty for METHOD_OTHER */
bool method_is_idempotent(enum http_method m); /* RFC 9110 9.2.2 */
bool method_is_safe(enum http_method m);       /* RFC 9110 9.2.1 */
struct span status_reason(unsigned status);    /* "Not Found"; "Unknown" otherwise */

#endif
