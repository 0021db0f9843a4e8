/* SPDX-License-Identifier: GPL-2.0-only */
/* stream_tcp.c - streams over TCP and Unix sockets. */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/ktls.h"
#include "net/socket.h"
#include "net/stream_tcp_private.h"

static void task_run(struct task *t);
static void read_done(struct op *op, int res, unsigned flags);
static void send_done(struct op *op, int res, unsigned flags);
static void connect_done(struct op *op, int res, unsigned flags);
static void watch_done(struct op *op, int res, unsigned flags);
static void buffer_back(struct buffer_waiter *w);
static void watch_again(struct stream_tcp *s);

/* An operation of a closing stream ended. */
static void close_go_on(struct stream_tcp *s)
{
	if (s->inflight == 0)
		flush_later(s);
}

/* From the loop only: the owner hears of it at once. */
static void fail(struct stream_tcp *s, int err)
{
	CHECK(err < 0);
	if (s->face.state != STREAM_OPEN && s->face.state != STREAM_CONNECTING)
		return;
	s->face.state = STREAM_FAILED;
	loop_unwait_buffer(s->face.loop, &s->waiter);
	stream_tcp_ahead_drop(s);
	unset(s, IS_READING);
	if (!is(s, IS_SENDING))
		stream_tcp_drop_queued(s);
	s->face.events->on_fail(&s->face, err);
}

static void connect_done(struct op *op, int res, unsigned flags)
{
	struct stream_tcp *s = container_of(op, struct stream_tcp, send_op);

	(void)flags;
	s->inflight--;
	unset(s, IS_CONNECTING | IS_BLOCKED);
	s->send_op.on_done = send_done;
	if (s->face.state == STREAM_CLOSING) {
		close_go_on(s);
		return;
	}
	if (res < 0) {
		fail(s, res);
		return;
	}
	s->face.state = STREAM_OPEN;
	/* Bytes and a FIN that were queued while connecting. */
	flush_later(s);
	s->face.events->on_connected(&s->face);
}

/*
 * --- reading ---
 *
 * Where short messages go back and forth, a receive into small buffers stands while the owner handles one and asks for
 * the next.  What comes meanwhile is kept ahead; how much that can be is the receive's limit, and there is no other one
 * before all of it was asked for.
 */

static void receive(struct stream_tcp *s)
{
	unset(s, HAS_STOOD);
	set(s, IS_RECEIVING);
	s->inflight++;
	if (is(s, EXPECTS_MORE))
		loop_recv(s->face.loop, &s->read_op, s->fd, s->read_class);
	else if (s->read_class == LOOP_BUFFERS_SMALL)
		loop_recv_standing(s->face.loop, &s->read_op, s->fd);
	else
		loop_recv_later(s->face.loop, &s->read_op, s->fd, s->read_class);
}

static void buffer_back(struct buffer_waiter *w)
{
	receive(container_of(w, struct stream_tcp, waiter));
}

static void op_read(struct stream *face, enum loop_buffers class)
{
	struct stream_tcp *s = tcp_of(face);

	CHECK(!is(s, IS_READ_EOF | IS_LENT_IN));
	if (s->face.state != STREAM_OPEN)
		return;
	unset(s, IS_PAUSING | IS_SETTLING);
	if (is(s, IS_READING))
		return;
	set(s, IS_READING);
	unset(s, WANTS_LARGE);
	if (class == LOOP_BUFFERS_LARGE)
		set(s, WANTS_LARGE);
	if (s->ahead)
		flush_later(s);
	if (s->ahead || is(s, IS_RECEIVING))
		return;
	/* Large ones are few: a thousand tunnels of short messages must not queue for them. */
	s->read_class = class == LOOP_BUFFERS_LARGE && is(s, SAYS_LITTLE) ? LOOP_BUFFERS_SMALL : (uint8_t)class;
	receive(s);
}

/* Which class of buffers would have done for what came. */
static void note_size(struct stream_tcp *s, uint32_t len)
{
	if (!is(s, WANTS_LARGE))
		return;
	if (len < LOOP_SMALL_BYTES && !is(s, EXPECTS_MORE))
		set(s, SAYS_LITTLE);
	else
		unset(s, SAYS_LITTLE);
}

