/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_http2_client.c - any frames as an origin's, after requests of each kind.
 * Byte 0: bit 0 frames are cut into pieces, bit 1 little credit, bit 2 owners forget at the first head.
 */
#include <stdint.h>

#include "http/http2.h"
#include "unit/http/drive2.h"

#define REQUESTS 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void request_send(struct drive2 *d, unsigned kind)
{
	static const struct span methods[REQUESTS] = {
		{ "GET", 3 }, { "HEAD", 4 }, { "POST", 4 }, { "CONNECT", 7 }, { "GET", 3 }, { "PUT", 3 },
	};
	uint32_t id = drive2_open(d);
	struct arena a;
	struct message m;

	if (!id)
		return;
	arena_init(&a, 4096);
	message_init(&m, &a);
	m.method_name = methods[kind];
	m.method = method_of(m.method_name);
	m.authority = SPAN("a:1");
	m.path = SPAN("/");
	m.framing = kind == 2 ? BODY_CHUNKED : BODY_NONE;
	if (kind == 4) {
		m.upgrade = SPAN("websocket");
		headers_add(&m.headers, TOKEN_SEC_WEBSOCKET_KEY, SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
	}
	drive2_send_head(d, id, &m);
	if (kind == 2)
		drive2_send_body(d, id, "body");
	else
		drive2_send_end(d, id, NULL);
	arena_fini(&a);
}

static bool events_take(struct drive2 *d, uint8_t flags)
{
	struct codec *c = http2_codec(d->h);
	struct codec_event ev;

	while (c->ops->next(c, NULL, &ev) != CODEC_MORE) {
		drive2_event(d, &ev);
		if (ev.type == CODEC_ERROR || ev.type == CODEC_CLOSED)
			return false;
		if (ev.type == CODEC_SETTINGS)
			request_send(d, 4);
		if (ev.type == CODEC_RESET || (ev.type == CODEC_HEAD && flags & 4))
			drive2_forget(d, ev.stream);
		else if (ev.type == CODEC_HEAD && flags & 2)
			http2_credit(d->h, ev.stream, 7);
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct drive2 d;
	struct codec *c;
	size_t at = 0, piece;

	if (len < 1 || len > 1 << 18)
		return 0;
	drive2_init(&d, false, NULL);
	d.gives_no_credit = data[0] & 2;
	for (unsigned i = 0; i < REQUESTS; i++)
		request_send(&d, i);
	strbuf_add(&d.in, data + 1, len - 1);
	c = http2_codec(d.h);
	while (at < d.in.len) {
		piece = data[0] & 1 ? MIN((size_t)13, d.in.len - at) : d.in.len;
		c->ops->feed(c, slice_copy(d.in.ptr + at, (uint32_t)piece));
		at += piece;
		if (!events_take(&d, data[0]))
			break;
		http2_output(d.h, &d.out, 100);
		slice_queue_clear(&d.out);
	}
	if (at == d.in.len && events_take(&d, data[0]))
		c->ops->feed_eof(c);
	/* An origin that has ended leaves nothing open. */
	CHECK(!events_take(&d, data[0]));
	http2_output(d.h, &d.out, SIZE_MAX);
	drive2_fini(&d);
	return 0;
}
