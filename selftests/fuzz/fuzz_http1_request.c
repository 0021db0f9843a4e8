/* SPDX-License-Identifier: GPL-2.0-only */
/* fuzz_http1_request.c - any bytes as requests: what is accepted is written as a request, and read back the same. */
#include <stdint.h>

#include "http/http1.h"
#include "unit/http/drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Forward a head as a proxy would, and read it as an origin would. */
static void head_forward(struct message *m, struct arena *a)
{
	struct http1 *client = http1_new(false, &drive_limits);
	struct http1 *origin = http1_new(true, &drive_wide_limits);
	struct codec *from = http1_codec(client), *to = http1_codec(origin);
	struct codec_send s = { .type = CODEC_SEND_HEAD, .message = m };
	struct slice_queue out = { 0 };
	struct codec_event ev;

	headers_remove_hop_by_hop(&m->headers);
	from->ops->send(from, &s);
	from->ops->output(from, &out);
	while (out.count)
		to->ops->feed(to, slice_queue_pop(&out));
	slice_queue_fini(&out);
	/* Without Host in an HTTP/1.0 request the one we write is empty, which is refused. */
	if (m->authority.len) {
		CHECK(to->ops->next(to, a, &ev) == CODEC_HEAD);
		CHECK(span_eq(ev.message->method_name, m->method_name));
		CHECK(ev.message->framing == m->framing ||
		      (m->framing == BODY_NONE && ev.message->framing == BODY_LENGTH));
		CHECK(ev.message->content_length == m->content_length);
		if (m->method != METHOD_CONNECT)
			CHECK(span_eq(ev.message->path, m->path));
	}
	http1_free(client);
	http1_free(origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http1 *h = http1_new(true, &drive_limits);
	struct codec *c = http1_codec(h);
	enum codec_event_type type;
	struct codec_event ev;
	struct arena a;

	if (len > 1 << 20)
		len = 1 << 20;
	arena_init(&a, 4096);
	c->ops->feed(c, slice_copy(data, (uint32_t)len));
	c->ops->feed_eof(c);
	while ((type = c->ops->next(c, &a, &ev)) != CODEC_MORE && type != CODEC_ERROR && type != CODEC_CLOSED) {
		if (type == CODEC_HEAD)
			head_forward(ev.message, &a);
		slice_put(&ev.data);
		if (type == CODEC_END)
			http1_next_message(h);
	}
	/* The peer has ended: it is always known how. */
	CHECK(type != CODEC_MORE);
	arena_fini(&a);
	http1_free(h);
	return 0;
}