/* The input is at rest when both of its operations are over. */
static void pause_check(struct stream_tcp *s)
{
	if (s->face.state != STREAM_OPEN || !is(s, IS_PAUSING) || is(s, IS_RECEIVING | IS_POLLING) || s->ahead)
		return;
	unset(s, IS_PAUSING | IS_READING);
	s->face.events->on_paused(&s->face);
}

/* Who wanted to lend the input may try again. */
static void settled(struct stream_tcp *s)
{
	unset(s, IS_SETTLING);
	if (s->face.state == STREAM_OPEN && !is(s, IS_READING | IS_PAUSING))
		s->face.events->on_paused(&s->face);
}

static void give(struct stream_tcp *s, struct slice data)
{
	unset(s, IS_READING);
	s->face.bytes_in += data.len;
	s->face.events->on_data(&s->face, data);
	pause_check(s);
	watch_again(s); /* one that fired meanwhile was left to the read */
}

static bool may_give(const struct stream_tcp *s)
{
	return is(s, IS_READING | IS_PAUSING);
}

/*
 * Its last bytes came in this turn: what is done with them goes on before the end is told, as it does where each
 * receive is alone.  The next one meets the end again.
 */
static bool ends_later(struct stream_tcp *s, int res)
{
	if (!is(s, HAS_STOOD) || !is(s, IS_READING) || stream_tcp_is_nothing(res))
		return false;
	if (res < 0)
		s->send_err = (int16_t)res;
	set(s, EXPECTS_MORE);
	receive(s);
	return true;
}

static void read_ended(struct stream_tcp *s, int res)
{
	if (is(s, IS_PAUSING) && stream_tcp_is_nothing(res))
		return;
	/* ECANCELED: a pause that ended before its cancellation did. */
	if (stream_tcp_is_nothing(res)) {
		receive(s);
		return;
	}
	unset(s, IS_READING);
	if (s->send_err) {
		/* What came before the reset has been read; the end is the reset. */
		fail(s, s->send_err);
	} else if (res == 0) {
		set(s, IS_READ_EOF);
		s->face.events->on_eof(&s->face);
	} else {
		fail(s, res);
	}
}

static void read_got(struct stream_tcp *s, struct slice data, unsigned flags)
{
	unset(s, EXPECTS_MORE);
	if (flags & LOOP_RECV_LEFT)
		set(s, EXPECTS_MORE);
	if (flags & OP_MORE)
		set(s, HAS_STOOD);
	note_size(s, data.len);
	if (!s->ahead && may_give(s)) {
		give(s, data);
		return;
	}
	stream_tcp_ahead_add(s, data);
	if (may_give(s))
		flush_later(s);
}

static void read_nothing(struct stream_tcp *s, struct slice data, int res)
{
	slice_put(&data);
	if (s->face.state == STREAM_CLOSING) {
		close_go_on(s);
	} else if (s->face.state == STREAM_OPEN && (s->ahead || !may_give(s))) {
		stream_tcp_unasked_end(s, res);
	} else if (s->face.state == STREAM_OPEN && res == -ENOBUFS && !is(s, IS_PAUSING)) {
		set(s, EXPECTS_MORE);
		loop_wait_buffer(s->face.loop, s->read_class, &s->waiter);
	} else if (s->face.state == STREAM_OPEN && !ends_later(s, res)) {
		read_ended(s, res);
		pause_check(s);
	}
}

static void read_done(struct op *op, int res, unsigned flags)
{
	struct stream_tcp *s = container_of(op, struct stream_tcp, read_op);
	struct slice data = { 0 };

	OBJ_CHECK(&s->face, TAG_STREAM);
	if (!(flags & OP_MORE)) {
		s->inflight--;
		unset(s, IS_RECEIVING);
	}
	if (flags & OP_BUFFER)
		data = loop_take_buffer(s->face.loop, s->read_class, res, flags);
	if (s->face.state == STREAM_OPEN && res > 0)
		read_got(s, data, flags);
	else
		read_nothing(s, data, res);
	if (is(s, IS_SETTLING) && !is(s, IS_RECEIVING))
		settled(s);
}

/* --- watching --- */

static void watch(struct stream_tcp *s)
{
	set(s, IS_POLLING);
	s->inflight++;
	/* A half that is known to be closed would be reported again at once. */
	if (is(s, IS_HUNG_UP | IS_READ_EOF))
		loop_poll_changes(s->face.loop, &s->watch_op, s->fd, POLLRDHUP);
	else
		loop_poll(s->face.loop, &s->watch_op, s->fd, POLLRDHUP);
}

