/* SPDX-License-Identifier: GPL-2.0-only */
/* http1_target.c - the target of a request and its Host: one authority, or a refusal (RFC 9112 3.2 and 3.3). */
#include "base/check.h"
#include "http/http1_private.h"
#include "http/uri.h"

static bool target_has_valid_bytes(struct span target)
{
	for (size_t i = 0; i < target.len; i++) {
		uint8_t c = (uint8_t)target.ptr[i];

		/* A fragment never travels (RFC 9110 7.1); other than ASCII must be escaped. */
		if (c <= 0x20 || c >= 0x7f || c == '#')
			return false;
	}
	return target.len > 0;
}

static enum codec_fault authority_judge(struct span authority, struct span *out_host, unsigned *out_port)
{
	if (authority.len && memchr(authority.ptr, '@', authority.len))
		return CODEC_FAULT_USERINFO;
	if (!uri_split_authority(authority, out_host, out_port))
		return CODEC_FAULT_HOST_MALFORMED;
	return CODEC_FAULT_NONE;
}

/* "http://authority/path?query" */
static enum codec_fault absolute_form_split(struct message *m, struct arena *a)
{
	size_t colon = span_find(m->target, ':'), end = 0;
	struct span scheme = span_of(m->target.ptr, colon), rest;

	if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
		return CODEC_FAULT_TARGET;
	rest = span_skip(m->target, colon);
	if (!span_starts(rest, SPAN("://")))
		return CODEC_FAULT_TARGET;
	rest = span_skip(rest, 3);
	while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
		end++;
	m->scheme = scheme;
	m->authority = span_of(rest.ptr, end);
	m->path = span_skip(rest, end);
	if (m->path.len == 0) {
		m->path = SPAN("/");
	} else if (m->path.ptr[0] == '?') {
		char *path = arena_alloc(a, m->path.len + 1);

		path[0] = '/';
		memcpy(path + 1, m->path.ptr, m->path.len);
		m->path = span_of(path, m->path.len + 1);
	}
	return CODEC_FAULT_NONE;
}

/* The form follows from the method and the first byte. */
static enum codec_fault target_split(struct message *m, struct arena *a)
{
	if (m->method == METHOD_CONNECT) {
		m->authority = m->target;
		m->path = span_of(NULL, 0);
		return CODEC_FAULT_NONE;
	}
	if (m->target.ptr[0] == '/') {
		m->path = m->target;
		return CODEC_FAULT_NONE;
	}
	if (span_eq(m->target, SPAN("*"))) {
		m->path = m->target;
		return m->method == METHOD_OPTIONS ? CODEC_FAULT_NONE : CODEC_FAULT_TARGET;
	}
	return absolute_form_split(m, a);
}

static unsigned port_or_default(unsigned port, struct span scheme)
{
	if (port)
		return port;
	if (span_eq_nocase(scheme, SPAN("http")))
		return 80;
	return span_eq_nocase(scheme, SPAN("https")) ? 443 : 0;
}

enum codec_fault http1_target_judge(struct message *m, struct arena *a, const struct header *host)
{
	struct span target_host = { NULL, 0 }, host_host = { NULL, 0 };
	unsigned target_port = 0, host_port = 0;
	enum codec_fault fault;

	if (!target_has_valid_bytes(m->target))
		return CODEC_FAULT_TARGET;
	fault = target_split(m, a);
	if (!fault && m->authority.ptr) {
		fault = authority_judge(m->authority, &target_host, &target_port);
		if (fault == CODEC_FAULT_HOST_MALFORMED)
			fault = CODEC_FAULT_TARGET;
	}
	if (!fault && host)
		fault = authority_judge(host->value, &host_host, &host_port);
	if (fault)
		return fault;
	if (m->method == METHOD_CONNECT) {
		if (!target_port)
			return CODEC_FAULT_TARGET;
		/* A Host without a port is common here. */
		host_port = host_port ? host_port : target_port;
	}
	if (!m->authority.ptr) {
		m->authority = host ? host->value : span_of(NULL, 0);
		return CODEC_FAULT_NONE;
	}
	if (host && (!span_eq_nocase(target_host, host_host) ||
		     port_or_default(target_port, m->scheme) != port_or_default(host_port, m->scheme)))
		return CODEC_FAULT_HOST_MISMATCH;
	return CODEC_FAULT_NONE;
}
