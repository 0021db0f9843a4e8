/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * splice.h - where a body or a tunnel may be handed to an engine that moves its bytes inside the kernel.
 *
 * Whoever forwards asks splice_offer() once, when the bytes of one direction are known to need no look: the answer
 * says who copies.  Without an engine, and for whatever the engine does not want, the answer is SPLICE_COPY: the
 * asker goes on reading and writing slices.  An engine is registered once, before any loop runs.
 */
#ifndef SN_NET_SPLICE_H
#define SN_NET_SPLICE_H

#include <stdint.h>

#include "net/stream.h"

#define SPLICE_BYTES_MIN  65536 /* a shorter body is not worth an offer */
#define SPLICE_UNTIL_EOF  UINT64_MAX

enum splice_answer {
	SPLICE_COPY,  /* not taken: nothing has changed */
	SPLICE_TAKEN, /* both streams are the engine's in this direction until on_done() */
};

struct splice {
	struct stream *from, *to; /* borrowed; from is not being read, nothing is queued on to */
	uint64_t bytes;		  /* to move, or SPLICE_UNTIL_EOF */
	/* From the loop of the streams.  moved: bytes that reached `to`; err: 0, or why it ended early. */
	void (*on_done)(struct splice *sp, uint64_t moved, int err);
};

struct splice_engine {
	const char *name;
	enum splice_answer (*offer)(struct splice *sp);
};

void splice_engine_set(const struct splice_engine *engine); /* NULL: none */
enum splice_answer splice_offer(struct splice *sp);

#endif
