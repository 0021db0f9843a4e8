/* SPDX-License-Identifier: GPL-2.0-only */
/* store_connection.c - one connection to a store: opening it, the places of its replies, its end. */
#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "clients/store_private.h"
#include "net/stream_tls.h"

#define OUT_BYTES 4072 /* with its header 4 KiB */

/* ---- commands ---- */

char *connection_room(struct store_connection *c, size_t max)
{
	/* all that was written there has left */
	if (c->out && c->out->refs == 1)
		c->out_used = 0;
	if (!c->out || c->out->size - c->out_used < max) {
		iobuf_put(c->out);
		c->out = iobuf_new((uint32_t)MAX(max, (size_t)OUT_BYTES));
		c->out_used = 0;
	}
	return (char *)c->out->data + c->out_used;
}

void connection_write(struct store_connection *c, size_t len)
{
	uint8_t *bytes = c->out->data + c->out_used;

	CHECK(len <= c->out->size - c->out_used);
	c->out_used += (uint32_t)len;
	stream_write(c->stream, (struct slice){ iobuf_ref(c->out), bytes, (uint32_t)len });
}

/* ---- places ---- */

void place_add(struct store_connection *c, enum place_kind kind, struct store_check *k)
{
	CHECK(c->next - c->first < PLACES);
	c->places[c->next % PLACES] = (struct place){ kind, k };
	if (k) {
		k->connection = c;
		k->place = c->next;
		k->attempts++;
	}
	if (kind == PLACE_HELLO)
		c->hellos++;
	c->next++;
}

bool connection_has_room(const struct store_connection *c)
{
	return c->next - c->first < STORE_IN_FLIGHT_MAX;
}

static bool place_take(struct store_connection *c, struct place *out)
{
	if (c->first == c->next)
		return false;
	*out = c->places[c->first++ % PLACES];
	return true;
}

/* ---- the end ---- */

static void end(struct store_connection *c, enum store_failure f, const char *why, bool is_counted)
{
	struct store_worker *sw = c->worker;
	struct place p;

	if (c->state == CONNECTION_ENDING)
		return;
	c->state = CONNECTION_ENDING;
	sw->open_count--;
	timer_disarm(sw->loop, &c->timer);
	stream_close(c->stream);
	while (place_take(c, &p))
		if (p.kind == PLACE_CHECK)
			check_done(p.check, f);
	if (is_counted || c->is_probe)
		worker_failed(sw, why);
}

void connection_end(struct store_connection *c, enum store_failure f, bool is_counted)
{
	end(c, f, store_failure_name(f), is_counted);
}

/* ---- the beginning ---- */

static void ready(struct store_connection *c)
{
	struct store_worker *sw = c->worker;

	c->state = CONNECTION_READY;
	if (c->is_probe)
		timer_arm(sw->loop, &c->timer, sw->store->settings.timeout_ms);
	else
		timer_disarm(sw->loop, &c->timer);
}

static void hello_done(struct store_connection *c)
{
	CHECK(c->hellos > 0);
	if (--c->hellos == 0)
		ready(c);
}

static void ping_done(struct store_connection *c)
{
	c->is_probe = false;
	timer_disarm(c->worker->loop, &c->timer);
	worker_succeeded(c->worker);
}

int connection_reply(struct store_connection *c, const char *no, struct store_check **out_check)
{
	struct place p;

	if (!place_take(c, &p))
		return -EPROTO;
	switch (p.kind) {
	case PLACE_NOBODY:
		return 0;
	case PLACE_HELLO:
	case PLACE_PING:
		if (no)
			end(c, STORE_REFUSED, no, true);
		else if (p.kind == PLACE_HELLO)
			hello_done(c);
		else
			ping_done(c);
		return 0;
	case PLACE_CHECK:
		break;
	}
	*out_check = p.check;
	return 1;
}

/* ---- events of the stream ---- */

static void on_connected(struct stream *s)
{
	struct store_connection *c = s->owner;

	OBJ_CHECK(c, TAG_STORE_CONNECTION);
	if (c->hellos == 0)
		ready(c);
	stream_read(s, LOOP_BUFFERS_SMALL);
}

