/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stream_tls_private.h - a TLS stream, for the files that make one: stream_tls.c (life and reading),
 * stream_tls_write.c (writing), stream_tls_idle.c (what is there only while a stream is busy).
 */
#ifndef SN_NET_STREAM_TLS_PRIVATE_H
#define SN_NET_STREAM_TLS_PRIVATE_H

#include <errno.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/stream_tls.h"

/* What a stream needs only while it is not idle. */
struct busy {
	struct stream_tls *s; /* borrowed */
	struct list node;     /* in warm.streams */

	struct tlsio_io io;
	struct slice_queue plain; /* written by the owner, not encrypted */
	struct task read_task, flush_task;
	struct timer linger, drain;
	uint32_t lingered; /* bytes dropped while lingering */
	int drain_ms; /* until the next look; 0: none yet */
	bool was_used;	   /* since the last look */
};

struct stream_tls {
	struct stream face;
	struct stream *below; /* owned */
	struct busy *busy;    /* owned; NULL: idle, without any buffer */
	struct tlsio tls;
	enum loop_buffers read_class;
	unsigned flags;
};

_Static_assert(sizeof(struct stream_tls) <= 144, "an idle connection is cheap");

enum {
	IS_READING = 1 << 0,   /* the owner asked */
	IS_READ_EOF = 1 << 1,  /* the end was told */
	IS_BELOW_EOF = 1 << 2, /* nothing more comes from below */
	IS_BLOCKED = 1 << 3,   /* plain bytes stay until the socket takes more */
	IS_DROPPED = 1 << 4,   /* below drops what is written: the peer has reset */
	ENDS_SOON = 1 << 5,
	WANTS_SHUTDOWN = 1 << 6,
	IS_NOTIFIED = 1 << 7,	  /* close_notify was given to below */
	WRITE_WANTS_READ = 1 << 8, /* encrypting waits for the rest of a message */
	HAS_ALERT = 1 << 9,	  /* TLS failed and the peer has to hear of it */
	IS_LINGERING = 1 << 10,
	IS_SERVER = 1 << 11,
	IS_LENT_OUT = 1 << 12, /* stream_lend(): what TLS itself has to say waits in io.out */
};

static inline bool is(const struct stream_tls *s, unsigned flags)
{
	return s->flags & flags;
}

static inline void set(struct stream_tls *s, unsigned flags)
{
	s->flags |= flags;
}

static inline void unset(struct stream_tls *s, unsigned flags)
{
	s->flags &= ~flags;
}

static inline struct stream_tls *tls_of(const struct stream *face)
{
	OBJ_CHECK(face, TAG_STREAM);
	return container_of(face, struct stream_tls, face);
}

/* stream_tls.c: the tasks and the timer of a busy stream. */
void stream_tls_read_task(struct task *t);
void stream_tls_flush_task(struct task *t);
void stream_tls_linger_expired(struct timer *t);
void stream_tls_linger_end(struct stream_tls *s);

/* From the loop only: the owner hears of it at once. */
void stream_tls_fail(struct stream_tls *s, int err);
/* The engine failed, so that an alert may be on its way. */
void stream_tls_fail_engine(struct stream_tls *s);
/* Hand the engine's bytes to the stream below.  After close_notify there is nothing to be said any more. */
static inline void stream_tls_send_out(struct stream_tls *s)
{
	if (s->busy->io.out.count == 0 || is(s, IS_LENT_OUT))
		return;
	if (is(s, IS_NOTIFIED))
		slice_queue_clear(&s->busy->io.out);
	else
		stream_write_queue(s->below, &s->busy->io.out);
}

/*
 * stream_tls_kernel.c: the kernel makes the records (ktls.h).  What it holds of them would be lost with a FIN or a
 * close, so these wait for it.
 */
/* Before a handshake's step, and after. */
void stream_tls_kernel_offer(struct stream_tls *s);
void stream_tls_kernel_offered(struct stream_tls *s);
bool stream_tls_kernel_is_drained(struct stream_tls *s);
void stream_tls_kernel_shutdown(struct stream_tls *s); /* of below, when it is drained */
void stream_tls_kernel_close(struct stream_tls *s);    /* the same */
void stream_tls_drain_expired(struct timer *t);
bool stream_tls_busy(const struct stream *face, enum stream_side side);
bool stream_tls_may_lend(const struct stream *face, enum stream_side side);
int stream_tls_lend(struct stream *face, enum stream_side side);
void stream_tls_take_back(struct stream *face, enum stream_side side, int err);

/* stream_tls_idle.c */
struct busy *stream_tls_busy_new(struct stream_tls *s);
void stream_tls_busy_end(struct stream_tls *s); /* idle: nothing */

static inline struct busy *busy_get(struct stream_tls *s)
{
	struct busy *b = s->busy ? s->busy : stream_tls_busy_new(s);

	b->was_used = true;
	return b;
}

static inline void flush_later(struct stream_tls *s)
{
	loop_defer_flush(s->face.loop, &busy_get(s)->flush_task);
}

/* stream_tls_write.c */
void stream_tls_write(struct stream *face, struct slice data);
void stream_tls_write_queue(struct stream *face, struct slice_queue *from);
void stream_tls_ends_soon(struct stream *face);
void stream_tls_shutdown(struct stream *face);
void stream_tls_flush(struct stream_tls *s);
void stream_tls_sent(struct stream_tls *s, size_t cipher_bytes); /* below has sent */
void stream_tls_drop_plain(struct stream_tls *s);
/* Below may have dropped bytes without failing: then nothing that is written arrives any more. */
void stream_tls_note_dropped(struct stream_tls *s);

#endif
