/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * request_id.h - the name of a request in logs, answers and at the origin.  Unique enough to find it again; not a
 * secret.  Any thread.
 */
#ifndef SN_PROXY_REQUEST_ID_H
#define SN_PROXY_REQUEST_ID_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"
#include "http/headers.h"
#include "proxy/settings.h"

#define REQUEST_ID_MAX		 128 /* bytes of one that a client sends */
#define REQUEST_ID_UUID_LEN	 36
#define REQUEST_ID_TINYFLAKE_LEN 11

/*
 * The client's own if one of X-Trace-Id, X-Correlation-Id and X-Request-Id (in this order) is valid, borrowed
 * from h; else a new one in a.
 */
struct span request_id_of(const struct headers *h, enum trace_id_format format, struct arena *a);

/*
 * tinyflake: 11 characters of base 58 (no 0, O, I, l): 3 of the time in seconds, modulo 58^3 (54 hours), and 8 of 48
 * random bits.  uuid: version 4, RFC 9562 5.4.
 */
struct span request_id_new(enum trace_id_format format, struct arena *a);

/* 1 to REQUEST_ID_MAX of A-Z a-z 0-9 . _ : - */
bool request_id_is_valid(struct span id);

#endif
