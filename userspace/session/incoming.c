/* SPDX-License-Identifier: GPL-2.0-only */
/* incoming.c - accepted connections on their way to a session. */
#include "session/incoming.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/client_hello.h"
#include "net/proxy_protocol.h"
#include "net/stream_tls.h"
#include "net/tlsio.h"

static const struct stream_events incoming_events;

static void stage_next(struct incoming *in, const struct server_settings *set);

static struct incoming *of_stream(struct stream *st)
{
	struct incoming *in = st->owner;

	OBJ_CHECK(in, INCOMING_TAG);
	return in;
}

static struct incoming *of_session(struct server_session *base)
{
	return container_of(base, struct incoming, base);
}

/* ---- turns: each listener has its own bound and its own queue ---- */

static struct handshake_turns *turns_of(struct server_host *h, uint32_t listener_id)
{
	struct handshake_turns *t;
	struct list *pos;

	list_for_each(pos, &h->handshake_turns)
	{
		t = list_entry(pos, struct handshake_turns, node);
		if (t->listener_id == listener_id)
			return t;
	}
	t = mem_zalloc(sizeof(*t));
	t->listener_id = listener_id;
	list_init(&t->waiting);
	list_append(&h->handshake_turns, &t->node);
	return t;
}

static void turns_free(struct handshake_turns *t)
{
	list_remove(&t->node);
	free(t);
}

static bool may_handshake(const struct handshake_turns *t, const struct server_settings *set)
{
	return !set->handshakes_max || t->count < set->handshakes_max;
}

/* The next one begins, or the empty queue goes, in handshake_task. */
static void turn_end(struct incoming *in)
{
	struct server_host *h = in->base.host;
	struct handshake_turns *t = in->turns;

	if (!t)
		return;
	in->turns = NULL;
	list_remove(&in->turn_node);
	if (in->state == INCOMING_HANDSHAKE) {
		CHECK(t->count > 0 && h->handshake_count > 0);
		t->count--;
		h->handshake_count--;
	}
	loop_defer(h->loop, &h->handshake_task);
}

/* ---- the end ---- */

static void incoming_close(struct incoming *in, bool with_reset)
{
	if (in->state == INCOMING_CLOSING)
		return;
	turn_end(in);
	in->state = INCOMING_CLOSING;
	timer_disarm(in->base.host->loop, &in->deadline);
	if (with_reset)
		stream_abort(in->stream);
	else
		stream_close(in->stream);
}

static void incoming_fail(struct incoming *in, enum handshake_fault fault)
{
	struct server_host *h = in->base.host;

	if (in->state == INCOMING_CLOSING)
		return;
	if (h->on_handshake_failure)
		h->on_handshake_failure(h, in->base.listener_id, in->stream, fault);
	incoming_close(in, false);
}

static void incoming_free(struct incoming *in)
{
	slice_put(&in->first);
	strbuf_fini(&in->gathered);
	in->tag = 0;
	pool_give(&in->base.host->incoming, in);
}

static void on_closed(struct stream *st)
{
	struct incoming *in = of_stream(st);

	CHECK(in->state == INCOMING_CLOSING);
	server_session_end(&in->base, st);
	incoming_free(in);
}

/* ---- bytes that were read ---- */

static struct span bytes_of(const struct incoming *in)
{
	return in->gathered.ptr ? strbuf_span(&in->gathered) : slice_span(in->first);
}

/* A few bytes must not hold a receive buffer while more are waited for. */
static void bytes_add(struct incoming *in, struct slice data)
{
	if (in->first.len == 0 && !in->gathered.ptr) {
		in->first = data;
		return;
	}
	if (!in->gathered.ptr) {
		strbuf_init(&in->gathered);
		strbuf_add(&in->gathered, in->first.ptr, in->first.len);
		slice_put(&in->first);
	}
	strbuf_add(&in->gathered, data.ptr, data.len);
	slice_put(&data);
}

static struct slice bytes_take(struct incoming *in)
{
	struct slice s = in->first;

	in->first = (struct slice){0};
	if (in->gathered.ptr) {
		s = slice_copy(in->gathered.ptr, (uint32_t)in->gathered.len);
		strbuf_fini(&in->gathered);
		in->gathered = (struct strbuf){0};
	}
	return s;
}

/* The first of them were a header. */
static void bytes_drop(struct incoming *in, size_t count)
{
	struct slice all = bytes_take(in);

	if (count < all.len)
		in->first = slice_part(all, (uint32_t)count, all.len - (uint32_t)count);
	slice_put(&all);
}

static void read_more(struct incoming *in)
{
	in->first = loop_keep(in->base.host->loop, in->first);
	stream_read(in->stream, LOOP_BUFFERS_SMALL);
}

