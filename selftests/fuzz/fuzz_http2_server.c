/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_http2_server.c - any frames as a client's, with owners that answer, abandon and read in many ways.
 * Byte 0: bit 0 frames are cut into pieces, bit 1 little credit, bit 2 extended CONNECT, bit 3 small limits, bit 4
 * owners forget at once.  Then frames, behind a preface.
 */
#include <stdint.h>

#include "http/http2.h"
#include "unit/http/drive2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void head_answer(struct drive2 *d, uint32_t id, const struct message *m, uint8_t choice)
{
	static const enum body_framing framings[] = { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };
	struct arena a;
	struct message answer;

	arena_init(&a, 4096);
	message_init(&answer, &a);
	answer.status = choice & 4 ? 200 : 404;
	answer.framing = framings[choice & 3];
	answer.content_length = 5;
	if (m && m->upgrade.len && choice & 8) {
		answer.status = 101;
		answer.framing = BODY_TUNNEL;
		answer.upgrade = m->upgrade;
	} else if (m && m->method == METHOD_CONNECT && choice & 8) {
		answer.status = 200;
		answer.framing = BODY_TUNNEL;
	}
	drive2_send_head(d, id, &answer);
	if (choice & 16)
		drive2_send_body(d, id, "hello");
	if (choice & 32)
		drive2_send_end(d, id, choice & 64 ? &answer.headers : NULL);
	arena_fini(&a);
}

/* False: the connection is over. */
static bool events_take(struct drive2 *d, uint8_t flags)
{
	struct codec *c = http2_codec(d->h);
	struct codec_event ev;

	while (c->ops->next(c, d->next, &ev) != CODEC_MORE) {
		drive2_event(d, &ev);
		if (ev.type == CODEC_ERROR || ev.type == CODEC_CLOSED)
			return false;
		if (ev.type == CODEC_HEAD || ev.type == CODEC_BAD_HEAD) {
			uint8_t choice = (uint8_t)(ev.stream * 37);

			if (flags & 2)
				http2_credit(d->h, ev.stream, 3);
			head_answer(d, ev.stream, ev.message, choice);
			if (flags & 16 && choice & 128)
				drive2_forget(d, ev.stream);
		} else if (ev.type == CODEC_RESET && ev.owner) {
			drive2_forget(d, ev.stream);
		} else if (ev.type == CODEC_SENT && ev.stream % 3 == 0) {
			drive2_forget(d, ev.stream);
		}
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http2_settings s = http2_defaults;
	struct drive2 d;
	struct codec *c;
	size_t at = 0, piece;

	if (len < 1 || len > 1 << 18)
		return 0;
	s.allows_connect = data[0] & 4;
	if (data[0] & 8) {
		s.head_max = 200;
		s.fields_max = 6;
		s.max_concurrent_streams = 3;
		s.window_bytes = 100;
		s.window_max = 1000;
	}
	drive2_init(&d, true, &s);
	d.gives_no_credit = data[0] & 2;
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
		CHECK(http2_stream_count(d.h) <= 2 * s.max_concurrent_streams + len / 9);
	}
	/* It is always known how it ends, and what is written are whole frames. */
	if (at == d.in.len && events_take(&d, data[0]))
		c->ops->feed_eof(c);
	(void)events_take(&d, data[0]);
	http2_output(d.h, &d.out, SIZE_MAX);
	drive2_fini(&d);
	return 0;
}
