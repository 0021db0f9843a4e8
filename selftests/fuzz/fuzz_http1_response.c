/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_http1_response.c - any bytes as responses; the first byte chooses the method of the requests. */
#include <stdint.h>

#include "http/http1.h"
#include "unit/http/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Send a response on to a client that asked with the same method; it must be readable there, or be refused. */
static void head_forward(struct message *m, enum http_method method, struct arena *a)
{
	struct http1 *server = http1_new(true, &drive_limits);
	struct http1 *client = http1_new(false, &drive_wide_limits);
	struct codec *from = http1_codec(server), *to = http1_codec(client);
	struct codec_send s = { .type = CODEC_SEND_HEAD, .message = m };
	struct slice_queue out = { 0 };
	struct codec_event ev;
	struct span request = SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

	if (method == METHOD_HEAD)
		request = SPAN("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
	if (method == METHOD_CONNECT)
		request = SPAN("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
	from->ops->feed(from, slice_copy(request.ptr, (uint32_t)request.len));
	CHECK(from->ops->next(from, a, &ev) == CODEC_HEAD);
	http1_expect_response(client, method);
	headers_remove_hop_by_hop(&m->headers);
	from->ops->send(from, &s);
	from->ops->output(from, &out);
	while (out.count)
		to->ops->feed(to, slice_queue_pop(&out));
	slice_queue_fini(&out);
	CHECK(to->ops->next(to, a, &ev) == CODEC_HEAD);
	CHECK(ev.message->status == m->status);
	CHECK((ev.message->framing == BODY_TUNNEL) == (m->framing == BODY_TUNNEL));
	CHECK((ev.message->framing == BODY_LENGTH) == (m->framing == BODY_LENGTH));
	http1_free(server);
	http1_free(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const enum http_method methods[] = { METHOD_GET, METHOD_HEAD, METHOD_CONNECT };
	struct http1 *h = http1_new(false, &drive_limits);
	struct codec *c = http1_codec(h);
	enum http_method method = len ? methods[data[0] % ARRAY_LEN(methods)] : METHOD_GET;
	enum codec_event_type type;
	struct codec_event ev;
	bool is_tunnel = false;
	struct arena a;

	if (len > 1 << 20)
		len = 1 << 20;
	arena_init(&a, 4096);
	http1_expect_response(h, method);
	if (len)
		c->ops->feed(c, slice_copy(data + 1, (uint32_t)len - 1));
	c->ops->feed_eof(c);
	while ((type = c->ops->next(c, &a, &ev)) != CODEC_MORE && type != CODEC_ERROR && type != CODEC_CLOSED) {
		if (type == CODEC_HEAD) {
			is_tunnel = ev.message->framing == BODY_TUNNEL;
			head_forward(ev.message, method, &a);
		}
		slice_put(&ev.data);
		if (type == CODEC_END && !is_tunnel) {
			http1_next_message(h);
			http1_expect_response(h, method);
		}
	}
	CHECK(type != CODEC_MORE || is_tunnel);
	arena_fini(&a);
	http1_free(h);
	return 0;
}
