/* SPDX-License-Identifier: GPL-2.0-only */
/* store_url.c - addresses of stores: scheme, secrets, host, port, database. */
#include "clients/store_url.h"

#include <stdio.h>

#include "base/check.h"

#define DATABASE_MAX 1000000

static bool skip(struct span *rest, const char *prefix)
{
	struct span p = span_str(prefix);

	if (rest->len < p.len || !span_eq_nocase(span_of(rest->ptr, p.len), p))
		return false;
	*rest = span_skip(*rest, p.len);
	return true;
}

/* %XX is a byte; no NUL, since these are strings. */
static bool decode(struct span text, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint64_t byte = (uint8_t)text.ptr[i];

		if (byte == '%') {
			if (text.len - i < 3 || !span_hex_to_u64(span_of(text.ptr + i + 1, 2), &byte))
				return false;
			i += 2;
		}
		if (byte == 0 || len + 1 >= size)
			return false;
		out[len++] = (char)byte;
	}
	out[len] = '\0';
	return true;
}

/* "user:password@", ":password@" or nothing. */
static bool secrets_take(struct store_url *u, struct span *rest)
{
	size_t authority = span_find(*rest, '/'), at = authority;
	struct span text;
	size_t colon;

	while (at > 0 && rest->ptr[at - 1] != '@')
		at--;
	if (at == 0)
		return true;
	text = span_of(rest->ptr, at - 1);
	colon = span_find(text, ':');
	*rest = span_skip(*rest, at);
	/* Redis' own tools take "secret@" as a user without password: nobody means that */
	if (colon == text.len)
		return false;
	return decode(span_of(text.ptr, colon), u->user, sizeof(u->user)) &&
	       decode(span_skip(text, colon + 1), u->password, sizeof(u->password)) && u->password[0];
}

static bool database_take(struct store_url *u, struct span text)
{
	uint64_t n;

	if (text.len == 0)
		return true;
	if (!span_to_u64(text, &n) || n > DATABASE_MAX)
		return false;
	u->database = (uint32_t)n;
	return true;
}

static bool host_take(struct store_url *u, struct span text)
{
	const uint64_t port_default = u->kind == STORE_REDIS ? 6379 : 11211;
	bool is_v6 = text.len && text.ptr[0] == '[';
	size_t end = is_v6 ? span_find(text, ']') + 1 : span_find(text, ':');
	struct span host, port;
	uint64_t number = port_default;
	int len;

	if (end > text.len)
		return false;
	host = is_v6 ? span_of(text.ptr + 1, end - 2) : span_of(text.ptr, end);
	port = span_skip(text, end);
	if (port.len && (port.ptr[0] != ':' || !span_to_u64(span_skip(port, 1), &number)))
		return false;
	if (host.len == 0 || host.len >= sizeof(u->host) || number == 0 || number > 65535)
		return false;
	for (size_t i = 0; i < host.len; i++)
		if (host.ptr[i] <= ' ' || host.ptr[i] == 0x7f)
			return false;
	memcpy(u->host, host.ptr, host.len);
	u->host[host.len] = '\0';
	len = snprintf(u->endpoint, sizeof(u->endpoint), is_v6 ? "[%s]:%u" : "%s:%u", u->host, (unsigned)number);
	return len > 0 && (size_t)len < sizeof(u->endpoint);
}

static bool path_take(struct store_url *u, struct span text, const char **out_why)
{
	size_t question = span_find(text, '?');
	struct span path = span_of(text.ptr, question), query = span_skip(text, question + 1);

	*out_why = "the path of a socket begins with / and has less than 108 bytes";
	if (path.len < 2 || path.len >= 108 || path.ptr[0] != '/')
		return false;
	(void)snprintf(u->endpoint, sizeof(u->endpoint), "unix:" SPAN_FMT, SPAN_ARG(path));
	*out_why = "behind ? comes db=N";
	return query.len == 0 || (u->kind == STORE_REDIS && skip(&query, "db=") && database_take(u, query));
}

bool store_url_parse(struct store_url *out, enum store_kind kind, struct span text, const char **out_why)
{
	struct span rest = text;
	bool is_unix = false;
	size_t slash;

	*out = (struct store_url){ .kind = kind };
	*out_why = kind == STORE_REDIS ? "it begins with redis://, rediss:// or unix://" :
					 "it begins with memcache://, memcached:// or unix://";
	if (skip(&rest, "unix://") || (kind == STORE_REDIS && skip(&rest, "redis+unix://")))
		is_unix = true;
	else if (kind == STORE_REDIS ? skip(&rest, "rediss://") : false)
		out->is_tls = true;
	else if (!(kind == STORE_REDIS ? skip(&rest, "redis://") :
					 skip(&rest, "memcache://") || skip(&rest, "memcached://")))
		return false;
	if (kind == STORE_REDIS) {
		*out_why = "before @ come USER:PASSWORD or :PASSWORD, with %XX for special characters";
		if (!secrets_take(out, &rest))
			return false;
	}
	if (is_unix)
		return path_take(out, rest, out_why);
	slash = span_find(rest, '/');
	*out_why = "a host, with [brackets] around an IPv6 address, and a port from 1 to 65535 are expected";
	if (!host_take(out, span_of(rest.ptr, slash)))
		return false;
	*out_why = kind == STORE_REDIS ? "behind / comes the number of a database" : "nothing comes behind the port";
	rest = span_skip(rest, slash + 1);
	return kind == STORE_REDIS ? database_take(out, rest) : rest.len == 0;
}
