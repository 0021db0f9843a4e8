/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tls.c - streams of plain bytes over streams of TLS records. */
#include "net/stream_tls.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/tls_context.h"

/* What a stream needs only while it is not idle. */
struct busy {
	struct stream_tls *s; /* borrowed */
	struct list node;     /* in warm.streams */

	struct tlsio_io io;
	struct slice_queue plain; /* written by the owner, not encrypted */
	struct task read_task, flush_task;
	struct timer linger;
	uint32_t lingered; /* bytes dropped while lingering */
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
};

/*
 * The streams of this thread that may hold buffers, and when to look at them.  Thread-local because a stream knows its
 * loop only, and the loop does not know of TLS; empty, and the timer off, when no TLS stream is left.
 */
static __thread struct {
	struct list streams; /* of busy.node */
	struct timer timer;
	struct loop *loop; /* borrowed; while the list is not empty */
} warm;

static const struct stream_events below_events;

static void read_task_run(struct task *t);
static void flush_task_run(struct task *t);
static void linger_expired(struct timer *t);
static void warm_expired(struct timer *t);

static bool is(const struct stream_tls *s, unsigned flags)
{
	return s->flags & flags;
}

static struct stream_tls *tls_of(const struct stream *face)
{
	OBJ_CHECK(face, TAG_STREAM);
	return container_of(face, struct stream_tls, face);
}

static struct stream_tls *owner_of(const struct stream *below)
{
	return tls_of(below->owner);
}

/* --- what a busy stream has --- */

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

static struct busy *busy_get(struct stream_tls *s)
{
	struct busy *b = s->busy;

	if (!b) {
		b = mem_zalloc(sizeof(*b));
		b->s = s;
		b->read_task.run = read_task_run;
		b->flush_task.run = flush_task_run;
		timer_init(&b->linger, linger_expired);
		s->busy = b;
		warm_add(b);
	}
	b->was_used = true;
	return b;
}

static void busy_end(struct stream_tls *s)
{
	struct busy *b = s->busy;

	if (!b)
		return;
	loop_undefer(s->face.loop, &b->read_task);
	loop_undefer(s->face.loop, &b->flush_task);
	timer_disarm(s->face.loop, &b->linger);
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
	if (b->was_used || b->s->face.state != STREAM_OPEN || b->read_task.is_queued || b->flush_task.is_queued)
		return false;
	return b->s->face.queued == 0 && !tlsio_has_input(&b->s->tls, &b->io);
}

static void warm_expired(struct timer *t)
{
	struct loop *l = warm.loop;
	struct list *at, *next;

	list_for_each_safe(at, next, &warm.streams) {
		struct busy *b = list_entry(at, struct busy, node);

		if (is_idle(b) && tlsio_release(&b->s->tls))
			busy_end(b->s);
		else
			b->was_used = false;
	}
	if (!list_is_empty(&warm.streams))
		timer_arm(l, t, STREAM_TLS_WARM_MS);
}

static void flush_later(struct stream_tls *s)
{
	loop_defer_flush(s->face.loop, &busy_get(s)->flush_task);
}

static void read_later(struct stream_tls *s)
{
	loop_defer(s->face.loop, &busy_get(s)->read_task);
}

/* --- failing --- */

static void drop_plain(struct stream_tls *s)
{
	if (s->busy)
		slice_queue_fini(&s->busy->plain);
	s->face.queued = s->face.sending = 0;
}

/* From the loop only: the owner hears of it at once. */
static void fail(struct stream_tls *s, int err)
{
	CHECK(err < 0);
	if (s->face.state > STREAM_OPEN)
		return;
	s->face.state = STREAM_FAILED;
	s->flags &= ~(unsigned)IS_READING;
	drop_plain(s);
	s->face.events->on_fail(&s->face, err);
}

static void fail_tls(struct stream_tls *s)
{
	if (s->below->state == STREAM_OPEN && s->below->queued > 0)
		s->flags |= HAS_ALERT;
	fail(s, -EPROTO);
}

