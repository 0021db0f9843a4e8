/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz_h1_h2_translate.c - a head that one version accepts means the same when it was written in the other.
 * Byte 0: bit 0 the head comes in HTTP/2, bit 1 it is a response, bit 2 to HEAD.  Then the head: as HTTP/1, or lines of
 * "name value" for HTTP/2.  It is read, forwarded as the proxy would, written in the other version and read there.
 */
#include <stdint.h>

#include "http/http1.h"
#include "http/http2.h"
#include "unit/http/drive.h"
#include "unit/http/drive2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct http2_settings wide = {
	.max_concurrent_streams = 10,
	.window_bytes = 65536,
	.window_max = 65536,
	.head_max = 65536,
	.path_max = 16384,
	.fields_max = 200,
	.trailer_max = 16384,
	.allows_connect = true,
};

struct ends {
	struct arena arena;
	struct http1 *h1_server, *h1_client;
	struct http2 *h2_server, *h2_client;
	uint32_t stream; /* of h2_client */
	bool is_response, is_head;
};

static bool carry(struct codec *from, struct codec *to)
{
	struct slice_queue q = { 0 };
	bool any;

	from->ops->output(from, &q);
	any = q.count > 0;
	while (q.count)
		to->ops->feed(to, slice_queue_pop(&q));
	slice_queue_fini(&q);
	return any;
}

static const struct message *head_next(struct codec *c, struct arena *a)
{
	struct codec_event ev;

	while (c->ops->next(c, a, &ev) != CODEC_MORE) {
		if (ev.type == CODEC_HEAD)
			return ev.message;
		slice_put(&ev.data);
		if (ev.type == CODEC_ERROR || ev.type == CODEC_RESET || ev.type == CODEC_BAD_HEAD ||
		    ev.type == CODEC_CLOSED)
			return NULL;
	}
	return NULL;
}

/* Both ends of the HTTP/2 connection know each other. */
static void hello(struct ends *e)
{
	struct codec *client = http2_codec(e->h2_client), *server = http2_codec(e->h2_server);
	bool any;

	do {
		(void)head_next(client, NULL);
		(void)head_next(server, &e->arena);
		any = carry(client, server);
		any |= carry(server, client);
	} while (any);
	CHECK(http2_peer_allows_connect(e->h2_client));
}

static void send_head(struct codec *c, uint32_t stream, const struct message *m)
{
	c->ops->send(c, &(struct codec_send){ CODEC_SEND_HEAD, .stream = stream, .message = m });
}

/* Ask for what the response answers, on both pairs. */
static void ask(struct ends *e)
{
	struct message m;

	message_init(&m, &e->arena);
	m.method = e->is_head ? METHOD_HEAD : METHOD_GET;
	m.method_name = method_text(m.method);
	m.authority = SPAN("a");
	m.path = SPAN("/");
	send_head(http1_codec(e->h1_client), 1, &m);
	http1_expect_response(e->h1_client, m.method);
	(void)carry(http1_codec(e->h1_client), http1_codec(e->h1_server));
	CHECK(head_next(http1_codec(e->h1_server), &e->arena));
	e->stream = http2_open(e->h2_client, &e->arena);
	send_head(http2_codec(e->h2_client), e->stream, &m);
	(void)carry(http2_codec(e->h2_client), http2_codec(e->h2_server));
	CHECK(head_next(http2_codec(e->h2_server), &e->arena));
}

/* --- reading the input ------------------------------------------------------------------------------------------- */

static const struct message *read_h1(struct ends *e, struct span text)
{
	struct codec *c = http1_codec(e->is_response ? e->h1_client : e->h1_server);

	c->ops->feed(c, slice_copy(text.ptr, (uint32_t)text.len));
	return head_next(c, &e->arena);
}

