/* SPDX-License-Identifier: GPL-2.0-only */
/* h2_client.h - an HTTP/2 client on a socket that does not block, and raw frames for what no client would send. */
#ifndef SN_SELFTESTS_H2_CLIENT_H
#define SN_SELFTESTS_H2_CLIENT_H

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"

#define H2_STREAMS 1024

struct h2_answer {
	unsigned status, interim;
	size_t bytes;
	char text[64]; /* of the body, its beginning */
	char trailer[32]; /* value of the last field after the body */
	uint32_t error;
	bool is_closed, is_ended, is_stuck; /* stuck: its window is never opened */
	size_t to_send; /* body bytes */
	bool ends; /* after them */
};

struct h2_client {
	nghttp2_session *session;
	int fd;
	bool is_eof;
	const uint8_t *out; /* what the socket did not take yet; the session's */
	size_t out_len;
	struct h2_answer answers[H2_STREAMS]; /* by stream id / 2 */
	unsigned closed, goaways, pings;
	int32_t goaway_last[4];
	uint32_t goaway_error;
};

static inline struct h2_answer *h2_answer(struct h2_client *c, int32_t id)
{
	CHECK(id > 0 && id / 2 < H2_STREAMS);
	return &c->answers[id / 2];
}

static inline int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t len,
			       const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_answer *a = h2_answer(arg, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (len == 7 && memcmp(name, ":status", 7) == 0) {
		unsigned status = (unsigned)strtoul((const char *)value, NULL, 10);

		if (status < 200 && status != 101)
			a->interim = status;
		else
			a->status = status;
	}
	snprintf(a->trailer, sizeof(a->trailer), "%.*s", (int)value_len, (const char *)value);
	return 0;
}

static inline int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
			     void *arg)
{
	struct h2_answer *a = h2_answer(arg, id);

	(void)flags;
	if (a->bytes < sizeof(a->text) - 1)
		memcpy(a->text + a->bytes, data, MIN(len, sizeof(a->text) - 1 - a->bytes));
	a->bytes += len;
	nghttp2_session_consume_connection(session, len);
	if (!a->is_stuck)
		nghttp2_session_consume_stream(session, id, len);
	return 0;
}

static inline int h2_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct h2_client *c = arg;

	(void)session;
	h2_answer(c, id)->is_closed = true;
	h2_answer(c, id)->error = error;
	c->closed++;
	return 0;
}

static inline int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_client *c = arg;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		if (c->goaways < 4)
			c->goaway_last[c->goaways] = frame->goaway.last_stream_id;
		c->goaways++;
		c->goaway_error = frame->goaway.error_code;
	} else if (frame->hd.type == NGHTTP2_PING) {
		c->pings++;
	}
	if (frame->hd.stream_id && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
		h2_answer(c, frame->hd.stream_id)->is_ended = true;
	return 0;
}

static inline ssize_t h2_read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
				   nghttp2_data_source *source, void *arg)
{
	struct h2_answer *a = h2_answer(arg, id);
	size_t part = MIN(len, a->to_send);

	(void)session;
	(void)source;
	memset(buf, 'b', part);
	a->to_send -= part;
	if (a->to_send == 0 && a->ends)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return part == 0 && !a->ends ? NGHTTP2_ERR_DEFERRED : (ssize_t)part;
}

static inline void h2_client_init(struct h2_client *c, int fd)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;

	*c = (struct h2_client){ .fd = fd };
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
	nghttp2_option_new(&option);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_peer_max_concurrent_streams(option, H2_STREAMS);
	CHECK(nghttp2_session_client_new2(&c->session, cb, c, option) == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
	/* So that only the windows of streams are felt. */
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
}

static inline void h2_client_fini(struct h2_client *c)
{
	nghttp2_session_del(c->session);
	c->session = NULL;
}

/* Send what the session wants, take what has come. */
static inline void h2_client_turn(struct h2_client *c)
{
	static uint8_t buf[65536];
	ssize_t len;

	/* As clients do: a GOAWAY came, and there is no stream. */
	if (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
		shutdown(c->fd, SHUT_WR);
	while (!c->is_eof) {
		if (c->out_len == 0) {
			len = nghttp2_session_mem_send(c->session, &c->out);
			c->out_len = len > 0 ? (size_t)len : 0;
		}
		len = c->out_len ? send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
		if (len <= 0)
			break;
		c->out += len;
		c->out_len -= (size_t)len;
	}
	while (!c->is_eof) {
		len = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && errno == EAGAIN)
			break;
		if (len <= 0)
			c->is_eof = true;
		else if (nghttp2_session_mem_recv(c->session, buf, (size_t)len) < 0)
			break;
	}
}

#define H2_FIELD(n, v) { (uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, strlen(v), 0 }

/* A request; body_bytes -1: none.  `ends`: END_STREAM after the body. */
static inline int32_t h2_ask(struct h2_client *c, const char *method, const char *path, ssize_t body_bytes, bool ends)
{
	nghttp2_nv fields[] = { H2_FIELD(":method", method), H2_FIELD(":scheme", "http"), H2_FIELD(":path", path),
				H2_FIELD(":authority", "x") };
	nghttp2_data_provider body = { .read_callback = h2_read_body };
	int32_t id = nghttp2_submit_request(c->session, NULL, fields, 4, body_bytes < 0 ? NULL : &body, NULL);

	CHECK(id > 0);
	h2_answer(c, id)->to_send = body_bytes > 0 ? (size_t)body_bytes : 0;
	h2_answer(c, id)->ends = ends;
	return id;
}

static inline int32_t h2_get(struct h2_client *c, const char *path)
{
	return h2_ask(c, "GET", path, -1, true);
}

/* More of the body. */
static inline void h2_more(struct h2_client *c, int32_t id, size_t bytes, bool ends)
{
	h2_answer(c, id)->to_send += bytes;
	h2_answer(c, id)->ends = ends;
	CHECK(nghttp2_session_resume_data(c->session, id) == 0);
}

/* A frame as it stands, behind what the session has sent. */
static inline void h2_raw(struct h2_client *c, uint8_t type, uint8_t flags, uint32_t id, const void *payload,
			  uint32_t len)
{
	uint8_t frame[9 + 1024] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags,
				    (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };

	CHECK(len <= 1024);
	memcpy(frame + 9, payload, len);
	(void)!send(c->fd, frame, 9 + len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

#endif
