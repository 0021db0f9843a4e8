/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * router.h - from a request to a route.  Compiled once a snapshot: with exact paths, prefixes and hosts a
 * lookup costs the same at 10 and at 1,000 routes; of the regular expressions only those run whose literal
 * prefix fits.
 */
#ifndef SN_PROXY_ROUTER_H
#define SN_PROXY_ROUTER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/strbuf.h"
#include "http/message.h"

struct route;

enum match_kind {
	MATCH_PATH,
	MATCH_PATH_PREFIX, /* on segment borders unless it is "/" or ends in "/" */
	MATCH_PATH_REGEX,  /* unanchored search */
	MATCH_HOST,	   /* exact, or "*.suffix": one or more extra labels; case-insensitive */
	MATCH_HEADER,	   /* presence or value */
	MATCH_METHOD,
	MATCH_QUERY_PARAM, /* presence or value, percent-decoded */
};

struct match_condition {
	enum match_kind kind;
	const char *name;  /* header, query-param; NULL otherwise */
	const char *value; /* pattern; NULL: presence only */
};

/*
 * The path conditions (of all three kinds together) are alternatives, so are the hosts and the methods; of headers
 * and query parameters all must hold (in one of several fields of a name).  Methods are put in upper case; values are
 * compared exactly.  A trailing dot of a host is ignored.
 */
struct route_match {
	const struct route *route; /* borrowed */
	const char *id;
	int32_t priority;
	uint32_t order; /* in the file */
	uint32_t line;
	const struct match_condition *conditions;
	unsigned count;
};

struct router;	       /* constant after router_build(); any thread, each with a scratch of its own */
struct router_scratch; /* per worker */

/*
 * Everything in arena a (clean-ups registered there).  What `matches` points to must live as long as the
 * arena, the array itself is copied.  -EINVAL: a regex does not compile, a host pattern or a path is
 * malformed (paths are normalised like those of requests); *out_error says which and why (in a).
 */
int router_build(struct router **out, const struct route_match *matches, unsigned count, struct arena *a,
		 const char **out_error);
struct router_scratch *router_scratch_new(void);
void router_scratch_free(struct router_scratch *s); /* NULL ok */
/* Regex searches that were given up at a limit so far: they count as no match. */
uint64_t router_scratch_limit_hits(const struct router_scratch *s);

struct route_request {
	struct span method;
	struct span host;  /* without port, any case */
	struct span path;  /* normalised, without query */
	struct span query; /* raw, without '?'; may be empty */
	const struct headers *headers;
};

/*
 * Highest priority, then specificity, then file order.  NULL: none.  Specificity is a sum: the best path
 * (exact 10000, regex 5000, prefix 1000 + length), the best host (exact 70, wildcard 50 + labels), header
 * with value 30 (presence 20), query parameter with value 25 (presence 15), methods 10.
 */
const struct route *router_match(const struct router *r, struct router_scratch *s,
				 const struct route_request *q);

/*
 * Why each route matched or lost: one call a route, in the order they would be tried.  The first that matches
 * is taken; a later one that would match too is told with `matches` and says which comes first.  `why` is
 * valid during the call.
 */
typedef void (*router_explain_fn)(void *ctx, const struct route_match *m, bool matches, const char *why);
void router_explain(const struct router *r, struct router_scratch *s, const struct route_request *q,
		    router_explain_fn fn, void *ctx);
/*
 * Routes that can never be reached: another one, tried earlier, matches whenever they do (or both say the
 * same). Called once for each hidden one, with the first that hides it.  Never wrong, but does not find all.
 */
void router_find_hidden(const struct router *r,
			void (*fn)(void *ctx, const struct route_match *hidden, const struct route_match *by),
			void *ctx);

#endif