/* Below dropped bytes without failing: nothing that is written arrives any more. */
static void note_dropped(struct stream_tls *s)
{
	if (s->face.sending == 0 || s->below->queued > 0)
		return;
	s->flags |= IS_DROPPED;
	drop_plain(s);
}

static void send_out(struct stream_tls *s)
{
	if (s->busy->io.out.count > 0)
		stream_write_queue(s->below, &s->busy->io.out);
}

/* --- the handshake --- */

static void shake(struct stream_tls *s)
{
	struct busy *b = busy_get(s);
	enum tlsio_result result = tlsio_handshake(&s->tls, &b->io);

	send_out(s);
	if (result == TLSIO_WANTS_INPUT) {
		stream_read(s->below, LOOP_BUFFERS_SMALL);
	} else if (result == TLSIO_DONE) {
		s->face.state = STREAM_OPEN;
		flush_later(s);
		s->face.events->on_connected(&s->face);
	} else {
		fail_tls(s);
	}
}

static void on_below_connected(struct stream *below)
{
	shake(owner_of(below));
}

/* --- reading --- */

static size_t class_bytes(enum loop_buffers class)
{
	return class == LOOP_BUFFERS_LARGE ? 65536 : 4096;
}

static void tell_eof(struct stream_tls *s)
{
	s->flags &= ~(unsigned)IS_READING;
	s->flags |= IS_READ_EOF;
	s->face.events->on_eof(&s->face);
}

/* The connection ended without close_notify. */
static void tell_cut(struct stream_tls *s)
{
	if (is(s, IS_SERVER) && !tlsio_is_early(&s->tls)) {
		tell_eof(s);
		return;
	}
	tlsio_set_failure(&s->tls, TLS_FAILURE_CLOSED);
	fail(s, -EPROTO);
}

/* The owner asked, and there may be something for it. */
static void read_on(struct stream_tls *s)
{
	struct busy *b = busy_get(s);
	struct slice plain = { 0 };
	enum tlsio_result result = tlsio_read(&s->tls, &b->io, class_bytes(s->read_class), &plain);

	send_out(s);
	note_dropped(s);
	if (is(s, ENDS_SOON | WANTS_SHUTDOWN) && !is(s, IS_NOTIFIED))
		flush_later(s);
	switch (result) {
	case TLSIO_DONE:
		s->flags &= ~(unsigned)IS_READING;
		s->face.bytes_in += plain.len;
		s->face.events->on_data(&s->face, plain);
		break;
	case TLSIO_WANTS_INPUT:
		if (is(s, IS_BELOW_EOF))
			tell_cut(s);
		else
			stream_read(s->below, s->read_class);
		break;
	case TLSIO_END:
		tell_eof(s);
		break;
	case TLSIO_FAILED:
		fail_tls(s);
		break;
	}
}

static void read_task_run(struct task *t)
{
	struct stream_tls *s = container_of(t, struct busy, read_task)->s;

	if (s->face.state == STREAM_CONNECTING)
		shake(s);
	else if (s->face.state == STREAM_OPEN && is(s, IS_READING))
		read_on(s);
}

static void op_read(struct stream *face, enum loop_buffers class)
{
	struct stream_tls *s = tls_of(face);

	CHECK(!is(s, IS_READ_EOF));
	if (face->state != STREAM_OPEN || is(s, IS_READING))
		return;
	s->flags |= IS_READING;
	s->read_class = class;
	if (is(s, IS_BELOW_EOF) || (s->busy && tlsio_has_input(&s->tls, &s->busy->io)))
		read_later(s);
	else
		stream_read(s->below, class);
}

static void linger_data(struct stream_tls *s, struct slice data);
static void flush(struct stream_tls *s);