static const struct message *read_h2(struct ends *e, struct span text)
{
	struct http2 *h = e->is_response ? e->h2_client : e->h2_server;
	struct codec *c = http2_codec(h);
	struct drive2 lines = { 0 };
	const struct message *m;

	strbuf_init(&lines.in);
	if (text.len < 16000) {
		char *copy = arena_strndup(&e->arena, text.ptr, text.len);

		drive2_headers(&lines, 1, text.len % 2 ? END_STREAM : 0, copy);
		c->ops->feed(c, slice_copy(lines.in.ptr, (uint32_t)lines.in.len));
	}
	m = head_next(c, e->is_response ? NULL : &e->arena);
	strbuf_fini(&lines.in);
	return m;
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static bool is_told(const struct header *f)
{
	return f->token != TOKEN_HOST && f->token != TOKEN_CONTENT_LENGTH && f->token != TOKEN_CONNECTION &&
	       f->token != TOKEN_TRANSFER_ENCODING && f->token != TOKEN_UPGRADE && f->token != TOKEN_TE &&
	       f->token != TOKEN_KEEP_ALIVE && f->token != TOKEN_COOKIE &&
	       /* a tunnel's: made anew on each side */
	       f->token != TOKEN_SEC_WEBSOCKET_KEY && f->token != TOKEN_SEC_WEBSOCKET_VERSION;
}

static const struct header *field_next(const struct headers *h, uint32_t *at)
{
	while (*at < h->count) {
		const struct header *f = &h->items[(*at)++];

		if (is_told(f))
			return f;
	}
	return NULL;
}

static void fields_compare(const struct headers *a, const struct headers *b)
{
	const struct header *f, *g;
	uint32_t i = 0, j = 0;

	do {
		f = field_next(a, &i);
		g = field_next(b, &j);
		CHECK(!f == !g);
		CHECK(!f || (span_eq_nocase(f->name, g->name) && span_eq(f->value, g->value)));
	} while (f);
}

/* No body can be said in two ways, and an end that is the connection's is none in HTTP/2. */
static enum body_framing framing_of(const struct message *m)
{
	if (m->framing == BODY_LENGTH && m->content_length == 0)
		return BODY_NONE;
	return m->framing == BODY_UNTIL_CLOSE ? BODY_CHUNKED : m->framing;
}

static void compare(const struct ends *e, const struct message *a, const struct message *b)
{
	CHECK(framing_of(a) == framing_of(b));
	CHECK(a->framing != BODY_LENGTH || a->content_length == b->content_length || b->framing == BODY_NONE);
	fields_compare(&a->headers, &b->headers);
	if (e->is_response) {
		CHECK(a->status == b->status);
		return;
	}
	CHECK(headers_list_has(&a->headers, TOKEN_TE, SPAN("trailers")) ==
	      headers_list_has(&b->headers, TOKEN_TE, SPAN("trailers")));
	CHECK(span_eq(a->method_name, b->method_name));
	CHECK(span_eq(a->authority, b->authority));
	CHECK(a->method == METHOD_CONNECT || span_eq(a->path, b->path));
	CHECK(a->upgrade.len == b->upgrade.len);
}

/* --- there and back ---------------------------------------------------------------------------------------------- */

/* What the proxy changes on the way. */
static void forward(struct ends *e, struct message *m)
{
	headers_remove_hop_by_hop(&m->headers);
	if (!e->is_response)
		headers_set(&m->headers, TOKEN_HOST, m->authority);
	/* Only this upgrade is known to both. */
	if (!span_eq_nocase(m->upgrade, SPAN("websocket")) || m->method != METHOD_GET || m->framing != BODY_NONE)
		m->upgrade = span_of(NULL, 0);
}

static void to_h1(struct ends *e, const struct message *m)
{
	struct codec *from = http1_codec(e->is_response ? e->h1_server : e->h1_client);
	struct codec *to = http1_codec(e->is_response ? e->h1_client : e->h1_server);
	const struct message *got;

	send_head(from, 1, m);
	(void)carry(from, to);
	got = head_next(to, &e->arena);
	CHECK(got);
	compare(e, m, got);
}

static void to_h2(struct ends *e, const struct message *m)
{
	struct codec *from = http2_codec(e->is_response ? e->h2_server : e->h2_client);
	struct codec *to = http2_codec(e->is_response ? e->h2_client : e->h2_server);
	const struct message *got;

	if (!e->is_response)
		e->stream = http2_open(e->h2_client, &e->arena);
	send_head(from, e->is_response ? 1 : e->stream, m);
	(void)carry(from, to);
	got = head_next(to, e->is_response ? NULL : &e->arena);
	CHECK(got);
	compare(e, m, got);
}

/* Heads that have no place in the other version: the proxy never sends them there. */
static bool is_untranslatable(const struct ends *e, const struct message *m)
{
	if (e->is_response) /* a switch of protocols that nobody asked for, a status that HTTP/1 cannot say */
		return m->status == 101 || m->framing == BODY_TUNNEL;
	return m->authority.len == 0; /* HTTP/1.0 without Host */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct message *m;
	struct span text;
	struct ends e = { 0 };

	if (len < 1 || len > 20000)
		return 0;
	text = span_of((const char *)data + 1, len - 1);
	arena_init(&e.arena, 4096);
	e.is_response = data[0] & 2;
	e.is_head = data[0] & 4;
	e.h1_server = http1_new(true, &drive_wide_limits);
	e.h1_client = http1_new(false, &drive_wide_limits);
	e.h2_server = http2_new(true, &wide);
	e.h2_client = http2_new(false, &wide);
	hello(&e);
	if (e.is_response)
		ask(&e);
	m = data[0] & 1 ? read_h2(&e, text) : read_h1(&e, text);
	if (m && !is_untranslatable(&e, m)) {
		struct message sent = *m;

		forward(&e, &sent);
		if (data[0] & 1)
			to_h1(&e, &sent);
		else
			to_h2(&e, &sent);
	}
	http1_free(e.h1_server);
	http1_free(e.h1_client);
	http2_free(e.h2_server);
	http2_free(e.h2_client);
	arena_fini(&e.arena);
	return 0;
}
