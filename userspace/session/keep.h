/* SPDX-License-Identifier: GPL-2.0-only */
/* keep.h - what a session does with input that its codec has to keep for a while. */
#ifndef SN_SESSION_KEEP_H
#define SN_SESSION_KEEP_H

#include "http/http1.h"
#include "loop/loop.h"

/*
 * Bytes that nobody may take yet (no credit, or a pipelined request) must not hold the loop's receive buffers for as
 * long as a slow peer likes.
 */
static inline void keep_input(struct loop *l, struct http1 *codec)
{
	struct slice_queue *q = http1_input(codec);

	for (uint32_t i = 0; i < q->count; i++) {
		struct slice *s = slice_queue_at(q, i);

		*s = loop_keep(l, *s);
	}
}

#endif