static void on_below_data(struct stream *below, struct slice data)
{
	struct stream_tls *s = owner_of(below);
	struct busy *b = busy_get(s);

	if (s->face.state > STREAM_OPEN) {
		linger_data(s, data);
		return;
	}
	CHECK(b->io.in.len == 0);
	b->io.in = data;
	if (s->face.state == STREAM_CONNECTING) {
		shake(s);
	} else {
		if (is(s, WRITE_WANTS_READ))
			flush(s);
		if (s->face.state == STREAM_OPEN && is(s, IS_READING))
			read_on(s);
	}
	if (b->io.in.len > 0)
		b->io.in = loop_keep(s->face.loop, b->io.in);
}

static void linger_end(struct stream_tls *s);

static void on_below_eof(struct stream *below)
{
	struct stream_tls *s = owner_of(below);

	s->flags |= IS_BELOW_EOF;
	if (s->face.state == STREAM_CONNECTING) {
		tlsio_set_failure(&s->tls, TLS_FAILURE_CLOSED);
		fail(s, -EPROTO);
	} else if (s->face.state == STREAM_OPEN && is(s, IS_READING)) {
		note_dropped(s);
		tell_cut(s);
	} else if (is(s, IS_LINGERING) && below->queued == 0) {
		linger_end(s);
	}
}

static void op_watch(struct stream *face, bool on)
{
	struct stream_tls *s = tls_of(face);

	if (face->state == STREAM_OPEN)
		stream_watch(s->below, on);
}

static void on_below_hangup(struct stream *below)
{
	struct stream_tls *s = owner_of(below);

	if (s->face.state == STREAM_OPEN)
		s->face.events->on_hangup(&s->face);
}

/* --- writing --- */

static bool takes_writes(const struct stream_tls *s)
{
	CHECK(!is(s, WANTS_SHUTDOWN | IS_NOTIFIED));
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

static void op_write(struct stream *face, struct slice data)
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

static void op_write_queue(struct stream *face, struct slice_queue *from)
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

	s->flags &= ~(unsigned)WRITE_WANTS_READ;
	while (b->plain.count > 0 && s->below->queued < STREAM_TLS_CIPHER_MAX) {
		size_t before = b->plain.bytes;
		enum tlsio_result result = tlsio_write(&s->tls, &b->io, &b->plain,
						       STREAM_TLS_CIPHER_MAX - s->below->queued);

		s->face.sending += before - b->plain.bytes;
		send_out(s);
		note_dropped(s);
		if (result == TLSIO_FAILED) {
			fail_tls(s);
			return;
		}
		if (result == TLSIO_WANTS_INPUT) {
			s->flags |= WRITE_WANTS_READ;
			if (!is(s, IS_BELOW_EOF))
				stream_read(s->below, LOOP_BUFFERS_SMALL);
			break;
		}
	}
	if (b->plain.count == 0) {
		s->flags &= ~(unsigned)IS_BLOCKED;
	} else if (!is(s, IS_BLOCKED)) {
		s->flags |= IS_BLOCKED;
		keep_all(s, &b->plain);
	}
}

/* All plain bytes are records now: the end may follow, in the same packet. */
static void finish(struct stream_tls *s)
{
	if (tlsio_is_early(&s->tls)) /* there is no close_notify yet; the owner's reading completes the handshake */
		return;
	if (!is(s, IS_NOTIFIED)) {
		s->flags |= IS_NOTIFIED;
		tlsio_close(&s->tls, &s->busy->io);
		send_out(s);
		stream_ends_soon(s->below);
	}
	if (is(s, WANTS_SHUTDOWN))
		stream_shutdown(s->below);
}

static void flush(struct stream_tls *s)
{
	encrypt(s);
	if (s->face.state == STREAM_OPEN && s->busy->plain.count == 0 && is(s, ENDS_SOON | WANTS_SHUTDOWN))
		finish(s);
}

static void flush_task_run(struct task *t)
{
	struct stream_tls *s = container_of(t, struct busy, flush_task)->s;

	if (s->face.state == STREAM_OPEN)
		flush(s);
}

