/* SPDX-License-Identifier: GPL-2.0-only */
/* splice.c - the place of the engine that moves bytes inside the kernel. */
#include "net/splice.h"

#include "base/check.h"

static const struct splice_engine *current;

void splice_engine_set(const struct splice_engine *engine)
{
	current = engine;
}

enum splice_answer splice_offer(struct splice *sp)
{
	CHECK(sp->from && sp->to && sp->on_done);
	if (!current || sp->bytes < SPLICE_BYTES_MIN)
		return SPLICE_COPY;
	return current->offer(sp);
}
