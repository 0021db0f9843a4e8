/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * exchange.h - one request and its response on their way through the proxy: HEAD, ROUTE, REQUEST_FILTERS,
 * RESPOND, RESPONSE_FILTERS, BODY, DONE (steps.def).  Bytes flow forward, credit flows back, failures go to
 * exchange_fail(), nothing else moves.  Lives in its own arena; belongs to one worker; nothing here
 * re-enters.
 */
#ifndef SN_PROXY_EXCHANGE_H
#define SN_PROXY_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/list.h"
#include "http/message.h"
#include "loop/loop.h"
#include "proxy/bulk.h"
#include "proxy/retry.h"
#include "proxy/settings.h"
#include "session/session.h"

struct pin;
struct proxy_worker;
struct forward;

enum step {
#define STEP(ID, fn, waits) STEP_##ID,
#include "proxy/steps.def"
#undef STEP
	STEP_COUNT,
};

enum failure {
	FAIL_NONE = 0,
#define FAILURE(ID, status, retry, label, text) FAIL_##ID,
#include "proxy/failures.def"
#undef FAILURE
	FAILURE_COUNT,
};

struct failure_row {
	const char *id, *label, *text;
	unsigned status;
	enum failure_retry retry;
};
const struct failure_row *failure_row(enum failure f);

/* One direction of a body: what came, what went on. */
struct body_flow {
	uint64_t received; /* body bytes from the peer */
	uint64_t credited; /* body bytes it was allowed to send, so far */
	bool is_ended;	   /* END was received */
	bool is_sent;	   /* END went to the other side */
};

/*
 * How much credit to give now: so that at most BODY_WINDOW bytes are in userspace (`queued` is what the other
 * side has not taken).  Adds it to flow->credited.  0: not worth it yet.
 */
size_t body_flow_top_up(struct body_flow *flow, size_t queued);

#define BODY_WINDOW (64 * 1024) /* bytes in userspace between the two peers, each direction */
#define DRAIN_MAX   (64 * 1024)	 /* unread request body that is drained after an early answer */

struct exchange {
	uint32_t tag;
	struct arena *arena; /* owned; holds this struct too */
	struct proxy_worker *worker;
	struct pin *pin; /* of the snapshot; dropped at DONE (or when a tunnel starts) */
	const struct listener *listener;
	const struct route *route; /* NULL before ROUTE, or none */

	enum step step;
	bool is_waiting; /* parked in step; exchange_resume() queues it */
	struct task resume_task;
	struct timer total_timer;
	struct list node; /* in worker->exchanges */

	struct http_stream *client; /* NULL once the client is gone */
	struct message *request;    /* filters change it */
	struct message response;    /* head; filters change it */
	bool has_response;	    /* response is filled */
	bool is_head_sent;	    /* failing now means resetting */
	bool is_answered;	    /* produced here (answer_body), not by the handler */
	struct slice answer_body;   /* with is_answered; owned */

	struct span raw_path; /* as it came, without query: for the log */
	struct span path;  /* normalised, without query */
	struct span query; /* raw, ptr NULL: none */
	bool had_dots;	   /* the normalised path is what an origin gets */
	struct span authority; /* host and port as the client asked for */
	struct span host;  /* of the request, without port */

	struct span scheme;	    /* how the client came: "http" or "https" */
	struct addr peer;	    /* the other end of the socket */
	struct addr client_addr;    /* right-most untrusted address; port 0 if it is not the peer */
	char country[3];	    /* of the client, as the last geo filter found it; "": unknown, or nobody asked */
	struct span client_ip;	    /* the same as text, without port */
	bool is_client_named;	    /* by a forwarding header */
	bool is_client_trusted_hop; /* the peer is a trusted proxy: its forwarding headers stay */
	struct span request_id;

	struct body_flow up, down; /* request body, response body */
	struct bulk bulk[BULK_DIRECTIONS]; /* of these what moves inside the kernel */
	struct slice_queue up_held,
		down_held; /* chunks that wait for the handler to start, for the head to go out */
	struct headers *up_trailers, *down_trailers;
	uint64_t want_body_max; /* exchange_want_body(); 0: nobody wants it */
	unsigned want_body_by;	/* index of the filter: it saw what is held */

