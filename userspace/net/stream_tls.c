/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tls.c - streams of plain bytes over streams of TLS records. */
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/ktls.h"
#include "net/stream_tls_private.h"
#include "net/tls_context.h"

static const struct stream_events below_events;

static struct stream_tls *owner_of(const struct stream *below)
{
	return tls_of(below->owner);
}

/* --- failing --- */

void stream_tls_fail(struct stream_tls *s, int err)
{
	CHECK(err < 0);
	if (s->face.state > STREAM_OPEN)
		return;
	s->face.state = STREAM_FAILED;
	unset(s, IS_READING);
	stream_tls_drop_plain(s);
	s->face.events->on_fail(&s->face, err);
}

void stream_tls_fail_engine(struct stream_tls *s)
{
	if (s->below->state == STREAM_OPEN && s->below->queued > 0)
		set(s, HAS_ALERT);
	stream_tls_fail(s, -EPROTO);
}

/* --- the handshake --- */

static void read_later(struct stream_tls *s)
{
	loop_defer(s->face.loop, &busy_get(s)->read_task);
}


static void shake(struct stream_tls *s)
{
	struct busy *b = busy_get(s);
	enum tlsio_result result;

	stream_tls_kernel_offer(s);
	result = tlsio_handshake(&s->tls, &b->io);
	stream_tls_kernel_offered(s);
	stream_tls_send_out(s);
	if (result == TLSIO_WANTS_INPUT) {
		stream_read(s->below, LOOP_BUFFERS_SMALL);
	} else if (result == TLSIO_DONE) {
		s->face.state = STREAM_OPEN;
		flush_later(s);
		s->face.events->on_connected(&s->face);
	} else {
		stream_tls_fail_engine(s);
	}
}

static void on_below_connected(struct stream *below)
{
	shake(owner_of(below));
}

/* --- reading --- */

static size_t class_bytes(enum loop_buffers class)
{
	return class == LOOP_BUFFERS_LARGE ? LOOP_LARGE_BYTES : LOOP_SMALL_BYTES;
}

static void tell_eof(struct stream_tls *s)
{
	unset(s, IS_READING);
	set(s, IS_READ_EOF);
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
	stream_tls_fail(s, -EPROTO);
}

/* The owner asked, and there may be something for it. */
static void read_on(struct stream_tls *s)
{
	struct busy *b = busy_get(s);
	struct slice plain = { 0 };
	enum tlsio_result result = tlsio_read(&s->tls, &b->io, class_bytes(s->read_class), &plain);

	stream_tls_send_out(s);
	stream_tls_note_dropped(s);
	if (is(s, ENDS_SOON | WANTS_SHUTDOWN) && !is(s, IS_NOTIFIED))
		flush_later(s);
	switch (result) {
	case TLSIO_DONE:
		unset(s, IS_READING);
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
		stream_tls_fail_engine(s);
		break;
	}
}

void stream_tls_read_task(struct task *t)
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
	set(s, IS_READING);
	s->read_class = class;
	if (is(s, IS_BELOW_EOF) || (s->busy && tlsio_has_input(&s->tls, &s->busy->io)))
		read_later(s);
	else
		stream_read(s->below, class);
}

static void linger_data(struct stream_tls *s, struct slice data);

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
			stream_tls_flush(s);
		if (s->face.state == STREAM_OPEN && is(s, IS_READING))
			read_on(s);
	}
	if (b->io.in.len > 0)
		b->io.in = loop_keep(s->face.loop, b->io.in);
}

