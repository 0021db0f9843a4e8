/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * client_limits.h - how many connections a client may have, and how many requests may be in progress: what
 * `limits` says of them.  Rates are the filter `rate-limit`.
 */
#ifndef SN_PROXY_CLIENT_LIMITS_H
#define SN_PROXY_CLIENT_LIMITS_H

#include "proxy/exchange.h"

struct proxy_worker;

/*
 * A connection of `peer`.  True: it is counted, until client_limits_end().  False: it has too many.  Loopback is not
 * counted at all.
 */
bool client_limits_begin(struct proxy_worker *w, const struct listener *l, const struct addr *peer);
/* One that another process has admitted: counted, whatever the limit. */
void client_limits_adopt(struct proxy_worker *w, const struct addr *peer);
/* A PROXY header names another client: the connection is counted for him from here.  False: he has too many. */
bool client_limits_move(struct proxy_worker *w, const struct listener *l, struct stream *st, const struct addr *client);
void client_limits_end(struct proxy_worker *w, const struct addr *peer);

/*
 * A request has found its route: counted until client_limits_leave().  FAIL_NONE, or why it is refused; *out_scope is
 * the namespace or service that has enough, if it is one.
 */
enum failure client_limits_enter(struct exchange *x, struct span *out_scope);
/* A tunnel of another process, of this route (NULL: it is in no file any more): counted, whatever the limits. */
void client_limits_enter_adopted(struct exchange *x, const struct route *r);
void client_limits_leave(struct exchange *x); /* was not counted: nothing */

#endif
