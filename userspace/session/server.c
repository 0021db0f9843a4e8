/* SPDX-License-Identifier: GPL-2.0-only */
/* server.c - the server sessions of a worker, whatever they speak: their beginning, number and end. */
#include "session/server.h"

#include <string.h>
#include <sys/socket.h>

#include "base/ip16.h"
#include "net/socket.h"
#include "session/incoming.h"
#include "session/server_h1.h"
#include "session/server_h2.h"
#include "session/server_raw.h"

void server_host_init(struct server_host *h, size_t sessions_max)
{
	CHECK(h->loop && h->settings && h->on_request && h->on_bad_request);
	list_init(&h->sessions);
	h->sessions_max = sessions_max;
	pool_init(&h->h1_sessions, "max-connections", sizeof(struct server_h1), sessions_max);
	pool_init(&h->h2_sessions, "max-connections", sizeof(struct server_h2), sessions_max);
	pool_init(&h->h2_streams, "max-concurrent-streams", sizeof(struct server_h2_stream),
		  sessions_max * SERVER_H2_STREAMS_SHARE);
	pool_init(&h->raw_sessions, "max-connections", sizeof(struct server_raw), sessions_max);
	incoming_host_init(h);
}

void server_host_fini(struct server_host *h)
{
	CHECK(list_is_empty(&h->sessions) && h->session_count == 0);
	while (h->codec_count > 0)
		http1_free(h->codecs[--h->codec_count]);
	pool_fini(&h->h1_sessions);
	pool_fini(&h->h2_sessions);
	pool_fini(&h->h2_streams);
	pool_fini(&h->raw_sessions);
	incoming_host_fini(h);
	arena_cache_fini(&h->arenas);
}

/* ---- the beginning ---- */

/* Until the kind of session has put its own there; none comes before the next turn. */
static const struct stream_events no_events;

void server_accept(struct server_host *h, uint32_t listener_id, const struct server_settings *set, int fd,
		   const struct addr *peer)
{
	CHECK(!server_is_full(h));
	if (set->protocol == SERVER_HTTP && set->proxy_protocol == SERVER_PROXY_OFF)
		server_h1_open(h, listener_id, stream_open(h->loop, fd, peer, &no_events, NULL), (struct slice){0});
	else
		incoming_open(h, listener_id, set, fd, peer);
}

/* ---- the number ---- */

void server_session_begin(struct server_session *s, const struct server_session_ops *ops, struct server_host *h,
			  uint32_t listener_id)
{
	s->ops = ops;
	s->host = h;
	s->listener_id = listener_id;
	list_append(&h->sessions, &s->node);
	h->session_count++;
}

void server_session_leave(struct server_session *s)
{
	CHECK(s->host->session_count > 0);
	list_remove(&s->node);
	s->host->session_count--;
}

void server_session_end(struct server_session *s, struct stream *st)
{
	server_session_leave(s);
	if (s->host->on_session_end)
		s->host->on_session_end(s->host, s->listener_id, st);
}

/* ---- the end ---- */

void server_drain(struct server_host *h, uint32_t listener_id)
{
	struct list *pos;

	list_for_each(pos, &h->sessions)
	{
		struct server_session *s = list_entry(pos, struct server_session, node);

		if (listener_id == 0 || s->listener_id == listener_id)
			s->ops->drain(s);
	}
}

/* An owner resets its stream later, from its own task; sessions leave the list when they are closed. */
void server_abort_all(struct server_host *h)
{
	struct list *pos;

	list_for_each(pos, &h->sessions)
	{
		struct server_session *s = list_entry(pos, struct server_session, node);

		s->ops->abort(s);
	}
}

/* The kernel sends the reset and forgets what is queued: a client that is shut out would acknowledge nothing. */
static void reset_socket(int fd)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (fd < 0 || connect(fd, &nobody, sizeof(nobody)) == 0)
		return;
	/* TLS in the kernel allows no disconnect. */
	socket_reset_on_close(fd);
	(void)shutdown(fd, SHUT_RDWR);
}

static bool is_of_client(struct server_session *s, const uint8_t ip[16], struct stream **out_stream)
{
	size_t len = ip16_is_v4(ip) ? 16 : 8;
	struct stream *st = s->ops->stream(s);
	uint8_t peer[16];

	*out_stream = st;
	return st && st->state != STREAM_CLOSED && addr_to_ip16(stream_peer(st), peer) && memcmp(peer, ip, len) == 0;
}

unsigned server_reset_client(struct server_host *h, const uint8_t ip[16])
{
	struct stream *st;
	struct list *pos;
	unsigned count = 0;

	list_for_each(pos, &h->sessions)
	{
		if (!is_of_client(list_entry(pos, struct server_session, node), ip, &st))
			continue;
		reset_socket(stream_fd(st));
		count++;
	}
	return count;
}

const char *handshake_fault_name(enum handshake_fault f)
{
	static const char *const names[HANDSHAKE_FAULT_COUNT] = {
		[HANDSHAKE_PROXY_HEADER] = "proxy_header",
		[HANDSHAKE_CLIENT_HELLO] = "client_hello",
		[HANDSHAKE_TLS] = "tls",
		[HANDSHAKE_TIMEOUT] = "timeout",
		[HANDSHAKE_CLOSED] = "closed",
	};

	CHECK(f < HANDSHAKE_FAULT_COUNT);
	return names[f];
}