	unsigned filter_index; /* next filter of the running phase */
	void **filter_states;  /* one a filter of the route */
	bool is_responding;    /* handler->respond() was called, on_done() not yet */
	bool is_filtered;      /* the response filters ran, or must not */
	void *handler_state;   /* the handler's own, in arena */
	struct span proxy_preface; /* of connections to the upstream; empty: not made yet, or none */

	enum failure failure;
	bool is_failure_handled;
	bool is_client_broken; /* on_fail() came: its request will not end */
	struct span failure_detail;
	unsigned failure_status;  /* instead of the failure's; 0: its own */
	const char *failure_text; /* the same */
	_Atomic uint64_t *in_progress[ROUTE_BOUNDS_MAX]; /* where it is counted; NULL behind the last one */
	struct rate_report *rate_report; /* of limits that judged it; NULL: none did.  See rate_report.h */
	uint64_t start_ns, head_ns; /* loop clock: request head seen, response head sent */
	uint64_t timeout_ms;	    /* total, from route or filter; 0: none */
	uint64_t upstream_timeout_ms, connect_timeout_ms; /* overrides of a timeout filter; 0: none */

	/* For the log; all in the arena, because a tunnel outlives the snapshot. */
	const char *route_id, *upstream_id, *listener_id;
	const char *tls_version, *tls_cipher; /* of the client's connection, static; "": none */
	enum splice_engine tunnel_engine; /* the route's word */
	uint64_t tunnel_write_ms[2]; /* how long client and origin may take no byte of a tunnel; 0: for ever */
	bool is_moved; /* a tunnel that another process goes on with, and logs */
	const char *tunnel_end; /* static; why it was broken off; NULL or "": it was not */
	uint64_t sockmap_bytes[BULK_DIRECTIONS], undelivered_bytes; /* of a tunnel */
	struct span grpc_status; /* of the response, with is_grpc */
	struct span raw_protocol; /* "TCP" or "TLS" of a raw one; else empty */
	struct span upstream_addr;
	unsigned attempts; /* targets that were chosen */
	bool was_reused, is_grpc;
	uint64_t sent_bytes; /* response body */
};

/* Called by the server host for each request (proxy/worker.c sets it). */
void exchange_start(struct proxy_worker *w, struct http_stream *st, uint32_t listener_id, struct message *m,
		    struct arena *a);

/* Another limit for the whole exchange, from now; 0: none. */
void exchange_set_timeout(struct exchange *x, uint64_t timeout_ms);

/* The parked step runs again later in this turn.  Idempotent.  Any hook of this worker. */
void exchange_resume(struct exchange *x);

/* Fail: before the head went out the client gets the row's status and an error page, afterwards a reset. */
/* `detail` for the log (copied); may be empty.  Only the first failure counts. */
void exchange_fail(struct exchange *x, enum failure f, struct span detail);

/*
 * Answer here and now with a whole body (its reference is taken).  content_type may be NULL.  Sets
 * x->response to `status` with Content-Length; the caller may add headers to x->response.headers afterwards.
 */
void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct slice body);

/*
 * From on_request: I must see up to max bytes of the body before the handler starts.  Return FILTER_WAIT; the
 * bytes pass on_request_data, then on_request is entered again.  A larger body: exchange_body_is_larger() is
 * true then.
 */
void exchange_want_body(struct exchange *x, uint64_t max);
bool exchange_body_is_larger(const struct exchange *x);

/* Handlers: the response head is in x->response; body bytes follow by this (takes the reference). */
void exchange_response_body(struct exchange *x, struct slice data, bool is_end, struct headers *trailers);
/* Handlers: allow the client to send that many more request body bytes. */
void exchange_request_credit(struct exchange *x, size_t bytes);
/* Bytes of the response that wait in userspace for the client. */
size_t exchange_response_queued(const struct exchange *x);

/* The tunnel that took the exchange's streams is over: log it and free the arena. */
void exchange_end_tunnel(struct exchange *x);

const char *step_name(enum step s);
const char *step_waits_for(enum step s);

#endif