static void on_below_eof(struct stream *below)
{
	struct stream_tls *s = owner_of(below);

	set(s, IS_BELOW_EOF);
	if (s->face.state == STREAM_CONNECTING) {
		tlsio_set_failure(&s->tls, TLS_FAILURE_CLOSED);
		stream_tls_fail(s, -EPROTO);
	} else if (s->face.state == STREAM_OPEN && is(s, IS_READING)) {
		stream_tls_note_dropped(s);
		tell_cut(s);
	} else if (is(s, IS_LINGERING) && below->queued == 0 && !timer_is_armed(&s->busy->drain)) {
		stream_tls_linger_end(s);
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

/* --- the end --- */

void stream_tls_linger_end(struct stream_tls *s)
{
	unset(s, IS_LINGERING);
	timer_disarm(s->face.loop, &s->busy->linger);
	timer_disarm(s->face.loop, &s->busy->drain);
	stream_close(s->below);
}

static void linger_begin(struct stream_tls *s)
{
	set(s, IS_LINGERING);
	timer_arm(s->face.loop, &busy_get(s)->linger, STREAM_TLS_LINGER_MS);
	stream_shutdown(s->below);
	if (!is(s, IS_BELOW_EOF))
		stream_read(s->below, LOOP_BUFFERS_SMALL);
	else if (s->below->queued == 0)
		stream_tls_linger_end(s);
}

static void linger_data(struct stream_tls *s, struct slice data)
{
	s->busy->lingered += data.len;
	slice_put(&data);
	if (!is(s, IS_LINGERING))
		return;
	if (s->busy->lingered > STREAM_TLS_LINGER_BYTES)
		stream_tls_linger_end(s);
	else
		stream_read(s->below, LOOP_BUFFERS_SMALL);
}

void stream_tls_linger_expired(struct timer *t)
{
	stream_tls_linger_end(container_of(t, struct busy, linger)->s);
}

/*
 * Below is empty, so the alert can go past its queue; nobody waits for it.  Not by send(): ThreadSanitizer sees no
 * accept() of io_uring, so it takes a descriptor for the one of this number that another thread closed before.
 */
static void say_goodbye(struct stream_tls *s)
{
	struct tlsio_io io = { 0 };

	tlsio_close(&s->tls, &io);
	if (io.out.count > 0) {
		const struct slice *alert = slice_queue_at(&io.out, 0);
		struct iovec iov = { alert->ptr, alert->len };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		long n;

		if (alert->record)
			msg.msg_control = (void *)(uintptr_t)ktls_control(alert->record, &msg.msg_controllen);
		n = syscall(SYS_sendmsg, stream_fd(s->below), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		s->below->bytes_out += n > 0 ? (size_t)n : 0;
	}
	tlsio_io_fini(&io);
}

static void op_close(struct stream *face, bool with_reset)
{
	struct stream_tls *s = tls_of(face);
	bool is_all_out = face->state == STREAM_OPEN && face->queued == 0; /* else the end is none that we mean */

	if (face->state >= STREAM_CLOSING)
		return;
	face->state = STREAM_CLOSING;
	stream_tls_drop_plain(s);
	if (s->busy) {
		loop_undefer(face->loop, &s->busy->read_task);
		loop_undefer(face->loop, &s->busy->flush_task);
		timer_disarm(face->loop, &s->busy->drain);
		tlsio_io_fini(&s->busy->io);
	}
	if (with_reset) {
		stream_abort(s->below);
	} else if (is(s, HAS_ALERT) && s->below->state == STREAM_OPEN) {
		linger_begin(s);
	} else {
		if (is_all_out && s->below->state == STREAM_OPEN && s->below->queued == 0 && !is(s, IS_NOTIFIED))
			say_goodbye(s);
		if (is_all_out && tlsio_kernel_sends(&s->tls))
			stream_tls_kernel_close(s);
		else
			stream_close(s->below);
	}
}

static void on_below_fail(struct stream *below, int err)
{
	struct stream_tls *s = owner_of(below);

	if (is(s, IS_LINGERING)) {
		stream_tls_linger_end(s);
		return;
	}
	if (tlsio_handshake_bytes(&s->tls) > 0 && s->face.state == STREAM_CONNECTING)
		tlsio_set_failure(&s->tls, TLS_FAILURE_CLOSED);
	stream_tls_fail(s, err);
}

static void on_below_closed(struct stream *below)
{
	struct stream_tls *s = owner_of(below);

	CHECK(s->face.state == STREAM_CLOSING);
	s->face.state = STREAM_CLOSED;
	s->face.events->on_closed(&s->face);
	stream_tls_busy_end(s);
	tlsio_fini(&s->tls);
	s->face.tag = 0;
	free(s);
}

static void on_below_sent(struct stream *below, size_t bytes)
{
	struct stream_tls *s = owner_of(below);

	if (s->face.state == STREAM_OPEN)
		stream_tls_sent(s, bytes);
	else if (is(s, IS_LINGERING) && is(s, IS_BELOW_EOF) && below->queued == 0 && !timer_is_armed(&s->busy->drain))
		stream_tls_linger_end(s);
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
	.write = stream_tls_write,
	.write_queue = stream_tls_write_queue,
	.ends_soon = stream_tls_ends_soon,
	.shutdown = stream_tls_shutdown,
	.close = op_close,
	.peer = op_peer,
	.set_peer = op_set_peer,
	.local = op_local,
	.fd = op_fd,
	.tls = op_tls,
	.busy = stream_tls_busy,
	.may_lend = stream_tls_may_lend,
	.lend = stream_tls_lend,
	.take_back = stream_tls_take_back,
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
