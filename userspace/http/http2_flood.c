/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * http2_flood.c - how much a peer may cost without being of use.
 *
 * Each kind of frame that costs us more than its sender has a level.  A frame raises it by one; progress - a message
 * completed, PROGRESS_BYTES of body in or out - and time lower it.  A level above its maximum ends the connection.  The
 * maxima are what honest peers were seen to need in a burst, several times over; the refill lets them go on for ever:
 *	RESET	 a browser that leaves a page cancels all its requests (100 at once); half of all requests for ever
 *	SETTINGS a peer changes its mind a few times in a connection's life
 *	PING	 keep-alive and bandwidth probes: one or two for each bundle of DATA (gRPC)
 *	EMPTY	 flushes without bytes
 *	WINDOW	 two for each DATA frame that we send
 *	FRAME	 PRIORITY, PRIORITY_UPDATE, extensions, greased types
 *	ERROR	 malformed messages: each costs us a RST_STREAM and, if it was a request, the work on it
 * Bounds that are not a rate are kept where they belong: a header block (here: frames and compressed bytes;
 * http2_head.c: decoded bytes), answers that the peer does not read (http2_write.c).
 */
#include "base/check.h"
#include "http/http2_private.h"

#define CONTINUATIONS_MAX 16
#define BOMB_FACTOR	  8 /* compressed bytes of a block may be this often head_max */
#define PROGRESS_BYTES	  4096
#define TICK_STEPS	  20 /* of refill, a second */

static const struct {
	uint16_t max;
	uint16_t refill; /* a step of progress */
	uint16_t fault;
} floods[FLOOD_COUNT] = {
	[FLOOD_RESET] = { 100, 1, CODEC_FAULT_H2_RAPID_RESET },
	[FLOOD_SETTINGS] = { 30, 0, CODEC_FAULT_H2_SETTINGS_FLOOD },
	[FLOOD_PING] = { 100, 2, CODEC_FAULT_H2_PING_FLOOD },
	[FLOOD_EMPTY] = { 100, 2, CODEC_FAULT_H2_EMPTY_FLOOD },
	[FLOOD_WINDOW] = { 1000, 4, CODEC_FAULT_H2_WINDOW_FLOOD },
	[FLOOD_FRAME] = { 500, 4, CODEC_FAULT_H2_FRAME_FLOOD },
	[FLOOD_ERROR] = { 100, 1, CODEC_FAULT_H2_ERROR_FLOOD },
};

bool http2_flood_add(struct http2 *h, enum flood f)
{
	if (++h->flood[f] <= floods[f].max)
		return true;
	http2_fail(h, floods[f].fault);
	return false;
}

void http2_flood_refill(struct http2 *h, uint32_t steps)
{
	for (unsigned f = 0; f < FLOOD_COUNT; f++)
		h->flood[f] -= MIN(h->flood[f], steps * floods[f].refill);
}

void http2_flood_bytes(struct http2 *h, size_t bytes)
{
	h->flood_bytes += (uint32_t)bytes;
	if (h->flood_bytes < PROGRESS_BYTES)
		return;
	/* Bytes prove nothing about streams that are cancelled or malformed. */
	for (unsigned f = 0; f < FLOOD_COUNT; f++)
		if (f != FLOOD_RESET && f != FLOOD_ERROR)
			h->flood[f] -= MIN(h->flood[f], h->flood_bytes / PROGRESS_BYTES * floods[f].refill);
	h->flood_bytes %= PROGRESS_BYTES;
}

/* A whole message is progress however small it is; what tiny windows cut it into is not. */
void http2_flood_sent(struct http2 *h, size_t bytes, bool is_all)
{
	http2_flood_bytes(h, is_all ? MAX(bytes, (size_t)PROGRESS_BYTES) : bytes);
}

void http2_tick(struct http2 *h, uint64_t now_ms)
{
	uint64_t seconds = h->tick_ms && now_ms > h->tick_ms ? (now_ms - h->tick_ms) / 1000 : 0;

	OBJ_CHECK(h, TAG_HTTP2);
	if (!h->tick_ms)
		h->tick_ms = now_ms;
	if (seconds == 0)
		return;
	h->tick_ms += seconds * 1000;
	seconds = MIN(seconds, (uint64_t)3600);
	http2_flood_refill(h, (uint32_t)seconds * TICK_STEPS);
	h->flood[FLOOD_SETTINGS] -= MIN(h->flood[FLOOD_SETTINGS], (uint32_t)seconds);
}

static bool continuation_judge(struct http2 *h, uint32_t len)
{
	h->block_bytes += len;
	if (++h->block_frames > CONTINUATIONS_MAX || h->block_bytes / BOMB_FACTOR > h->settings.head_max) {
		http2_fail(h, CODEC_FAULT_H2_CONTINUATION_FLOOD);
		return false;
	}
	return true;
}

bool http2_flood_frame(struct http2 *h, uint32_t len, uint8_t type, uint8_t flags)
{
	switch (type) {
	case NGHTTP2_DATA:
		h->has_data = len == 0; /* that is judged here */
		return len > 0 || flags & NGHTTP2_FLAG_END_STREAM || http2_flood_add(h, FLOOD_EMPTY);
	case NGHTTP2_HEADERS:
		h->block_frames = 0;
		h->block_bytes = len;
		return true;
	case NGHTTP2_CONTINUATION:
		return continuation_judge(h, len);
	case NGHTTP2_SETTINGS:
		return flags & NGHTTP2_FLAG_ACK || http2_flood_add(h, FLOOD_SETTINGS);
	case NGHTTP2_PING:
		return http2_flood_add(h, FLOOD_PING);
	case NGHTTP2_WINDOW_UPDATE:
		return http2_flood_add(h, FLOOD_WINDOW);
	case NGHTTP2_RST_STREAM:
		return true;
	case NGHTTP2_PUSH_PROMISE:
		/* Nothing can be pushed before a request, and ENABLE_PUSH 0 went before the first. */
		http2_fail(h, CODEC_FAULT_H2_PROTOCOL);
		return false;
	default:
		return http2_flood_add(h, FLOOD_FRAME);
	}
}
