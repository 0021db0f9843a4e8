/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tls_idle.c - TLS streams that are busy have buffers and queues, those that are idle do not. */
#include "net/stream_tls_private.h"

/*
 * The streams of this thread that may hold buffers, and when to look at them.  Thread-local because a stream knows its
 * loop only, and the loop does not know of TLS; empty, and the timer off, when no TLS stream is left.
 */
static __thread struct {
	struct list streams; /* of busy.node */
	struct timer timer;
	struct loop *loop; /* borrowed; while the list is not empty */
} warm;

static void warm_expired(struct timer *t);

static void warm_add(struct busy *b)
{
	struct loop *l = b->s->face.loop;

	if (!warm.streams.next) {
		list_init(&warm.streams);
		timer_init(&warm.timer, warm_expired);
	}
	if (list_is_empty(&warm.streams)) {
		warm.loop = l;
		timer_arm(l, &warm.timer, STREAM_TLS_WARM_MS);
	}
	CHECK(warm.loop == l);
	list_append(&warm.streams, &b->node);
}

struct busy *stream_tls_busy_new(struct stream_tls *s)
{
	struct busy *b = mem_zalloc(sizeof(*b));

	b->s = s;
	b->read_task.run = stream_tls_read_task;
	b->flush_task.run = stream_tls_flush_task;
	timer_init(&b->linger, stream_tls_linger_expired);
	timer_init(&b->drain, stream_tls_drain_expired);
	s->busy = b;
	warm_add(b);
	return b;
}

void stream_tls_busy_end(struct stream_tls *s)
{
	struct busy *b = s->busy;

	if (!b)
		return;
	loop_undefer(s->face.loop, &b->read_task);
	loop_undefer(s->face.loop, &b->flush_task);
	timer_disarm(s->face.loop, &b->linger);
	timer_disarm(s->face.loop, &b->drain);
	tlsio_io_fini(&b->io);
	slice_queue_fini(&b->plain);
	list_remove(&b->node);
	if (list_is_empty(&warm.streams))
		timer_disarm(warm.loop, &warm.timer);
	free(b);
	s->busy = NULL;
}

static bool is_idle(const struct busy *b)
{
	if (b->was_used || b->s->face.state != STREAM_OPEN || b->s->face.queued > 0 || is(b->s, IS_LENT_OUT))
		return false;
	if (timer_is_armed(&b->drain))
		return false;
	return !task_is_queued(&b->read_task) && !task_is_queued(&b->flush_task) &&
	       !tlsio_has_input(&b->s->tls, &b->io);
}

static void warm_expired(struct timer *t)
{
	struct loop *l = warm.loop;
	struct list *at, *next;

	list_for_each_safe(at, next, &warm.streams) {
		struct busy *b = list_entry(at, struct busy, node);

		if (is_idle(b) && tlsio_release(&b->s->tls))
			stream_tls_busy_end(b->s);
		else
			b->was_used = false;
	}
	if (!list_is_empty(&warm.streams))
		timer_arm(l, t, STREAM_TLS_WARM_MS);
}
