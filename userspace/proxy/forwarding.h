/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * forwarding.h - what an origin is told about the client: X-Forwarded-*, X-Real-IP, ids.
 * Incoming fields of these names are believed only from a trusted peer; from others they are replaced or removed, so
 * an origin never reads a stranger's word as ours.
 */
#ifndef SN_PROXY_FORWARDING_H
#define SN_PROXY_FORWARDING_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"
#include "http/headers.h"
#include "net/addr.h"

struct forwarding_input {
	struct span peer_ip;	 /* text: the other end of the client's socket */
	struct span client_ip;	 /* text, client_addr.h */
	bool is_peer_trusted;
	struct span scheme; /* "http" or "https": how the client came */
	struct span host;   /* of the request, with port; may be empty */
	struct span request_id;
};

/*
 * Sets X-Forwarded-For (the peer is appended to a trusted one), X-Forwarded-Proto and -Host (a trusted one stays),
 * X-Real-IP, X-Request-Id, X-Correlation-Id and X-Trace-Id.  Removes X-Internal-Token, Authorization-Internal, from an
 * untrusted peer Forwarded, X-Forwarded-Port and -By, and a traceparent that is not valid together with its tracestate.
 * Spans of `in` are borrowed by h.  New text is in a.  Hop-by-hop fields are headers_remove_hop_by_hop()'s.
 */
void forwarding_apply(struct headers *h, const struct forwarding_input *in, struct arena *a);

/* The same names in trailers are nobody's but the client's, and some origins join them with the head: they go. */
void forwarding_clean_trailers(struct headers *trailers);

/* W3C Trace Context 2.2, version 00: "00-<32 hex>-<16 hex>-<2 hex>" in lower case, ids not all zero. */
bool traceparent_is_valid(struct span value);

#endif
