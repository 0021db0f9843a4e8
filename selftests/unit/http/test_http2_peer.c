/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_http2_peer.c - both roles against a session of nghttp2 with its own checks on, and against each other: what it
 * would refuse is never written, whatever the sizes of pieces and windows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/http/drive2.h"

#define STREAMS	   50
#define BODY_BYTES 150000

/* --- a client of nghttp2 ----------------------------------------------------------------------------------------- */

struct peer {
	nghttp2_session *session;
	unsigned closed, failed;
	size_t got_bytes, to_send[STREAMS];
	struct strbuf fields;
};

static ssize_t peer_read(nghttp2_session *session, int32_t wire, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	size_t *left = source->ptr;

	(void)session, (void)wire, (void)arg;
	len = MIN(len, *left);
	memset(buf, 'r', len);
	*left -= len;
	if (*left == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

static int peer_on_data(nghttp2_session *session, uint8_t flags, int32_t wire, const uint8_t *data, size_t len,
			void *arg)
{
	struct peer *p = arg;

	(void)session, (void)flags, (void)wire, (void)data;
	p->got_bytes += len;
	return 0;
}

static int peer_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
			  const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct peer *p = arg;

	(void)session, (void)flags;
	if (frame->hd.stream_id == 1)
		strbuf_printf(&p->fields, "%.*s=%.*s ", (int)name_len, name, (int)value_len, value);
	return 0;
}

static int peer_on_close(nghttp2_session *session, int32_t wire, uint32_t error, void *arg)
{
	struct peer *p = arg;

	(void)session, (void)wire;
	p->closed++;
	p->failed += error != NGHTTP2_NO_ERROR;
	return 0;
}

static void peer_init(struct peer *p)
{
	nghttp2_session_callbacks *c;

	*p = (struct peer){ 0 };
	strbuf_init(&p->fields);
	assert_int_equal(nghttp2_session_callbacks_new(&c), 0);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, peer_on_data);
	nghttp2_session_callbacks_set_on_header_callback(c, peer_on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, peer_on_close);
	assert_int_equal(nghttp2_session_client_new(&p->session, c, p), 0);
	nghttp2_session_callbacks_del(c);
	assert_int_equal(nghttp2_submit_settings(p->session, 0, NULL, 0), 0);
}

