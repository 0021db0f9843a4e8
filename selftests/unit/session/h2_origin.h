/* SPDX-License-Identifier: GPL-2.0-only */
/* h2_origin.h - an HTTP/2 origin on nghttp2 for tests of clients: several connections, answered by hand. */
#ifndef SN_SELFTESTS_H2_ORIGIN_H
#define SN_SELFTESTS_H2_ORIGIN_H

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"

#define H2_ORIGIN_STREAMS 256

struct h2_request {
	int32_t id; /* 0: none */
	char path[64], protocol[16], method[16];
	size_t bytes;	  /* of its body */
	char text[64];	  /* its beginning */
	char trailer[32]; /* value of a field after the body */
	bool is_ended, is_closed, has_head;
	bool is_read;	  /* its body is taken: windows are opened */
	uint32_t error;	  /* of RST_STREAM, with is_closed */
	size_t to_send;	  /* body bytes of the answer */
	bool ends, has_trailers; /* after them */
};

/* One connection. */
struct h2_origin {
	nghttp2_session *session;
	int fd; /* -1: closed */
	bool is_eof;
	bool holds_windows; /* bodies are not read */
	struct h2_request requests[H2_ORIGIN_STREAMS]; /* in order of arrival */
	unsigned request_count, ended, closed, pings, goaways;
	/* Bytes are moved by these: a socket, or TLS over it. */
	ssize_t (*recv)(struct h2_origin *o, void *buf, size_t len);
	ssize_t (*send)(struct h2_origin *o, const void *buf, size_t len);
	void *arg;
};

static inline struct h2_request *h2_request_of(struct h2_origin *o, int32_t id)
{
	for (unsigned i = 0; i < o->request_count; i++)
		if (o->requests[i].id == id)
			return &o->requests[i];
	CHECK(o->request_count < H2_ORIGIN_STREAMS);
	o->requests[o->request_count].id = id;
	return &o->requests[o->request_count++];
}

static inline int h2_origin_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t len,
				   const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_request *r = h2_request_of(arg, frame->hd.stream_id);

	(void)s;
	(void)flags;
	if (len == 5 && memcmp(name, ":path", 5) == 0)
		snprintf(r->path, sizeof(r->path), "%.*s", (int)value_len, (const char *)value);
	else if (len == 7 && memcmp(name, ":method", 7) == 0)
		snprintf(r->method, sizeof(r->method), "%.*s", (int)value_len, (const char *)value);
	else if (len == 9 && memcmp(name, ":protocol", 9) == 0)
		snprintf(r->protocol, sizeof(r->protocol), "%.*s", (int)value_len, (const char *)value);
	else if (r->has_head)
		snprintf(r->trailer, sizeof(r->trailer), "%.*s", (int)value_len, (const char *)value);
	return 0;
}

static inline int h2_origin_frame(nghttp2_session *s, const nghttp2_frame *frame, void *arg)
{
	struct h2_origin *o = arg;

	(void)s;
	if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		o->pings++;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		o->goaways++;
	if (frame->hd.type == NGHTTP2_HEADERS)
		h2_request_of(o, frame->hd.stream_id)->has_head = true;
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
		h2_request_of(o, frame->hd.stream_id)->is_ended = true;
		o->ended++;
	}
	return 0;
}

static inline int h2_origin_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
				 void *arg)
{
	struct h2_origin *o = arg;
	struct h2_request *r = h2_request_of(o, id);

	(void)flags;
	if (r->bytes == 0)
		snprintf(r->text, sizeof(r->text), "%.*s", (int)len, (const char *)data);
	r->bytes += len;
	if (!o->holds_windows)
		nghttp2_session_consume(s, id, len);
	return 0;
}

static inline int h2_origin_close(nghttp2_session *s, int32_t id, uint32_t error, void *arg)
{
	struct h2_origin *o = arg;
	struct h2_request *r = h2_request_of(o, id);

	(void)s;
	r->is_closed = true;
	r->error = error;
	o->closed++;
	return 0;
}

static inline ssize_t h2_origin_recv(struct h2_origin *o, void *buf, size_t len)
{
	return recv(o->fd, buf, len, MSG_DONTWAIT);
}

