/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * owners.h - a server host with small owners instead of the proxy, for sessions that carry many requests.  What an
 * owner does is said by the path of its request:
 *
 *	/echo	gives credit and sends every body byte back, then the trailers
 *	/size/N	answers with N bytes, of which OWNER_WINDOW are queued at most
 *	/hold	nothing, until the test calls request_answer() or request_credit()
 *	/early	answers without waiting for the body, which is never asked for
 *	else	answers with the path
 *
 * CONNECT and upgrades become tunnels that echo; but the authority "refused" is answered with 503.
 */
#ifndef SN_SELFTESTS_OWNERS_H
#define SN_SELFTESTS_OWNERS_H

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "lib/steady_clock.h"
#include "net/socket.h"
#include "session/server.h"

#define OWNER_WINDOW  65536
#define REQUESTS_KEPT 2048

struct owners;

struct request {
	struct owners *owners;
	struct http_stream *st; /* NULL: left */
	struct arena *arena;
	char path[64], authority[64], method[16], peer[ADDR_TEXT_MAX];
	bool is_raw, is_tunnel, is_ended, is_head_sent, is_sending;
	bool is_over; /* what comes is counted, and nothing is sent or asked for */
	size_t received, left; /* bytes of the body; bytes of /size/N that are not sent */
	size_t queued_max;
	char trailer[32]; /* value of the request's first trailer */
	unsigned trailers;
	enum session_fault fault;
};

struct owners {
	struct server_host host;
	struct server_settings settings;
	bool has_no_listener;
	const char *banned; /* what a PROXY header may not name */
	bool waits_raw; /* raw requests get no answer */
	size_t first_credit;
	bool keeps_broken; /* on_fail() does not leave: the test calls request_leave() */

	struct request *requests[REQUESTS_KEPT];
	unsigned count, open, fails, bad_requests, handshake_failures, session_faults, sessions_ended;
	unsigned last_status;
	enum session_fault last_fault, last_session_fault;
	enum codec_fault last_codec, last_session_codec;
	enum handshake_fault last_handshake;
};

static inline void request_leave(struct request *r, bool is_done)
{
	struct http_stream *st = r->st;

	if (!st)
		return;
	r->st = NULL;
	r->owners->open--;
	if (is_done)
		http_stream_done(st);
	else
		http_stream_reset(st);
	arena_cache_give(&r->owners->host.arenas, r->arena);
	r->arena = NULL;
}

static inline void request_head(struct request *r, unsigned status, enum body_framing framing, size_t len)
{
	struct message m;

	message_init(&m, r->arena);
	m.status = status;
	m.framing = framing;
	m.content_length = len;
	if (status == 101)
		m.upgrade = SPAN("websocket");
	r->is_head_sent = true;
	http_stream_send_head(r->st, &m);
}

static inline void request_answer(struct request *r)
{
	size_t len = strlen(r->path);

	request_head(r, 200, BODY_LENGTH, len);
	http_stream_send_body(r->st, slice_copy(r->path, (uint32_t)len));
	http_stream_send_end(r->st, NULL);
	request_leave(r, true);
}

/* As much of /size/N as back-pressure allows. */
static inline void request_send_more(struct request *r)
{
	static char zeros[16384];

	while (r->left > 0 && http_stream_queued(r->st) < OWNER_WINDOW) {
		uint32_t part = (uint32_t)MIN(r->left, sizeof(zeros));

		r->left -= part;
		http_stream_send_body(r->st, slice_static(zeros, part));
	}
	r->queued_max = MAX(r->queued_max, http_stream_queued(r->st));
	if (r->left > 0)
		return;
	http_stream_send_end(r->st, NULL);
	request_leave(r, true);
}

static inline void owners_on_body(struct http_stream *st, struct slice data)
{
	struct request *r = st->owner;

	r->received += data.len;
	if (r->is_over)
		goto out;
	if (r->is_tunnel || strcmp(r->path, "/echo") == 0)
		http_stream_send_body(st, slice_ref(data));
	if (strcmp(r->path, "/hold") != 0)
		http_stream_credit(st, data.len);
out:
	slice_put(&data);
}

static inline void owners_on_end(struct http_stream *st, struct headers *trailers)
{
	struct request *r = st->owner;

	if (trailers && trailers->count > 0) {
		r->trailers = trailers->count;
		snprintf(r->trailer, sizeof(r->trailer), SPAN_FMT, SPAN_ARG(trailers->items[0].value));
	}
	if (r->is_tunnel && !r->is_ended && !r->is_sending) { /* the end of the request itself */
		r->is_sending = true;
		return;
	}
	r->is_ended = true;
	if (r->is_over) {
		request_leave(r, true);
	} else if (r->is_tunnel || strcmp(r->path, "/echo") == 0) {
		http_stream_send_end(st, trailers);
		request_leave(r, true);
	}
}

static inline void owners_on_sent(struct http_stream *st)
{
	struct request *r = st->owner;

	if (r->is_sending && !r->is_tunnel)
		request_send_more(r);
}

static inline void owners_on_fail(struct http_stream *st, const struct session_failure *f)
{
	struct request *r = st->owner;

	r->owners->fails++;
	r->owners->last_fault = r->fault = f->fault;
	r->owners->last_codec = f->codec;
	if (!r->owners->keeps_broken)
		request_leave(r, false);
}

static const struct http_stream_events owners_events = {
	.on_body = owners_on_body,
	.on_end = owners_on_end,
	.on_sent = owners_on_sent,
	.on_fail = owners_on_fail,
};

