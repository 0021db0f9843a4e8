/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * certificates.h - what time does to TLS: files that change on disk, ticket keys that grow old, certificates that end.
 * Control thread.
 */
#ifndef SN_APP_CERTIFICATES_H
#define SN_APP_CERTIFICATES_H

#include "base/json.h"
#include "base/strbuf.h"

struct certificates;
struct control;

struct certificates *certificates_new(struct control *c);
void certificates_free(struct certificates *t); /* NULL ok */
/*
 * Once a second.  Files are looked at every second time, and loaded when they have been quiet since the look before.
 * A listener (or upstream) with a pair that is wrong keeps its old ones, with one line in the log for each change of
 * the files; the others get what is new.
 */
void certificates_tick(struct certificates *t);
/* Certificates of the registry are about to serve that did not before. */
void certificates_changed(struct certificates *t);
/* Metrics of tickets and early data. */
void certificates_collect(const struct control *c);
/* For `sentinel status`: a line, or an object, for each certificate that is in use, and what tickets did. */
void certificates_text(const struct control *c, struct strbuf *out);
void certificates_json(const struct control *c, struct json *j);

#endif