/* ---- the session that it becomes ---- */

static void become(struct incoming *in, enum server_protocol protocol, struct span name)
{
	struct server_host *h = in->base.host;
	struct stream *st = in->stream;
	uint32_t listener_id = in->base.listener_id;
	struct slice first = bytes_take(in);

	turn_end(in);
	timer_disarm(h->loop, &in->deadline);
	server_session_leave(&in->base);
	incoming_free(in);
	if (protocol == SERVER_HTTP)
		server_h1_open(h, listener_id, st, first);
	else if (protocol == SERVER_H2C)
		server_h2_open(h, listener_id, st, first);
	else
		server_raw_open(h, listener_id, st, first, name);
}

/* ---- TLS ---- */

static void handshake_begin(struct incoming *in, const struct server_settings *set)
{
	in->state = INCOMING_HANDSHAKE;
	in->turns->count++;
	in->base.host->handshake_count++;
	in->stream = stream_tls_server(in->stream, bytes_take(in), set->tls, &incoming_events, in);
}

static void on_connected(struct stream *st)
{
	bool is_h2 = span_eq(tlsio_alpn(stream_tls(st)), SPAN("h2"));

	become(of_stream(st), is_h2 ? SERVER_H2C : SERVER_HTTP, (struct span){0});
}

static void handshake_wait(struct incoming *in, const struct server_settings *set)
{
	struct server_host *h = in->base.host;

	in->turns = turns_of(h, in->base.listener_id);
	if (list_is_empty(&in->turns->waiting) && may_handshake(in->turns, set)) {
		handshake_begin(in, set);
		return;
	}
	in->state = INCOMING_WAITING;
	in->first = loop_keep(h->loop, in->first);
	list_append(&in->turns->waiting, &in->turn_node);
}

static void turns_give(struct handshake_turns *t)
{
	struct incoming *in;

	while ((in = list_first(&t->waiting, struct incoming, turn_node))) {
		const struct server_settings *set = server_session_settings(&in->base);

		if (!set) {
			incoming_close(in, false);
			continue;
		}
		if (!may_handshake(t, set))
			return;
		list_remove(&in->turn_node);
		handshake_begin(in, set);
	}
}

static void run_handshakes(struct task *task)
{
	struct server_host *h = container_of(task, struct server_host, handshake_task);
	struct list *pos, *tmp;

	list_for_each_safe(pos, tmp, &h->handshake_turns)
	{
		struct handshake_turns *t = list_entry(pos, struct handshake_turns, node);

		turns_give(t);
		if (t->count == 0 && list_is_empty(&t->waiting))
			turns_free(t);
	}
}

/* ---- the PROXY header ---- */

static bool is_trusted(struct stream *st, const struct server_settings *set)
{
	uint8_t ip[16];

	if (!addr_to_ip16(stream_peer(st), ip))
		return false;
	for (unsigned i = 0; i < set->proxy_protocol_from_count; i++)
		if (prefix_contains(&set->proxy_protocol_from[i], ip))
			return true;
	return false;
}

/*
 * Of a proxy's own socket (its health check), and of a Unix socket, the address stays what it is.  False: the client is
 * not wanted.
 */
static bool take_peer(struct incoming *in, const struct proxy_header *header)
{
	sa_family_t family = header->source.sa.sa_family;
	struct server_host *h = in->base.host;

	if (!header->has_addresses || (family != AF_INET && family != AF_INET6))
		return true;
	if (h->admits && !h->admits(h, in->base.listener_id, in->stream, &header->source))
		return false;
	stream_set_peer(in->stream, &header->source);
	return true;
}

static void look_for_header(struct incoming *in, const struct server_settings *set)
{
	struct span bytes = bytes_of(in);
	struct proxy_header header;
	size_t used;

	switch (proxy_protocol_read(bytes.ptr, bytes.len, &header, &used)) {
	case PROXY_PROTOCOL_MORE:
		read_more(in);
		return;
	case PROXY_PROTOCOL_DONE:
		if (!take_peer(in, &header)) {
			incoming_close(in, true);
			return;
		}
		bytes_drop(in, used);
		break;
	case PROXY_PROTOCOL_ABSENT:
		if (set->proxy_protocol == SERVER_PROXY_ACCEPT)
			break;
		incoming_fail(in, HANDSHAKE_PROXY_HEADER);
		return;
	default:
		incoming_fail(in, HANDSHAKE_PROXY_HEADER);
		return;
	}
	stage_next(in, set);
}

/* ---- the ClientHello ---- */

