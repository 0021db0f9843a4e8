/* SPDX-License-Identifier: GPL-2.0-only */
/* server_h2_waits.c - deadlines of an HTTP/2 server session and its streams, PINGs, and the graceful end. */
#include "session/server_h2.h"

#define TICK_MIN_MS 10

static uint64_t now_of(const struct server_h2 *s)
{
	return loop_now_ms(server_h2_loop(s));
}

/* ---- the graceful end ---- */

/* A PING of before the notice says nothing of what was on the way then. */
static void round_begin(struct server_h2 *s)
{
	if (s->ping_ms)
		return;
	s->is_round_begun = true;
	s->ping_ms = now_of(s);
	http2_ping(s->codec);
}

void server_h2_goodbye(struct server_h2 *s)
{
	if (s->state != H2_OPEN || s->goodbye != GOODBYE_NONE)
		return;
	s->goodbye = GOODBYE_NOTICE;
	s->notice_ms = now_of(s);
	wait_end(&s->waits, WAIT_IDLE);
	http2_shutdown(s->codec, HTTP2_SHUTDOWN_NOTICE);
	round_begin(s);
	server_h2_flush_later(s);
	server_h2_waits_check(s);
}

void server_h2_goodbye_final(struct server_h2 *s)
{
	if (s->state != H2_OPEN || s->goodbye == GOODBYE_FINAL)
		return;
	s->goodbye = GOODBYE_FINAL;
	wait_end(&s->waits, WAIT_IDLE);
	http2_shutdown(s->codec, HTTP2_SHUTDOWN_FINAL);
	server_h2_flush_later(s);
}

void server_h2_pong(struct server_h2 *s)
{
	s->ping_ms = 0;
	if (s->goodbye != GOODBYE_NOTICE)
		return;
	if (s->is_round_begun) {
		server_h2_goodbye_final(s);
	} else {
		round_begin(s);
		server_h2_flush_later(s);
	}
}

/* ---- the tick ---- */

static bool is_busy(const struct server_h2 *s)
{
	return !list_is_empty(&s->streams) || !list_is_empty(&s->leaving) || s->goodbye == GOODBYE_NOTICE ||
	       http2_has_blocked_output(s->codec);
}

static uint64_t ping_wait_ms(const struct server_h2 *s)
{
	return MIN(s->ping_interval_ms, (uint64_t)PING_WAIT_MAX_MS);
}

/* 0: nothing to look at. */
static uint64_t tick_ms(const struct server_h2 *s)
{
	uint64_t ms = SERVER_H2_TICK_MS, quiet;

	if (s->state != H2_OPEN)
		return 0;
	if (is_busy(s)) {
		if (s->body_idle_ms)
			ms = MIN(ms, s->body_idle_ms / 4);
		if (s->write_idle_ms)
			ms = MIN(ms, s->write_idle_ms / 4);
		if (s->goodbye == GOODBYE_NOTICE)
			ms = MIN(ms, (uint64_t)DRAIN_ROUND_MS / 4);
		return MAX(ms, (uint64_t)TICK_MIN_MS);
	}
	if (!s->ping_interval_ms)
		return 0;
	if (s->ping_ms)
		return MAX(ping_wait_ms(s), (uint64_t)TICK_MIN_MS);
	quiet = MIN(now_of(s) - s->input_ms, s->ping_interval_ms);
	return MAX(s->ping_interval_ms - quiet, (uint64_t)TICK_MIN_MS);
}

static void tick_begin(struct server_h2 *s)
{
	uint64_t ms = tick_ms(s);

	if (ms && (!wait_is_on(&s->waits, WAIT_WATCH) || s->waits.limit_ms[WAIT_WATCH] > ms))
		wait_begin(server_h2_loop(s), &s->waits, WAIT_WATCH, ms);
}

static bool is_over(uint64_t since_ms, uint64_t limit_ms, uint64_t now)
{
	return since_ms && limit_ms && now - since_ms >= limit_ms;
}

