/* SPDX-License-Identifier: GPL-2.0-only */
/* exchange_internal.h - between exchange.c, exchange_steps.c, body.c, forward.c and tunnel.c; for nobody
 * else. */
#ifndef SN_PROXY_EXCHANGE_INTERNAL_H
#define SN_PROXY_EXCHANGE_INTERNAL_H

#include "proxy/exchange.h"

#define EXCHANGE_TAG TAG('x', 'c', 'h', 'g')

enum step_verdict {
	STEP_NEXT, /* finished; x->step is the following one */
	STEP_WAIT, /* parked; exchange_resume() queues it again.  Or over: x is gone. */
};

#define STEP(ID, fn, waits) enum step_verdict exchange_step_##fn(struct exchange *x);
#include "proxy/steps.def"
#undef STEP

void exchange_set_step(struct exchange *x, enum step next);

/*
 * What would go to the client would break the protocol, whatever that is: a page without filters takes its place, or a
 * reset.  Replaces a failure that was told already.  The step returns STEP_WAIT.
 */
void exchange_refuse_response(struct exchange *x, struct span detail);

static inline bool response_has_no_body(const struct exchange *x)
{
	return x->request->method == METHOD_HEAD || x->response.status == 204 || x->response.status == 304;
}

/* The first field that cannot be sent, NULL if all can.  Only what was made or changed here is looked at. */
const struct header *response_bad_field(const struct exchange *x, const struct headers *h);

/* body.c: a chunk from the client enters the request's filters. */
void body_request_in(struct exchange *x, struct slice data, bool is_end, struct headers *trailers);
/* What was held for the handler goes to it now. */
void body_request_release(struct exchange *x);
/* The response head waits for a filter: what is held for it may stay beyond this turn. */
void body_response_keep(struct exchange *x);
/* The response head is out: what was held for it follows. */
void body_response_release(struct exchange *x);
/* The client took some of the response: the handler may send that much more. */
void body_response_credit(struct exchange *x);

/* tunnel.c: take both streams.  The exchange becomes the tunnel's log record.  is_origin_ended: it said so already. */
struct tunnel;
struct tunnel *tunnel_start(struct exchange *x, struct http_stream *client, struct http_stream *origin,
			    bool is_origin_ended, uint64_t idle_ms);
void exchange_become_tunnel(struct exchange *x);
/* forward.c: the origin's side of a tunnel; forward lets go of it. */
struct http_stream *forward_take_stream(struct exchange *x, bool *out_is_ended);

#endif
