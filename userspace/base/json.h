/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * json.h - write JSON (RFC 8259) into a strbuf.
 * Commas, quotes and escaping are done here; invalid UTF-8 becomes U+FFFD.
 * Nesting is checked with CHECK (an unbalanced call is our bug).
 */
#ifndef SN_BASE_JSON_H
#define SN_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/strbuf.h"

#define JSON_DEPTH_MAX 16

struct json {
	struct strbuf *out; /* borrowed */
	unsigned depth;
	bool is_pretty; /* two spaces, one member a line */
	bool has_member[JSON_DEPTH_MAX];
	char closing[JSON_DEPTH_MAX]; /* '}' or ']' */
};

void json_init(struct json *j, struct strbuf *out, bool is_pretty);
void json_object(struct json *j, const char *key); /* key NULL: in an array or at the top */
void json_array(struct json *j, const char *key);
void json_end(struct json *j, char bracket); /* '}' or ']' */
void json_span(struct json *j, const char *key, struct span value);
void json_str(struct json *j, const char *key, const char *value); /* NULL: null */
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_double(struct json *j, const char *key, double value); /* not finite: null */
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);
/* Only the escaped string, with quotes: for hand-built lines (access log). */
void json_escape(struct strbuf *out, struct span value);

#endif