static void on_data(struct stream *s, struct slice data)
{
	struct store_connection *c = s->owner;
	int err;

	OBJ_CHECK(c, TAG_STORE_CONNECTION);
	err = c->worker->protocol->read(c, slice_span(data));
	slice_put(&data);
	if (err < 0)
		end(c, STORE_GARBAGE, "it answers what is no answer to what was asked", true);
	if (c->state != CONNECTION_ENDING)
		stream_read(s, LOOP_BUFFERS_SMALL);
}

/* An idle connection may be closed by its server: no failure. */
static void on_eof(struct stream *s)
{
	struct store_connection *c = s->owner;

	end(c, STORE_CLOSED, "it closed the connection", c->first != c->next || c->state == CONNECTION_OPENING);
}

static void on_fail(struct stream *s, int err)
{
	struct store_connection *c = s->owner;
	struct tlsio *tls = stream_tls(s);
	bool is_opening = c->state == CONNECTION_OPENING;
	bool is_tls = tls && is_opening && tlsio_handshake_bytes(tls) > 0;
	const char *why = is_tls ? tlsio_failure_detail(tls) : "";

	if (!why[0])
		why = is_tls ? tls_failure_text(tlsio_failure(tls)) : err_text(err);
	end(c, is_tls ? STORE_TLS : is_opening ? STORE_CONNECT : STORE_CLOSED, why, is_opening || c->first != c->next);
}

/* Questions have deadlines: what is not sent in time is not waited for. */
static void on_sent(struct stream *s, size_t bytes)
{
	(void)s;
	(void)bytes;
}

static void on_closed(struct stream *s)
{
	struct store_connection *c = s->owner;

	list_remove(&c->node);
	c->worker->protocol->reader_free(c->reader);
	iobuf_put(c->out);
	c->tag = 0;
	free(c);
}

static const struct stream_events events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_sent = on_sent,
	.on_fail = on_fail,
	.on_closed = on_closed,
};

static void on_unused_closed(struct stream *s)
{
	(void)s;
}

static const struct stream_events no_events = { .on_closed = on_unused_closed };

static void on_late(struct timer *t)
{
	struct store_connection *c = container_of(t, struct store_connection, timer);

	if (c->state == CONNECTION_READY)
		end(c, STORE_TIMEOUT, "it is too slow", true);
	else
		end(c, STORE_CONNECT, "no connection within a second", true);
}

static struct stream *connect_stream(struct store_worker *sw, struct store_connection *c, int *out_err)
{
	const struct store_settings *set = &sw->store->settings;
	struct stream *s;
	struct ssl_st *ssl;
	struct addr addr;

	*out_err = set->next_addr(set->ctx, &addr);
	if (*out_err < 0)
		return NULL;
	s = stream_connect(sw->loop, &addr, set->tls ? &no_events : &events, c, out_err);
	if (!s || !set->tls)
		return s;
	ssl = tls_client_ssl(set->tls, span_str(set->url.host), &sw->sessions);
	if (ssl)
		return stream_tls_client(s, ssl, &events, c);
	*out_err = -EINVAL;
	stream_close(s);
	return NULL;
}

struct store_connection *connection_open(struct store_worker *sw, bool is_probe, enum store_failure *out_failure)
{
	struct store_connection *c = mem_alloc(sizeof(*c));
	int err;

	memset(c, 0, offsetof(struct store_connection, places));
	c->tag = TAG_STORE_CONNECTION;
	c->worker = sw;
	c->is_probe = is_probe;
	c->stream = connect_stream(sw, c, &err);
	if (!c->stream) {
		free(c);
		*out_failure = STORE_CONNECT;
		worker_failed(sw, err == -EADDRNOTAVAIL ? "its name does not resolve" : err_text(err));
		return NULL;
	}
	c->reader = sw->protocol->reader_new();
	timer_init(&c->timer, on_late);
	timer_arm(sw->loop, &c->timer, STORE_CONNECT_MS);
	list_append(&sw->connections, &c->node);
	sw->open_count++;
	sw->protocol->greet(c);
	if (is_probe)
		sw->protocol->ping(c);
	return c;
}