static void watch_again(struct stream_tcp *s)
{
	if (s->face.state == STREAM_OPEN && is(s, WANTS_WATCH) && !is(s, IS_READING | IS_POLLING))
		watch(s);
}

static void op_watch(struct stream *face, bool on)
{
	struct stream_tcp *s = tcp_of(face);

	if (s->face.state != STREAM_OPEN)
		return;
	if (!on) {
		/* The poll stays: it costs nothing, and what it reports is ignored or asked for again. */
		unset(s, WANTS_WATCH);
		return;
	}
	set(s, WANTS_WATCH);
	stream_tcp_broken_check(s);
	if (!is(s, IS_POLLING))
		watch(s);
}

static void watch_done(struct op *op, int res, unsigned flags)
{
	struct stream_tcp *s = container_of(op, struct stream_tcp, watch_op);
	int err;

	OBJ_CHECK(&s->face, TAG_STREAM);
	if (!(flags & OP_MORE)) {
		s->inflight--;
		unset(s, IS_POLLING);
	}
	if (s->face.state == STREAM_CLOSING) {
		close_go_on(s);
		return;
	}
	if (is(s, IS_PAUSING) || res == -ECANCELED) {
		pause_check(s);
		watch_again(s);
		return;
	}
	/* While a read is asked for, it tells the same, after the bytes that come before. */
	if (s->face.state != STREAM_OPEN || !is(s, WANTS_WATCH) || is(s, IS_READING | FAILS_SOON)) {
		if (is(s, IS_POLLING)) /* it would not tell this again to whoever asks next */
			loop_cancel(s->face.loop, &s->watch_op);
		return;
	}
	unset(s, WANTS_WATCH);
	if (res < 0) {
		fail(s, res);
		return;
	}
	err = res & POLLERR ? socket_error(s->fd) : 0;
	if (err) {
		fail(s, err);
	} else if (!is(s, IS_HUNG_UP | IS_READ_EOF)) {
		set(s, IS_HUNG_UP);
		s->face.events->on_hangup(&s->face);
	} else if (!(res & (POLLHUP | POLLERR))) {
		/* The FIN is known already: from now on only a reset is news. */
		set(s, WANTS_WATCH);
		if (!is(s, IS_POLLING))
			watch(s);
	}
}

/*
 * --- writing ---
 *
 * What is queued may lie in receive buffers, which all streams of the loop share.  So the first try does not wait
 * (MSG_DONTWAIT): only when the socket is full is it known that bytes will stay, and then they are kept the way
 * loop_keep() says before a send that waits pins them for as long as the peer likes.
 */

static void keep_all(struct stream_tcp *s, struct slice_queue *q)
{
	for (uint32_t i = 0; i < q->count; i++) {
		struct slice *part = slice_queue_at(q, i);

		*part = loop_keep(s->face.loop, *part);
	}
}

static void op_write(struct stream *face, struct slice data)
{
	struct stream_tcp *s = tcp_of(face);

	CHECK(!is(s, WANTS_SHUTDOWN | IS_LENT_OUT));
	if (s->face.state > STREAM_OPEN || s->send_err) {
		stream_tcp_broken_check(s);
		slice_put(&data);
		return;
	}
	s->face.queued += data.len;
	slice_queue_push(&s->out, is(s, IS_BLOCKED) ? loop_keep(s->face.loop, data) : data);
	flush_later(s);
}

static void op_write_queue(struct stream *face, struct slice_queue *from)
{
	struct stream_tcp *s = tcp_of(face);

	CHECK(!is(s, WANTS_SHUTDOWN | IS_LENT_OUT));
	if (s->face.state > STREAM_OPEN || s->send_err) {
		stream_tcp_broken_check(s);
		slice_queue_clear(from);
		return;
	}
	s->face.queued += from->bytes;
	if (is(s, IS_BLOCKED))
		keep_all(s, from);
	slice_queue_move(&s->out, from);
	flush_later(s);
}

static void op_ends_soon(struct stream *face)
{
	struct stream_tcp *s = tcp_of(face);

	set(s, ENDS_SOON);
}

static void op_shutdown(struct stream *face)
{
	struct stream_tcp *s = tcp_of(face);

	if (s->face.state > STREAM_OPEN)
		return;
	set(s, WANTS_SHUTDOWN);
	flush_later(s);
}

