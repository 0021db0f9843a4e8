/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * drive.h - runs bytes through an HTTP/1 codec and writes down what came out, in one line:
 *
 *	request   METHOD authority path framing[=length] [k] [100] [up=value]
 *	response  version status framing[=length] [k] [up=value]
 *	then      |body=...   |end   |end name=value ...   |!fault   |closed
 *
 * `k`: wants keep-alive.  Every piece that is fed has a buffer of exactly its size.
 */
#ifndef SN_SELFTESTS_HTTP_DRIVE_H
#define SN_SELFTESTS_HTTP_DRIVE_H

#include "base/check.h"
#include "base/strbuf.h"
#include "http/http1.h"

#define CUT_NOWHERE    0
#define CUT_EVERYWHERE SIZE_MAX

struct drive {
	bool is_server;
	enum http_method method; /* client: of the request */
	bool has_no_eof;	 /* the peer does not end */
	bool shows_fields;	 /* of heads too */
	struct http1_limits limits; /* all 0: the usual ones */
};

static const struct http1_limits drive_limits = {
	.request_line_max = 8192, .head_max = 16384, .fields_max = 100, .trailer_max = 8192, .chunk_line_max = 256,
};

/* For heads that a codec wrote: it adds lines to what was as large as the limits allow. */
static const struct http1_limits drive_wide_limits = {
	.request_line_max = 16384,
	.head_max = 32768,
	.fields_max = 120,
	.trailer_max = 16384,
	.chunk_line_max = 256,
};

static inline void drive_fields(const struct headers *h, struct strbuf *out)
{
	for (uint32_t i = 0; i < h->count; i++)
		strbuf_printf(out, " " SPAN_FMT "=" SPAN_FMT, SPAN_ARG(h->items[i].name), SPAN_ARG(h->items[i].value));
}

static inline void drive_head(const struct drive *d, const struct message *m, struct strbuf *out)
{
	static const char *const framings[] = { "none", "length", "chunked", "until-close", "tunnel" };

	if (out->len)
		strbuf_add_char(out, '|');
	if (d->is_server)
		strbuf_printf(out, SPAN_FMT " " SPAN_FMT " " SPAN_FMT, SPAN_ARG(m->method_name), SPAN_ARG(m->authority),
			      SPAN_ARG(m->path));
	else
		strbuf_printf(out, "1.%d %u", m->version == HTTP_VERSION_1_1, m->status);
	strbuf_printf(out, " %s", framings[m->framing]);
	if (m->framing == BODY_LENGTH)
		strbuf_printf(out, "=%llu", (unsigned long long)m->content_length);
	if (m->wants_keep_alive)
		strbuf_add_str(out, " k");
	if (m->expects_continue)
		strbuf_add_str(out, " 100");
	if (m->upgrade.len)
		strbuf_printf(out, " up=" SPAN_FMT, SPAN_ARG(m->upgrade));
	if (d->shows_fields)
		drive_fields(&m->headers, out);
}

/* One run. */
struct drive_state {
	struct http1 *h;
	struct arena arena;
	struct strbuf body; /* since the last event of another kind */
	bool is_tunnel;
};

static inline void drive_body(struct drive_state *s, struct strbuf *out)
{
	if (s->body.len == 0)
		return;
	strbuf_add_str(out, "|body=");
	strbuf_add_span(out, strbuf_span(&s->body));
	strbuf_reset(&s->body);
}

/* Take events until none is left.  False when it is over: after a fault, the end, or the end of a tunnel. */
static inline bool drive_take(const struct drive *d, struct drive_state *s, struct strbuf *out)
{
	struct codec *c = http1_codec(s->h);
	struct arena *a = &s->arena;
	struct codec_event ev;

	while (c->ops->next(c, a, &ev) != CODEC_MORE) {
		CHECK(ev.stream == 1);
		if (ev.type == CODEC_BODY) {
			CHECK(ev.data.len > 0);
			strbuf_add(&s->body, ev.data.ptr, ev.data.len);
			slice_put(&ev.data);
			continue;
		}
		drive_body(s, out);
		if (ev.type == CODEC_ERROR) {
			strbuf_printf(out, "|!%s", codec_fault_name(ev.fault));
			/* An error is final. */
			CHECK(c->ops->next(c, a, &ev) == CODEC_ERROR);
			return false;
		}
		if (ev.type == CODEC_CLOSED) {
			strbuf_add_str(out, "|closed");
			return false;
		}
		if (ev.type == CODEC_HEAD) {
			drive_head(d, ev.message, out);
			s->is_tunnel = ev.message->framing == BODY_TUNNEL;
			continue;
		}
		CHECK(ev.type == CODEC_END);
		strbuf_add_str(out, "|end");
		drive_fields(ev.trailers, out);
		CHECK(c->ops->next(c, a, &ev) == CODEC_MORE);
		if (s->is_tunnel)
			return false;
		http1_next_message(s->h);
		if (!d->is_server)
			http1_expect_response(s->h, d->method);
	}
	return true;
}

static inline void drive_run(const struct drive *d, struct span in, size_t cut, struct strbuf *out)
{
	struct drive_state s = { .h = http1_new(d->is_server, d->limits.head_max ? &d->limits : &drive_limits) };
	struct codec *c = http1_codec(s.h);
	bool goes_on = true;
	size_t at = 0;

	arena_init(&s.arena, 4096);
	strbuf_init(&s.body);
	if (!d->is_server)
		http1_expect_response(s.h, d->method);
	while (at < in.len && goes_on) {
		size_t len = cut == CUT_EVERYWHERE ? 1 : (at < cut ? MIN(cut, in.len) : in.len) - at;

		c->ops->feed(c, slice_copy(in.ptr + at, (uint32_t)len));
		at += len;
		goes_on = drive_take(d, &s, out);
	}
	if (goes_on && !d->has_no_eof) {
		c->ops->feed_eof(c);
		(void)drive_take(d, &s, out);
	}
	drive_body(&s, out);
	strbuf_fini(&s.body);
	arena_fini(&s.arena);
	http1_free(s.h);
}

#endif
