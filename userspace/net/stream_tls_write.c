/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tls_write.c - the writing half of a TLS stream: what waits, when it is encrypted, how its progress counts. */
#include "net/stream_tls_private.h"

void stream_tls_drop_plain(struct stream_tls *s)
{
	if (s->busy)
		slice_queue_fini(&s->busy->plain);
	s->face.queued = s->face.sending = 0;
}

void stream_tls_note_dropped(struct stream_tls *s)
{
	if (s->face.sending == 0 || s->below->queued > 0)
		return;
	set(s, IS_DROPPED);
	stream_tls_drop_plain(s);
}

static bool takes_writes(const struct stream_tls *s)
{
	CHECK(!is(s, WANTS_SHUTDOWN | IS_NOTIFIED | IS_LENT_OUT));
	return s->face.state <= STREAM_OPEN && !is(s, IS_DROPPED);
}

/* Plain bytes that wait for the socket must not pin the loop's receive buffers. */
static void keep_all(struct stream_tls *s, struct slice_queue *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		struct slice *part = slice_queue_at(q, i);

		*part = loop_keep(s->face.loop, *part);
	}
}

static bool must_keep(const struct stream_tls *s)
{
	return s->face.state == STREAM_CONNECTING || is(s, IS_BLOCKED);
}

static void written(struct stream_tls *s, size_t bytes)
{
	s->face.queued += bytes;
	if (s->face.state == STREAM_OPEN)
		flush_later(s);
}

void stream_tls_write(struct stream *face, struct slice data)
{
	struct stream_tls *s = tls_of(face);
	size_t bytes = data.len;

	if (!takes_writes(s)) {
		slice_put(&data);
		return;
	}
	slice_queue_push(&busy_get(s)->plain, must_keep(s) ? loop_keep(face->loop, data) : data);
	written(s, bytes);
}

void stream_tls_write_queue(struct stream *face, struct slice_queue *from)
{
	struct stream_tls *s = tls_of(face);
	size_t bytes = from->bytes;

	if (!takes_writes(s)) {
		slice_queue_clear(from);
		return;
	}
	if (must_keep(s))
		keep_all(s, from);
	slice_queue_move(&busy_get(s)->plain, from);
	written(s, bytes);
}

static void encrypt(struct stream_tls *s)
{
	struct busy *b = s->busy;

	unset(s, WRITE_WANTS_READ);
	while (b->plain.count > 0 && s->below->queued < STREAM_TLS_CIPHER_MAX) {
		size_t before = b->plain.bytes;
		enum tlsio_result result = tlsio_write(&s->tls, &b->io, &b->plain,
						       STREAM_TLS_CIPHER_MAX - s->below->queued);

		s->face.sending += before - b->plain.bytes;
		stream_tls_send_out(s);
		stream_tls_note_dropped(s);
		if (result == TLSIO_FAILED) {
			stream_tls_fail_engine(s);
			return;
		}
		if (result == TLSIO_WANTS_INPUT) {
			set(s, WRITE_WANTS_READ);
			if (!is(s, IS_BELOW_EOF))
				stream_read(s->below, LOOP_BUFFERS_SMALL);
			break;
		}
	}
	if (b->plain.count == 0) {
		unset(s, IS_BLOCKED);
	} else if (!is(s, IS_BLOCKED)) {
		set(s, IS_BLOCKED);
		keep_all(s, &b->plain);
	}
}

/* All plain bytes are records now: the end may follow, in the same packet. */
static void finish(struct stream_tls *s)
{
	if (tlsio_is_early(&s->tls)) /* there is no close_notify yet; the owner's reading completes the handshake */
		return;
	if (!is(s, IS_NOTIFIED)) {
		tlsio_close(&s->tls, &s->busy->io);
		stream_tls_send_out(s);
		set(s, IS_NOTIFIED);
		/* The kernel would hold the record itself back, and forget it. */
		if (!tlsio_kernel_sends(&s->tls))
			stream_ends_soon(s->below);
	}
	if (is(s, WANTS_SHUTDOWN) && tlsio_kernel_sends(&s->tls))
		stream_tls_kernel_shutdown(s);
	else if (is(s, WANTS_SHUTDOWN))
		stream_shutdown(s->below);
}

void stream_tls_flush(struct stream_tls *s)
{
	encrypt(s);
	if (s->face.state != STREAM_OPEN || s->busy->plain.count > 0 || is(s, IS_LENT_OUT))
		return;
	if (is(s, ENDS_SOON | WANTS_SHUTDOWN))
		finish(s);
}

void stream_tls_flush_task(struct task *t)
{
	struct stream_tls *s = container_of(t, struct busy, flush_task)->s;

	if (s->face.state == STREAM_OPEN)
		stream_tls_flush(s);
}

/* Cipher bytes of before are plain bytes in proportion; the last plain byte goes with the last cipher byte. */
static size_t sent_share(const struct stream_tls *s, size_t bytes)
{
	size_t left = s->below->queued, all = s->face.sending;

	if (left == 0 || all == 0)
		return all;
	return MIN(MAX(all * bytes / (bytes + left), (size_t)1), all - 1);
}

void stream_tls_sent(struct stream_tls *s, size_t cipher_bytes)
{
	size_t share = sent_share(s, cipher_bytes);

	s->face.queued -= share;
	s->face.sending -= share;
	s->face.bytes_out += share;
	if (s->busy && s->busy->plain.count > 0)
		flush_later(s);
	else if (is(s, WANTS_SHUTDOWN) && tlsio_kernel_sends(&s->tls))
		flush_later(s);
	if (share > 0)
		s->face.events->on_sent(&s->face, share);
}

void stream_tls_ends_soon(struct stream *face)
{
	struct stream_tls *s = tls_of(face);

	if (face->state > STREAM_OPEN || is(s, ENDS_SOON))
		return;
	set(s, ENDS_SOON);
	if (face->state == STREAM_OPEN)
		flush_later(s);
}

void stream_tls_shutdown(struct stream *face)
{
	struct stream_tls *s = tls_of(face);

	if (face->state > STREAM_OPEN || is(s, WANTS_SHUTDOWN))
		return;
	set(s, WANTS_SHUTDOWN);
	if (face->state == STREAM_OPEN)
		flush_later(s);
}
