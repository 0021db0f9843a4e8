/* SPDX-License-Identifier: GPL-2.0-only */
/* origin.h - what a request's connection to its target is like: protocol, TLS, deadlines, bounds, PROXY header. */
#ifndef SN_PROXY_ORIGIN_H
#define SN_PROXY_ORIGIN_H

#include "proxy/exchange.h"
#include "session/client.h"
#include "upstream/upstream.h"

/* request: as the target gets it.  The spans live as long as the exchange and the endpoint. */
void origin_settings(struct exchange *x, const struct message *request, const struct endpoint *e,
		     struct client_settings *out);

#endif
