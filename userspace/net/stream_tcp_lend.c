/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tcp_lend.c - a direction of a TCP stream that somebody else moves, and the quiet before that. */
#include <errno.h>

#include "net/stream_tcp_private.h"

bool stream_tcp_busy(const struct stream *face, enum stream_side side)
{
	const struct stream_tcp *s = tcp_of(face);

	if (face->state != STREAM_OPEN)
		return face->state == STREAM_CONNECTING;
	if (side == STREAM_IN)
		return is(s, IS_READING | IS_PAUSING) || s->ahead;
	return is(s, IS_SENDING) || face->queued > 0;
}

bool stream_tcp_may_lend(const struct stream *face, enum stream_side side)
{
	(void)face;
	(void)side;
	return true;
}

int stream_tcp_lend(struct stream *face, enum stream_side side)
{
	struct stream_tcp *s = tcp_of(face);

	if (face->state != STREAM_OPEN || s->send_err || stream_tcp_busy(face, side))
		return -EBUSY;
	if (is(s, side == STREAM_IN ? IS_READ_EOF | IS_LENT_IN : WANTS_SHUTDOWN | ENDS_SOON | IS_LENT_OUT))
		return -EBUSY;
	if (side == STREAM_IN && is(s, IS_RECEIVING)) {
		if (!is(s, IS_SETTLING))
			loop_cancel(face->loop, &s->read_op);
		set(s, IS_SETTLING);
		return -EAGAIN;
	}
	set(s, side == STREAM_IN ? IS_LENT_IN : IS_LENT_OUT);
	return 0;
}

void stream_tcp_take_back(struct stream *face, enum stream_side side, int err)
{
	struct stream_tcp *s = tcp_of(face);

	CHECK(is(s, side == STREAM_IN ? IS_LENT_IN : IS_LENT_OUT));
	unset(s, side == STREAM_IN ? IS_LENT_IN | EXPECTS_MORE : IS_LENT_OUT);
	if (err == 0 || face->state != STREAM_OPEN || s->send_err)
		return;
	s->send_err = (int16_t)err;
	/* As send_failed(): a read that will end tells. */
	if (side == STREAM_OUT && (err == -EPIPE || err == -ECONNRESET) && is(s, IS_READING | IS_OUTGOING))
		return;
	set(s, FAILS_SOON);
	flush_later(s);
}

bool stream_tcp_pause(struct stream *face)
{
	struct stream_tcp *s = tcp_of(face);

	if (face->state != STREAM_OPEN)
		return true;
	unset(s, WANTS_WATCH);
	if (is(s, IS_READING) && !is(s, IS_RECEIVING) && !s->ahead) { /* it waits for a buffer */
		loop_unwait_buffer(face->loop, &s->waiter);
		unset(s, IS_READING);
	}
	if (!is(s, IS_RECEIVING | IS_POLLING) && !s->ahead)
		return true;
	if (is(s, IS_PAUSING))
		return false;
	unset(s, IS_SETTLING);
	set(s, IS_PAUSING);
	if (s->ahead)
		flush_later(s);
	if (is(s, IS_RECEIVING))
		loop_cancel(face->loop, &s->read_op);
	if (is(s, IS_POLLING))
		loop_cancel(face->loop, &s->watch_op);
	return false;
}
