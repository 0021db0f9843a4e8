/* SPDX-License-Identifier: GPL-2.0-only */
/* tls_report.c - collects sentences about certificates and keys, and OpenSSL's own words. */
#include "net/tls_report.h"

#include <openssl/err.h>
#include <stdio.h>

void tls_report_fini(struct tls_report *r)
{
	if (!r)
		return;
	strbuf_fini(&r->errors);
	strbuf_fini(&r->warnings);
	*r = (struct tls_report){ 0 };
}

void tls_report_error(struct tls_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(&r->errors, fmt, ap);
	va_end(ap);
	strbuf_add_char(&r->errors, '\n');
	r->error_count++;
}

void tls_report_warning(struct tls_report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	strbuf_vprintf(&r->warnings, fmt, ap);
	va_end(ap);
	strbuf_add_char(&r->warnings, '\n');
	r->warning_count++;
}

const char *tls_library_error(void)
{
	static _Thread_local char text[160];
	unsigned long code = ERR_peek_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (reason)
		snprintf(text, sizeof(text), "%s", reason);
	else if (code)
		snprintf(text, sizeof(text), "OpenSSL error %lx", code);
	else
		snprintf(text, sizeof(text), "unknown reason");
	ERR_clear_error();
	return text;
}
