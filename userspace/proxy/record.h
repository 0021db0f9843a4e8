/* SPDX-License-Identifier: GPL-2.0-only */
/* record.h - what a worker writes down: access log lines, metrics of requests, connections and attempts. */
#ifndef SN_PROXY_RECORD_H
#define SN_PROXY_RECORD_H

#include "proxy/exchange.h"

struct proxy_worker;

void record_init(struct proxy_worker *w);
void record_fini(struct proxy_worker *w); /* writes what the log still holds */
/* The current snapshot changed: its access log may be another file. */
void record_adopt(struct proxy_worker *w);
/* Often enough that a line is on disk within a second: flush, and set the gauges. */
void record_tick(struct proxy_worker *w);

void record_accept(struct proxy_worker *w, const struct listener *l);
/* A head that never became a request. */
void record_bad_request(struct proxy_worker *w, struct stream *s, const struct session_failure *f, unsigned status,
			struct span request_id);

/* A connection that never became a session, and why: a word for the metric, and words for the log (may be empty). */
void record_handshake_failure(struct proxy_worker *w, uint32_t listener_id, struct stream *s, struct span reason,
			      const char *detail);
/* HTTP/2: what the client did cost it a stream or the connection, without an answer. */
void record_session_fault(struct proxy_worker *w, uint32_t listener_id, struct stream *s,
			  const struct session_failure *f);

/* Attempts at an upstream. */
void record_attempt(struct exchange *x);
void record_failure(struct exchange *x, enum failure f);
/* Reason and detail as one text, in the exchange's arena. */
struct span record_tls_failure(struct exchange *x, const struct session_failure *f);
void record_retry(struct exchange *x);
void record_budget_exhausted(struct exchange *x);

/* The end of an exchange: counters of the route (once; needs the snapshot), and the line in the log. */
void record_count(struct exchange *x);
void record_log(struct exchange *x);

#endif