#define NV(name, value) \
	{ (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1, 0 }

static void peer_request(struct peer *p, unsigned index)
{
	nghttp2_nv fields[] = {
		NV(":method", "POST"), NV(":scheme", "https"), NV(":authority", "a.example"), NV(":path", "/x"),
		NV("cookie", "a=1"),   NV("cookie", "b=2"),
	};
	nghttp2_data_provider data = { .source.ptr = &p->to_send[index], .read_callback = peer_read };

	p->to_send[index] = BODY_BYTES;
	assert_true(nghttp2_submit_request(p->session, NULL, fields, ARRAY_LEN(fields), &data, NULL) > 0);
}

/* --- echo: a body goes back as it comes -------------------------------------------------------------------------- */

static void echo_head(struct http2 *h, uint32_t stream, struct arena *a)
{
	struct codec *c = http2_codec(h);
	struct message m;

	message_init(&m, a);
	m.status = 200;
	m.framing = BODY_CHUNKED;
	headers_add_name(&m.headers, SPAN("X-Server"), SPAN("echo"));
	c->ops->send(c, &(struct codec_send){ CODEC_SEND_HEAD, .stream = stream, .message = &m });
}

static void echo_end(struct http2 *h, uint32_t stream, struct arena *a)
{
	struct codec *c = http2_codec(h);
	struct headers trailers;

	headers_init(&trailers, a);
	headers_add_name(&trailers, SPAN("X-Trailer"), SPAN("t"));
	c->ops->send(c, &(struct codec_send){ CODEC_SEND_END, .stream = stream, .trailers = &trailers });
	http2_forget(h, stream);
}

static void echo_run(struct http2 *h, struct arena *a)
{
	struct codec *c = http2_codec(h);
	struct codec_event ev;

	while (c->ops->next(c, a, &ev) != CODEC_MORE) {
		switch (ev.type) {
		case CODEC_HEAD:
			http2_credit(h, ev.stream, 10000);
			echo_head(h, ev.stream, a);
			break;
		case CODEC_BODY:
			c->ops->send(c, &(struct codec_send){ CODEC_SEND_BODY, .stream = ev.stream, .data = ev.data });
			break;
		case CODEC_SENT:
			/* What has left makes room for as much. */
			http2_credit(h, ev.stream, ev.bytes);
			break;
		case CODEC_END:
			echo_end(h, ev.stream, a);
			break;
		default:
			assert_int_equal(ev.type, CODEC_SETTINGS);
			break;
		}
	}
}

static void to_peer(struct http2 *h, struct peer *p)
{
	struct slice_queue q = { 0 };

	http2_output(h, &q, 5000);
	while (q.count) {
		struct slice s = slice_queue_pop(&q);

		assert_int_equal(nghttp2_session_mem_recv(p->session, s.ptr, s.len), s.len);
		slice_put(&s);
	}
	slice_queue_fini(&q);
}

static bool from_peer(struct http2 *h, struct peer *p)
{
	struct codec *c = http2_codec(h);
	const uint8_t *bytes;
	ssize_t len = nghttp2_session_mem_send(p->session, &bytes);

	assert_true(len >= 0);
	/* In two pieces, so that frames are cut. */
	if (len > 1)
		c->ops->feed(c, slice_copy(bytes, (uint32_t)len / 2));
	if (len > 0)
		c->ops->feed(c, slice_copy(bytes + len / 2 * (len > 1), (uint32_t)(len - len / 2 * (len > 1))));
	return len > 0;
}

static void test_a_server_for_nghttp2(void **state)
{
	struct http2 *h = http2_new(true, &http2_defaults);
	struct arena a;
	struct peer p;
	bool goes_on;

	(void)state;
	arena_init(&a, 4096);
	peer_init(&p);
	for (unsigned i = 0; i < STREAMS; i++)
		peer_request(&p, i);
	do {
		goes_on = from_peer(h, &p);
		echo_run(h, &a);
		goes_on |= http2_wants_output(h);
		to_peer(h, &p);
		echo_run(h, &a);
	} while (goes_on);
	assert_int_equal(p.closed, STREAMS);
	assert_int_equal(p.failed, 0);
	assert_int_equal(p.got_bytes, STREAMS * BODY_BYTES);
	assert_string_equal(p.fields.ptr, ":status=200 x-server=echo x-trailer=t ");
	assert_int_equal(http2_stream_count(h), 0);
	nghttp2_session_del(p.session);
	strbuf_fini(&p.fields);
	http2_free(h);
	arena_fini(&a);
}

/* --- our client with our server ---------------------------------------------------------------------------------- */

struct count {
	size_t bytes[STREAMS];
	unsigned ended, heads;
};

static void client_run(struct http2 *h, struct count *n)
{
	struct codec *c = http2_codec(h);
	struct codec_event ev;

	while (c->ops->next(c, NULL, &ev) != CODEC_MORE) {
		if (ev.type == CODEC_HEAD) {
			assert_int_equal(ev.message->status, 200);
			n->heads++;
		} else if (ev.type == CODEC_BODY) {
			n->bytes[(uintptr_t)ev.owner] += ev.data.len;
			http2_credit(h, ev.stream, ev.data.len);
			slice_put(&ev.data);
		} else if (ev.type == CODEC_END) {
			assert_int_equal(ev.trailers->count, 1);
			n->ended++;
			http2_forget(h, ev.stream);
		} else {
			assert_true(ev.type == CODEC_SENT || ev.type == CODEC_SETTINGS);
		}
	}
}

static bool carry(struct http2 *from, struct http2 *to, size_t max)
{
	struct codec *c = http2_codec(to);
	struct slice_queue q = { 0 };
	bool any;

	http2_output(from, &q, max);
	any = q.count > 0;
	while (q.count)
		c->ops->feed(c, slice_queue_pop(&q));
	slice_queue_fini(&q);
	return any;
}

static void requests_send(struct http2 *h, struct arena *a)
{
	struct codec *c = http2_codec(h);
	struct slice body = slice_copy(memset(arena_alloc(a, BODY_BYTES), 'q', BODY_BYTES), BODY_BYTES);
	struct message m;

	for (uintptr_t i = 0; i < STREAMS; i++) {
		uint32_t id = http2_open(h, a);

		assert_int_not_equal(id, 0);
		message_init(&m, a);
		m.method = METHOD_POST;
		m.method_name = SPAN("POST");
		m.authority = SPAN("a");
		m.path = SPAN("/");
		m.framing = i % 2 ? BODY_CHUNKED : BODY_LENGTH;
		m.content_length = BODY_BYTES;
		http2_set_owner(h, id, (void *)i);
		http2_credit(h, id, 1000);
		c->ops->send(c, &(struct codec_send){ CODEC_SEND_HEAD, .stream = id, .message = &m });
		c->ops->send(c, &(struct codec_send){ CODEC_SEND_BODY, .stream = id, .data = slice_ref(body) });
		c->ops->send(c, &(struct codec_send){ CODEC_SEND_END, .stream = id });
	}
	slice_put(&body);
}

static void test_a_client_for_our_server(void **state)
{
	struct http2 *server = http2_new(true, &http2_defaults), *client = http2_new(false, &http2_defaults);
	struct arena server_arena, client_arena;
	struct count n = { 0 };
	bool goes_on;

	(void)state;
	arena_init(&server_arena, 4096);
	arena_init(&client_arena, 4096);
	requests_send(client, &client_arena);
	do {
		goes_on = carry(client, server, 3000);
		echo_run(server, &server_arena);
		goes_on |= carry(server, client, 7000);
		client_run(client, &n);
	} while (goes_on);
	assert_int_equal(n.heads, STREAMS);
	assert_int_equal(n.ended, STREAMS);
	for (unsigned i = 0; i < STREAMS; i++)
		assert_int_equal(n.bytes[i], BODY_BYTES);
	assert_int_equal(http2_stream_count(server), 0);
	assert_int_equal(http2_stream_count(client), 0);
	http2_free(server);
	http2_free(client);
	arena_fini(&server_arena);
	arena_fini(&client_arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_server_for_nghttp2),
		cmocka_unit_test(test_a_client_for_our_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
