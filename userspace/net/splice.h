/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * splice.h - bytes from one socket to another without a copy: splice(2) through a pipe, on poll completions.
 *
 * Both streams lend one direction (stream_lend()): `from` is not being read, nothing is queued on `to`.  Exactly so
 * many bytes are moved, in order; what is in the pipe counts as queued on `to`.  No more is taken from the source than
 * the destination has room for: so a slow reader keeps no pipe.  The streams go back to their owners by
 * stream_take_back() in on_end().
 *
 * Which engine moves which bytes is splice_choose()'s.
 */
#ifndef SN_NET_SPLICE_H
#define SN_NET_SPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/pipes.h"
#include "net/stream.h"

#define SPLICE_BYTES_MIN 65536 /* copying is cheaper below: measured */
#define SPLICE_UNTIL_EOF UINT64_MAX

enum splice_engine {
	SPLICE_ENGINE_AUTO,
	SPLICE_ENGINE_COPY,   /* through userspace */
	SPLICE_ENGINE_SPLICE, /* splice(2) */
	SPLICE_ENGINE_SOCKMAP, /* sockmap: both directions of a tunnel, see offload_hook.h */
	SPLICE_ENGINE_COUNT,
};

const char *splice_engine_name(enum splice_engine e); /* word of the configuration, of logs and metrics */

/* One direction of a body or a tunnel. */
struct splice_question {
	enum splice_engine wanted; /* by the configuration */
	bool is_plain;		   /* both streams can lend it */
	bool is_inspected;	   /* somebody must see the bytes */
	bool is_bulk;		   /* of a tunnel: it moves a lot just now */
	bool has_sockmap;	   /* of a tunnel: the kernel could carry all of it */
	bool is_busy;		   /* tunnels wait for this worker: it is worth to be independent of it */
	uint64_t bytes;		   /* of a body, 0: not known before its end; SPLICE_UNTIL_EOF: a tunnel */
};

/*
 * COPY, SPLICE or SOCKMAP.  Sockmap is not faster, and for bulk much slower: what it gives is that a tunnel does not
 * wait for a worker that is busy with others.
 */
enum splice_engine splice_choose(const struct splice_question *q);

enum splice_end {
	SPLICE_DONE,	    /* every byte is out */
	SPLICE_FROM_ENDED,  /* err 0: at its FIN */
	SPLICE_FROM_FAILED, /* err; what came before is out */
	SPLICE_TO_FAILED,   /* err; what was in the pipe is lost */
	SPLICE_NO_PIPE,	    /* none is to be had: copy the rest */
	SPLICE_STUCK,	    /* next is TCP's urgent data, which splice(2) does not get past: copy on */
};

struct splice;

/* What it waits for.  The owner's deadlines follow it. */
enum splice_wait {
	SPLICE_WAITS_NOT,
	SPLICE_WAITS_FROM,
	SPLICE_WAITS_TO,
};

struct splice_events {
	/* So many bytes left `from`; from the loop only.  Bytes that `to` took are told by its stream's on_sent(). */
	void (*on_moved)(struct splice *sp, size_t bytes, enum splice_wait wait);
	void (*on_end)(struct splice *sp, enum splice_end end, int err); /* the last event; sp is gone after it */
};

/* Begins in this turn.  Neither stream may be closed before on_end() or splice_stop(). */
struct splice *splice_new(struct pipe_pool *pipes, struct stream *from, struct stream *to, uint64_t bytes,
			  const struct splice_events *events, void *owner);
void *splice_owner(const struct splice *sp);
/*
 * The directions that were lent go back, at once, and no event follows.  What is in the pipe is lost, and its size
 * returned: `to` can be of no further use then.
 */
size_t splice_stop(struct splice *sp);

#endif