static void look_for_hello(struct incoming *in)
{
	struct span bytes = bytes_of(in);
	struct client_hello hello;

	switch (client_hello_read(bytes.ptr, bytes.len, &hello)) {
	case CLIENT_HELLO_MORE:
		read_more(in);
		return;
	case CLIENT_HELLO_DONE:
		become(in, SERVER_TLS_PASSTHROUGH, span_of(hello.name, hello.name_len));
		return;
	default:
		incoming_fail(in, HANDSHAKE_CLIENT_HELLO);
		return;
	}
}

/* What the listener's protocol needs, after the PROXY header if there is one. */
static void stage_next(struct incoming *in, const struct server_settings *set)
{
	bool has_bytes = bytes_of(in).len > 0;

	switch (set->protocol) {
	case SERVER_HTTPS:
		in->state = INCOMING_FIRST_BYTES;
		if (has_bytes)
			handshake_wait(in, set);
		else
			read_more(in);
		return;
	case SERVER_TLS_PASSTHROUGH:
		in->state = INCOMING_CLIENT_HELLO;
		if (has_bytes)
			look_for_hello(in);
		else
			read_more(in);
		return;
	default:
		become(in, set->protocol, (struct span){0});
		return;
	}
}

/* ---- events of the stream ---- */

static void on_data(struct stream *st, struct slice data)
{
	struct incoming *in = of_stream(st);
	const struct server_settings *set = server_session_settings(&in->base);

	bytes_add(in, data);
	if (!set) /* the listener left */
		incoming_close(in, false);
	else if (in->state == INCOMING_PROXY_HEADER)
		look_for_header(in, set);
	else if (in->state == INCOMING_FIRST_BYTES)
		handshake_wait(in, set);
	else if (in->state == INCOMING_CLIENT_HELLO)
		look_for_hello(in);
}

/* A client that connects and leaves without a byte is nobody's fault: a health check, a connection kept ready. */
static void peer_left(struct incoming *in)
{
	if (bytes_of(in).len > 0)
		incoming_fail(in, HANDSHAKE_CLOSED);
	else
		incoming_close(in, false);
}

static void on_eof(struct stream *st)
{
	peer_left(of_stream(st));
}

static void on_fail(struct stream *st, int err)
{
	struct incoming *in = of_stream(st);

	(void)err;
	if (in->state == INCOMING_HANDSHAKE)
		incoming_fail(in, HANDSHAKE_TLS);
	else
		peer_left(in);
}

static void on_deadline(struct timer *t)
{
	struct incoming *in = container_of(t, struct incoming, deadline);

	if (in->state == INCOMING_HANDSHAKE)
		tlsio_set_failure(stream_tls(in->stream), TLS_FAILURE_TIMEOUT);
	incoming_fail(in, HANDSHAKE_TIMEOUT);
}

static const struct stream_events incoming_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

/* ---- the beginning ---- */

/* They began before: they may end, within their deadline, and what they become knows that it is late. */
static void session_drain(struct server_session *base)
{
	(void)base;
}

static void session_abort(struct server_session *base)
{
	incoming_close(of_session(base), false);
}

static struct stream *session_stream(struct server_session *base)
{
	return of_session(base)->stream;
}

static const struct server_session_ops session_ops = {
	.drain = session_drain,
	.abort = session_abort,
	.stream = session_stream,
};

void incoming_open(struct server_host *h, uint32_t listener_id, const struct server_settings *set, int fd,
		   const struct addr *peer)
{
	struct incoming *in = pool_take(&h->incoming);

	CHECK(in);
	in->tag = INCOMING_TAG;
	list_init(&in->turn_node);
	server_session_begin(&in->base, &session_ops, h, listener_id);
	in->stream = stream_open(h->loop, fd, peer, &incoming_events, in);
	timer_init(&in->deadline, on_deadline);
	if (set->handshake_timeout_ms)
		timer_arm(h->loop, &in->deadline, set->handshake_timeout_ms);
	if (set->proxy_protocol == SERVER_PROXY_OFF) {
		stage_next(in, set);
	} else if (is_trusted(in->stream, set)) {
		in->state = INCOMING_PROXY_HEADER;
		read_more(in);
	} else if (set->proxy_protocol == SERVER_PROXY_ACCEPT) {
		stage_next(in, set);
	} else {
		incoming_fail(in, HANDSHAKE_PROXY_HEADER);
	}
}

void incoming_host_init(struct server_host *h)
{
	list_init(&h->handshake_turns);
	h->handshake_task.run = run_handshakes;
	pool_init(&h->incoming, "max-connections", sizeof(struct incoming), h->sessions_max);
}

void incoming_host_fini(struct server_host *h)
{
	struct list *pos, *tmp;

	CHECK(h->handshake_count == 0);
	loop_undefer(h->loop, &h->handshake_task);
	list_for_each_safe(pos, tmp, &h->handshake_turns) turns_free(list_entry(pos, struct handshake_turns, node));
	pool_fini(&h->incoming);
}
