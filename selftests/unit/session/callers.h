/* SPDX-License-Identifier: GPL-2.0-only */
/* callers.h - a pool of connections to an origin that the test plays, and owners of requests that note what comes. */
#ifndef SN_SELFTESTS_CALLERS_H
#define SN_SELFTESTS_CALLERS_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "lib/steady_clock.h"
#include "session/client.h"

#define CALLERS_KEPT 256

struct calls;

struct caller {
	struct calls *calls;
	struct http_stream *st; /* NULL: left */
	struct arena arena;
	struct message request;
	unsigned heads, interims, ends, fails, sents;
	unsigned status;
	size_t bytes;
	char text[64];	  /* of the body, its beginning */
	char trailer[32]; /* value of the first trailer */
	enum body_framing framing;
	struct session_failure failure;
	char detail[160];
	bool stays; /* does not leave with the end of the response */
	bool gives_no_credit;
};

struct calls {
	struct loop *loop;
	struct client_pool pool;
	struct client_settings settings;
	struct addr addr;
	int listen_fd;
	struct caller *callers[CALLERS_KEPT];
	unsigned count, ends, fails, releases;
};

static inline void caller_on_head(struct http_stream *st, struct message *m)
{
	struct caller *c = st->owner;

	if (m->status < 200 && m->framing != BODY_TUNNEL) {
		c->interims++;
		return;
	}
	c->heads++;
	c->status = m->status;
	c->framing = m->framing;
}

static inline void caller_on_body(struct http_stream *st, struct slice data)
{
	struct caller *c = st->owner;

	if (c->bytes < sizeof(c->text))
		snprintf(c->text + c->bytes, sizeof(c->text) - c->bytes, "%.*s", (int)data.len, (const char *)data.ptr);
	c->bytes += data.len;
	if (!c->gives_no_credit)
		http_stream_credit(st, data.len);
	slice_put(&data);
}

static inline void caller_on_end(struct http_stream *st, struct headers *trailers)
{
	struct caller *c = st->owner;

	c->ends++;
	c->calls->ends++;
	if (trailers && trailers->count > 0)
		snprintf(c->trailer, sizeof(c->trailer), SPAN_FMT, SPAN_ARG(trailers->items[0].value));
	if (c->stays)
		return;
	c->st = NULL;
	http_stream_done(st);
}

static inline void caller_on_sent(struct http_stream *st)
{
	((struct caller *)st->owner)->sents++;
}

static inline void caller_on_fail(struct http_stream *st, const struct session_failure *f)
{
	struct caller *c = st->owner;

	c->fails++;
	c->calls->fails++;
	c->failure = *f;
	snprintf(c->detail, sizeof(c->detail), SPAN_FMT, SPAN_ARG(f->detail));
	c->st = NULL;
	http_stream_reset(st);
}

static const struct http_stream_events caller_events = {caller_on_head, caller_on_body, caller_on_end, caller_on_sent,
							caller_on_fail};

static inline void calls_on_release(struct client_pool *p, unsigned count)
{
	(void)count;
	((struct calls *)p->owner)->releases++;
}

static inline void calls_init(struct calls *k, enum client_protocol protocol)
{
	const char *reason;
	socklen_t len = sizeof(k->addr.in);

	*k = (struct calls){0};
	CHECK(loop_new(&k->loop, &(struct loop_config){0}, &reason) == 0);
	client_pool_init(&k->pool, k->loop);
	k->pool.on_release = calls_on_release;
	k->pool.owner = k;
	k->settings = (struct client_settings){
		.protocol = protocol,
		.connect_timeout_ms = 1000,
		.read_timeout_ms = 2000,
		.write_timeout_ms = 2000,
		.idle_timeout_ms = 5000,
		.max_idle = 4,
		.max_connections = 4,
	};
	CHECK(addr_parse(SPAN("127.0.0.1:0"), &k->addr) == 0);
	k->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(k->listen_fd, &k->addr.sa, k->addr.len) == 0 && listen(k->listen_fd, 64) == 0);
	CHECK(getsockname(k->listen_fd, &k->addr.sa, &len) == 0);
	CHECK(fcntl(k->listen_fd, F_SETFL, O_NONBLOCK) == 0);
}

static inline void caller_leave(struct caller *c, bool is_done)
{
	struct http_stream *st = c->st;

	c->st = NULL;
	if (st && is_done)
		http_stream_done(st);
	else if (st)
		http_stream_reset(st);
}

static inline void calls_fini(struct calls *k)
{
	for (unsigned i = 0; i < k->count; i++)
		caller_leave(k->callers[i], false);
	for (int i = 0; i < 400 && k->pool.open_count > 0; i++) {
		client_pool_close(&k->pool);
		loop_turn(k->loop, 5);
	}
	client_pool_fini(&k->pool);
	if (k->listen_fd >= 0)
		close(k->listen_fd);
	for (unsigned i = 0; i < k->count; i++) {
		arena_fini(&k->callers[i]->arena);
		free(k->callers[i]);
	}
	loop_free(k->loop);
}

/* Ask for a path; the request has an end if has_end, else a body of unknown length follows. */
static inline struct caller *call_open(struct calls *k, bool force_new)
{
	struct caller *c = mem_zalloc(sizeof(*c));
	int err = 0;

	CHECK(k->count < CALLERS_KEPT);
	k->callers[k->count++] = c;
	c->calls = k;
	arena_init(&c->arena, 1024);
	c->st = client_open(&k->pool, &k->addr, &k->settings, force_new, &c->arena, &err);
	CHECK(c->st);
	c->st->owner = c;
	c->st->events = &caller_events;
	return c;
}

static inline void call_send(struct caller *c, const char *method, const char *path, bool has_end)
{
	struct message *m = &c->request;

	message_init(m, &c->arena);
	m->method_name = span_str(method);
	m->method = method_of(m->method_name);
	m->scheme = SPAN("http");
	m->authority = SPAN("origin");
	m->path = span_str(path);
	headers_add(&m->headers, TOKEN_HOST, SPAN("origin"));
	m->framing = has_end ? BODY_NONE : BODY_CHUNKED;
	http_stream_send_head(c->st, m);
	if (has_end)
		http_stream_send_end(c->st, NULL);
	http_stream_credit(c->st, 65536);
}

static inline struct caller *call(struct calls *k, const char *path)
{
	struct caller *c = call_open(k, false);

	call_send(c, "GET", path, true);
	return c;
}

static inline void call_send_bytes(struct caller *c, size_t bytes)
{
	struct iobuf *b = iobuf_new((uint32_t)bytes);

	memset(b->data, 'c', bytes);
	http_stream_send_body(c->st, (struct slice){b, b->data, (uint32_t)bytes});
}

static inline void call_say(struct caller *c, const char *text)
{
	http_stream_send_body(c->st, slice_copy(text, (uint32_t)strlen(text)));
}

#endif
