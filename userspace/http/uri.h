/* SPDX-License-Identifier: GPL-2.0-only */
/* uri.h - request targets: split, and the one normalisation that routing, filters and keys use (RFC 3986 6.2.2). */
#ifndef SN_HTTP_URI_H
#define SN_HTTP_URI_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/span.h"

/* Split "path?query"; without '?' query.ptr is NULL. */
void uri_split(struct span target, struct span *out_path, struct span *out_query);

/*
 * Unreserved octets are decoded, hex digits upper-cased, dot segments removed (also %2e).  %2F stays and is never a
 * separator, "//" stays.  -EINVAL: climbs above the root, %00, a bad escape, backslash or %5C, no leading '/'.
 * When nothing changes *out_path is the input itself (no copy).  *out_had_dots: dot segments were removed (then
 * the normalised path is what an origin gets).
 */
int uri_normalise(struct span path, struct arena *a, struct span *out_path, bool *out_had_dots);

/* Percent-decode (also '+' to space when is_form); a bad escape stays as it is. */
struct span uri_decode(struct span s, struct arena *a, bool is_form);
/* Next name=value of a query string; value.ptr NULL without '='.  False at the end. */
bool uri_query_next(struct span *rest, struct span *out_name, struct span *out_value);
/* host[:port]: host without brackets' change, port 0 when absent; false if malformed (RFC 3986 3.2.2). */
bool uri_split_authority(struct span authority, struct span *out_host, unsigned *out_port);

#endif