static inline void request_tunnel(struct request *r, const struct message *m)
{
	if (span_eq(m->authority, SPAN("refused"))) {
		request_head(r, 503, BODY_LENGTH, 0);
		http_stream_send_end(r->st, NULL);
		request_leave(r, true);
		return;
	}
	r->is_tunnel = true;
	request_head(r, m->upgrade.len ? 101 : 200, BODY_TUNNEL, 0);
	http_stream_credit(r->st, r->owners->first_credit);
}

static inline void owners_on_request(struct server_host *h, struct http_stream *st, uint32_t id, struct message *m,
				     struct arena *a)
{
	struct owners *o = container_of(h, struct owners, host);
	struct request *r = mem_zalloc(sizeof(*r));

	(void)id;
	CHECK(o->count < REQUESTS_KEPT);
	o->requests[o->count++] = r;
	o->open++;
	r->owners = o;
	r->st = st;
	r->arena = a;
	r->is_raw = m->is_raw;
	st->owner = r;
	st->events = &owners_events;
	snprintf(r->path, sizeof(r->path), SPAN_FMT, SPAN_ARG(m->path));
	snprintf(r->authority, sizeof(r->authority), SPAN_FMT, SPAN_ARG(m->authority));
	snprintf(r->method, sizeof(r->method), SPAN_FMT, SPAN_ARG(m->method_name));
	r->peer[addr_format(stream_peer(http_stream_transport(st)), r->peer)] = 0;
	if (m->is_raw && o->waits_raw)
		return;
	if (m->method == METHOD_CONNECT || m->upgrade.len > 0) {
		request_tunnel(r, m);
	} else if (strcmp(r->path, "/echo") == 0) {
		request_head(r, 200, BODY_CHUNKED, 0);
		http_stream_credit(st, o->first_credit);
	} else if (strncmp(r->path, "/size/", 6) == 0) {
		r->left = strtoull(r->path + 6, NULL, 10);
		request_head(r, 200, BODY_LENGTH, r->left);
		r->is_sending = true;
		request_send_more(r);
	} else if (strcmp(r->path, "/hold") != 0) {
		request_answer(r);
	}
}

static inline void owners_on_bad_request(struct server_host *h, uint32_t id, struct stream *s,
					 const struct session_failure *f, unsigned status, struct strbuf *body,
					 const char **content_type)
{
	struct owners *o = container_of(h, struct owners, host);

	(void)id;
	(void)s;
	o->bad_requests++;
	o->last_fault = f->fault;
	o->last_codec = f->codec;
	o->last_status = status;
	strbuf_add_str(body, "bad");
	*content_type = "text/plain";
}

static inline void owners_on_session_fault(struct server_host *h, uint32_t id, struct stream *s,
					   const struct session_failure *f)
{
	struct owners *o = container_of(h, struct owners, host);

	(void)id;
	(void)s;
	o->session_faults++;
	o->last_session_fault = f->fault;
	o->last_session_codec = f->codec;
}

static inline void owners_on_handshake_failure(struct server_host *h, uint32_t id, struct stream *s,
					       enum handshake_fault fault)
{
	struct owners *o = container_of(h, struct owners, host);

	(void)id;
	(void)s;
	o->handshake_failures++;
	o->last_handshake = fault;
}

static inline bool owners_admits(struct server_host *h, uint32_t listener_id, struct stream *st,
				 const struct addr *client)
{
	(void)listener_id;
	struct owners *o = container_of(h, struct owners, host);
	char text[ADDR_TEXT_MAX];

	assert_non_null(st);
	text[addr_format_ip(client, text)] = 0;
	return !o->banned || strcmp(o->banned, text) != 0;
}

static inline void owners_on_session_end(struct server_host *h, uint32_t id, struct stream *st)
{
	(void)id;
	(void)st;
	container_of(h, struct owners, host)->sessions_ended++;
}

static inline const struct server_settings *owners_settings(struct server_host *h, uint32_t id)
{
	struct owners *o = container_of(h, struct owners, host);

	(void)id;
	return o->has_no_listener ? NULL : &o->settings;
}

static inline void owners_init(struct owners *o, struct loop *l, size_t sessions_max)
{
	*o = (struct owners){
		.settings = {
			.limits = { 8192, 16384, 100, 8192, 256 },
			.handshake_timeout_ms = 10000,
			.head_timeout_ms = 10000,
			.body_idle_timeout_ms = 10000,
			.keep_alive_timeout_ms = 10000,
			.write_idle_timeout_ms = 10000,
			.h2_streams_max = 100,
		},
		.first_credit = 65536,
		.host = {
			.loop = l,
			.settings = owners_settings,
			.admits = owners_admits,
			.on_request = owners_on_request,
			.on_bad_request = owners_on_bad_request,
			.on_session_fault = owners_on_session_fault,
			.on_handshake_failure = owners_on_handshake_failure,
			.on_session_end = owners_on_session_end,
		},
	};
	server_host_init(&o->host, sessions_max);
}

static inline void owners_accept(struct owners *o, uint32_t listener_id, const struct server_settings *set, int fd)
{
	struct addr peer;

	socket_peer_find(fd, &peer);
	server_accept(&o->host, listener_id, set, fd, &peer);
}

/* Every session is gone by now, and with it every request. */
static inline void owners_fini(struct owners *o)
{
	assert_int_equal(server_session_count(&o->host), 0);
	assert_int_equal(o->open, 0);
	assert_int_equal(o->host.arenas.used, 0);
	server_host_fini(&o->host);
	for (unsigned i = 0; i < o->count; i++)
		free(o->requests[i]);
}

/* The newest request. */
static inline struct request *owners_last(struct owners *o)
{
	assert_true(o->count > 0);
	return o->requests[o->count - 1];
}

#endif
