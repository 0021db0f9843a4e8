/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client_tls.h - what the TLS of a client's connection means for a request.
 *
 * A connection serves the hosts of its certificate: others are 421 (RFC 9110 15.5.20), and the client asks again on a
 * connection of its own.  Early data may be a replay: only safe methods pass, marked for the origin (RFC 8470), others
 * are 425.  Who the client is, origins learn from the fields of `client-cert-headers`; those names are ours on every
 * listener of the file, so that nobody gets in by another door with a field that he wrote himself.
 */
#ifndef SN_PROXY_CLIENT_TLS_H
#define SN_PROXY_CLIENT_TLS_H

#include "proxy/exchange.h"

/* HEAD, when host and client are known.  Sets x->scheme and the request's fields.  FAIL_NONE, or why it is refused. */
enum failure client_tls_apply(struct exchange *x);
/* Fields of those names go: from heads that were not written by a trusted proxy, and from all trailers. */
void client_tls_clean(const struct exchange *x, struct headers *fields);

#endif
