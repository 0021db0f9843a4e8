/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bulk.h - a long body of an exchange that moves inside the kernel (session/transfer.h), and what is counted of it.
 *
 * bulk_want() withholds credit, so that userspace runs out of the body's bytes; bulk_try() begins when it has.  When
 * the transfer ends before the body (no pipe, a side that failed), credit is given again and copying goes on.
 */
#ifndef SN_PROXY_BULK_H
#define SN_PROXY_BULK_H

#include <stdbool.h>
#include <stdint.h>

#include "session/transfer.h"

struct exchange;

enum bulk_direction {
	BULK_REQUEST,  /* client to origin */
	BULK_RESPONSE, /* origin to client */
	BULK_DIRECTIONS,
};

struct bulk {
	struct transfer transfer;
	struct exchange *x; /* NULL: not asked yet */
	struct http_stream *from, *to;
	enum bulk_direction direction;
	bool is_wanted;
};

/*
 * A body of so many bytes is about to move: whether it will inside the kernel.  Then nothing but bulk_try() may give
 * credit for it.
 */
bool bulk_want(struct exchange *x, enum bulk_direction d, struct http_stream *from, struct http_stream *to,
	       uint64_t bytes);
static inline bool bulk_is_wanted(const struct bulk *b)
{
	return b->is_wanted;
}
/* Wanted: begin if both streams are ready, and true if it moves now.  Idempotent. */
bool bulk_try(struct bulk *b);
/* An on_paused() of `from`. */
void bulk_paused(struct bulk *b);
/* Before either stream is given up; neither wanted nor running: nothing. */
void bulk_stop(struct bulk *b);

#endif
