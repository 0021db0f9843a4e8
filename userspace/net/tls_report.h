/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tls_report.h - what was found wrong while certificates, keys and lists were loaded: sentences, one a line.
 * Loading goes on after an error, so that a user sees all of them at once; nothing is built if there is one.
 * Also takes what OpenSSL left in the thread's error queue.
 */
#ifndef SN_NET_TLS_REPORT_H
#define SN_NET_TLS_REPORT_H

#include "base/strbuf.h"

/* Zero-initialise.  Each sentence ends with '\n', without a dot. */
struct tls_report {
	struct strbuf errors;
	struct strbuf warnings;
	unsigned error_count, warning_count;
};

void tls_report_fini(struct tls_report *r); /* NULL ok */
void tls_report_error(struct tls_report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void tls_report_warning(struct tls_report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Reason of the oldest error in this thread's OpenSSL queue, in its words ("no start line"), or "unknown reason";
 * the queue is emptied.  Static or thread-local storage: valid until the next call.
 */
const char *tls_library_error(void);

#endif
