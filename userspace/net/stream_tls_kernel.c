/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tls_kernel.c - TLS streams whose records the kernel makes: taking over, lending, and the end. */
#include "net/ktls.h"
#include "net/stream_tls_private.h"

/* How often it is looked at: a reader that stands still costs little. */
#define DRAIN_MS     5
#define DRAIN_MAX_MS 640
#define DRAIN_END_MS 10000

static void look_later(struct busy *b)
{
	b->drain_ms = MAX(b->drain_ms, DRAIN_MS);
	timer_arm(b->s->face.loop, &b->drain, b->drain_ms);
	b->drain_ms = MIN(b->drain_ms * 2, DRAIN_MAX_MS);
}

void stream_tls_kernel_offer(struct stream_tls *s)
{
	bool can = is(s, IS_SERVER) && s->below->state == STREAM_OPEN && s->below->queued == 0;

	s->busy->io.socket = can ? stream_fd(s->below) : 0;
}

void stream_tls_kernel_offered(struct stream_tls *s)
{
	struct tlsio_io *io = &s->busy->io;

	s->below->bytes_out += io->sent;
	io->sent = 0;
	io->socket = 0;
}

bool stream_tls_kernel_is_drained(struct stream_tls *s)
{
	return s->below->queued == 0 && ktls_is_drained(stream_fd(s->below), s->below->bytes_out);
}

void stream_tls_kernel_shutdown(struct stream_tls *s)
{
	if (s->below->state != STREAM_OPEN || stream_tls_kernel_is_drained(s))
		stream_shutdown(s->below);
	else
		look_later(busy_get(s));
}

void stream_tls_kernel_close(struct stream_tls *s)
{
	if (s->below->state != STREAM_OPEN || stream_tls_kernel_is_drained(s)) {
		stream_close(s->below);
		return;
	}
	set(s, IS_LINGERING);
	timer_arm(s->face.loop, &busy_get(s)->linger, DRAIN_END_MS);
	look_later(s->busy);
}

void stream_tls_drain_expired(struct timer *t)
{
	struct stream_tls *s = container_of(t, struct busy, drain)->s;

	if (s->face.state == STREAM_OPEN) {
		stream_tls_kernel_shutdown(s);
	} else if (is(s, IS_LINGERING)) {
		if (stream_tls_kernel_is_drained(s))
			stream_tls_linger_end(s);
		else
			look_later(s->busy);
	}
}

/* --- lending the output: who has the socket writes plain bytes --- */

bool stream_tls_busy(const struct stream *face, enum stream_side side)
{
	const struct stream_tls *s = tls_of(face);

	if (face->state != STREAM_OPEN)
		return face->state == STREAM_CONNECTING;
	if (side == STREAM_IN)
		return is(s, IS_READING);
	return face->queued > 0 || stream_is_busy(s->below, STREAM_OUT);
}

bool stream_tls_may_lend(const struct stream *face, enum stream_side side)
{
	return side == STREAM_OUT && tlsio_kernel_sends(&tls_of(face)->tls);
}

/* What below was given while it is lent, it learns at the end. */
static void bytes_out_forget(struct stream_tls *s)
{
	s->below->bytes_out -= s->face.bytes_out;
}

static void bytes_out_learn(struct stream_tls *s)
{
	s->below->bytes_out += s->face.bytes_out;
}

int stream_tls_lend(struct stream *face, enum stream_side side)
{
	struct stream_tls *s = tls_of(face);

	if (!stream_tls_may_lend(face, side) || face->state != STREAM_OPEN || stream_tls_busy(face, side))
		return -EBUSY;
	if (is(s, IS_DROPPED | ENDS_SOON | WANTS_SHUTDOWN | IS_NOTIFIED | IS_LENT_OUT))
		return -EBUSY;
	if (stream_lend(s->below, side) != 0)
		return -EBUSY;
	set(s, IS_LENT_OUT);
	bytes_out_forget(s);
	return 0;
}

void stream_tls_take_back(struct stream *face, enum stream_side side, int err)
{
	struct stream_tls *s = tls_of(face);

	CHECK(side == STREAM_OUT && is(s, IS_LENT_OUT));
	unset(s, IS_LENT_OUT);
	bytes_out_learn(s);
	stream_take_back(s->below, side, err);
	if (face->state == STREAM_OPEN && s->busy) {
		stream_tls_send_out(s);
		flush_later(s);
	}
}