/* Cipher bytes of before are plain bytes in proportion; the last plain byte goes with the last cipher byte. */
static size_t sent_share(const struct stream_tls *s, size_t bytes)
{
	size_t left = s->below->queued, all = s->face.sending;

	if (left == 0 || all == 0)
		return all;
	return MIN(MAX(all * bytes / (bytes + left), (size_t)1), all - 1);
}

static void on_below_sent(struct stream *below, size_t bytes)
{
	struct stream_tls *s = owner_of(below);
	size_t share;

	if (is(s, IS_LINGERING)) {
		if (is(s, IS_BELOW_EOF) && below->queued == 0)
			linger_end(s);
		return;
	}
	if (s->face.state != STREAM_OPEN)
		return;
	share = sent_share(s, bytes);
	s->face.queued -= share;
	s->face.sending -= share;
	s->face.bytes_out += share;
	if (s->busy && s->busy->plain.count > 0)
		flush_later(s);
	if (share > 0)
		s->face.events->on_sent(&s->face, share);
}

static void op_ends_soon(struct stream *face)
{
	struct stream_tls *s = tls_of(face);

	if (face->state > STREAM_OPEN || is(s, ENDS_SOON))
		return;
	s->flags |= ENDS_SOON;
	if (face->state == STREAM_OPEN)
		flush_later(s);
}

static void op_shutdown(struct stream *face)
{
	struct stream_tls *s = tls_of(face);

	if (face->state > STREAM_OPEN || is(s, WANTS_SHUTDOWN))
		return;
	s->flags |= WANTS_SHUTDOWN;
	if (face->state == STREAM_OPEN)
		flush_later(s);
}

/* --- the end --- */

static void linger_end(struct stream_tls *s)
{
	s->flags &= ~(unsigned)IS_LINGERING;
	timer_disarm(s->face.loop, &s->busy->linger);
	stream_close(s->below);
}

static void linger_begin(struct stream_tls *s)
{
	s->flags |= IS_LINGERING;
	timer_arm(s->face.loop, &busy_get(s)->linger, STREAM_TLS_LINGER_MS);
	stream_shutdown(s->below);
	if (!is(s, IS_BELOW_EOF))
		stream_read(s->below, LOOP_BUFFERS_SMALL);
	else if (s->below->queued == 0)
		linger_end(s);
}

static void linger_data(struct stream_tls *s, struct slice data)
{
	s->busy->lingered += data.len;
	slice_put(&data);
	if (!is(s, IS_LINGERING))
		return;
	if (s->busy->lingered > STREAM_TLS_LINGER_BYTES)
		linger_end(s);
	else
		stream_read(s->below, LOOP_BUFFERS_SMALL);
}

static void linger_expired(struct timer *t)
{
	linger_end(container_of(t, struct busy, linger)->s);
}