static inline ssize_t h2_origin_send(struct h2_origin *o, const void *buf, size_t len)
{
	return send(o->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* streams_max 0: not said.  allows_connect: extended CONNECT. */
static inline void h2_origin_open(struct h2_origin *o, int fd, uint32_t streams_max, bool allows_connect)
{
	nghttp2_settings_entry iv[2];
	nghttp2_session_callbacks *cb;
	nghttp2_option *option;
	size_t n = 0;

	*o = (struct h2_origin){.fd = fd, .recv = h2_origin_recv, .send = h2_origin_send};
	CHECK(nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&option) == 0);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_origin_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_origin_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_origin_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_origin_close);
	CHECK(nghttp2_session_server_new2(&o->session, cb, o, option) == 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(option);
	if (streams_max)
		iv[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max};
	if (allows_connect)
		iv[n++] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
	CHECK(nghttp2_submit_settings(o->session, NGHTTP2_FLAG_NONE, iv, n) == 0);
}

static inline void h2_origin_close_all(struct h2_origin *o)
{
	nghttp2_session_del(o->session);
	o->session = NULL;
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

/* Read and write what can be read and written now. */
static inline void h2_origin_turn(struct h2_origin *o)
{
	uint8_t buf[16384];
	const uint8_t *out;
	ssize_t n;

	if (o->fd < 0)
		return;
	while (!o->is_eof && (n = o->recv(o, buf, sizeof(buf))) != -1) {
		if (n == 0)
			o->is_eof = true;
		else
			CHECK(nghttp2_session_mem_recv(o->session, buf, (size_t)n) == n);
	}
	while ((n = nghttp2_session_mem_send(o->session, &out)) > 0)
		for (size_t done = 0; done < (size_t)n;) {
			ssize_t m = o->send(o, out + done, (size_t)n - done);

			if (m < 0 && errno == EAGAIN) {
				usleep(100);
				continue;
			}
			if (m < 0)
				return;
			done += (size_t)m;
		}
}

static inline ssize_t h2_origin_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
				     nghttp2_data_source *source, void *arg)
{
	struct h2_request *r = h2_request_of(arg, id);
	size_t n = r->to_send < len ? r->to_send : len;
	const nghttp2_nv status = {(uint8_t *)"grpc-status", (uint8_t *)"7", 11, 1, NGHTTP2_NV_FLAG_NONE};

	(void)source;
	memset(buf, 'o', n);
	r->to_send -= n;
	if (r->to_send == 0 && r->ends) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (r->has_trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			CHECK(nghttp2_submit_trailer(s, id, &status, 1) == 0);
		}
	} else if (n == 0) {
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

/* bytes of body; ends: the answer is complete after them. */
static inline void h2_origin_answer(struct h2_origin *o, struct h2_request *r, const char *status, size_t bytes,
				    bool ends)
{
	const nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)status, 7, strlen(status), NGHTTP2_NV_FLAG_NONE};
	const nghttp2_data_provider body = {.read_callback = h2_origin_body};

	r->to_send = bytes;
	r->ends = ends;
	if (bytes || !ends || r->has_trailers)
		CHECK(nghttp2_submit_response(o->session, r->id, &nv, 1, &body) == 0);
	else
		CHECK(nghttp2_submit_response(o->session, r->id, &nv, 1, NULL) == 0);
	h2_origin_turn(o);
}

/* More of a body that did not end. */
static inline void h2_origin_more(struct h2_origin *o, struct h2_request *r, size_t bytes, bool ends)
{
	r->to_send += bytes;
	r->ends = ends;
	CHECK(nghttp2_session_resume_data(o->session, r->id) == 0);
	h2_origin_turn(o);
}

static inline void h2_origin_interim(struct h2_origin *o, struct h2_request *r, const char *status)
{
	const nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)status, 7, 3, NGHTTP2_NV_FLAG_NONE};

	CHECK(nghttp2_submit_headers(o->session, NGHTTP2_FLAG_NONE, r->id, NULL, &nv, 1, NULL) == 0);
	h2_origin_turn(o);
}

static inline void h2_origin_reset(struct h2_origin *o, struct h2_request *r, uint32_t error)
{
	CHECK(nghttp2_submit_rst_stream(o->session, NGHTTP2_FLAG_NONE, r->id, error) == 0);
	h2_origin_turn(o);
}

static inline void h2_origin_goaway(struct h2_origin *o, int32_t last)
{
	CHECK(nghttp2_submit_goaway(o->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) == 0);
	h2_origin_turn(o);
}

#endif