/* What was waited for since the last look; of a tunnel nothing is asked. */
static bool is_slow(struct server_h2_stream *st, uint64_t now, bool is_out)
{
	struct pace *p = is_out ? &st->out_pace : &st->in_pace;
	uint32_t rate = st->session->waits.min_rate, waited = (uint32_t)(now - st->look_ms);

	if (!rate || !st->look_ms || st->is_tunnel || !(is_out ? st->blocked_ms : st->read_ms))
		return false;
	return pace_wait(p, waited, rate);
}

static void sent_count(struct server_h2_stream *st)
{
	uint64_t gone = st->body_bytes - MIN(st->body_bytes, (uint64_t)http2_queued(st->session->codec, st->hs.id));

	pace_bytes(&st->out_pace, gone - MIN(gone, st->paced_bytes));
	st->paced_bytes = gone;
}

/* One stream that does not move, or hardly; the others and the connection go on. */
static void stream_look(struct server_h2_stream *st, uint64_t now)
{
	struct server_h2 *s = st->session;
	struct session_failure f = {.fault = SESSION_FAULT_BODY_TIMEOUT};
	bool is_out_over, is_in_over;

	if (st->is_broken)
		return;
	if (!http2_is_blocked(s->codec, st->hs.id))
		st->blocked_ms = 0;
	else if (!st->blocked_ms)
		st->blocked_ms = now;
	sent_count(st);
	is_out_over = is_over(st->blocked_ms, s->write_idle_ms, now) || is_slow(st, now, true);
	is_in_over = is_over(st->read_ms, s->body_idle_ms, now) || is_slow(st, now, false);
	st->look_ms = now;
	if (is_out_over) {
		f.fault = SESSION_FAULT_WRITE_TIMEOUT;
		server_h2_stream_fail(st, &f);
	} else if (is_in_over) {
		st->read_ms = 0;
		/* A client that was answered early need not send the rest: the answer goes on. */
		if (!st->is_head_sent)
			server_h2_stream_fail(st, &f);
	}
}

static void streams_look(struct server_h2 *s, uint64_t now)
{
	struct list todo;

	list_init(&todo);
	list_splice(&todo, &s->streams);
	while (!list_is_empty(&todo)) {
		struct server_h2_stream *st = list_first(&todo, struct server_h2_stream, node);

		list_remove(&st->node);
		list_append(&s->streams, &st->node);
		stream_look(st, now);
	}
}

static void leaving_look(struct server_h2 *s, uint64_t now)
{
	struct codec *c = http2_codec(s->codec);
	struct list *pos;

	server_h2_leaving_prune(s, false);
	list_for_each(pos, &s->leaving)
	{
		struct server_h2_stream *st = list_entry(pos, struct server_h2_stream, node);
		size_t left = http2_queued(s->codec, st->hs.id);

		if (!st->blocked_ms || left != st->blocked_bytes) {
			st->blocked_bytes = left;
			st->blocked_ms = now;
		} else if (is_over(st->blocked_ms, s->write_idle_ms, now)) {
			c->ops->send(c, &(struct codec_send){CODEC_SEND_RESET, .stream = st->hs.id,
							     .error = HTTP2_CANCEL});
			server_h2_flush_later(s);
		}
	}
	server_h2_leaving_prune(s, false);
}

static void ping_look(struct server_h2 *s, uint64_t now)
{
	struct session_failure f = {.fault = SESSION_FAULT_PING_TIMEOUT};

	if (!s->ping_interval_ms || s->goodbye != GOODBYE_NONE)
		return;
	/* Whatever came since then shows that it lives: its answer may be behind much else. */
	if (s->ping_ms && is_over(MAX(s->ping_ms, s->input_ms), ping_wait_ms(s), now)) {
		server_h2_report(s, &f);
		server_h2_break(s, &f, true);
	} else if (!s->ping_ms && now - s->input_ms >= s->ping_interval_ms) {
		s->ping_ms = now;
		http2_ping(s->codec);
		server_h2_flush_later(s);
	}
}