/* Below is empty, so the alert can go past its queue; nobody waits for it. */
static void say_goodbye(struct stream_tls *s)
{
	struct tlsio_io io = { 0 };

	tlsio_close(&s->tls, &io);
	if (io.out.count > 0) {
		const struct slice *alert = slice_queue_at(&io.out, 0);

		(void)send(stream_fd(s->below), alert->ptr, alert->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	tlsio_io_fini(&io);
}

static void op_close(struct stream *face, bool with_reset)
{
	struct stream_tls *s = tls_of(face);
	enum stream_state before = face->state;

	if (before >= STREAM_CLOSING)
		return;
	face->state = STREAM_CLOSING;
	drop_plain(s);
	if (s->busy) {
		loop_undefer(face->loop, &s->busy->read_task);
		loop_undefer(face->loop, &s->busy->flush_task);
		tlsio_io_fini(&s->busy->io);
	}
	if (with_reset) {
		stream_abort(s->below);
	} else if (is(s, HAS_ALERT) && s->below->state == STREAM_OPEN) {
		linger_begin(s);
	} else {
		if (before == STREAM_OPEN && s->below->state == STREAM_OPEN && s->below->queued == 0 &&
		    !is(s, IS_NOTIFIED))
			say_goodbye(s);
		stream_close(s->below);
	}
}

static void on_below_fail(struct stream *below, int err)
{
	struct stream_tls *s = owner_of(below);

	if (is(s, IS_LINGERING)) {
		linger_end(s);
		return;
	}
	if (tlsio_handshake_bytes(&s->tls) > 0 && s->face.state == STREAM_CONNECTING)
		tlsio_set_failure(&s->tls, TLS_FAILURE_CLOSED);
	fail(s, err);
}

static void on_below_closed(struct stream *below)
{
	struct stream_tls *s = owner_of(below);

	CHECK(s->face.state == STREAM_CLOSING);
	s->face.state = STREAM_CLOSED;
	s->face.events->on_closed(&s->face);
	busy_end(s);
	tlsio_fini(&s->tls);
	s->face.tag = 0;
	free(s);
}

/* --- names --- */

static const struct addr *op_peer(struct stream *face)
{
	return stream_peer(tls_of(face)->below);
}

static void op_set_peer(struct stream *face, const struct addr *peer)
{
	stream_set_peer(tls_of(face)->below, peer);
}

static int op_local(struct stream *face, struct addr *out_addr)
{
	return stream_local(tls_of(face)->below, out_addr);
}

static int op_fd(const struct stream *face)
{
	return stream_fd(tls_of(face)->below);
}

static struct tlsio *op_tls(struct stream *face)
{
	return &tls_of(face)->tls;
}

/* --- the beginning --- */

static const struct stream_events below_events = {
	.on_connected = on_below_connected,
	.on_data = on_below_data,
	.on_eof = on_below_eof,
	.on_sent = on_below_sent,
	.on_fail = on_below_fail,
	.on_hangup = on_below_hangup,
	.on_closed = on_below_closed,
};

static const struct stream_ops tls_ops = {
	.read = op_read,
	.watch = op_watch,
	.write = op_write,
	.write_queue = op_write_queue,
	.ends_soon = op_ends_soon,
	.shutdown = op_shutdown,
	.close = op_close,
	.peer = op_peer,
	.set_peer = op_set_peer,
	.local = op_local,
	.fd = op_fd,
	.tls = op_tls,
};

static struct stream_tls *stream_tls_new(struct stream *below, unsigned flags, const struct stream_events *ev,
					 void *owner)
{
	struct stream_tls *s = mem_alloc(sizeof(*s));

	OBJ_CHECK(below, TAG_STREAM);
	CHECK(ev && below->state <= STREAM_OPEN && !stream_tls(below)); /* say_goodbye() needs a socket */
	*s = (struct stream_tls){
		.face = {
			.tag = TAG_STREAM,
			.state = STREAM_CONNECTING,
			.ops = &tls_ops,
			.loop = below->loop,
			.events = ev,
			.owner = owner,
		},
		.below = below,
		.flags = flags,
	};
	below->events = &below_events;
	below->owner = &s->face;
	return s;
}

struct stream *stream_tls_server(struct stream *below, struct slice first, struct tls_server *server,
				 const struct stream_events *ev, void *owner)
{
	struct stream_tls *s = stream_tls_new(below, IS_SERVER, ev, owner);

	CHECK(below->state == STREAM_OPEN);
	tlsio_init(&s->tls, tls_server_ssl(server), tls_server_has_early_data(server));
	if (first.len > 0) {
		busy_get(s)->io.in = loop_keep(s->face.loop, first);
		read_later(s);
	} else {
		slice_put(&first);
		stream_read(below, LOOP_BUFFERS_SMALL);
	}
	return &s->face;
}

struct stream *stream_tls_client(struct stream *below, struct ssl_st *ssl, const struct stream_events *ev,
				 void *owner)
{
	struct stream_tls *s = stream_tls_new(below, 0, ev, owner);

	tlsio_init(&s->tls, ssl, false);
	if (below->state == STREAM_OPEN)
		read_later(s);
	return &s->face;
}