/* Of the kernel's TLS: alone, with its type. */
static void send_record(struct stream_tcp *s, uint32_t record, const struct iovec *iov, int flags)
{
	size_t len;
	const void *control = ktls_control(record, &len);

	CHECK(control);
	loop_send_control(s->face.loop, &s->send_op, s->fd, iov, control, len, flags);
}

static void send_queued(struct stream_tcp *s)
{
	struct iovec iov[LOOP_SEND_SLICES];
	unsigned count = MIN(s->out.count, (unsigned)LOOP_SEND_SLICES);
	int wait_flag = is(s, IS_BLOCKED) ? 0 : MSG_DONTWAIT;
	uint32_t record = 0;

	s->face.sending = 0;
	for (unsigned i = 0; i < count; i++) {
		struct slice *part = slice_queue_at(&s->out, i);

		if (unlikely(part->record)) {
			count = MAX(i, 1U);
			if (i > 0)
				break;
			record = part->record;
		}
		iov[i] = (struct iovec){ .iov_base = part->ptr, .iov_len = part->len };
		s->face.sending += part->len;
	}
	if (is(s, ENDS_SOON) && count == s->out.count) {
		set(s, IS_HELD);
		wait_flag |= MSG_MORE;
	}
	set(s, IS_SENDING);
	s->inflight++;
	if (unlikely(record))
		send_record(s, record, iov, MSG_NOSIGNAL | wait_flag);
	else
		loop_sendv(s->face.loop, &s->send_op, s->fd, iov, count, MSG_NOSIGNAL | wait_flag);
}

static void send_failed(struct stream_tcp *s, int err)
{
	s->face.sending = 0;
	stream_tcp_drop_queued(s);
	/*
	 * A reset ends a read as well, so a read that is asked for will end and can tell.  A server may have answered
	 * before: its answer is read when the owner can take it.  What a client sent is of no use any more.
	 */
	if ((err == -EPIPE || err == -ECONNRESET) && is(s, IS_READING | IS_OUTGOING))
		s->send_err = (int16_t)err;
	else
		fail(s, err);
}

static void send_progress(struct stream_tcp *s, size_t bytes)
{
	slice_queue_consume(&s->out, bytes);
	s->face.queued -= bytes;
	s->face.bytes_out += bytes;
	if (bytes == s->face.sending) {
		unset(s, IS_BLOCKED);
	} else if (!is(s, IS_BLOCKED)) {
		set(s, IS_BLOCKED);
		keep_all(s, &s->out);
	}
	s->face.sending = 0;
	if (s->out.count == 0)
		slice_queue_fini(&s->out); /* an idle connection keeps no memory for it */
	if (s->out.count || is(s, WANTS_SHUTDOWN))
		flush_later(s);
}

static void send_done(struct op *op, int res, unsigned flags)
{
	struct stream_tcp *s = container_of(op, struct stream_tcp, send_op);

	(void)flags;
	OBJ_CHECK(&s->face, TAG_STREAM);
	s->inflight--;
	unset(s, IS_SENDING);
	if (s->face.state != STREAM_OPEN) {
		s->face.sending = 0;
		stream_tcp_drop_queued(s);
		if (s->face.state == STREAM_CLOSING)
			close_go_on(s);
		return;
	}
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		send_failed(s, res);
		return;
	}
	send_progress(s, res > 0 ? (size_t)res : 0);
	if (res > 0)
		s->face.events->on_sent(&s->face, (size_t)res);
}
/* --- the end of a turn --- */

static void close_finish(struct stream_tcp *s)
{
	stream_tcp_drop_queued(s);
	stream_tcp_ahead_drop(s);
	loop_close_fd(s->face.loop, s->fd);
	s->fd = -1;
	s->face.state = STREAM_CLOSED;
	s->face.events->on_closed(&s->face);
	s->face.tag = 0;
	free(s);
}

static void task_run(struct task *t)
{
	struct stream_tcp *s = container_of(t, struct stream_tcp, task);

	if (s->face.state == STREAM_CLOSING) {
		if (s->inflight == 0)
			close_finish(s);
		return;
	}
	if (s->face.state != STREAM_OPEN)
		return;
	if (is(s, FAILS_SOON)) {
		fail(s, s->send_err);
		return;
	}
	if (s->ahead && may_give(s))
		give(s, stream_tcp_ahead_take(s));
	if (s->face.state != STREAM_OPEN || is(s, IS_SENDING))
		return;
	if (s->out.count) {
		send_queued(s);
	} else if (is(s, WANTS_SHUTDOWN) && !is(s, IS_SHUT)) {
		set(s, IS_SHUT);
		/* The call itself: as an operation the kernel would start a thread for it.  A reset peer is no news. */
		(void)shutdown(s->fd, SHUT_WR);
	}
}