static void tick(struct server_h2 *s)
{
	uint64_t now = now_of(s);

	if (s->state != H2_OPEN)
		return;
	s->codec_ms = now;
	http2_tick(s->codec, now);
	streams_look(s, now);
	leaving_look(s, now);
	ping_look(s, now);
	if (s->goodbye == GOODBYE_NOTICE && now - s->notice_ms >= DRAIN_ROUND_MS)
		server_h2_goodbye_final(s);
	server_h2_waits_check(s);
	server_h2_end_check(s);
}

/* ---- the waits of the connection ---- */

static uint64_t head_timeout_ms(const struct server_h2 *s)
{
	const struct server_settings *set = server_session_settings(&s->base);

	return set ? set->head_timeout_ms : DRAIN_IDLE_MS;
}

static void idle_begin(struct server_h2 *s)
{
	const struct server_settings *set = server_session_settings(&s->base);

	if (!wait_is_on(&s->waits, WAIT_IDLE))
		wait_begin(server_h2_loop(s), &s->waits, WAIT_IDLE, set ? set->keep_alive_timeout_ms : DRAIN_IDLE_MS);
}

void server_h2_waits_check(struct server_h2 *s)
{
	if (s->state != H2_OPEN) {
		if (s->state == H2_ENDING) {
			wait_end(&s->waits, WAIT_HEAD);
			wait_end(&s->waits, WAIT_IDLE);
			wait_end(&s->waits, WAIT_WATCH);
		}
		return;
	}
	if (s->is_started && !http2_holds_arena(s->codec))
		wait_end(&s->waits, WAIT_HEAD);
	else if (!wait_is_on(&s->waits, WAIT_HEAD))
		wait_begin(server_h2_loop(s), &s->waits, WAIT_HEAD, head_timeout_ms(s));
	if (!s->is_started || s->goodbye != GOODBYE_NONE || !list_is_empty(&s->streams) ||
	    http2_stream_count(s->codec) > 0)
		wait_end(&s->waits, WAIT_IDLE);
	else
		idle_begin(s);
	tick_begin(s);
}

/* A client that said nothing is left without a word; one that stopped in the middle is counted. */
static void head_expired(struct server_h2 *s)
{
	struct session_failure f = {.fault = SESSION_FAULT_HEAD_TIMEOUT};

	if (s->state != H2_OPEN) { /* if it broke in this very turn, its owners are still to leave */
		if (s->state == H2_LINGER)
			server_h2_close(s);
		return;
	}
	if (s->stream->bytes_in > 0)
		server_h2_report(s, &f);
	http2_shutdown(s->codec, HTTP2_SHUTDOWN_FINAL);
	server_h2_break(s, &f, false);
}

static void write_expired(struct server_h2 *s)
{
	struct session_failure f = {.fault = SESSION_FAULT_WRITE_TIMEOUT};

	server_h2_break(s, &f, true);
}

static void on_expire(struct timer *t)
{
	struct server_h2 *s = container_of(container_of(t, struct waits, timer), struct server_h2, waits);

	OBJ_CHECK(s, SERVER_H2_TAG);
	switch (waits_expired(server_h2_loop(s), &s->waits)) {
	case WAIT_HEAD:
		head_expired(s);
		break;
	case WAIT_IDLE:
		server_h2_goodbye(s);
		break;
	case WAIT_WRITE:
		write_expired(s);
		break;
	case WAIT_WATCH:
		tick(s);
		break;
	default:
		break;
	}
}

void server_h2_waits_init(struct server_h2 *s)
{
	waits_init(&s->waits, on_expire);
	wait_begin(server_h2_loop(s), &s->waits, WAIT_HEAD, head_timeout_ms(s));
}