static void op_close(struct stream *face, bool with_reset)
{
	struct stream_tcp *s = tcp_of(face);

	if (face->state == STREAM_CLOSING)
		return;
	if (with_reset) {
		socket_reset_on_close(s->fd);
		unset(s, IS_HELD);
	}
	face->state = STREAM_CLOSING;
	loop_unwait_buffer(face->loop, &s->waiter);
	if (is(s, IS_RECEIVING))
		loop_cancel(face->loop, &s->read_op);
	if (is(s, IS_SENDING | IS_CONNECTING))
		loop_cancel(face->loop, &s->send_op);
	else
		stream_tcp_drop_queued(s);
	if (is(s, IS_POLLING))
		loop_cancel(face->loop, &s->watch_op);
	/* Closing a socket with unread input resets it, and what it holds back would be lost. */
	if (is(s, IS_HELD) && !is(s, IS_SHUT))
		(void)shutdown(s->fd, SHUT_WR);
	close_go_on(s);
}

/* --- names --- */

static const struct addr *op_peer(struct stream *face)
{
	static __thread struct addr peer;
	struct stream_tcp *s = tcp_of(face);

	if (s->name.sa.sa_family == AF_UNSPEC) {
		socket_peer_find(s->fd, &peer);
		addr_short_set(&s->name, &peer);
	}
	addr_short_get(&s->name, &peer);
	return &peer;
}

static void op_set_peer(struct stream *face, const struct addr *peer)
{
	addr_short_set(&tcp_of(face)->name, peer);
}

static int op_local(struct stream *face, struct addr *out_addr)
{
	return socket_local(tcp_of(face)->fd, out_addr);
}

static int op_fd(const struct stream *face)
{
	return tcp_of(face)->fd;
}

static struct tlsio *op_tls(struct stream *face)
{
	(void)face;
	return NULL;
}

/* --- the beginning --- */

static const struct stream_ops tcp_ops = {
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
	.busy = stream_tcp_busy,
	.may_lend = stream_tcp_may_lend,
	.lend = stream_tcp_lend,
	.pause = stream_tcp_pause,
	.take_back = stream_tcp_take_back,
};

static struct stream_tcp *stream_tcp_new(struct loop *l, int fd, const struct stream_events *ev, void *owner)
{
	struct stream_tcp *s = mem_alloc(sizeof(*s));

	CHECK(fd >= 0 && ev);
	*s = (struct stream_tcp){
		.face = {
			.tag = TAG_STREAM,
			.state = STREAM_OPEN,
			.ops = &tcp_ops,
			.loop = l,
			.events = ev,
			.owner = owner,
		},
		.fd = fd,
		.flags = EXPECTS_MORE,
		.read_op.on_done = read_done,
		.send_op.on_done = send_done,
		.watch_op.on_done = watch_done,
		.waiter.on_buffer = buffer_back,
		.task.run = task_run,
	};
	list_init(&s->waiter.node);
	return s;
}

struct stream *stream_open(struct loop *l, int fd, const struct addr *peer, const struct stream_events *ev,
			   void *owner)
{
	struct stream_tcp *s = stream_tcp_new(l, fd, ev, owner);

	if (peer)
		addr_short_set(&s->name, peer);
	return &s->face;
}

struct stream *stream_connect(struct loop *l, const struct addr *to, const struct stream_events *ev, void *owner,
			      int *out_err)
{
	int fd = socket_stream(to->sa.sa_family);
	struct stream_tcp *s;

	if (fd < 0) {
		*out_err = fd;
		return NULL;
	}
	s = stream_tcp_new(l, fd, ev, owner);
	addr_short_set(&s->name, to);
	s->face.state = STREAM_CONNECTING;
	s->send_op.on_done = connect_done;
	s->inflight++;
	/* Bytes that are written now have to wait, as on a full socket. */
	set(s, IS_CONNECTING | IS_BLOCKED | IS_OUTGOING);
	loop_connect(l, &s->send_op, fd, &to->sa, to->len);
	return &s->face;
}
